/* The generator for images: a U-Net of the DDPM/NCSN++ kind (Ho et al. 2020,
 * Song et al. 2021). z enters through adaptive GroupNorm, eps as channels. */
#include "nn/layers.h"
#include "nn/networks.h"

#include <stdio.h>

enum { MAX_SKIPS = OTP_MAX_LEVELS * 20 };

typedef struct unet {
	otp_builder *b;
	const otp_arch *a;
	otp_node *embedding; /* NULL without z */
	otp_node *skips[MAX_SKIPS];
	int skip_count;
} unet;

static otp_node *embed(otp_builder *b, const otp_arch *a, otp_node *z)
{
	otp_node *h = otp_layer_pixel_norm(z);
	for (int i = 0; i < 4; i++) {
		char name[96];
		snprintf(name, sizeof name, "latent.dense%d", i);
		h = otp_silu(otp_layer_dense(b, name, h, a->embedding, OTP_GAIN_DEFAULT));
	}
	return h;
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
	h = otp_layer_conv(u->b, part, h, out, 3, OTP_GAIN_ZERO);
	if (x->shape.c != out) {
		snprintf(part, sizeof part, "%s.skip", name);
		x = otp_layer_conv(u->b, part, x, out, 1, OTP_GAIN_DEFAULT);
	}
	return otp_layer_merge(x, h);
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

otp_node *otp_unet_build(otp_builder *b, const otp_arch *a, otp_node *x, otp_node *eps, otp_node *z)
{
	unet u = {.b = b, .a = a};
	if (a->latent)
		u.embedding = embed(b, a, z);
	otp_node *h = a->condition_noise ? otp_concat(x, eps, OTP_AXIS_C) : x;
	h = otp_layer_conv(b, "in", h, a->width * a->multipliers[0], 3, OTP_GAIN_DEFAULT);
	h = ascend(&u, middle(&u, descend(&u, h)));
	h = otp_layer_norm(b, "out.norm", h, u.embedding, true);
	h = otp_layer_conv(b, "out", h, a->c, 3, a->residual ? OTP_GAIN_ZERO : OTP_GAIN_DEFAULT);
	return a->residual ? otp_add(x, h) : h;
}
