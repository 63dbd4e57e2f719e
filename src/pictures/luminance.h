/* luminance: Rec. 601's luma Y = 0.299 R + 0.587 G + 0.114 B of pixels as they are stored (ITU-R BT.601, the
 * grey of otp_image_to_channels), and colours put on it.
 */
#ifndef OTP_LUMINANCE_H
#define OTP_LUMINANCE_H

#include "pictures/image.h"

/* Every pixel of x (pixels, 3), values in [-1, 1], as its luminance in all three of out. A picture whose
 * values are all those of bytes gets those of bytes, as one that was read from a file. Grey ones stay. */
void otp_luminance_spread(const float *x, size_t pixels, float *out);

/* (h, w) bytes of the colours of a picture of 1 to 4 channels, whatever its alpha. otp_free it. */
uint8_t *otp_luminance_of(const otp_image *in);

/* Every pixel of rgb (pixels, 3) keeps its colour differences (R - Y, G - Y, B - Y) and gets the luminance
 * `grey` (pixels). Differences that would lead out of 0..255 are shortened, all three by the same factor,
 * until they do not: the colour pales, hue and luminance stay. So the luminance of the result, rounded, is
 * `grey`. */
void otp_luminance_put(uint8_t *rgb, const uint8_t *grey, size_t pixels);

#endif
