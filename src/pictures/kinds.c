#include "pictures/kinds.h"

#include <string.h>

#define MAGIC(text) text, sizeof text - 1

static const struct {
	const char *name;
	bool picture;
	size_t at;
	const char *magic;
	size_t bytes;
} known[] = {
    {"JPEG", true, 0, MAGIC("\xff\xd8\xff")},
    {"PNG", true, 0, MAGIC("\x89PNG\r\n\x1a\n")},
    {"WebP", true, 8, MAGIC("WEBP")},
    {"GIF", true, 0, MAGIC("GIF8")},
    {"TIFF", true, 0, MAGIC("II*\0")},
    {"TIFF", true, 0, MAGIC("MM\0*")},
    {"TIFF", true, 0, MAGIC("II+\0")},
    {"TIFF", true, 0, MAGIC("MM\0+")},
    {"HEIC", true, 4, MAGIC("ftyphei")},
    {"HEIC", true, 4, MAGIC("ftyphev")},
    {"HEIC", true, 4, MAGIC("ftypmif1")},
    {"HEIC", true, 4, MAGIC("ftypmsf1")},
    {"AVIF", true, 4, MAGIC("ftypavi")},
    {"JPEG XL", true, 0, MAGIC("\0\0\0\x0cJXL ")},
    {"JPEG XL", true, 0, MAGIC("\xff\x0a")},
    {"JPEG 2000", true, 0, MAGIC("\0\0\0\x0cjP  ")},
    {"JPEG 2000", true, 0, MAGIC("\xff\x4f\xff\x51")},
    {"Photoshop", true, 0, MAGIC("8BPS")},
    {"GIMP", true, 0, MAGIC("gimp xcf")},
    {"OpenEXR", true, 0, MAGIC("\x76\x2f\x31\x01")},
    {"Radiance HDR", true, 0, MAGIC("#?RADIANCE")},
    {"icon", true, 0, MAGIC("\0\0\1\0")},
    {"SVG", true, 0, MAGIC("<svg")},
    {"video", false, 4, MAGIC("ftyp")},
    {"video", false, 0, MAGIC("\x1a\x45\xdf\xa3")},
    {"PDF", false, 0, MAGIC("%PDF")},
    {"zip", false, 0, MAGIC("PK\3\4")},
    {"gzip", false, 0, MAGIC("\x1f\x8b")},
    {"HDF5", false, 0, MAGIC("\x89HDF\r\n\x1a\n")},
    {"NumPy", false, 0, MAGIC("\x93NUMPY")},
};

const char *otp_kind_of(const uint8_t *head, size_t count, bool *picture)
{
	*picture = false;
	if (count == 0)
		return "empty";
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (known[i].at + known[i].bytes <= count &&
		    memcmp(head + known[i].at, known[i].magic, known[i].bytes) == 0) {
			*picture = known[i].picture;
			return known[i].name;
		}
	if (count >= 6 && head[0] == 'B' && head[1] == 'M' && memchr(head, 0, count)) {
		*picture = true;
		return "BMP";
	}
	/* Letters of any script have no bytes below a space, but tabs and ends of lines. */
	for (size_t i = 0; i < count; i++)
		if ((head[i] < ' ' && (head[i] < '\t' || head[i] > '\r')) || head[i] == 0x7f)
			return "other";
	return "text";
}

void otp_kinds_add(otp_kinds *k, const char *name)
{
	enum { MOST = sizeof k->kinds / sizeof *k->kinds };
	k->files++;
	for (size_t i = 0; i < MOST; i++)
		if (!k->kinds[i].count || strcmp(k->kinds[i].name, name) == 0) {
			k->kinds[i].name = name;
			k->kinds[i].count++;
			return;
		}
}

char *otp_kinds_text(const otp_kinds *k)
{
	enum { MOST = sizeof k->kinds / sizeof *k->kinds };
	bool told[MOST] = {false};
	char *text = otp_strdup("");
	for (;;) {
		size_t next = MOST;
		for (size_t i = 0; i < MOST; i++)
			if (k->kinds[i].count && !told[i] &&
			    (next == MOST || k->kinds[i].count > k->kinds[next].count))
				next = i;
		if (next == MOST)
			return text;
		told[next] = true;
		char *longer = otp_format("%s%s%lld %s", text, *text ? ", " : "",
					  (long long)k->kinds[next].count, k->kinds[next].name);
		otp_free(text);
		text = longer;
	}
}
