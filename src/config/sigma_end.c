#include "config/sigma_end.h"
#include "data/loader.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool estimate(const otp_dataset *source, otp_sigma_end *found, otp_error *err)
{
	otp_dataset_info info = otp_dataset_describe(source);
	if (info.count == 0)
		return otp_fail(err, "--sigma-end",
				"auto needs a fixed set of samples, but %s generates new ones without end; "
				"expected a number, or limit=N after the set",
				info.spec);
	int64_t d = (int64_t)info.h * info.w * info.c;
	int n = otp_dimension_sample(info.count, d);
	float *points = otp_calloc((size_t)n, (size_t)d * sizeof *points);
	bool ok = otp_loader_survey(source, n, points, err);
	if (ok && !otp_dimension_estimate(points, n, d, &found->dimension))
		ok = otp_fail(
		    err, "--sigma-end",
		    "auto needs at least %d different samples, and finds %d among %d of %s; expected a "
		    "number",
		    OTP_DIMENSION_LEAST, found->dimension.points, n, info.spec);
	otp_free(points);
	if (ok) {
		found->values = d;
		found->distinct = otp_dimension_distinct(info.count, n, found->dimension.points);
		found->supported = otp_dimension_sigma(&found->dimension, found->distinct, d);
	}
	return ok;
}

/* More would be a pretence, and fewer read well in config.ini. */
static double three_digits(double value)
{
	char text[32];
	snprintf(text, sizeof text, "%.2e", value);
	return strtod(text, NULL);
}

bool otp_sigma_end_settle(otp_config *c, const otp_dataset *source, otp_sigma_end *found, otp_error *err)
{
	memset(found, 0, sizeof *found);
	if (c->sigma_end != OTP_AUTO)
		return true;
	found->open = true;
	bool from_start = c->anneal != OTP_ANNEAL_NONE;
	/* Where the end is not used it is what is in force instead. */
	if (c->formulation == OTP_FORMULATION_OTM || c->anneal == OTP_ANNEAL_CONSTANT) {
		c->sigma_end = c->formulation == OTP_FORMULATION_OTM ? 0 : c->sigma_start;
		return true;
	}
	const double most = 100; /* config.def's: it will be read back */
	if (from_start && c->sigma_start <= 0)
		return otp_fail(err, "--sigma-start",
				"is 0, expected a number above 0 with --sigma-end auto");
	if (!estimate(source, found, err))
		return false;
	/* sqrt(1 - s^2) x + s eps is x + sigma eps but for scale where s / sqrt(1 - s^2) is sigma. */
	if (c->smoothing == OTP_SMOOTHING_VP)
		found->supported /= sqrt(1 + found->supported * found->supported);
	found->supported = three_digits(found->supported);
	found->estimated = true;
	c->sigma_end = fmin(found->supported, from_start ? c->sigma_start : most);
	return true;
}

char *otp_sigma_end_text(const otp_config *c, const otp_sigma_end *found)
{
	if (!found->estimated)
		return NULL;
	char *reason = otp_dimension_reason(&found->dimension, found->distinct, found->values);
	char *text = otp_format("sigma ends at %.3g (auto%s): %s", c->sigma_end,
				c->sigma_end < found->supported ? ", no higher than it starts" : "", reason);
	otp_free(reason);
	return text;
}
