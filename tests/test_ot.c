/* ot: the exact references that verify measures against, each held against
 * something simpler: all permutations, a quadrature, a known limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base.h"
#include "core/rng.h"
#include "ot/assignment.h"
#include "ot/distance.h"
#include "ot/features.h"
#include "ot/gaussian.h"
#include "ot/patches.h"
#include "ot/truth.h"
#include "scalar.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void check_close(double value, double right, double bound, int line)
{
	if (!(fabs(value - right) <= bound))
		fail_msg("line %d: %.12g, expected %.12g within %g", line, value, right, bound);
}
#define assert_close(value, right, bound) check_close(value, right, bound, __LINE__)

static double uniform(uint32_t which, uint32_t i)
{
	return otp_random_uniform(otp_stream_make(7, which, 0), OTP_PURPOSE_EVAL, i);
}

/* ---- assignment ------------------------------------------------------------- */

static double try_all(const double *cost, int n, int row, unsigned used)
{
	if (row == n)
		return 0;
	double best = INFINITY;
	for (int j = 0; j < n; j++)
		if (!(used & 1u << j))
			best = fmin(best, cost[row * n + j] + try_all(cost, n, row + 1, used | 1u << j));
	return best;
}

static double check_permutation(const double *cost, const int *to, int n)
{
	double total = 0;
	unsigned used = 0;
	for (int i = 0; i < n; i++) {
		assert_in_range(to[i], 0, n - 1);
		used |= 1u << to[i];
		total += cost[i * n + to[i]];
	}
	assert_int_equal(used, (1u << n) - 1);
	return total;
}

static void test_assignment_brute_force(void **state)
{
	(void)state;
	double cost[64];
	int to[8];
	for (uint32_t trial = 0; trial < 400; trial++) {
		int n = 1 + (int)(trial % 8);
		/* Every third trial has many ties, every fifth negative costs. */
		for (int i = 0; i < n * n; i++) {
			double u = uniform(trial, (uint32_t)i);
			cost[i] = trial % 3 == 0 ? floor(3 * u) : trial % 5 == 0 ? u - 0.5 : u;
		}
		double total = otp_assignment_solve(cost, n, to);
		assert_close(total, try_all(cost, n, 0, 0), 1e-12);
		assert_close(total, check_permutation(cost, to, n), 0);
	}
}

/* On the line the sorted pairing is optimal. */
static void test_assignment_on_the_line(void **state)
{
	(void)state;
	enum { N = 300 };
	float a[N], b[N];
	for (int i = 0; i < N; i++) {
		a[i] = (float)(i * 37 % N) / N;
		b[i] = (float)(i * 101 % N) / N + 0.25f;
	}
	assert_close(otp_assignment_w2(a, b, N, 1, NULL), 0.0625, 1e-6);
	assert_close(otp_assignment_w2(a, a, N, 1, NULL), 0, 0);
}

/* ---- gaussian --------------------------------------------------------------- */

enum { D = 5 };

static void random_covariance(uint32_t which, double *s)
{
	double factor[D][D];
	for (int i = 0; i < D; i++)
		for (int j = 0; j < D; j++)
			factor[i][j] = 2 * uniform(which, (uint32_t)(i * D + j)) - 1;
	for (int i = 0; i < D; i++)
		for (int j = 0; j < D; j++) {
			s[i * D + j] = i == j ? 0.1 : 0;
			for (int k = 0; k < D; k++)
				s[i * D + j] += factor[i][k] * factor[j][k];
		}
}

/* The map is symmetric and carries S1 to S2: A S1 A = S2; and the distance is the map's cost. */
static void test_bures_map(void **state)
{
	(void)state;
	double s1[D * D], s2[D * D], a[D * D];
	random_covariance(1000, s1);
	random_covariance(1001, s2);
	double distance = otp_gaussian_bures(s1, s2, D, a), cost = 0;
	for (int i = 0; i < D; i++)
		for (int j = 0; j < D; j++) {
			double carried = 0;
			for (int k = 0; k < D; k++)
				for (int l = 0; l < D; l++) {
					carried += a[i * D + k] * s1[k * D + l] * a[l * D + j];
					if (j == i)
						cost += ((i == k) - a[i * D + k]) * s1[k * D + l] *
							((i == l) - a[i * D + l]);
				}
			assert_close(carried, s2[i * D + j], 1e-10);
			assert_close(a[i * D + j], a[j * D + i], 1e-10);
		}
	assert_close(distance, cost, 1e-10);
	assert_close(otp_gaussian_bures(s1, s1, D, NULL), 0, 1e-10);
}

