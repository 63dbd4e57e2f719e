/* report: the pages of a run, made again from its folder: of one that is in training, interrupted or done. */
#include "cli/args.h"
#include "cli/commands.h"
#include "core/lock.h"
#include "model/run.h"
#include "train/summary.h"

int otp_command_report(int argc, char **argv, otp_error *err)
{
	const char *words[1];
	if (!otp_args_parse(argc, argv, NULL, 0, words, 1, "otplan report RUN", err))
		return err->exit_code;
	char *lock = otp_run_path(words[0], "lock");
	bool ok = otp_summary_pages(words[0], otp_lock_is_held(lock), err);
	otp_free(lock);
	if (!ok)
		return otp_exit_code(err);
	otp_summary_point(words[0]);
	return OTP_EXIT_OK;
}
