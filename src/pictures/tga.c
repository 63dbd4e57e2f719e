/* tga: Truevision's format. It has no mark at its start: what says of itself what
 * no TGA says is none. */
#include "pictures/decode.h"

#include <string.h>

enum { HEADER = 18, RUNS = 8, MAPPED = 1, COLOUR = 2, GREY = 3 };

typedef struct targa {
	int w, h, kind, bits; /* kind without RUNS */
	bool runs, from_right, from_top;
	int first, colours, map_bits; /* of the map: first index, how many, bits of each */
	uint64_t map_at, pixels_at;
	bool alpha;
} targa;

static bool is_tga(const uint8_t *b, size_t count)
{
	if (count < HEADER)
		return false;
	int kind = b[2] & ~RUNS, bits = b[16];
	bool mapped = kind == MAPPED && bits == 8, grey = kind == GREY && (bits == 8 || bits == 16),
	     colour = kind == COLOUR && (bits == 15 || bits == 16 || bits == 24 || bits == 32);
	return b[1] <= 1 && (mapped || grey || colour);
}

/* The file's last bytes may lead to an extension, which may say that alpha means nothing. */
static bool alpha_is_void(const otp_encoded *in)
{
	static const char mark[] = "TRUEVISION-XFILE."; /* with its zero */
	enum { FOOTER = 26, TYPE_AT = 494 };
	if (in->count < FOOTER || memcmp(in->bytes + in->count - sizeof mark, mark, sizeof mark) != 0)
		return false;
	uint64_t extension = otp_le32(in->bytes + in->count - FOOTER);
	return extension && extension + TYPE_AT < in->count && in->bytes[extension + TYPE_AT] == 0;
}

static size_t pixel_bytes(const targa *t) { return ((size_t)t->bits + 7) / 8; }

static bool read_header(const otp_encoded *in, targa *t, otp_head *head, otp_error *err)
{
	const uint8_t *b = in->bytes;
	int flags = b[17], attributes = flags & 15;
	*t = (targa){.kind = b[2] & ~RUNS,
		     .bits = b[16],
		     .runs = (b[2] & RUNS) != 0,
		     .from_right = (flags & 16) != 0,
		     .from_top = (flags & 32) != 0,
		     .map_at = HEADER + (uint64_t)b[0]};
	if (b[1]) {
		t->first = (int)otp_le16(b + 3);
		t->colours = (int)otp_le16(b + 5);
		t->map_bits = b[7];
	}
	t->pixels_at = t->map_at + (uint64_t)t->colours * (((uint64_t)t->map_bits + 7) / 8);
	if (t->kind == MAPPED && b[1] && t->map_bits != 15 && t->map_bits != 16 && t->map_bits != 24 &&
	    t->map_bits != 32)
		return otp_fail(err, in->where, "damaged: a TGA with colours of %d bits", t->map_bits);
	if (!otp_decode_size(in, otp_le16(b + 14), otp_le16(b + 12), head, err))
		return false;
	t->w = head->w;
	t->h = head->h;
	uint64_t pixels = (uint64_t)t->w * (uint64_t)t->h, each = pixel_bytes(t);
	/* A run stands for 128 pixels at most. */
	if (!otp_decode_holds(
		in, t->pixels_at + (t->runs ? (pixels + 127) / 128 * (1 + each) : pixels * each), err))
		return false;
	int bits = t->kind == MAPPED ? t->map_bits : t->bits;
	t->alpha = bits == 32 || (bits == 16 && (t->kind == GREY || attributes > 0));
	if (t->alpha && t->kind != GREY && in->count < in->total)
		return otp_decode_cut(in, err); /* the rest tells what alpha means */
	t->alpha = t->alpha && !(t->kind != GREY && alpha_is_void(in));
	head->c = (t->kind == GREY || (t->kind == MAPPED && !b[1]) ? 1 : 3) + t->alpha;
	return true;
}

static bool look(const otp_encoded *in, otp_head *head, otp_error *err)
{
	targa t;
	return read_header(in, &t, head, err);
}

/* A stored colour as RGB, or RGBA where c is 4. Of 16 bits the highest means transparent, as Pillow has it.
 */
static void colour(const uint8_t *b, int bits, int c, uint8_t *to)
{
	if (bits >= 24) {
		for (int k = 0; k < 3; k++)
			to[k] = b[2 - k];
		if (c == 4)
			to[3] = b[3];
		return;
	}
	uint32_t pixel = otp_le16(b);
	for (int k = 0; k < 3; k++)
		to[k] = (uint8_t)(((pixel >> (10 - 5 * k) & 31) * 255 + 15) / 31);
	if (c == 4)
		to[3] = pixel >> 15 ? 0 : 255;
}

static void put_pixel(const otp_encoded *in, const targa *t, const uint8_t *b, int c, uint8_t *to)
{
	if (t->kind == COLOUR) {
		colour(b, t->bits, c, to);
	} else if (t->kind == GREY || c == 1) {
		memcpy(to, b, (size_t)c);
	} else {
		int index = b[0] - t->first;
		size_t each = ((size_t)t->map_bits + 7) / 8;
		memset(to, 0, (size_t)c);
		if (index >= 0 && index < t->colours)
			colour(in->bytes + t->map_at + (size_t)index * each, t->map_bits, c, to);
	}
}

static bool decode(const otp_encoded *in, const otp_head *head, uint8_t *pixels, otp_error *err)
{
	targa t;
	otp_head same = *head;
	if (!read_header(in, &t, &same, err))
		return false;
	size_t at = t.pixels_at, each = pixel_bytes(&t), c = (size_t)head->c;
	int left = 0; /* of the run or of the pixels one by one */
	bool repeats = false;
	for (int y = 0; y < t.h; y++)
		for (int x = 0; x < t.w; x++) {
			if (t.runs && left == 0) {
				if (at >= in->count)
					return otp_decode_cut(in, err);
				repeats = in->bytes[at] & 128;
				left = (in->bytes[at++] & 127) + 1;
			}
			if (at > in->count || in->count - at < each)
				return otp_decode_cut(in, err);
			size_t row = (size_t)(t.from_top ? y : t.h - 1 - y),
			       column = (size_t)(t.from_right ? t.w - 1 - x : x);
			put_pixel(in, &t, in->bytes + at, head->c, pixels + (row * (size_t)t.w + column) * c);
			left -= t.runs;
			at += repeats && left > 0 ? 0 : each;
		}
	return true;
}

const otp_codec otp_codec_tga = {"TGA", is_tga, look, decode};
