/* piece: a piecewise linear function near one point. Where y = f(x) is made of linear maps and of bends
 * (LeakyReLU), each sample by itself, f is one linear map, and a constant, in some neighbourhood of a sample:
 * a piece. It can be asked for its values elsewhere: the same maps, with every bend as it was at x.
 *
 * That makes a gradient of |grad f|^2 cheap. With a the values between x and y, t those of grad f without
 * constants, and G the gradient of L = sum s_i f_i by any of them, a layer's weights have
 *
 *   the gradient of  sum s_i f_i + sum gamma_i/2 |grad f_i|^2  =  wgrad(a + gamma/s t, G),
 *
 * (grad f_i is linear in all layers' weights at once, so half its square has the gradient of the value that
 * the piece gives grad f_i itself), and a + gamma/s t is what the piece gives at x + gamma/s grad f.
 * Constants have the gradient that they have in L. Four passes through f instead of six.
 */
#ifndef OTP_PIECE_H
#define OTP_PIECE_H

#include "graph/graph.h"

typedef struct otp_piece otp_piece;

/* Whether y = f(x) is such a function of samples x, (n, h, w, c). */
bool otp_is_piecewise_linear(otp_node *x, otp_node *y);

/* The pieces of x's samples from `first` on, at the points `at`, (n - first, h, w, c). The rest of x's
 * samples stay where they are. */
otp_piece *otp_piece_new(otp_node *x, otp_node *y, int first, otp_node *at);
void otp_piece_free(otp_piece *piece);
/* Of a gradient by a parameter of f, as otp_grad gives it for a sum over y: the one with values between x and
 * y as the pieces have them. */
otp_node *otp_piece_grad(const otp_piece *piece, otp_node *grad);

#endif
