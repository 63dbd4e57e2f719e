/* grid: pictures of what the plan does to fixed inputs. */
#ifndef OTP_GRID_H
#define OTP_GRID_H

#include "core/base.h"

/* One row a source: the source (h, w, c), then its `samples` outputs. Small
 * images are enlarged by a whole factor. sources (rows, h, w, c), outputs (rows,
 * samples, h, w, c), values in [-1, 1], c 1 or 3. */
bool otp_grid_write(const char *path, const float *sources, const float *outputs, int rows, int samples,
		    int h, int w, int c, otp_error *err);

/* Images (count, h, w, c) side by side, `columns` in a row, in cells of the same size as those above. */
bool otp_grid_write_images(const char *path, const float *images, int count, int columns, int h, int w, int c,
			   otp_error *err);

/* Points: sources (rows, d) joined to their outputs (rows, samples, d), over
 * `targets` points of the target law (targets, d). Shows the first two coordinates. */
bool otp_grid_write_points(const char *path, const float *sources, const float *outputs, int rows,
			   int samples, const float *target, int targets, int d, otp_error *err);

/* Hues in radians: each a line from its exact angle on the inner ring to the
 * learned one on the outer, so that a right plan shows spokes. */
bool otp_grid_write_wheel(const char *path, const double *exact, const double *learned, int count,
			  otp_error *err);

/* Bytes of memory that writing such a picture takes beside the samples. */
size_t otp_grid_bytes(int rows, int samples, int h, int w);
size_t otp_grid_points_bytes(void);

#endif
