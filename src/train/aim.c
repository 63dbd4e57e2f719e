#include "train/aim.h"
#include "core/base.h"
#include "core/rng.h"
#include "nn/layers.h"
#include "ot/components.h"
#include "ot/gaussian.h"

#include <math.h>
#include <string.h>

/* Draws of its own for every unit, and for the points of either side. */
enum { DRAW_TRANSPORT = 0x61696d, DRAW_POTENTIAL, DRAW_SOURCE, DRAW_TARGET };

/* Points of one side, and what looks along its independent components. */
typedef struct cloud {
	int n, components;
	float *points;	    /* (n, d) */
	double *directions; /* (components, d) */
} cloud;

typedef struct aiming {
	const otp_session *session;
	size_t d;
	cloud source, target;
	otp_stream stream;
	double *way; /* (d): a unit's direction, of length 1 */
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

/* Of the smoothing, also where sigma-end leaves it to the data. */
static double final_sigma(const aiming *a)
{
	const otp_config *c = &a->session->config;
	return otp_settings_sigma(c, otp_settings_schedule(c));
}

static bool open_cloud(aiming *a, const otp_dataset *set, uint32_t draw, cloud *c, otp_error *err)
{
	enum { FEWEST = 8192 };
	int d = (int)a->d;
	int64_t count = otp_dataset_describe(set).count;
	double among = count ? (double)count : 1 << 20;
	c->n = 4 * d < FEWEST ? FEWEST : 4 * d;
	c->points = otp_calloc((size_t)c->n * a->d, sizeof *c->points);
	a->stream = otp_stream_make(a->session->config.seed, 0, draw);
	for (int i = 0; i < c->n; i++)
		if (!otp_dataset_get(set, (uint64_t)(among * uniform(a, (uint32_t)i)), 0,
				     c->points + (size_t)i * a->d, err))
			return false;
	return true;
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

/* The stream's i-th choice of a point. */
static const float *pick(const aiming *a, const cloud *c, uint32_t i)
{
	return c->points + (size_t)((double)c->n * uniform(a, i)) * a->d;
}

/* Where the direction from one point to another goes; false where they are one. */
static bool set_way(aiming *a, const float *from, const float *to)
{
	double square = 0;
	for (size_t j = 0; j < a->d; j++) {
		a->way[j] = (double)to[j] - (double)from[j];
		square += a->way[j] * a->way[j];
	}
	for (size_t j = 0; square > 0 && j < a->d; j++)
		a->way[j] /= sqrt(square);
	return square > 0;
}

/* Where a unit bends along its way, as a share in (0, 1) of what the points cover, and how many times as fast
 * as the network's sharpness says. */
typedef struct bend {
	double where, speed;
} bend;

/* The way of the k-th of `units` that share the cloud's components, in turn, and its bend. Those along one
 * component lie evenly, so that chance leaves no end without, and bend outwards, so that the fast ones at the
 * ends rest everywhere else. Each bends as fast as its neighbours are near, up to --aim-ends times: slow
 * ones that crowd can only do much the same. At 1 none is faster, and all bend one way. False where the cloud
 * has none. */
static bool set_component(aiming *a, const cloud *c, int k, int units, bend *b)
{
	if (!c->components)
		return false;
	int component = k % c->components, place = k / c->components;
	int along_it = (units - component + c->components - 1) / c->components;
	double where = (place + 0.5) / along_it, most = a->session->config.aim_ends;
	double sign = where < 0.5 || most == 1 ? 1 : -1;
	for (size_t j = 0; j < a->d; j++)
		a->way[j] = sign * c->directions[(size_t)component * a->d + j];
	*b = (bend){.where = sign > 0 ? where : 1 - where, .speed = fmin(1 / sin(OTP_PI * where), most)};
	return true;
}

static double along(const aiming *a, const float *point)
{
	double sum = 0;
	for (size_t j = 0; j < a->d; j++)
		sum += a->way[j] * (double)point[j];
	return sum;
}

/* The place on the way at which a unit shall bend: as Chebyshev's points lie, densest at the ends of
 * what the points cover, where a law that ends sharply asks for the most, a little and `beyond` further. */
static double place_of(const aiming *a, const cloud *c, double beyond, bend b)
{
	double low = INFINITY, high = -INFINITY;
	for (int i = 0; i < c->n; i++) {
		double place = along(a, c->points + (size_t)i * a->d);
		low = fmin(low, place);
		high = fmax(high, place);
	}
	double middle = (low + high) / 2, half = 1.03 * (high - low) / 2 + beyond;
	return middle + half * cos(OTP_PI * b.where);
}

static void point(const aiming *a, double length, double place, float *row, float *bias)
{
	for (size_t j = 0; j < a->d; j++)
		row[j] = (float)(length * a->way[j]);
	*bias = (float)(-length * place);
}

/* Three quarters look along independent components, where a law that ends along each of them asks for one
 * bend instead of many; the others along differences of targets. */
static void aim_potential_unit(aiming *a, int unit, int units, float *row, float *bias)
{
	double length =
	    OTP_GAIN_DEFAULT * a->session->config.potential_gain * a->session->config.potential_sharpness;
	bend b = {.where = uniform(a, 2), .speed = 1};
	bool component =
	    unit % 4 != 3 && set_component(a, &a->target, unit - unit / 4, units - units / 4, &b);
	if (!component && !set_way(a, pick(a, &a->target, 0), pick(a, &a->target, 1)))
		return;
	point(a, length * b.speed, place_of(a, &a->target, 0, b), row, bias);
}

/* At x': a third each along components of the target and of the source, and along differences of sources. */
static bool set_source_way(aiming *a, int unit, int units, bend *b)
{
	int alike = (units - unit % 3 + 2) / 3;
	if (unit % 3 < 2 && set_component(a, unit % 3 ? &a->source : &a->target, unit / 3, alike, b))
		return true;
	return set_way(a, pick(a, &a->source, 0), pick(a, &a->source, 1));
}

/* Three quarters look at x', whose ends reach further than those of x; the others at eps, along ways from
 * sources to targets, where it can decide something. */
static void aim_transport_unit(aiming *a, int unit, int units, float *row, float *bias)
{
	const otp_config *c = &a->session->config;
	const double noise_share = 0.3, noise_bends = 0.3;
	bool condition = a->session->arch.condition_noise;
	int at_data = units - (condition ? units / 4 : 0);
	bool at_noise = unit >= at_data;
	double length = OTP_GAIN_DEFAULT * c->sharpness;
	bend b = {.where = uniform(a, 2), .speed = 1};
	if (at_noise ? !set_way(a, pick(a, &a->source, 0), pick(a, &a->target, 1))
		     : !set_source_way(a, unit, at_data, &b))
		return;
	memset(row, 0, (condition ? 2 : 1) * a->d * sizeof *row);
	if (at_noise)
		point(a, noise_share * length, noise_bends * (2 * b.where - 1), row + a->d, bias);
	else
		point(a, length * b.speed, place_of(a, &a->source, 2 * final_sigma(a), b), row, bias);
}

static void aim_first_layer(aiming *a, const weights *w, uint32_t draw,
			    void (*aim)(aiming *, int, int, float *, float *))
{
	otp_shape one, shape; /* (1, 1, units, inputs) */
	float *bias = parameter(w, "in.bias", &one), *rows = parameter(w, "in.weight", &shape);
	for (int unit = 0; unit < shape.w; unit++) {
		a->stream = otp_stream_make(a->session->config.seed, (uint32_t)unit, draw);
		aim(a, unit, shape.w, rows + (size_t)unit * (size_t)shape.c, bias + unit);
	}
}

/* ---- squares ------------------------------------------------------------------- */

/* The target's mean, and (covariance + floor)^-1/2. */
static void whitening(const aiming *a, double *mean, double *turn)
{
	int d = (int)a->d;
	double sigma = final_sigma(a), spread = 0;
	otp_gaussian_moments(a->target.points, a->target.n, d, mean, turn);
	for (int i = 0; i < d; i++)
		spread += turn[i * d + i] / d;
	for (int i = 0; i < d; i++)
		turn[i * d + i] += fmax(sigma * sigma, 1e-4 * spread);
	otp_symmetric_power(turn, d, -0.5, turn);
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
static void whiten_squares(const aiming *a, const weights *w)
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
	whitening(a, mean, turn);
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
}

/* ---- both networks ------------------------------------------------------------- */

static weights read_weights(otp_engine *e, otp_network network)
{
	weights w = {.params = otp_engine_params(e, network)};
	w.state = otp_calloc((size_t)(w.params->elements * otp_engine_rows(network)), sizeof *w.state);
	otp_engine_read(e, network, w.state);
	return w;
}

static void write_weights(otp_engine *e, otp_network network, weights *w)
{
	size_t row = (size_t)w->params->elements;
	if (otp_engine_rows(network) > OTP_ROW_EMA)
		memcpy(w->state + OTP_ROW_EMA * row, w->state + OTP_ROW_PARAM * row, row * sizeof *w->state);
	otp_engine_write(e, network, w->state);
	otp_free(w->state);
}

static void aim(aiming *a, otp_engine *e)
{
	weights t = read_weights(e, OTP_TRANSPORT), v = read_weights(e, OTP_POTENTIAL);
	aim_first_layer(a, &t, DRAW_TRANSPORT, aim_transport_unit);
	aim_first_layer(a, &v, DRAW_POTENTIAL, aim_potential_unit);
	if (a->session->arch.potential_quadratic)
		whiten_squares(a, &v);
	write_weights(e, OTP_TRANSPORT, &t);
	write_weights(e, OTP_POTENTIAL, &v);
}

static void find_components(const aiming *a, uint32_t draw, cloud *c)
{
	enum { MOST = 32 };
	c->directions = otp_calloc(MOST * a->d, sizeof *c->directions);
	c->components = otp_components(c->points, c->n, (int)a->d, MOST,
				       otp_stream_make(a->session->config.seed, 1, draw), c->directions);
}

static void close_cloud(cloud *c)
{
	otp_free(c->points);
	otp_free(c->directions);
}

bool otp_aim(otp_engine *e, const otp_session *s, otp_error *err)
{
	aiming a = {.session = s, .d = (size_t)s->arch.c};
	a.way = otp_calloc(a.d, sizeof *a.way);
	bool ok = open_cloud(&a, s->source, DRAW_SOURCE, &a.source, err) &&
		  open_cloud(&a, s->target, DRAW_TARGET, &a.target, err);
	if (ok) {
		find_components(&a, DRAW_SOURCE, &a.source);
		find_components(&a, DRAW_TARGET, &a.target);
		aim(&a, e);
	}
	otp_free(a.way);
	close_cloud(&a.source);
	close_cloud(&a.target);
	return ok;
}
