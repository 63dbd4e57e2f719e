/* check: settings that depend on each other. */
#include "config/config.h"

#include <math.h>

static bool check_data(const otp_config *c, otp_error *err)
{
	if (*c->dataroot && (*c->source || *c->target))
		return otp_fail(err, "--dataroot", "cannot be combined with --source or --target");
	char crop[OTP_SIZE_TEXT], size[OTP_SIZE_TEXT];
	if (c->image_size.h && (c->crop.h > c->image_size.h || c->crop.w > c->image_size.w))
		return otp_fail(err, "--crop", "is %s, expected at most --image-size %s",
				otp_size_text(c->crop, crop), otp_size_text(c->image_size, size));
	if (!*c->source != !*c->target)
		return otp_fail(err, *c->source ? "--source" : "--target",
				"is given without %s, expected both", *c->source ? "--target" : "--source");
	if ((*c->test_source || *c->test_target) && !*c->source)
		return otp_fail(err, *c->test_source ? "--test-source" : "--test-target",
				"is given without --source and --target");
	return true;
}

/* Plain semi-dual maps (otm) run at sigma = 0 whatever the schedule says. */
static bool check_smoothing(const otp_config *c, otp_error *err)
{
	if (c->formulation == OTP_FORMULATION_OTM)
		return true;
	bool from_start = c->anneal != OTP_ANNEAL_NONE, to_end = c->anneal != OTP_ANNEAL_CONSTANT;
	double end = c->sigma_end;
	if (end == OTP_AUTO) /* where the data has not spoken yet: it will keep to these bounds */
		end = fmin(c->sigma_start, 1);
	if (c->anneal == OTP_ANNEAL_GEOMETRIC && (c->sigma_start <= 0 || end <= 0))
		return otp_fail(
		    err, "--anneal",
		    "geometric cannot reach 0, expected --sigma-start and --sigma-end above 0, or "
		    "another curve");
	if (from_start && to_end && end > c->sigma_start)
		return otp_fail(err, "--sigma-end", "%g is above --sigma-start %g, expected sigma to fall",
				end, c->sigma_start);
	if (c->smoothing == OTP_SMOOTHING_VP && ((from_start && c->sigma_start > 1) || (to_end && end > 1)))
		return otp_fail(err, "--smoothing",
				"vp takes sqrt(1 - sigma^2), expected sigma of at most 1");
	/* From x and with eps in sight the generator is free to ignore the smoothing: plain OTM again. */
	if (c->cost_from == OTP_COST_FROM_CLEAN && c->condition_noise)
		return otp_fail(
		    err, "--cost-from",
		    "clean with --condition-noise lets the generator ignore the smoothing, as "
		    "--formulation otm does; expected --condition-noise=off or --formulation otm");
	return true;
}

/* --parts and --micro-batch say the same in two ways, --memory chooses it. */
static bool check_parts(const otp_config *c, otp_error *err)
{
	size_t ignored;
	if (c->parts > c->batch)
		return otp_fail(err, "--parts", "is %d, expected at most %d, the batch", c->parts, c->batch);
	if (!otp_config_bytes(c->memory, "--memory", &ignored, err))
		return false;
	if (*c->memory && (c->micro_batch || c->parts))
		return otp_fail(err, "--memory", "chooses the micro-batch, and cannot be combined with %s%s",
				c->micro_batch ? "--micro-batch" : "--parts",
				c->resume ? ", which a resumed run keeps" : "");
	if (!c->micro_batch)
		return true;
	int parts = otp_config_pieces(c->batch, c->micro_batch);
	if (c->micro_batch > c->batch)
		return otp_fail(err, "--micro-batch", "is %d, expected at most %d, the batch", c->micro_batch,
				c->batch);
	if (parts > OTP_CONFIG_MOST_PARTS)
		return otp_fail(err, "--micro-batch",
				"%d cuts a batch of %d into %d parts, expected at most %d", c->micro_batch,
				c->batch, parts, OTP_CONFIG_MOST_PARTS);
	return !c->parts || c->parts == parts ||
	       otp_fail(err, "--micro-batch", "%d cuts a batch of %d into %d parts, --parts says %d",
			c->micro_batch, c->batch, parts, c->parts);
}

static bool check_schedule(const otp_config *c, otp_error *err)
{
	double ignored;
	if (!otp_config_duration(c->max_time, "--max-time", &ignored, err))
		return false;
	if (!check_parts(c, err))
		return false;
	if (c->r1_end < 0 && c->r1_end != -1)
		return otp_fail(err, "--r1-end", "is %g, expected 0 or more, or -1 for the same as --r1",
				c->r1_end);
	return true;
}

static bool check_networks(const otp_config *c, otp_error *err)
{
	int values[16], scale = c->noise_scale;
	if (scale & (scale - 1))
		return otp_fail(err, "--noise-scale", "%d is no power of two", scale);
	return otp_config_list(c->multipliers, "--multipliers", values, 16, err) &&
	       otp_config_list(c->potential_multipliers, "--potential-multipliers", values, 16, err) &&
	       (!*c->attention || otp_config_attention(c, values, 16, err) >= 0);
}

bool otp_config_check(const otp_config *c, otp_error *err)
{
	return check_data(c, err) && check_smoothing(c, err) && check_schedule(c, err) &&
	       check_networks(c, err);
}
