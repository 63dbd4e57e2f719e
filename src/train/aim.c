#include "train/aim.h"
#include "core/rng.h"
#include "nn/layers.h"
#include "ot/gaussian.h"

#include <math.h>
#include <string.h>

/* Draws of its own for every unit, and for the points that a covariance is taken of. */
enum { DRAW_TRANSPORT = 0x61696d, DRAW_POTENTIAL, DRAW_COVARIANCE };

typedef struct aiming {
	const otp_session *session;
	size_t d;
	float *from, *to; /* (d): two points of the data */
	otp_stream stream;
	otp_error *err;
} aiming;

/* One network's weights on the host. */
typedef struct weights {
	otp_params *params;
	float *state;
} weights;

static double uniform(const aiming *a, uint32_t i)
{
	return (double)otp_random_uniform(a->stream, OTP_PURPOSE_INIT, i);
}

/* A sample of a side, 0 source or 1 target, the stream's i-th choice. */
static bool fetch(const aiming *a, int side, uint32_t i, float *out)
{
	const otp_dataset *set = side == 0 ? a->session->source : a->session->target;
	int64_t count = otp_dataset_describe(set).count;
	double among = count ? (double)count : 1 << 20;
	return otp_dataset_get(set, (uint64_t)(among * uniform(a, i)), 0, out, a->err);
}

static float *parameter(const weights *w, const char *name, otp_shape *shape)
{
	for (int k = 0; k < w->params->count; k++)
		if (strcmp(w->params->info[k].name, name) == 0) {
			*shape = w->params->info[k].shape;
			return w->state + w->params->info[k].offset;
		}
	OTP_ASSERT(false, "no parameter %s", name);
	return NULL;
}

/* ---- first layers -------------------------------------------------------------- */

/* Weights along to - from, `length` long, zero at the share `place` of the way
 * between the two. Equal points leave the weights as they were. */
static void point(const aiming *a, double length, double place, float *row, float *bias)
{
	double square = 0, middle = 0;
	for (size_t j = 0; j < a->d; j++) {
		double along = (double)a->to[j] - (double)a->from[j];
		square += along * along;
		middle += along * ((double)a->from[j] + place * along);
	}
	if (square <= 0)
		return;
	double factor = length / sqrt(square);
	for (size_t j = 0; j < a->d; j++)
		row[j] = (float)(factor * ((double)a->to[j] - (double)a->from[j]));
	if (bias)
		*bias = (float)(-factor * middle);
}

static bool aim_potential_unit(aiming *a, float *row, float *bias)
{
	double length = OTP_GAIN_DEFAULT * a->session->config.potential_gain;
	if (!fetch(a, 1, 0, a->from) || !fetch(a, 1, 1, a->to))
		return false;
	point(a, length, uniform(a, 2), row, bias);
	return true;
}

/* x' along differences of sources; eps along ways from sources to targets,
 * which is where noise can decide something. */
static bool aim_transport_unit(aiming *a, float *row, float *bias)
{
	bool noise = a->session->arch.condition_noise;
	double length = OTP_GAIN_DEFAULT * a->session->config.aim_gain * (noise ? sqrt(0.5) : 1);
	if (!fetch(a, 0, 0, a->from) || !fetch(a, 0, 1, a->to))
		return false;
	point(a, length, uniform(a, 2), row, bias);
	if (!noise)
		return true;
	if (!fetch(a, 0, 3, a->from) || !fetch(a, 1, 4, a->to))
		return false;
	point(a, length, 0, row + a->d, NULL);
	return true;
}

static bool aim_first_layer(aiming *a, const weights *w, uint32_t draw,
			    bool (*aim)(aiming *, float *, float *))
{
	otp_shape one, shape; /* (1, 1, units, inputs) */
	float *bias = parameter(w, "in.bias", &one), *rows = parameter(w, "in.weight", &shape);
	bool ok = true;
	for (int unit = 0; ok && unit < shape.w; unit++) {
		a->stream = otp_stream_make(a->session->config.seed, (uint32_t)unit, draw);
		ok = aim(a, rows + (size_t)unit * (size_t)shape.c, bias + unit);
	}
	return ok;
}

/* ---- squares ------------------------------------------------------------------- */

/* The target's mean, and (covariance + floor)^-1/2. */
static bool whitening(aiming *a, double *mean, double *turn)
{
	int d = (int)a->d, n = 4 * d < 512 ? 512 : 4 * d;
	float *points = otp_calloc((size_t)n * a->d, sizeof *points);
	double sigma = a->session->config.sigma_end, spread = 0;
	bool ok = true;
	a->stream = otp_stream_make(a->session->config.seed, 0, DRAW_COVARIANCE);
	for (int i = 0; ok && i < n; i++)
		ok = fetch(a, 1, (uint32_t)i, points + (size_t)i * a->d);
	otp_gaussian_moments(points, n, d, mean, turn);
	for (int i = 0; i < d; i++)
		spread += turn[i * d + i] / d;
	for (int i = 0; i < d; i++)
		turn[i * d + i] += fmax(sigma * sigma, 1e-4 * spread);
	otp_symmetric_power(turn, d, -0.5, turn);
	otp_free(points);
	return ok;
}

