/* decoding: every format right, turned the right way, and refused where it is
 * damaged. The inputs are made here, byte by byte or by the formats' own encoders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/data_files.h"
#include "pictures/image.h"
#include "pictures/kinds.h"

#include <gif_lib.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <webp/encode.h>
#include <zlib.h>

/* ---- bytes ------------------------------------------------------------------------ */

typedef struct bytes {
	uint8_t b[1 << 16];
	size_t n;
} bytes;

static void add(bytes *to, const void *data, size_t count)
{
	assert_true(to->n + count <= sizeof to->b);
	memcpy(to->b + to->n, data, count);
	to->n += count;
}

static void add8(bytes *to, unsigned v) { add(to, &(uint8_t){(uint8_t)v}, 1); }

static void add_le(bytes *to, uint32_t v, int count)
{
	for (int i = 0; i < count; i++)
		add8(to, v >> 8 * i & 255);
}

static void add_be(bytes *to, uint32_t v, int count)
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

static otp_image decoded(const bytes *in)
{
	otp_image image;
	otp_error err;
	if (!decode(in, in->n, &image, &err))
		fail_msg("%s", err.text);
	return image;
}

static void is_refused(const bytes *in, size_t count, const char *word)
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
static void every_cut_is_refused(const bytes *in, size_t end)
{
	for (size_t count = 0; count < end; count++)
		is_refused(in, count, "");
}

/* One bit turned over anywhere: a picture or a refusal, and nothing written where it must not be. */
static void every_flip_is_survived(bytes *in)
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

static void holds(const otp_image *image, int h, int w, int c, const uint8_t *pixels, int tolerance)
{
	assert_int_equal(image->h, h);
	assert_int_equal(image->w, w);
	assert_int_equal(image->c, c);
	for (int i = 0; i < h * w * c; i++)
		if (abs(image->u8[i] - pixels[i]) > tolerance)
			fail_msg("value %d is %d instead of %d", i, image->u8[i], pixels[i]);
}

static void decodes_to(const bytes *in, int h, int w, int c, const uint8_t *pixels)
{
	otp_image image = decoded(in);
	holds(&image, h, w, c, pixels, 0);
	otp_image_free(&image);
}

/* ---- EXIF --------------------------------------------------------------------------- */

static void add_exif(bytes *to, int orientation, bool big)
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

static void is_turned(const bytes *in, int orientation, int h, int w, const uint8_t *pixels, int tolerance)
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

/* ---- JPEG --------------------------------------------------------------------------- */

typedef struct jpeg_options {
	int c, orientation; /* 0: no EXIF; below 0: broken */
	bool big, progressive;
} jpeg_options;

static void put_jpeg(bytes *out, const uint8_t *pixels, int h, int w, jpeg_options o)
{
	struct jpeg_compress_struct info;
	struct jpeg_error_mgr errors;
	unsigned char *made = NULL;
	unsigned long length = 0;
	info.err = jpeg_std_error(&errors);
	jpeg_create_compress(&info);
	jpeg_mem_dest(&info, &made, &length);
	info.image_height = (JDIMENSION)h;
	info.image_width = (JDIMENSION)w;
	info.input_components = o.c;
	info.in_color_space = o.c == 1 ? JCS_GRAYSCALE : o.c == 3 ? JCS_RGB : JCS_CMYK;
	jpeg_set_defaults(&info);
	jpeg_set_quality(&info, 100, TRUE);
	for (int i = 0; i < info.num_components; i++)
		info.comp_info[i].h_samp_factor = info.comp_info[i].v_samp_factor = 1;
	if (o.progressive)
		jpeg_simple_progression(&info);
	jpeg_start_compress(&info, TRUE);
	if (o.orientation) {
		bytes *exif = calloc(1, sizeof *exif);
		add(exif, "Exif\0", 6);
		if (o.orientation > 0)
			add_exif(exif, o.orientation, o.big);
		else
			add(exif, "MM\0*\xff\xff\xff\xff\xff\xff", 10);
		jpeg_write_marker(&info, JPEG_APP0 + 1, exif->b, (unsigned)exif->n);
		free(exif);
	}
	for (int y = 0; y < h; y++) {
		JSAMPROW row = (JSAMPROW)(pixels + y * w * o.c);
		jpeg_write_scanlines(&info, &row, 1);
	}
	jpeg_finish_compress(&info);
	jpeg_destroy_compress(&info);
	out->n = 0;
	add(out, made, length);
	free(made);
}

