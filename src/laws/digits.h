/* digits: stroke digits 0-9 drawn by formula, any number of them, at any size. */
#ifndef OTP_DIGITS_H
#define OTP_DIGITS_H

#include "core/rng.h"

/* Draw the digit of one stream into v, size x size values in [0, 1] on a ground
 * of 0. Which digit, its bend, slant, width and shade come from the stream. */
void otp_digit_draw(otp_stream stream, int size, float *v);
/* The digit, 0 to 9, that the stream draws. */
int otp_digit_label(otp_stream stream);

#endif
