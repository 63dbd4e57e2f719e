/* dimension: the estimate on sets whose dimension is known, within four of its
 * own standard errors m / sqrt(r), r the ratios that are not censored. What a
 * set's edge or curvature adds is bounded where it is not negligible. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base.h"
#include "core/rng.h"
#include "laws/laws.h"
#include "ot/dimension.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N = 1500, D = 64 };

static void check_within(double value, double right, double bound, int line)
{
	if (!(fabs(value - right) <= bound))
		fail_msg("line %d: %.6g, expected %.6g within %g", line, value, right, bound);
}
#define assert_within(value, right, bound) check_within(value, right, bound, __LINE__)

static double uniform(int i, int j)
{
	return otp_random_uniform(otp_stream_make(3, (uint32_t)i, 0), OTP_PURPOSE_EVAL, (uint32_t)j);
}

static double normal(int i, int j)
{
	return sqrt(-2 * log(uniform(i, 2 * j))) * cos(2 * OTP_PI * uniform(i, 2 * j + 1));
}

/* The first k coordinates of each point, turned into D dimensions. */
static float *turned(const double *plain, int n, int k)
{
	double *rotation = otp_calloc((size_t)D * D, sizeof *rotation);
	float *points = otp_calloc((size_t)n * D, sizeof *points);
	otp_law_orthogonal(1, 0, D, rotation);
	for (int i = 0; i < n; i++)
		for (int a = 0; a < D; a++) {
			double value = 0;
			for (int j = 0; j < k; j++)
				value += rotation[j * D + a] * plain[i * k + j];
			points[i * D + a] = (float)value;
		}
	otp_free(rotation);
	return points;
}

static otp_dimension estimate(const float *points, int n, int d)
{
	otp_dimension found;
	assert_true(otp_dimension_estimate(points, n, d, &found));
	assert_within(found.error, found.m / sqrt(found.points - found.points / 10), 1e-12 * found.m);
	return found;
}

static double four_errors(double m, int n) { return 4 * m / sqrt(n - n / 10); }

/* ---- sets of known dimension --------------------------------------------------- */

/* The four points at the ends, whose neighbours lie on one side, are 0.3 % of all. */
static void line_in_the_plane(void **state)
{
	(void)state;
	static float points[N * 2];
	for (int i = 0; i < N; i++) {
		double t = 2 * uniform(i, 0) - 1;
		points[2 * i] = (float)(0.6 * t);
		points[2 * i + 1] = (float)(0.8 * t);
	}
	otp_dimension found = estimate(points, N, 2);
	assert_int_equal(found.points, N);
	assert_within(found.m, 1, four_errors(1, N) + 0.01);
	/* P(|x - y| > t) = (1 - t/2)^2 is 0.01 at 1.8, where its slope is 0.1. The share of pairs beyond has
	 * the error 2 s / sqrt n, s^2 = E P(|x - y| > 1.8 | x)^2 < 0.00067. */
	assert_within(found.diameter, 1.8, 4 * 2 * sqrt(0.00067 / N) / 0.1);
}

/* Near an edge the ball is cut: at worst the exponent falls from 2 to 1.64 there. With E r2 = 0.75 / sqrt n
 * in the unit square, 4 E r2 of the points are concerned. */
static void square_in_many_dimensions(void **state)
{
	(void)state;
	static double plain[N * 2];
	for (int i = 0; i < N * 2; i++)
		plain[i] = uniform(i / 2, i % 2);
	float *points = turned(plain, N, 2);
	double edge = 4 * 0.75 / sqrt(N) * 0.36;
	assert_within(estimate(points, N, D).m, 2, four_errors(2, N) + edge);
	otp_free(points);
}

/* Three angles, no edge. A chord is r (1 - r^2 / 24) of its arc r, about 0.3 here: 0.4 % of m. */
static void torus_in_many_dimensions(void **state)
{
	(void)state;
	static double plain[N * 6];
	for (int i = 0; i < N; i++)
		for (int j = 0; j < 3; j++) {
			plain[i * 6 + 2 * j] = cos(2 * OTP_PI * uniform(i, j));
			plain[i * 6 + 2 * j + 1] = sin(2 * OTP_PI * uniform(i, j));
		}
	float *points = turned(plain, N, 6);
	assert_within(estimate(points, N, D).m, 3, four_errors(3, N) + 0.012);
	otp_free(points);
}

