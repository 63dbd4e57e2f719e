/* sampler: draws from a learned plan, T(x', z) with x' = keep x + sigma eps.
 *
 * A sample is a function of its input and its stream alone: chunks of a fixed
 * size go through programs of that size, whatever is asked for.
 */
#ifndef OTP_SAMPLER_H
#define OTP_SAMPLER_H

#include "engine/engine.h"
#include "ot/smoothing.h"

typedef struct otp_sampler otp_sampler;

/* Parameters are read from device memory `span`, elements from `base`, at every
 * call, so a sampler over a live engine follows its training. given_noise: the
 * caller brings the smoothing noise (antithetic pairs, chosen directions).
 * NULL and an error when memory is out. */
otp_sampler *otp_sampler_new(otp_runtime *runtime, const otp_arch *arch, otp_params *params, void *span,
			     int64_t base, otp_smoothing smoothing, bool given_noise, otp_error *err);
/* Bytes of memory that such a sampler takes; none is taken. */
size_t otp_sampler_plan(otp_runtime *runtime, const otp_arch *arch);
void otp_sampler_free(otp_sampler *s);
/* How many samples it computes at once: one chunk on each worker. */
int64_t otp_sampler_round(const otp_sampler *s);

/* x, y: count samples of h * w * c floats; streams: one a sample; eps: where the
 * smoothing noise goes, or NULL; the noise itself where it is given. */
void otp_sampler_run(otp_sampler *s, const float *x, const otp_stream *streams, int64_t count, double sigma,
		     float *y, float *eps);

#endif
