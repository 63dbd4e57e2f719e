/* laws: of colour, of digits, and of points. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/close.h"
#include "common/data_files.h"
#include "laws/colour.h"
#include "laws/convex.h"
#include "laws/digits.h"
#include "laws/laws.h"

#include <math.h>
#include <string.h>

/* ---- colour ------------------------------------------------------------------------ */

static void isoluminant_is_the_law(void **state)
{
	(void)state;
	const double g = 1 / sqrt(3), e1[3] = {2 / sqrt(6), -1 / sqrt(6), -1 / sqrt(6)},
		     e2[3] = {0, 1 / sqrt(2), -1 / sqrt(2)};
	for (int i = 0; i < 64; i++) {
		double hue = 2 * OTP_PI * i / 64, sum = 0, squares = 0, displacement = 0;
		float factor[3];
		otp_colour_factors(OTP_COLOUR_ISOLUMINANT, hue, factor);
		for (int c = 0; c < 3; c++) {
			double f = (double)factor[c];
			assert_close(f,
				     OTP_ISOLUMINANT_A * g +
					 OTP_ISOLUMINANT_B * (cos(hue) * e1[c] + sin(hue) * e2[c]),
				     1e-7);
			assert_true(f >= 0 && f <= 1);
			sum += f;
			squares += f * f;
			displacement += (f - 0.5) * (f - 0.5);
		}
		assert_close(sum, 1.5, 1e-6);
		assert_close(squares, 1.125, 1e-6); /* a^2 + b^2 */
		assert_close(displacement, OTP_ISOLUMINANT_B * OTP_ISOLUMINANT_B, 1e-6);
	}
}

static void hsv_has_its_corners(void **state)
{
	(void)state;
	static const float corner[6][3] = {{1, 0, 0}, {1, 1, 0}, {0, 1, 0}, {0, 1, 1}, {0, 0, 1}, {1, 0, 1}};
	for (int i = 0; i < 12; i++) {
		float factor[3];
		otp_colour_factors(OTP_COLOUR_HSV, 2 * OTP_PI * i / 12, factor);
		for (int c = 0; c < 3; c++)
			assert_close((double)factor[c],
				     (double)(corner[i / 2][c] + corner[(i + i % 2) / 2 % 6][c]) / 2, 1e-6);
	}
}

/* The quickstart's pair: the same law of shapes, and the truth of the table. */
static void digit_pair_matches_the_table(void **state)
{
	(void)state;
	enum { SIZE = 16, PIXELS = SIZE * SIZE, COUNT = 400 };
	otp_dataset *grey = ready("synth:digits", SIZE, 3),
		    *colour = ready("synth:digits-isoluminant", SIZE, 3);
	static float x[PIXELS * 3], y[PIXELS * 3];
	double resultant[2] = {0}, mean[2] = {0};
	int labels[10] = {0};
	for (uint64_t n = 0; n < COUNT; n++) {
		get(grey, n, 0, x);
		get(colour, n, 0, y);
		bool same = true;
		for (int i = 0; i < PIXELS; i++) {
			double level = ((double)x[3 * i] + 1) / 2, sum = 0;
			assert_true(x[3 * i] == x[3 * i + 1] && x[3 * i] == x[3 * i + 2]);
			assert_true(level >= 0 && level <= 0.5);
			for (int c = 0; c < 3; c++)
				sum += ((double)y[3 * i + c] + 1) / 2;
			mean[0] += level;
			mean[1] += sum / 3; /* v/2 as well */
			same = same && fabs(level - sum / 3) < 1e-6;
		}
		assert_false(same); /* source and target never share a picture */
		float again[PIXELS * 3];
		get(colour, n, 0, again);
		assert_memory_equal(y, again, sizeof y);
		get(colour, n, 5, again);
		assert_memory_not_equal(y, again, sizeof y); /* a fresh hue, the same shape */
		for (int i = 0; i < PIXELS; i++)
			assert_close((double)(y[3 * i] + y[3 * i + 1] + y[3 * i + 2]),
				     (double)(again[3 * i] + again[3 * i + 1] + again[3 * i + 2]), 1e-5);
		double e1 = 0, e2 = 0;
		for (int i = 0; i < PIXELS; i++) {
			e1 += (double)(2 * y[3 * i] - y[3 * i + 1] - y[3 * i + 2]) / sqrt(6);
			e2 += (double)(y[3 * i + 1] - y[3 * i + 2]) / sqrt(2);
		}
		resultant[0] += e1 / hypot(e1, e2) / COUNT;
		resultant[1] += e2 / hypot(e1, e2) / COUNT;
		labels[otp_digit_label(otp_stream_make(99, (uint32_t)n, 0))]++;
	}
	assert_close(mean[0] / mean[1], 1, 0.05);
	assert_true(hypot(resultant[0], resultant[1]) < 3 / sqrt(COUNT)); /* Rayleigh: exp(-9) */
	for (int i = 0; i < 10; i++)
		assert_true(labels[i] > 15);
	otp_dataset_close(grey);
	otp_dataset_close(colour);
}

