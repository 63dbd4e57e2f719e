/* resample: a picture of another size, in other channels, or both, row by row: beside the result it takes
 * memory for a few rows. Filters are separable, and as wide as the reduction is strong, so nothing aliases.
 * Of a picture that keeps its size every value is kept. */
#ifndef OTP_RESAMPLE_H
#define OTP_RESAMPLE_H

#include "core/choice.h"
#include "pictures/image.h"

/* Pillow's BILINEAR, BOX, BICUBIC and LANCZOS, to within 1 of 255 (scripts/check_resize). Values that the
 * last two carry beyond black or white are cut off after each axis. */
#define OTP_CHOICES_otp_resize(X)                                                                            \
	X(OTP_RESIZE_BILINEAR, "bilinear")                                                                   \
	X(OTP_RESIZE_AREA, "area")                                                                           \
	X(OTP_RESIZE_BICUBIC, "bicubic")                                                                     \
	X(OTP_RESIZE_LANCZOS, "lanczos")
OTP_CHOICE(otp_resize);

/* A picture is resized to h x w; the window of rows x columns pixels at (top, left) of that comes out. */
typedef struct otp_frame {
	double h, w, top, left;
	int rows, columns;
	otp_resize filter;
} otp_frame;

/* A new picture of `channels` (those of `in`, or as otp_image_to_channels), of bytes or of floats. Where it
 * has alpha (2 or 4 channels), colours count by it. */
otp_image otp_image_resample(const otp_image *in, int channels, const otp_frame *frame, bool bytes);
/* All of it, h x w. */
otp_image otp_image_resize(const otp_image *in, int channels, int h, int w, otp_resize filter, bool bytes);

#endif
