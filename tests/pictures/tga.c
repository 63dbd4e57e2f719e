/* TGA: its four ways up, palettes, runs. */
#include "pictures/pictures.h"

#include <stdlib.h>
#include <string.h>

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

void tga_is_right(void **state)
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
