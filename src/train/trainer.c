/* trainer: the steps of a run, what is done between them, and its beginning and end. */
#include "train/inside.h"
#include "core/file.h"
#include "core/log.h"
#include "core/words.h"
#include "model/run.h"
#include "train/forecast.h"
#include "train/origin.h"
#include "train/stop.h"
#include "train/summary.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- several processes ---- */

otp_group *otp_trainer_group(const otp_trainer *t) { return t->game.runtime->group; }
bool otp_trainer_leads(const otp_trainer *t) { return otp_group_leads(t->game.runtime->group); }

bool otp_trainer_by_lead(otp_trainer *t, bool (*act)(otp_trainer *t))
{
	return otp_group_agree(otp_trainer_group(t), !otp_trainer_leads(t) || act(t), t->err);
}

/* ---- the step ---- */

/* The mean of a report's column over steps of two kinds. */
static double mean(const otp_losses *l, otp_step_kind a, otp_step_kind b, enum otp_report_column column)
{
	double count = l->count[a] + (a == b ? 0 : l->count[b]);
	double sum = l->sum[a][column] + (a == b ? 0 : l->sum[b][column]);
	return count > 0 ? sum / count : NAN;
}

/* Losses are means over all updates since the last record; R1's over those that had it. */
static otp_metrics measure(const otp_trainer *t, const otp_losses *l)
{
	const otp_config *c = t->config;
	otp_metrics m = otp_metrics_at(t->game.step);
	double elapsed = otp_seconds() - t->started;
	m.time_s = otp_trainer_time(t);
	m.sigma = otp_settings_sigma(c, t->game.step);
	m.sigma_end = otp_settings_sigma(c, c->steps);
	m.loss_potential = mean(l, OTP_STEP_POTENTIAL, OTP_STEP_POTENTIAL_R1, OTP_REPORT_LOSS);
	m.loss_transport = mean(l, OTP_STEP_TRANSPORT, OTP_STEP_TRANSPORT, OTP_REPORT_LOSS);
	m.cost = mean(l, OTP_STEP_TRANSPORT, OTP_STEP_TRANSPORT, OTP_REPORT_COST);
	m.r1 = mean(l, OTP_STEP_POTENTIAL_R1, OTP_STEP_POTENTIAL_R1, OTP_REPORT_COST);
	m.potential_gap =
	    mean(l, OTP_STEP_POTENTIAL, OTP_STEP_POTENTIAL_R1, OTP_REPORT_REAL) -
	    mean(l, OTP_STEP_POTENTIAL, OTP_STEP_POTENTIAL_R1, OTP_REPORT_FAKE); /* to be scaled */
	m.r1_weight = otp_settings_r1(c, t->game.step);
	m.lr_g = c->lr_g * t->game.rate_factor * otp_settings_rate(c, t->game.step);
	m.lr_d = c->lr_d * t->game.rate_factor * otp_settings_rate(c, t->game.step);
	m.images_per_s = elapsed > 0 ? (double)(t->game.step - t->first_step) * c->batch / elapsed : NAN;
	return m;
}

static bool note_row(otp_trainer *t)
{
	double began = otp_seconds();
	otp_monitor_look(t->monitor, &t->row);
	t->looked_s = otp_seconds() - began;
	otp_progress_show(t->progress, &t->row);
	return otp_metrics_append(t->metrics, &t->row, t->err) &&
	       (!otp_session_holds_out(t->session) || !otp_monitor_found_best(t->monitor, t->game.step) ||
		otp_trainer_save_best(t));
}

/* The only place where training waits for the device, beside files. */
static bool log_step(otp_trainer *t)
{
	if (otp_trouble_find(&t->trouble, &t->game))
		return false;
	otp_losses losses = otp_engine_losses(t->game.engine);
	otp_metrics m = measure(t, &losses);
	otp_engine_set_losses(t->game.engine, NULL);
	otp_engine_collect_average(t->game.engine);
	t->row = m;
	return otp_trainer_by_lead(t, note_row);
}

static bool due(int64_t step, int every, int64_t steps) { return step % every == 0 || step == steps; }

/* After a step that broke. What follows depends on the checkpoint alone, which is written again with the new
 * rates before a step is taken. */
