/* random: draws of normal numbers; nothing to differentiate. */
#include "check_ops/harness.h"

#include <math.h>

/* The same float formula everywhere; a compiler may fuse its products and
 * sums, each worth a rounding, of a radius below sqrt(-2 log 2^-25) < 6. */
static void normal_magnitude(const test_case *t, double *const *in, double *magnitude)
{
	(void)in;
	for (int64_t i = 0; i < otp_shape_count(t->attr.noise.to); i++)
		magnitude[i] = 6;
}

/* The moments of a long draw: mean, variance and a fourth moment of 3, each
 * within five standard errors; and a tail that reaches past 3.5. */
static void check_normal_moments(int which)
{
	enum { DRAWS = 1 << 16 };
	test_case t = {.op = OTP_OP_normal, .count = 1, .in = {{1, 1, 1, 4}}, .fill = {WORDS}};
	t.attr.noise.to = otp_shape4(1, 1, DRAWS, 1);
	t.attr.noise.purpose = OTP_PURPOSE_LATENT;
	values v = make_values(&t);
	float *x = otp_calloc(DRAWS, sizeof *x);
	run_planned(which, &t, &v, (way){0}, false, 1, x);
	double m1 = 0, m2 = 0, m4 = 0, most = 0;
	for (int i = 0; i < DRAWS; i++) {
		double square = (double)x[i] * x[i];
		m1 += x[i] / (double)DRAWS;
		m2 += square / DRAWS;
		m4 += square * square / DRAWS;
		most = square > most ? square : most;
	}
	double error = 1 / sqrt(DRAWS); /* variances of x, x^2, x^4: 1, 2, 96 */
	report(fabs(m1) < 5 * error && fabs(m2 - 1) < 5 * sqrt(2) * error &&
		   fabs(m4 - 3) < 5 * sqrt(96) * error && most > 3.5 * 3.5,
	       "normal", "%s: moments %.4f %.4f %.4f, largest %.2f", tested_backends[which], m1, m2, m4,
	       sqrt(most));
	otp_free(x);
	drop_values(&t, &v);
}

void check_normal(void)
{
	for (int k = 0; k < SHAPE_COUNT; k++) {
		test_case t = {.op = OTP_OP_normal,
			       .count = 1,
			       .in = {{shapes[k].n, 1, 1, k % 2 ? 4 : 7}},
			       .fill = {WORDS},
			       .bound = BY_RULE,
			       .roundings = 8,
			       .rule = normal_magnitude,
			       .bench_only = k == LARGE};
		t.attr.noise.to = shapes[k];
		t.attr.noise.purpose = OTP_PURPOSE_EPS;
		run_case(t);
	}
	/* many points */
	test_case t = {.op = OTP_OP_normal,
		       .count = 1,
		       .in = {{100, 1, 1, 4}},
		       .fill = {WORDS},
		       .bound = BY_RULE,
		       .roundings = 8,
		       .rule = normal_magnitude};
	t.attr.noise.to = otp_shape4(100, 1, 1, 6);
	t.attr.noise.purpose = OTP_PURPOSE_EPS;
	run_case(t);
	for (int which = 0; which < TESTED_COUNT && !tally.bench; which++)
		if (tested[which].backend)
			check_normal_moments(which);
}
