/* problems: what `otplan verify` can train on: laws whose optimal plan is
 * known, the settings that reach it, and the bars a result is held against. */
#ifndef OTP_PROBLEMS_H
#define OTP_PROBLEMS_H

#include "config/config.h"

typedef enum otp_truth {
	OTP_TRUTH_GAUSSIAN,	 /* the Bures map */
	OTP_TRUTH_PERPENDICULAR, /* independent of x, uniform */
	OTP_TRUTH_ONE_TO_MANY,	 /* both sides, half each */
	OTP_TRUTH_PARALLEL,	 /* translation */
	OTP_TRUTH_CONVEX,	 /* the gradient of a random convex function */
	OTP_TRUTH_SAMPLES,	 /* exact assignment of a held-out sample */
	OTP_TRUTH_COLOURING	 /* every hue, shape kept */
} otp_truth;

/* A figure, by its key, must lie in [least, most]. */
typedef struct otp_bar {
	const char *key;
	double least, most;
} otp_bar;

enum { OTP_MAX_BARS = 8 };

typedef struct otp_problem {
	const char *name;
	otp_truth truth;
	int d, m;	 /* dimension; intrinsic dimension of the source where it is singular */
	const char *law; /* both sides' law, for its rotation or moments; NULL where the truth needs none */
	const char *source, *target;
	bool stratified;	       /* batches and measured samples are spread evenly over the laws */
	const char *preset, *settings; /* lines on top of the preset */
	otp_bar bars[OTP_MAX_BARS];    /* up to the first without key */
} otp_problem;

extern const otp_problem otp_problems[];
extern const int otp_problem_count;

/* NULL with err set (and the nearest name in it) where there is none. convex-D is there for every D from 2.
 */
const otp_problem *otp_problem_find(const char *name, otp_error *err);
/* Whether its target error is a sliced distance: of pictures, and where an
 * assignment would reward shrunken outputs. */
bool otp_problem_sliced(const otp_problem *p);

/* Defaults, preset and the problem's own lines. */
bool otp_problem_configure(const otp_problem *p, otp_config *c, otp_error *err);

#endif
