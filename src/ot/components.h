/* components: directions along which a sample's coordinates are as independent
 * as a linear map can make them (FastICA with symmetric decorrelation and
 * G(u) = log cosh u; Hyvarinen 1999). A law that is a product along unknown axes,
 * a rotated cube say, shows its axes; of any other law come the directions in
 * which it is least normal.
 */
#ifndef OTP_COMPONENTS_H
#define OTP_COMPONENTS_H

#include "core/rng.h"

/* Directions (k, d) of length 1, k <= most, row by row, of n points (n, d): <direction, y> is a component
 * of y. Only directions of a variance above 1e-6 of the largest count. The start is drawn from `stream`.
 * Returns k; 0 where all points are one. */
int otp_components(const float *points, int n, int d, int most, otp_stream stream, double *directions);

#endif
