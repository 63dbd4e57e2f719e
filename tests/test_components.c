/* components: FastICA against mixtures whose components are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base.h"
#include "ot/components.h"

#include "scalar.h"

#include <math.h>

enum { N = 20000, D = 6, K = 3 };

static double unit(otp_stream s, uint32_t i) { return (double)otp_random_uniform(s, OTP_PURPOSE_SYNTH, i); }

/* K independent coordinates, uniform, of two values and of a Laplace law, of variances 1, 4 and 9. */
static void coordinates(int i, double *c)
{
	otp_stream s = otp_stream_make(5, (uint32_t)i, 0);
	double u = unit(s, 0), l = unit(s, 2) - 0.5;
	c[0] = sqrt(12) * (u - 0.5);
	c[1] = unit(s, 1) < 0.5 ? -2 : 2;
	c[2] = -3 / sqrt(2) * (l < 0 ? -1 : 1) * log(fmax(1 - 2 * fabs(l), 1e-12));
}

/* Mixed by columns that are neither orthogonal nor of one length, about a mean, in D dimensions. */
static const double MIX[D][K] = {{1, 0.5, 0},	   {0, 1, 0.3},	   {0.2, 0, 1},
				 {0.4, -0.6, 0.1}, {0, 0.2, -0.7}, {0, 0, 0}};

static void mix(float *points)
{
	for (int i = 0; i < N; i++) {
		double c[K];
		coordinates(i, c);
		for (int j = 0; j < D; j++) {
			double value = 1 + j;
			for (int k = 0; k < K; k++)
				value += MIX[j][k] * c[k];
			points[i * D + j] = (float)value;
		}
	}
}

/* Correlations of component c with each coordinate. */
static void correlate(const float *points, const double *direction, double *correlation)
{
	double mean = 0, square = 0, with[K] = {0}, deviation[K] = {1, 2, 3};
	for (int i = 0; i < N; i++) {
		double value = 0, c[K];
		coordinates(i, c);
		for (int j = 0; j < D; j++)
			value += direction[j] * ((double)points[i * D + j] - 1 - j);
		mean += value / N;
		square += value * value / N;
		for (int k = 0; k < K; k++)
			with[k] += value * c[k] / N;
	}
	for (int k = 0; k < K; k++)
		correlation[k] = fabs(with[k]) / deviation[k] / sqrt(square - mean * mean);
}

/* Each component is one coordinate and nothing of the others: an unmixing row is known to about 1 / sqrt(N)
 * for each of them, 0.007; five standard errors. */
static void components_are_found(void **state)
{
	(void)state;
	float *points = otp_calloc((size_t)N * D, sizeof *points);
	double directions[D * D], correlation[K];
	bool found[K] = {false};
	mix(points);
	assert_int_equal(otp_components(points, N, D, D, otp_stream_make(1, 0, 0), directions), K);
	for (int c = 0; c < K; c++) {
		double square = 0;
		for (int j = 0; j < D; j++)
			square += directions[c * D + j] * directions[c * D + j];
		assert_true(fabs(square - 1) < 1e-12);
		correlate(points, directions + (ptrdiff_t)c * D, correlation);
		for (int k = 0; k < K; k++) {
			found[k] = found[k] || correlation[k] > 0.99;
			assert_true(correlation[k] > 0.99 || correlation[k] < 0.035);
		}
	}
	for (int k = 0; k < K; k++)
		assert_true(found[k]);
	otp_free(points);
}

static void no_more_than_asked_for(void **state)
{
	(void)state;
	float *points = otp_calloc((size_t)N * D, sizeof *points);
	double directions[D * D];
	mix(points);
	assert_int_equal(otp_components(points, N, D, 2, otp_stream_make(1, 0, 0), directions), 2);
	for (int i = 0; i < N * D; i++)
		points[i] = 3;
	assert_int_equal(otp_components(points, N, D, D, otp_stream_make(1, 0, 0), directions), 0);
	otp_free(points);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(components_are_found),
					   cmocka_unit_test(no_more_than_asked_for)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
