/* laws: sources and targets whose optimal transport is known (the table of
 * `otplan verify`), and the usual 2-D toys. Both sides of a pair share one law
 * object, made from (name, parameters, seed): rotation, covariances and mean
 * are the same whichever side is asked for; the samples of two sides differ.
 */
#ifndef OTP_LAWS_H
#define OTP_LAWS_H

#include "core/base.h"
#include "nn/roles.h"

typedef struct otp_law_params {
	int d;	     /* dimension; 0: the law's own */
	int m;	     /* of the source's support: k of perpendicular, m of one-to-many; 0: 1 */
	int strata;  /* every `strata` consecutive uniforms fall one into each equal cell; 0 or 1: independent
		      */
	double cond; /* gaussian: condition number of both covariances; 0: 100 */
	double noise; /* toys: standard deviation around the curve; below 0: the toy's own */
} otp_law_params;

typedef struct otp_law {
	const struct otp_law_kind *kind;
	otp_law_params params; /* defaults filled in */
	uint64_t seed;
	int d;
	double *rotation;	   /* (d, d), orthogonal: sample = rotation * plain sample; NULL: identity */
	double *covariance[2];	   /* gaussian: (d, d) of source and target, else NULL */
	double *root[2];	   /* gaussian: (d, d), covariance = root^T root */
	double *mean;		   /* gaussian: of the target, (d) */
	struct otp_convex *convex; /* convex: the map from source to target */
} otp_law;

/* `name` is that of a set, with or without its side: "gaussian",
 * "gaussian-source", "perpendicular-target", "one-to-many-source",
 * "parallel-target", "convex-source", "8gaussians", "moons", "spiral". "gaussian" alone is
 * N(0, I). *side is set where it is not NULL; toys have one side, the target. */
otp_law *otp_law_new(const char *name, otp_law_params params, uint64_t seed, otp_side *side, otp_error *err);
void otp_law_free(otp_law *law);
/* Sample `index` of one side: a function of (law, side, index) alone. */
void otp_law_sample(const otp_law *law, otp_side side, uint64_t index, float *out);
/* Names of every set, for messages: "gaussian, gaussian-source, ...". */
const char *otp_law_names(void);
bool otp_law_exists(const char *name);

/* A (d, d) orthogonal matrix drawn by the rotation-invariant law from (seed, purpose_index). */
void otp_law_orthogonal(uint64_t seed, uint32_t which, int d, double *out);

#endif
