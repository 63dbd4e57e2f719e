/* bmp: Windows and OS/2 bitmaps: palettes, runs, bit fields. Where pixels are not
 * said to have alpha, they are opaque. */
#include "pictures/decode.h"

#include <string.h>

enum { RAW = 0, RLE8 = 1, RLE4 = 2, BITFIELDS = 3 };

typedef struct bitmap {
	int32_t w, h; /* h > 0: top-down is a flag of its own */
	bool top_down;
	int bits, compression;
	uint64_t pixels_at;	 /* in the file */
	uint8_t palette[256][3]; /* RGB; what the file lacks is black */
	uint32_t masks[4];	 /* red, green, blue, alpha, of 16 and 32 bits */
} bitmap;

static bool is_bmp(const uint8_t *b, size_t count) { return count >= 18 && b[0] == 'B' && b[1] == 'M'; }

/* Colours without a mask are those that everybody means. */
static bool read_masks(const otp_encoded *in, size_t header, bitmap *m, otp_error *err)
{
	static const uint32_t usual[2][4] = {{0x7c00, 0x3e0, 0x1f, 0}, {0xff0000, 0xff00, 0xff, 0}};
	enum { AT = 14 + 40 };
	memcpy(m->masks, usual[m->bits == 32], sizeof m->masks);
	if (m->compression != BITFIELDS || m->bits == 24)
		return true;
	int count = header >= 56 ? 4 : 3;
	if (in->count < AT + 4 * (size_t)count)
		return otp_decode_cut(in, err);
	for (int k = 0; k < count; k++)
		m->masks[k] = otp_le32(in->bytes + AT + 4 * k);
	if (m->bits == 32 && !(m->masks[0] | m->masks[1] | m->masks[2] | m->masks[3])) {
		memcpy(m->masks, usual[1], sizeof m->masks);
		m->masks[3] = 0xff000000;
	}
	for (int k = 0; k < 4; k++) {
		uint32_t mask = m->masks[k], low = mask & -mask;
		bool in_one_piece = ((mask + low) & mask) == 0;
		if ((!mask && k < 3) || !in_one_piece)
			return otp_fail(err, in->where, "damaged: the bit mask %08x of a BMP",
					(unsigned)mask);
	}
	return true;
}

/* A row's bytes, padded to 4. */
static uint64_t stride(const bitmap *m) { return ((uint64_t)m->w * (uint64_t)m->bits + 31) / 32 * 4; }

static bool read_palette(const otp_encoded *in, size_t header, uint32_t colours, bitmap *m, otp_error *err)
{
	if (m->bits > 8)
		return true;
	size_t each = header == 12 ? 3 : 4, at = 14 + header;
	if (colours == 0 || colours > 1u << m->bits)
		colours = 1u << m->bits;
	if (in->count < at + each * colours)
		return otp_decode_cut(in, err);
	if (m->pixels_at == at) /* some writers forget the palette */
		m->pixels_at += each * colours;
	for (uint32_t i = 0; i < colours; i++)
		for (int k = 0; k < 3; k++)
			m->palette[i][k] = in->bytes[at + each * i + 2 - (size_t)k];
	return true;
}

/* What `bits` and `compression` go together, and whether so many rows can be there. */
static bool check(const otp_encoded *in, const bitmap *m, otp_error *err)
{
	bool fits = m->compression == RAW ? m->bits == 1 || m->bits == 4 || m->bits == 8 || m->bits == 16 ||
						m->bits == 24 || m->bits == 32
		    : m->compression == BITFIELDS ? m->bits == 16 || m->bits == 24 || m->bits == 32
		    : m->compression == RLE8	  ? m->bits == 8
						  : m->compression == RLE4 && m->bits == 4;
	if (!fits)
		return otp_fail(err, in->where, "is a BMP of %d bits and compression %d, which is not read",
				m->bits, m->compression);
	/* Four bytes of runs can pass over 255 rows. */
	bool runs = m->compression == RLE8 || m->compression == RLE4;
	return otp_decode_holds(in, m->pixels_at + (runs ? (uint64_t)m->h / 64 : stride(m) * (uint64_t)m->h),
				err);
}

static bool read_header(const otp_encoded *in, bitmap *m, otp_head *head, otp_error *err)
{
	const uint8_t *b = in->bytes;
	size_t header = otp_le32(b + 14);
	if (header != 12 && header != 40 && header != 52 && header != 56 && header != 64 && header != 108 &&
	    header != 124)
		return otp_fail(err, in->where, "damaged: a BMP with a header of %zu bytes", header);
	if (in->count < 14 + header)
		return otp_decode_cut(in, err);
	bool os2 = header == 12;
	int64_t w = os2 ? (int32_t)otp_le16(b + 18) : (int32_t)otp_le32(b + 18);
	int64_t h = os2 ? (int32_t)otp_le16(b + 20) : (int32_t)otp_le32(b + 22);
	*m = (bitmap){.top_down = h < 0,
		      .bits = (int)otp_le16(b + (os2 ? 24 : 28)),
		      .compression = os2 ? RAW : (int)otp_le32(b + 30),
		      .pixels_at = otp_le32(b + 10)};
	if (!otp_decode_size(in, h < 0 ? -h : h, w, head, err))
		return false;
	m->w = head->w;
	m->h = head->h;
	if (!check(in, m, err) || !read_masks(in, header, m, err) ||
	    !read_palette(in, header, os2 ? 0 : otp_le32(b + 46), m, err))
		return false;
	head->c = m->bits != 24 && m->masks[3] ? 4 : 3;
	return check(in, m, err); /* the pixels may have moved */
}

