/* colouring: measures of a learned colouring against the closed form.
 *
 * Grey shapes v in [0, 1], isoluminant colours v (a g + b (cos h e1 + sin h e2))
 * with g = (1,1,1)/sqrt 3, e1 = (2,-1,-1)/sqrt 6, e2 = (0,1,-1)/sqrt 2,
 * a = sqrt(3)/2, b = sqrt(6)/4. Every hue costs the same, so the optimal plan
 * keeps the shape and draws the hue uniformly; of the smoothed problem the exact
 * map's hue is the angle of the noise's projection on the output's own shape,
 *   h* = atan2(<x'.e2, v>, <x'.e1, v>)      at every sigma.
 * Images are (h, w, 3) floats in [-1, 1].
 */
#ifndef OTP_COLOURING_H
#define OTP_COLOURING_H

#include <stddef.h>

/* One picture's colour as a whole. */
typedef struct otp_hue {
	double x, y;  /* sums over pixels of colour along e1 and e2 */
	double shape; /* sum over pixels of v = rgb.g / a */
} otp_hue;

otp_hue otp_hue_of(const float *rgb, size_t pixels);
/* The noise's projection on the output's shape: its angle is h*. */
otp_hue otp_hue_exact(const float *eps, const float *y, size_t pixels);

typedef struct otp_colouring {
	double hue_agreement; /* mean cos(h - h*), 1 is right */
	double hue_resultant; /* |mean e^ih| over the samples of one picture, 0 is uniform */
	double chroma;	      /* length of the mean colour vector, as a share of b v: 1 is right */
	double shape_rmse;    /* of v against the source's shape, over pixels */
	double shape_random;  /* the same between two different sources */
} otp_colouring;

/* n triples: source, smoothing noise, output. brightness: the source's grey at v = 1.
 * Fills all but hue_resultant. */
void otp_colouring_measure(const float *x, const float *eps, const float *y, size_t n, size_t pixels,
			   double brightness, otp_colouring *out);

/* |mean e^ih| of n outputs. */
double otp_hue_resultant(const float *y, size_t n, size_t pixels);

/* The brightness that makes sources' shapes match targets': mean v of the targets over mean grey of the
 * sources, inverted. */
double otp_colouring_brightness(const float *x, size_t n_x, const float *y, size_t n_y, size_t pixels);

#endif
