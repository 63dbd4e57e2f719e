#include "verify/measure.h"
#include "laws/convex.h"
#include "laws/laws.h"
#include "ot/assignment.h"
#include "ot/distance.h"
#include "ot/gaussian.h"
#include "ot/truth.h"
#include "train/evaluate.h"

#include "scalar.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SINGLE_POINTS = 8, /* inputs whose law T(x, .) is looked at */
	DRAWS_A_POINT = 2048,
	COMPARED_POINTS = 64, /* inputs whose law is held against the limit plan's */
	COMPARED_DRAWS = 512,
	SLICES = 256,	     /* directions of a sliced distance, */
	SLICED_POINTS = 4096 /* ... points of either side */
};

typedef struct measurement {
	const otp_problem *problem;
	otp_sampler *sampler;
	const otp_dataset *source, *target;
	otp_law *law; /* NULL where the truth needs none */
	double sigma;
	uint64_t seed;
	size_t d;
	otp_figures figures;
	otp_pairs *pairs;
	otp_error *err;
} measurement;

/* Sources, the noise they were smoothed with, and the learned outputs. */
typedef struct plan_sample {
	size_t n;
	float *x, *eps, *y; /* (n, d) */
} plan_sample;

/* ---- samples of the plan ------------------------------------------------------ */

static void fill_noise(const measurement *m, uint32_t which, size_t i, float *eps)
{
	otp_stream stream = otp_stream_make(m->seed ^ 0x766572696679u, (uint32_t)i, which);
	for (size_t j = 0; j < m->d; j += 4) {
		otp_normals four = otp_normal_block(stream, OTP_PURPOSE_EPS, (uint32_t)(j / 4));
		for (size_t k = j; k < m->d && k < j + 4; k++)
			eps[k] = four.v[k - j];
	}
}

/* y for sources in place; with smoothing every odd sample has its neighbour's noise with the other sign. */
static void run_plan(const measurement *m, uint32_t which, plan_sample *s)
{
	otp_stream *streams = otp_calloc(s->n, sizeof *streams);
	for (size_t i = 0; i < s->n; i++) {
		streams[i] = otp_stream_make(m->seed, (uint32_t)i, which);
		if (i % 2 == 0)
			fill_noise(m, which, i, s->eps + i * m->d);
		else
			for (size_t j = 0; j < m->d; j++)
				s->eps[i * m->d + j] = -s->eps[(i - 1) * m->d + j];
	}
	otp_sampler_run(m->sampler, s->x, streams, (int64_t)s->n, m->sigma, s->y, s->eps);
	otp_free(streams);
}

static plan_sample allocate(const measurement *m, size_t n)
{
	plan_sample s = {.n = n};
	s.x = otp_calloc(n * m->d, sizeof *s.x);
	s.eps = otp_calloc(n * m->d, sizeof *s.eps);
	s.y = otp_calloc(n * m->d, sizeof *s.y);
	return s;
}

static void release(plan_sample *s)
{
	otp_free(s->x);
	otp_free(s->eps);
	otp_free(s->y);
}

static bool read_law(const otp_dataset *set, otp_side side, size_t first, size_t n, size_t d, float *out,
		     otp_error *err)
{
	for (size_t i = 0; i < n; i++)
		if (!otp_dataset_get(set, otp_evaluate_index(set, side, (int64_t)(first + i)), 0, out + i * d,
				     err))
			return false;
	return true;
}

/* Held-out sources from number `first` on; where there is noise, each stands twice, for +eps and -eps. */
static bool draw_plan(const measurement *m, size_t first, plan_sample *s)
{
	size_t twice = m->sigma > 0 ? 2 : 1, distinct = s->n / twice;
	if (!read_law(m->source, OTP_SOURCE, first, distinct, m->d, s->x, m->err))
		return false;
	for (size_t i = s->n; twice == 2 && i-- > 0;)
		memmove(s->x + i * m->d, s->x + i / 2 * m->d, m->d * sizeof *s->x);
	run_plan(m, (uint32_t)first, s);
	return true;
}

/* Many draws for one source. */
static void draw_at(const measurement *m, const float *x, plan_sample *s)
{
	for (size_t i = 0; i < s->n; i++)
		memcpy(s->x + i * m->d, x, m->d * sizeof *x);
	run_plan(m, 0x70u, s);
}

