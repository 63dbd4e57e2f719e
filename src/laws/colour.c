/* colour: isoluminant and HSV factors of a hue.
 *
 * Isoluminant: v (1 + cos(h - h_c)) / 2 with h_c = 0, 2 pi/3, 4 pi/3. R + G + B
 * is 3v/2 at every hue, so against a grey source every hue costs the same and
 * the optimal plan keeps the shape and draws the hue.
 * HSV: saturation 1, value v. R + G + B depends on the hue, and so does the cost.
 */
#include "laws/colour.h"

#include "core/base.h"

#include <math.h>

void otp_colour_factors(otp_colour_law law, double hue, float factor[3])
{
	for (int c = 0; c < 3; c++) {
		double away = hue - c * 2 * OTP_PI / 3;
		switch (law) {
		case OTP_COLOUR_NONE:
			factor[c] = 1;
			break;
		case OTP_COLOUR_ISOLUMINANT:
			factor[c] = (float)((1 + cos(away)) / 2);
			break;
		case OTP_COLOUR_HSV: {
			/* Full within 60 degrees of the channel's hue, then a ramp of 60 degrees. */
			double turn = fabs(remainder(away, 2 * OTP_PI)) / (OTP_PI / 3);
			factor[c] = (float)fmin(1, fmax(0, 2 - turn));
			break;
		}
		default:
			OTP_ASSERT(false, "colour law %d", (int)law);
		}
	}
}
