#include "ot/gaussian.h"

#include "core/base.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

static void multiply(const double *a, const double *b, int d, double *out)
{
	memset(out, 0, (size_t)d * (size_t)d * sizeof *out);
	for (int i = 0; i < d; i++)
		for (int k = 0; k < d; k++)
			for (int j = 0; j < d; j++)
				out[i * d + j] += a[i * d + k] * b[k * d + j];
}

static double trace(const double *a, int d)
{
	double sum = 0;
	for (int i = 0; i < d; i++)
		sum += a[i * d + i];
	return sum;
}

void otp_symmetric_eigen(const double *s, int d, double *values, double *vectors)
{
	if (vectors != s)
		memcpy(vectors, s, (size_t)d * (size_t)d * sizeof *s);
	int info = LAPACKE_dsyevd(LAPACK_ROW_MAJOR, 'V', 'U', d, vectors, d, values);
	OTP_ASSERT(info == 0, "dsyevd returned %d for a matrix of size %d", info, d);
}

void otp_symmetric_power(const double *s, int d, double power, double *out)
{
	size_t n = (size_t)d;
	double *vectors = otp_calloc(n * n, sizeof *vectors), *values = otp_calloc(n, sizeof *values);
	otp_symmetric_eigen(s, d, values, vectors);
	double *scaled = otp_calloc(n * n, sizeof *scaled),
	       *transposed = otp_calloc(n * n, sizeof *transposed);
	for (int j = 0; j < d; j++) {
		double value = pow(fmax(values[j], 0), power);
		for (int i = 0; i < d; i++) {
			scaled[i * d + j] = vectors[i * d + j] * value;
			transposed[j * d + i] = vectors[i * d + j];
		}
	}
	multiply(scaled, transposed, d, out);
	otp_free(vectors);
	otp_free(values);
	otp_free(scaled);
	otp_free(transposed);
}

double otp_gaussian_bures(const double *s1, const double *s2, int d, double *map)
{
	size_t bytes = (size_t)d * (size_t)d * sizeof(double);
	double *root = otp_calloc(1, bytes), *between = otp_calloc(1, bytes), *work = otp_calloc(1, bytes);
	otp_symmetric_power(s1, d, 0.5, root);
	multiply(root, s2, d, work);
	multiply(work, root, d, between);
	otp_symmetric_power(between, d, 0.5, work);
	double distance = trace(s1, d) + trace(s2, d) - 2 * trace(work, d);
	if (map) {
		otp_symmetric_power(s1, d, -0.5, root);
		multiply(root, work, d, between);
		multiply(between, root, d, map);
	}
	otp_free(root);
	otp_free(between);
	otp_free(work);
	return distance;
}

void otp_gaussian_moments(const float *points, int n, int d, double *mean, double *covariance)
{
	memset(mean, 0, (size_t)d * sizeof *mean);
	memset(covariance, 0, (size_t)d * (size_t)d * sizeof *covariance);
	for (int k = 0; k < n; k++)
		for (int i = 0; i < d; i++)
			mean[i] += (double)points[(size_t)k * (size_t)d + (size_t)i] / n;
	for (int k = 0; k < n; k++) {
		const float *x = points + (size_t)k * (size_t)d;
		for (int i = 0; i < d; i++) {
			double a = ((double)x[i] - mean[i]) / n;
			for (int j = 0; j < d; j++)
				covariance[i * d + j] += a * ((double)x[j] - mean[j]);
		}
	}
}