/* ---- figures every problem has -------------------------------------------------- */

static void add_cost(measurement *m, const plan_sample *s, double truth)
{
	double cost = otp_squared_distance(s->x, s->y, s->n * m->d) / (double)s->n;
	char text[48];
	snprintf(text, sizeof text, "truth %.4g", truth);
	otp_figures_add(&m->figures, "truth_cost", truth, "");
	otp_figures_add_as(&m->figures, "cost", "transport_cost", cost, text);
	otp_figures_add(&m->figures, "cost_error", fabs(cost - truth), "0");
}

/* W2^2(T#mu, nu) by exact assignment on held-out samples, and the same between two target samples. */
static bool add_target_error(measurement *m)
{
	const size_t n = OTP_ASSIGNED_POINTS;
	plan_sample s = allocate(m, n);
	float *targets = otp_calloc(2 * n * m->d, sizeof *targets);
	bool ok = draw_plan(m, OTP_MEASURED_POINTS, &s) &&
		  read_law(m->target, OTP_TARGET, 0, 2 * n, m->d, targets, m->err);
	if (ok) {
		double error = otp_assignment_w2(s.y, targets, (int)n, (int)m->d, NULL);
		double floor = otp_assignment_w2(targets + n * m->d, targets, (int)n, (int)m->d, NULL);
		char text[48];
		snprintf(text, sizeof text, "floor %.3g", floor);
		otp_figures_add(&m->figures, "target_error", error, text);
		otp_figures_add(&m->figures, "target_floor", floor, "");
		otp_figures_add(&m->figures, "target_excess", error - floor, "0");
	}
	otp_free(targets);
	release(&s);
	return ok;
}

/* The same, sliced: between the first of the measured outputs and as many targets. */
static bool add_sliced_error(measurement *m, const plan_sample *s)
{
	const size_t n = SLICED_POINTS;
	float *targets = otp_calloc(2 * n * m->d, sizeof *targets);
	bool ok = read_law(m->target, OTP_TARGET, 0, 2 * n, m->d, targets, m->err);
	if (ok) {
		double error = otp_sliced_w2(s->y, targets, n, m->d, SLICES, m->seed);
		double floor = otp_sliced_w2(targets + n * m->d, targets, n, m->d, SLICES, m->seed);
		char text[48];
		snprintf(text, sizeof text, "floor %.3g", floor);
		m->figures.sliced = true;
		otp_figures_add(&m->figures, "target_error", error, text);
		otp_figures_add(&m->figures, "target_floor", floor, "");
	}
	otp_free(targets);
	return ok;
}

/* Per cent of the target's variance (Korotin et al. 2021). */
static void add_uvp(measurement *m, const plan_sample *s, const float *exact, double variance)
{
	double error = otp_squared_distance(s->y, exact, s->n * m->d) / (double)s->n;
	otp_figures_add(&m->figures, "l2_uvp", 100 * error / variance, "0");
}

/* ---- gaussian ------------------------------------------------------------------- */

static void measure_gaussian(measurement *m, const plan_sample *s)
{
	int d = (int)m->d;
	double *map = otp_calloc(m->d * m->d, sizeof *map), shift = 0, variance = 0;
	double truth = otp_gaussian_bures(m->law->covariance[0], m->law->covariance[1], d, map);
	float *exact = otp_calloc(s->n * m->d, sizeof *exact);
	for (int i = 0; i < d; i++) {
		shift += m->law->mean[i] * m->law->mean[i];
		variance += m->law->covariance[1][i * d + i];
	}
	for (size_t k = 0; k < s->n; k++)
		for (int i = 0; i < d; i++) {
			double value = m->law->mean[i];
			for (int j = 0; j < d; j++)
				value += map[i * d + j] * (double)s->x[k * m->d + (size_t)j];
			exact[k * m->d + (size_t)i] = (float)value;
		}
	add_cost(m, s, truth + shift);
	add_uvp(m, s, exact, variance);
	otp_free(exact);
	otp_free(map);
}

/* ---- convex --------------------------------------------------------------------- */

