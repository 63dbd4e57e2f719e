/* diagnosis: every verdict is provoked by a training with settings that cause
 * it, and a healthy one raises none. Deterministic: two parts, fixed seeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "report/metrics.h"
#include "train/session.h"
#include "train/trainer.h"
#include "verify/problems.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct setting {
	const char *key, *value;
} setting;

/* A training's history. */
typedef struct run {
	otp_metrics *rows;
	size_t count;
} run;

static otp_runtime place;
static char folder[] = "/tmp/otplan-diagnosis-XXXXXX";

static int open_place(void **state)
{
	(void)state;
	otp_error err = {0};
	return mkdtemp(folder) && otp_runtime_open("cpu", 0, "f32", 1, &place, &err) ? 0 : -1;
}

static int close_place(void **state)
{
	(void)state;
	char command[64];
	otp_runtime_close(&place);
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

/* A problem of verify with some settings changed; its laws are drawn plainly, not stratified. */
static run train(const char *name, const char *problem, const setting *settings)
{
	otp_error err = {0};
	otp_config c;
	otp_session s;
	char out[128], metrics[160];
	const otp_problem *p = otp_problem_find(problem, &err);
	snprintf(out, sizeof out, "%s/%s", folder, name);
	snprintf(metrics, sizeof metrics, "%s/metrics.jsonl", out);
	bool ok = p && otp_problem_configure(p, &c, &err) && otp_config_set(&c, "out", out, "test", &err) &&
		  otp_config_set(&c, "threads", "1", "test", &err) &&
		  otp_config_set(&c, "parts", "2", "test", &err) &&
		  otp_config_set(&c, "log-every", "20", "test", &err);
	for (int i = 0; ok && settings[i].key; i++)
		ok = otp_config_set(&c, settings[i].key, settings[i].value, "test", &err);
	ok = ok && otp_config_check(&c, &err) && otp_session_open(&c, &s, &err);
	if (!ok)
		fail_msg("%s", err.text);
	otp_train_outcome end = otp_train(&s, &place, &err);
	otp_session_close(&s);
	run r = {0};
	if (end != OTP_TRAIN_DONE || !otp_metrics_read(metrics, &r.rows, &r.count, &err))
		fail_msg("%s", err.text);
	return r;
}

/* Verdicts that stood at any step. */
static unsigned ever(const run *r)
{
	unsigned set = 0;
	for (size_t i = 0; i < r->count; i++)
		set |= r->rows[i].verdicts;
	return set;
}

static void expect(const char *name, run r, unsigned ever_raised, unsigned standing)
{
	char seen[128], wanted[128];
	const otp_metrics *last = &r.rows[r.count - 1];
	print_message(
	    "%s: cost %.3g, target %.3g (floor %.3g, source %.3g), to identity %.2f, spread %.2f, over "
	    "noise %.2f of %.2f, gap %.3g\n",
	    name, last->transport_cost, last->target_distance, last->target_floor, last->source_distance,
	    last->to_identity, last->output_spread, last->noise_spread, last->noise_needed,
	    last->potential_gap);
	otp_verdicts_text(ever(&r), seen, sizeof seen);
	otp_verdicts_text(ever_raised, wanted, sizeof wanted);
	assert_string_equal(seen, wanted);
	otp_verdicts_text(last->verdicts, seen, sizeof seen);
	otp_verdicts_text(standing, wanted, sizeof wanted);
	assert_string_equal(seen, wanted);
	otp_free(r.rows);
}

enum {
	NOTHING = 0,
	IDENTITY = 1 << OTP_VERDICT_IDENTITY,
	MODES = 1 << OTP_VERDICT_MODES,
	NOISE = 1 << OTP_VERDICT_NOISE,
	RUNAWAY = 1 << OTP_VERDICT_RUNAWAY,
	ANNEALING = 1 << OTP_VERDICT_ANNEALING
};

#define SHORT                                                                                                \
	{"steps", "1000"}, {"batch", "256"}, { "k-transport", "1" }

/* Of one-to-many, whose own rates are for 3.5 times as many steps. */
#define SHORT_SIDES                                                                                          \
	SHORT, {"lr_g", "1e-3"}, { "lr_d", "2e-4" }

static void a_healthy_run_has_none(void **state)
{
	(void)state;
	const setting settings[] = {SHORT_SIDES, {NULL, NULL}};
	expect("healthy", train("healthy", "one-to-many", settings), NOTHING, NOTHING);
}

/* A map's spread over noise is 0, and right. */
static void a_map_is_not_blamed_for_ignoring_noise(void **state)
{
	(void)state;
	const setting settings[] = {SHORT, {NULL, NULL}};
	expect("map", train("map", "gaussian-2", settings), NOTHING, NOTHING);
}

static void a_cost_too_dear_holds_everything(void **state)
{
	(void)state;
	const setting settings[] = {SHORT_SIDES, {"tau", "1000"}, {NULL, NULL}};
	expect("identity", train("identity", "one-to-many", settings), IDENTITY, IDENTITY);
}

/* The cost is next to nothing: with twenty steps to one of the potential's, T takes every point to the
 * potential's maximum of the moment. */
static void a_generator_that_outruns_the_potential_collapses(void **state)
{
	(void)state;
	const setting settings[] = {{"steps", "400"},
				    {"batch", "128"},
				    {"width", "32"},
				    {"sharpness", "1"},
				    {"potential-sharpness", "1"},
				    {"precision", "f32"},
				    {"decay-from", "0.2"},
				    {"decay-to", "0.005"},
				    {"potential-width", "32"},
				    {"potential-gain", "1"},
				    {"potential-quadratic", "0"},
				    {"k-transport", "20"},
				    {"tau", "1e-4"},
				    {"r1", "1"},
				    {"r1-end", "-1"},
				    {"lr_g", "1e-3"},
				    {"lr_d", "3e-4"},
				    {"warmup", "20"},
				    {"decay", "constant"},
				    {"ema", "0.5"},
				    {NULL, NULL}};
	expect("modes", train("modes", "gaussian-to-8gaussians", settings), MODES, MODES);
}

/* Plain transport reaches the target and gives every point one side. Refined answers leave it between the
 * sides: another failure; so do faster ends. */
static void a_plain_map_of_one_to_many_ignores_noise(void **state)
{
	(void)state;
	const setting settings[] = {
	    SHORT_SIDES, {"aim-ends", "1"}, {"refine", "0"}, {"formulation", "otm"}, {"noise-pairs", "off"},
	    {NULL, NULL}};
	expect("noise", train("noise", "one-to-many", settings), NOISE, NOISE);
}

/* Refined answers would hold it: it must follow the generator alone. */
static void a_potential_without_r1_runs_away(void **state)
{
	(void)state;
	const setting settings[] = {SHORT_SIDES,      {"aim-ends", "1"},     {"refine", "0"}, {"r1", "0"},
				    {"lr_d", "5e-3"}, {"decay", "constant"}, {NULL, NULL}};
	expect("runaway", train("runaway", "one-to-many", settings), RUNAWAY, RUNAWAY);
}

/* At sigma 0.4 the plan splits every point; a network that sees x' alone, with the usual first weights,
 * cannot become steep as fast as this sigma falls. */
static void a_plan_is_lost_where_sigma_falls_too_fast(void **state)
{
	(void)state;
	const setting settings[] = {SHORT_SIDES,
				    {"condition-noise", "off"},
				    {"aim", "off"},
				    {"sharpness", "1"},
				    {"potential-sharpness", "1"},
				    {"refine", "0"},
				    {"potential-gain", "3"},
				    {"lr_g", "5e-4"},
				    {"r1-end", "3e-4"},
				    {"lr_d", "1e-4"},
				    {"beta2", "0.9"},
				    {"decay-from", "0.2"},
				    {"anneal", "linear"},
				    {"anneal-fraction", "0.4"},
				    {"sigma-end", "0.02"},
				    {"tau", "1"},
				    {NULL, NULL}};
	expect("annealing", train("annealing", "one-to-many", settings), ANNEALING | NOISE,
	       ANNEALING | NOISE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_healthy_run_has_none),
	    cmocka_unit_test(a_map_is_not_blamed_for_ignoring_noise),
	    cmocka_unit_test(a_cost_too_dear_holds_everything),
	    cmocka_unit_test(a_generator_that_outruns_the_potential_collapses),
	    cmocka_unit_test(a_plain_map_of_one_to_many_ignores_noise),
	    cmocka_unit_test(a_potential_without_r1_runs_away),
	    cmocka_unit_test(a_plan_is_lost_where_sigma_falls_too_fast),
	};
	return cmocka_run_group_tests(tests, open_place, close_place);
}