/* Of k dimensions in k + 1 coordinates, turned; chords as above, at most 0.5 apart: 1 % of m. */
static void spheres(void **state)
{
	(void)state;
	static double plain[N * 6];
	for (int k = 1; k <= 5; k++) {
		for (int i = 0; i < N; i++) {
			double length = 0;
			for (int j = 0; j <= k; j++) {
				plain[i * (k + 1) + j] = normal(i, j);
				length += plain[i * (k + 1) + j] * plain[i * (k + 1) + j];
			}
			for (int j = 0; j <= k; j++)
				plain[i * (k + 1) + j] /= sqrt(length);
		}
		float *points = turned(plain, N, k + 1);
		assert_within(estimate(points, N, D).m, k, four_errors(k, N) + 0.01 * k);
		otp_free(points);
	}
}

/* ---- what data is like ------------------------------------------------------------ */

static void scale_changes_lengths_alone(void **state)
{
	(void)state;
	static float points[300 * 3], large[300 * 3];
	for (int i = 0; i < 900; i++) {
		points[i] = (float)uniform(i / 3, i % 3);
		large[i] = 1024 * points[i];
	}
	otp_dimension a = estimate(points, 300, 3), b = estimate(large, 300, 3);
	assert_within(b.m, a.m, 1e-9 * a.m); /* powers of 2 round alike */
	assert_within(b.diameter, 1024 * a.diameter, 1e-9 * b.diameter);
}

static void duplicates_count_once(void **state)
{
	(void)state;
	static float once[200 * 3], often[1000 * 3];
	for (int i = 0; i < 600; i++)
		once[i] = (float)uniform(i / 3, i % 3);
	for (int i = 0; i < 1000; i++)
		memcpy(often + 3 * i, once + 3 * (i * 7 % 200), 3 * sizeof *once);
	otp_dimension a = estimate(once, 200, 3), b = estimate(often, 1000, 3);
	assert_memory_equal(&a, &b, sizeof a);
	assert_int_equal(b.points, 200);
}

/* Every ratio is 1: no more than the space has. */
static void lattices_fill_space(void **state)
{
	(void)state;
	static float lattice[400 * 2];
	for (int i = 0; i < 400; i++) {
		lattice[2 * i] = (float)(i % 20);
		lattice[2 * i + 1] = (float)(i / 20);
	}
	assert_within(estimate(lattice, 400, 2).m, 2, 0);
}

/* 8 % of the points have a twin within 1e-6. They take most of the censored tenth, whose other members are
 * 2.2 % of the rest: its bound is log(1 / 0.022) / m = 3.83 / m instead of 2.30 / m, and the estimate
 * 0.9 / (0.823 + 0.1 * 3.83) = 0.746 of the right one. Uncensored it would be 0.41: a mean log of 9.5 for
 * them. */
static void twins_do_bounded_harm(void **state)
{
	(void)state;
	static float twins[N * 2];
	for (int i = 0; i < N; i++) {
		int of = i % 25 == 1 ? i - 1 : i;
		twins[2 * i] = (float)uniform(of, 0) + (of < i ? 1e-6f : 0);
		twins[2 * i + 1] = (float)uniform(of, 1);
	}
	double edge = 4 * 0.75 / sqrt(N) * 0.36;
	assert_within(estimate(twins, N, 2).m, 0.746 * 2, four_errors(0.746 * 2, N) + edge);
}

/* ---- densities -------------------------------------------------------------------- */

static bool has_density(const float *points, int n, int d)
{
	otp_dimension dimension;
	assert_true(otp_dimension_estimate(points, n, d, &dimension));
	otp_density found = otp_density_estimate(points, n, d);
	return otp_density_holds(&found, &dimension, n);
}

/* TwoNN alone says 11 of 16, 17 of 32. */
static void densities_of_any_dimension(void **state)
{
	(void)state;
	static float points[N * 32];
	static const int dimensions[] = {1, 2, 3, 8, 16, 32};
	for (size_t k = 0; k < sizeof dimensions / sizeof *dimensions; k++) {
		int d = dimensions[k];
		for (int i = 0; i < N * d; i++)
			points[i] = (float)normal(i / d, i % d);
		assert_true(has_density(points, N, d));
		for (int i = 0; i < N * d; i++)
			points[i] = (float)uniform(i / d, i % d);
		assert_true(has_density(points, N, d));
		for (int i = 0; i < N * d; i++) /* three clusters, unequal directions */
			points[i] = (float)(3 * normal(9000 + i / d % 3, i % d) +
					    0.4 * normal(i / d, i % d) / (1 + i % d % 5));
		assert_true(has_density(points, N, d));
	}
}

