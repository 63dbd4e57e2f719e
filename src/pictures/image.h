/* image: one picture or vector in memory; decoding, resizing, channels, PNG.
 * Floats are in [-1, 1]; bytes stand for byte / 127.5 - 1. */
#ifndef OTP_IMAGE_H
#define OTP_IMAGE_H

#include "core/base.h"

/* Exactly one of u8 and f32 is set: (h, w, c), dense. `owned` is what
 * otp_image_free releases; NULL where the pixels belong to somebody else. */
typedef struct otp_image {
	int h, w, c; /* c: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; vectors (1, 1, d) */
	const uint8_t *u8;
	const float *f32;
	void *owned;
	bool deep, turned; /* of a decoded file: had more than 8 bits a channel, was turned as EXIF says */
} otp_image;

void otp_image_free(otp_image *image);
size_t otp_image_values(const otp_image *image); /* h * w * c */

/* Pictures that are larger are refused, unless a user says otherwise (--max-pixels): 2^28, 1 GiB with alpha.
 */
#define OTP_IMAGE_MOST_PIXELS (INT64_C(1) << 28)
#define OTP_IMAGE_FORMATS "JPEG, PNG, WebP, GIF, BMP, TGA or PNM"

/* A whole picture from the bytes of a file, whose content tells its format: turned as EXIF says, 16 bits
 * rounded to 8, of an animation the first frame. What is damaged or cut short is refused. Thread-safe.
 * `where` names it in errors. */
bool otp_image_decode(const void *bytes, size_t count, const char *where, int64_t most_pixels, otp_image *out,
		      otp_error *err);
bool otp_image_read(const char *path, otp_image *out, otp_error *err);

typedef struct otp_image_facts {
	int h, w, c; /* as decoding gives them */
	bool deep;   /* stored with more than 8 bits a channel */
} otp_image_facts;
/* The same without its pixels, from the first `count` of the `total` bytes of a file. Where count < total,
 * false may mean that these do not tell. */
bool otp_image_look(const void *bytes, size_t count, size_t total, const char *where, int64_t most_pixels,
		    otp_image_facts *out, otp_error *err);
/* Does a file of this name claim to be an image that can be decoded? */
bool otp_image_name_fits(const char *name);
/* The same, or to be of a format that is not read. */
bool otp_image_name_is_picture(const char *name);
#define OTP_IMAGE_EXTENSIONS "png jpg jpeg webp bmp gif tga ppm pgm pbm pnm"

/* Each of these replaces the image's pixels by new ones. */
void otp_image_to_float(otp_image *image);
void otp_image_to_bytes(otp_image *image);
/* Channels 1, 3 or 4 from 1, 2, 3 or 4: grey is repeated, colour becomes its
 * luminance (Rec. 601), alpha is laid over white unless 4 keeps it. */
void otp_image_to_channels(otp_image *image, int channels);
void otp_image_convert_pixel(const float *in, int c_in, float *out, int c_out); /* of one pixel */
/* A new picture: rows [top, top + h) and columns [left, left + w). */
otp_image otp_image_cut(const otp_image *image, int top, int left, int h, int w);

/* byte / 127.5 - 1 for `count` bytes. */
void otp_image_floats(const uint8_t *bytes, size_t count, float *out);
/* The byte of a value: clamped, rounded half to even, NaN to 0. */
uint8_t otp_image_byte(float value);
/* A PNG in memory, NULL where it cannot be made; otp_free it. */
uint8_t *otp_image_png(const uint8_t *pixels, int h, int w, int c, size_t *bytes);
bool otp_image_write_png(const char *path, const uint8_t *pixels, int h, int w, int c, otp_error *err);

#endif