static void measure_convex(measurement *m, const plan_sample *s)
{
	double *x = otp_calloc(m->d, sizeof *x), *y = otp_calloc(m->d, sizeof *y);
	float *exact = otp_calloc(s->n * m->d, sizeof *exact);
	for (size_t i = 0; i < s->n; i++) {
		for (size_t j = 0; j < m->d; j++)
			x[j] = (double)s->x[i * m->d + j];
		otp_convex_map(m->law->convex, x, y);
		for (size_t j = 0; j < m->d; j++)
			exact[i * m->d + j] = (float)y[j];
	}
	add_cost(m, s, otp_squared_distance(s->x, exact, s->n * m->d) / (double)s->n);
	add_uvp(m, s, exact, otp_variance(exact, s->n, m->d));
	otp_free(exact);
	otp_free(x);
	otp_free(y);
}

/* W2^2 between the normal laws of equal moments: a lower bound of W2^2 (Gelbrich 1990), exact where both are
 * normal. */
static void add_moment_error(measurement *m, const plan_sample *s)
{
	int d = (int)m->d;
	double *mean = otp_calloc(m->d, sizeof *mean),
	       *covariance = otp_calloc(m->d * m->d, sizeof *covariance);
	otp_gaussian_moments(s->y, (int)s->n, d, mean, covariance);
	double error = otp_gaussian_bures(m->law->covariance[1], covariance, d, NULL);
	for (int i = 0; i < d; i++)
		error += (mean[i] - m->law->mean[i]) * (mean[i] - m->law->mean[i]);
	otp_figures_add(&m->figures, "moment_error", error, "0");
	otp_free(mean);
	otp_free(covariance);
}

/* ---- perpendicular ---------------------------------------------------------------- */

static bool measure_perpendicular(measurement *m, const plan_sample *s)
{
	size_t k = (size_t)m->problem->m;
	double along_source = 0, ks = 0;
	add_cost(m, s, 2 * (double)k / 3);
	for (size_t i = 0; i < s->n; i++)
		for (size_t j = 0; j < k; j++)
			along_source += (double)s->y[i * m->d + j] * (double)s->y[i * m->d + j];
	otp_figures_add(&m->figures, "off_support", along_source / (double)s->n, "0");

	plan_sample at = allocate(m, DRAWS_A_POINT);
	double *quantiles = otp_calloc(at.n, sizeof *quantiles);
	for (size_t point = 0; point < SINGLE_POINTS; point++) {
		draw_at(m, s->x + point * 2 * m->d, &at);
		for (size_t j = k; j < 2 * k; j++) {
			for (size_t i = 0; i < at.n; i++)
				quantiles[i] = fmin(fmax(((double)at.y[i * m->d + j] + 1) / 2, 0), 1);
			ks = fmax(ks, otp_ks_uniform(quantiles, (int)at.n));
		}
	}
	otp_figures_add(&m->figures, "ks", ks, "0");
	otp_free(quantiles);
	release(&at);
	return true;
}

/* ---- one to many ------------------------------------------------------------------ */

/* Coordinates of the unrotated problem: m tangential ones, then the normal one. */
static void straighten(const measurement *m, const float *y, double *plain)
{
	for (size_t j = 0; j <= (size_t)m->problem->m; j++) {
		plain[j] = 0;
		for (size_t i = 0; i < m->d; i++)
			plain[j] +=
			    (double)y[i] * (m->law->rotation ? m->law->rotation[i * m->d + j] : i == j);
	}
}

static void measure_sides(measurement *m, const plan_sample *s)
{
	size_t normal = (size_t)m->problem->m, above = 0;
	double plain[64], square = 0, off = 0;
	for (size_t i = 0; i < s->n; i++) {
		straighten(m, s->y + i * m->d, plain);
		above += plain[normal] > 0;
		square += (fabs(plain[normal]) - 1) * (fabs(plain[normal]) - 1);
		for (size_t j = 0; j < m->d; j++)
			off += (double)s->y[i * m->d + j] * (double)s->y[i * m->d + j];
		for (size_t j = 0; j <= normal; j++)
			off -= plain[j] * plain[j];
	}
	otp_figures_add(&m->figures, "side_balance", (double)above / (double)s->n, "0.5");
	otp_figures_add(&m->figures, "side_rms", sqrt(square / (double)s->n), "0");
	if (m->d > normal + 1)
		otp_figures_add(&m->figures, "off_support", off / (double)s->n, "0");
}

