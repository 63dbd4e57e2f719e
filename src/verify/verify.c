#include "verify/verify.h"
#include "core/log.h"
#include "report/grid.h"
#include "train/evaluate.h"
#include "train/game.h"
#include "train/rollback.h"
#include "verify/measure.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct verifier {
	const otp_problem *problem;
	otp_session session;
	otp_game game;
	char *const *pictures; /* paths; NULL: none */
	otp_verification *out;
	otp_error *err;
} verifier;

/* ---- training ------------------------------------------------------------------ */

/* A problem's law, spread evenly over every `strata` samples where the problem asks for it and the spec does
 * not say otherwise. */
static void stratify(const otp_problem *p, int strata, char spec[OTP_TEXT_BYTES])
{
	if (!p->stratified || strstr(spec, "strata="))
		return;
	size_t length = strlen(spec);
	snprintf(spec + length, OTP_TEXT_BYTES - length, "%cstrata=%d", strchr(spec, '?') ? '&' : '?',
		 strata);
}

static bool train(verifier *v)
{
	double started = otp_seconds();
	int steps = v->session.config.steps;
	if (!otp_game_start(&v->game, v->err))
		return false;
	while (v->game.step < steps)
		if (!otp_game_step(&v->game, v->err))
			return false;
	otp_trouble trouble;
	if (otp_trouble_find(&trouble, &v->game))
		otp_log("%s: training ended at step %lld: %s", v->problem->name, (long long)trouble.step,
			trouble.what);
	v->out->seconds = otp_seconds() - started;
	return true;
}

/* ---- measuring ----------------------------------------------------------------- */

static double final_sigma(const verifier *v)
{
	return otp_settings_sigma(&v->session.config, v->session.config.steps);
}

static otp_dataset *open_measured(const verifier *v, const char *runtime)
{
	char spec[OTP_TEXT_BYTES];
	const otp_config *c = &v->session.config;
	snprintf(spec, sizeof spec, "%s", runtime);
	stratify(v->problem, OTP_ASSIGNED_POINTS, spec);
	otp_dataset *set = otp_dataset_open(spec, c->seed, v->err);
	/* A source of a problem is grey by itself. */
	otp_preprocessing how = otp_preprocessing_of_target(&v->session.preprocessing);
	if (set && !otp_dataset_prepare(set, &how, v->session.arch.c, 1, v->err)) {
		otp_dataset_close(set);
		return NULL;
	}
	return set;
}

int otp_verify_pictures(const otp_problem *p, const otp_config *c, char *names[OTP_VERIFY_MOST_PICTURES])
{
	const char *formulation = OTP_CHOICE_NAME(otp_formulation, c->formulation);
	int count = 0;
	names[count++] = otp_format("%s-%s.png", p->name, formulation);
	if (p->truth == OTP_TRUTH_COLOURING)
		names[count++] = otp_format("%s-%s-hues.png", p->name, formulation);
	return count;
}

static bool write_points(const verifier *v, const otp_pairs *pairs)
{
	return otp_grid_write_points(v->pictures[0], pairs->source, pairs->output, pairs->count, 1,
				     pairs->target, pairs->count, 2, v->err);
}

static bool measure_vectors(verifier *v, const otp_dataset *source, const otp_dataset *target)
{
	otp_sampler *sampler = otp_game_sampler(&v->game, true);
	otp_pairs *pairs = otp_calloc(1, sizeof *pairs);
	v->out->count = otp_measure_vectors(v->problem, sampler, final_sigma(v), v->session.config.seed,
					    source, target, v->out->figures, pairs, v->err);
	bool ok = v->out->count > 0 && (!v->pictures || write_points(v, pairs));
	otp_free(pairs);
	otp_sampler_free(sampler);
	return ok;
}

static bool measure_images(verifier *v, const otp_dataset *source, const otp_dataset *target)
{
	otp_sampler *sampler = otp_game_sampler(&v->game, false);
	v->out->count = otp_measure_colouring(sampler, final_sigma(v), v->session.config.seed, source, target,
					      v->out->figures, v->pictures, v->err);
	otp_sampler_free(sampler);
	return v->out->count > 0;
}

static bool measure(verifier *v)
{
	otp_dataset *source = open_measured(v, v->problem->source);
	otp_dataset *target = source ? open_measured(v, v->problem->target) : NULL;
	bool vectors = v->session.arch.vectors;
	bool ok = target && (vectors ? measure_vectors : measure_images)(v, source, target);
	if (source)
		otp_dataset_close(source);
	if (target)
		otp_dataset_close(target);
	return ok;
}

/* ---- judging ------------------------------------------------------------------- */

const otp_figure *otp_verification_find(const otp_verification *v, const char *key)
{
	for (int i = 0; i < v->count; i++)
		if (strcmp(v->figures[i].key, key) == 0)
			return &v->figures[i];
	return NULL;
}

const otp_bar *otp_problem_bar(const otp_problem *p, const char *key)
{
	for (int i = 0; i < OTP_MAX_BARS && p->bars[i].key; i++)
		if (strcmp(p->bars[i].key, key) == 0)
			return &p->bars[i];
	return NULL;
}

bool otp_bar_met(const otp_bar *bar, double value) { return value >= bar->least && value <= bar->most; }

/* A figure that does not exist (the law at a point, of a plan without noise) meets no bar. */
static bool judge(const otp_verification *v)
{
	for (int i = 0; i < OTP_MAX_BARS && v->problem->bars[i].key; i++) {
		const otp_figure *f = otp_verification_find(v, v->problem->bars[i].key);
		if (!f || !otp_bar_met(&v->problem->bars[i], f->value))
			return false;
	}
	return true;
}

bool otp_verify(const otp_problem *p, const otp_config *c, otp_runtime *runtime, char *const *pictures,
		otp_verification *out, otp_error *err)
{
	verifier v = {.problem = p, .pictures = pictures, .out = out, .err = err};
	memset(out, 0, sizeof *out);
	out->problem = p;
	out->config = *c;
	/* Where noise comes in pairs, half the batch are sources of their own. */
	stratify(p, c->noise_pairs ? (c->batch + 1) / 2 : c->batch, out->config.source);
	stratify(p, c->batch, out->config.target);
	if (!otp_config_check(&out->config, err) || !otp_session_open(&out->config, &v.session, err))
		return false;
	out->config = v.session.config; /* with what the data settled */
	bool ok = otp_game_open(&v.game, &v.session, runtime, err) && train(&v) && measure(&v);
	otp_game_close(&v.game);
	otp_session_close(&v.session);
	out->pass = ok && judge(out);
	return ok;
}