static void digits_scale_with_size(void **state)
{
	(void)state;
	/* The same digit at two sizes: means over quarters agree. */
	static float small[16 * 16], large[64 * 64];
	for (uint32_t n = 0; n < 20; n++) {
		double difference = 0, weight = 0;
		otp_digit_draw(otp_stream_make(3, n, 0), 16, small);
		otp_digit_draw(otp_stream_make(3, n, 0), 64, large);
		for (int y = 0; y < 16; y++)
			for (int x = 0; x < 16; x++) {
				double sum = 0;
				for (int k = 0; k < 16; k++)
					sum += (double)large[(4 * y + k / 4) * 64 + 4 * x + k % 4] / 16;
				difference += fabs(sum - (double)small[16 * y + x]);
				weight += sum;
			}
		assert_true(weight > 5);
		assert_true(difference < 0.35 * weight);
	}
}

static void hue_can_be_fixed(void **state)
{
	(void)state;
	otp_dataset *d = ready("synth:digits?colorize=hsv&hue=0", 16, 3);
	static float x[768];
	double most = 0;
	get(d, 3, 9, x);
	for (int i = 0; i < 256; i++) {
		most = fmax(most, ((double)x[3 * i] + 1) / 2);
		assert_true(x[3 * i + 1] == -1 && x[3 * i + 2] == -1);
	}
	assert_true(most > 0.6); /* shapes are whole, not at half level */
	otp_dataset_close(d);
}

/* ---- points --------------------------------------------------------------------- */

static void gaussian_law_has_its_moments(void **state)
{
	(void)state;
	enum { D = 4, COUNT = 40000 };
	otp_error err = {0};
	otp_side side;
	otp_law *law = otp_law_new("gaussian-target", (otp_law_params){.d = D, .noise = -1}, 5, &side, &err);
	assert_non_null(law);
	assert_int_equal(side, OTP_TARGET);
	for (int s = 0; s < 2; s++) {
		double mean[D] = {0}, second[D * D] = {0}, trace = 0, length = 0;
		for (uint64_t n = 0; n < COUNT; n++) {
			float x[D];
			otp_law_sample(law, (otp_side)s, n, x);
			for (int i = 0; i < D; i++) {
				double xi = (double)x[i] - (s ? law->mean[i] : 0);
				mean[i] += xi / COUNT;
				for (int j = 0; j < D; j++)
					second[i * D + j] +=
					    xi * ((double)x[j] - (s ? law->mean[j] : 0)) / COUNT;
			}
		}
		for (int i = 0; i < D; i++) {
			trace += law->covariance[s][i * D + i];
			length += law->mean[i] * law->mean[i];
			assert_close(mean[i], 0, 5 * 2 / sqrt(COUNT));
			for (int j = 0; j < D; j++)
				assert_close(second[i * D + j], law->covariance[s][i * D + j],
					     5 * 4 / sqrt(COUNT));
		}
		assert_close(trace, D, 1e-9);
		assert_close(length, 1, 1e-9);
	}
	otp_law *again = otp_law_new("gaussian-source", (otp_law_params){.d = D, .noise = -1}, 5, NULL, &err);
	assert_memory_equal(law->covariance[1], again->covariance[1], D * D * sizeof(double));
	otp_law_free(again);
	otp_law_free(law);
}

