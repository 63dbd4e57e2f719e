#include "train/trainer.h"
#include "core/file.h"
#include "core/log.h"
#include "model/run.h"
#include "model/store.h"
#include "report/grid.h"
#include "report/progress.h"
#include "train/evaluate.h"
#include "train/forecast.h"
#include "train/game.h"
#include "train/monitor.h"
#include "train/origin.h"
#include "train/rollback.h"
#include "train/stop.h"
#include "train/summary.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PICTURE_ROWS = 8, PICTURE_SAMPLES = 7, TARGET_ROWS = 2, POINT_ROWS = 256, POINT_SAMPLES = 4 };

/* A run under way. */
typedef struct trainer {
	otp_session *session;
	const otp_config *config;
	otp_game game;
	otp_sampler *sampler;
	otp_monitor *monitor;
	otp_metrics_log *metrics;
	otp_progress *progress;
	int64_t first_step; /* so that steps done here count since then */
	double time_before, started;
	otp_sigma_by sigma_by;
	int64_t paced_from; /* step from which the first steps are timed; -1 once the time was told */
	double paced_since;
	double looked_s;     /* what the last measurement took */
	double sample_s;     /* what drawing one sample takes */
	int rollbacks;	     /* of the run so far */
	otp_trouble trouble; /* found, and not yet dealt with */
	otp_metrics row;     /* the last that was measured */
	float *picture_x, *picture_targets;
	int picture_rows, picture_samples, picture_target_count;
	otp_error *err;
} trainer;

char *otp_train_settings_text(const otp_config *c) { return otp_config_text(c, OTP_SCOPE_RUN); }

/* ---- several processes ---- */

static otp_group *group_of(const trainer *t) { return t->game.runtime->group; }
static bool leads(const trainer *t) { return otp_group_leads(t->game.runtime->group); }

/* What process 0 does for all, files above all: it fails for all, too. */
static bool by_lead(trainer *t, bool (*act)(trainer *t))
{
	return otp_group_agree(group_of(t), !leads(t) || act(t), t->err);
}

/* ---- state in and out ---- */

static double time_so_far(const trainer *t) { return t->time_before + otp_seconds() - t->started; }

static otp_data_facts data_facts(const otp_session *s, otp_side side)
{
	const otp_dataset_info *info = side == OTP_TARGET ? &s->target_info : &s->source_info;
	const otp_config *c = &s->config;
	const char *test = side == OTP_TARGET ? c->test_target : c->test_source;
	return (otp_data_facts){
	    .spec = otp_strdup(side == OTP_TARGET ? c->target : c->source),
	    .format = otp_strdup(info->format),
	    .count = info->count + info->withheld,
	    .test = *test ? otp_strdup(test) : NULL,
	    .withheld = s->withheld[side],
	    .withheld_of = s->withheld[side] ? info->listed : 0,
	    .digest_kind = otp_strdup(info->digest_kind),
	    .digest = info->digest,
	};
}

static otp_stored facts(trainer *t)
{
	const otp_session *s = t->session;
	otp_stored facts = {
	    .step = t->game.step,
	    .time_s = time_so_far(t),
	    .seed = t->config->seed,
	    .arch = s->arch,
	    .smoothing = s->smoothing,
	    .sigma = otp_settings_sigma(t->config, t->config->steps),
	    .sigma_by = t->sigma_by,
	    .source = data_facts(s, OTP_SOURCE),
	    .target = data_facts(s, OTP_TARGET),
	    .settings = otp_train_settings_text(t->config),
	    .rate_factor = t->game.rate_factor,
	    .rollbacks = t->rollbacks,
	    .losses = otp_engine_losses(t->game.engine),
	};
	if (!s->arch.vectors)
		otp_stored_set_preprocessing(&facts, &s->preprocessing);
	otp_engine_read_guard(t->game.engine, facts.guard);
	return facts;
}

static bool all_finite(const float *values, int64_t count)
{
	for (int64_t i = 0; i < count; i++)
		if (!isfinite(values[i]))
			return false;
	return true;
}

