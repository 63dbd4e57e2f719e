#include "config/points.h"
#include "data/loader.h"
#include "ot/distance.h"

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

static bool set_unsaid_number(otp_config *c, const char *key, double value, otp_error *err)
{
	char text[32];
	snprintf(text, sizeof text, "%.6g", value);
	return set_unsaid(c, (const char *const[]){key, text}, err);
}

static float *read_sample(const otp_dataset *set, int most, int *n, otp_error *err)
{
	otp_dataset_info info = otp_dataset_describe(set);
	*n = info.count && info.count < most ? (int)info.count : most;
	float *points = otp_calloc((size_t)*n, (size_t)info.c * sizeof *points);
	if (otp_loader_survey(set, *n, points, err))
		return points;
	otp_free(points);
	return NULL;
}

/* ---- density ---- */

static void look(const float *source, int n, otp_points *p)
{
	p->sample = n;
	if (otp_dimension_estimate(source, n, p->values, &p->dimension)) {
		p->found = otp_density_estimate(source, n, p->values);
		p->density = otp_density_holds(&p->found, &p->dimension, n);
	}
}

static bool set_for_map(otp_config *c, const otp_points *p, otp_error *err)
{
	bool ok = true;
	for (size_t i = 0; ok && i < sizeof NO_SMOOTHING / sizeof *NO_SMOOTHING; i++)
		ok = set_unsaid(c, NO_SMOOTHING[i], err);
	for (size_t i = 0; ok && i < sizeof MAP_LINES / sizeof *MAP_LINES; i++)
		ok = set_unsaid(c, MAP_LINES[i], err);
	return ok && set_unsaid_number(c, "lr_d", potential_rate(p->values), err);
}

/* ---- scale ---- */

/* Both sides count alike, so that neither order of the two changes anything. */
static otp_extent extent_of(const float *const points[OTP_SIDES], const int n[OTP_SIDES], size_t d)
{
	otp_extent e = {0};
	for (int side = 0; side < OTP_SIDES; side++) {
		double squares = 0;
		for (size_t k = 0; k < d; k++) {
			double sum = 0;
			for (int i = 0; i < n[side]; i++)
				sum += (double)points[side][(size_t)i * d + k];
			squares += sum / n[side] * (sum / n[side]);
		}
		e.off_centre = fmax(e.off_centre, sqrt(squares / (double)d));
		e.rms += otp_variance(points[side], (size_t)n[side], d) / (double)d / OTP_SIDES;
	}
	e.rms = sqrt(e.rms);
	return e;
}

/* What becomes 1. On a thin set few of many values vary: there it is how far whole vectors are apart. */
static double size_of(const otp_points *p)
{
	return p->density ? p->extent.rms : p->extent.rms * sqrt((double)p->values);
}

/* Networks, rates and the weights of the game are made for values of about 1 about 0. */
static bool needs_scale(const otp_config *c, const otp_points *p)
{
	const double least = 0.5, most = 2, same = 1e-7; /* rounding of values that are all the same */
	const otp_extent *e = &p->extent;
	return c->start != OTP_START_AIMED && !otp_config_said(c, "scale") && e->rms > same * e->off_centre &&
	       (size_of(p) < least || e->rms > most || e->off_centre > fmax(1, e->rms));
}

/* The game in units of the scale, said in those of the data: x = s x' makes |x - y|^2 = s^2 |x' - y'|^2, and
 * V(y) = V'(y') has |grad V|^2 = |grad V'|^2 / s^2. */
static bool set_for_scale(otp_config *c, double s, otp_error *err)
{
	if (s < 1e-6 || s > 1e6)
		return otp_fail(err, "--source",
				"and --target have values that spread by %.3g, expected 1e-06 to 1e+06: "
				"multiply both by one number",
				s);
	const struct {
		const char *key;
		double value;
	} lines[] = {
	    {"scale", s},
	    {"tau", c->tau / (s * s)},
	    {"r1", c->r1 * s * s},
	    {"r1-end", c->r1_end > 0 ? c->r1_end * s * s : c->r1_end},
	    {"sigma-start", c->sigma_start * s},
	    {"sigma-end", c->sigma_end == OTP_AUTO ? OTP_AUTO : c->sigma_end * s},
	};
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
		if (lines[i].value != OTP_AUTO && !set_unsaid_number(c, lines[i].key, lines[i].value, err))
			return false;
	return true;
}

/* ---- both ---- */

static bool decide(otp_config *c, const float *const points[OTP_SIDES], const int n[OTP_SIDES], otp_points *p,
		   otp_error *err)
{
	look(points[OTP_SOURCE], n[OTP_SOURCE], p);
	p->extent = extent_of(points, n, (size_t)p->values);
	p->decided = true;
	return (!p->density || smoothing_said(c) || set_for_map(c, p, err)) &&
	       (!needs_scale(c, p) || set_for_scale(c, size_of(p), err));
}

bool otp_points_settle(otp_config *c, otp_dataset *source, otp_dataset *target, otp_points *p, otp_error *err)
{
	memset(p, 0, sizeof *p);
	otp_dataset_info info = otp_dataset_describe(source);
	if (info.kind != OTP_DATA_VECTORS || strcmp(c->preset, "vector") != 0 || c->resume)
		return true;
	if (!otp_dataset_load(source, c->workers, err) || !otp_dataset_load(target, c->workers, err))
		return false;
	p->values = info.c;
	int most = otp_dimension_sample(info.count ? info.count : INT64_MAX, p->values), n[OTP_SIDES];
	float *points[OTP_SIDES] = {read_sample(source, most, &n[OTP_SOURCE], err),
				    read_sample(target, most, &n[OTP_TARGET], err)};
	bool ok =
	    points[OTP_SOURCE] && points[OTP_TARGET] && decide(c, (const float *const *)points, n, p, err);
	otp_free(points[OTP_SOURCE]);
	otp_free(points[OTP_TARGET]);
	return ok;
}

/* "; values spread by 37 about centres up to 50 from 0: the networks see them over 37". */
static char *scale_text(const otp_config *c, const otp_points *p)
{
	if (c->scale == 1)
		return otp_strdup("");
	return otp_format(
	    "; values spread by %.3g about centres up to %.3g from 0, so the networks see them less "
	    "their centres and over %.3g, and tau (%.3g), R1 and sigma follow",
	    p->extent.rms, p->extent.off_centre, c->scale, c->tau);
}

char *otp_points_text(const otp_config *c, const otp_points *p)
{
	if (!p->decided)
		return NULL;
	char *seen =
	    otp_format("dimension %.3g of %lld (TwoNN; a normal law of its covariance shows %.3g), least "
		       "spread %.2g of the mean one",
		       p->dimension.m, (long long)p->values, p->found.normal_m, p->found.flattest);
	char *scale = scale_text(c, p),
	     *text = p->density && c->sigma_end == 0
			 ? otp_format(
			       "the source has a density, so the best plan is a map: no smoothing, no noise "
			       "as input, width %d and %d, %d updates of the generator a step, rates %g and "
			       "%g (%s)%s",
			       c->width, c->potential_width, c->k_transport, c->lr_g, c->lr_d, seen, scale)
			 : otp_format("%s: smoothing as set (%s)%s",
				      p->density ? "the source has a density" : "the source has no density",
				      seen, scale);
	otp_free(seen);
	otp_free(scale);
	return text;
}
