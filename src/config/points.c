#include "config/points.h"
#include "data/loader.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Where the source has a density the best plan is a map: nothing is smoothed, so that no noise has to be
 * learned away, and the last of the error is that of the networks. It falls with their width, with first
 * layers that bend faster than usual, and with rates that start high and fall early and far. R1 shortens
 * displacements by 2 tau r1: 0.6 % at the end. docs/method.md has the trials. */
static const char *const MAP_LINES[][2] = {
    {"steps", "9000"},	  {"precision", "bf16"}, {"width", "256"},	{"potential-width", "256"},
    {"k-transport", "3"}, {"lr_g", "1e-3"},	 {"decay-from", "0.2"}, {"decay-to", "0.005"},
    {"ema", "0.999"},	  {"r1-end", "3e-3"},	 {"sharpness", "2"},	{"potential-sharpness", "3"},
};

/* The potential's rate is what the generator can follow. In many dimensions it follows more slowly: at 5e-4 a
 * plan of 64 dimensions swung between the target's modes for good (L2-UVP 35 %), at 2e-4 it came to rest
 * (4 %), while in up to 32 faster was better. */
static double potential_rate(int64_t values)
{
	const double full = 5e-4, dimensions = 32;
	return full * fmin(1, dimensions / (double)values);
}

/* These say the same thing together: whoever sets one of them wants smoothing as the preset has it. */
static const char *const NO_SMOOTHING[][2] = {
    {"sigma-start", "0"}, {"sigma-end", "0"}, {"anneal", "none"}, {"condition-noise", "off"}};

static bool smoothing_said(const otp_config *c)
{
	return otp_config_said(c, "sigma-start") || otp_config_said(c, "anneal") ||
	       otp_config_said(c, "smoothing") || otp_config_said(c, "noise-pairs") ||
	       (otp_config_said(c, "sigma-end") && c->sigma_end != OTP_AUTO);
}

static bool set_unsaid(otp_config *c, const char *const line[2], otp_error *err)
{
	if (otp_config_said(c, line[0]) && !(strcmp(line[0], "sigma-end") == 0 && c->sigma_end == OTP_AUTO))
		return true;
	return otp_config_set(c, line[0], line[1], "--preset vector", err);
}

static bool look(const otp_dataset *source, otp_points *p, otp_error *err)
{
	otp_dataset_info info = otp_dataset_describe(source);
	p->values = info.c;
	p->sample = otp_dimension_sample(info.count ? info.count : INT64_MAX, p->values);
	float *points = otp_calloc((size_t)p->sample, (size_t)p->values * sizeof *points);
	bool ok = otp_loader_survey(source, p->sample, points, err);
	if (ok && otp_dimension_estimate(points, p->sample, p->values, &p->dimension)) {
		p->found = otp_density_estimate(points, p->sample, p->values);
		p->density = otp_density_holds(&p->found, &p->dimension, p->sample);
	}
	otp_free(points);
	return ok;
}

bool otp_points_settle(otp_config *c, otp_dataset *source, otp_points *p, otp_error *err)
{
	memset(p, 0, sizeof *p);
	otp_dataset_info info = otp_dataset_describe(source);
	if (info.kind != OTP_DATA_VECTORS || strcmp(c->preset, "vector") != 0 || c->resume)
		return true;
	if (!otp_dataset_load(source, c->workers, err) || !look(source, p, err))
		return false;
	p->decided = true;
	if (!p->density)
		return true;
	bool smooth = smoothing_said(c), ok = true;
	for (size_t i = 0; ok && !smooth && i < sizeof NO_SMOOTHING / sizeof *NO_SMOOTHING; i++)
		ok = set_unsaid(c, NO_SMOOTHING[i], err);
	for (size_t i = 0; ok && !smooth && i < sizeof MAP_LINES / sizeof *MAP_LINES; i++)
		ok = set_unsaid(c, MAP_LINES[i], err);
	char rate[32];
	snprintf(rate, sizeof rate, "%.2g", potential_rate(p->values));
	return ok && (smooth || set_unsaid(c, (const char *const[]){"lr_d", rate}, err));
}

char *otp_points_text(const otp_config *c, const otp_points *p)
{
	if (!p->decided)
		return NULL;
	char *seen =
	    otp_format("dimension %.3g of %lld (TwoNN; a normal law of its covariance shows %.3g), least "
		       "spread %.2g of the mean one",
		       p->dimension.m, (long long)p->values, p->found.normal_m, p->found.flattest);
	char *text =
	    p->density && c->sigma_end == 0
		? otp_format("the source has a density, so the best plan is a map: no smoothing, no noise "
			     "as input, width %d and %d, %d updates of the generator a step, rates %g and "
			     "%g (%s)",
			     c->width, c->potential_width, c->k_transport, c->lr_g, c->lr_d, seen)
		: otp_format("%s: smoothing as set (%s)",
			     p->density ? "the source has a density" : "the source has no density", seen);
	otp_free(seen);
	return text;
}