static void read_state(trainer *t, otp_stored *s)
{
	for (otp_network n = 0; n < OTP_NETWORKS; n++) {
		s->elements[n] = otp_engine_params(t->game.engine, n)->elements;
		if (leads(t))
			s->state[n] = otp_calloc_for(
			    "a copy of the state for the checkpoint (a smaller --width takes less)",
			    (size_t)(s->elements[n] * otp_engine_rows(n)), sizeof(float));
		otp_engine_collect(t->game.engine, n, s->state[n]);
	}
}

/* Copies what is to be saved; false where it is not finite: that must not take the place of a good state. */
static bool read_sound_state(trainer *t, otp_stored *s)
{
	read_state(t, s);
	bool finite = true;
	for (otp_network n = 0; n < OTP_NETWORKS && leads(t); n++)
		finite = finite && all_finite(s->state[n], s->elements[n] * otp_engine_rows(n));
	if (otp_group_most(group_of(t), !finite))
		otp_trouble_of_weights(&t->trouble, t->game.step);
	return !t->trouble.step;
}

/* The model before the checkpoint: a run killed between the two goes on from the checkpoint before and
 * writes both again, while one that finds its last checkpoint has nothing left to do. Untrained networks
 * make no model. */
static bool write_state(trainer *t, const otp_stored *s)
{
	const otp_config *c = t->config;
	const otp_params *const params[OTP_NETWORKS] = {otp_engine_params(t->game.engine, OTP_TRANSPORT),
							otp_engine_params(t->game.engine, OTP_POTENTIAL)};
	const float *average = s->state[OTP_TRANSPORT] + OTP_ROW_EMA * s->elements[OTP_TRANSPORT];
	char *model = otp_run_path(c->out, "model.h5");
	char *checkpoint = otp_run_step_path(c->out, "checkpoints", s->step, "h5");
	bool ok = otp_metrics_sync(t->metrics, t->err) &&
		  (s->step == 0 || otp_model_write(model, s, params[OTP_TRANSPORT], average, t->err)) &&
		  otp_checkpoint_write(checkpoint, s, params, t->err);
	if (ok)
		otp_run_prune(c->out, s->step, c->keep);
	otp_free(model);
	otp_free(checkpoint);
	return ok;
}

static bool save_state(trainer *t)
{
	double began = otp_seconds();
	if (otp_trouble_find(&t->trouble, &t->game))
		return false;
	otp_stored s = facts(t);
	bool ok =
	    read_sound_state(t, &s) && otp_group_agree(group_of(t), !leads(t) || write_state(t, &s), t->err);
	otp_stored_free(&s);
	otp_stop_saved(otp_seconds() - began);
	return ok;
}

static bool check_data(const otp_dataset *set, const otp_data_facts *stored, const char *path, otp_error *err)
{
	const char *spec = otp_dataset_describe(set).spec;
	switch (otp_dataset_compare(set, stored->digest_kind, stored->digest)) {
	case OTP_DIGEST_EQUAL:
		return true;
	case OTP_DIGEST_DIFFERS:
		return otp_fail(err, spec, "is not the data this run was trained on (%s)", path);
	default:
		return otp_fail(
		    err, path,
		    "knows its data by a digest of kind %s, which this program cannot compare with %s",
		    stored->digest_kind, spec);
	}
}

/* Whether config.ini still says what the run was trained with. Data are compared by their digests: where they
 * lie may have changed. */
