#include "cli/commands.h"
#include "cli/options.h"
#include "cli/together.h"
#include "core/file.h"
#include "core/lock.h"
#include "core/log.h"
#include "data/outputs.h"
#include "data/root.h"
#include "model/run.h"
#include "report/html.h"
#include "train/budget.h"
#include "train/rehearse.h"
#include "train/stop.h"
#include "train/summary.h"
#include "train/trainer.h"

#include <stdio.h>
#include <string.h>

/* The presets named by size alone are for GPUs; who trains by one on a CPU should hear of the others in time.
 * The first steps tell later how long it takes (trainer). */
static void hint_at_small_preset(const otp_config *c)
{
	enum { MANY_STEPS = 10000 }; /* of a GPU's networks: seconds each, and more */
	otp_error ignored = {0};
	const otp_preset *preset = otp_preset_find(c->preset, &ignored);
	if (preset && preset->for_gpu && c->device == OTP_WHERE_CPU)
		otp_log("preset %s is made for a GPU%s; --preset %s is made for a CPU", c->preset,
			c->steps >= MANY_STEPS ? " and takes days or weeks on a CPU" : "",
			otp_settings_preset_for(false, c->image_size.h ? c->image_size.h : 32, false));
}

/* A folder of both sides, named as one set: its halves are mixed, and those that are held out elsewhere too.
 */
static void hint_at_root(const otp_session *s)
{
	char *source = otp_dataset_place(s->source), *target = otp_dataset_place(s->target);
	const char *places[] = {source, source && target && strcmp(source, target) == 0 ? NULL : target};
	for (int i = 0; i < 2; i++)
		if (places[i] && otp_file_is_folder(places[i]) && otp_root_is(places[i]))
			otp_log("%s holds two sides in folders of their own, and all of them are taken as "
				"one set "
				"here; --dataroot %s trains from one side to the other",
				places[i], places[i]);
	otp_free(source);
	otp_free(target);
}

/* What nobody said and the data or the device chose. */
static void say_choice(const otp_session *s, const otp_config *said)
{
	const otp_data_survey *v = &s->source_info.survey;
	otp_error ignored = {0};
	const otp_preset *preset = otp_preset_find(s->config.preset, &ignored);
	bool image = !s->arch.vectors && s->source_info.count && v->h_max;
	if (preset && !otp_config_said(said, "preset") && !said->from[0])
		otp_log("preset %s, for data and device: %s (--preset for another)", preset->name,
			preset->meaning);
	if (image && !otp_config_said(said, "image-size") &&
	    (v->h_min != s->arch.h || v->h_max != s->arch.h || v->w_min != s->arch.w ||
	     v->w_max != s->arch.w))
		otp_log("pictures of %dx%d%s are trained as %dx%d pixels%s (--image-size for another size)",
			v->w_max, v->h_max, v->h_min < v->h_max || v->w_min < v->w_max ? " and less" : "",
			s->arch.w, s->arch.h,
			v->w_max < s->arch.w || v->h_max < s->arch.h
			    ? ", enlarged: that adds time, and no detail"
			    : "");
}

/* The run's folder is this process's from here on, before anything in it is touched: temporaries there are
 * what a killed process left. */
static bool lock_run(const char *run, otp_lock **lock, otp_error *err)
{
	char *path = otp_run_path(run, "lock");
	if (!*lock && otp_file_make_folder(run, err) && (*lock = otp_lock_take(path, err)))
		otp_run_sweep(run);
	otp_free(path);
	return *lock != NULL;
}

/* ---- several processes ---- */

/* Whether the line `key = value` is of a setting that each process may have its own way. */
static bool is_own(const char *line)
{
	static const char *const KEYS[] = {"config", "data-on-device", "device", "threads", "workers"};
	size_t length = strcspn(line, " ");
	for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
		if (strlen(KEYS[i]) == length && strncmp(line, KEYS[i], length) == 0)
			return true;
	return *line == '#';
}