static void test_moments(void **state)
{
	(void)state;
	const float points[] = {1, 0, 3, 0, 1, 4, 3, 4};
	double mean[2], covariance[4];
	otp_gaussian_moments(points, 4, 2, mean, covariance);
	const double right[] = {1, 0, 0, 4};
	assert_close(mean[0], 2, 1e-12);
	assert_close(mean[1], 2, 1e-12);
	for (int i = 0; i < 4; i++)
		assert_close(covariance[i], right[i], 1e-12);
}

/* ---- truth ------------------------------------------------------------------ */

/* The distribution of u + sigma eps as a mean over a fine grid of u. */
static void test_smoothed_uniform(void **state)
{
	(void)state;
	for (double sigma = 0.05; sigma < 1; sigma *= 2)
		for (double t = -1.5; t <= 1.5; t += 0.25) {
			double mean = 0;
			enum { N = 4000 };
			for (int i = 0; i < N; i++)
				mean += otp_normal_cdf((t - (-1 + 2 * (i + 0.5) / N)) / sigma) / N;
			assert_close(otp_smoothed_uniform_cdf(t, sigma), mean, 1e-6);
			assert_close(
			    otp_smoothed_uniform_cdf(otp_smoothed_uniform_quantile(mean, sigma), sigma), mean,
			    1e-12);
		}
	assert_close(otp_smoothed_uniform_cdf(0.5, 0), 0.75, 0);
}

/* The costs from x that an independent calculation gave, to its digits. */
static void test_tangential_cost(void **state)
{
	(void)state;
	assert_close(otp_tangential_cost(0.05), 0.0024, 0.00005);
	assert_close(otp_tangential_cost(0.1), 0.0092, 0.00005);
	assert_close(otp_tangential_cost(0.2), 0.034, 0.0005);
	assert_close(otp_tangential_cost(0), 0, 0);
}

static void test_tangential_law(void **state)
{
	(void)state;
	const double sigma = 0.1, x = 0.3;
	for (int i = 1; i < 10; i++) {
		/* The map is monotone in eps, so its value at a quantile of eps is that quantile of its law.
		 */
		double eps = -2 + 0.4 * i, y = 2 * otp_smoothed_uniform_cdf(x + sigma * eps, sigma) - 1;
		assert_close(otp_tangential_cdf(y, x, sigma), otp_normal_cdf(eps), 1e-9);
	}
	assert_close(otp_tangential_cdf(-1.5, x, sigma), 0, 0);
	assert_close(otp_tangential_cdf(1.5, x, sigma), 1, 0);
}

static void test_ks(void **state)
{
	(void)state;
	double even[] = {0.7, 0.1, 0.9, 0.3, 0.5}, point[] = {0.5, 0.5}, outside[] = {0, 0, 0};
	assert_close(otp_ks_uniform(even, 5), 0.1, 1e-12);
	assert_close(otp_ks_uniform(point, 2), 0.5, 1e-12);
	assert_close(otp_ks_uniform(outside, 3), 1, 1e-12);
}

/* ---- patches ------------------------------------------------------------------ */

enum { SHOWN = 64, EDGE = 32, SHOWN_VALUES = EDGE * EDGE * 3 };

static float normal(uint32_t which, uint32_t i)
{
	float value, other;
	otp_philox words = otp_philox_block(otp_stream_make(11, which, 0), OTP_PURPOSE_EVAL, i);
	otp_normal_pair(words.v[0], words.v[1], &value, &other);
	return value;
}

/* Pictures as photos are: light and colour of the whole vary most, a ramp less, single pixels least. `detail`
 * is the pixels' standard deviation, `warmth` is added to red and taken from blue. */
static float *make_pictures(uint32_t which, double detail, double warmth)
{
	float *all = otp_calloc((size_t)SHOWN * SHOWN_VALUES, sizeof *all);
	for (uint32_t i = 0; i < SHOWN; i++)
		for (uint32_t at = 0; at < SHOWN_VALUES; at++) {
			uint32_t channel = at % 3, column = at / 3 % EDGE;
			double ramp = 0.2 * (double)normal(which, 4 * i) * ((double)column / EDGE - 0.5);
			double colour = 0.04 * (double)normal(which, 4 * i + 1 + channel);
			double pixel = detail * (double)normal(which + 100, i * EDGE * EDGE + at / 3);
			double light = 0.3 * (double)normal(which + 200, i);
			all[i * SHOWN_VALUES + at] =
			    (float)(light + ramp + colour + pixel + warmth * (1 - (double)channel));
		}
	return all;
}

