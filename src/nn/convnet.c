/* The potential for images: LeakyReLU residual blocks that halve the image, a
 * sum over space, one linear value. No normalisation: V must be a function of
 * one sample, with exact derivatives of any order. */
#include "nn/layers.h"
#include "nn/networks.h"

#include <stdio.h>

static const float SLOPE = 0.2f;

/* Two convolutions; `halve` takes the mean (or FIR) of 2 x 2 after the second. */
static otp_node *block(otp_builder *b, const otp_arch *a, const char *name, otp_node *x, int out, bool halve)
{
	char part[96];
	snprintf(part, sizeof part, "%s.conv1", name);
	otp_node *h = otp_layer_conv_lrelu(b, part, otp_lrelu(x, SLOPE), out, 3, OTP_GAIN_DEFAULT, SLOPE);
	snprintf(part, sizeof part, "%s.conv2", name);
	h = otp_layer_conv(b, part, h, out, 3, OTP_GAIN_DEFAULT);
	if (halve) {
		h = otp_down2(h, a->filter, 1);
		x = otp_down2(x, a->filter, 1);
	}
	snprintf(part, sizeof part, "%s.skip", name);
	return otp_layer_conv_merge(b, part, x, out, 1, OTP_GAIN_DEFAULT, h);
}

otp_node *otp_convnet_build(otp_builder *b, const otp_arch *a, otp_node *y)
{
	/* Colours as such, before they are mixed over space: a bent 1 x 1 layer beside y. */
	otp_node *h = y;
	if (a->potential_features)
		h = otp_concat(
		    y,
		    otp_layer_conv_lrelu(b, "colour", y, a->potential_features, 1, OTP_GAIN_DEFAULT, SLOPE),
		    OTP_AXIS_C);
	h = otp_layer_to_patches(b, "in", h, a->potential_width * a->potential_multipliers[0], a->patch);
	for (int level = 1; level < a->potential_levels; level++) {
		char name[64];
		snprintf(name, sizeof name, "down%d", level);
		h = block(b, a, name, h, a->potential_width * a->potential_multipliers[level], true);
	}
	h = otp_lrelu(block(b, a, "last", h, h->shape.c, false), SLOPE);
	h = otp_sum(h, otp_shape4(h->shape.n, 1, 1, h->shape.c));
	return otp_layer_dense(b, "out", h, 1, OTP_GAIN_DEFAULT);
}
