/* bytes: files made byte by byte, and what decoding makes of them. */
#include "pictures/pictures.h"

#include <stdlib.h>
#include <string.h>

void add(bytes *to, const void *data, size_t count)
{
	assert_true(to->n + count <= sizeof to->b);
	memcpy(to->b + to->n, data, count);
	to->n += count;
}

void add8(bytes *to, unsigned v) { add(to, &(uint8_t){(uint8_t)v}, 1); }

void add_le(bytes *to, uint32_t v, int count)
{
	for (int i = 0; i < count; i++)
		add8(to, v >> 8 * i & 255);
}

void add_be(bytes *to, uint32_t v, int count)
{
	for (int i = count - 1; i >= 0; i--)
		add8(to, v >> 8 * i & 255);
}

/* In a block of its own length, so that a sanitizer sees what is read behind its end. */
static bool decode(const bytes *in, size_t count, otp_image *out, otp_error *err)
{
	uint8_t *exact = malloc(count + !count);
	memcpy(exact, in->b, count);
	*err = (otp_error){0};
	bool ok = otp_image_decode(exact, count, "x", OTP_IMAGE_MOST_PIXELS, out, err);
	free(exact);
	return ok;
}

otp_image decoded(const bytes *in)
{
	otp_image image;
	otp_error err;
	if (!decode(in, in->n, &image, &err))
		fail_msg("%s", err.text);
	return image;
}

void is_refused(const bytes *in, size_t count, const char *word)
{
	otp_image image;
	otp_error err;
	if (decode(in, count, &image, &err))
		fail_msg("%zu of %zu bytes are accepted", count, in->n);
	assert_int_equal(err.exit_code, OTP_EXIT_USAGE);
	assert_memory_equal(err.text, "x: ", 3);
	if (!strstr(err.text, word))
		fail_msg("`%s' lacks `%s'", err.text, word);
}

/* Cut anywhere, a file is refused. */
void every_cut_is_refused(const bytes *in, size_t end)
{
	for (size_t count = 0; count < end; count++)
		is_refused(in, count, "");
}

/* One bit turned over anywhere: a picture or a refusal, and nothing written where it must not be. */
void every_flip_is_survived(bytes *in)
{
	for (size_t bit = 0; bit < 8 * in->n; bit += 3) {
		otp_image image;
		otp_error err;
		in->b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		*(&err) = (otp_error){0};
		/* A size of some bits more must not cost the test gigabytes. */
		if (otp_image_decode(in->b, in->n, "x", 1 << 20, &image, &err))
			otp_image_free(&image);
		else
			assert_int_equal(err.exit_code, OTP_EXIT_USAGE);
		in->b[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

void holds(const otp_image *image, int h, int w, int c, const uint8_t *pixels, int tolerance)
{
	assert_int_equal(image->h, h);
	assert_int_equal(image->w, w);
	assert_int_equal(image->c, c);
	for (int i = 0; i < h * w * c; i++)
		if (abs(image->u8[i] - pixels[i]) > tolerance)
			fail_msg("value %d is %d instead of %d", i, image->u8[i], pixels[i]);
}

void decodes_to(const bytes *in, int h, int w, int c, const uint8_t *pixels)
{
	otp_image image = decoded(in);
	holds(&image, h, w, c, pixels, 0);
	otp_image_free(&image);
}

/* ---- EXIF --------------------------------------------------------------------------- */

void add_exif(bytes *to, int orientation, bool big)
{
	void (*number)(bytes *, uint32_t, int) = big ? add_be : add_le;
	add(to, big ? "MM" : "II", 2);
	number(to, 42, 2);
	number(to, 8, 4);
	number(to, 1, 2);
	number(to, 0x112, 2);
	number(to, 3, 2);
	number(to, 1, 4);
	number(to, (uint32_t)orientation, 2);
	number(to, 0, 2);
	number(to, 0, 4);
}

/* Where a stored pixel (y, x) of a picture (h, w) comes to lie, from EXIF's own table: what row 0 and
 * column 0 of the stored picture are to the eye. */
static void place(int orientation, int h, int w, int y, int x, int *to_y, int *to_x)
{
	static const char *const sides[9][2] = {{NULL, NULL},	     {"top", "left"},	  {"top", "right"},
						{"bottom", "right"}, {"bottom", "left"},  {"left", "top"},
						{"right", "top"},    {"right", "bottom"}, {"left", "bottom"}};
	const char *row = sides[orientation][0], *column = sides[orientation][1];
	*to_y = row[0] == 't' ? y : row[0] == 'b' ? h - 1 - y : column[0] == 't' ? x : w - 1 - x;
	*to_x = column[0] == 'l' ? x : column[0] == 'r' ? w - 1 - x : row[0] == 'l' ? y : h - 1 - y;
}

void is_turned(const bytes *in, int orientation, int h, int w, const uint8_t *pixels, int tolerance)
{
	uint8_t *turned = otp_calloc((size_t)(h * w), 3);
	int turned_w = orientation >= 5 ? h : w, to_y, to_x;
	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++) {
			place(orientation, h, w, y, x, &to_y, &to_x);
			memcpy(turned + 3 * (to_y * turned_w + to_x), pixels + 3 * (y * w + x), 3);
		}
	otp_image image = decoded(in);
	holds(&image, orientation >= 5 ? w : h, turned_w, 3, turned, tolerance);
	otp_image_facts facts;
	otp_error err = {0};
	assert_true(otp_image_look(in->b, in->n, in->n, "x", OTP_IMAGE_MOST_PIXELS, &facts, &err));
	assert_int_equal(facts.h, image.h);
	assert_int_equal(facts.w, image.w);
	assert_int_equal(facts.c, image.c);
	otp_image_free(&image);
	otp_free(turned);
}
