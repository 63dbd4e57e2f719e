/* Resizing: what Pillow gives, and what must hold exactly; the frames of preprocessing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/close.h"
#include "core/rng.h"
#include "pictures/preprocessing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FILTERS = 4 };

/* ---- beside Pillow --------------------------------------------------------------- */

/* Made by Pillow 13.0 (Image.resize); scripts/check_resize compares many more where Pillow is at hand. */
/* clang-format off */
static const uint8_t grey_in[] = {37, 235, 140, 72, 255, 137, 203, 133, 79, 192, 144, 129, 204, 71, 237, 252, 134, 25, 178, 20, 254, 101, 146, 212, 139, 252, 234, 156, 157, 142, 50, 68, 215, 215, 233, 241, 247, 222, 96, 86, 141, 233, 137, 7, 63, 61, 22, 57, 1, 128, 60, 209, 8, 216, 141, 115, 175, 234, 121, 200, 30, 71, 131};
static const uint8_t grey_out[4][12] = {
[OTP_RESIZE_BILINEAR] = {146, 148, 186, 143, 153, 111, 173, 175, 111, 110, 129, 96},
[OTP_RESIZE_AREA] = {152, 146, 208, 93, 164, 121, 192, 172, 85, 120, 125, 107},
[OTP_RESIZE_BICUBIC] = {144, 148, 192, 143, 159, 104, 176, 180, 110, 109, 129, 90},
[OTP_RESIZE_LANCZOS] = {143, 149, 195, 147, 162, 98, 175, 184, 111, 110, 127, 84},
};
static const uint8_t colour_in[] = {198, 149, 49, 57, 3, 196, 24, 241, 43, 76, 26, 52, 80, 109, 115, 41, 210, 15, 64, 196, 25, 111, 226, 215, 135, 26, 153, 104, 22, 9, 195, 231, 126, 23, 125, 100};
static const uint8_t colour_out[4][90] = {
[OTP_RESIZE_BILINEAR] = {198, 149, 49, 128, 76, 123, 51, 43, 170, 30, 201, 69, 50, 134, 48, 76, 26, 52, 151, 133, 75, 101, 110, 100, 49, 109, 109, 42, 200, 51, 65, 165, 77, 90, 106, 117, 80, 109, 115, 61, 160, 65, 45, 208, 17, 60, 198, 23, 88, 211, 120, 111, 226, 215, 113, 59, 138, 96, 78, 75, 89, 117, 24, 132, 197, 73, 101, 191, 116, 58, 165, 146, 135, 26, 153, 120, 24, 81, 119, 57, 29, 180, 196, 106, 109, 178, 113, 23, 125, 100},
[OTP_RESIZE_AREA] = {198, 149, 49, 57, 3, 196, 57, 3, 196, 24, 241, 43, 76, 26, 52, 76, 26, 52, 198, 149, 49, 57, 3, 196, 57, 3, 196, 24, 241, 43, 76, 26, 52, 76, 26, 52, 80, 109, 115, 41, 210, 15, 41, 210, 15, 64, 196, 25, 111, 226, 215, 111, 226, 215, 135, 26, 153, 104, 22, 9, 104, 22, 9, 195, 231, 126, 23, 125, 100, 23, 125, 100, 135, 26, 153, 104, 22, 9, 104, 22, 9, 195, 231, 126, 23, 125, 100, 23, 125, 100},
[OTP_RESIZE_BICUBIC] = {216, 163, 33, 140, 59, 132, 44, 12, 199, 20, 225, 67, 47, 136, 32, 76, 0, 40, 161, 142, 66, 106, 104, 105, 40, 99, 123, 29, 213, 41, 63, 167, 70, 96, 93, 120, 83, 102, 122, 60, 157, 67, 41, 214, 8, 58, 197, 12, 90, 211, 126, 114, 228, 227, 113, 50, 152, 92, 67, 71, 89, 115, 5, 148, 206, 75, 104, 199, 125, 49, 166, 151, 141, 20, 165, 119, 1, 79, 121, 35, 16, 204, 213, 120, 110, 185, 118, 4, 110, 88},
[OTP_RESIZE_LANCZOS] = {225, 174, 22, 149, 39, 137, 37, 1, 213, 17, 231, 79, 48, 143, 18, 75, 0, 34, 163, 153, 57, 109, 105, 112, 28, 107, 128, 13, 216, 35, 64, 171, 64, 104, 88, 129, 84, 99, 124, 61, 157, 73, 38, 218, 0, 54, 199, 0, 93, 209, 133, 115, 229, 232, 109, 47, 164, 85, 63, 69, 93, 127, 0, 157, 207, 65, 109, 205, 140, 45, 172, 157, 150, 27, 172, 116, 0, 78, 129, 29, 17, 216, 218, 121, 110, 190, 123, 0, 89, 73},
};
static const uint8_t alpha_in[] = {155, 165, 57, 169, 166, 136, 32, 209, 10, 23, 143, 247, 87, 25, 199, 249, 92, 74, 190, 151, 160, 216, 151, 219, 65, 113, 77, 129, 128, 248, 253, 230, 6, 52, 213, 227, 2, 76, 219, 202, 203, 7, 77, 228, 75, 76, 43, 138, 30, 36, 103, 131, 45, 196, 57, 248, 252, 210, 96, 134, 10, 23, 124, 168, 135, 121, 152, 229, 220, 148, 160, 198, 193, 94, 60, 244, 152, 82, 115, 176, 130, 236, 220, 179, 98, 10, 182, 176, 233, 82, 214, 227, 194, 71, 231, 216, 54, 15, 133, 200, 170, 20, 118, 216, 22, 229, 141, 248, 114, 97, 181, 170, 10, 96, 183, 158, 56, 217, 149, 243, 96, 249, 211, 140, 241, 142, 141, 234, 116, 43, 134, 230, 184, 187, 143, 140, 251, 137, 194, 227};
static const uint8_t alpha_out[4][24] = {
[OTP_RESIZE_BILINEAR] = {91, 116, 156, 204, 116, 61, 139, 208, 96, 141, 111, 179, 119, 110, 180, 194, 149, 92, 146, 210, 130, 138, 146, 199},
[OTP_RESIZE_AREA] = {111, 138, 136, 190, 115, 69, 138, 210, 100, 159, 119, 181, 106, 109, 181, 202, 151, 81, 158, 206, 137, 166, 165, 197},
[OTP_RESIZE_BICUBIC] = {92, 116, 155, 205, 112, 52, 140, 209, 97, 145, 106, 177, 117, 113, 184, 191, 157, 93, 146, 211, 133, 137, 147, 200},
[OTP_RESIZE_LANCZOS] = {92, 116, 155, 206, 110, 43, 140, 210, 99, 151, 102, 175, 117, 117, 192, 189, 158, 95, 141, 212, 133, 135, 143, 201},
};
/* clang-format on */