static void sets_without_density(void **state)
{
	(void)state;
	static float points[N * 16];
	for (int i = 0; i < N; i++) { /* half a circle */
		points[2 * i] = (float)cos(OTP_PI * uniform(i, 0));
		points[2 * i + 1] = (float)sin(OTP_PI * uniform(i, 0));
	}
	assert_false(has_density(points, N, 2));
	for (int i = 0; i < N; i++) /* a curved surface of 4 dimensions in 16 */
		for (int j = 0; j < 16; j++)
			points[16 * i + j] = (float)sin(2 * normal(i, j % 4) + normal(i, (j + j / 4) % 4));
	assert_false(has_density(points, N, 16));
	for (int i = 0; i < N; i++) /* a plane in space */
		for (int j = 0; j < 3; j++)
			points[3 * i + j] = (float)(j < 2 ? normal(i, j) : normal(i, 0) - normal(i, 1));
	assert_false(has_density(points, N, 3));
	for (int i = 0; i < N; i++) /* every point twice */
		for (int j = 0; j < 8; j++)
			points[8 * i + j] = (float)normal(i / 2, j);
	assert_false(has_density(points, N, 8));
}

static void few_points_are_refused(void **state)
{
	(void)state;
	static float points[200 * 2];
	otp_dimension found;
	for (int i = 0; i < 200; i++) {
		points[2 * i] = (float)(i % (OTP_DIMENSION_LEAST - 1));
		points[2 * i + 1] = (float)sin(i % (OTP_DIMENSION_LEAST - 1));
	}
	assert_false(otp_dimension_estimate(points, 200, 2, &found));
	assert_int_equal(found.points, OTP_DIMENSION_LEAST - 1);
	assert_false(otp_dimension_estimate(points, 1, 2, &found));
	assert_int_equal(found.points, 1);
	points[1] = 5;
	assert_true(otp_dimension_estimate(points, 200, 2, &found));
}

/* ---- sigma from dimension and diameter ----------------------------------------------- */

/* Sixteen times the samples: half of sigma up to four dimensions, 16^(-1/8) of it in eight. */
static void sigma_falls_with_samples(void **state)
{
	(void)state;
	otp_dimension found = {.points = 100, .m = 1.7, .diameter = 6};
	assert_within(otp_dimension_sigma(&found, 16, 4), 0.5, 1e-12);
	assert_within(otp_dimension_sigma(&found, 256, 4), 0.25, 1e-12);
	assert_within(otp_dimension_sigma(&found, 256, 16), 0.125, 1e-12);
	found.m = 8;
	assert_within(otp_dimension_sigma(&found, 256, 4), 0.5, 1e-12);
	assert_within(otp_dimension_sigma(&found, 4096, 4), 0.5 * pow(16, -1.0 / 8), 1e-12);
	char *text = otp_dimension_reason(&found, 256, 4);
	assert_non_null(strstr(text, "256 different samples"));
	assert_non_null(strstr(text, "256^(-1/8) / sqrt(4)"));
	otp_free(text);
}

/* ---- sizes ------------------------------------------------------------------------- */

static void samples_are_bounded(void **state)
{
	(void)state;
	assert_int_equal(otp_dimension_sample(50, 2), 50);
	assert_int_equal(otp_dimension_sample(1000000, 2), OTP_DIMENSION_MOST);
	int large = otp_dimension_sample(1000000, 3 * 256 * 256);
	assert_in_range(large, 200, 300);
	assert_int_equal(otp_dimension_sample(100, 3 * 256 * 256), 100);
	assert_int_equal(otp_dimension_sample(100, (int64_t)3 * 4096 * 4096), 2 * OTP_DIMENSION_LEAST);
}

/* D equally frequent ones among `count`: 1000 draws show D (1 - (1 - 1/D)^1000) of them on average, with a
 * standard deviation below sqrt(D) / 2; the estimate moves by at most 2.4 times as much at D = 1000. */
static void repetitions_are_counted(void **state)
{
	(void)state;
	assert_within(otp_dimension_distinct(5000, 1000, 1000), 5000, 0);
	assert_within(otp_dimension_distinct(500, 500, 120), 120, 0);
	static bool seen[1000];
	int distinct = 0;
	for (int i = 0; i < 1000; i++) {
		int which = (int)(1000 * uniform(i, 0));
		distinct += !seen[which];
		seen[which] = true;
	}
	assert_within(otp_dimension_distinct(50000, 1000, distinct), 1000, 4 * 2.4 * sqrt(1000) / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(line_in_the_plane),	   cmocka_unit_test(square_in_many_dimensions),
	    cmocka_unit_test(torus_in_many_dimensions),	   cmocka_unit_test(spheres),
	    cmocka_unit_test(scale_changes_lengths_alone), cmocka_unit_test(duplicates_count_once),
	    cmocka_unit_test(lattices_fill_space),	   cmocka_unit_test(twins_do_bounded_harm),
	    cmocka_unit_test(densities_of_any_dimension),  cmocka_unit_test(sets_without_density),
	    cmocka_unit_test(few_points_are_refused),	   cmocka_unit_test(samples_are_bounded),
	    cmocka_unit_test(sigma_falls_with_samples),	   cmocka_unit_test(repetitions_are_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
