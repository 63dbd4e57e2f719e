/* distance: how far points and samples of two laws lie apart. Points are rows of d
 * floats; sums are in double.
 */
#ifndef OTP_DISTANCE_H
#define OTP_DISTANCE_H

#include "core/base.h"

/* |a - b|^2 over d values. */
double otp_squared_distance(const float *a, const float *b, size_t d);

/* Mean of |a_i - b_i| over n pairs of points. */
double otp_mean_distance(const float *a, const float *b, size_t n, size_t d);

/* Mean of |x_i - mean|^2 over n points: the variance, summed over the d coordinates. */
double otp_variance(const float *points, size_t n, size_t d);

/* Sliced W2^2 (Bonneel et al. 2015): the mean over `directions` random unit vectors, drawn from `seed`, of
 * the exact W2^2 between the projections of two samples of n points. */
double otp_sliced_w2(const float *a, const float *b, size_t n, size_t d, int directions, uint64_t seed);

#endif
