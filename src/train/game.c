#include "train/game.h"

#include <string.h>

otp_engine_settings otp_game_engine_settings(const otp_session *s)
{
	const otp_config *c = &s->config;
	otp_engine_settings settings = {
	    .objective = s->objective,
	    .batch = c->batch,
	    .r1_used = c->r1 > 0,
	    .plain_used = c->r1 <= 0 || c->r1_end == 0 || c->r1_every > 1,
	    .beta1 = c->beta1,
	    .beta2 = c->beta2,
	};
	return settings;
}

void otp_game_open(otp_game *g, const otp_session *s, otp_place_of_work *place)
{
	memset(g, 0, sizeof *g);
	g->session = s;
	g->place = place;
	otp_engine_settings settings = otp_game_engine_settings(s);
	g->engine = otp_engine_new(place, &settings);
	otp_engine_init(g->engine, s->config.seed);
}

static otp_loader *open_loader(const otp_game *g, int which)
{
	const otp_config *c = &g->session->config;
	int draws = which == 0 ? c->k_potential + c->k_transport : c->k_potential;
	const otp_dataset *d = which == 0 ? g->session->source : g->session->target;
	return otp_loader_new(d, c->batch, c->seed, which, c->flip, c->workers, (uint32_t)(g->step * draws));
}

void otp_game_start_loaders(otp_game *g)
{
	g->source = open_loader(g, 0);
	g->target = open_loader(g, 1);
}

void otp_game_close(otp_game *g)
{
	if (g->source)
		otp_loader_free(g->source);
	if (g->target)
		otp_loader_free(g->target);
	otp_engine_free(g->engine);
	memset(g, 0, sizeof *g);
}

/* Draws of noise and source data are numbered through: k_potential + k_transport an outer step. */
static otp_update update_for(const otp_game *g, int sub_step)
{
	const otp_config *c = &g->session->config;
	int64_t step = g->step + 1;
	double sigma = otp_settings_sigma(c, step);
	otp_update u = {
	    .seed = c->seed,
	    .draw = (uint32_t)((uint64_t)g->step * (uint64_t)(c->k_potential + c->k_transport) +
			       (uint64_t)sub_step),
	    .sigma = sigma,
	    .keep = otp_smoothing_keep(g->session->smoothing, sigma),
	};
	return u;
}

static bool potential_updates(otp_game *g, double *report, otp_error *err)
{
	const otp_config *c = &g->session->config;
	for (int k = 0; k < c->k_potential; k++) {
		const float *x = otp_loader_next(g->source, err);
		const float *y = x ? otp_loader_next(g->target, err) : NULL;
		if (!y)
			return false;
		otp_update u = update_for(g, k);
		u.rate = c->lr_d * otp_settings_rate(c, g->step + 1);
		u.count = g->step * c->k_potential + k + 1;
		if ((u.count - 1) % c->r1_every == 0)
			u.r1 = otp_settings_r1(c, g->step + 1) * c->r1_every;
		/* With lazy R1 the report is of the last step that had it, if it is wanted at all. */
		otp_engine_potential_step(g->engine, x, y, &u, report);
	}
	return true;
}

static bool transport_updates(otp_game *g, double *report, otp_error *err)
{
	const otp_config *c = &g->session->config;
	for (int k = 0; k < c->k_transport; k++) {
		const float *x = otp_loader_next(g->source, err);
		if (!x)
			return false;
		otp_update u = update_for(g, c->k_potential + k);
		u.rate = c->lr_g * otp_settings_rate(c, g->step + 1);
		u.count = g->step * c->k_transport + k + 1;
		/* The average moves once an outer step, and in its youth no slower than its age. */
		double young = (double)(g->step + 1) / (double)(g->step + 10);
		u.ema = k + 1 < c->k_transport ? 1 : c->ema < young ? c->ema : young;
		otp_engine_transport_step(g->engine, x, &u, report);
	}
	return true;
}

bool otp_game_step(otp_game *g, double *potential, double *transport, otp_error *err)
{
	if (!potential_updates(g, potential, err) || !transport_updates(g, transport, err))
		return false;
	g->step++;
	return true;
}

otp_sampler *otp_game_sampler(otp_game *g, bool given_noise)
{
	otp_params *params = otp_engine_params(g->engine, OTP_SPAN_TRANSPORT);
	return otp_sampler_new(g->place, &g->session->arch, params,
			       otp_engine_span(g->engine, OTP_SPAN_TRANSPORT), OTP_ROW_EMA * params->elements,
			       g->session->smoothing, given_noise);
}
