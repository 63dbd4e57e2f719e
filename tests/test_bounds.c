/* bounds: what check_ops allows a convolution that a GPU's library computes in bfloat16: a correctly rounded
 * result, and no more. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bf16.h"
#include "check_ops/harness.h"
#include "core/rng.h"
#include "scalar.h"

#include <string.h>

enum { TERMS = 27, DRAWS = 2000 };

static const test_case WGRAD = {.op = OTP_OP_conv2d_wgrad, .bound = BY_ABS, .roundings = TERMS, .bf16 = true};
static const test_case MERGE = {.op = OTP_OP_conv2d_merge, .bound = BY_ABS, .roundings = TERMS, .bf16 = true};
/* Both operands in bfloat16: all that is left to go wrong is sums and the result. */
static const way NARROW = {OTP_PRECISION_BF16, 1 | 2}, NARROW_RESULT = {OTP_PRECISION_BF16, 1 | 2 | RESULT};

static bool passes(const char *backend, const test_case *t, way w, double magnitude, double exact, double got)
{
	return fabs(got - exact) <= allowed_error(backend, t, w, magnitude, 0, 0, exact);
}

static double bf16_nearest(double value) { return (double)otp_bf16_widen(otp_bf16_round((float)value)); }

/* Towards zero: a rounding that is wrong. */
static double bf16_cut(double value)
{
	float f = (float)value;
	uint32_t bits;
	memcpy(&bits, &f, sizeof bits);
	bits &= 0xffff0000;
	memcpy(&f, &bits, sizeof f);
	return (double)f;
}

typedef struct product {
	double exact, magnitude, summed; /* in double; of absolute values; in float */
} product;

static product draw(uint32_t k)
{
	otp_stream stream = otp_stream_make(7, k, 0);
	product p = {0};
	float sum = 0;
	for (uint32_t i = 0; i < TERMS; i++) {
		double a = bf16_nearest((double)otp_random_uniform(stream, OTP_PURPOSE_SYNTH, 2 * i) - 0.5);
		double b = bf16_nearest((double)otp_random_uniform(stream, OTP_PURPOSE_SYNTH, 2 * i + 1));
		p.exact += a * b;
		p.magnitude += fabs(a * b);
		sum += (float)(a * b);
	}
	p.summed = (double)sum;
	return p;
}

static void rounded_sums_pass(void **state)
{
	(void)state;
	int off = 0, cut_off = 0;
	for (uint32_t k = 0; k < DRAWS; k++) {
		product p = draw(k);
		double got = bf16_nearest(p.summed), cut = bf16_cut(p.summed);
		assert_true(passes("cuda", &WGRAD, NARROW, p.magnitude, p.exact, p.summed));
		assert_true(passes("cuda", &WGRAD, NARROW, p.magnitude, p.exact, got));
		assert_true(passes("shim", &WGRAD, NARROW_RESULT, p.magnitude, p.exact, got));
		off += !passes("shim", &WGRAD, NARROW, p.magnitude, p.exact, got);
		cut_off += !passes("cuda", &WGRAD, NARROW, p.magnitude, p.exact, cut);
	}
	/* Who computes in float32 is not allowed it. Cut off instead, m 2^e with 1 <= m < 2 is off by up to
	 * 2^-7 2^e, where 2^-8 m 2^e is allowed: a quarter of all fails. */
	assert_true(off > DRAWS / 2);
	assert_true(cut_off > DRAWS / 10);
}

/* Just above 1 a rounding is largest: the next number is 2^-7 away. Sums of 27 terms of size 1 are off by
 * 27 * 2^-24, below 2^-19. */
static void little_more_is_refused(void **state)
{
	(void)state;
	double half_way = 1 + 0x1p-8;
	assert_true(passes("cuda", &WGRAD, NARROW, 1, half_way, 1));
	assert_true(passes("cuda", &WGRAD, NARROW, 1, half_way, 1 + 0x1p-7));
	assert_false(passes("cuda", &WGRAD, NARROW, 1, half_way, 1 - 0x1p-14));
	assert_false(passes("cuda", &WGRAD, NARROW, 1, half_way, 1 + 0x1p-7 + 0x1p-14));
	assert_false(passes("cuda", &WGRAD, NARROW, 1, 1 + 0x1p-7 - 0x1p-12, 1));
	/* A magnitude above the result is no licence: only sums are measured by it. */
	assert_false(passes("cuda", &WGRAD, NARROW, 100, 1, 1 + 2 * 0x1p-8));
	/* Stored in bfloat16 it is rounded once, not twice. */
	assert_false(passes("cuda", &WGRAD, NARROW_RESULT, 1, half_way, 1 - 0x1p-14));
}

