/* luminance: Rec. 601's luma Y = 0.299 R + 0.587 G + 0.114 B of pixels as they are stored (ITU-R BT.601, the
 * grey of otp_image_to_channels), and colours put on it.
 */
#ifndef OTP_LUMINANCE_H
#define OTP_LUMINANCE_H

#include "data/image.h"

/* (h, w) bytes of a picture of 1 to 4 channels; alpha is laid over white. otp_free it. */
uint8_t *otp_luminance_of(const otp_image *in);

/* Every pixel of rgb (pixels, 3) keeps its colour differences (R - Y, G - Y, B - Y) and gets the luminance
 * `grey` (pixels). Differences that would lead out of 0..255 are shortened, all three by the same factor,
 * until they do not: the colour pales, hue and luminance stay. So the luminance of the result, rounded, is
 * `grey`. */
void otp_luminance_put(uint8_t *rgb, const uint8_t *grey, size_t pixels);

#endif