static void jpeg_is_right(void **state)
{
	(void)state;
	bytes *j = calloc(1, sizeof *j);
	uint8_t *grey = ramp(20, 13, 21, 1), *rgb = ramp(20, 13, 21, 3);
	otp_image image;
	for (int progressive = 0; progressive < 2; progressive++) {
		put_jpeg(j, grey, 13, 21, (jpeg_options){.c = 1, .progressive = progressive});
		image = decoded(j);
		holds(&image, 13, 21, 1, grey, 2);
		otp_image_free(&image);
		put_jpeg(j, rgb, 13, 21, (jpeg_options){.c = 3, .progressive = progressive});
		image = decoded(j);
		holds(&image, 13, 21, 3, rgb, 4);
		otp_image_free(&image);
		every_cut_is_refused(j, j->n);
		every_flip_is_survived(j);
	}
	/* CMYK, inverted as all write it: ink where the stored value is small. */
	uint8_t inks[8 * 8 * 4], shown[8 * 8 * 3];
	for (int i = 0; i < 64; i++) {
		uint8_t stored[4] = {200, 100, 50, 230};
		memcpy(inks + 4 * i, stored, 4);
		for (int k = 0; k < 3; k++)
			shown[3 * i + k] = (uint8_t)(stored[k] * 230 / 255);
	}
	put_jpeg(j, inks, 8, 8, (jpeg_options){.c = 4});
	image = decoded(j);
	holds(&image, 8, 8, 3, shown, 2);
	otp_image_free(&image);
	for (int orientation = 1; orientation <= 8; orientation++)
		for (int big = 0; big < 2; big++) {
			put_jpeg(j, rgb, 13, 21,
				 (jpeg_options){.c = 3, .orientation = orientation, .big = big});
			is_turned(j, orientation, 13, 21, rgb, 4);
		}
	for (int broken = -1; broken <= 9; broken += 10) {
		put_jpeg(j, rgb, 13, 21, (jpeg_options){.c = 3, .orientation = broken});
		is_turned(j, 1, 13, 21, rgb, 4);
	}
	otp_free(grey);
	otp_free(rgb);
	free(j);
}

/* The first segment of that marker. */
static size_t segment(const bytes *j, uint8_t marker)
{
	size_t at = 2;
	while (j->b[at + 1] != marker) {
		assert_true(at + 4 < j->n && j->b[at] == 0xff);
		at += 2 + (size_t)(j->b[at + 2] << 8 | j->b[at + 3]);
	}
	return at;
}

static void damaged_jpeg_is_refused(void **state)
{
	(void)state;
	enum { HUFFMAN = 0xc4, SCAN = 0xda };
	bytes *j = calloc(1, sizeof *j), *made = calloc(1, sizeof *made);
	uint8_t *rgb = ramp(20, 40, 40, 3);
	put_jpeg(j, rgb, 40, 40, (jpeg_options){.c = 3});
	size_t table = segment(j, HUFFMAN), scan = segment(j, SCAN);

	/* A Huffman table of 257 codes, also behind fill bytes. */
	for (int fill = 0; fill < 3; fill++) {
		made->n = 0;
		add(made, j->b, table);
		for (int i = 0; i < fill; i++)
			add8(made, 0xff);
		add8(made, 0xff);
		add8(made, HUFFMAN);
		add_be(made, 2 + 17 + 257, 2);
		add8(made, 0);
		for (int i = 0; i < 16; i++)
			add8(made, i == 14 ? 2 : i == 15 ? 255 : 0);
		for (int i = 0; i < 257; i++)
			add8(made, i & 255);
		add(made, j->b + table, j->n - table);
		is_refused(made, made->n, "Huffman");
	}
	/* Its picture is cut short, but it has an end. */
	made->n = 0;
	add(made, j->b, (scan + j->n) / 2);
	add(made, "\xff\xd9", 2);
	is_refused(made, made->n, "damaged");
	/* A progressive picture without its later scans. */
	put_jpeg(j, rgb, 40, 40, (jpeg_options){.c = 3, .progressive = true});
	scan = segment(j, SCAN);
	size_t next = scan + 2;
	while (j->b[next] != 0xff || j->b[next + 1] != HUFFMAN)
		next++;
	made->n = 0;
	add(made, j->b, next);
	add(made, "\xff\xd9", 2);
	is_refused(made, made->n, "ends before its picture does");
	/* It says more than it holds. */
	put_jpeg(j, rgb, 40, 40, (jpeg_options){.c = 3});
	size_t frame = segment(j, 0xc0);
	memcpy(j->b + frame + 5, "\x4e\x20\x4e\x20", 4);
	is_refused(j, j->n, "ends before its picture does");
	otp_free(rgb);
	free(j);
	free(made);
}

