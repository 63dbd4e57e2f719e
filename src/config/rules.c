#include "config/rules.h"
#include "config/settings.h"

#include <math.h>

/* tau E|x - y|^2 and 2 tau r1, by which R1 shrinks displacements, are the same at every size. */
static const double COST = 12, R1_BIAS = 0.004;

/* Adam's rates at BATCH and WIDTH: noise of gradients falls as 1 / sqrt(batch), and a step of all weights
 * moves a layer's output in proportion to its width. */
static const double RATE_G = 4e-4, RATE_D = 2e-4, BATCH = 16, WIDTH = 32;

static const double WARMUP_SHARE = 0.02, MOST_WARMUP = 1000; /* steps */

/* The average looks back over a tenth of the run, in which the learning rates are low. */
static const double EMA_SHARE = 0.1, MOST_EMA = 0.9999;

typedef struct rule {
	const char *key;
	double *to, value;
} rule;

bool otp_rules_settle(otp_config *c, bool vectors, int values, otp_error *err)
{
	double steps = otp_settings_schedule(c), by_batch = sqrt(c->batch / BATCH) * WIDTH;
	double tau = c->tau == OTP_AUTO ? COST / values : c->tau;
	const rule rules[] = {
	    {"--tau", &c->tau, tau},
	    {"--r1", &c->r1, R1_BIAS / (2 * tau)},
	    {"--lr_g", &c->lr_g, RATE_G * by_batch / c->width},
	    {"--lr_d", &c->lr_d, RATE_D * by_batch / c->potential_width},
	    {"--warmup", &c->warmup, fmin(floor(WARMUP_SHARE * steps), MOST_WARMUP)},
	    {"--ema", &c->ema, fmin(fmax(1 - 1 / (EMA_SHARE * steps), 0), MOST_EMA)},
	};
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		if (*rules[i].to == OTP_AUTO) {
			if (vectors)
				return otp_fail(err, rules[i].key,
						"auto is for images, and these are vectors");
			*rules[i].to = rules[i].value;
		}
	return true;
}
