/* close: numbers that are equal but for an error. */
#ifndef OTP_COMMON_CLOSE_H
#define OTP_COMMON_CLOSE_H

void assert_close(double a, double b, double bound);

#endif