static bool check_settings(const trainer *t, const otp_stored *s, const char *path)
{
	const otp_config *now = t->config;
	otp_config then;
	otp_config_defaults_stored(&then);
	if (!otp_config_parse(&then, s->settings, path, t->err))
		return false;
	otp_settings_settle_stored(&then);
	otp_config_settle(&then, now, OTP_SCOPE_RUN);
	memcpy(then.source, now->source, sizeof then.source);
	memcpy(then.target, now->target, sizeof then.target);
	memcpy(then.test_source, now->test_source, sizeof then.test_source);
	memcpy(then.test_target, now->test_target, sizeof then.test_target);
	const char *key = otp_config_difference(&then, now, OTP_SCOPE_RUN);
	if (!key)
		return true;
	char *file = otp_run_path(now->out, "config.ini");
	char *is = otp_config_value(now, key), *was = otp_config_value(&then, key);
	otp_fail(t->err, file,
		 "%s = %s, but the run was trained with %s = %s; a resumed run keeps its settings", key, is,
		 key, was);
	otp_free(file);
	otp_free(is);
	otp_free(was);
	return false;
}

/* A test set that config.ini no longer names, or names anew, would change what is trained on. */
static bool check_withheld(const trainer *t, otp_side side, const otp_data_facts *stored)
{
	static const char *const NAMES[] = {[OTP_SOURCE] = "test-source", [OTP_TARGET] = "test-target"};
	char *file = otp_run_path(t->config->out, "config.ini");
	int64_t withheld = t->session->withheld[side];
	bool ok = withheld == stored->withheld ||
		  otp_fail(t->err, file,
			   "withholds %lld samples, but the run was started with %lld withheld: %s must stay "
			   "as it was",
			   (long long)withheld, (long long)stored->withheld, NAMES[side]);
	otp_free(file);
	return ok;
}

/* A checkpoint of this run: same settings, same data, same networks. */
static bool check_checkpoint(const trainer *t, const otp_stored *s, const char *path)
{
	if (!check_data(t->session->source, &s->source, path, t->err) ||
	    !check_data(t->session->target, &s->target, path, t->err) || !check_settings(t, s, path) ||
	    !check_withheld(t, OTP_SOURCE, &s->source) || !check_withheld(t, OTP_TARGET, &s->target))
		return false;
	for (otp_network n = 0; n < OTP_NETWORKS; n++)
		if (s->elements[n] != otp_engine_params(t->game.engine, n)->elements)
			return otp_fail(t->err, path,
					"holds networks of another size than RUN/config.ini says");
	if (s->step > t->config->steps)
		return otp_fail(t->err, path, "is of step %lld, beyond --steps %d", (long long)s->step,
				t->config->steps);
	return true;
}

/* A model file that is missing or damaged is written anew from the checkpoint. */
static bool restore_model(trainer *t, const otp_stored *s)
{
	const otp_params *params = otp_engine_params(t->game.engine, OTP_TRANSPORT);
	char *path = otp_run_path(t->config->out, "model.h5");
	otp_error why = {0};
	bool ok = otp_model_check(path, params, &why) || why.exit_code == OTP_EXIT_USAGE;
	if (!ok) {
		*t->err = why;
	} else if (why.exit_code && s->step > 0) {
		otp_log("written anew from step %lld: %s", (long long)s->step, why.text);
		otp_stored now = facts(t); /* a checkpoint of version 1 knows less of itself */
		const float *average = s->state[OTP_TRANSPORT] + OTP_ROW_EMA * params->elements;
		ok = otp_model_write(path, &now, params, average, t->err);
		otp_stored_free(&now);
	}
	otp_free(path);
	return ok;
}

/* Where a run stands, beside the networks. */
typedef struct position {
	bool found;
	int64_t step;
	double rate_factor, time_s;
	int rollbacks;
	otp_sigma_by sigma_by;
	otp_losses losses;
	float guard[OTP_GUARD_VALUES];
} position;

static bool find_checkpoint(trainer *t, otp_stored *s, position *at)
{
	char *path;
	if (!otp_run_newest(t->config->out, INT64_MAX, s, &path, t->err))
		return false;
	at->found = path != NULL;
	bool ok = !path || check_checkpoint(t, s, path);
	if (path && ok) {
		*at = (position){true,	       s->step,	    s->rate_factor, s->time_s,
				 s->rollbacks, s->sigma_by, s->losses,	    {0}};
		memcpy(at->guard, s->guard, sizeof at->guard);
	}
	otp_free(path);
	return ok;
}