static void only_where_it_is_computed_so(void **state)
{
	(void)state;
	double half_way = 1 + 0x1p-8;
	way floats = {OTP_PRECISION_F32, 0};
	assert_false(passes("cuda", &WGRAD, floats, 1, half_way, 1));
	assert_false(passes("shim", &WGRAD, NARROW, 1, half_way, 1));
	assert_false(passes("cpu", &WGRAD, NARROW, 1, half_way, 1));
	test_case matmul = WGRAD;
	matmul.op = OTP_OP_matmul; /* cuBLASLt writes float32 */
	assert_false(passes("cuda", &matmul, NARROW, 1, half_way, 1));
}

/* 1 + 2^-8 is rounded to 1; then -1 is added: what is left is nothing of 2^-8. */
static void sums_are_rounded_before_an_epilogue(void **state)
{
	(void)state;
	assert_true(passes("cuda", &MERGE, NARROW, 2, 0x1p-8, 0));
	assert_false(passes("shim", &MERGE, NARROW, 2, 0x1p-8, 0));
	assert_false(passes("cuda", &MERGE, NARROW, 2, 0x1p-8, -0x1.1p-8));
}

/* ---- the GPU's own exponential and quotient ---- */

/* As the device computes them: x log2(e) in float, 2 to the power of it and quotients with an error of
 * `ulps`. */
static double device_sigmoid(float x, double ulps)
{
	float power = -x * 1.44269504f;
	float e = (float)(exp2((double)power) * (1 + ulps * 0x1p-23));
	float whole = 1 + e;
	return (double)(float)(1 / (double)whole * (1 - ulps * 0x1p-23));
}

static void device_sigmoids_pass(void **state)
{
	(void)state;
	static const test_case SIGMOID = {.op = OTP_OP_sigmoid,
					  .bound = BY_OUT,
					  .roundings = 7,
					  .device_roundings = 7,
					  .device_slope = 2.35};
	way floats = {OTP_PRECISION_F32, 0};
	int beyond_host = 0, wrong = 0, count = 0;
	for (float x = -60; x <= 60; x += 0.0625f, count++) {
		double exact = 1 / (1 + exp(-(double)x)), sign = count % 2 ? 1 : -1;
		double got = device_sigmoid(x, 2 * sign);
		assert_true(fabs(got - exact) <=
			    allowed_error("cuda", &SIGMOID, floats, exact, 0, (double)x, exact));
		beyond_host +=
		    fabs(got - exact) > allowed_error("shim", &SIGMOID, floats, exact, 0, (double)x, exact);
		double coarse = exact * (1 + 0x1p-15); /* as of a half's eleven digits and more */
		wrong += fabs(coarse - exact) >
			 allowed_error("cuda", &SIGMOID, floats, exact, 0, (double)x, exact);
	}
	assert_true(beyond_host > count / 8); /* the host's bound is not the device's */
	assert_int_equal(wrong, count);
}

/* Far out and where there is no number: on the host, and as the device computes. */
static void tails_are_right(void **state)
{
	(void)state;
	assert_true(otp_silu_f(400) == 400 && otp_softplus_f(400) == 400 && otp_sigmoid_f(400) == 1);
	assert_true(fabsf(otp_silu_f(-400)) < 1e-30f && otp_softplus_f(-400) < 1e-30f);
	assert_true(otp_sigmoid_f(-400) >= 0 && otp_sigmoid_f(-400) < 1e-30f);
	assert_true(fabsf(otp_silu_slope_f(-400)) < 1e-30f && otp_silu_slope_f(400) == 1);
	assert_true(isnan(otp_silu_f(NAN)) && isnan(otp_sigmoid_f(NAN)) && isnan(otp_softplus_f(NAN)));
	assert_true(device_sigmoid(400, 2) == (double)(float)(1 - 0x1p-22) && device_sigmoid(-400, 2) == 0);
	assert_true(isnan(device_sigmoid(NAN, 2)));
	assert_true(isnan(otp_bf16_widen(otp_bf16_round(NAN))) &&
		    isinf(otp_bf16_widen(otp_bf16_round(INFINITY))));
	assert_int_equal(otp_bf16_round_pair(1, -2), 0xc0003f80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rounded_sums_pass),
	    cmocka_unit_test(little_more_is_refused),
	    cmocka_unit_test(only_where_it_is_computed_so),
	    cmocka_unit_test(sums_are_rounded_before_an_epilogue),
	    cmocka_unit_test(device_sigmoids_pass),
	    cmocka_unit_test(tails_are_right),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
