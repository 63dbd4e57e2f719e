#include "laws/convex.h"
#include "core/base.h"

#include "scalar.h"

#include <math.h>
#include <string.h>

enum { PIECES = 30 };

/* STRETCH: share of x that T keeps. SHARPNESS: b. SHIFT: standard deviation of the t_k. */
static const double STRETCH = 0.2, SHARPNESS = 8, SHIFT = 0.5;

struct otp_convex {
	int d;
	double shift[PIECES];
	double *weights; /* (PIECES, d), standard normal */
};

static void fill_normals(otp_stream stream, uint32_t row, int d, double *out)
{
	for (int j = 0; j < d; j++) {
		float pair[2];
		otp_stream at = stream;
		at.word[2] += row;
		otp_philox words = otp_philox_block(at, OTP_PURPOSE_SYNTH, (uint32_t)j);
		otp_normal_pair(words.v[0], words.v[1], &pair[0], &pair[1]);
		out[j] = (double)pair[0];
	}
}

otp_convex *otp_convex_new(int d, otp_stream stream)
{
	otp_convex *c = otp_calloc(1, sizeof *c);
	c->d = d;
	c->weights = otp_calloc((size_t)PIECES * (size_t)d, sizeof *c->weights);
	for (uint32_t k = 0; k < PIECES; k++)
		fill_normals(stream, k, d, c->weights + (size_t)k * (size_t)d);
	fill_normals(stream, PIECES, PIECES, c->shift);
	for (int k = 0; k < PIECES; k++)
		c->shift[k] *= SHIFT;
	return c;
}

void otp_convex_free(otp_convex *c)
{
	if (!c)
		return;
	otp_free(c->weights);
	otp_free(c);
}

/* Softmax, shifted by its greatest logit so that nothing overflows. */
static void share(const otp_convex *c, const double *x, double share[PIECES])
{
	double most = -INFINITY, sum = 0;
	for (int k = 0; k < PIECES; k++) {
		const double *w = c->weights + (size_t)k * (size_t)c->d;
		share[k] = 0;
		for (int j = 0; j < c->d; j++)
			share[k] += w[j] * x[j];
		share[k] = SHARPNESS * (share[k] / sqrt(c->d) + c->shift[k]);
		most = fmax(most, share[k]);
	}
	for (int k = 0; k < PIECES; k++)
		sum += share[k] = exp(share[k] - most);
	for (int k = 0; k < PIECES; k++)
		share[k] /= sum;
}

void otp_convex_map(const otp_convex *c, const double *x, double *y)
{
	double p[PIECES];
	share(c, x, p);
	for (int j = 0; j < c->d; j++) {
		y[j] = STRETCH * x[j];
		for (int k = 0; k < PIECES; k++)
			y[j] += p[k] * c->weights[(size_t)k * (size_t)c->d + (size_t)j];
	}
}