/* ---- PNG ---------------------------------------------------------------------------- */

static void add_chunk(bytes *to, const char *type, const void *data, size_t count)
{
	add_be(to, (uint32_t)count, 4);
	size_t from = to->n;
	add(to, type, 4);
	add(to, data, count);
	add_be(to, (uint32_t)crc32(0, to->b + from, (uInt)(count + 4)), 4);
}

static void start_png(bytes *p, uint32_t h, uint32_t w, int depth, int type)
{
	bytes *head = calloc(1, sizeof *head);
	add_be(head, w, 4);
	add_be(head, h, 4);
	add8(head, (unsigned)depth);
	add8(head, (unsigned)type);
	add(head, "\0\0", 3);
	p->n = 0;
	add(p, "\x89PNG\r\n\x1a\n", 8);
	add_chunk(p, "IHDR", head->b, head->n);
	free(head);
}

/* Rows of `row` bytes, each after its filter 0. */
static void add_picture(bytes *p, const uint8_t *rows, int h, size_t row)
{
	uint8_t raw[8192], packed[8192];
	uLongf length = sizeof packed;
	for (int y = 0; y < h; y++) {
		raw[(size_t)y * (row + 1)] = 0;
		memcpy(raw + (size_t)y * (row + 1) + 1, rows + (size_t)y * row, row);
	}
	assert_int_equal(compress(packed, &length, raw, (uLong)((size_t)h * (row + 1))), Z_OK);
	add_chunk(p, "IDAT", packed, length);
}

