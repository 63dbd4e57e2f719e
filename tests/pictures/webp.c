/* WebP: with alpha, turned by EXIF, too large. */
#include "pictures/pictures.h"

#include <stdlib.h>
#include <string.h>
#include <webp/encode.h>

/* With an EXIF block at its end, as the format has it. */
void put_webp(bytes *out, const uint8_t *pixels, int h, int w, int c, int orientation)
{
	uint8_t *made;
	size_t length = c == 4 ? WebPEncodeLosslessRGBA(pixels, w, h, 4 * w, &made)
			       : WebPEncodeLosslessRGB(pixels, w, h, 3 * w, &made);
	assert_true(length > 12);
	bytes *exif = calloc(1, sizeof *exif);
	if (orientation)
		add_exif(exif, orientation, false);
	out->n = 0;
	add(out, "RIFF", 4);
	add_le(out, (uint32_t)(4 + 18 + length - 12 + (orientation ? 8 + exif->n : 0)), 4);
	add(out, "WEBPVP8X", 8);
	add_le(out, 10, 4);
	add_le(out, (orientation ? 8 : 0) | (c == 4 ? 16 : 0), 4);
	add_le(out, (uint32_t)w - 1, 3);
	add_le(out, (uint32_t)h - 1, 3);
	add(out, made + 12, length - 12);
	if (orientation) {
		add(out, "EXIF", 4);
		add_le(out, (uint32_t)exif->n, 4);
		add(out, exif->b, exif->n);
	}
	WebPFree(made);
	free(exif);
}

void webp_is_right(void **state)
{
	(void)state;
	bytes *p = calloc(1, sizeof *p);
	uint8_t *rgba = ramp(100, 6, 9, 4), *rgb = ramp(9, 5, 7, 3);
	put_webp(p, rgba, 6, 9, 4, 0);
	decodes_to(p, 6, 9, 4, rgba);
	every_cut_is_refused(p, p->n - 1);
	every_flip_is_survived(p);
	for (int orientation = 1; orientation <= 8; orientation++) {
		put_webp(p, rgb, 5, 7, 3, orientation);
		is_turned(p, orientation, 5, 7, rgb, 0);
	}
	/* Of one colour it may be of any size in a few bytes: a limit stops it. */
	uint8_t *large = otp_calloc(3000 * 3000, 3);
	put_webp(p, large, 3000, 3000, 3, 0);
	assert_true(p->n < 2000);
	otp_error err = {0};
	otp_image image;
	assert_false(otp_image_decode(p->b, p->n, "x", 8999999, &image, &err));
	assert_non_null(strstr(err.text, "x: is 3000 x 3000 (width x height), 9000000 pixels"));
	assert_non_null(strstr(err.text, "up to 8999999"));
	err = (otp_error){0};
	assert_true(otp_image_decode(p->b, p->n, "x", 9000000, &image, &err));
	otp_image_free(&image);
	otp_free(large);
	otp_free(rgba);
	otp_free(rgb);
	free(p);
}
