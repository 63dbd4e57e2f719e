#include "ot/features.h"
#include "core/rng.h"
#include "ot/gaussian.h"

#include <math.h>
#include <oneapi/dnnl/dnnl.h>
#include <string.h>

enum { SUBSETS = 100, SUBSET_ROWS = 1000 };

/* ---- Frechet ---- */

static void moments(const float *x, int n, int d, double *mean, double *covariance)
{
	otp_gaussian_moments(x, n, d, mean, covariance);
	for (int64_t i = 0; i < (int64_t)d * d; i++)
		covariance[i] *= (double)n / (n - 1);
}

static double frechet(const float *a, int n, const float *b, int m, int d)
{
	size_t square = (size_t)d * (size_t)d;
	double *mean = otp_calloc(2 * (size_t)d, sizeof *mean),
	       *covariance = otp_calloc(2 * square, sizeof *covariance);
	moments(a, n, d, mean, covariance);
	moments(b, m, d, mean + d, covariance + square);
	double distance = otp_gaussian_bures(covariance, covariance + square, d, NULL);
	for (int i = 0; i < d; i++)
		distance += (mean[i] - mean[d + i]) * (mean[i] - mean[d + i]);
	otp_free(mean);
	otp_free(covariance);
	return fmax(distance, 0); /* below 0 by rounding alone */
}

/* ---- KID ---- */

/* The kernel summed over all pairs of rows, or over those of different rows. */
static double kernel_sum(const float *x, const float *y, int rows, int d, bool same, float *products)
{
	double sum = 0;
	dnnl_sgemm('N', 'T', rows, rows, d, 1.0f / (float)d, x, d, y, d, 0, products, rows);
	for (int i = 0; i < rows; i++)
		for (int j = 0; j < rows; j++) {
			double k = (double)products[(int64_t)i * rows + j] + 1;
			sum += same && i == j ? 0 : k * k * k;
		}
	return sum;
}

/* `rows` of n rows, each once, by the first steps of a shuffle. */
static void choose(const float *from, int n, int rows, int d, otp_stream stream, int *order, float *to)
{
	for (int i = 0; i < n; i++)
		order[i] = i;
	for (int i = 0; i < rows; i++) {
		uint64_t draw = otp_random_u32(stream, OTP_PURPOSE_EVAL, (uint32_t)i);
		int j = i + (int)(draw * (uint64_t)(n - i) >> 32), kept = order[i];
		order[i] = order[j];
		order[j] = kept;
		memcpy(to + (size_t)i * (size_t)d, from + (size_t)order[i] * (size_t)d,
		       (size_t)d * sizeof *to);
	}
}

static void measure_kid(const float *a, int n, const float *b, int m, int d, otp_feature_distance *out)
{
	int fewest = n < m ? n : m, rows = fewest < SUBSET_ROWS ? fewest : SUBSET_ROWS;
	int subsets = rows < n || rows < m ? SUBSETS : 1;
	size_t values = (size_t)rows * (size_t)d;
	float *x = otp_calloc(2 * values, sizeof *x), *y = x + values;
	float *products = otp_calloc((size_t)rows * (size_t)rows, sizeof *products);
	int *order = otp_calloc((size_t)(n > m ? n : m), sizeof *order);
	double mean = 0, square = 0, pairs = (double)rows * (rows - 1);
	for (int s = 0; s < subsets; s++) {
		choose(a, n, rows, d, otp_stream_make(1, (uint32_t)s, 0), order, x);
		choose(b, m, rows, d, otp_stream_make(1, (uint32_t)s, 1), order, y);
		double kid =
		    (kernel_sum(x, x, rows, d, true, products) + kernel_sum(y, y, rows, d, true, products)) /
			pairs -
		    2 * kernel_sum(x, y, rows, d, false, products) / ((double)rows * rows);
		mean += kid / subsets;
		square += kid * kid / subsets;
	}
	out->kid = mean;
	out->kid_spread = subsets > 1 ? sqrt(fmax(square - mean * mean, 0)) : NAN;
	out->subsets = subsets;
	out->rows = rows;
	otp_free(x);
	otp_free(products);
	otp_free(order);
}

otp_feature_distance otp_feature_distances(const float *a, int n, const float *b, int m, int d)
{
	otp_feature_distance out = {.frechet = frechet(a, n, b, m, d)};
	measure_kid(a, n, b, m, d, &out);
	return out;
}
