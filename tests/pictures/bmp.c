/* BMP: depths, masks, palettes, runs, claims that do not hold. */
#include "pictures/pictures.h"

#include <stdlib.h>

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

void bmp_is_right(void **state)
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
