#include "pictures/luminance.h"
#include "scalar.h"

#include <math.h>
#include <stdlib.h>

static bool is_of_bytes(const float *x, size_t values)
{
	for (size_t i = 0; i < values; i++)
		if (x[i] != otp_byte_value(otp_image_byte(x[i])))
			return false;
	return true;
}

void otp_luminance_spread(const float *x, size_t pixels, float *out)
{
	bool bytes = is_of_bytes(x, pixels * 3);
	for (size_t i = 0; i < pixels; i++, x += 3, out += 3) {
		float grey = x[0];
		if (x[1] != x[0] || x[2] != x[0]) /* else without the sum's rounding */
			otp_image_convert_pixel(x, 3, &grey, 1);
		out[0] = out[1] = out[2] = bytes ? otp_byte_value(otp_image_byte(grey)) : grey;
	}
}

uint8_t *otp_luminance_of(const otp_image *in)
{
	size_t pixels = otp_mul_size((size_t)in->h, (size_t)in->w), c = (size_t)in->c;
	uint8_t *grey = otp_calloc(pixels, 1);
	OTP_ASSERT(c >= 1 && c <= 4, "luminance of %zu channels", c);
	for (size_t i = 0; i < pixels; i++) {
		float values[4], out;
		for (size_t k = 0; k < c; k++)
			values[k] = in->u8 ? (float)in->u8[i * c + k] / 127.5f - 1 : in->f32[i * c + k];
		otp_image_convert_pixel(values, in->c == 4 ? 3 : in->c == 2 ? 1 : in->c, &out, 1);
		grey[i] = otp_image_byte(out);
	}
	return grey;
}

/* By how much of `difference` y can be left without leaving 0..255. */
static double share(double y, double difference)
{
	double room = difference > 0 ? 255 - y : y;
	return fabs(difference) > room ? room / fabs(difference) : 1;
}

void otp_luminance_put(uint8_t *rgb, const uint8_t *grey, size_t pixels)
{
	for (size_t i = 0; i < pixels; i++, rgb += 3) {
		double own = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2], keep = 1, y = grey[i];
		for (int k = 0; k < 3; k++)
			keep = fmin(keep, share(y, rgb[k] - own));
		for (int k = 0; k < 3; k++)
			rgb[k] = (uint8_t)rint(y + keep * (rgb[k] - own));
		/* Where all three were rounded one way by a half, blue, which weighs least, takes its half
		 * back. */
		int off = 299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] - 1000 * grey[i];
		if (abs(off) >= 500)
			rgb[2] = (uint8_t)(rgb[2] - (off > 0 ? 1 : -1));
	}
}
