/* patches: pyramids, the colours' scale at each level, projections and their sorted distance. */
#include "ot/patches.h"

#include "core/rng.h"
#include "scalar.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A level is halved while both of its sides are at least twice LEAST_SIDE. A level of a picture gives up to
 * MOST_PLACES patches, fewer where all pictures together would give more than ENOUGH; each is seen from
 * DIRECTIONS. */
enum { SIDE = 7, LEAST_SIDE = 8, MOST_PLACES = 16, ENOUGH = 2048, DIRECTIONS = 64 };
enum { MOST_LEVELS = 12, MOST_COLOURS = 4 };

/* Added to a level's colour covariance, as a share of its mean variance and absolutely (about 8-bit
 * rounding): a colour that the reference hardly has must not outweigh the others. */
static const double LEAST_SHARE = 1e-3, LEAST_VARIANCE = 2e-6;

typedef struct level {
	int h, w, side;
	size_t first;	   /* of its values in a picture's pyramid */
	float *directions; /* (side * side * c, DIRECTIONS), scale of the colours included */
	float *sorted;	   /* (DIRECTIONS, n * places), of the reference */
} level;

struct otp_patches {
	size_t n, places, values; /* places: patches of a picture's level; values: of its pyramid */
	int c, count;
	uint64_t seed;
	level levels[MOST_LEVELS];
};

/* ---- pyramid ---- */

static int reflect(int i, int n)
{
	i = i < 0 ? -i : i;
	i = i >= n ? 2 * (n - 1) - i : i;
	return i < 0 ? 0 : i; /* n = 1 */
}

/* The binomial filter (1, 4, 6, 4, 1) / 16 at every second place of one axis. `outer` rows of n values that
 * lie `inner` apart. */
static void halve_axis(const float *x, int outer, int n, int inner, float *y)
{
	static const float tap[] = {0.0625f, 0.25f, 0.375f, 0.25f, 0.0625f};
	int half = (n + 1) / 2;
	for (int o = 0; o < outer; o++)
		for (int i = 0; i < half; i++) {
			float *to = y + ((size_t)o * (size_t)half + (size_t)i) * (size_t)inner;
			memset(to, 0, (size_t)inner * sizeof *to);
			for (int t = 0; t < 5; t++) {
				int at = reflect(2 * i + t - 2, n);
				const float *from = x + ((size_t)o * (size_t)n + (size_t)at) * (size_t)inner;
				for (int k = 0; k < inner; k++)
					to[k] += tap[t] * from[k];
			}
		}
}

/* y -= x at twice the size along both axes, interpolated linearly. */
static void subtract_coarse(const float *x, int h, int w, int c, int out_h, int out_w, float *y)
{
	for (int i = 0; i < out_h; i++)
		for (int j = 0; j < out_w; j++) {
			int i0 = i / 2, j0 = j / 2;
			int i1 = i % 2 && i0 + 1 < h ? i0 + 1 : i0, j1 = j % 2 && j0 + 1 < w ? j0 + 1 : j0;
			for (int k = 0; k < c; k++)
				y[(i * out_w + j) * c + k] -=
				    0.25f * (x[(i0 * w + j0) * c + k] + x[(i0 * w + j1) * c + k] +
					     x[(i1 * w + j0) * c + k] + x[(i1 * w + j1) * c + k]);
		}
}

/* All levels of one picture, the finest first; the last holds what is left, means included. `room` holds one
 * picture. */
static void build_pyramid(const otp_patches *p, const float *picture, float *out, float *room)
{
	const level *l = p->levels;
	memcpy(out, picture, (size_t)l->h * (size_t)l->w * (size_t)p->c * sizeof *out);
	for (int i = 0; i + 1 < p->count; i++) {
		const level *fine = &l[i], *coarse = &l[i + 1];
		float *at = out + fine->first, *below = out + coarse->first;
		halve_axis(at, fine->h, fine->w, p->c, room);
		halve_axis(room, 1, fine->h, coarse->w * p->c, below);
		subtract_coarse(below, coarse->h, coarse->w, p->c, fine->h, fine->w, at);
	}
}