static void take_position(trainer *t, const position *at)
{
	otp_engine_set_losses(t->game.engine, &at->losses);
	otp_engine_set_guard(t->game.engine, at->guard);
	t->game.step = at->step;
	t->game.rate_factor = at->rate_factor;
	t->rollbacks = at->rollbacks;
	t->time_before = at->time_s;
	t->sigma_by = at->sigma_by;
}

/* Process 0 reads, and gives the others what is theirs. */
static bool restore(trainer *t, bool *found)
{
	otp_stored s = {0};
	position at = {0};
	bool ok = otp_group_agree(group_of(t), !leads(t) || find_checkpoint(t, &s, &at), t->err);
	otp_group_broadcast(group_of(t), &at, ok ? sizeof at : 0);
	*found = ok && at.found;
	if (ok && !at.found)
		otp_log("no checkpoint yet: starting from step 0");
	if (*found) {
		for (otp_network n = 0; n < OTP_NETWORKS; n++)
			otp_engine_deal(t->game.engine, n, s.state[n]);
		take_position(t, &at);
		otp_log("continuing %s from step %lld", t->config->out, (long long)t->game.step);
		ok = otp_group_agree(group_of(t), !leads(t) || restore_model(t, &s), t->err);
	}
	otp_stored_free(&s);
	return ok;
}

/* ---- pictures ---- */

static float *read_first(trainer *t, const otp_dataset *set, otp_side side, int count)
{
	const otp_arch *a = &t->session->arch;
	size_t floats = (size_t)a->h * (size_t)a->w * (size_t)a->c;
	float *x = otp_calloc((size_t)count * floats, sizeof *x);
	for (int i = 0; i < count; i++)
		if (!otp_dataset_get(set, otp_evaluate_index(set, side, i), 0, x + (size_t)i * floats,
				     t->err)) {
			otp_free(x);
			return NULL;
		}
	return x;
}

static bool read_picture_data(trainer *t)
{
	bool vectors = t->session->arch.vectors;
	const otp_dataset *source = otp_session_measured(t->session, OTP_SOURCE),
			  *target = otp_session_measured(t->session, OTP_TARGET);
	int64_t targets = otp_dataset_describe(target).count;
	t->picture_rows = vectors ? POINT_ROWS : PICTURE_ROWS;
	t->picture_samples = vectors ? POINT_SAMPLES : PICTURE_SAMPLES;
	t->picture_target_count = vectors ? POINT_ROWS : TARGET_ROWS * (1 + PICTURE_SAMPLES);
	if (!vectors && targets && targets < t->picture_target_count)
		t->picture_target_count = (int)targets;
	t->picture_x = read_first(t, source, OTP_SOURCE, t->picture_rows);
	t->picture_targets = read_first(t, target, OTP_TARGET, t->picture_target_count);
	return t->picture_x && t->picture_targets;
}

/* Real targets, which a page shows beside the samples; of points the samples' own picture has them. */
static bool save_targets(trainer *t)
{
	const otp_arch *a = &t->session->arch;
	char *path = otp_run_path(t->config->out, "samples/targets.png");
	bool ok = a->vectors || otp_file_exists(path) ||
		  otp_grid_write_images(path, t->picture_targets, t->picture_target_count,
					1 + PICTURE_SAMPLES, a->h, a->w, a->c, t->err);
	otp_free(path);
	return ok;
}

int64_t otp_train_picture_samples(const otp_arch *a)
{
	return a->vectors ? POINT_ROWS * POINT_SAMPLES : PICTURE_ROWS * PICTURE_SAMPLES;
}

size_t otp_train_picture_bytes(const otp_arch *a)
{
	size_t floats = (size_t)a->h * (size_t)a->w * (size_t)a->c;
	return 2 * (size_t)otp_train_picture_samples(a) * floats * sizeof(float) +
	       (a->vectors ? otp_grid_points_bytes()
			   : otp_grid_bytes(PICTURE_ROWS, PICTURE_SAMPLES, a->h, a->w));
}

