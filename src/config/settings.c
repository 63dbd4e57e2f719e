#include "config/settings.h"
#include "core/base.h"

#include <math.h>
#include <string.h>

enum { AIMED_SHARPNESS = 10, AIMED_POTENTIAL_SHARPNESS = 20 };

/* What --start implies where nothing else is said: units aimed at the data may bend as fast as the exact map
 * does at the edges of the data. */
static double sharpness(const otp_config *c, double said, double aimed)
{
	return said != OTP_AUTO ? said : c->start == OTP_START_AIMED ? aimed : 1;
}

bool otp_settings_arch(const otp_config *c, bool vectors, int h, int w, int channels, otp_arch *arch,
		       otp_error *err)
{
	memset(arch, 0, sizeof *arch);
	if (c->start == OTP_START_AIMED && !vectors)
		return otp_fail(err, "--start", "aimed is for vectors, but the data sets hold images");
	arch->vectors = vectors;
	arch->h = h;
	arch->w = w;
	arch->c = channels;
	arch->condition_noise = c->condition_noise && c->formulation != OTP_FORMULATION_OTM;
	arch->noise_features = c->noise_features;
	for (int scale = c->noise_scale; scale > 1 && !vectors; scale /= 2)
		arch->noise_halvings++;
	arch->patch = c->patch;
	arch->latent = c->latent;
	arch->embedding = c->embedding;
	arch->residual = c->residual;
	arch->width = c->width;
	arch->blocks = c->blocks;
	arch->filter = c->resample;
	arch->potential_features = c->potential_features;
	arch->potential_width = c->potential_width;
	arch->potential_blocks = c->potential_blocks;
	arch->potential_quadratic = c->potential_quadratic;
	arch->quadratic_gain = (float)c->quadratic_gain;
	arch->potential_gain = (float)c->potential_gain;
	arch->scale = vectors ? (float)c->scale : 1;
	arch->sharpness = (float)sharpness(c, c->sharpness, AIMED_SHARPNESS);
	arch->potential_sharpness = (float)sharpness(c, c->potential_sharpness, AIMED_POTENTIAL_SHARPNESS);
	arch->levels =
	    otp_config_list(c->multipliers, "--multipliers", arch->multipliers, OTP_MAX_LEVELS, err);
	arch->potential_levels = otp_config_list(c->potential_multipliers, "--potential-multipliers",
						 arch->potential_multipliers, OTP_MAX_LEVELS, err);
	if (!arch->levels || !arch->potential_levels)
		return false;
	arch->attention_count = otp_config_attention(c, arch->attention, OTP_MAX_LEVELS, err);
	return arch->attention_count >= 0 && otp_arch_check(arch, c->crop.h ? "--crop" : "--image-size", err);
}

otp_objective otp_settings_objective(const otp_config *c, const otp_arch *arch)
{
	static const otp_g g_of[] = {[OTP_FORMULATION_OTP] = OTP_G_LINEAR,
				     [OTP_FORMULATION_OTM] = OTP_G_LINEAR,
				     [OTP_FORMULATION_UOTM] = OTP_G_SOFTPLUS,
				     [OTP_FORMULATION_UOTM_KL] = OTP_G_KL};
	OTP_ASSERT(c->tau > 0, "tau is not settled");
	return (otp_objective){
	    .arch = *arch,
	    .tau = c->tau,
	    .noise_pairs = c->noise_pairs,
	    .refine = c->refine,
	    .cost_from_clean = c->cost_from == OTP_COST_FROM_CLEAN,
	    .g = g_of[c->formulation],
	};
}

int otp_settings_schedule(const otp_config *c) { return c->schedule_steps ? c->schedule_steps : c->steps; }

void otp_settings_settle(otp_config *c)
{
	c->schedule_steps = otp_settings_schedule(c);
	c->sharpness = sharpness(c, c->sharpness, AIMED_SHARPNESS);
	c->potential_sharpness = sharpness(c, c->potential_sharpness, AIMED_POTENTIAL_SHARPNESS);
}

void otp_settings_settle_stored(otp_config *c)
{
	otp_settings_settle(c);
	if (!c->parts && c->threads)
		c->parts = otp_settings_parts(c, c->threads);
}

/* Where the schedules stand at a step: beyond their length they are held at their end. */
static int64_t scheduled(const otp_config *c, int64_t step)
{
	int length = otp_settings_schedule(c);
	return step < length ? step : length;
}

double otp_settings_sigma(const otp_config *c, int64_t step)
{
	if (c->formulation == OTP_FORMULATION_OTM)
		return 0;
	otp_annealing a = {
	    .shape = c->anneal,
	    .start = c->sigma_start,
	    .end = c->sigma_end == OTP_AUTO ? 0 : c->sigma_end,
	    .fraction = c->anneal_fraction,
	    .steps = otp_settings_schedule(c),
	};
	return otp_annealing_at(&a, scheduled(c, step));
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
	    .steps = otp_settings_schedule(c),
	};
	return otp_annealing_at(&a, scheduled(c, step));
}

double otp_settings_rate(const otp_config *c, int64_t step)
{
	double rise = (double)step < c->warmup ? (double)step / c->warmup : 1;
	double length = otp_settings_schedule(c), begin = c->decay_from * length;
	double t = ((double)scheduled(c, step) - begin) / (length - begin > 0 ? length - begin : 1);
	if (t <= 0 || c->decay == OTP_DECAY_CONSTANT)
		return rise;
	double fall = c->decay == OTP_DECAY_COSINE ? 0.5 * (1 + cos(OTP_PI * t)) : 1 - t;
	return rise * (c->decay_to + (1 - c->decay_to) * fall);
}

int otp_settings_parts(const otp_config *c, int workers)
{
	if (c->parts)
		return c->parts;
	if (c->micro_batch)
		return otp_config_pieces(c->batch, c->micro_batch);
	return workers < c->batch ? workers : c->batch;
}

const char *otp_settings_preset_for(bool vectors, int size, bool gpu)
{
	if (vectors)
		return "vector";
	if (size <= 16)
		return "quickstart";
	if (!gpu)
		return size <= 32 ? "photo-32" : "photo-64";
	return size <= 32 ? "32" : size <= 64 ? "64" : size <= 128 ? "128" : "256";
}
