/* pictures: what the tests of decoding share: files made byte by byte or by the formats' own encoders, and
 * what decoding must make of them. */
#ifndef OTP_TEST_PICTURES_H
#define OTP_TEST_PICTURES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/data_files.h"
#include "pictures/image.h"

/* ---- bytes.c ---- */

typedef struct bytes {
	uint8_t b[1 << 16];
	size_t n;
} bytes;

void add(bytes *to, const void *data, size_t count);
void add8(bytes *to, unsigned v);
void add_le(bytes *to, uint32_t v, int count);
void add_be(bytes *to, uint32_t v, int count);
/* An EXIF block, of big or little end. */
void add_exif(bytes *to, int orientation, bool big);

/* Fails the test where it is refused. otp_image_free it. */
otp_image decoded(const bytes *in);
void decodes_to(const bytes *in, int h, int w, int c, const uint8_t *pixels);
void holds(const otp_image *image, int h, int w, int c, const uint8_t *pixels, int tolerance);
/* Decodes to the picture (h, w, 3) turned as EXIF's orientation asks. */
void is_turned(const bytes *in, int orientation, int h, int w, const uint8_t *pixels, int tolerance);
/* Of its first `count` bytes, by a line that holds `word`. */
void is_refused(const bytes *in, size_t count, const char *word);
/* Cut anywhere before `end`, a file is refused. */
void every_cut_is_refused(const bytes *in, size_t end);
/* One bit turned over anywhere: a picture or a refusal, and nothing written where it must not be. */
void every_flip_is_survived(bytes *in);

/* ---- the formats' own encoders ---- */

typedef struct jpeg_options {
	int c, orientation; /* 0: no EXIF; below 0: broken */
	bool big, progressive;
} jpeg_options;

void put_jpeg(bytes *out, const uint8_t *pixels, int h, int w, jpeg_options o);
/* A PNG is start_png, add_picture (rows of `row` bytes) and an empty chunk IEND. */
void start_png(bytes *p, uint32_t h, uint32_t w, int depth, int type);
void add_picture(bytes *p, const uint8_t *rows, int h, size_t row);
void add_chunk(bytes *to, const char *type, const void *data, size_t count);
void put_webp(bytes *out, const uint8_t *pixels, int h, int w, int c, int orientation);
void put_gif(bytes *p, bool interlaced, int transparent);

/* ---- the tests ---- */

#define PICTURE_TESTS(TEST)                                                                                  \
	TEST(jpeg_is_right)                                                                                  \
	TEST(damaged_jpeg_is_refused)                                                                        \
	TEST(png_is_right)                                                                                   \
	TEST(webp_is_right)                                                                                  \
	TEST(bmp_is_right)                                                                                   \
	TEST(tga_is_right)                                                                                   \
	TEST(gif_is_right)                                                                                   \
	TEST(pnm_is_right)                                                                                   \
	TEST(threads_do_not_meet)                                                                            \
	TEST(kinds_are_told_and_counted)
#define DECLARE_TEST(name) void name(void **state);
PICTURE_TESTS(DECLARE_TEST)
#undef DECLARE_TEST

#endif
