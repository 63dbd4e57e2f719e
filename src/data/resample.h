/* resample: a picture of another size, in other channels, or both, row by row: beside the result it takes
 * memory for a few rows. Of a picture that keeps its size every value is kept. */
#ifndef OTP_RESAMPLE_H
#define OTP_RESAMPLE_H

#include "data/image.h"

/* A picture is resized to h x w; the window of rows x columns pixels at (top, left) of that comes out. */
typedef struct otp_frame {
	double h, w, top, left;
	int rows, columns;
} otp_frame;

/* A new picture of `channels` (those of `in`, or as otp_image_to_channels), of bytes or of floats. */
otp_image otp_image_resample(const otp_image *in, int channels, const otp_frame *frame, bool bytes);
/* All of it, h x w. */
otp_image otp_image_resize(const otp_image *in, int channels, int h, int w, bool bytes);

#endif
