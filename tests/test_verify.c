/* verify: short trainings on problems whose answer is known, against real
 * bounds; that plain transport fails where the smoothed plan does not; and that
 * every problem is well-formed. Deterministic: the runs are the same each time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "train/session.h"
#include "verify/verify.h"

#include <stdio.h>
#include <string.h>

typedef struct setting {
	const char *key, *value;
} setting;

static otp_runtime place;

static int open_place(void **state)
{
	(void)state;
	otp_error err = {0};
	return otp_runtime_open("cpu", 0, "f32", 1, &place, &err) ? 0 : -1;
}

static int close_place(void **state)
{
	(void)state;
	otp_runtime_close(&place);
	return 0;
}

static otp_verification verify(const char *name, const setting *settings)
{
	otp_error err = {0};
	otp_config c;
	otp_verification v = {0};
	const otp_problem *p = otp_problem_find(name, &err);
	bool ok = p && otp_problem_configure(p, &c, &err) &&
		  otp_config_set(&c, "threads", "1", "test", &err) &&
		  otp_config_set(&c, "parts", "2", "test", &err);
	for (int i = 0; ok && settings[i].key; i++)
		ok = otp_config_set(&c, settings[i].key, settings[i].value, "test", &err);
	if (!ok || !otp_verify(p, &c, &place, NULL, &v, &err))
		fail_msg("%s", err.text);
	return v;
}

static double figure(const otp_verification *v, const char *key)
{
	const otp_figure *f = otp_verification_find(v, key);
	if (!f)
		fail_msg("%s has no figure %s", v->problem->name, key);
	print_message("%s %s: %s %.4g\n", v->problem->name,
		      OTP_CHOICE_NAME(otp_formulation, v->config.formulation), key, f->value);
	return f->value;
}

static void check_within(const otp_verification *v, const char *key, double least, double most)
{
	double value = figure(v, key);
	if (!(value >= least && value <= most))
		fail_msg("%s: %s is %g, expected %g to %g", v->problem->name, key, value, least, most);
}

/* ---- every problem ------------------------------------------------------------ */

static void every_problem_opens(void **state)
{
	(void)state;
	for (int i = 0; i < otp_problem_count; i++) {
		otp_error err = {0};
		otp_config c;
		otp_session s;
		const otp_problem *p = &otp_problems[i];
		if (!otp_problem_configure(p, &c, &err) || !otp_config_check(&c, &err) ||
		    !otp_session_open(&c, &s, &err))
			fail_msg("%s", err.text);
		assert_int_equal(s.arch.h * s.arch.w * s.arch.c, p->d);
		assert_non_null(p->bars[0].key);
		otp_session_close(&s);
	}
}

static void unknown_problems_are_refused(void **state)
{
	(void)state;
	otp_error err = {0};
	assert_null(otp_problem_find("gaussian-3", &err));
	assert_int_equal(err.exit_code, OTP_EXIT_USAGE);
	assert_non_null(strstr(err.text, "gaussian-2"));
}

/* ---- trained -------------------------------------------------------------------- */

static void runs_are_deterministic(void **state)
{
	(void)state;
	const setting few[] = {{"steps", "30"}, {NULL, NULL}};
	otp_verification a = verify("one-to-many", few), b = verify("one-to-many", few);
	assert_int_equal(a.count, b.count);
	for (int i = 0; i < a.count; i++)
		assert_memory_equal(&a.figures[i].value, &b.figures[i].value, sizeof(double));
}

static void gaussian_map_is_found(void **state)
{
	(void)state;
	const setting few[] = {{"steps", "1000"}, {"batch", "128"}, {NULL, NULL}};
	otp_verification v = verify("gaussian-2", few);
	check_within(&v, "l2_uvp", 0, 1);
	check_within(&v, "moment_error", 0, 0.02);
}

static void perpendicular_plan_is_found(void **state)
{
	(void)state;
	const setting few[] = {{"steps", "1500"}, {NULL, NULL}};
	otp_verification v = verify("perpendicular-1", few);
	check_within(&v, "target_excess", -1, 0.02);
	check_within(&v, "cost_error", 0, 0.03);
	check_within(&v, "ks", 0, 0.1);
}

/* The same budget: the smoothed plan splits every point in two, the plain map cannot. */
static void smoothing_decides_one_to_many(void **state)
{
	(void)state;
	/* The problem's own rates are for more than twice as many steps. Faster ends help the plain map to a
	 * cost near the truth (0.973), though not to the plan. Refined answers leave it between the sides on
	 * some processors, where another failure would be measured. */
#define FEW                                                                                                  \
	{"steps", "2000"}, {"batch", "256"}, {"lr_g", "1e-3"}, {"lr_d", "1e-4"}, {"aim-ends", "1"},          \
	{                                                                                                    \
		"refine", "0"                                                                                \
	}
	const setting otp[] = {FEW, {NULL, NULL}};
	const setting otm[] = {FEW, {"formulation", "otm"}, {NULL, NULL}};
	otp_verification good = verify("one-to-many", otp), bad = verify("one-to-many", otm);
	check_within(&good, "side_balance", 0.45, 0.55);
	check_within(&good, "side_balance_point", 0, 0.1);
	check_within(&good, "side_rms", 0, 0.1);
	check_within(&good, "cost_error", 0, 0.03);
	/* A share of 0.1 on the wrong side, 2 away, is 0.4 of W2^2; all on one side is half of them, 2. */
	check_within(&good, "point_error", 0, 0.4 + 0.03);
	check_within(&bad, "point_error", 1.5, 3);
	check_within(&bad, "side_balance_point", 0.5, 0.5);
	check_within(&bad, "cost_error", 0.03, 10);
	assert_false(bad.pass);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_problem_opens),	   cmocka_unit_test(unknown_problems_are_refused),
	    cmocka_unit_test(runs_are_deterministic),	   cmocka_unit_test(gaussian_map_is_found),
	    cmocka_unit_test(perpendicular_plan_is_found), cmocka_unit_test(smoothing_decides_one_to_many),
	};
	return cmocka_run_group_tests(tests, open_place, close_place);
}