static float *build_pyramids(const otp_patches *p, const float *pictures)
{
	size_t each = (size_t)p->levels[0].h * (size_t)p->levels[0].w * (size_t)p->c;
	float *all = otp_calloc(p->n * p->values, sizeof *all), *room = otp_calloc(each, sizeof *room);
	for (size_t i = 0; i < p->n; i++)
		build_pyramid(p, pictures + i * each, all + i * p->values, room);
	otp_free(room);
	return all;
}

/* ---- scale of the colours ---- */

/* The lower Cholesky factor of a level's covariance of colours, over all pixels of all pictures. */
static void factor_colours(const otp_patches *p, const level *l, const float *pyramids,
			   double factor[MOST_COLOURS][MOST_COLOURS])
{
	int c = p->c;
	double mean[MOST_COLOURS] = {0}, trace = 0, count = (double)p->n * l->h * l->w;
	memset(factor, 0, MOST_COLOURS * sizeof *factor);
	for (int about_mean = 0; about_mean < 2; about_mean++)
		for (size_t i = 0; i < p->n; i++)
			for (int at = 0; at < l->h * l->w; at++) {
				const float *v = pyramids + i * p->values + l->first + (size_t)at * (size_t)c;
				for (int a = 0; a < c; a++)
					for (int b = 0; b <= (about_mean ? a : 0); b++)
						*(about_mean ? &factor[a][b] : &mean[a]) +=
						    (about_mean
							 ? ((double)v[a] - mean[a]) * ((double)v[b] - mean[b])
							 : (double)v[a]) /
						    count;
			}
	for (int a = 0; a < c; a++)
		trace += factor[a][a];
	for (int a = 0; a < c; a++)
		factor[a][a] += LEAST_SHARE * trace / c + LEAST_VARIANCE;
	for (int a = 0; a < c; a++)
		for (int b = 0; b <= a; b++) {
			for (int k = 0; k < b; k++)
				factor[a][b] -= factor[a][k] * factor[b][k];
			factor[a][b] = a == b ? sqrt(factor[a][a]) : factor[a][b] / factor[b][b];
		}
}

/* Random unit vectors u over whitened patches, as vectors over plain ones: <u, L^-1 v> = <L^-T u, v>, pixel
 * by pixel. */
static void draw_directions(const otp_patches *p, level *l, int which,
			    double factor[MOST_COLOURS][MOST_COLOURS])
{
	int c = p->c, d = l->side * l->side * c;
	double *u = otp_calloc((size_t)d, sizeof *u);
	for (int k = 0; k < DIRECTIONS; k++) {
		otp_stream stream = otp_stream_make(p->seed, (uint32_t)k, (uint32_t)which);
		double length = 0;
		for (int j = 0; j < d; j++) {
			float value, other;
			otp_philox words = otp_philox_block(stream, OTP_PURPOSE_EVAL, (uint32_t)j);
			otp_normal_pair(words.v[0], words.v[1], &value, &other);
			u[j] = (double)value;
			length += u[j] * u[j];
		}
		for (int pixel = 0; pixel < d; pixel += c)
			for (int a = c - 1; a >= 0; a--) {
				for (int b = a + 1; b < c; b++)
					u[pixel + a] -= factor[b][a] * u[pixel + b];
				u[pixel + a] /= factor[a][a];
			}
		for (int j = 0; j < d; j++)
			l->directions[j * DIRECTIONS + k] = (float)(u[j] / sqrt(length));
	}
	otp_free(u);
}

/* ---- projections ---- */

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

/* One patch from all directions. `corner` is its first value; rows are `row` values apart. */
static void project(const level *l, int c, const float *corner, int row, float out[DIRECTIONS])
{
	const float *direction = l->directions;
	memset(out, 0, DIRECTIONS * sizeof *out);
	for (int i = 0; i < l->side; i++)
		for (int j = 0; j < l->side * c; j++, direction += DIRECTIONS) {
			float value = corner[(size_t)i * (size_t)row + (size_t)j];
			for (int k = 0; k < DIRECTIONS; k++)
				out[k] += value * direction[k];
		}
}

