/* The generator for images: a U-Net of the DDPM/NCSN++ kind (Ho et al. 2020,
 * Song et al. 2021). z enters through adaptive GroupNorm, eps as channels.
 *
 * Which answer the noise chooses is a matter of its projections on the picture
 * (for colouring: the hue is the angle of sum_p v_p eps_p), and a convolutional
 * network is slow to find products of its inputs. So it is handed some: features
 * (A (x + 1)) (B eps) per pixel, with learned mixes A and B, as channels, and
 * their sums over the picture through adaptive GroupNorm. */
#include "nn/layers.h"
#include "nn/networks.h"

#include <math.h>
#include <stdio.h>

enum { MAX_SKIPS = OTP_MAX_LEVELS * 20 };

typedef struct unet {
	otp_builder *b;
	const otp_arch *a;
	otp_node *embedding; /* (n, 1, 1, embedding); NULL without z and noise features */
	otp_node *skips[MAX_SKIPS];
	int skip_count;
} unet;

static otp_node *dense_stack(otp_builder *b, const otp_arch *a, const char *prefix, otp_node *h, int layers)
{
	for (int i = 0; i < layers; i++) {
		char name[96];
		snprintf(name, sizeof name, "%s.dense%d", prefix, i);
		h = otp_silu(otp_layer_dense(b, name, h, a->embedding, OTP_GAIN_HE));
	}
	return h;
}

/* What is left of eps at a coarser scale, interpolated. Each coarse value is the sum of four, of unit
 * variance again. The fine rest has no say in the outputs, so it cannot pass into them. */
static otp_node *coarse_noise(const otp_arch *a, otp_node *eps)
{
	for (int i = 0; i < a->noise_halvings; i++)
		eps = otp_down2(eps, OTP_FILTER_BOX, 2);
	for (int i = 0; i < a->noise_halvings; i++)
		eps = otp_up2(eps, OTP_FILTER_FIR, 4);
	return eps;
}

static otp_node *noise_products(otp_builder *b, const otp_arch *a, const otp_transport_input *in)
{
	/* x + 1 is intensity: no light, no product. */
	otp_node *picture =
	    otp_layer_mix(b, "noise.picture", otp_affine(in->clean, 1, 1), a->noise_features, 1);
	return otp_mul(picture, otp_layer_mix(b, "noise.eps", in->eps, a->noise_features, 1));
}

/* All that modulates the blocks: z, and the products summed over the picture (of unit order: / sqrt(h w)). */
static otp_node *embed(otp_builder *b, const otp_arch *a, otp_node *z, otp_node *products)
{
	otp_node *latent = a->latent ? dense_stack(b, a, "latent", otp_layer_pixel_norm(z), 4) : NULL;
	if (!products)
		return latent;
	otp_shape s = products->shape;
	otp_node *sums = otp_sum(products, otp_shape4(s.n, 1, 1, s.c));
	sums = otp_affine(sums, 1 / sqrtf((float)s.h * (float)s.w), 0);
	otp_node *noise = dense_stack(b, a, "noise", sums, 2);
	return latent ? otp_add(latent, noise) : noise;
}

static otp_node *residual_block(unet *u, const char *name, otp_node *x, int out)
{
	char part[96];
	snprintf(part, sizeof part, "%s.norm1", name);
	otp_node *h = otp_layer_norm(u->b, part, x, u->embedding, true);
	snprintf(part, sizeof part, "%s.conv1", name);
	h = otp_layer_conv(u->b, part, h, out, 3, OTP_GAIN_DEFAULT);
	snprintf(part, sizeof part, "%s.norm2", name);
	h = otp_layer_norm(u->b, part, h, u->embedding, true);
	snprintf(part, sizeof part, "%s.conv2", name);
	if (x->shape.c == out)
		return otp_layer_conv_merge(u->b, part, h, out, 3, OTP_GAIN_ZERO, x);
	h = otp_layer_conv(u->b, part, h, out, 3, OTP_GAIN_ZERO);
	snprintf(part, sizeof part, "%s.skip", name);
	return otp_layer_conv_merge(u->b, part, x, out, 1, OTP_GAIN_DEFAULT, h);
}

static bool attends(const otp_arch *a, int size)
{
	for (int i = 0; i < a->attention_count; i++)
		if (a->attention[i] == size)
			return true;
	return false;
}

/* One residual block with its attention, at a place in the network. */
static otp_node *stage(unet *u, const char *side, int level, int index, otp_node *x)
{
	char name[64];
	snprintf(name, sizeof name, "%s%d.block%d", side, level, index);
	x = residual_block(u, name, x, u->a->width * u->a->multipliers[level]);
	if (attends(u->a, x->shape.h)) {
		snprintf(name, sizeof name, "%s%d.attention%d", side, level, index);
		x = otp_layer_attention(u->b, name, x);
	}
	return x;
}

static otp_node *push(unet *u, otp_node *x)
{
	OTP_ASSERT(u->skip_count < MAX_SKIPS, "too many skip connections");
	return u->skips[u->skip_count++] = x;
}

static otp_node *descend(unet *u, otp_node *x)
{
	push(u, x);
	for (int level = 0; level < u->a->levels; level++) {
		for (int i = 0; i < u->a->blocks; i++)
			x = push(u, stage(u, "down", level, i, x));
		if (level + 1 < u->a->levels)
			x = push(u, otp_down2(x, u->a->filter, 1));
	}
	return x;
}

static otp_node *middle(unet *u, otp_node *x)
{
	x = residual_block(u, "middle.block0", x, x->shape.c);
	if (u->a->attention_count)
		x = otp_layer_attention(u->b, "middle.attention", x);
	return residual_block(u, "middle.block1", x, x->shape.c);
}

static otp_node *ascend(unet *u, otp_node *x)
{
	for (int level = u->a->levels - 1; level >= 0; level--) {
		for (int i = 0; i <= u->a->blocks; i++) {
			otp_node *skip = u->skips[--u->skip_count];
			x = stage(u, "up", level, i, otp_concat(x, skip, OTP_AXIS_C));
		}
		if (level > 0) /* gain 4: repeats (box) or interpolates (fir) instead of spreading */
			x = otp_up2(x, u->a->filter, 4);
	}
	return x;
}

otp_node *otp_unet_build(otp_builder *b, const otp_arch *a, otp_transport_input in)
{
	unet u = {.b = b, .a = a};
	/* With eps at hand x and x' tell the same; x is the one that needs no cleaning. */
	otp_node *seen = a->condition_noise ? in.clean : in.smoothed;
	if (a->condition_noise)
		in.eps = coarse_noise(a, in.eps);
	otp_node *h = a->condition_noise ? otp_concat(seen, in.eps, OTP_AXIS_C) : seen;
	otp_node *products = a->condition_noise && a->noise_features ? noise_products(b, a, &in) : NULL;
	u.embedding = embed(b, a, in.z, products);
	if (products)
		h = otp_concat(h, products, OTP_AXIS_C);
	h = otp_layer_to_patches(b, "in", h, a->width * a->multipliers[0], a->patch);
	h = ascend(&u, middle(&u, descend(&u, h)));
	h = otp_layer_norm(b, "out.norm", h, u.embedding, true);
	h = otp_layer_from_patches(b, "out", h, a->c, a->patch,
				   a->residual ? OTP_GAIN_ZERO : OTP_GAIN_DEFAULT);
	return a->residual ? otp_add(seen, h) : h;
}
