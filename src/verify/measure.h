/* measure: figures of a learned plan against a known truth. Costs are from x,
 * never from x'; noise comes in pairs of +eps and -eps, which takes most of the
 * sampling error out of them.
 */
#ifndef OTP_MEASURE_H
#define OTP_MEASURE_H

#include "engine/sampler.h"
#include "train/session.h"
#include "train/summary.h"
#include "verify/problems.h"

enum {
	OTP_MEASURED_POINTS = 20480, /* for costs and maps */
	OTP_ASSIGNED_POINTS = 1024,  /* for exact assignment */
	OTP_PICTURED_POINTS = 256
};

/* Pairs of the learned plan, for a picture: first two coordinates that matter. */
typedef struct otp_pairs {
	int count;
	float source[2 * OTP_PICTURED_POINTS], output[2 * OTP_PICTURED_POINTS],
	    target[2 * OTP_PICTURED_POINTS];
} otp_pairs;

/* Vectors. `s` takes noise as given; source and target are the problem's laws,
 * prepared. Returns the number of figures, 0 with err set. */
int otp_measure_vectors(const otp_problem *p, otp_sampler *s, double sigma, uint64_t seed,
			const otp_dataset *source, const otp_dataset *target, otp_figure *figures,
			otp_pairs *pairs, otp_error *err);

/* Isoluminant colouring, by a sampler that draws its own noise. `pictures`: paths of a grid and of a wheel of
 * hues, NULL: none. */
int otp_measure_colouring(otp_sampler *s, double sigma, uint64_t seed, const otp_dataset *source,
			  const otp_dataset *target, otp_figure *figures, char *const *pictures,
			  otp_error *err);

#endif