static void check_pillow(const uint8_t *in, int h, int w, int c, const uint8_t *want, int rows, int columns,
			 otp_resize filter)
{
	otp_image image = {.h = h, .w = w, .c = c, .u8 = in};
	otp_image out = otp_image_resize(&image, c, rows, columns, filter, true);
	for (int i = 0; i < rows * columns * c; i++)
		assert_true(abs(out.u8[i] - want[i]) <= 1);
	otp_image_free(&out);
}

static void filters_are_pillows(void **state)
{
	(void)state;
	for (int f = 0; f < FILTERS; f++) {
		check_pillow(grey_in, 7, 9, 1, grey_out[f], 3, 4, (otp_resize)f);
		check_pillow(colour_in, 3, 4, 3, colour_out[f], 5, 6, (otp_resize)f);
		check_pillow(alpha_in, 5, 7, 4, alpha_out[f], 2, 3, (otp_resize)f);
	}
}

/* ---- exact properties -------------------------------------------------------------- */

static otp_image noise(int h, int w, int c)
{
	otp_image image = {.h = h, .w = w, .c = c};
	uint8_t *bytes = otp_calloc(otp_image_values(&image), 1);
	for (size_t i = 0; i < otp_image_values(&image); i++)
		bytes[i] = (uint8_t)otp_random_u32(otp_stream_make(3, 1, 2), OTP_PURPOSE_EVAL, (uint32_t)i);
	image.u8 = image.owned = bytes;
	return image;
}