/* One build writes the same lines, in the same order. */
static bool same_settings(otp_group *g, const otp_config *c, otp_scope scopes, otp_error *err)
{
	char *text = otp_config_text(c, scopes), *rest = text, *line;
	bool ok = true;
	while (ok && (line = strtok_r(rest, "\n", &rest)))
		ok = is_own(line) || otp_group_same(g, "a setting", line, err);
	otp_free(text);
	return ok;
}

static bool same_command(otp_group *g, const otp_config *c, otp_error *err)
{
	return !g || (otp_together_same_build(g, err) &&
		      same_settings(g, c, OTP_SCOPE_COMMAND | OTP_SCOPE_KEPT, err));
}

static bool same_set(otp_group *g, const char *what, otp_dataset *d, otp_error *err)
{
	bool ok = !d || otp_dataset_digest(d, otp_group_threads(g), err);
	return otp_group_agree(g, ok, err) &&
	       otp_together_same_digest(g, what, d ? otp_dataset_describe(d).digest : 0, err);
}

/* Samples that are withheld are the sets' own, chosen by the seed. */
static bool same_run(otp_session *s, otp_group *g, otp_error *err)
{
	return !g || (same_settings(g, &s->config, OTP_SCOPE_RUN, err) &&
		      same_set(g, "the digest of the source", s->source, err) &&
		      same_set(g, "the digest of the target", s->target, err) &&
		      same_set(g, "the digest of the source's test set", s->test[OTP_SOURCE], err) &&
		      same_set(g, "the digest of the target's test set", s->test[OTP_TARGET], err));
}

/* ---- the run ---- */

static bool sum_up(otp_session *s, otp_runtime *runtime, otp_error *err)
{
	bool ok = !otp_group_leads(runtime->group) || otp_summary_write(s, runtime, err);
	return otp_group_agree(runtime->group, ok, err);
}

static int train_and_sum_up(otp_session *s, otp_runtime *runtime, otp_lock **lock, otp_error *err)
{
	bool locked = !otp_group_leads(runtime->group) || lock_run(s->config.out, lock, err);
	if (!otp_group_agree(runtime->group, locked, err))
		return otp_exit_code(err);
	switch (otp_train(s, runtime, err)) {
	case OTP_TRAIN_DONE:
		return sum_up(s, runtime, err) ? OTP_EXIT_OK : otp_exit_code(err);
	case OTP_TRAIN_STOPPED:
		return otp_stop_exit_code();
	case OTP_TRAIN_TIME_UP:
		return OTP_EXIT_TIME_UP;
	default:
		return otp_exit_code(err);
	}
}

static bool fit_and_load(otp_session *s, otp_runtime *runtime, otp_error *err)
{
	const otp_config *c = &s->config;
	if (*c->memory && !otp_budget_choose(s, runtime, err))
		return false;
	otp_budget budget = otp_budget_of(s, runtime);
	if (c->plan || c->dry_run)
		otp_budget_print(s, runtime, &budget);
	/* Before hours of decoding, not after. */
	bool ok = c->plan || (otp_budget_check(s, runtime, &budget, err) && otp_session_load(s, err));
	return otp_group_agree(runtime->group, ok, err) && (c->plan || same_run(s, runtime->group, err));
}

