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

#include <string.h>

enum { TERMS = 27, DRAWS = 2000 };

static const test_case WGRAD = {.op = OTP_OP_conv2d_wgrad, .bound = BY_ABS, .roundings = TERMS, .bf16 = true};
static const test_case MERGE = {.op = OTP_OP_conv2d_merge, .bound = BY_ABS, .roundings = TERMS, .bf16 = true};
/* Both operands in bfloat16: all that is left to go wrong is sums and the result. */
static const way NARROW = {OTP_PRECISION_BF16, 1 | 2}, NARROW_RESULT = {OTP_PRECISION_BF16, 1 | 2 | RESULT};

static bool passes(const char *backend, const test_case *t, way w, double magnitude, double exact, double got)
{
	return fabs(got - exact) <= allowed_error(backend, t, w, magnitude, exact);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rounded_sums_pass),
	    cmocka_unit_test(little_more_is_refused),
	    cmocka_unit_test(only_where_it_is_computed_so),
	    cmocka_unit_test(sums_are_rounded_before_an_epilogue),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