static void constants_and_sizes_stay(void **state)
{
	(void)state;
	static const int sizes[][2] = {{1, 1}, {1, 9}, {7, 13}, {16, 16}, {33, 20}, {3, 64}};
	for (int f = 0; f < FILTERS; f++)
		for (int a = 0; a < 6; a++)
			for (int b = 0; b < 6; b++) {
				otp_image flat = noise(sizes[a][0], sizes[a][1], 3);
				otp_image same =
				    otp_image_resize(&flat, 3, flat.h, flat.w, (otp_resize)f, true);
				assert_memory_equal(same.u8, flat.u8, otp_image_values(&flat));
				memset(flat.owned, 201, otp_image_values(&flat));
				otp_image out =
				    otp_image_resize(&flat, 3, sizes[b][0], sizes[b][1], (otp_resize)f, true);
				for (size_t i = 0; i < otp_image_values(&out); i++)
					assert_int_equal(out.u8[i], 201);
				otp_image_free(&flat);
				otp_image_free(&same);
				otp_image_free(&out);
			}
}

/* Of areas that are whole pixels every output is the mean of its own. */
static void areas_are_means(void **state)
{
	(void)state;
	otp_image in = noise(12, 20, 1), out = otp_image_resize(&in, 1, 4, 4, OTP_RESIZE_AREA, false);
	for (int y = 0; y < 4; y++)
		for (int x = 0; x < 4; x++) {
			double sum = 0;
			for (int i = 0; i < 15; i++)
				sum += in.u8[(3 * y + i / 5) * 20 + 5 * x + i % 5] / 127.5 - 1;
			/* 8 sums of float32 values up to 1, weights of one rounding each */
			assert_close((double)out.f32[4 * y + x], sum / 15, 20 * ldexp(1, -24));
		}
	otp_image_free(&in);
	otp_image_free(&out);
}

/* What is not seen has no colour: a red border of alpha 0 leaves the blue inside blue. */
static void alpha_weighs_colours(void **state)
{
	(void)state;
	uint8_t pixels[8 * 8 * 4];
	for (int i = 0; i < 64; i++) {
		bool inside = i / 8 >= 2 && i / 8 < 6 && i % 8 >= 2 && i % 8 < 6;
		const uint8_t pixel[4] = {inside ? 0 : 255, 0, inside ? 200 : 0, inside ? 255 : 0};
		memcpy(pixels + 4 * i, pixel, 4);
	}
	otp_image in = {.h = 8, .w = 8, .c = 4, .u8 = pixels};
	for (int f = OTP_RESIZE_BILINEAR; f <= OTP_RESIZE_AREA; f++) {
		otp_image out = otp_image_resize(&in, 4, 3, 3, (otp_resize)f, true);
		/* Three roundings of colour times alpha, and as many of alpha, are divided by alpha. */
		for (int i = 0; i < 9; i++) {
			int alpha = out.u8[4 * i + 3], blue = out.u8[4 * i + 2];
			assert_int_equal(out.u8[4 * i], 0);
			assert_true(alpha == 0 || abs(blue - 200) <= 1 + 3 * 255 / alpha);
		}
		otp_image_free(&out);
	}
}

/* ---- preprocessing ------------------------------------------------------------------- */