static void png_is_right(void **state)
{
	(void)state;
	bytes *p = calloc(1, sizeof *p);
	/* Two bits of grey, of which 1 is transparent. */
	start_png(p, 1, 4, 2, 0);
	add_chunk(p, "tRNS", "\0\1", 2);
	add_picture(p, (const uint8_t[]){0x1b}, 1, 1);
	add_chunk(p, "IEND", "", 0);
	decodes_to(p, 1, 4, 2, (const uint8_t[]){0, 255, 85, 0, 170, 255, 255, 255});
	/* A palette with transparency. */
	start_png(p, 1, 2, 8, 3);
	add_chunk(p, "PLTE", "\1\2\3\4\5\6", 6);
	add_chunk(p, "tRNS", "\x80", 1);
	add_picture(p, (const uint8_t[]){0, 1}, 1, 2);
	add_chunk(p, "IEND", "", 0);
	decodes_to(p, 1, 2, 4, (const uint8_t[]){1, 2, 3, 128, 4, 5, 6, 255});
	/* 16 bits, rounded; tRNS is compared with all 16. */
	start_png(p, 1, 2, 16, 2);
	add_chunk(p, "tRNS", "\x12\x34\0\0\xff\xff", 6);
	add_picture(p, (const uint8_t[]){0x12, 0x34, 0, 0, 0xff, 0xff, 0x12, 0xff, 0, 0, 0xff, 0xff}, 1, 12);
	add_chunk(p, "IEND", "", 0);
	decodes_to(p, 1, 2, 4, (const uint8_t[]){18, 0, 255, 0, 19, 0, 255, 255});
	every_cut_is_refused(p, p->n);
	every_flip_is_survived(p);
	/* Every flip of a bit behind the signature is seen, in the last checksum too. */
	for (size_t bit = 64; bit < 8 * p->n; bit++) {
		p->b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		is_refused(p, p->n, "");
		p->b[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	uint8_t *rgb = ramp(9, 5, 7, 3);
	bytes *exif = calloc(1, sizeof *exif);
	for (int orientation = 1; orientation <= 8; orientation++)
		for (int late = 0; late < 2; late++) {
			exif->n = 0;
			add_exif(exif, orientation, late);
			start_png(p, 5, 7, 8, 2);
			if (!late)
				add_chunk(p, "eXIf", exif->b, exif->n);
			add_picture(p, rgb, 5, 21);
			if (late)
				add_chunk(p, "eXIf", exif->b, exif->n);
			add_chunk(p, "IEND", "", 0);
			is_turned(p, orientation, 5, 7, rgb, 0);
		}
	/* A head that says more than the file holds. */
	start_png(p, 20000, 20000, 8, 2);
	add_picture(p, rgb, 5, 21);
	add_chunk(p, "IEND", "", 0);
	is_refused(p, p->n, "ends before its picture does");
	start_png(p, 0, 7, 8, 2);
	add_picture(p, rgb, 5, 21);
	add_chunk(p, "IEND", "", 0);
	is_refused(p, p->n, "7 x 0");
	otp_free(rgb);
	free(exif);
	free(p);
}

/* ---- WebP --------------------------------------------------------------------------- */

/* With an EXIF block at its end, as the format has it. */
static void put_webp(bytes *out, const uint8_t *pixels, int h, int w, int c, int orientation)
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

static void webp_is_right(void **state)
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

/* ---- BMP ---------------------------------------------------------------------------- */

typedef struct bmp_head {
	int32_t w, h;
	int bits;
	uint32_t compression, colours;
} bmp_head;

/* Up to the palette, of which there are `colours`. */
static void start_bmp(bytes *p, bmp_head o)
{
	p->n = 0;
	add(p, "BM", 2);
	add_le(p, 0, 4);
	add_le(p, 0, 4);
	add_le(p, 54 + 4 * o.colours, 4);
	add_le(p, 40, 4);
	add_le(p, (uint32_t)o.w, 4);
	add_le(p, (uint32_t)o.h, 4);
	add_le(p, 1, 2);
	add_le(p, (uint32_t)o.bits, 2);
	add_le(p, o.compression, 4);
	add_le(p, 0, 4);
	add_le(p, 0, 4);
	add_le(p, 0, 4);
	add_le(p, o.bits <= 8 ? o.colours : 0, 4);
	add_le(p, 0, 4);
}

static void bmp_is_right(void **state)
{
	(void)state;
	bytes *p = calloc(1, sizeof *p);
	const uint8_t rows[] = {1, 2, 3, 0, 4, 5, 6, 0}; /* B G R and padding, two rows of one */
	for (int sign = -1; sign <= 1; sign += 2) {
		start_bmp(p, (bmp_head){1, 2 * sign, 24, 0, 0});
		add(p, rows, 8);
		decodes_to(p, 2, 1, 3,
			   sign < 0 ? (const uint8_t[]){3, 2, 1, 6, 5, 4}
				    : (const uint8_t[]){6, 5, 4, 3, 2, 1});
		every_cut_is_refused(p, p->n);
		every_flip_is_survived(p);
	}
	/* The fourth byte of 32 is nothing. */
	start_bmp(p, (bmp_head){2, 1, 32, 0, 0});
	add(p, "\1\2\3\1\4\5\6\0", 8);
	decodes_to(p, 1, 2, 3, (const uint8_t[]){3, 2, 1, 6, 5, 4});
	/* Unless it has a mask. */
	start_bmp(p, (bmp_head){1, 1, 32, 3, 0});
	p->b[14] = 56;
	p->b[10] = 14 + 56;
	for (int k = 0; k < 4; k++)
		add_le(p, k == 3 ? 0xff000000 : 0xff0000u >> 8 * k, 4);
	add(p, "\1\2\3\4", 4);
	decodes_to(p, 1, 1, 4, (const uint8_t[]){3, 2, 1, 4});
	/* 565 */
	start_bmp(p, (bmp_head){1, 1, 16, 3, 3});
	add_le(p, 0xf800, 4);
	add_le(p, 0x7e0, 4);
	add_le(p, 0x1f, 4);
	add_le(p, 31 << 11 | 32 << 5 | 1, 4);
	decodes_to(p, 1, 1, 3, (const uint8_t[]){255, 130, 8});
	/* Four bits of a palette, five in a row. */
	start_bmp(p, (bmp_head){5, 1, 4, 0, 2});
	add(p, "\1\2\3\0\4\5\6\0\x01\x10\x10\0", 12);
	decodes_to(p, 1, 5, 3, (const uint8_t[]){3, 2, 1, 6, 5, 4, 6, 5, 4, 3, 2, 1, 6, 5, 4});
	/* Runs: two of 1, a literal 0 1 0, and the end. */
	start_bmp(p, (bmp_head){5, 1, 8, 1, 2});
	add(p, "\1\2\3\0\4\5\6\0\2\1\0\3\0\1\0\0\0\1", 18);
	decodes_to(p, 1, 5, 3, (const uint8_t[]){6, 5, 4, 6, 5, 4, 3, 2, 1, 6, 5, 4, 3, 2, 1});
	every_cut_is_refused(p, p->n - 3);
	every_flip_is_survived(p);
	/* A row short. */
	start_bmp(p, (bmp_head){5, 2, 8, 1, 2});
	add(p, "\1\2\3\0\4\5\6\0\5\1\0\0\0\1", 14);
	is_refused(p, p->n, "ends before");
	static const struct {
		int32_t w, h;
		const char *word;
	} claims[] = {{0, 9, "0 x 9"},
		      {9, 0, "9 x 0"},
		      {-4, 4, "-4 x 4"},
		      {20000, 20000, "ends before"},
		      {4, INT32_MIN, "2147483648"},
		      {INT32_MAX, INT32_MAX, "ends before"}};
	for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
		start_bmp(p, (bmp_head){claims[i].w, claims[i].h, 24, 0, 0});
		add(p, rows, 8);
		is_refused(p, p->n, claims[i].word);
	}
	free(p);
}

/* ---- TGA, GIF, PNM -------------------------------------------------------------------- */

static void start_tga(bytes *p, int kind, int w, int h, int bits, int flags)
{
	p->n = 0;
	add8(p, 0);
	add8(p, kind % 8 == 1);
	add8(p, (unsigned)kind);
	add_le(p, 0, 2);
	add_le(p, kind % 8 == 1 ? 2 : 0, 2);
	add8(p, kind % 8 == 1 ? 24 : 0);
	add_le(p, 0, 4);
	add_le(p, (uint32_t)w, 2);
	add_le(p, (uint32_t)h, 2);
	add8(p, (unsigned)bits);
	add8(p, (unsigned)flags);
}

static void tga_is_right(void **state)
{
	(void)state;
	enum { FROM_RIGHT = 16, FROM_TOP = 32 };
	bytes *p = calloc(1, sizeof *p);
	static const uint8_t turned[4][4] = {{3, 4, 1, 2}, {4, 3, 2, 1}, {1, 2, 3, 4}, {2, 1, 4, 3}};
	for (int way = 0; way < 4; way++) {
		start_tga(p, 3, 2, 2, 8, way * FROM_RIGHT);
		add(p, "\1\2\3\4", 4);
		decodes_to(p, 2, 2, 1, turned[way]);
		every_cut_is_refused(p, p->n);
	}
	/* Runs of a palette over the end of a row: three of 1, two as they are, one of 1. */
	start_tga(p, 9, 3, 2, 8, FROM_TOP);
	add(p, "\1\2\3\4\5\6\x82\1\1\0\1\x80\1", 13);
	const uint8_t a[] = {6, 5, 4}, b[] = {3, 2, 1};
	uint8_t expected[18];
	for (int i = 0; i < 6; i++)
		memcpy(expected + 3 * i, i == 3 ? b : a, 3);
	decodes_to(p, 2, 3, 3, expected);
	every_cut_is_refused(p, p->n);
	every_flip_is_survived(p);
	start_tga(p, 10, 2, 1, 32, FROM_TOP | 8);
	add(p, "\x81\1\2\3\4", 5);
	decodes_to(p, 1, 2, 4, (const uint8_t[]){3, 2, 1, 4, 3, 2, 1, 4});
	start_tga(p, 2, 0, 3, 24, 0);
	add(p, expected, 18);
	is_refused(p, p->n, "0 x 3");
	free(p);
}

static int give_gif(GifFileType *gif, const GifByteType *data, int count)
{
	add(gif->UserData, data, (size_t)count);
	return count;
}

/* A frame of 4 x 3 at (1, 1) of a canvas of 6 x 5, indices 0 to 3 along the diagonals. */
static void put_gif(bytes *p, bool interlaced, int transparent)
{
	GifColorType colours[4] = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}, {10, 11, 12}};
	ColorMapObject *map = GifMakeMapObject(4, colours);
	int code;
	p->n = 0;
	GifFileType *gif = EGifOpen(p, give_gif, &code);
	EGifPutScreenDesc(gif, 6, 5, 8, 0, map);
	GifByteType control[4] = {transparent >= 0, 0, 0, (GifByteType)(transparent >= 0 ? transparent : 0)};
	EGifPutExtension(gif, GRAPHICS_EXT_FUNC_CODE, 4, control);
	EGifPutImageDesc(gif, 1, 1, 4, 3, interlaced, NULL);
	static const int order[2][3] = {{0, 1, 2}, {0, 2, 1}};
	for (int i = 0; i < 3; i++) {
		GifPixelType row[4];
		for (int x = 0; x < 4; x++)
			row[x] = (GifPixelType)((x + order[interlaced][i]) % 4);
		EGifPutLine(gif, row, 4);
	}
	EGifCloseFile(gif, &code);
	GifFreeMapObject(map);
}

