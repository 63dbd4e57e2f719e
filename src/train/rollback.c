#include "train/rollback.h"
#include "core/log.h"
#include "core/words.h"
#include "model/run.h"

#include <math.h>
#include <stdio.h>

static void describe(otp_trouble *t, const otp_refusal *r)
{
	const char *whose = otp_step_network(r->kind) == OTP_TRANSPORT ? "generator" : "potential";
	if (isfinite(r->norm))
		snprintf(t->what, sizeof t->what,
			 "the gradient of the %s has a norm of %.3g, the median before was %.3g", whose,
			 r->norm, r->median);
	else
		snprintf(t->what, sizeof t->what, "the gradient of the %s is not finite", whose);
}

bool otp_trouble_find(otp_trouble *t, otp_game *g)
{
	const otp_config *c = &g->session->config;
	otp_losses losses = otp_engine_losses(g->engine);
	const otp_refusal *r = otp_engine_refusal(g->engine);
	bool finite = true;
	*t = (otp_trouble){0};
	for (int kind = 0; kind < OTP_STEP_KINDS; kind++)
		for (int k = 0; k < OTP_REPORT_COUNT; k++)
			finite &= isfinite(losses.sum[kind][k]) != 0;
	if (r) {
		int updates = otp_step_network(r->kind) == OTP_TRANSPORT ? c->k_transport : c->k_potential;
		t->step = (r->count - 1) / updates + 1;
		t->usual = r->median;
		describe(t, r);
	} else if (!finite) {
		t->step = g->step;
		snprintf(t->what, sizeof t->what, "the losses are not finite");
	}
	return t->step > 0;
}

void otp_trouble_of_weights(otp_trouble *t, int64_t step)
{
	*t = (otp_trouble){.step = step};
	snprintf(t->what, sizeof t->what, "the weights are not finite");
}

bool otp_rollback_tell(const otp_trouble *t, const otp_game *g, int count, otp_metrics_log *log,
		       otp_error *err)
{
	const otp_config *c = &g->session->config;
	const otp_rollback_record record = {g->step, t->step, count, g->rate_factor, t->what};
	otp_log("rollback %d of %d: at step %lld %s; going on from step %lld with half the learning rates, "
		"%.3g of --lr_g and --lr_d",
		count, c->rollbacks, (long long)t->step, t->what, (long long)g->step, g->rate_factor);
	return otp_metrics_append_rollback(log, &record, err);
}

/* Rates above the preset's go back to it; where there are none, both go below all that were tried. */
static void lower_rates(const otp_game *g, double *lr_g, double *lr_d)
{
	const otp_config *c = &g->session->config;
	otp_config usual;
	otp_error ignored = {0};
	otp_config_defaults(&usual);
	otp_config_preset(&usual, c->preset, &ignored);
	bool high = c->lr_g > usual.lr_g || c->lr_d > usual.lr_d;
	*lr_g = high ? fmin(c->lr_g, usual.lr_g) : c->lr_g * g->rate_factor / 2;
	*lr_d = high ? fmin(c->lr_d, usual.lr_d) : c->lr_d * g->rate_factor / 2;
}

static void say_left(const otp_config *c, char *text, size_t bytes)
{
	int64_t *steps;
	otp_error ignored = {0};
	int count = otp_run_checkpoints(c->out, &steps, &ignored);
	if (count > 0 && steps[count - 1] > 0)
		snprintf(text, bytes, "the checkpoint and the model of step %lld are good",
			 (long long)steps[count - 1]);
	else
		snprintf(text, bytes, "nothing was learned before");
	otp_free(steps);
}

bool otp_rollback_give_up(const otp_trouble *t, const otp_game *g, int count, otp_error *err)
{
	const otp_config *c = &g->session->config;
	char left[96], clip[48] = "", after[80] = "";
	double lr_g, lr_d;
	lower_rates(g, &lr_g, &lr_d);
	say_left(c, left, sizeof left);
	if (t->usual > 0 && c->clip_norm <= 0)
		snprintf(clip, sizeof clip, " --clip-norm %.3g", t->usual);
	if (count)
		snprintf(after, sizeof after, ", after %d rollback%s with lower learning rates", count,
			 otp_plural(count));
	return otp_fail_machine(
	    err, c->out,
	    "training broke down at step %lld%s: %s; %s. Start a new run, in another --out, "
	    "with --lr_g %.3g --lr_d %.3g%s",
	    (long long)t->step, after, t->what, left, lr_g, lr_d, clip);
}
