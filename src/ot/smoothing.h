/* smoothing: x' = keep x + sigma eps, and how sigma falls over a run. */
#ifndef OTP_SMOOTHING_H
#define OTP_SMOOTHING_H

#include "core/choice.h"
#include "core/rng.h"
#include "graph/graph.h"

#define OTP_CHOICES_otp_smoothing(X) X(OTP_SMOOTHING_ADDITIVE, "additive") X(OTP_SMOOTHING_VP, "vp")
OTP_CHOICE(otp_smoothing);

/* constant: the start throughout; none: the end throughout. */
#define OTP_CHOICES_otp_anneal(X)                                                                            \
	X(OTP_ANNEAL_LINEAR, "linear")                                                                       \
	X(OTP_ANNEAL_COSINE, "cosine")                                                                       \
	X(OTP_ANNEAL_GEOMETRIC, "geometric")                                                                 \
	X(OTP_ANNEAL_CONSTANT, "constant")                                                                   \
	X(OTP_ANNEAL_NONE, "none")
OTP_CHOICE(otp_anneal);

/* A value that moves from start to end over the first `fraction` of `steps`, then holds. */
typedef struct otp_annealing {
	otp_anneal shape;
	double start, end, fraction;
	int64_t steps;
} otp_annealing;

/* At step 1..steps. Geometric needs start, end > 0. */
double otp_annealing_at(const otp_annealing *a, int64_t step);

/* What x keeps at this sigma: 1 (additive) or sqrt(1 - sigma^2) (variance preserving). */
double otp_smoothing_keep(otp_smoothing kind, double sigma);

/* x: (n, h, w, c); eps: the same; keep, sigma: (1, 1, 1, 1) */
otp_node *otp_smooth(otp_node *x, otp_node *eps, otp_node *keep, otp_node *sigma);

/* Elements [first, first + count) of the noise that a stream draws for a sample of any size. A program that
 * draws its noise itself gives sample (h, w, c) elements 0 .. h w c - 1. */
void otp_smoothing_noise(otp_stream stream, uint32_t first, size_t count, float *out);

#endif
