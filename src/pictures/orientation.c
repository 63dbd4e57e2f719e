/* orientation: the way up of a picture, from its EXIF block by libexif. */
#include "pictures/decode.h"

#include <libexif/exif-data.h>
#include <string.h>

/* Other programs write the number in any of these formats. */
static unsigned number_of(const ExifEntry *entry, ExifByteOrder order)
{
	if (entry->components < 1)
		return 0;
	if (entry->format == EXIF_FORMAT_SHORT && entry->size >= 2)
		return exif_get_short(entry->data, order);
	if (entry->format == EXIF_FORMAT_LONG && entry->size >= 4)
		return exif_get_long(entry->data, order);
	return entry->format == EXIF_FORMAT_BYTE && entry->size >= 1 ? entry->data[0] : 0;
}

int otp_exif_orientation(const uint8_t *block, size_t count)
{
	static const uint8_t mark[6] = "Exif\0"; /* with two zeros: libexif wants it, PNG and WebP lack it */
	enum { MOST = 1 << 20 };		 /* the number stands near the start */
	if (count >= sizeof mark && memcmp(block, mark, sizeof mark) == 0) {
		block += sizeof mark;
		count -= sizeof mark;
	}
	if (count < 8)
		return 1;
	count = count < MOST ? count : MOST;
	uint8_t *marked = otp_calloc(sizeof mark + count, 1);
	memcpy(marked, mark, sizeof mark);
	memcpy(marked + sizeof mark, block, count);
	unsigned number = 0;
	ExifData *data = exif_data_new();
	if (data) {
		/* As it stands: libexif would otherwise mend and add entries. */
		exif_data_unset_option(data, EXIF_DATA_OPTION_FOLLOW_SPECIFICATION);
		exif_data_load_data(data, marked, (unsigned)(sizeof mark + count));
		const ExifEntry *entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
		number = entry ? number_of(entry, exif_data_get_byte_order(data)) : 0;
		exif_data_unref(data);
	}
	otp_free(marked);
	return number >= 1 && number <= 8 ? (int)number : 1;
}

void otp_orientation_apply(const otp_head *head, const uint8_t *from, uint8_t *to)
{
	/* Beginning at one corner, a step along the result's rows and one to its next row lead through the
	 * source by whole pixels: from 5 on its rows are the source's columns. */
	int o = head->orientation;
	bool lies = o >= 5, flip_x = o == 2 || o == 3 || o == 7 || o == 8,
	     flip_y = o == 3 || o == 4 || o == 6 || o == 7;
	ptrdiff_t c = head->c, row = head->w * c, step_x = flip_x ? -c : c, step_y = flip_y ? -row : row;
	const uint8_t *start = from + (flip_x ? row - c : 0) + (flip_y ? (head->h - 1) * row : 0);
	int h = lies ? head->w : head->h, w = lies ? head->h : head->w;
	ptrdiff_t along = lies ? step_y : step_x, down = lies ? step_x : step_y;
	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++, to += c)
			memcpy(to, start + y * down + x * along, (size_t)c);
}