static int train_session(otp_session *s, otp_group *group, otp_lock **lock, otp_error *err)
{
	otp_runtime runtime;
	otp_config *c = &s->config;
	if (!otp_session_open_runtime(c, s->arch.vectors, group, &runtime, err))
		return otp_exit_code(err);
	if (!c->resume)
		hint_at_small_preset(c);
	int code = OTP_EXIT_OK;
	if (!otp_together_same_computing(group, &runtime, err) || !fit_and_load(s, &runtime, err))
		code = otp_exit_code(err);
	else if (c->dry_run && !c->plan)
		code = otp_rehearse(s, &runtime, err) ? OTP_EXIT_OK : otp_exit_code(err);
	else if (!c->plan)
		code = train_and_sum_up(s, &runtime, lock, err);
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

/* Pictures of a run inside its own data would make another set of them. */
static bool is_outside(const otp_session *s, otp_error *err)
{
	const char *out = s->config.out;
	const otp_dataset *sets[] = {s->source, s->target, s->test[OTP_SOURCE], s->test[OTP_TARGET]};
	bool ok = true;
	for (int i = 0; ok && out[0] && i < 4; i++)
		ok = !sets[i] || otp_outputs_outside(out, sets[i], "--out", err);
	return ok;
}

/* Of auto, whether one can be used. */
static bool wants_gpu(const otp_config *c)
{
	otp_error ignored = {0};
	return c->device == OTP_WHERE_CUDA ||
	       (c->device == OTP_WHERE_AUTO && otp_backend_find("cuda", &ignored));
}

/* MPI is joined before there is a command line; who is started for GPUs, after it has asked for them. */
static bool read_command(int argc, char **argv, otp_group **group, otp_config *c, otp_error *err)
{
	if (!otp_options_parse(
		argc, argv, NULL, 0,
		"otplan train --source S --target T --out RUN [options], or train --resume --out RUN", c,
		err) ||
	    !otp_config_check(c, err))
		return false;
	if (!c->out[0] && !c->plan && !c->dry_run)
		return otp_fail(err, "--out", "is needed: the folder of the run");
	if (!*group && otp_group_for_gpus() &&
	    !otp_group_join_gpus(group, wants_gpu(c), c->process_timeout, err))
		return false;
	if (c->dry_run && *group)
		return otp_fail(err, "--dry-run", "is of one process: start it without mpirun or srun");
	/* Before hours of decoding, not after. */
	return !c->out[0] || c->resume || otp_run_may_begin(c->out, err);
}

/* All that is known before the device is opened. */
static bool prepare(const otp_config *c, const otp_group *group, otp_session *s, otp_lock **lock,
		    otp_error *err)
{
	double limit = 0;
	bool writes = !c->plan && !c->dry_run;
	otp_config_duration(c->max_time, "--max-time", &limit, err);
	if (writes)
		otp_stop_listen(limit);
	if (writes && c->resume && otp_group_leads(group) && !lock_run(c->out, lock, err))
		return false;
	if (!otp_session_plan(c, s, err))
		return false;
	if (!c->resume) {
		hint_at_root(s);
		say_choice(s, c);
	}
	if (is_outside(s, err))
		return true;
	otp_session_close(s);
	return false;
}

static int train_in(otp_group **group, int argc, char **argv, otp_error *err)
{
	otp_config c;
	otp_session s = {0};
	otp_lock *lock = NULL;
	bool read = read_command(argc, argv, group, &c, err);
	if (!*group && err->exit_code == OTP_EXIT_USAGE)
		otp_group_end_others(); /* who never met and says the same */
	bool ok = otp_group_agree(*group, read, err) && same_command(*group, &c, err);
	if (ok) {
		otp_group_watch(*group, c.process_timeout, ", continue with --resume");
		ok = otp_group_agree(*group, prepare(&c, *group, &s, &lock, err), err);
	}
	int code = ok ? train_session(&s, *group, &lock, err) : otp_exit_code(err);
	otp_session_close(&s);
	otp_lock_release(lock);
	return code;
}

int otp_command_train(int argc, char **argv, otp_error *err)
{
	otp_group *group = NULL;
	if (argc > 0 && strcmp(argv[0], "--help") == 0) {
		print_help(argc > 1 && strcmp(argv[1], "--all") == 0);
		return OTP_EXIT_OK;
	}
	if (!otp_group_for_gpus() && !otp_group_join(&group, err))
		return otp_exit_code(err);
	int code = train_in(&group, argc, argv, err);
	otp_group_leave(group, err);
	return code;
}
