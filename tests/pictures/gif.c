/* GIF: a frame on a canvas, interlaced, transparent. */
#include "pictures/pictures.h"

#include <gif_lib.h>
#include <stdlib.h>
#include <string.h>

static int give_gif(GifFileType *gif, const GifByteType *data, int count)
{
	add(gif->UserData, data, (size_t)count);
	return count;
}

/* A frame of 4 x 3 at (1, 1) of a canvas of 6 x 5, indices 0 to 3 along the diagonals. */
void put_gif(bytes *p, bool interlaced, int transparent)
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

void gif_is_right(void **state)
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
