/* verify: trains on a problem whose answer is known, in memory, and holds what
 * was learned against the truth.
 */
#ifndef OTP_VERIFY_H
#define OTP_VERIFY_H

#include "engine/engine.h"
#include "train/summary.h"
#include "verify/problems.h"

typedef struct otp_verification {
	const otp_problem *problem;
	otp_config config;
	double seconds; /* of training */
	otp_figure figures[OTP_MAX_FIGURES];
	int count;
	bool pass; /* every bar is met */
} otp_verification;

/* `c`: the problem's configuration, changed as one likes. Pictures go into `folder` unless NULL. */
bool otp_verify(const otp_problem *p, const otp_config *c, otp_runtime *runtime, const char *folder,
		otp_verification *out, otp_error *err);

/* NULL where there is no such figure. */
const otp_figure *otp_verification_find(const otp_verification *v, const char *key);
const otp_bar *otp_problem_bar(const otp_problem *p, const char *key);
bool otp_bar_met(const otp_bar *bar, double value);

#endif
