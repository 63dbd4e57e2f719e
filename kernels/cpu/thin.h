/* thin: matrix products with a side of at most OTP_THIN_MOST entries, in plain
 * vectorised loops: the layers between points and a network's width. */
#ifndef OTP_THIN_H
#define OTP_THIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OTP_THIN_MOST = 4 };

bool otp_thin_suits(int64_t m, int64_t n, int64_t k);
size_t otp_thin_scratch_bytes(int64_t m, int64_t n, int64_t k);
/* y (m, n) = op(a) op(b), row-major. */
void otp_thin_product(float *y, const float *a, const float *b, int64_t m, int64_t n, int64_t k, bool ta,
		      bool tb, float *scratch);

#endif
