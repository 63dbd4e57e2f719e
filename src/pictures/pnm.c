/* pnm: PBM, PGM and PPM, plain (P1 to P3) and raw (P4 to P6), scaled from the
 * file's own maximum to 255. */
#include "pictures/decode.h"

#include <string.h>

typedef struct anymap {
	int kind; /* 1 to 6 */
	uint32_t most;
	size_t at; /* of the first sample */
} anymap;

static bool is_space(uint8_t b) { return b == ' ' || (b >= '\t' && b <= '\r'); }

static bool is_pnm(const uint8_t *b, size_t count)
{
	return count >= 3 && b[0] == 'P' && b[1] >= '1' && b[1] <= '6' && (is_space(b[2]) || b[2] == '#');
}

static bool is_plain(const anymap *m) { return m->kind <= 3; }
static bool is_bits(const anymap *m) { return m->kind % 3 == 1; }

/* Over spaces and comments. */
static void skip_space(const otp_encoded *in, size_t *at)
{
	while (*at < in->count && (is_space(in->bytes[*at]) || in->bytes[*at] == '#'))
		if (in->bytes[(*at)++] == '#')
			while (*at < in->count && in->bytes[*at] != '\n' && in->bytes[*at] != '\r')
				(*at)++;
}

/* Digits up to a space, a comment or the end. */
static bool read_number(const otp_encoded *in, size_t *at, uint32_t *number, otp_error *err)
{
	enum { DIGITS = 9 };
	skip_space(in, at);
	size_t from = *at;
	*number = 0;
	for (; *at < in->count && !is_space(in->bytes[*at]) && in->bytes[*at] != '#'; (*at)++) {
		uint8_t b = in->bytes[*at];
		if (b < '0' || b > '9' || *at - from >= DIGITS)
			return otp_fail(err, in->where, "damaged: expected a number at byte %zu", from);
		*number = *number * 10 + (b - '0');
	}
	return *at > from || otp_decode_cut(in, err);
}

static bool read_header(const otp_encoded *in, anymap *m, otp_head *head, otp_error *err)
{
	uint32_t w, h;
	*m = (anymap){.kind = in->bytes[1] - '0', .most = 1, .at = 2};
	if (!read_number(in, &m->at, &w, err) || !read_number(in, &m->at, &h, err) ||
	    (!is_bits(m) && !read_number(in, &m->at, &m->most, err)))
		return false;
	if (m->at >= in->count)
		return otp_decode_cut(in, err);
	m->at++; /* one space before raw samples */
	if (m->most < 1 || m->most > 65535)
		return otp_fail(err, in->where, "damaged: a maximum of %u, expected 1 to 65535", m->most);
	if (!otp_decode_size(in, h, w, head, err))
		return false;
	head->c = m->kind % 3 == 0 ? 3 : 1;
	head->deep = m->most > 255;
	uint64_t row = (uint64_t)w * (uint64_t)head->c,
		 bytes = m->kind == 1	? row * h
			 : is_plain(m)	? 2 * row * h - 1 /* a digit each, and spaces between */
			 : m->kind == 4 ? (row + 7) / 8 * h
					: row * h * (head->deep ? 2 : 1);
	return otp_decode_holds(in, m->at + bytes, err);
}

static bool look(const otp_encoded *in, otp_head *head, otp_error *err)
{
	anymap m;
	return read_header(in, &m, head, err);
}

static uint8_t scaled(uint32_t value, uint32_t most)
{
	return value >= most ? 255 : (uint8_t)((value * 255 + most / 2) / most);
}

/* Bits of the plain form need no spaces between them. */
static bool read_bit(const otp_encoded *in, size_t *at, uint32_t *bit, otp_error *err)
{
	skip_space(in, at);
	if (*at >= in->count)
		return otp_decode_cut(in, err);
	uint8_t b = in->bytes[(*at)++];
	*bit = b == '1';
	return b == '0' || b == '1' ||
	       otp_fail(err, in->where, "damaged: expected 0 or 1 at byte %zu", *at - 1);
}

static bool decode_plain(const otp_encoded *in, const anymap *m, size_t count, uint8_t *pixels,
			 otp_error *err)
{
	size_t at = m->at;
	for (size_t i = 0; i < count; i++) {
		uint32_t value;
		if (is_bits(m) ? !read_bit(in, &at, &value, err) : !read_number(in, &at, &value, err))
			return false;
		if (value > m->most)
			return otp_fail(err, in->where, "damaged: a sample of %u, over its maximum of %u",
					value, m->most);
		pixels[i] = is_bits(m) ? (uint8_t)(value ? 0 : 255) : scaled(value, m->most);
	}
	return true;
}

static bool decode(const otp_encoded *in, const otp_head *head, uint8_t *pixels, otp_error *err)
{
	anymap m;
	otp_head same = *head;
	if (!read_header(in, &m, &same, err))
		return false;
	size_t row = (size_t)head->w * (size_t)head->c, count = row * (size_t)head->h;
	const uint8_t *b = in->bytes + m.at;
	if (is_plain(&m))
		return decode_plain(in, &m, count, pixels, err);
	if (is_bits(&m))
		for (size_t i = 0; i < count; i++) {
			size_t x = i % row, byte = i / row * ((row + 7) / 8) + x / 8;
			pixels[i] = b[byte] >> (7 - x % 8) & 1 ? 0 : 255;
		}
	else
		for (size_t i = 0; i < count; i++)
			pixels[i] =
			    scaled(head->deep ? (uint32_t)b[2 * i] << 8 | b[2 * i + 1] : b[i], m.most);
	return true;
}

const otp_codec otp_codec_pnm = {"PNM", is_pnm, look, decode};
