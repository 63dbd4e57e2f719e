#include "cli/commands.h"
#include "cli/options.h"
#include "core/file.h"
#include "core/log.h"
#include "data/outputs.h"
#include "model/run.h"
#include "report/html.h"
#include "train/budget.h"
#include "train/rehearse.h"
#include "train/summary.h"
#include "train/trainer.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stop_asked;

/* The first Ctrl-C asks for an orderly end, the second gets the default one. */
static void on_interrupt(int signal_number)
{
	stop_asked = 1;
	signal(signal_number, SIG_DFL);
}

/* The presets by size are for GPUs; who trains on a CPU should hear of the small one in time. */
static void hint_at_small_preset(const otp_config *c)
{
	otp_error ignored = {0};
	const otp_preset *preset = otp_preset_find(c->preset, &ignored);
	if (preset && preset->for_gpu && c->device == OTP_WHERE_CPU)
		otp_log("preset %s is made for a GPU; on a CPU --preset quickstart --image-size %d trains in "
			"minutes",
			c->preset, c->image_size ? c->image_size : 32);
}

static int train_session(otp_session *s, otp_error *err)
{
	otp_runtime runtime;
	otp_config *c = &s->config;
	if (!otp_session_open_runtime(c, &runtime, err))
		return otp_exit_code(err);
	hint_at_small_preset(c);
	otp_budget budget = otp_budget_of(s, &runtime, c->batch);
	if (c->plan || c->dry_run)
		otp_budget_print(s, &runtime, &budget);
	int code = OTP_EXIT_OK;
	/* Before hours of decoding, not after. */
	if (!c->plan && (!otp_budget_check(s, &runtime, &budget, err) || !otp_session_load(s, err)))
		code = otp_exit_code(err);
	else if (c->dry_run && !c->plan)
		code = otp_rehearse(s, &runtime, err) ? OTP_EXIT_OK : otp_exit_code(err);
	else if (!c->plan) {
		if (c->resume)
			otp_run_sweep(c->out);
		signal(SIGINT, on_interrupt);
		signal(SIGTERM, on_interrupt);
		otp_train_outcome end = otp_train(s, &runtime, &stop_asked, err);
		code = end == OTP_TRAIN_DONE	      ? OTP_EXIT_OK
		       : end == OTP_TRAIN_INTERRUPTED ? OTP_EXIT_INTERRUPTED
						      : otp_exit_code(err);
		if (end == OTP_TRAIN_DONE && !otp_summary_write(s, &runtime, err))
			code = otp_exit_code(err);
	}
	otp_runtime_close(&runtime);
	return code;
}

static void print_help(bool all)
{
	char *options = otp_config_help(all);
	printf("\nexamples\n"
	       "  otplan train --source photos/ --target paintings/ --image-size 64 --out runs/paint\n"
	       "  otplan train --source before.npy --target after.npy --sigma-end auto --out runs/points\n"
	       "\n%s",
	       options);
	if (!all)
		puts("\n`otplan help train --all` shows every option.");
	otp_free(options);
}

int otp_command_train(int argc, char **argv, otp_error *err)
{
	if (argc > 0 && strcmp(argv[0], "--help") == 0) {
		print_help(argc > 1 && strcmp(argv[1], "--all") == 0);
		return OTP_EXIT_OK;
	}
	otp_config c;
	otp_session s;
	if (!otp_options_parse(argc, argv, NULL, 0, "otplan train --source S --target T --out RUN [options]",
			       &c, err) ||
	    !otp_config_check(&c, err))
		return otp_exit_code(err);
	if (!c.out[0] && !c.plan && !c.dry_run)
		return otp_fail(err, "--out", "is needed: the folder of the run"), OTP_EXIT_USAGE;
	/* Before hours of decoding, not after. */
	if (c.out[0] && !c.resume && otp_run_exists(c.out))
		return otp_fail(err, c.out,
				"holds a run already; continue it with --resume or choose another --out"),
		       OTP_EXIT_USAGE;
	if (!otp_session_plan(&c, &s, err))
		return otp_exit_code(err);
	/* Pictures of a run inside its own data would make another set of them. */
	bool outside = !c.out[0] || (otp_outputs_outside(c.out, s.source, "--out", err) &&
				     otp_outputs_outside(c.out, s.target, "--out", err));
	int code = outside ? train_session(&s, err) : otp_exit_code(err);
	otp_session_close(&s);
	return code;
}