/* KS of the tangential laws at one point: the worst over all directions, and over those away from the edge.
 */
static void worst_tangential(const measurement *m, const double *x, double *quantiles, int n, double *ks,
			     double *inner)
{
	const double edge = 0.8; /* two sigma inside, at the largest sigma verify ends with */
	for (int j = 0; j < m->problem->m; j++) {
		double here = otp_ks_uniform(quantiles + (size_t)j * (size_t)n, n);
		*ks = fmax(*ks, here);
		if (fabs(x[j]) <= edge)
			*inner = fmax(*inner, here);
	}
}

/* At single points: the worst side balance, and the tangential law against the exact smoothed one. */
static void measure_single_points(measurement *m, const plan_sample *s)
{
	size_t normal = (size_t)m->problem->m;
	plan_sample at = allocate(m, DRAWS_A_POINT);
	double *quantiles = otp_calloc(normal * at.n, sizeof *quantiles), worst = 0, ks = 0, inner = 0,
	       plain[64], x[64];
	for (size_t point = 0; point < SINGLE_POINTS; point++) {
		size_t above = 0;
		straighten(m, s->x + point * 2 * m->d, x);
		draw_at(m, s->x + point * 2 * m->d, &at);
		for (size_t i = 0; i < at.n; i++) {
			straighten(m, at.y + i * m->d, plain);
			above += plain[normal] > 0;
			for (size_t j = 0; j < normal && m->sigma > 0; j++)
				quantiles[j * at.n + i] = otp_tangential_cdf(plain[j], x[j], m->sigma);
		}
		worst = fmax(worst, fabs((double)above / (double)at.n - 0.5));
		worst_tangential(m, x, quantiles, (int)at.n, &ks, &inner);
	}
	otp_figures_add(&m->figures, "side_balance_point", worst, "0");
	if (m->sigma > 0) {
		otp_figures_add(&m->figures, "ks", ks, "0");
		otp_figures_add(&m->figures, "ks_inner", inner, "0");
	}
	otp_free(quantiles);
	release(&at);
}

