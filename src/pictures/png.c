/* png: by libspng, after a walk over the chunks that compares every checksum. */
#include "pictures/decode.h"

#include <spng.h>
#include <string.h>
#include <zlib.h>

static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

static bool is_png(const uint8_t *b, size_t count) { return count >= 8 && memcmp(b, signature, 8) == 0; }

typedef struct facts {
	uint32_t w, h;
	int depth, type; /* bits a sample; colour type */
	bool transparent, picture;
	const uint8_t *exif;
	size_t exif_bytes;
} facts;

enum { GREY = 0, RGB = 2, PALETTE = 3, GREY_ALPHA = 4, RGBA = 6 };

static void note_chunk(facts *f, const uint8_t *type, const uint8_t *data, size_t bytes)
{
	if (memcmp(type, "IHDR", 4) == 0 && bytes == 13) {
		f->w = otp_be32(data);
		f->h = otp_be32(data + 4);
		f->depth = data[8];
		f->type = data[9];
	} else if (memcmp(type, "tRNS", 4) == 0) {
		f->transparent = true;
	} else if (memcmp(type, "eXIf", 4) == 0 && !f->exif) {
		f->exif = data;
		f->exif_bytes = bytes;
	} else if (memcmp(type, "IDAT", 4) == 0) {
		f->picture = true;
	}
}

/* The chunk at `at`, or NULL where it is not all at hand. */
static const uint8_t *chunk_at(const otp_encoded *in, size_t at, size_t *bytes)
{
	if (at > in->count || in->count - at < 12)
		return NULL;
	const uint8_t *chunk = in->bytes + at;
	*bytes = otp_be32(chunk);
	return *bytes <= in->count - at - 12 ? chunk : NULL;
}

/* The chunks that are at hand. A cut is for decode to find: a file is a picture by its head. */
static bool look_around(const otp_encoded *in, facts *f, otp_error *err)
{
	size_t at = sizeof signature, bytes;
	for (const uint8_t *chunk; (chunk = chunk_at(in, at, &bytes)); at += 12 + bytes)
		note_chunk(f, chunk + 4, chunk + 8, bytes);
	bool whole = in->count == in->total,
	     at_picture = in->count - at >= 8 && memcmp(in->bytes + at + 4, "IDAT", 4) == 0;
	/* Behind the picture there may be an orientation; it does not change the size of a square. */
	bool told = (f->picture || at_picture) && (f->exif || f->w == f->h);
	return (f->depth && (whole || told)) || otp_decode_cut(in, err);
}

/* All chunks up to the last one, with their checksums. */
static bool check_chunks(const otp_encoded *in, otp_error *err)
{
	size_t at = sizeof signature, bytes;
	for (const uint8_t *chunk; (chunk = chunk_at(in, at, &bytes)); at += 12 + bytes) {
		if (crc32(0, chunk + 4, (uInt)bytes + 4) != otp_be32(chunk + 8 + bytes))
			return otp_fail(err, in->where, "damaged: the checksum of its %.4s chunk is wrong",
					(const char *)chunk + 4);
		if (memcmp(chunk + 4, "IEND", 4) == 0)
			return true;
	}
	return otp_decode_cut(in, err);
}

static int channels(const facts *f)
{
	int plain = f->type == GREY || f->type == GREY_ALPHA ? 1 : 3;
	return plain + (f->type == GREY_ALPHA || f->type == RGBA || f->transparent);
}

/* Deflate makes 1032 bytes of one at most. */
static bool holds_rows(const otp_encoded *in, const facts *f, otp_error *err)
{
	static const int samples[] = {[GREY] = 1, [RGB] = 3, [PALETTE] = 1, [GREY_ALPHA] = 2, [RGBA] = 4};
	if (f->type < 0 || f->type > RGBA || !samples[f->type])
		return otp_fail(err, in->where, "damaged: a PNG of colour type %d", f->type);
	uint64_t row = 1 + ((uint64_t)f->w * (uint64_t)(samples[f->type] * f->depth) + 7) / 8;
	return otp_decode_holds(in, row / 1032 * f->h, err) && otp_decode_holds(in, row * f->h / 1032, err);
}

static bool look(const otp_encoded *in, otp_head *head, otp_error *err)
{
	facts f = {0};
	if (!look_around(in, &f, err) || !otp_decode_size(in, f.h, f.w, head, err) ||
	    !holds_rows(in, &f, err))
		return false;
	head->c = channels(&f);
	head->deep = f.depth == 16;
	if (f.exif)
		head->orientation = otp_exif_orientation(f.exif, f.exif_bytes);
	return true;
}

static bool failed(const otp_encoded *in, int code, otp_error *err)
{
	return code == SPNG_EMEM ? otp_fail_memory(err, in->where, 0, "decoding a PNG", 0)
				 : otp_fail(err, in->where, "damaged: %s", spng_strerror(code));
}

static bool decode_as(const otp_encoded *in, int format, void *out, size_t bytes, otp_error *err)
{
	spng_ctx *context = spng_ctx_new(0);
	/* Checksums were compared in check_chunks. */
	int code = context ? spng_set_crc_action(context, SPNG_CRC_USE, SPNG_CRC_USE) : SPNG_EMEM;
	if (!code)
		code = spng_set_png_buffer(context, in->bytes, in->count);
	if (!code)
		code = spng_decode_image(context, out, bytes, format, SPNG_DECODE_TRNS);
	spng_ctx_free(context);
	return code == 0 || failed(in, code, err);
}

/* Grey is repeated by libspng and taken once; 16 bits are rounded to 8. */
static void take(const otp_head *head, const void *rgba, uint8_t *to)
{
	size_t pixels = (size_t)head->h * (size_t)head->w;
	int c = head->c;
	for (size_t i = 0; i < pixels; i++)
		for (int k = 0; k < c; k++) {
			size_t from = 4 * i + (size_t)(c == 2 && k == 1 ? 3 : k);
			*to++ = head->deep ? (uint8_t)((((const uint16_t *)rgba)[from] + 128) / 257)
					   : ((const uint8_t *)rgba)[from];
		}
}

static bool decode(const otp_encoded *in, const otp_head *head, uint8_t *pixels, otp_error *err)
{
	size_t count = (size_t)head->h * (size_t)head->w, each = head->deep ? 8 : 4;
	if (!check_chunks(in, err))
		return false;
	if (head->c >= 3 && !head->deep)
		return decode_as(in, head->c == 3 ? SPNG_FMT_RGB8 : SPNG_FMT_RGBA8, pixels,
				 count * (size_t)head->c, err);
	void *rgba = otp_try_calloc(count, each);
	bool ok = rgba || otp_fail_memory(err, in->where, count * each, "decoding a PNG", 0);
	ok = ok && decode_as(in, head->deep ? SPNG_FMT_RGBA16 : SPNG_FMT_RGBA8, rgba, count * each, err);
	if (ok)
		take(head, rgba, pixels);
	otp_free(rgba);
	return ok;
}

const otp_codec otp_codec_png = {"PNG", is_png, look, decode};