static bool roll_back(otp_trainer *t)
{
	otp_trouble trouble = t->trouble;
	int64_t from = t->game.step;
	double time_before = t->time_before;
	bool found = false;
	t->trouble = (otp_trouble){0};
	if (t->rollbacks >= t->config->rollbacks)
		return otp_group_agree(otp_trainer_group(t),
				       otp_rollback_give_up(&trouble, &t->game, t->rollbacks, t->err),
				       t->err);
	if (!otp_trainer_restore(t, &found))
		return false;
	if (!found) {
		otp_fail_machine(t->err, t->config->out, "%s, and the checkpoints are gone", trouble.what);
		return otp_group_agree(otp_trainer_group(t), false, t->err);
	}
	t->time_before = time_before;
	t->game.rate_factor /= 2;
	t->rollbacks++;
	bool told =
	    !otp_trainer_leads(t) || otp_rollback_tell(&trouble, &t->game, t->rollbacks, t->metrics, t->err);
	if (!otp_group_agree(otp_trainer_group(t), told, t->err) || !otp_trainer_save(t))
		return false;
	otp_game_rewind(&t->game);
	if (otp_trainer_leads(t)) {
		otp_monitor_forget(t->monitor, t->game.step);
		otp_progress_free(t->progress);
		t->progress = otp_progress_new(t->config->steps);
	}
	t->first_step -= from - t->game.step;
	return true;
}

/* Whether the run goes on: after success, and after a step that broke. */
static bool goes_on(otp_trainer *t, bool ok) { return ok || (t->trouble.step && roll_back(t)); }

static bool one_step(otp_trainer *t)
{
	const otp_config *c = t->config;
	if (!otp_game_step(&t->game, t->err))
		return false;
	int64_t step = t->game.step;
	bool ok = !otp_engine_refusal(t->game.engine) || !otp_trouble_find(&t->trouble, &t->game);
	/* The first at once, for whoever watches. */
	if (ok && (due(step, c->log_every, c->steps) || step == 1))
		ok = log_step(t);
	ok = ok && (!due(step, c->sample_every, c->steps) || otp_trainer_save_picture(t));
	ok = ok && (!due(step, c->snapshot_every, c->steps) || otp_trainer_save(t));
	return goes_on(t, ok);
}

/* Without MPI the processes' GPUs carry that too, which waits for their work: they ask each other less often.
 */
static bool asks_now(const otp_trainer *t)
{
	enum { STEPS_BETWEEN = 16 };
	return !otp_group_on_gpus(otp_trainer_group(t)) || t->game.step % STEPS_BETWEEN == 0;
}

/* What was wished between two steps; true where the training goes on. */
static bool heed(otp_trainer *t, otp_train_outcome *end)
{
	if (!asks_now(t))
		return true;
	otp_wish wish = otp_stop_wish(otp_trainer_group(t));
	if (wish == OTP_WISH_NONE || t->game.step == t->config->steps)
		return true;
	bool pictured = wish != OTP_WISH_KEEP;
	if (!goes_on(t, (!pictured || otp_trainer_save_picture(t)) && otp_trainer_save(t)))
		return false;
	if (wish == OTP_WISH_KEEP)
		return true;
	if (wish == OTP_WISH_SAVE) {
		otp_log("picture and checkpoint of step %lld were asked for", (long long)t->game.step);
		return true;
	}
	*end = wish == OTP_WISH_STOP ? OTP_TRAIN_STOPPED : OTP_TRAIN_TIME_UP;
	otp_log("%s at step %lld; continue with --resume",
		wish == OTP_WISH_STOP ? "interrupted" : "--max-time is nearly up: stopped",
		(long long)t->game.step);
	return false;
}

static bool write_config(otp_trainer *t)
{
	const otp_config *c = t->config;
	otp_error *err = t->err;
	char *text = otp_config_text(c, OTP_SCOPE_KEPT), *path = otp_run_path(c->out, "config.ini");
	bool ok = otp_file_write(path, text, strlen(text), err);
	otp_free(text);
	otp_free(path);
	return ok;
}

/* So that a full disk or a folder that cannot be written to shows now, not after hours. config.ini makes the
 * folder a run, and comes second: a run has a checkpoint, which alone knows who chose its sigma-end. */
static bool save_beginning(otp_trainer *t)
{
	return otp_trainer_save(t) && (t->config->resume || otp_trainer_by_lead(t, write_config));
}

/* Once, after the first steps that say it: how long the rest will take. The very first load code and fill
 * caches, and one of them measures. */
