#include "nn/layers.h"

#include <math.h>
#include <stdio.h>

static void join(char *out, size_t bytes, const char *prefix, const char *suffix)
{
	int length = snprintf(out, bytes, "%s.%s", prefix, suffix);
	OTP_ASSERT(length > 0 && (size_t)length < bytes, "parameter name %s.%s is too long", prefix, suffix);
}

static otp_node *weight(otp_builder *b, const char *prefix, otp_shape shape, int fan_in, float gain)
{
	char name[96];
	join(name, sizeof name, prefix, "weight");
	return otp_param_uniform(b, name, shape, gain / sqrtf((float)fan_in));
}

static otp_node *bias(otp_builder *b, const char *prefix, int channels, float value)
{
	char name[96];
	join(name, sizeof name, prefix, "bias");
	return otp_param_constant(b, name, otp_shape4(1, 1, 1, channels), value);
}

otp_node *otp_layer_conv_lrelu(otp_builder *b, const char *name, otp_node *x, int out, int k, float gain,
			       float slope)
{
	otp_node *w = weight(b, name, otp_shape4(out, k, k, x->shape.c), k * k * x->shape.c, gain);
	return otp_conv2d_bias(x, w, bias(b, name, out, 0), 1, k / 2, slope);
}

otp_node *otp_layer_conv(otp_builder *b, const char *name, otp_node *x, int out, int k, float gain)
{
	return otp_layer_conv_lrelu(b, name, x, out, k, gain, 1);
}

otp_node *otp_layer_conv_merge(otp_builder *b, const char *name, otp_node *x, int out, int k, float gain,
			       otp_node *r)
{
	otp_node *w = weight(b, name, otp_shape4(out, k, k, x->shape.c), k * k * x->shape.c, gain);
	return otp_conv2d_merge(x, w, bias(b, name, out, 0), r, 1, k / 2, 0.70710678f);
}

otp_node *otp_layer_mix(otp_builder *b, const char *name, otp_node *x, int out, float gain)
{
	return otp_conv2d(x, weight(b, name, otp_shape4(out, 1, 1, x->shape.c), x->shape.c, gain), 1, 0);
}

/* Three patches wide, in steps of one patch: what a 3 x 3 convolution after a
 * space-to-depth reordering is, without the reordering. */
otp_node *otp_layer_to_patches(otp_builder *b, const char *name, otp_node *x, int out, int patch)
{
	int k = 3 * patch;
	otp_node *w =
	    weight(b, name, otp_shape4(out, k, k, x->shape.c), k * k * x->shape.c, OTP_GAIN_DEFAULT);
	return otp_conv2d_bias(x, w, bias(b, name, out, 0), patch, patch, 1);
}

/* The adjoint of the above, as a layer of its own: a transposed convolution. */
otp_node *otp_layer_from_patches(otp_builder *b, const char *name, otp_node *x, int out, int patch,
				 float gain)
{
	if (patch == 1)
		return otp_layer_conv(b, name, x, out, 3, gain);
	int k = 3 * patch;
	otp_node *w = weight(b, name, otp_shape4(x->shape.c, k, k, out), 9 * x->shape.c, gain);
	otp_node *y = otp_conv2d_dgrad(x, w, patch, patch, x->shape.h * patch, x->shape.w * patch);
	return otp_add(y, bias(b, name, out, 0));
}

/* x W^T for rows x: (n, 1, 1, c) seen as an (n, c) matrix. */
static otp_node *rows_times(otp_node *x, otp_node *w)
{
	otp_node *rows = otp_reshape(x, otp_shape4(1, 1, x->shape.n, x->shape.c));
	return otp_matmul(rows, w, false, true);
}

otp_node *otp_layer_dense(otp_builder *b, const char *name, otp_node *x, int out, float gain)
{
	OTP_ASSERT(x->shape.h == 1 && x->shape.w == 1, "%s: dense over an image", name);
	otp_node *w = weight(b, name, otp_shape4(1, 1, out, x->shape.c), x->shape.c, gain);
	otp_node *y = otp_add(rows_times(x, w), bias(b, name, out, 0));
	return otp_reshape(y, otp_shape4(x->shape.n, 1, 1, out));
}

static int group_count(int channels)
{
	int groups = channels / 4 < 32 ? channels / 4 : 32;
	while (groups > 1 && channels % groups)
		groups--;
	return groups < 1 ? 1 : groups;
}

/* What every adaptive norm adds to its scales and shifts, beside one another, by one product; made of an
 * embedding (n, 1, 1, e) at the first norm: (n, 1, 1, columns). */
