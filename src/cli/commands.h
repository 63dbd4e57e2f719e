/* commands: one function a command, each in a file of its own. A command gets
 * the words after its name, prints results on stdout, and returns the exit code;
 * what went wrong outside is in err (main prints the line). */
#ifndef OTP_COMMANDS_H
#define OTP_COMMANDS_H

#include "core/base.h"

typedef int otp_command(int argc, char **argv, otp_error *err);

/* COMMAND(name, usage, what it does) */
#define OTP_COMMANDS(COMMAND)                                                                                \
	COMMAND(train,                                                                                       \
		"train (--dataroot ROOT | --source S --target T | --task colorize --data D) --out RUN "      \
		"[--preset P] [--config F] [options]",                                                       \
		"train a translator; --resume continues the run in RUN exactly")                             \
	COMMAND(translate,                                                                                   \
		"translate MODEL INPUT OUTPUT [--samples K] [--seed S] [--fit resize|tile|crop] "            \
		"[--keep-luminance] [--format F] [--overwrite]",                                             \
		"translate a file, a folder or a data set, K samples of the plan for each input")            \
	COMMAND(export,                                                                                      \
		"export MODEL INPUT OUT --for fid [--target T] [--count N] [--samples K] [--seed S] "        \
		"[--overwrite], or export MODEL OUT --for onnx|safetensors [--overwrite]",                   \
		"evaluation samples that FID tools accept (flat PNG folders, arr_0 npz, manifest), or the "  \
		"generator for other programs")                                                              \
	COMMAND(eval,                                                                                        \
		"eval RUN_OR_MODEL [--source S] [--target T] [--truth FILE] [--json], or eval --features "   \
		"A.npy B.npy [--json]",                                                                      \
		"measure transport cost, target distance, diversity and faithfulness; Frechet distance and " \
		"KID of features")                                                                           \
	COMMAND(verify,                                                                                      \
		"verify [PROBLEM ...] [--formulation WORD] [--seeds N] [--json] [--out FOLDER] "             \
		"[options]",                                                                                 \
		"train on problems whose answer is known and print errors beside truth")                     \
	COMMAND(                                                                                             \
	    pack,                                                                                            \
	    "pack INPUT OUT.h5 [--image-size SIZE] [--aspect A] [--resize F] [--channels C] [--overwrite]",  \
	    "pack a data set into one HDF5 file, which trains as fast as from memory; goes on where it "     \
	    "was interrupted")                                                                               \
	COMMAND(doctor, "doctor INPUT [INPUT2] [--image-size N] [--json] [--out PAGE.html]",                 \
		"say what is in a data set, what is wrong with it, and what will be done about it")          \
	COMMAND(info, "info FILE_OR_RUN [--json]", "say what a model, checkpoint, data set or run is")       \
	COMMAND(report, "report RUN",                                                                        \
		"write report.html and curves.svg of a run again, also while it trains or after an "         \
		"interruption")                                                                              \
	COMMAND(bench, "bench [--preset P] [options] [--json]",                                              \
		"print the speed of the whole step and of its parts")                                        \
	COMMAND(help, "help [COMMAND] [--all]", "explain a command; --all shows its rarer options too")

#define OTP_DECLARE_COMMAND(name, usage, meaning) otp_command otp_command_##name;
OTP_COMMANDS(OTP_DECLARE_COMMAND)
#undef OTP_DECLARE_COMMAND
otp_command otp_command_version; /* --version [--verbose] */

/* The exit code of an error, 1 where none was recorded. */
static inline int otp_exit_code(const otp_error *err)
{
	return err->exit_code ? err->exit_code : OTP_EXIT_FAILED;
}

/* The exit code of a command that reads pictures. Where it did what was asked but for so many that could not
 * be decoded, says so. */
int otp_exit_undecoded(int64_t undecoded, const otp_error *err);

#endif
