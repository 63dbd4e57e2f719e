/* state: a run into its checkpoint and model file, and back. */
#include "train/inside.h"
#include "core/log.h"
#include "model/run.h"
#include "model/store.h"
#include "train/stop.h"

#include <math.h>
#include <string.h>

char *otp_train_settings_text(const otp_config *c) { return otp_config_text(c, OTP_SCOPE_RUN); }

double otp_trainer_time(const otp_trainer *t) { return t->time_before + otp_seconds() - t->started; }

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

static otp_stored facts(otp_trainer *t)
{
	const otp_session *s = t->session;
	otp_stored facts = {
	    .step = t->game.step,
	    .time_s = otp_trainer_time(t),
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

static void read_state(otp_trainer *t, otp_stored *s)
{
	for (otp_network n = 0; n < OTP_NETWORKS; n++) {
		s->elements[n] = otp_engine_params(t->game.engine, n)->elements;
		if (otp_trainer_leads(t))
			s->state[n] = otp_calloc_for(
			    "a copy of the state for the checkpoint (a smaller --width takes less)",
			    (size_t)(s->elements[n] * otp_engine_rows(n)), sizeof(float));
		otp_engine_collect(t->game.engine, n, s->state[n]);
	}
}

/* Copies what is to be saved; false where it is not finite: that must not take the place of a good state. */
static bool read_sound_state(otp_trainer *t, otp_stored *s)
{
	read_state(t, s);
	bool finite = true;
	for (otp_network n = 0; n < OTP_NETWORKS && otp_trainer_leads(t); n++)
		finite = finite && all_finite(s->state[n], s->elements[n] * otp_engine_rows(n));
	if (otp_group_most(otp_trainer_group(t), !finite))
		otp_trouble_of_weights(&t->trouble, t->game.step);
	return !t->trouble.step;
}

/* The model before the checkpoint: a run killed between the two goes on from the checkpoint before and
 * writes both again, while one that finds its last checkpoint has nothing left to do. Untrained networks
 * make no model. */
static bool write_state(otp_trainer *t, const otp_stored *s)
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

bool otp_trainer_save(otp_trainer *t)
{
	double began = otp_seconds();
	if (otp_trouble_find(&t->trouble, &t->game))
		return false;
	otp_stored s = facts(t);
	bool ok = read_sound_state(t, &s) &&
		  otp_group_agree(otp_trainer_group(t), !otp_trainer_leads(t) || write_state(t, &s), t->err);
	otp_stored_free(&s);
	otp_stop_saved(otp_seconds() - began);
	return ok;
}

bool otp_trainer_save_best(otp_trainer *t)
{
	const otp_params *params = otp_engine_params(t->game.engine, OTP_TRANSPORT);
	otp_stored s = facts(t);
	s.sigma = otp_settings_sigma(t->config, t->game.step);
	float *average = otp_calloc((size_t)params->elements, sizeof *average);
	otp_engine_read_average(t->game.engine, average);
	char *path = otp_run_path(t->config->out, "model-best.h5");
	bool ok = otp_model_write(path, &s, params, average, t->err);
	otp_free(path);
	otp_free(average);
	otp_stored_free(&s);
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
static bool check_settings(const otp_trainer *t, const otp_stored *s, const char *path)
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
static bool check_withheld(const otp_trainer *t, otp_side side, const otp_data_facts *stored)
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
static bool check_checkpoint(const otp_trainer *t, const otp_stored *s, const char *path)
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
static bool restore_model(otp_trainer *t, const otp_stored *s)
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

static bool find_checkpoint(otp_trainer *t, otp_stored *s, position *at)
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

static void take_position(otp_trainer *t, const position *at)
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
bool otp_trainer_restore(otp_trainer *t, bool *found)
{
	otp_stored s = {0};
	position at = {0};
	bool ok = otp_group_agree(otp_trainer_group(t), !otp_trainer_leads(t) || find_checkpoint(t, &s, &at),
				  t->err);
	otp_group_broadcast(otp_trainer_group(t), &at, ok ? sizeof at : 0);
	*found = ok && at.found;
	if (ok && !at.found)
		otp_log("no checkpoint yet: starting from step 0");
	if (*found) {
		for (otp_network n = 0; n < OTP_NETWORKS; n++)
			otp_engine_deal(t->game.engine, n, s.state[n]);
		take_position(t, &at);
		otp_log("continuing %s from step %lld", t->config->out, (long long)t->game.step);
		ok = otp_group_agree(otp_trainer_group(t), !otp_trainer_leads(t) || restore_model(t, &s),
				     t->err);
	}
	otp_stored_free(&s);
	return ok;
}
