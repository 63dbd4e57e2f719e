#include "ot/colouring.h"

#include <math.h>

static const double G[3] = {0.57735026918962576, 0.57735026918962576, 0.57735026918962576};
static const double E1[3] = {0.81649658092772603, -0.40824829046386302, -0.40824829046386302};
static const double E2[3] = {0, 0.70710678118654752, -0.70710678118654752};
static const double A = 0.86602540378443865; /* sqrt(3)/2 */
static const double B = 0.61237243569579452; /* sqrt(6)/4 */

static double along(const float *pixel, const double axis[3])
{
	return (double)pixel[0] * axis[0] + (double)pixel[1] * axis[1] + (double)pixel[2] * axis[2];
}

/* v of one pixel: colours stand for (p + 1)/2, so g's part carries an offset and e1's, e2's do not. */
static double shape_of(const float *pixel) { return 0.5 * (along(pixel, G) + 3 * G[0]) / A; }

static double grey_of(const float *pixel) { return ((double)(pixel[0] + pixel[1] + pixel[2]) / 3 + 1) / 2; }

otp_hue otp_hue_of(const float *rgb, size_t pixels)
{
	otp_hue hue = {0};
	for (size_t p = 0; p < pixels; p++, rgb += 3) {
		hue.x += 0.5 * along(rgb, E1);
		hue.y += 0.5 * along(rgb, E2);
		hue.shape += shape_of(rgb);
	}
	return hue;
}

static double cosine_between(double ax, double ay, double bx, double by)
{
	double lengths = sqrt((ax * ax + ay * ay) * (bx * bx + by * by));
	return lengths > 0 ? (ax * bx + ay * by) / lengths : 0;
}

otp_hue otp_hue_exact(const float *eps, const float *y, size_t pixels)
{
	otp_hue hue = {0};
	for (size_t p = 0; p < pixels; p++) {
		double v = shape_of(y + 3 * p);
		hue.x += v * along(eps + 3 * p, E1);
		hue.y += v * along(eps + 3 * p, E2);
	}
	return hue;
}

void otp_colouring_measure(const float *x, const float *eps, const float *y, size_t n, size_t pixels,
			   double brightness, otp_colouring *out)
{
	double agreement = 0, chroma = 0, error = 0, random_error = 0;
	for (size_t i = 0; i < n; i++) {
		const float *xi = x + 3 * pixels * i, *yi = y + 3 * pixels * i;
		const float *other = x + 3 * pixels * ((i + 1) % n);
		otp_hue learned = otp_hue_of(yi, pixels),
			exact = otp_hue_exact(eps + 3 * pixels * i, yi, pixels);
		double source_shape = 0;
		for (size_t p = 0; p < pixels; p++) {
			double v = grey_of(xi + 3 * p) / brightness;
			double d = shape_of(yi + 3 * p) - v, r = grey_of(other + 3 * p) / brightness - v;
			source_shape += v;
			error += d * d;
			random_error += r * r;
		}
		agreement += cosine_between(learned.x, learned.y, exact.x, exact.y);
		chroma += source_shape > 0 ? hypot(learned.x, learned.y) / (B * source_shape) : 0;
	}
	out->hue_agreement = agreement / (double)n;
	out->chroma = chroma / (double)n;
	out->shape_rmse = sqrt(error / (double)(n * pixels));
	out->shape_random = sqrt(random_error / (double)(n * pixels));
}

double otp_hue_resultant(const float *y, size_t n, size_t pixels)
{
	double cx = 0, cy = 0;
	for (size_t i = 0; i < n; i++) {
		otp_hue hue = otp_hue_of(y + 3 * pixels * i, pixels);
		double length = hypot(hue.x, hue.y);
		if (length > 0) {
			cx += hue.x / length;
			cy += hue.y / length;
		}
	}
	return hypot(cx, cy) / (double)n;
}

double otp_colouring_brightness(const float *x, size_t n_x, const float *y, size_t n_y, size_t pixels)
{
	double grey = 0, shape = 0;
	for (size_t p = 0; p < n_x * pixels; p++)
		grey += grey_of(x + 3 * p);
	for (size_t p = 0; p < n_y * pixels; p++)
		shape += shape_of(y + 3 * p);
	grey /= (double)(n_x * pixels);
	shape /= (double)(n_y * pixels);
	return shape > 0 ? grey / shape : 1;
}