static otp_node *style_of(otp_builder *b, otp_node *embedding)
{
	if (b->style && b->style_of == embedding)
		return b->style;
	int columns = (int)b->params->group_elements[OTP_PARAM_STYLE_CONSTANT], e = embedding->shape.c;
	otp_node *weight = otp_param_group_rows(b, OTP_PARAM_STYLE_WEIGHT, e);
	otp_node *bias = otp_param_group_rows(b, OTP_PARAM_STYLE_BIAS, columns);
	otp_node *constant = otp_param_group_rows(b, OTP_PARAM_STYLE_CONSTANT, columns);
	otp_node *rows = otp_add(rows_times(embedding, weight), otp_add(bias, constant));
	b->style_of = embedding;
	return b->style = otp_reshape(rows, otp_shape4(embedding->shape.n, 1, 1, columns));
}

/* This norm's scales and shifts, (n, 1, 1, 2c): the learned constants and the embedding's dense image. */
static otp_node *adapt(otp_builder *b, const char *name, otp_node *embedding, otp_node *scale,
		       otp_node *shift)
{
	int c = scale->shape.c;
	char weight_name[96], bias_name[96];
	join(weight_name, sizeof weight_name, name, "weight");
	join(bias_name, sizeof bias_name, name, "bias");
	otp_shape s = otp_shape4(1, 1, 2 * c, embedding->shape.c);
	otp_node *w =
	    otp_param_grouped(b, weight_name, s, 0.5f / sqrtf((float)s.c), 0, OTP_PARAM_STYLE_WEIGHT);
	otp_node *bias =
	    otp_param_grouped(b, bias_name, otp_shape4(1, 1, 1, 2 * c), 0, 0, OTP_PARAM_STYLE_BIAS);
	otp_node *rows =
	    otp_add(rows_times(embedding, w), otp_add(bias, otp_concat(scale, shift, OTP_AXIS_C)));
	return otp_reshape(rows, otp_shape4(embedding->shape.n, 1, 1, 2 * c));
}

otp_node *otp_layer_norm(otp_builder *b, const char *name, otp_node *x, otp_node *embedding, bool silu)
{
	int c = x->shape.c, begin = 0;
	otp_param_group group = embedding ? OTP_PARAM_STYLE_CONSTANT : OTP_PARAM_ALONE;
	otp_shape each = otp_shape4(1, 1, 1, c);
	otp_node *scale = NULL, *shift = NULL, *style = NULL;
	char scale_name[96], shift_name[96];
	join(scale_name, sizeof scale_name, name, "scale");
	join(shift_name, sizeof shift_name, name, "shift");
	if (embedding && b->params->arranged) {
		style = style_of(b, embedding);
		begin =
		    (int)(otp_params_find(b->params, scale_name)->offset - b->params->group_offset[group]);
	} else {
		scale = otp_param_grouped(b, scale_name, each, 0, 1, group);
		shift = otp_param_grouped(b, shift_name, each, 0, 0, group);
		style = embedding ? adapt(b, name, embedding, scale, shift) : NULL;
	}
	if (style) {
		scale = otp_slice(style, OTP_AXIS_C, begin, c);
		shift = otp_slice(style, OTP_AXIS_C, begin + c, c);
	}
	return otp_norm(x, scale, shift, group_count(c), 1e-6f, silu);
}

otp_node *otp_layer_attention(otp_builder *b, const char *name, otp_node *x)
{
	int n = x->shape.n, c = x->shape.c;
	char part[96];
	join(part, sizeof part, name, "norm");
	otp_node *h = otp_layer_norm(b, part, x, NULL, false);
	join(part, sizeof part, name, "qkv");
	h = otp_layer_conv(b, part, h, 3 * c, 1, OTP_GAIN_DEFAULT);
	otp_node *qkv = otp_reshape(h, otp_shape4(n, 1, x->shape.h * x->shape.w, 3 * c));
	otp_node *mixed = otp_attention(qkv, 1 / sqrtf((float)c));
	join(part, sizeof part, name, "out");
	return otp_layer_conv_merge(b, part, otp_reshape(mixed, x->shape), c, 1, OTP_GAIN_ZERO, x);
}

otp_node *otp_layer_pixel_norm(otp_node *z)
{
	otp_shape one = z->shape;
	one.c = 1;
	otp_node *mean_square = otp_affine(otp_sum(otp_mul(z, z), one), 1.0f / (float)z->shape.c, 1e-8f);
	return otp_mul(z, otp_rsqrt(mean_square));
}

otp_node *otp_layer_total(otp_node *x, float factor)
{
	return otp_affine(otp_sum(x, otp_shape4(1, 1, 1, 1)), factor, 0);
}

otp_node *otp_layer_difference(otp_node *a, otp_node *b) { return otp_add(a, otp_affine(b, -1, 0)); }