static void gif_is_right(void **state)
{
	(void)state;
	bytes *p = calloc(1, sizeof *p);
	for (int interlaced = 0; interlaced < 2; interlaced++)
		for (int transparent = -1; transparent < 3; transparent += 3) {
			int c = transparent >= 0 ? 4 : 3;
			uint8_t expected[5 * 6 * 4];
			for (int i = 0; i < 30; i++) {
				int y = i / 6 - 1, x = i % 6 - 1;
				bool within = y >= 0 && y < 3 && x >= 0 && x < 4;
				int index = within ? (x + y) % 4 : transparent >= 0 ? transparent : 0;
				uint8_t colour[4] = {(uint8_t)(3 * index + 1), (uint8_t)(3 * index + 2),
						     (uint8_t)(3 * index + 3),
						     index == transparent ? 0 : 255};
				memcpy(expected + c * i, colour, (size_t)c);
			}
			put_gif(p, interlaced, transparent);
			decodes_to(p, 5, 6, c, expected);
			every_cut_is_refused(p, p->n - 1); /* the trailer is a byte */
			every_flip_is_survived(p);
		}
	memcpy(p->b + 6, "\x20\x4e\x20\x4e", 4);
	is_refused(p, p->n, "ends before");
	memcpy(p->b + 6, "\0\0\0\0", 4);
	is_refused(p, p->n, "0 x 0");
	free(p);
}

