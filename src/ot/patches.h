/* patches: how far a set of pictures lies from another in what small patches of every scale show. Whole
 * pictures are dominated by their coarse layout; here blur, speckle and a shift of colour count as much.
 */
#ifndef OTP_PATCHES_H
#define OTP_PATCHES_H

#include "core/base.h"

/* What is kept of the reference set: the measure to apply to others, and its own answers. */
typedef struct otp_patches otp_patches;

/* Of n pictures (n, h, w, c), c at most 4. Places and directions are drawn from `seed`. */
otp_patches *otp_patches_new(const float *reference, size_t n, int h, int w, int c, uint64_t seed);
void otp_patches_free(otp_patches *p);
/* Bytes of memory that it takes, what a distance takes for a while included. */
size_t otp_patches_bytes(size_t n, int h, int w);

/* Sliced W2^2 between patches of the Laplacian pyramids (Burt and Adelson 1983) of n other pictures and of
 * the reference, as Karras et al. 2018 use it; the mean over the levels. Each level's colours are scaled by
 * the reference's covariance there, so the unit is the reference's variance: 1 is where pictures have the
 * right mean and nothing of what varies about it. */
double otp_patches_distance(const otp_patches *p, const float *pictures);

#endif
