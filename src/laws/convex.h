/* convex: the gradient of a random convex function. By Brenier's theorem it is the
 * optimal map, for the squared distance, of any source law with a density.
 *
 *   phi(x) = a |x|^2 / 2 + (sqrt(d) / b) log sum_k exp(b (w_k . x / sqrt(d) + t_k))
 *   T(x)   = a x + sum_k p_k(x) w_k,   p = softmax(b (w_k . x / sqrt(d) + t_k))
 *
 * a convex network of one smooth maximum over PIECES affine functions with weights from the seed: T
 * carries most points near one of the w_k, so that a map must tear the source into as many regions.
 */
#ifndef OTP_CONVEX_H
#define OTP_CONVEX_H

#include "core/rng.h"

typedef struct otp_convex otp_convex;

/* stream: where the weights come from. */
otp_convex *otp_convex_new(int d, otp_stream stream);
void otp_convex_free(otp_convex *c);

/* y = T(x), d values each. */
void otp_convex_map(const otp_convex *c, const double *x, double *y);

#endif
