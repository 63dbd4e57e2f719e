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

enum { OTP_VERIFY_MOST_PICTURES = 2 };
/* How many pictures a verification draws: of points one, of a colouring two. Their names: otp_free each. */
int otp_verify_pictures(const otp_problem *p, const otp_config *c, char *names[OTP_VERIFY_MOST_PICTURES]);

/* `c`: the problem's configuration, changed as one likes. `pictures`: their paths, as many as
 * otp_verify_pictures says; NULL: none are drawn. */
bool otp_verify(const otp_problem *p, const otp_config *c, otp_runtime *runtime, char *const *pictures,
		otp_verification *out, otp_error *err);

/* NULL where there is no such figure. */
const otp_figure *otp_verification_find(const otp_verification *v, const char *key);
const otp_bar *otp_problem_bar(const otp_problem *p, const char *key);
bool otp_bar_met(const otp_bar *bar, double value);

#endif