/* Fixed inputs and noise through the whole run; sigma is the step's own, as trained. */
static bool draw_picture(trainer *t)
{
	const otp_arch *a = &t->session->arch;
	size_t floats = (size_t)a->h * (size_t)a->w * (size_t)a->c;
	size_t rows = (size_t)t->picture_rows, k = (size_t)t->picture_samples;
	float *x = otp_calloc(rows * k * floats, sizeof *x), *y = otp_calloc(rows * k * floats, sizeof *y);
	otp_stream *streams = otp_calloc(rows * k, sizeof *streams);
	for (size_t i = 0; i < rows * k; i++) {
		memcpy(x + i * floats, t->picture_x + i / k * floats, floats * sizeof *x);
		streams[i] = otp_stream_make(t->config->seed ^ 0x70696374757265u, (uint32_t)(i / k),
					     (uint32_t)(i % k));
	}
	otp_sampler_run(t->sampler, x, streams, (int64_t)(rows * k),
			otp_settings_sigma(t->config, t->game.step), y, NULL);
	char *path = otp_run_step_path(t->config->out, "samples", t->game.step, "png");
	bool ok = a->vectors
		      ? otp_grid_write_points(path, t->picture_x, y, (int)rows, (int)k, t->picture_targets,
					      t->picture_target_count, a->c, t->err)
		      : otp_grid_write(path, t->picture_x, y, (int)rows, (int)k, a->h, a->w, a->c, t->err);
	otp_free(path);
	otp_free(x);
	otp_free(y);
	otp_free(streams);
	return ok;
}

