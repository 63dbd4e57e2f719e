#include "config/settings.h"
#include "core/base.h"

#include <math.h>
#include <string.h>

static int pick(const char *value, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(value, names[i]) == 0)
			return i;
	OTP_ASSERT(false, "setting '%s' slipped through the option table", value);
}
#define PICK_OF(value, ...)                                                                                  \
	pick(value, (const char *const[]){__VA_ARGS__},                                                      \
	     (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)))

bool otp_settings_arch(const otp_config *c, bool vectors, int h, int w, int channels, otp_arch *arch,
		       otp_error *err)
{
	memset(arch, 0, sizeof *arch);
	if (c->aim && !vectors)
		return otp_fail(err, "--aim", "is for vectors, and these are images");
	arch->vectors = vectors;
	arch->h = h;
	arch->w = w;
	arch->c = channels;
	arch->condition_noise = c->condition_noise && strcmp(c->formulation, "otm") != 0;
	arch->noise_features = c->noise_features;
	arch->patch = c->patch;
	arch->latent = c->latent;
	arch->embedding = c->embedding;
	arch->residual = c->residual;
	arch->width = c->width;
	arch->blocks = c->blocks;
	arch->filter = strcmp(c->resample, "fir") == 0 ? OTP_FILTER_FIR : OTP_FILTER_BOX;
	arch->potential_features = c->potential_features;
	arch->potential_width = c->potential_width;
	arch->potential_blocks = c->potential_blocks;
	arch->potential_quadratic = c->potential_quadratic;
	arch->quadratic_gain = (float)c->quadratic_gain;
	arch->potential_gain = (float)c->potential_gain;
	arch->sharpness = (float)c->sharpness;
	arch->potential_sharpness = (float)c->potential_sharpness;
	arch->levels =
	    otp_config_list(c->multipliers, "--multipliers", arch->multipliers, OTP_MAX_LEVELS, err);
	arch->potential_levels = otp_config_list(c->potential_multipliers, "--potential-multipliers",
						 arch->potential_multipliers, OTP_MAX_LEVELS, err);
	if (!arch->levels || !arch->potential_levels)
		return false;
	if (strcmp(c->attention, "none") != 0) {
		arch->attention_count =
		    otp_config_list(c->attention, "--attention", arch->attention, OTP_MAX_LEVELS, err);
		if (!arch->attention_count)
			return false;
	}
	return otp_arch_check(arch, err);
}

otp_objective otp_settings_objective(const otp_config *c, const otp_arch *arch)
{
	otp_objective o = {
	    .arch = *arch,
	    .tau = c->tau,
	    .noise_pairs = c->noise_pairs,
	    .refine = c->refine,
	    .cost_from_clean = strcmp(c->cost_from, "clean") == 0,
	    .g = (otp_g)PICK_OF(c->g, "linear", "softplus", "kl"),
	};
	if (strcmp(c->formulation, "uotm") == 0 && o.g == OTP_G_LINEAR)
		o.g = OTP_G_SOFTPLUS;
	return o;
}

otp_smoothing otp_settings_smoothing(const otp_config *c)
{
	return strcmp(c->smoothing, "vp") == 0 ? OTP_SMOOTHING_VP : OTP_SMOOTHING_ADDITIVE;
}

double otp_settings_sigma(const otp_config *c, int64_t step)
{
	if (strcmp(c->formulation, "otm") == 0)
		return 0;
	otp_annealing a = {
	    .shape = (otp_anneal)PICK_OF(c->anneal, "linear", "cosine", "geometric", "constant", "none"),
	    .start = c->sigma_start,
	    .end = c->sigma_end == OTP_AUTO ? c->sigma_auto : c->sigma_end,
	    .fraction = c->anneal_fraction,
	    .steps = c->steps,
	};
	return otp_annealing_at(&a, step);
}

double otp_settings_r1(const otp_config *c, int64_t step)
{
	if (c->r1_end < 0 || c->r1 <= 0)
		return c->r1;
	otp_annealing a = {
	    .shape = c->r1_end > 0 ? OTP_ANNEAL_GEOMETRIC : OTP_ANNEAL_LINEAR,
	    .start = c->r1,
	    .end = c->r1_end,
	    .fraction = c->anneal_fraction,
	    .steps = c->steps,
	};
	return otp_annealing_at(&a, step);
}

double otp_settings_rate(const otp_config *c, int64_t step)
{
	double rise = c->warmup > 0 && step < c->warmup ? (double)step / c->warmup : 1;
	double begin = c->decay_from * c->steps;
	double t = ((double)step - begin) / (c->steps - begin > 0 ? c->steps - begin : 1);
	if (t <= 0 || strcmp(c->decay, "constant") == 0)
		return rise;
	double fall = strcmp(c->decay, "cosine") == 0 ? 0.5 * (1 + cos(OTP_PI * t)) : 1 - t;
	return rise * (c->decay_to + (1 - c->decay_to) * fall);
}

int otp_settings_parts(const otp_config *c, int workers)
{
	if (c->parts)
		return c->parts;
	return workers < c->batch ? workers : c->batch;
}

const char *otp_settings_preset_for(bool vectors, int size)
{
	if (vectors)
		return "vector";
	return size <= 16    ? "quickstart"
	       : size <= 32  ? "32"
	       : size <= 64  ? "64"
	       : size <= 128 ? "128"
			     : "256";
}