static void rotated_law_stays_in_its_plane(void **state)
{
	(void)state;
	enum { D = 32, M = 3 };
	otp_error err = {0};
	otp_law *law = otp_law_new(
	    "one-to-many-source", (otp_law_params){.d = D, .m = M, .noise = -1, .strata = 64}, 5, NULL, &err);
	assert_non_null(law->rotation);
	for (int i = 0; i < D; i++)
		for (int j = 0; j <= i; j++) {
			double dot = 0;
			for (int k = 0; k < D; k++)
				dot += law->rotation[i * D + k] * law->rotation[j * D + k];
			assert_close(dot, i == j, 1e-12);
		}
	int cells[M][64] = {{0}}, side[64] = {0}, up = 0, at = 0;
	for (uint64_t n = 128; n < 192; n++)
		for (int s = 0; s < 2; s++) {
			float x[D];
			otp_law_sample(law, (otp_side)s, n, x);
			for (int k = 0; k < D; k++) {
				double plain = 0;
				for (int i = 0; i < D; i++)
					plain += law->rotation[i * D + k] * (double)x[i];
				if (k < M && s == 0)
					cells[k][(int)((plain + 1) / 2 * 64)]++;
				if (k == 0)
					at = (int)((plain + 1) / 2 * 64);
				if (k == M)
					assert_close(fabs(plain), s, 1e-5);
				if (k == M && s == 1)
					side[at] += plain > 0 ? 1 : -1;
				up += k == M && plain > 0.5;
				if (k > M)
					assert_close(plain, 0, 1e-5);
			}
		}
	/* Even within a block: one sample a cell, the sides in turn. */
	assert_int_equal(up, 32);
	for (int i = 0; i < 64; i++)
		assert_int_equal(side[i], i % 2 ? -side[0] : side[0]);
	for (int k = 0; k < M; k++)
		for (int i = 0; i < 64; i++)
			assert_int_equal(cells[k][i], 1);
	otp_law_free(law);
}

static void plane_laws_lie_where_they_should(void **state)
{
	(void)state;
	float x[4];
	otp_dataset *d = ready("synth:perpendicular-target?k=2", 0, 0);
	get(d, 12, 0, x);
	assert_true(x[0] == 0 && x[1] == 0 && x[2] != 0 && fabsf(x[3]) < 1);
	otp_dataset_close(d);
	d = ready("synth:parallel-target", 0, 0);
	get(d, 12, 0, x);
	assert_true(x[1] == 1);
	otp_dataset_close(d);
	d = ready("synth:8gaussians?noise=0", 0, 0);
	get(d, 12, 0, x);
	assert_close(hypot((double)x[0], (double)x[1]), 2, 1e-6);
	otp_dataset_close(d);
	static const char *others[] = {"synth:moons",
				       "synth:spiral",
				       "synth:gaussian?d=3",
				       "synth:parallel-source",
				       "synth:gaussian-source?d=64&cond=10",
				       "synth:one-to-many-target?m=2&d=256"};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		static float y[256];
		d = ready(others[i], 0, 0);
		assert_int_equal(otp_dataset_describe(d).kind, OTP_DATA_VECTORS);
		get(d, UINT64_C(1) << 40, 0, y);
		for (int k = 0; k < otp_dataset_describe(d).c; k++)
			assert_true(isfinite(y[k]) && fabsf(y[k]) < 10);
		otp_dataset_close(d);
	}
}