static bool save_picture(trainer *t)
{
	otp_engine_collect_average(t->game.engine);
	return by_lead(t, draw_picture);
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
static otp_metrics measure(const trainer *t, const otp_losses *l)
{
	const otp_config *c = t->config;
	otp_metrics m = otp_metrics_at(t->game.step);
	double elapsed = otp_seconds() - t->started;
	m.time_s = time_so_far(t);
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

static bool note_row(trainer *t)
{
	double began = otp_seconds();
	otp_monitor_look(t->monitor, &t->row);
	t->looked_s = otp_seconds() - began;
	otp_progress_show(t->progress, &t->row);
	return otp_metrics_append(t->metrics, &t->row, t->err);
}

/* The only place where training waits for the device, beside files. */
static bool log_step(trainer *t)
{
	if (otp_trouble_find(&t->trouble, &t->game))
		return false;
	otp_losses losses = otp_engine_losses(t->game.engine);
	otp_metrics m = measure(t, &losses);
	otp_engine_set_losses(t->game.engine, NULL);
	otp_engine_collect_average(t->game.engine);
	t->row = m;
	return by_lead(t, note_row);
}

static bool due(int64_t step, int every, int64_t steps) { return step % every == 0 || step == steps; }

/* After a step that broke. What follows depends on the checkpoint alone, which is written again with the new
 * rates before a step is taken. */
static bool roll_back(trainer *t)
{
	otp_trouble trouble = t->trouble;
	int64_t from = t->game.step;
	double time_before = t->time_before;
	bool found = false;
	t->trouble = (otp_trouble){0};
	if (t->rollbacks >= t->config->rollbacks)
		return otp_group_agree(
		    group_of(t), otp_rollback_give_up(&trouble, &t->game, t->rollbacks, t->err), t->err);
	if (!restore(t, &found))
		return false;
	if (!found) {
		otp_fail_machine(t->err, t->config->out, "%s, and the checkpoints are gone", trouble.what);
		return otp_group_agree(group_of(t), false, t->err);
	}
	t->time_before = time_before;
	t->game.rate_factor /= 2;
	t->rollbacks++;
	bool told = !leads(t) || otp_rollback_tell(&trouble, &t->game, t->rollbacks, t->metrics, t->err);
	if (!otp_group_agree(group_of(t), told, t->err) || !save_state(t))
		return false;
	otp_game_rewind(&t->game);
	if (leads(t)) {
		otp_monitor_forget(t->monitor, t->game.step);
		otp_progress_free(t->progress);
		t->progress = otp_progress_new(t->game.step, t->config->steps);
	}
	t->first_step -= from - t->game.step;
	return true;
}

/* Whether the run goes on: after success, and after a step that broke. */
static bool goes_on(trainer *t, bool ok) { return ok || (t->trouble.step && roll_back(t)); }

static bool one_step(trainer *t)
{
	const otp_config *c = t->config;
	if (!otp_game_step(&t->game, t->err))
		return false;
	int64_t step = t->game.step;
	bool ok = !otp_engine_refusal(t->game.engine) || !otp_trouble_find(&t->trouble, &t->game);
	/* The first at once, for whoever watches. */
	if (ok && (due(step, c->log_every, c->steps) || step == 1))
		ok = log_step(t);
	ok = ok && (!due(step, c->sample_every, c->steps) || save_picture(t));
	ok = ok && (!due(step, c->snapshot_every, c->steps) || save_state(t));
	return goes_on(t, ok);
}

/* Without MPI the processes' GPUs carry that too, which waits for their work: they ask each other less often.
 */
static bool asks_now(const trainer *t)
{
	enum { STEPS_BETWEEN = 16 };
	return !otp_group_on_gpus(group_of(t)) || t->game.step % STEPS_BETWEEN == 0;
}

/* What was wished between two steps; true where the training goes on. */
static bool heed(trainer *t, otp_train_outcome *end)
{
	if (!asks_now(t))
		return true;
	otp_wish wish = otp_stop_wish(group_of(t));
	if (wish == OTP_WISH_NONE || t->game.step == t->config->steps)
		return true;
	if (!goes_on(t, save_picture(t) && save_state(t)))
		return false;
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

static bool write_config(trainer *t)
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
static bool save_beginning(trainer *t)
{
	return save_state(t) && (t->config->resume || by_lead(t, write_config));
}

/* Once, after the first steps that say it: how long the rest will take. The very first load code and fill
 * caches, and one of them measures. */
static void tell_time(trainer *t)
{
	enum { WARM_UP = 2, MOST_STEPS = 100 };
	const double seconds = 2;
	int64_t done = t->game.step - t->paced_from;
	if (t->paced_from < 0 || !leads(t))
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
		    "about %s at this speed (%.3g s a step, %lld steps; measuring and pictures are %.0f %%)",
		    otp_duration_text(all, text), each, (long long)left, 100 * (all - steps) / all);
}

static otp_train_outcome train_steps(trainer *t)
{
	otp_train_outcome end = OTP_TRAIN_FAILED;
	otp_stop_begin();
	if ((t->game.step == 0 && !save_beginning(t)) || !by_lead(t, save_targets))
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

static bool open_files(trainer *t)
{
	const otp_config *c = t->config;
	char *log = otp_run_path(c->out, "log.txt"), *metrics = otp_run_path(c->out, "metrics.jsonl");
	bool ok = (c->resume || otp_run_create(c->out, t->err)) && otp_log_open(log, t->err) &&
		  (t->metrics = otp_metrics_open(metrics, t->err));
	otp_free(log);
	otp_free(metrics);
	return ok;
}

static void announce(const trainer *t)
{
	const otp_session *s = t->session;
	char source[OTP_COUNT_TEXT], target[OTP_COUNT_TEXT];
	otp_log("source %s: %s; target %s: %s", s->source_info.spec,
		otp_session_count(&s->source_info, source), s->target_info.spec,
		otp_session_count(&s->target_info, target));
	char processes[40] = "";
	if (group_of(t))
		snprintf(processes, sizeof processes, "%d processes, of ", otp_group_size(group_of(t)));
	otp_log(
	    "%dx%dx%d; generator %lld parameters, potential %lld; %s, %s%d threads, batch in %d part%s, %s",
	    s->arch.w, s->arch.h, s->arch.c,
	    (long long)otp_engine_params(t->game.engine, OTP_TRANSPORT)->trainable,
	    (long long)otp_engine_params(t->game.engine, OTP_POTENTIAL)->trainable,
	    t->game.runtime->backend->name, processes, otp_pool_workers(t->game.runtime->pool),
	    t->config->parts, t->config->parts == 1 ? "" : "s",
	    OTP_CHOICE_NAME(otp_precision, t->config->precision));
	int idle = group_of(t) ? otp_group_size(group_of(t)) - t->config->parts : 0;
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
	otp_log("measured on %s: %s", otp_session_holds_out(s) ? "held-out samples" : "what it has", held);
	otp_free(held);
	if (points)
		otp_log("%s", points);
	if (sigma_end)
		otp_log("%s", sigma_end);
	otp_free(points);
	otp_free(sigma_end);
	if (t->config->steps > t->config->schedule_steps)
		otp_log(
		    "the schedules take %d steps; in the steps after that, sigma, R1 and the learning rates "
		    "keep their last values",
		    t->config->schedule_steps);
}

/* On a CPU all memory is the host's: nothing to say unless it was asked for. */
static void announce_data(const trainer *t)
{
	const otp_runtime *runtime = t->game.runtime;
	otp_engine_size size = otp_engine_measure(t->game.engine);
	if (size.data_bytes || runtime->backend->memory_free(runtime->device))
		otp_log("source %s, target %s: %.1f MiB of the device's memory",
			otp_resident_text(t->game.resident[OTP_SOURCE]),
			otp_resident_text(t->game.resident[OTP_TARGET]),
			(double)size.data_bytes / (1024.0 * 1024.0));
}

static bool save_summary(trainer *t)
{
	const int64_t parameters[OTP_NETWORKS] = {
	    otp_engine_params(t->game.engine, OTP_TRANSPORT)->trainable,
	    otp_engine_params(t->game.engine, OTP_POTENTIAL)->trainable};
	return otp_summary_begin(t->session, t->game.runtime, parameters, t->err);
}

/* A continued run's verdicts go on from what was measured up to its checkpoint. */
static bool start_monitor(trainer *t)
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
static bool first_state(trainer *t)
{
	bool found = false;
	if (t->config->resume && !restore(t, &found))
		return false;
	return found || !t->config->from[0] || otp_origin_load(t->config, &t->game, t->err);
}

/* What the process that speaks and draws has beside the others. */
static bool start_lead(trainer *t)
{
	t->sampler = otp_game_sampler(&t->game, false);
	if (!start_monitor(t))
		return false;
	t->progress = otp_progress_new(t->game.step, t->config->steps);
	return true;
}

static bool begin_files(trainer *t)
{
	return (!t->config->resume || write_config(t)) && read_picture_data(t) &&
	       otp_session_hint(t->session, t->err);
}

static bool start(trainer *t, otp_runtime *runtime)
{
	if (!otp_game_open(&t->game, t->session, runtime, t->err))
		return false;
	/* The config.ini of a resumed run has a number; its checkpoint, if there is one yet, knows more. */
	t->sigma_by = t->session->sigma_end.open ? OTP_SIGMA_BY_AUTO : OTP_SIGMA_BY_HAND;
	t->session->config.data_on_device = otp_game_data_on_device(&t->game);
	if (!by_lead(t, open_files) || !otp_group_agree(runtime->group, first_state(t), t->err) ||
	    !by_lead(t, begin_files))
		return false;
	announce(t);
	announce_data(t);
	if (!by_lead(t, save_summary) || !otp_game_start(&t->game, t->err))
		return false;
	otp_engine_collect_average(t->game.engine);
	if (!by_lead(t, start_lead))
		return false;
	t->first_step = t->game.step;
	t->started = otp_seconds();
	return true;
}

static void finish(trainer *t)
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
	trainer t = {.session = s, .config = &s->config, .err = err};
	otp_train_outcome end = OTP_TRAIN_FAILED;
	if (start(&t, runtime)) {
		if (t.game.step == s->config.steps)
			otp_log("all %d steps are done already", s->config.steps);
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
