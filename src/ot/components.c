#include "ot/components.h"
#include "core/base.h"
#include "ot/gaussian.h"

#include "scalar.h"

#include <math.h>

/* White coordinates of the sample: z = white (y - mean), of unit covariance. */
typedef struct whitened {
	int n, d, k;
	double *white; /* (k, d) */
	double *z;     /* (n, k) */
} whitened;

static void whiten(const float *points, int n, int d, int most, whitened *w)
{
	double *mean = otp_calloc((size_t)d, sizeof *mean), *values = otp_calloc((size_t)d, sizeof *values);
	double *vectors = otp_calloc((size_t)d * (size_t)d, sizeof *vectors);
	otp_gaussian_moments(points, n, d, mean, vectors);
	otp_symmetric_eigen(vectors, d, values, vectors);
	*w = (whitened){.n = n, .d = d};
	double least = 1e-6 * values[d - 1]; /* what is left of a constant by rounding is nothing either */
	for (int j = 0; j < d; j++)
		least = fmax(least, 1e-12 * mean[j] * mean[j]);
	while (w->k < d && w->k < most && values[d - 1 - w->k] > least)
		w->k++;
	w->white = otp_calloc((size_t)w->k * (size_t)d + 1, sizeof *w->white);
	w->z = otp_calloc((size_t)n * (size_t)w->k + 1, sizeof *w->z);
	for (int c = 0; c < w->k; c++) /* the largest first */
		for (int j = 0; j < d; j++)
			w->white[c * d + j] = vectors[j * d + d - 1 - c] / sqrt(values[d - 1 - c]);
	for (int i = 0; i < n; i++)
		for (int c = 0; c < w->k; c++)
			for (int j = 0; j < d; j++)
				w->z[(size_t)i * (size_t)w->k + (size_t)c] +=
				    w->white[c * d + j] *
				    ((double)points[(size_t)i * (size_t)d + (size_t)j] - mean[j]);
	otp_free(vectors);
	otp_free(values);
	otp_free(mean);
}

/* rows <- (rows rows^T)^-1/2 rows */
static void decorrelate(int k, double *rows, double *square, double *old)
{
	for (int a = 0; a < k; a++)
		for (int b = 0; b < k; b++) {
			square[a * k + b] = 0;
			for (int j = 0; j < k; j++)
				square[a * k + b] += rows[a * k + j] * rows[b * k + j];
		}
	otp_symmetric_power(square, k, -0.5, square);
	for (int i = 0; i < k * k; i++)
		old[i] = rows[i];
	for (int a = 0; a < k; a++)
		for (int j = 0; j < k; j++) {
			rows[a * k + j] = 0;
			for (int b = 0; b < k; b++)
				rows[a * k + j] += square[a * k + b] * old[b * k + j];
		}
}

/* E[g(<row, z>) z] - E[g'(<row, z>)] row for every row, g = tanh */
static void step(const whitened *w, const double *rows, double *next)
{
	int k = w->k;
	for (int a = 0; a < k; a++) {
		double slope = 0, *sum = next + a * k;
		for (int j = 0; j < k; j++)
			sum[j] = 0;
		for (int i = 0; i < w->n; i++) {
			const double *z = w->z + (size_t)i * (size_t)k;
			double u = 0;
			for (int j = 0; j < k; j++)
				u += rows[a * k + j] * z[j];
			double g = tanh(u);
			slope += 1 - g * g;
			for (int j = 0; j < k; j++)
				sum[j] += g * z[j];
		}
		for (int j = 0; j < k; j++)
			sum[j] = (sum[j] - slope * rows[a * k + j]) / w->n;
	}
}

/* How far the rows turned: the largest 1 - |cosine| between old and new. */
static double turned(int k, const double *a, const double *b)
{
	double most = 0;
	for (int c = 0; c < k; c++) {
		double cosine = 0;
		for (int j = 0; j < k; j++)
			cosine += a[c * k + j] * b[c * k + j];
		most = fmax(most, 1 - fabs(cosine));
	}
	return most;
}

static void rotate(const whitened *w, otp_stream stream, double *rows)
{
	enum { MOST_STEPS = 200 };
	int k = w->k;
	double *next = otp_calloc((size_t)(3 * k * k), sizeof *next), *square = next + k * k,
	       *old = square + k * k;
	for (int i = 0; i < k * k; i++)
		rows[i] = (double)otp_normal_block(stream, OTP_PURPOSE_INIT, (uint32_t)i).v[0];
	decorrelate(k, rows, square, old);
	double way = 1;
	for (int i = 0; i < MOST_STEPS && way > 1e-9; i++) {
		step(w, rows, next);
		decorrelate(k, next, square, old);
		way = turned(k, rows, next);
		for (int j = 0; j < k * k; j++)
			rows[j] = next[j];
	}
	otp_free(next);
}

int otp_components(const float *points, int n, int d, int most, otp_stream stream, double *directions)
{
	whitened w;
	whiten(points, n, d, most, &w);
	double *rows = otp_calloc((size_t)(w.k * w.k) + 1, sizeof *rows);
	rotate(&w, stream, rows);
	for (int c = 0; c < w.k; c++) {
		double square = 0, *direction = directions + (size_t)c * (size_t)d;
		for (int j = 0; j < d; j++) {
			direction[j] = 0;
			for (int b = 0; b < w.k; b++)
				direction[j] += rows[c * w.k + b] * w.white[b * d + j];
			square += direction[j] * direction[j];
		}
		for (int j = 0; j < d; j++)
			direction[j] /= sqrt(square);
	}
	otp_free(rows);
	otp_free(w.white);
	otp_free(w.z);
	return w.k;
}