/* A map is the gradient of a convex function where its derivative is symmetric (a gradient) and no two
 * points cross: (x - x') . (T(x) - T(x')) > 0. Central differences are off by h^2 / 6 times T's third
 * derivatives, which stay below 1e3: sharpness^3 = 64 times differences of the weights, of length 4. */
static void convex_map_is_a_convex_gradient(void **state)
{
	(void)state;
	enum { D = 7, POINTS = 20 };
	const double h = 1e-4;
	otp_convex *c = otp_convex_new(D, otp_stream_make(3, 0, 0));
	double x[POINTS][D], t[POINTS][D];
	for (int i = 0; i < POINTS; i++) {
		for (int j = 0; j < D; j++)
			x[i][j] = sin(1.7 * i + 2.3 * j * j);
		otp_convex_map(c, x[i], t[i]);
		double jacobian[D][D], low[D], high[D];
		for (int j = 0; j < D; j++) {
			double moved[D];
			memcpy(moved, x[i], sizeof moved);
			moved[j] = x[i][j] + h;
			otp_convex_map(c, moved, high);
			moved[j] = x[i][j] - h;
			otp_convex_map(c, moved, low);
			for (int k = 0; k < D; k++)
				jacobian[k][j] = (high[k] - low[k]) / (2 * h);
		}
		for (int j = 0; j < D; j++)
			for (int k = 0; k < j; k++)
				assert_close(jacobian[j][k], jacobian[k][j], 1e3 * h * h);
		for (int k = 0; k < i; k++) {
			double along = 0;
			for (int j = 0; j < D; j++)
				along += (x[i][j] - x[k][j]) * (t[i][j] - t[k][j]);
			assert_true(along > 0);
		}
	}
	otp_convex_free(c);
}

/* The target's samples are images of draws of the source: pushed through the map, the source's law has the
 * target's means. A mean of n samples is off by spread / sqrt(n); 5 of these for either side. */
static void convex_target_is_the_source_mapped(void **state)
{
	(void)state;
	enum { D = 3, N = 20000 };
	otp_error err = {0};
	otp_law *law = otp_law_new("convex-source", (otp_law_params){.d = D, .noise = -1}, 5, NULL, &err);
	assert_non_null(law);
	double sum[2][D] = {{0}}, squares[D] = {0};
	for (int i = 0; i < N; i++) {
		float source[D], target[D];
		double x[D], y[D];
		otp_law_sample(law, OTP_SOURCE, (uint64_t)i, source);
		otp_law_sample(law, OTP_TARGET, (uint64_t)i, target);
		for (int j = 0; j < D; j++)
			x[j] = (double)source[j];
		otp_convex_map(law->convex, x, y);
		for (int j = 0; j < D; j++) {
			sum[0][j] += y[j] / N;
			sum[1][j] += (double)target[j] / N;
			squares[j] += (double)target[j] * (double)target[j] / N;
		}
	}
	for (int j = 0; j < D; j++) {
		double spread = sqrt(squares[j] - sum[1][j] * sum[1][j]);
		assert_true(spread > 0.3);
		assert_close(sum[0][j], sum[1][j], 5 * sqrt(2.0 / N) * spread);
	}
	otp_law_free(law);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(isoluminant_is_the_law),
	    cmocka_unit_test(hsv_has_its_corners),
	    cmocka_unit_test(digit_pair_matches_the_table),
	    cmocka_unit_test(digits_scale_with_size),
	    cmocka_unit_test(hue_can_be_fixed),
	    cmocka_unit_test(gaussian_law_has_its_moments),
	    cmocka_unit_test(rotated_law_stays_in_its_plane),
	    cmocka_unit_test(plane_laws_lie_where_they_should),
	    cmocka_unit_test(convex_map_is_a_convex_gradient),
	    cmocka_unit_test(convex_target_is_the_source_mapped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
