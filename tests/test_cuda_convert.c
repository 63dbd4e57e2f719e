/* The own CUDA kernels that no op of the table is: bfloat16 conversions, on the host through the shim. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cuda/cuda.h"

#include <math.h>
#include <string.h>

static float float_of(uint32_t bits)
{
	float value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

static void convert(otp_type to, void *dst, otp_type from, const void *src, int count)
{
	otp_call call = {0};
	otp_tensor y = {dst, {1, 1, 1, count}, to, NULL},
		   x = {(void *)(uintptr_t)src, {1, 1, 1, count}, from, NULL};
	otp_cuda_convert(&call, &y, &x);
}

/* Every bfloat16 is a float whose lower half is zero, and comes back as itself. */
static void every_value_survives(void **state)
{
	(void)state;
	enum { ALL = 1 << 16 };
	uint16_t *halves = otp_calloc(ALL, sizeof *halves), *back = otp_calloc(ALL, sizeof *back);
	float *wide = otp_calloc(ALL, sizeof *wide);
	for (int i = 0; i < ALL; i++)
		halves[i] = (uint16_t)i;
	convert(OTP_F32, wide, OTP_BF16, halves, ALL);
	convert(OTP_BF16, back, OTP_F32, wide, ALL);
	for (int i = 0; i < ALL; i++) {
		float value = float_of((uint32_t)i << 16);
		if (isnan(value)) {
			assert_true(isnan(wide[i]));
			assert_true(isnan(float_of((uint32_t)back[i] << 16)));
			continue;
		}
		assert_true(wide[i] == value);
		assert_int_equal(back[i], i);
	}
	otp_free(halves);
	otp_free(back);
	otp_free(wide);
}

/* No bfloat16 is nearer than the one chosen, of two as near the even one; one past the largest is infinite.
 * Counts that are not whole packs, and data that is not aligned to them. */
static void rounds_to_nearest_even(void **state)
{
	(void)state;
	static const struct {
		uint32_t from;
		uint16_t to;
	} cases[] = {{0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81}, {0x3f807fff, 0x3f80},
		     {0xbf808001, 0xbf81}, {0x7f7fffff, 0x7f80}, {0x7f800000, 0x7f80}, {0x00000001, 0x0000},
		     {0x00008001, 0x0001}, {0x80000000, 0x8000}, {0xff800000, 0xff80}};
	enum { COUNT = sizeof cases / sizeof *cases };
	for (int offset = 0; offset < 2; offset++) {
		float from[COUNT + 1];
		uint16_t to[COUNT + 1];
		for (int i = 0; i < COUNT; i++)
			from[i + offset] = float_of(cases[i].from);
		convert(OTP_BF16, to + offset, OTP_F32, from + offset, COUNT);
		for (int i = 0; i < COUNT; i++)
			assert_int_equal(to[i + offset], cases[i].to);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_value_survives),
					   cmocka_unit_test(rounds_to_nearest_even)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