static int by_height(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* W2^2 between the draws at x and the limit plan there, half of the mass at x + n and half at x - n. Between
 * two atoms the best pairing goes by height along n: cost(y, x - n) - cost(y, x + n) = 4 y.n. */
static double distance_from_limit(const measurement *m, const plan_sample *at, double *heights)
{
	size_t normal = (size_t)m->problem->m;
	double plain[64], sum = otp_squared_distance(at->x, at->y, at->n * m->d);
	for (size_t i = 0; i < at->n; i++) {
		straighten(m, at->y + i * m->d, plain);
		heights[i] = plain[normal];
	}
	qsort(heights, at->n, sizeof *heights, by_height);
	for (size_t i = 0; i < at->n; i++)
		sum -= 2 * (i < at->n / 2 ? -heights[i] : heights[i]);
	return sum / (double)at->n + 1;
}

/* How far the learned plan is from the one without smoothing, as laws at points: their mean W2^2. */
static void add_point_error(measurement *m, const plan_sample *s)
{
	plan_sample at = allocate(m, COMPARED_DRAWS);
	double *heights = otp_calloc(at.n, sizeof *heights), error = 0;
	for (size_t point = 0; point < COMPARED_POINTS; point++) {
		draw_at(m, s->x + point * 2 * m->d, &at);
		error += distance_from_limit(m, &at, heights) / COMPARED_POINTS;
	}
	otp_figures_add(&m->figures, "point_error", error, "0");
	otp_free(heights);
	release(&at);
}

static void measure_one_to_many(measurement *m, const plan_sample *s)
{
	OTP_ASSERT(m->problem->m < 64, "m = %d", m->problem->m);
	add_cost(m, s, 1);
	double smoothed = 1 + m->problem->m * otp_tangential_cost(m->sigma);
	double cost = otp_squared_distance(s->x, s->y, s->n * m->d) / (double)s->n;
	otp_figures_add(&m->figures, "smoothed_cost", smoothed, "");
	otp_figures_add(&m->figures, "smoothed_cost_error", fabs(cost - smoothed), "0");
	measure_sides(m, s);
	measure_single_points(m, s);
	add_point_error(m, s);
}

/* ---- the others -------------------------------------------------------------------- */

static void measure_parallel(measurement *m, const plan_sample *s)
{
	float *exact = otp_calloc(s->n * m->d, sizeof *exact);
	for (size_t i = 0; i < s->n; i++) {
		exact[i * m->d] = s->x[i * m->d];
		exact[i * m->d + 1] = 1;
	}
	add_cost(m, s, 1);
	add_uvp(m, s, exact, 1.0 / 3);
	otp_free(exact);
}

/* The truth of a held-out sample is its own exact assignment, averaged over a few. */
static bool measure_samples(measurement *m, const plan_sample *s)
{
	enum { SAMPLES = 4 };
	const size_t n = OTP_ASSIGNED_POINTS;
	float *targets = otp_calloc(n * m->d, sizeof *targets);
	double truth = 0;
	bool ok = true;
	for (size_t k = 0; ok && k < SAMPLES; k++) {
		ok = read_law(m->target, OTP_TARGET, (4 + k) * n, n, m->d, targets, m->err);
		if (ok)
			truth += otp_assignment_w2(s->x + k * n * m->d, targets, (int)n, (int)m->d, NULL) /
				 SAMPLES;
	}
	if (ok)
		add_cost(m, s, truth);
	otp_free(targets);
	return ok;
}

/* ---- all of it ------------------------------------------------------------------------ */

static bool measure(measurement *m, const plan_sample *s)
{
	bool ok = true;
	switch (m->problem->truth) {
	case OTP_TRUTH_GAUSSIAN:
		measure_gaussian(m, s);
		add_moment_error(m, s);
		break;
	case OTP_TRUTH_CONVEX:
		measure_convex(m, s);
		break;
	case OTP_TRUTH_PERPENDICULAR:
		ok = measure_perpendicular(m, s);
		break;
	case OTP_TRUTH_ONE_TO_MANY:
		measure_one_to_many(m, s);
		break;
	case OTP_TRUTH_PARALLEL:
		measure_parallel(m, s);
		break;
	default:
		ok = measure_samples(m, s);
	}
	return ok && (otp_problem_sliced(m->problem) ? add_sliced_error(m, s) : add_target_error(m));
}

static void show(const measurement *m, const float *point, float *out)
{
	double plain[64] = {0};
	bool rotated = m->problem->truth == OTP_TRUTH_ONE_TO_MANY;
	int k = m->problem->m;
	if (rotated)
		straighten(m, point, plain);
	out[0] = rotated ? (float)plain[0] : point[0];
	out[1] = rotated ? (float)plain[k] : point[m->problem->truth == OTP_TRUTH_PERPENDICULAR ? k : 1];
}

static bool collect_pairs(const measurement *m, const plan_sample *s)
{
	otp_pairs *p = m->pairs;
	float *target = otp_calloc(m->d, sizeof *target);
	bool ok = true;
	p->count = OTP_PICTURED_POINTS;
	for (size_t i = 0; ok && i < (size_t)p->count; i++) {
		show(m, s->x + i * m->d, p->source + 2 * i);
		show(m, s->y + i * m->d, p->output + 2 * i);
		ok = read_law(m->target, OTP_TARGET, i, 1, m->d, target, m->err);
		show(m, target, p->target + 2 * i);
	}
	otp_free(target);
	return ok;
}

int otp_measure_vectors(const otp_problem *p, otp_sampler *sampler, double sigma, uint64_t seed,
			const otp_dataset *source, const otp_dataset *target, otp_figure *figures,
			otp_pairs *pairs, otp_error *err)
{
	measurement m = {p,    sampler,	     source,	   target, NULL, sigma,
			 seed, (size_t)p->d, {figures, 0}, pairs,  err};
	if (p->law) {
		otp_law_params params = {.d = p->d, .m = p->m};
		m.law = otp_law_new(p->law, params, seed, NULL, err);
		if (!m.law)
			return 0;
	}
	plan_sample s = allocate(&m, OTP_MEASURED_POINTS);
	bool ok = draw_plan(&m, 0, &s) && measure(&m, &s) && collect_pairs(&m, &s);
	release(&s);
	otp_law_free(m.law);
	return ok ? m.figures.count : 0;
}
