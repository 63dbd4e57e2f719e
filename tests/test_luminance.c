/* luminance: what it is of, and that colours put on it leave it as it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/rng.h"
#include "pictures/luminance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double luma(const uint8_t *p) { return 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]; }

static uint8_t draw(uint32_t i)
{
	return (uint8_t)(otp_random_u32(otp_stream_make(4, 0, 0), OTP_PURPOSE_SYNTH, i) >> 24);
}

static void greys_are_rec601(void **state)
{
	(void)state;
	static const uint8_t colours[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9};
	static const uint8_t seen[] = {10, 255, 10, 0, 200, 128};
	static const float floats[] = {1, -1, -1, -0.5f, -0.5f, -0.5f};
	otp_image picture = {.h = 2, .w = 2, .c = 3, .u8 = colours},
		  veiled = {.h = 1, .w = 3, .c = 2, .u8 = seen},
		  exact = {.h = 1, .w = 2, .c = 3, .f32 = floats};
	uint8_t *a = otp_luminance_of(&picture), *b = otp_luminance_of(&veiled),
		*c = otp_luminance_of(&exact);
	assert_memory_equal(a, ((uint8_t[]){76, 150, 29, 9}), 4);
	/* Alpha stays beside the colours, so that pictures are as light over any ground. */
	assert_memory_equal(b, ((uint8_t[]){10, 10, 200}), 3);
	assert_memory_equal(c, ((uint8_t[]){76, 64}), 2);
	otp_free(a);
	otp_free(b);
	otp_free(c);
}

/* Every luminance under many colours: it is kept to within the rounding of three channels, so that rounded it
 * is the same; the colour differences keep their direction, and their size too where there is room for it. */
static void colours_leave_it(void **state)
{
	(void)state;
	enum { COLOURS = 2000 };
	int paled = 0;
	for (uint32_t i = 0; i < COLOURS; i++)
		for (int y = 0; y < 256; y++) {
			uint8_t before[3] = {draw(3 * i), draw(3 * i + 1), draw(3 * i + 2)}, after[3],
				grey = (uint8_t)y;
			double own = luma(before), room = INFINITY;
			memcpy(after, before, 3);
			otp_luminance_put(after, &grey, 1);
			assert_true(fabs(luma(after) - y) < 0.5);
			otp_image one = {.h = 1, .w = 1, .c = 3, .u8 = after};
			uint8_t *seen = otp_luminance_of(&one);
			assert_int_equal(*seen, y);
			otp_free(seen);
			for (int k = 0; k < 3; k++) {
				double d = before[k] - own;
				if (d != 0)
					room = fmin(room, (d > 0 ? 255 - y : y) / fabs(d));
			}
			double keep = fmin(room, 1);
			paled += room < 1;
			for (int k = 0; k < 3; k++)
				assert_true(fabs(after[k] - y - keep * (before[k] - own)) <=
					    (k == 2 ? 1 : 0.5) + 1e-9);
		}
	assert_true(paled > COLOURS && paled < 250 * COLOURS);
	/* Grey stays grey, black and white take no colour. */
	uint8_t rgb[9] = {7, 7, 7, 255, 0, 40, 0, 90, 255};
	otp_luminance_put(rgb, (const uint8_t[]){99, 0, 255}, 3);
	assert_memory_equal(rgb, ((uint8_t[]){99, 99, 99, 0, 0, 0, 255, 255, 255}), 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(greys_are_rec601),
					   cmocka_unit_test(colours_leave_it)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