static void pnm_is_right(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t length; /* 0: of the text */
		int c;
		uint8_t pixels[6];
	} right[] = {
	    {"P1\n# bits\n2 1\n01", 0, 1, {255, 0}},
	    {"P2 2 1 15 0 # black\n7", 0, 1, {0, 119}},
	    {"P3\n2 1\n100 0 50 100 1 2 3", 0, 3, {0, 128, 255, 3, 5, 8}},
	    {"P4 2 1\n\x40", 0, 1, {255, 0}},
	    {"P5 2 1 15\n\x0f\x07", 0, 1, {255, 119}},
	    {"P5 2 1 4095\n\x0f\xff\x01\x00", 15 + 1, 1, {255, 16}},
	    {"P6 2 1 255\n\1\2\3\4\5\6", 0, 3, {1, 2, 3, 4, 5, 6}},
	};
	bytes *p = calloc(1, sizeof *p);
	for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
		p->n = 0;
		add(p, right[i].text, right[i].length ? right[i].length : strlen(right[i].text));
		decodes_to(p, 1, 2, right[i].c, right[i].pixels);
		/* The last number of the plain form may lose digits without anybody's seeing it. */
		every_cut_is_refused(p, p->n - 1);
		every_flip_is_survived(p);
	}
	static const char *const wrong[][2] = {{"P5 0 4 255\nxxxx", "0 x 4"},
					       {"P5 4 4 0\nxxxx", "maximum"},
					       {"P5 4 4 70000\nx", "maximum"},
					       {"P5 9 9 255\nshort", "ends before"},
					       {"P6 20000 20000 255\nx", "ends before"},
					       {"P2 1 1 7 8", "over its maximum"},
					       {"P5 -4 4 255\n", "number"}};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		p->n = 0;
		add(p, wrong[i][0], strlen(wrong[i][0]));
		is_refused(p, p->n, wrong[i][1]);
	}
	free(p);
}

