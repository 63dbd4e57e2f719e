/* decode: the seam between a picture's bytes and the formats. A format tells from
 * a file's first bytes whether it is its own, reads sizes from the head, and fills
 * pixels; what is the same for all (limits, memory, orientation) is decode.c's. */
#ifndef OTP_DECODE_H
#define OTP_DECODE_H

#include "core/base.h"

typedef struct otp_encoded {
	const uint8_t *bytes;
	size_t count, total; /* bytes at hand, and of the whole file; fewer at hand: its head alone */
	const char *where;   /* the file's name, for errors */
} otp_encoded;

/* A picture as stored, before it is turned. */
typedef struct otp_head {
	int h, w, c;	 /* c: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha */
	bool deep;	 /* more than 8 bits a channel */
	int orientation; /* of EXIF, 1 to 8; 1: as it is */
} otp_head;

/* All functions are thread-safe and refuse what is damaged, with a line that says how. */
typedef struct otp_codec {
	const char *name;
	bool (*is)(const uint8_t *bytes, size_t count);
	/* Also whether the file can hold so large a picture; not whether it does. Of a head alone, false
	 * where more is needed to tell. */
	bool (*look)(const otp_encoded *in, otp_head *head, otp_error *err);
	/* h * w * c bytes, of a whole file that was looked at. */
	bool (*decode)(const otp_encoded *in, const otp_head *head, uint8_t *pixels, otp_error *err);
} otp_codec;

extern const otp_codec otp_codec_jpeg, otp_codec_png, otp_codec_webp, otp_codec_gif, otp_codec_bmp,
    otp_codec_pnm, otp_codec_tga;

/* Errors that several formats have. */
bool otp_decode_cut(const otp_encoded *in, otp_error *err); /* false, as otp_fail */
#ifdef __clang_analyzer__
#define otp_decode_cut(...) (otp_decode_cut(__VA_ARGS__), false)
#endif
/* Whether `needed` bytes can lie in the file. */
bool otp_decode_holds(const otp_encoded *in, uint64_t needed, otp_error *err);
/* Sizes from 1 x 1 on that an int holds; only then are h and w set. */
bool otp_decode_size(const otp_encoded *in, int64_t h, int64_t w, otp_head *head, otp_error *err);

/* The orientation that an EXIF block (TIFF, with or without "Exif\0\0" before it) asks for; 1 where it is
 * damaged or says nothing. */
int otp_exif_orientation(const uint8_t *block, size_t count);
/* Pixels (h, w, c) of `from`, turned into `to`: (w, h, c) for orientations from 5 on. */
void otp_orientation_apply(const otp_head *head, const uint8_t *from, uint8_t *to);

static inline uint32_t otp_le16(const uint8_t *b) { return (uint32_t)b[0] | (uint32_t)b[1] << 8; }
static inline uint32_t otp_le32(const uint8_t *b) { return otp_le16(b) | otp_le16(b + 2) << 16; }
static inline uint32_t otp_be32(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

#endif
