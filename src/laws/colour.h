/* colour: laws that give a grey shape v in [0, 1] a hue. Both are linear in v:
 * a pixel becomes v times one factor a channel. */
#ifndef OTP_COLOUR_H
#define OTP_COLOUR_H

typedef enum otp_colour_law { OTP_COLOUR_NONE, OTP_COLOUR_HSV, OTP_COLOUR_ISOLUMINANT } otp_colour_law;

/* Isoluminant: v (a g + b (cos h e1 + sin h e2)) in the orthonormal frame
 * g = (1,1,1)/sqrt 3, e1 = (2,-1,-1)/sqrt 6, e2 = (0,1,-1)/sqrt 2. These are the
 * largest colours that fit the cube; a is what makes the mean of R, G, B v/2. */
#define OTP_ISOLUMINANT_A 0.86602540378443865 /* sqrt(3)/2 */
#define OTP_ISOLUMINANT_B 0.61237243569579452 /* sqrt(6)/4 */

/* The factors of R, G, B at a hue in [0, 2 pi), each in [0, 1]. */
void otp_colour_factors(otp_colour_law law, double hue, float factor[3]);

#endif