/* (rows^T rows)^-1/2: rows times it are orthogonal. Random ones leave some directions almost without a
 * square. */
static void orthogonaliser(const float *rows, size_t count, size_t d, double *turn)
{
	double trace = 0;
	for (size_t i = 0; i < d; i++)
		for (size_t j = 0; j < d; j++) {
			turn[i * d + j] = 0;
			for (size_t k = 0; k < count; k++)
				turn[i * d + j] += (double)rows[k * d + i] * (double)rows[k * d + j];
			trace += i == j ? turn[i * d + j] : 0;
		}
	for (size_t i = 0; i < d; i++)
		turn[i * d + i] += 1e-9 * trace / (double)d;
	otp_symmetric_power(turn, (int)d, -0.5, turn);
}

/* Each row times a symmetric matrix; returns the sum of their squared lengths. */
static double turn_rows(const double *turn, size_t count, size_t d, float *rows)
{
	double square = 0, *work = otp_calloc(d, sizeof *work);
	for (float *row = rows; row < rows + count * d; row += d) {
		for (size_t i = 0; i < d; i++) {
			work[i] = 0;
			for (size_t j = 0; j < d; j++)
				work[i] += turn[i * d + j] * (double)row[j];
			square += work[i] * work[i];
		}
		for (size_t i = 0; i < d; i++)
			row[i] = (float)work[i];
	}
	otp_free(work);
	return square;
}

/* Orthogonal directions, those of variance v scaled by 1/sqrt(v + floor), about the mean; the length of all
 * together stays what it was. */
static bool whiten_squares(aiming *a, const weights *w)
{
	otp_shape one, shape; /* (1, 1, squares, d) */
	float *bias = parameter(w, "quadratic.in.bias", &one),
	      *rows = parameter(w, "quadratic.in.weight", &shape);
	size_t count = (size_t)shape.w, d = a->d;
	double *mean = otp_calloc(d, sizeof *mean), *turn = otp_calloc(d * d, sizeof *turn), before = 0;
	for (size_t i = 0; i < count * d; i++)
		before += (double)rows[i] * (double)rows[i];
	orthogonaliser(rows, count, d, turn);
	turn_rows(turn, count, d, rows);
	bool ok = whitening(a, mean, turn);
	double factor = sqrt(before / turn_rows(turn, count, d, rows));
	for (size_t k = 0; k < count; k++) {
		double middle = 0;
		for (float *value = rows + k * d; value < rows + (k + 1) * d; value++) {
			*value = (float)(factor * (double)*value);
			middle += (double)*value * mean[value - (rows + k * d)];
		}
		bias[k] = (float)-middle;
	}
	otp_free(mean);
	otp_free(turn);
	return ok;
}

/* ---- both networks ------------------------------------------------------------- */

static weights read_weights(otp_engine *e, int span)
{
	weights w = {.params = otp_engine_params(e, span)};
	w.state = otp_calloc((size_t)(w.params->elements * otp_engine_rows(span)), sizeof *w.state);
	otp_engine_read(e, span, w.state);
	return w;
}

static void write_weights(otp_engine *e, int span, weights *w)
{
	size_t row = (size_t)w->params->elements;
	if (otp_engine_rows(span) > OTP_ROW_EMA)
		memcpy(w->state + OTP_ROW_EMA * row, w->state + OTP_ROW_PARAM * row, row * sizeof *w->state);
	otp_engine_write(e, span, w->state);
	otp_free(w->state);
}

bool otp_aim(otp_engine *e, const otp_session *s, otp_error *err)
{
	aiming a = {.session = s, .d = (size_t)s->arch.c, .err = err};
	a.from = otp_calloc(a.d, sizeof *a.from);
	a.to = otp_calloc(a.d, sizeof *a.to);
	weights t = read_weights(e, OTP_SPAN_TRANSPORT), v = read_weights(e, OTP_SPAN_POTENTIAL);
	bool ok = aim_first_layer(&a, &t, DRAW_TRANSPORT, aim_transport_unit) &&
		  aim_first_layer(&a, &v, DRAW_POTENTIAL, aim_potential_unit) &&
		  (!s->arch.potential_quadratic || whiten_squares(&a, &v));
	write_weights(e, OTP_SPAN_TRANSPORT, &t);
	write_weights(e, OTP_SPAN_POTENTIAL, &v);
	otp_free(a.from);
	otp_free(a.to);
	return ok;
}
