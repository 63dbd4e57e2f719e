/* The potential for images: LeakyReLU residual blocks that halve the image, a
 * sum over space, one linear value. No normalisation: V must be a function of
 * one sample, with exact derivatives of any order. */
#include "nn/layers.h"
#include "nn/networks.h"

#include <stdio.h>

static const float SLOPE = 0.2f;
/* He et al. 2015 for LeakyReLU 0.2: sqrt(2 / (1 + 0.2^2)). */
static const float GAIN = 1.3867505f;

static otp_node *halving_block(otp_builder *b, const otp_arch *a, const char *name, otp_node *x, int out)
{
	char part[96];
	snprintf(part, sizeof part, "%s.conv1", name);
	otp_node *h = otp_layer_conv(b, part, otp_lrelu(x, SLOPE), x->shape.c, 3, GAIN);
	snprintf(part, sizeof part, "%s.conv2", name);
	h = otp_layer_conv(b, part, otp_down2(otp_lrelu(h, SLOPE), a->filter, 1), out, 3, GAIN);
	snprintf(part, sizeof part, "%s.skip", name);
	otp_node *skip = otp_layer_conv(b, part, otp_down2(x, a->filter, 1), out, 1, OTP_GAIN_DEFAULT);
	return otp_layer_merge(skip, h);
}

otp_node *otp_convnet_build(otp_builder *b, const otp_arch *a, otp_node *y)
{
	otp_node *h = otp_layer_conv(b, "in", y, a->potential_width * a->potential_multipliers[0], 3, GAIN);
	for (int level = 1; level < a->potential_levels; level++) {
		char name[64];
		snprintf(name, sizeof name, "down%d", level);
		h = halving_block(b, a, name, h, a->potential_width * a->potential_multipliers[level]);
	}
	h = otp_layer_conv(b, "last", otp_lrelu(h, SLOPE), h->shape.c, 3, GAIN);
	h = otp_sum(otp_lrelu(h, SLOPE), otp_shape4(h->shape.n, 1, 1, h->shape.c));
	return otp_layer_dense(b, "out", h, 1, OTP_GAIN_DEFAULT);
}