static bool look(const otp_encoded *in, otp_head *head, otp_error *err)
{
	bitmap m;
	return read_header(in, &m, head, err);
}

/* The bits of a mask as 0 to 255. */
static uint8_t scaled(uint32_t pixel, uint32_t mask)
{
	uint32_t low = mask & -mask;
	if (!low)
		return 0;
	uint64_t most = mask / low, value = (pixel & mask) / low;
	return (uint8_t)((value * 255 + most / 2) / most);
}

static void read_row(const bitmap *m, const uint8_t *row, int c, uint8_t *to)
{
	for (int x = 0; x < m->w; x++, to += c) {
		if (m->bits <= 8) {
			int bit = x * m->bits, index = row[bit / 8] >> (8 - m->bits - bit % 8);
			memcpy(to, m->palette[index & ((1 << m->bits) - 1)], 3);
		} else if (m->bits == 24) {
			for (int k = 0; k < 3; k++)
				to[k] = row[3 * x + 2 - k];
		} else {
			uint32_t pixel =
			    m->bits == 16 ? otp_le16(row + 2 * x) : otp_le32(row + 4 * (size_t)x);
			for (int k = 0; k < c; k++)
				to[k] = scaled(pixel, m->masks[k]);
		}
	}
}

static uint8_t *row_of(const bitmap *m, int c, uint8_t *pixels, int y)
{
	return pixels + (size_t)(m->top_down ? y : m->h - 1 - y) * (size_t)m->w * (size_t)c;
}

typedef struct run_place {
	int64_t x, y; /* of the next pixel, rows as they lie in the file */
} run_place;

/* `count` pixels of a row, from the bytes of a literal or one byte repeated; what juts out is left out. */
static void put_run(const bitmap *m, uint8_t *pixels, run_place *at, const uint8_t *bytes, int count,
		    bool repeat)
{
	for (int i = 0; i < count && at->y < m->h && at->x < m->w; i++, at->x++) {
		int half = i % 2, index = m->bits == 8 ? bytes[repeat ? 0 : i]
						       : bytes[repeat ? 0 : i / 2] >> (half ? 0 : 4) & 15;
		memcpy(row_of(m, 3, pixels, (int)at->y) + 3 * at->x, m->palette[index], 3);
	}
}

static bool read_runs(const otp_encoded *in, const bitmap *m, uint8_t *pixels, otp_error *err)
{
	enum { END_OF_LINE, END, DELTA };
	run_place at = {0, 0};
	for (size_t i = 0; i < (size_t)m->w * (size_t)m->h; i++)
		memcpy(pixels + 3 * i, m->palette[0], 3);
	for (size_t p = m->pixels_at; in->count >= 2 && p <= in->count - 2;) {
		const uint8_t *b = in->bytes + p;
		size_t left = in->count - p - 2;
		p += 2;
		if (b[0]) {
			put_run(m, pixels, &at, b + 1, b[0], true);
		} else if (b[1] == END_OF_LINE) {
			at = (run_place){0, at.y + 1};
		} else if (b[1] == END) {
			break;
		} else if (b[1] == DELTA) {
			if (left < 2)
				break;
			at = (run_place){at.x + b[2], at.y + b[3]};
			p += 2;
		} else {
			size_t bytes = ((size_t)b[1] * (size_t)m->bits + 7) / 8;
			if (bytes > left)
				break;
			put_run(m, pixels, &at, b + 2, b[1], false);
			p += (bytes + 1) / 2 * 2; /* padded to 2 */
		}
		if (at.y >= m->h || (at.y == m->h - 1 && at.x >= m->w))
			return true;
	}
	return otp_decode_cut(in, err);
}

static bool decode(const otp_encoded *in, const otp_head *head, uint8_t *pixels, otp_error *err)
{
	bitmap m;
	otp_head same = *head;
	if (!read_header(in, &m, &same, err))
		return false;
	if (m.compression == RLE8 || m.compression == RLE4)
		return read_runs(in, &m, pixels, err);
	for (int y = 0; y < m.h; y++)
		read_row(&m, in->bytes + m.pixels_at + stride(&m) * (uint64_t)y, head->c,
			 row_of(&m, head->c, pixels, y));
	return true;
}

const otp_codec otp_codec_bmp = {"BMP", is_bmp, look, decode};