/* (DIRECTIONS, n * places), each row sorted. Picture i's patches lie at the same places whatever it shows. */
static void project_level(const otp_patches *p, int which, const float *pyramids, float *out)
{
	const level *l = &p->levels[which];
	size_t patches = p->n * p->places;
	int row = l->w * p->c;
	float seen[DIRECTIONS];
	for (size_t i = 0; i < patches; i++) {
		otp_stream stream = otp_stream_make(p->seed ^ 0x70617463u, (uint32_t)i, (uint32_t)which);
		otp_philox words = otp_philox_block(stream, OTP_PURPOSE_EVAL, 0);
		size_t top = words.v[0] % (uint32_t)(l->h - l->side + 1),
		       left = words.v[1] % (uint32_t)(l->w - l->side + 1);
		const float *at = pyramids + i / p->places * p->values + l->first;
		project(l, p->c, at + top * (size_t)row + left * (size_t)p->c, row, seen);
		for (size_t k = 0; k < DIRECTIONS; k++)
			out[k * patches + i] = seen[k];
	}
	for (size_t k = 0; k < DIRECTIONS; k++)
		qsort(out + k * patches, patches, sizeof *out, by_value);
}

double otp_patches_distance(const otp_patches *p, const float *pictures)
{
	size_t count = DIRECTIONS * p->n * p->places;
	float *pyramids = build_pyramids(p, pictures), *sorted = otp_calloc(count, sizeof *sorted);
	double total = 0;
	for (int i = 0; i < p->count; i++) {
		project_level(p, i, pyramids, sorted);
		for (size_t k = 0; k < count; k++) {
			double apart = (double)sorted[k] - (double)p->levels[i].sorted[k];
			total += apart * apart / (double)count / p->count;
		}
	}
	otp_free(pyramids);
	otp_free(sorted);
	return total;
}

/* ---- set-up ---- */

static size_t places_of(size_t n)
{
	size_t places = ENOUGH / (n ? n : 1);
	return places > MOST_PLACES ? MOST_PLACES : places ? places : 1;
}

static int least(int a, int b) { return a < b ? a : b; }

/* Sizes of all levels; the number of pixels in a pyramid. */
static size_t lay_out(level levels[MOST_LEVELS], int *count, int h, int w)
{
	size_t pixels = 0;
	for (*count = 0; *count < MOST_LEVELS; h = (h + 1) / 2, w = (w + 1) / 2) {
		levels[(*count)++] =
		    (level){.h = h, .w = w, .side = least(SIDE, least(h, w)), .first = pixels};
		pixels += (size_t)h * (size_t)w;
		if (least(h, w) < 2 * LEAST_SIDE)
			break;
	}
	return pixels;
}

size_t otp_patches_bytes(size_t n, int h, int w)
{
	level levels[MOST_LEVELS];
	int count;
	size_t pixels = lay_out(levels, &count, h, w), sorted = DIRECTIONS * n * places_of(n);
	size_t directions = (size_t)count * SIDE * SIDE * DIRECTIONS * MOST_COLOURS;
	return (((size_t)count + 1) * sorted + directions + (n + 1) * pixels * MOST_COLOURS) * sizeof(float);
}

otp_patches *otp_patches_new(const float *reference, size_t n, int h, int w, int c, uint64_t seed)
{
	OTP_ASSERT(c >= 1 && c <= MOST_COLOURS, "%d colours", c);
	otp_patches *p = otp_calloc(1, sizeof *p);
	*p = (otp_patches){.n = n, .places = places_of(n), .c = c, .seed = seed};
	p->values = lay_out(p->levels, &p->count, h, w) * (size_t)c;
	for (int i = 0; i < p->count; i++)
		p->levels[i].first *= (size_t)c;
	float *pyramids = build_pyramids(p, reference);
	for (int i = 0; i < p->count; i++) {
		level *l = &p->levels[i];
		double factor[MOST_COLOURS][MOST_COLOURS];
		size_t d = (size_t)l->side * (size_t)l->side * (size_t)c;
		l->directions = otp_calloc(d * DIRECTIONS, sizeof *l->directions);
		l->sorted = otp_calloc(DIRECTIONS * n * p->places, sizeof *l->sorted);
		factor_colours(p, l, pyramids, factor);
		draw_directions(p, l, i, factor);
		project_level(p, i, pyramids, l->sorted);
	}
	otp_free(pyramids);
	return p;
}

void otp_patches_free(otp_patches *p)
{
	if (!p)
		return;
	for (int i = 0; i < p->count; i++) {
		otp_free(p->levels[i].directions);
		otp_free(p->levels[i].sorted);
	}
	otp_free(p);
}