/* ---- all ------------------------------------------------------------------------------- */

static void kinds_are_told_and_counted(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t count;
		const char *kind;
		bool picture;
	} files[] = {{"", 0, "empty", false},
		     {"II*\0\x08", 5, "TIFF", true},
		     {"hello\n", 6, "text", false},
		     {"\0\1\2", 3, "other", false},
		     {"\xff\xd8\xff\xe0", 4, "JPEG", true},
		     {"\0\0\0\x1c"
		      "ftypavif",
		      12, "AVIF", true},
		     {"%PDF-1.4", 8, "PDF", false}};
	otp_kinds kinds = {0};
	bool picture;
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		const char *kind = otp_kind_of((const uint8_t *)files[i].bytes, files[i].count, &picture);
		assert_string_equal(kind, files[i].kind);
		assert_int_equal(picture, files[i].picture);
	}
	for (int i = 0; i < 3; i++)
		otp_kinds_add(&kinds, i == 1 ? "text" : "TIFF");
	char *text = otp_kinds_text(&kinds);
	assert_string_equal(text, "2 TIFF, 1 text");
	otp_free(text);
	bytes *p = calloc(1, sizeof *p);
	add(p, "II*\0\x08\0\0\0", 8);
	is_refused(p, p->n, "is TIFF, expected JPEG, PNG, WebP");
	free(p);
}

typedef struct task {
	const bytes *in;
	const uint8_t *expected;
	bool ok;
} task;

static void *decode_many(void *argument)
{
	task *t = argument;
	t->ok = true;
	for (int i = 0; i < 50; i++) {
		otp_image image;
		otp_error err = {0};
		/* Every second one is cut, so that refusals go on beside. */
		bool ok = otp_image_decode(t->in->b, t->in->n - (size_t)(i % 2) * 9, "x",
					   OTP_IMAGE_MOST_PIXELS, &image, &err);
		t->ok = t->ok && ok == (i % 2 == 0) &&
			(!ok || memcmp(image.u8, t->expected, otp_image_values(&image)) == 0);
		if (ok)
			otp_image_free(&image);
	}
	return NULL;
}

static void threads_do_not_meet(void **state)
{
	(void)state;
	enum { FORMATS = 4, THREADS = 8 };
	bytes *in = calloc(FORMATS, sizeof *in);
	uint8_t *rgb = ramp(30, 16, 16, 3);
	otp_image images[FORMATS];
	put_jpeg(&in[0], rgb, 16, 16, (jpeg_options){.c = 3, .orientation = 6});
	start_png(&in[1], 16, 16, 8, 2);
	add_picture(&in[1], rgb, 16, 48);
	add_chunk(&in[1], "IEND", "", 0);
	put_webp(&in[2], rgb, 16, 16, 3, 6);
	put_gif(&in[3], true, 0);
	pthread_t threads[THREADS];
	task tasks[THREADS];
	for (int i = 0; i < FORMATS; i++)
		images[i] = decoded(&in[i]);
	for (int i = 0; i < THREADS; i++) {
		tasks[i] = (task){&in[i % FORMATS], images[i % FORMATS].u8, false};
		assert_int_equal(pthread_create(&threads[i], NULL, decode_many, &tasks[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_true(tasks[i].ok);
	}
	for (int i = 0; i < FORMATS; i++)
		otp_image_free(&images[i]);
	otp_free(rgb);
	free(in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(jpeg_is_right),	   cmocka_unit_test(damaged_jpeg_is_refused),
	    cmocka_unit_test(png_is_right),	   cmocka_unit_test(webp_is_right),
	    cmocka_unit_test(bmp_is_right),	   cmocka_unit_test(tga_is_right),
	    cmocka_unit_test(gif_is_right),	   cmocka_unit_test(pnm_is_right),
	    cmocka_unit_test(threads_do_not_meet), cmocka_unit_test(kinds_are_told_and_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