/* Columns of a picture whose value is the column's number. */
static otp_image columns_of(otp_size size, otp_preprocessing how)
{
	uint8_t *bytes = otp_calloc((size_t)(size.h * size.w), 1);
	for (int i = 0; i < size.h * size.w; i++)
		bytes[i] = (uint8_t)(i % size.w);
	otp_image image = {.h = size.h, .w = size.w, .c = 1, .u8 = bytes, .owned = bytes};
	otp_preprocessing_apply(&how, &image);
	otp_image_to_bytes(&image);
	return image;
}

static void aspects_meet_a_size(void **state)
{
	(void)state;
	/* 8 x 24 (height x width) to 8 x 12: the middle half; all of it between bars; every other column. */
	otp_preprocessing how = {.size = {8, 12}, .filter = OTP_RESIZE_AREA};
	otp_image crop = columns_of((otp_size){8, 24}, how);
	for (int x = 0; x < 12; x++)
		assert_int_equal(crop.u8[x], 6 + x);
	how.aspect = OTP_ASPECT_PAD;
	otp_image pad = columns_of((otp_size){8, 24}, how);
	for (int y = 0; y < 8; y++)
		for (int x = 0; x < 12; x++)
			assert_int_equal(pad.u8[12 * y + x], y < 2 || y >= 6 ? 255 : x == 0 ? 0 : 2 * x);
	how.aspect = OTP_ASPECT_STRETCH;
	otp_image stretch = columns_of((otp_size){8, 24}, how);
	for (int i = 0; i < 96; i++)
		assert_int_equal(stretch.u8[i], i % 12 == 0 ? 0 : 2 * (i % 12));
	otp_image_free(&crop);
	otp_image_free(&pad);
	otp_image_free(&stretch);
}

/* 98 * (16 / 98.0) is less than 16: no reason to look a pixel too far up. */
static void squares_are_not_shifted(void **state)
{
	(void)state;
	for (int side = 20; side < 250; side++) {
		otp_preprocessing how = otp_preprocessing_square(16);
		otp_image made = columns_of((otp_size){side, side}, how);
		for (int x = 0; x < 8; x++) /* the ramp is its own mirror image */
			assert_true(abs(made.u8[x] + made.u8[15 - x] - (side - 1)) <= 1);
		otp_image_free(&made);
	}
}

static void sizes_cover_and_fit(void **state)
{
	(void)state;
	for (int h = 1; h < 90; h += 7)
		for (int w = 1; w < 90; w += 5) {
			otp_size size = {24, 40}, over = otp_size_covering(size, (otp_size){h, w}),
				 within = otp_size_within(size, (otp_size){h, w});
			assert_true(over.h >= 24 && over.w >= 40 && (over.h == 24 || over.w == 40));
			assert_true(within.h <= 24 && within.w <= 40 && (within.h == 24 || within.w == 40));
			assert_true(within.h >= 1 && within.w >= 1);
		}
}

static void sizes_are_written_and_read(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int h, w;
	} good[] = {{"64", 64, 64}, {"96x64", 64, 96}, {"0", 0, 0}, {"1x100", 100, 1}};
	static const char *const bad[] = {"",	  "x",	   "64x",     "x64", "-4", "64x0",
					  "0x64", "64x-1", "64x64x3", "101", "6 4"};
	otp_size size;
	char text[OTP_SIZE_TEXT];
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_true(otp_size_parse(good[i].text, 100, &size));
		assert_true(size.h == good[i].h && size.w == good[i].w);
		assert_string_equal(otp_size_text(size, text), good[i].text);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(otp_size_parse(bad[i], 100, &size));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(filters_are_pillows), cmocka_unit_test(constants_and_sizes_stay),
	    cmocka_unit_test(areas_are_means),	   cmocka_unit_test(alpha_weighs_colours),
	    cmocka_unit_test(aspects_meet_a_size), cmocka_unit_test(squares_are_not_shifted),
	    cmocka_unit_test(sizes_cover_and_fit), cmocka_unit_test(sizes_are_written_and_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
