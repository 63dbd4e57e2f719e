/* networks: the transport generator T(x', eps, z) and the potential V(y), for
 * images (U-Net, convolutional) and for vectors (residual MLPs).
 */
#ifndef OTP_NETWORKS_H
#define OTP_NETWORKS_H

#include "nn/params.h"

enum { OTP_MAX_LEVELS = 8 };

/* Everything a network's shape depends on but the batch. */
typedef struct otp_arch {
	bool vectors;
	int h, w, c;	      /* of one sample; vectors: 1, 1, d */
	bool condition_noise; /* T sees eps, beside x (images) or x' (vectors) */
	int noise_features;   /* images: products of x' and eps that T sees too; 0: none */
	int noise_halvings; /* images: how often eps is halved in size before T sees it, smoothed; 0: as it is
			     */
	int latent;	    /* dimension of z; 0: none */
	int embedding;
	bool residual; /* T = x + network where eps is seen, x' + network where not */
	int patch;     /* images: both networks work on patches of this size */
	int width, blocks;
	float sharpness; /* vectors: first layer's initial weights over the usual ones, divided out at the end
			  */
	float scale; /* vectors: what both networks take for 1, about centres that start at the data's and are
			learned from there (OTP_PARAM_INPUT_SHIFT); 0 or 1: they see values as they are */
	int levels, multipliers[OTP_MAX_LEVELS];
	int attention_count, attention[OTP_MAX_LEVELS]; /* sizes with self-attention */
	otp_filter filter;
	int potential_features; /* images: learned functions of one pixel's colour that V sees beside y; 0:
				   none */
	int potential_width, potential_blocks;
	float potential_gain;	   /* vectors: first layer's initial weights over the usual ones */
	float potential_sharpness; /* vectors: on top of it, but divided out as the generator's is */
	int potential_quadratic;   /* vectors: squares of learned directions; 0: none */
	float quadratic_gain;	   /* ... their initial weights over the usual ones */
	int potential_levels, potential_multipliers[OTP_MAX_LEVELS];
} otp_arch;

/* With a scale, parameters (1, 1, 1, c) that are added to values over the scale: minus the centre of what a
 * network is given, in both, and, in the generator, plus the centre of what it gives. */
#define OTP_PARAM_INPUT_SHIFT "standard.input"
#define OTP_PARAM_OUTPUT_SHIFT "standard.output"

/* Values of one sample. */
static inline int otp_arch_values(const otp_arch *a) { return a->h * a->w * a->c; }

static inline bool otp_arch_scaled(const otp_arch *a) { return a->scale != 0 && a->scale != 1; }

/* Whether h and w are multiples of what both networks halve; `where` names the size in the error. */
bool otp_arch_check(const otp_arch *a, const char *where, otp_error *err);

/* What T is given. x' = keep x + sigma eps. */
typedef struct otp_transport_input {
	otp_node *smoothed; /* x', (n, h, w, c) */
	otp_node *clean; /* x, the same shape; with condition_noise, images: read in place of x', which it and
			    eps make */
	otp_node *eps;	 /* the same shape; read only with condition_noise */
	otp_node *z;	 /* (n, 1, 1, latent); NULL if latent is 0 */
} otp_transport_input;

/* -> (n, h, w, c) */
otp_node *otp_transport_build(otp_builder *b, const otp_arch *a, otp_transport_input in);

/* x moved by the way between the two centres, from which a cost is measured: of squared costs the mean
 * displacement is the same whatever the plan, and the potential need not learn a slope to make up for it. x
 * itself without a scale. */
otp_node *otp_transport_carry(otp_builder *b, const otp_arch *a, otp_node *x);

/* y: (n, h, w, c) -> (n, 1, 1, 1) */
otp_node *otp_potential_build(otp_builder *b, const otp_arch *a, otp_node *y);

/* The kinds behind the two, unet.c, convnet.c, mlp.c. */
otp_node *otp_unet_build(otp_builder *b, const otp_arch *a, otp_transport_input in);
otp_node *otp_convnet_build(otp_builder *b, const otp_arch *a, otp_node *y);
otp_node *otp_mlp_transport_build(otp_builder *b, const otp_arch *a, otp_transport_input in);
otp_node *otp_mlp_potential_build(otp_builder *b, const otp_arch *a, otp_node *y);

#endif
