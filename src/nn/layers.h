/* layers: what networks are written in, as compositions of ops. `name` is the
 * prefix of the layer's parameters. */
#ifndef OTP_LAYERS_H
#define OTP_LAYERS_H

#include "nn/params.h"

/* Standard deviation of a layer's initial weights is gain / sqrt(fan in).
 * Default: uniform in +-1/sqrt(fan in), as PyTorch's layers start. */
#define OTP_GAIN_DEFAULT 0.57735027f
#define OTP_GAIN_HE 1.41421356f
#define OTP_GAIN_ZERO 0.0f

/* Same-size convolution with bias, kernel k x k (odd), stride 1. x: (n, h, w, c) -> (n, h, w, out) */
otp_node *otp_layer_conv(otp_builder *b, const char *name, otp_node *x, int out, int k, float gain);
/* The same, then LeakyReLU. */
otp_node *otp_layer_conv_lrelu(otp_builder *b, const char *name, otp_node *x, int out, int k, float gain,
			       float slope);
/* (convolution + r) / sqrt(2): keeps the variance of independent summands. r: (n, h, w, out) */
otp_node *otp_layer_conv_merge(otp_builder *b, const char *name, otp_node *x, int out, int k, float gain,
			       otp_node *r);
/* 1 x 1 convolution without bias. */
otp_node *otp_layer_mix(otp_builder *b, const char *name, otp_node *x, int out, float gain);
/* A 3 x 3 convolution between patches of `patch` x `patch` pixels: into them
 * (n, h, w, c) -> (n, h/patch, w/patch, out), and back out of them. patch 1 is
 * the plain convolution. */
otp_node *otp_layer_to_patches(otp_builder *b, const char *name, otp_node *x, int out, int patch);
otp_node *otp_layer_from_patches(otp_builder *b, const char *name, otp_node *x, int out, int patch,
				 float gain);
/* Dense with bias. x: (n, 1, 1, c) -> (n, 1, 1, out) */
otp_node *otp_layer_dense(otp_builder *b, const char *name, otp_node *x, int out, float gain);
/* GroupNorm of min(c/4, 32) groups, optional SiLU. With an embedding
 * (n, 1, 1, e) its dense image is added to the learned scale and shift. */
otp_node *otp_layer_norm(otp_builder *b, const char *name, otp_node *x, otp_node *embedding, bool silu);
/* Single-head self-attention over all pixels, residual. */
otp_node *otp_layer_attention(otp_builder *b, const char *name, otp_node *x);
/* z / sqrt(mean z^2 + 1e-8) along channels (Karras et al. 2018). */
otp_node *otp_layer_pixel_norm(otp_node *z);
/* factor * the sum of all elements, (1, 1, 1, 1). */
otp_node *otp_layer_total(otp_node *x, float factor);
/* a - b */
otp_node *otp_layer_difference(otp_node *a, otp_node *b);

#endif
