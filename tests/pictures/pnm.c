/* PBM, PGM, PPM: plain and binary. */
#include "pictures/pictures.h"

#include <stdlib.h>
#include <string.h>

void pnm_is_right(void **state)
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
