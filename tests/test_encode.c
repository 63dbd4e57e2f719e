/* Pictures written as files and read back. */
#include "common/data_files.h"
#include "pictures/encode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { H = 13, W = 22, MOST = H * W * 4 };

static const char *const NAMES[] = {"p.png", "p.jpg", "p.webp"};

static otp_image written(otp_picture_format format, int quality, const uint8_t *pixels, int c)
{
	otp_error err = {0};
	otp_image image;
	const char *path = at(NAMES[format]);
	if (!otp_picture_write(path, format, quality, pixels, H, W, c, &err) ||
	    !otp_image_read(path, &image, &err))
		fail_msg("%s", err.text);
	assert_true(image.h == H && image.w == W);
	return image;
}

/* Grey in three equal channels where the format has no grey. */
static uint8_t expected(const uint8_t *pixels, int c, int pixel, int k, int channels)
{
	bool last = channels % 2 == 0 && k == channels - 1;
	return pixels[pixel * c + (last ? c - 1 : c < 3 ? 0 : k)];
}

static void lossless_keeps_every_byte(void **state)
{
	(void)state;
	const otp_picture_format formats[] = {OTP_PICTURE_PNG, OTP_PICTURE_WEBP};
	for (int f = 0; f < 2; f++)
		for (int c = 1; c <= 4; c++) {
			uint8_t *p = ramp(3, H, W, c);
			p[c % 2 ? 0 : c - 1] = 0; /* no alpha at all: the colours below it stay */
			otp_image image = written(formats[f], 100, p, c);
			assert_int_equal(image.c % 2, c % 2);
			for (int i = 0; i < H * W * image.c; i++)
				assert_int_equal(image.u8[i],
						 expected(p, c, i / image.c, i % image.c, image.c));
			otp_image_free(&image);
			otp_free(p);
		}
}

/* A ramp is smooth: at quality 95 its values come back to a few of 255. */
static void lossy_is_near_and_webp_keeps_alpha(void **state)
{
	(void)state;
	const otp_picture_format formats[] = {OTP_PICTURE_JPEG, OTP_PICTURE_WEBP};
	for (int f = 0; f < 2; f++)
		for (int c = 1; c <= 4; c++) {
			uint8_t *p = ramp(100, H, W, c);
			for (int i = 0; c % 2 == 0 && i < H * W; i++)
				p[i * c + c - 1] = 255;
			otp_image image = written(formats[f], 95, p, c);
			assert_int_equal(image.c, f == 0 && c < 3 ? 1 : 3);
			for (int i = 0; i < H * W * image.c; i++)
				assert_true(abs(image.u8[i] -
						expected(p, c, i / image.c, i % image.c, image.c)) <= 8);
			otp_image_free(&image);
			otp_free(p);
		}
	uint8_t *p = ramp(60, H, W, 4);
	otp_image image = written(OTP_PICTURE_WEBP, 50, p, 4);
	assert_int_equal(image.c, 4);
	for (int i = 0; i < H * W; i++)
		assert_int_equal(image.u8[4 * i + 3], p[4 * i + 3]);
	otp_image_free(&image);
	otp_free(p);
}

static void jpeg_lays_alpha_over_white(void **state)
{
	(void)state;
	uint8_t p[MOST] = {0}; /* black, and nowhere to be seen */
	for (int c = 2; c <= 4; c += 2) {
		otp_image image = written(OTP_PICTURE_JPEG, 95, p, c);
		for (size_t i = 0; i < otp_image_values(&image); i++)
			assert_true(image.u8[i] >= 254);
		otp_image_free(&image);
	}
}

static void names_tell_formats(void **state)
{
	(void)state;
	otp_picture_format f;
	assert_true(otp_picture_format_of("a/b.PNG", &f) && f == OTP_PICTURE_PNG);
	assert_true(otp_picture_format_of("b.jpeg", &f) && f == OTP_PICTURE_JPEG);
	assert_true(otp_picture_format_of("b.png.jpg", &f) && f == OTP_PICTURE_JPEG);
	assert_true(otp_picture_format_of("b.webp", &f) && f == OTP_PICTURE_WEBP);
	assert_false(otp_picture_format_of("b.bmp", &f) || otp_picture_format_of("png", &f));
}

static void what_does_not_fit_is_refused(void **state)
{
	(void)state;
	enum { WIDE = 70000 };
	uint8_t *p = otp_calloc(WIDE, 1);
	for (otp_picture_format f = OTP_PICTURE_JPEG; f <= OTP_PICTURE_WEBP; f++) {
		otp_error err = {0};
		assert_false(otp_picture_write(at("wide"), f, 95, p, 1, WIDE, 1, &err));
		assert_int_equal(err.exit_code, OTP_EXIT_USAGE);
		assert_non_null(strstr(err.text, "1 x 70000"));
	}
	otp_error err = {0};
	assert_false(otp_picture_write(at("none/p.jpg"), OTP_PICTURE_JPEG, 95, p, 1, 5, 1, &err));
	assert_int_equal(err.exit_code, OTP_EXIT_FAILED);
	otp_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lossless_keeps_every_byte),
	    cmocka_unit_test(lossy_is_near_and_webp_keeps_alpha),
	    cmocka_unit_test(jpeg_lays_alpha_over_white),
	    cmocka_unit_test(names_tell_formats),
	    cmocka_unit_test(what_does_not_fit_is_refused),
	};
	return cmocka_run_group_tests(tests, make_root, remove_root);
}
