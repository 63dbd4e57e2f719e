/* Residual MLPs for vectors. The generator's outer skip is a full linear map,
 * starting at the identity; with noise conditioning it is of x instead of x', and
 * eps comes in through the trunk alone: no smoothing noise has to be taken out
 * again where the output should have none, nor do as many weights as eps has
 * values tremble for nothing. */
#include "nn/layers.h"
#include "nn/networks.h"

#include <stdio.h>

static otp_node *trunk(otp_builder *b, otp_node *x, int width, int blocks, float gain)
{
	otp_node *h = otp_layer_dense(b, "in", x, width, gain * OTP_GAIN_DEFAULT);
	for (int i = 0; i < blocks; i++) {
		char name[64];
		snprintf(name, sizeof name, "block%d.dense1", i);
		otp_node *r = otp_layer_dense(b, name, otp_silu(h), width, OTP_GAIN_DEFAULT);
		snprintf(name, sizeof name, "block%d.dense2", i);
		h = otp_add(h, otp_layer_dense(b, name, otp_silu(r), width, OTP_GAIN_DEFAULT));
	}
	return otp_silu(h);
}

/* The layer after the trunk. A first layer of longer weights bends faster, and its sums are as much larger:
 * divided out, so that a step of Adam changes the function no more than before. */
static otp_node *last(otp_builder *b, otp_node *h, int width, float gain, float sharpness)
{
	otp_node *y = otp_layer_dense(b, "out", h, width, gain);
	return sharpness == 1 ? y : otp_affine(y, 1 / sharpness, 0);
}

static otp_node *centre(otp_builder *b, const char *name, int c)
{
	return otp_param_constant(b, name, otp_shape4(1, 1, 1, c), 0);
}

static otp_node *standard(otp_builder *b, const otp_arch *a, otp_node *x)
{
	return otp_add(otp_affine(x, 1 / a->scale, 0), centre(b, OTP_PARAM_INPUT_SHIFT, a->c));
}

static otp_node *unit_transport(otp_builder *b, const otp_arch *a, otp_transport_input in)
{
	otp_node *seen = a->condition_noise ? otp_concat(in.smoothed, in.eps, OTP_AXIS_C) : in.smoothed;
	if (a->latent)
		seen = otp_concat(seen, in.z, OTP_AXIS_C);
	otp_node *h = trunk(b, seen, a->width, a->blocks, a->sharpness);
	otp_node *y = last(b, h, a->c, a->residual ? OTP_GAIN_ZERO : OTP_GAIN_DEFAULT, a->sharpness);
	if (!a->residual)
		return y;
	otp_node *straight = a->condition_noise ? in.clean : in.smoothed;
	if (a->latent)
		straight = otp_concat(straight, in.z, OTP_AXIS_C);
	int n = straight->shape.n, d = straight->shape.c;
	otp_node *skip = otp_param_identity(b, "skip.weight", otp_shape4(1, 1, a->c, d));
	otp_node *rows = otp_matmul(otp_reshape(straight, otp_shape4(1, 1, n, d)), skip, false, true);
	return otp_add(y, otp_reshape(rows, y->shape));
}

/* T(x) = s (N((x - a) / s) + b), so that the layers see values of about 1 about 0, whatever those of the data
 * are. Of squared costs the best plan stays the best: it moves with both laws, and grows with them. */
otp_node *otp_mlp_transport_build(otp_builder *b, const otp_arch *a, otp_transport_input in)
{
	if (!otp_arch_scaled(a))
		return unit_transport(b, a, in);
	in.smoothed = standard(b, a, in.smoothed);
	if (a->condition_noise)
		in.clean = standard(b, a, in.clean);
	return otp_affine(otp_add(unit_transport(b, a, in), centre(b, OTP_PARAM_OUTPUT_SHIFT, a->c)),
			  a->scale, 0);
}

otp_node *otp_transport_carry(otp_builder *b, const otp_arch *a, otp_node *x)
{
	if (!otp_arch_scaled(a))
		return x;
	otp_node *way =
	    otp_add(centre(b, OTP_PARAM_OUTPUT_SHIFT, a->c), centre(b, OTP_PARAM_INPUT_SHIFT, a->c));
	return otp_add(x, otp_affine(way, a->scale, 0));
}

otp_node *otp_mlp_potential_build(otp_builder *b, const otp_arch *a, otp_node *y)
{
	if (otp_arch_scaled(a))
		y = standard(b, a, y);
	float sharpness = a->potential_sharpness;
	otp_node *h = trunk(b, y, a->potential_width, a->potential_blocks, a->potential_gain * sharpness);
	otp_node *value = last(b, h, 1, OTP_GAIN_DEFAULT, sharpness);
	if (!a->potential_quadratic)
		return value;
	/* What carries one covariance to another is a quadratic, which the trunk
	 * approximates badly in many dimensions (the convex-quadratic layers of
	 * Korotin et al. 2021 serve the same end; these have either sign). */
	otp_node *along = otp_layer_dense(b, "quadratic.in", y, a->potential_quadratic,
					  a->quadratic_gain * OTP_GAIN_DEFAULT);
	return otp_add(value, otp_layer_dense(b, "quadratic.out", otp_mul(along, along), 1, OTP_GAIN_ZERO));
}