static void tell_time(otp_trainer *t)
{
	enum { WARM_UP = 2, MOST_STEPS = 100 };
	const double seconds = 2;
	int64_t done = t->game.step - t->paced_from;
	if (t->paced_from < 0 || !otp_trainer_leads(t))
		return;
	if (done == WARM_UP) {
		otp_engine_wait(t->game.engine);
		t->sample_s = otp_forecast_time_sample(t->session, t->sampler);
		otp_stop_pictured(t->sample_s * (double)otp_train_picture_samples(&t->session->arch));
		t->paced_since = otp_seconds();
	}
	int64_t timed = done - WARM_UP, left = t->config->steps - t->game.step;
	if (timed < 1 || (otp_seconds() - t->paced_since < seconds && timed < MOST_STEPS))
		return;
	otp_engine_wait(t->game.engine);
	double each = (otp_seconds() - t->paced_since) / (double)timed;
	otp_forecast f = {.step = each, .measure = t->looked_s, .sample = t->sample_s};
	double all = otp_forecast_run(&f, t->session, t->game.step), steps = each * (double)left;
	char text[OTP_DURATION_TEXT];
	t->paced_from = -1;
	if (left > 0)
		otp_log(
		    "about %s at this speed (%.3g s a step, %lld step%s; measuring and pictures are %.0f %%)",
		    otp_duration_text(all, text), each, (long long)left, otp_plural(left),
		    100 * (all - steps) / all);
}

static otp_train_outcome train_steps(otp_trainer *t)
{
	otp_train_outcome end = OTP_TRAIN_FAILED;
	otp_stop_begin(60 * t->config->snapshot_minutes);
	if ((t->game.step == 0 && !save_beginning(t)) || !otp_trainer_by_lead(t, otp_trainer_save_targets))
		return OTP_TRAIN_FAILED;
	t->paced_from = t->game.step;
	while (t->game.step < t->config->steps) {
		if (!one_step(t) || !heed(t, &end))
			return end;
		tell_time(t);
	}
	return OTP_TRAIN_DONE;
}

/* ---- set-up and end ---- */

static bool open_files(otp_trainer *t)
{
	const otp_config *c = t->config;
	char *log = otp_run_path(c->out, "log.txt"), *metrics = otp_run_path(c->out, "metrics.jsonl");
	bool ok = (c->resume || otp_run_create(c->out, t->err)) && otp_log_open(log, t->err) &&
		  (t->metrics = otp_metrics_open(metrics, t->err));
	otp_free(log);
	otp_free(metrics);
	return ok;
}

static void announce(const otp_trainer *t)
{
	const otp_session *s = t->session;
	char source[OTP_COUNT_TEXT], target[OTP_COUNT_TEXT];
	otp_log("source %s: %s; target %s: %s", s->source_info.spec,
		otp_session_count(&s->source_info, source), s->target_info.spec,
		otp_session_count(&s->target_info, target));
	char processes[40] = "";
	if (otp_trainer_group(t))
		snprintf(processes, sizeof processes, "%d processes, of ",
			 otp_group_size(otp_trainer_group(t)));
	char form[64];
	if (s->arch.vectors)
		snprintf(form, sizeof form, "vectors of %d value%s", s->arch.c, otp_plural(s->arch.c));
	else
		snprintf(form, sizeof form, "%dx%dx%d", s->arch.w, s->arch.h, s->arch.c);
	otp_log("%s; generator %lld parameters, potential %lld; %s, %s%d thread%s, batch in %d part%s, %s",
		form, (long long)otp_engine_params(t->game.engine, OTP_TRANSPORT)->trainable,
		(long long)otp_engine_params(t->game.engine, OTP_POTENTIAL)->trainable,
		t->game.runtime->backend->name, processes, otp_pool_workers(t->game.runtime->pool),
		otp_plural(otp_pool_workers(t->game.runtime->pool)), t->config->parts,
		otp_plural(t->config->parts), OTP_CHOICE_NAME(otp_precision, t->config->precision));
	int idle = otp_trainer_group(t) ? otp_group_size(otp_trainer_group(t)) - t->config->parts : 0;
	if (idle > 0)
		otp_log("%d of the processes only wait%s: there are fewer parts than processes (--parts)",
			idle, idle == 1 ? "s" : "");
	char *points = otp_points_text(t->config, &s->points),
	     *sigma_end = otp_sigma_end_text(t->config, &s->sigma_end);
	if (t->config->task == OTP_TASK_COLORIZE)
		otp_log(
		    "colouring: source are the grey pictures of one half, target the colours of the other; "
		    "translate --keep-luminance puts colours on an input's own grey");
	char *held = otp_session_held_text(s);
	otp_log("measured on %s: %s", otp_session_measured_on(s), held);
	otp_free(held);
	if (points)
		otp_log("%s", points);
	if (sigma_end)
		otp_log("%s", sigma_end);
	otp_free(points);
	otp_free(sigma_end);
	if (t->config->steps > t->config->schedule_steps)
		otp_log(
		    "the schedules take %d step%s; in the steps after that, sigma, R1 and the learning rates "
		    "keep their last values",
		    t->config->schedule_steps, otp_plural(t->config->schedule_steps));
}

