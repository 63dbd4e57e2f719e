/* main: find the command, run it, turn its error into one line. */
#include "cli/args.h"
#include "cli/commands.h"
#include "core/log.h"
#include "group/group.h"
#include "core/mapped.h"
#include "core/words.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef struct command {
	const char *name, *usage, *meaning;
	otp_command *run;
} command;

static const command COMMANDS[] = {
#define ROW(name, usage, meaning) {#name, usage, meaning, otp_command_##name},
    OTP_COMMANDS(ROW)
#undef ROW
};
enum { COMMAND_COUNT = sizeof COMMANDS / sizeof *COMMANDS };

static const command *find(const char *name)
{
	for (int i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(COMMANDS[i].name, name) == 0)
			return &COMMANDS[i];
	return NULL;
}

int otp_exit_undecoded(int64_t undecoded, const otp_error *err)
{
	if (err->exit_code || !undecoded)
		return err->exit_code;
	otp_log("otplan: %lld picture%s could not be decoded and %s left out, named or counted above",
		(long long)undecoded, otp_plural(undecoded), undecoded == 1 ? "was" : "were");
	return OTP_EXIT_UNDECODED;
}

static int unknown(const char *name, otp_error *err)
{
	otp_word_search search = otp_word_search_for(name);
	for (int i = 0; i < COMMAND_COUNT; i++)
		otp_word_consider(&search, COMMANDS[i].name);
	otp_fail(err, name, "unknown command, %s%s%s", search.nearest ? "did you mean " : "see otplan help",
		 search.nearest ? search.nearest : "", search.nearest ? "?" : "");
	return otp_exit_code(err);
}

static void print_overview(void)
{
	puts("otplan: unpaired image-to-image translation by optimal transport plans\n");
	for (int i = 0; i < COMMAND_COUNT; i++)
		printf("  %-10s %s\n", COMMANDS[i].name, COMMANDS[i].meaning);
	puts("\nA data set is a folder of images, FILE.h5[:/set], an IDX image file, FILE.npy, "
	     "FILE.npz[:name],\n"
	     "or synth:NAME; ?grey&colorize=isoluminant&part=1/2&limit=N may follow.\n"
	     "\nA -- ends the options: names that begin with two dashes may follow it.\n"
	     "otplan help COMMAND tells more.");
}

/* What a command does, and its options; `all`: its rarer ones too. */
static int explain(const command *c, bool all, otp_error *err)
{
	char *words[] = {"--help", "--all"};
	printf("otplan %s\n\n%s\n", c->usage, c->meaning);
	return c->run == otp_command_help ? OTP_EXIT_OK : c->run(all ? 2 : 1, words, err);
}

static bool says(int argc, char **argv, const char *word)
{
	for (int i = 0; i < argc && strcmp(argv[i], OTP_END_OF_OPTIONS) != 0; i++)
		if (strcmp(argv[i], word) == 0)
			return true;
	return false;
}

/* COMMAND, and --all for its rarer options too. */
int otp_command_help(int argc, char **argv, otp_error *err)
{
	bool all = false;
	const char *name = NULL;
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--all") == 0) {
			all = true;
		} else if (name) {
			otp_fail(err, argv[i], "is one argument too many, usage: otplan %s",
				 find("help")->usage);
			return otp_exit_code(err);
		} else {
			name = argv[i];
		}
	}
	if (!name) {
		print_overview();
		return OTP_EXIT_OK;
	}
	const command *c = find(name);
	return c ? explain(c, all, err) : unknown(name, err);
}

static bool asks_help(int argc, char **argv)
{
	return says(argc - 2, argv + 2, "--help") || says(argc - 2, argv + 2, "-h");
}

/* Over processes. */
static bool is_split(const command *c)
{
	return c->run == otp_command_train || c->run == otp_command_translate ||
	       c->run == otp_command_export || c->run == otp_command_eval;
}

static int dispatch(int argc, char **argv, otp_error *err)
{
	const command *c = argc < 2 ? NULL : find(argv[1]);
	if (!c || c->run == otp_command_help || asks_help(argc, argv))
		otp_group_end_others();
	if (argc < 2) {
		print_overview();
		return OTP_EXIT_USAGE;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0)
		return otp_command_version(argc - 2, argv + 2, err);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return otp_command_help(0, NULL, err);
	if (!c)
		return unknown(argv[1], err);
	if (asks_help(argc, argv))
		return explain(c, says(argc - 2, argv + 2, "--all"), err);
	if (!is_split(c) && c->run != otp_command_help && !otp_group_refuse(c->name, err))
		return otp_exit_code(err);
	return c->run(argc - 2, argv + 2, err);
}

int main(int argc, char **argv)
{
	otp_error err = {0};
	/* `otplan train ... 2>&1 | head` closes a pipe; that is no reason to drop hours of training. */
	signal(SIGPIPE, SIG_IGN);
	/* A file that may grow no further (ulimit -f) is an error of the write. */
	signal(SIGXFSZ, SIG_IGN);
	otp_mapped_guard();
#ifdef M_MMAP_THRESHOLD
	/* Large blocks go back to the system when they are freed. glibc would raise the size from which they
	 * do with every one, and keep what a look at the data took through the whole training. */
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
	int code = dispatch(argc, argv, &err);
	/* Results that did not reach their reader are no success. */
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == OTP_EXIT_OK) {
		otp_fail_machine(&err, "stdout", "results could not be written");
		code = otp_exit_code(&err);
	}
	if (err.exit_code && *err.text)
		otp_log_error("%s", err.text);
	return code;
}
