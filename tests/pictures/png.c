/* PNG: depths, palettes, transparency, EXIF, damage. */
#include "pictures/pictures.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

void add_chunk(bytes *to, const char *type, const void *data, size_t count)
{
	add_be(to, (uint32_t)count, 4);
	size_t from = to->n;
	add(to, type, 4);
	add(to, data, count);
	add_be(to, (uint32_t)crc32(0, to->b + from, (uInt)(count + 4)), 4);
}

void start_png(bytes *p, uint32_t h, uint32_t w, int depth, int type)
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
void add_picture(bytes *p, const uint8_t *rows, int h, size_t row)
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

void png_is_right(void **state)
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