/* On a CPU all memory is the host's: nothing to say unless it was asked for. */
static void announce_data(const otp_trainer *t)
{
	const otp_runtime *runtime = t->game.runtime;
	otp_engine_size size = otp_engine_measure(t->game.engine);
	if (size.data_bytes || runtime->backend->memory_free(runtime->device))
		otp_log("source %s, target %s: %.1f MiB of the device's memory",
			otp_resident_text(t->game.resident[OTP_SOURCE]),
			otp_resident_text(t->game.resident[OTP_TARGET]),
			(double)size.data_bytes / (1024.0 * 1024.0));
}

static bool save_summary(otp_trainer *t)
{
	const int64_t parameters[OTP_NETWORKS] = {
	    otp_engine_params(t->game.engine, OTP_TRANSPORT)->trainable,
	    otp_engine_params(t->game.engine, OTP_POTENTIAL)->trainable};
	return otp_summary_begin(t->session, t->game.runtime, parameters, t->err);
}

/* A continued run's verdicts go on from what was measured up to its checkpoint. */
static bool start_monitor(otp_trainer *t)
{
	otp_metrics *rows = NULL;
	size_t count = 0;
	char *path = otp_run_path(t->config->out, "metrics.jsonl");
	t->monitor = otp_monitor_new(t->session, t->sampler, t->err);
	bool ok = t->monitor && otp_metrics_read(path, &rows, &count, t->err);
	while (count > 0 && rows[count - 1].step > t->game.step)
		count--;
	if (ok)
		otp_monitor_recall(t->monitor, rows, count);
	otp_free(rows);
	otp_free(path);
	return ok;
}

/* Collective, and agreed on afterwards. */
static bool first_state(otp_trainer *t)
{
	bool found = false;
	if (t->config->resume && !otp_trainer_restore(t, &found))
		return false;
	return found || !t->config->from[0] || otp_origin_load(t->config, &t->game, t->err);
}

/* What the process that speaks and draws has beside the others. */
static bool start_lead(otp_trainer *t)
{
	t->sampler = otp_game_sampler(&t->game, false);
	if (!start_monitor(t))
		return false;
	t->progress = otp_progress_new(t->config->steps);
	return true;
}

static bool begin_files(otp_trainer *t)
{
	return (!t->config->resume || write_config(t)) && otp_trainer_read_pictures(t) &&
	       otp_session_hint(t->session, t->err);
}

static bool start(otp_trainer *t, otp_runtime *runtime)
{
	if (!otp_game_open(&t->game, t->session, runtime, t->err))
		return false;
	/* The config.ini of a resumed run has a number; its checkpoint, if there is one yet, knows more. */
	t->sigma_by = t->session->sigma_end.open ? OTP_SIGMA_BY_AUTO : OTP_SIGMA_BY_HAND;
	t->session->config.data_on_device = otp_game_data_on_device(&t->game);
	if (!otp_trainer_by_lead(t, open_files) || !otp_group_agree(runtime->group, first_state(t), t->err) ||
	    !otp_trainer_by_lead(t, begin_files))
		return false;
	announce(t);
	announce_data(t);
	if (!otp_trainer_by_lead(t, save_summary) || !otp_game_start(&t->game, t->err))
		return false;
	otp_engine_collect_average(t->game.engine);
	if (!otp_trainer_by_lead(t, start_lead))
		return false;
	t->first_step = t->game.step;
	t->started = otp_seconds();
	return true;
}

static void finish(otp_trainer *t)
{
	if (t->progress)
		otp_progress_free(t->progress);
	if (t->metrics)
		otp_metrics_close(t->metrics);
	otp_monitor_free(t->monitor);
	otp_sampler_free(t->sampler);
	otp_game_close(&t->game);
	otp_free(t->picture_x);
	otp_free(t->picture_targets);
}

otp_train_outcome otp_train(otp_session *s, otp_runtime *runtime, otp_error *err)
{
	otp_trainer t = {.session = s, .config = &s->config, .err = err};
	otp_train_outcome end = OTP_TRAIN_FAILED;
	if (start(&t, runtime)) {
		if (t.game.step == s->config.steps)
			otp_log("done already: all %d step%s", s->config.steps, otp_plural(s->config.steps));
		end = train_steps(&t);
	}
	otp_stop_end();
	bool learned = t.started > 0 && t.game.step > t.first_step;
	finish(&t);
	otp_log_close();
	/* What was learned until here is shown, whatever ended it; a second failure says nothing new. */
	otp_error second = {0};
	if (end != OTP_TRAIN_DONE && learned && otp_group_leads(runtime->group) &&
	    otp_summary_pages(s->config.out, false, &second))
		otp_summary_point(s->config.out);
	return end;
}