/* What patches tell apart and whole pictures do not: detail that is lost, detail that is added, a tint. */
static void test_patches(void **state)
{
	(void)state;
	float *reference = make_pictures(1, 0.03, 0), *same = make_pictures(2, 0.03, 0);
	float *changed[] = {make_pictures(2, 0, 0), make_pictures(2, 0.06, 0), make_pictures(2, 0.03, 0.03)};
	otp_patches *p = otp_patches_new(reference, SHOWN, EDGE, EDGE, 3, 5);
	assert_close(otp_patches_distance(p, reference), 0, 0);
	double floor = otp_patches_distance(p, same);
	double whole_floor = otp_sliced_w2(same, reference, SHOWN, SHOWN_VALUES, 64, 5);
	for (size_t k = 0; k < sizeof changed / sizeof *changed; k++) {
		double whole = otp_sliced_w2(changed[k], reference, SHOWN, SHOWN_VALUES, 64, 5);
		double patches = otp_patches_distance(p, changed[k]);
		assert_true(patches > 3 * floor);
		assert_true(whole < 1.2 * whole_floor);
		otp_free(changed[k]);
	}
	otp_patches_free(p);
	otp_free(reference);
	otp_free(same);
}

/* Sizes that halve unevenly, one colour, pictures smaller than a patch; the unit, where it is known. */
static void test_patches_unit(void **state)
{
	(void)state;
	const struct {
		int h, w, c;
	} cases[] = {{33, 21, 3}, {17, 40, 4}, {5, 6, 1}, {1, 9, 2}};
	for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
		size_t n = 48, d = (size_t)cases[k].h * (size_t)cases[k].w * (size_t)cases[k].c;
		float *noise = otp_calloc(n * d, sizeof *noise), *none = otp_calloc(n * d, sizeof *none);
		for (size_t i = 0; i < n * d; i++)
			noise[i] = normal(7, (uint32_t)i);
		otp_patches *p = otp_patches_new(noise, n, cases[k].h, cases[k].w, cases[k].c, 3);
		/* Against zero it is the mean square of the projections: of whitened values 1, each
		 * direction's by (c * side^2) values of n * 16 patches that overlap. */
		assert_close(otp_patches_distance(p, none), 1, 0.1);
		otp_patches_free(p);
		otp_free(noise);
		otp_free(none);
	}
}

/* A shift by c is a distance of |c|^2; twice the values have a root of covariance as large again: tr S beside
 * the means. KID of all rows is the sum over pairs. */
static void features_have_known_distances(void **state)
{
	(void)state;
	enum { N = 40, W = 6 };
	float a[N * W], b[N * W];
	double mean[W] = {0}, trace = 0, far = 0, pairs[3] = {0};
	otp_stream stream = otp_stream_make(4, 1, 2);
	for (int i = 0; i < N * W; i++) {
		a[i] = otp_random_uniform(stream, OTP_PURPOSE_EVAL, (uint32_t)i) - 0.3f;
		b[i] = a[i] + 0.5f * (float)(i % W);
		mean[i % W] += (double)a[i] / N;
	}
	assert_true(fabs(otp_feature_distances(a, N, b, N, W).frechet - 0.25 * 55) < 1e-5); /* b is rounded */
	for (int i = 0; i < N * W; i++) {
		b[i] = 2 * a[i];
		trace += ((double)a[i] - mean[i % W]) * ((double)a[i] - mean[i % W]) / (N - 1);
	}
	for (int k = 0; k < W; k++)
		far += mean[k] * mean[k];
	otp_feature_distance got = otp_feature_distances(a, N, b, N, W);
	assert_true(fabs(got.frechet - trace - far) < 1e-9 * (1 + trace + far));
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++) {
			double products[3] = {0};
			for (int k = 0; k < W; k++) {
				double x = (double)a[i * W + k], y = (double)a[j * W + k];
				products[0] += x * y / W;
				products[1] += 4 * x * y / W;
				products[2] += 2 * x * y / W;
			}
			for (int k = 0; k < 3; k++)
				if (k == 2 || i != j)
					pairs[k] += pow(products[k] + 1, 3) / (k == 2 ? N * N : N * (N - 1));
		}
	assert_int_equal(got.subsets, 1);
	assert_true(fabs(got.kid - (pairs[0] + pairs[1] - 2 * pairs[2])) < 1e-5); /* products in float */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_patches),
	    cmocka_unit_test(test_patches_unit),
	    cmocka_unit_test(test_assignment_brute_force),
	    cmocka_unit_test(test_assignment_on_the_line),
	    cmocka_unit_test(test_bures_map),
	    cmocka_unit_test(test_moments),
	    cmocka_unit_test(test_smoothed_uniform),
	    cmocka_unit_test(test_tangential_cost),
	    cmocka_unit_test(test_tangential_law),
	    cmocka_unit_test(test_ks),
	    cmocka_unit_test(features_have_known_distances),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
