/* encode: pictures as files of the formats that outputs have. */
#ifndef OTP_ENCODE_H
#define OTP_ENCODE_H

#include "core/base.h"
#include "core/choice.h"

#define OTP_CHOICES_otp_picture_format(X)                                                                    \
	X(OTP_PICTURE_PNG, "png") X(OTP_PICTURE_JPEG, "jpeg") X(OTP_PICTURE_WEBP, "webp")
OTP_CHOICE(otp_picture_format);

/* ".png", ".jpg", ".webp" */
const char *otp_picture_ending(otp_picture_format format);
/* Which format a file of this name has by its ending; false where it is none of them. */
bool otp_picture_format_of(const char *name, otp_picture_format *format);

/* A file that appears whole. pixels: (h, w, c), c 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; JPEG has
 * none and lays it over white. quality: 1 to 100, of JPEG and WebP; WebP keeps every byte at 100. An error
 * where the format cannot hold so large a picture. */
bool otp_picture_write(const char *path, otp_picture_format format, int quality, const uint8_t *pixels, int h,
		       int w, int c, otp_error *err);

#endif
