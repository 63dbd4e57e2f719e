/* verdicts: when each appears and clears, on figures made up for it; that what
 * they suggest can be done; and how often is measured. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "train/monitor.h"
#include "train/verdicts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_ROWS = 64, STEPS = 1000 };

typedef struct story {
	otp_config c;
	otp_metrics rows[MOST_ROWS];
	size_t count;
} story;

static story begin(void)
{
	story s = {.count = 0};
	otp_config_defaults(&s.c);
	s.c.steps = STEPS;
	return s;
}

/* A run that has arrived: cost 1, at the floor, a plan that splits points as the best pairing does. */
static otp_metrics healthy(int64_t step)
{
	otp_metrics m = otp_metrics_at(step);
	m.measured_at = (double)step;
	m.sigma = 0.1;
	m.transport_cost = 1;
	m.target_distance = m.target_floor = 0.1;
	m.source_distance = 1;
	m.to_identity = 1;
	m.output_spread = 1;
	m.noise_spread = m.noise_needed = 0.7;
	m.potential_gap = 0.1;
	m.potential_slope = 0.7;
	return m;
}

/* What stands after one more measurement. */
static unsigned tell(story *s, otp_metrics row)
{
	assert_true(s->count < MOST_ROWS);
	s->rows[s->count++] = row;
	return s->rows[s->count - 1].verdicts = otp_verdicts_next(&s->c, s->rows, s->count);
}

/* The same figures at ten steps each, `times` times, from step `first` on; what stands after the last. */
static unsigned tell_times(story *s, otp_metrics row, int64_t first, int times)
{
	unsigned standing = 0;
	for (int i = 0; i < times; i++) {
		row.step = first + 10 * i;
		standing = tell(s, row);
	}
	return standing;
}

static unsigned bit(otp_verdict v) { return 1u << v; }

/* Appears with the third bad row, clears with the third good one; two of either do nothing. */
static void check_persistence(otp_verdict v, otp_metrics bad)
{
	story s = begin();
	assert_int_equal(tell_times(&s, healthy(0), 200, 3), 0);
	assert_int_equal(tell_times(&s, bad, 300, 2), 0);
	assert_int_equal(tell_times(&s, healthy(0), 320, 1), 0);
	assert_int_equal(tell_times(&s, bad, 330, 2), 0);
	assert_int_equal(tell_times(&s, bad, 350, 1), bit(v));
	assert_int_equal(tell_times(&s, healthy(0), 360, 2), bit(v));
	assert_int_equal(tell_times(&s, bad, 380, 1), bit(v));
	assert_int_equal(tell_times(&s, healthy(0), 390, 2), bit(v));
	assert_int_equal(tell_times(&s, healthy(0), 410, 1), 0);
}

static otp_metrics still(void)
{
	otp_metrics m = healthy(0);
	m.to_identity = 0.1;
	m.target_distance = 0.8;
	m.output_spread = 0.4; /* the source's own */
	m.noise_spread = 0;
	return m;
}

static void standing_still(void **state)
{
	(void)state;
	check_persistence(OTP_VERDICT_IDENTITY, still());
	story s = begin();
	otp_metrics same_laws = still(); /* doing nothing is right where source and target are one law */
	same_laws.source_distance = same_laws.target_distance = 0.11;
	same_laws.output_spread = 1;
	same_laws.noise_needed = 0;
	assert_int_equal(tell_times(&s, same_laws, 200, 5), 0);
	s = begin();
	assert_int_equal(tell_times(&s, still(), 10, 9), 0); /* every run begins there */
	assert_int_equal(tell_times(&s, still(), 100, 2), 0);
	assert_int_equal(tell_times(&s, still(), 120, 1), bit(OTP_VERDICT_IDENTITY));
}

static void few_modes(void **state)
{
	(void)state;
	otp_metrics m = healthy(0);
	m.output_spread = 0.49;
	m.noise_spread = 0.1;
	check_persistence(OTP_VERDICT_MODES, m);
}

static void one_answer(void **state)
{
	(void)state;
	otp_metrics m = healthy(0);
	m.noise_spread = 0.17; /* a quarter of 0.7 is 0.175 */
	check_persistence(OTP_VERDICT_NOISE, m);
	m.noise_spread = 0;
	m.noise_needed = 0.25; /* as a map with some cuts may seem to ask for */
	story s = begin();
	assert_int_equal(tell_times(&s, m, 200, 5), 0);
}

/* Images: no spread is a fault only where noise is given and the target is not reached. */
static void one_answer_for_images(void **state)
{
	(void)state;
	otp_metrics m = healthy(0);
	m.noise_needed = NAN;
	m.noise_spread = 0.04;
	m.target_distance = 0.4;
	story s = begin();
	assert_int_equal(tell_times(&s, m, 200, 3), bit(OTP_VERDICT_NOISE));
	m.target_distance = 0.2;
	s = begin();
	assert_int_equal(tell_times(&s, m, 200, 5), 0);
	m.target_distance = 0.4;
	m.sigma = 0; /* no noise is given */
	s = begin();
	assert_int_equal(tell_times(&s, m, 200, 5), 0);
}

static void running_away(void **state)
{
	(void)state;
	story s = begin();
	otp_metrics m = healthy(0);
	m.potential_slope = NAN; /* as without R1 */
	unsigned standing = 0;
	for (int i = 1; i <= 12; i++) {
		m.step = 20 * i;
		m.potential_gap =
		    -3.0 * i; /* linear growth, above 10 from i = 4 on, old enough from i = 5 on */
		standing = tell(&s, m);
		assert_int_equal(standing, i >= 7 ? bit(OTP_VERDICT_RUNAWAY) : 0);
	}
	assert_int_equal(tell_times(&s, m, 300, 5), bit(OTP_VERDICT_RUNAWAY)); /* it stays where it went */
	m.potential_gap = 5;
	assert_int_equal(tell_times(&s, m, 400, 2), bit(OTP_VERDICT_RUNAWAY));
	assert_int_equal(tell_times(&s, m, 420, 1), 0);
	/* Large but never growing: a small tau, not a runaway. */
	s = begin();
	m.potential_gap = 40;
	assert_int_equal(tell_times(&s, m, 1, 40), 0);
	/* A slope alone counts as much. */
	s = begin();
	m = healthy(0);
	assert_int_equal(tell_times(&s, m, 10, 10), 0);
	m.potential_slope = 20;
	assert_int_equal(tell_times(&s, m, 210, 3), bit(OTP_VERDICT_RUNAWAY));
}

static void too_fast(void **state)
{
	(void)state;
	otp_metrics m = healthy(0), farther, dearer;
	m.sigma = 0.5;
	farther = dearer = healthy(0);
	farther.target_distance = 0.3; /* 22 % of the way */
	dearer.transport_cost = 1.3;
	const otp_metrics bad[] = {farther, dearer};
	for (int k = 0; k < 2; k++) {
		story s = begin();
		assert_int_equal(tell_times(&s, m, 100, 3), 0);
		assert_int_equal(tell_times(&s, bad[k], 200, 2), 0);
		assert_int_equal(tell_times(&s, bad[k], 220, 1), bit(OTP_VERDICT_ANNEALING));
		assert_int_equal(tell_times(&s, healthy(0), 300, 3), 0);
		/* It was good at this sigma: whatever happens next, sigma is not to blame. */
		assert_int_equal(tell_times(&s, farther, 400, 5), 0);
		/* Nor where sigma has not fallen, or the plan was never good. */
		s = begin();
		m.sigma = 0.12;
		assert_int_equal(tell_times(&s, m, 100, 3), 0);
		assert_int_equal(tell_times(&s, bad[k], 200, 5), 0);
		m.sigma = 0.5;
	}
	story s = begin();
	m.target_distance = 0.6;
	assert_int_equal(tell_times(&s, m, 100, 3), 0);
	farther.target_distance = 0.9;
	assert_int_equal(tell_times(&s, farther, 200, 5), 0);
}

static void nothing_measured_says_nothing(void **state)
{
	(void)state;
	story s = begin();
	assert_int_equal(tell_times(&s, otp_metrics_at(0), 200, 5), 0);
	s = begin();
	assert_int_equal(tell(&s, still()), 0);
}

/* ---- words ---- */

/* Every "--key [old ->] value" in a text is an option that takes that value; returns how many. */
static int try_all(const char *text, const otp_config *c)
{
	int count = 0;
	otp_config changed = *c;
	otp_error err = {0};
	for (const char *at = strstr(text, "--"); at; at = strstr(at + 2, "--")) {
		char key[32], value[32], other[32];
		int words = sscanf(at, "--%31[a-z0-9_-] %31[^ ;] -> %31[^ ;]", key, value, other);
		assert_true(words >= 2);
		if (!otp_config_set(&changed, key, words == 3 ? other : value, "advice", &err))
			fail_msg("'%s': %s", text, err.text);
		count++;
	}
	if (!otp_config_check(&changed, &err))
		fail_msg("'%s': %s", text, err.text);
	return count;
}

static void advice_can_be_followed(void **state)
{
	(void)state;
	const char *const settings[] = {
	    "", "formulation = otm\nr1 = 0\n", "condition-noise = off\nanneal = linear\nsigma-end = 0\n",
	    "tau = 1000\nk-transport = 5\nr1-every = 4\nanneal-fraction = 0.95\ndecay = constant\n",
	    "noise-pairs = on\ntau = 1e-8\nr1 = 1e6\nlr_d = 1e-5\nsteps = 123456789\nsigma-start = 0.1\n"};
	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
		for (otp_verdict v = 0; v < OTP_VERDICT_COUNT; v++) {
			char text[320];
			otp_error err = {0};
			otp_config c;
			otp_metrics row = healthy(500);
			otp_config_defaults(&c);
			assert_true(otp_config_parse(&c, settings[i], "test", &err));
			otp_verdict_advice(v, &c, &row, text, sizeof text);
			assert_true(strlen(text) < sizeof text - 1);
			assert_true(try_all(text, &c) >= 1);
			print_message("%s: %s\n", otp_verdict_name(v), text);
		}
}

static void figures_are_the_rows(void **state)
{
	(void)state;
	char text[200];
	otp_metrics rows[] = {healthy(100), still()};
	rows[0].sigma = 0.5;
	otp_verdict_figures(OTP_VERDICT_IDENTITY, rows, 2, text, sizeof text);
	assert_string_equal(
	    text, "T moves by 0.10 of what it must at least, 78 % of the way to the target is left");
	otp_verdict_figures(OTP_VERDICT_ANNEALING, rows, 2, text, sizeof text);
	assert_string_equal(
	    text, "at sigma 0.1 78 % of the way to the target is left at a cost of 1, at 0.5 it was "
		  "0 % at 1");
	otp_verdict_figures(OTP_VERDICT_NOISE, rows, 2, text, sizeof text);
	assert_string_equal(text, "the spread over noise is 0.000, the best pairing asks for 0.70");
}

/* ---- how often ---- */

static void measuring_is_rare_enough(void **state)
{
	(void)state;
	const int batches[] = {1, 8, 64, 256, 65536}, logs[] = {1, 7, 50};
	for (int b = 0; b < 5; b++)
		for (int l = 0; l < 3; l++)
			for (int vectors = 0; vectors < 2; vectors++) {
				otp_config c;
				otp_config_defaults(&c);
				c.batch = batches[b];
				c.log_every = logs[l];
				int every = otp_monitor_every(&c, vectors);
				double passes = vectors ? 512 : 128;
				double trained = (double)every * c.batch * (c.k_transport + c.k_potential);
				assert_int_equal(every % c.log_every, 0);
				assert_true(passes <= trained / (vectors ? 100 : 50));
				/* and no rarer than that asks for */
				double less =
				    (double)(every - c.log_every) * c.batch * (c.k_transport + c.k_potential);
				assert_true(every == c.log_every || passes > less / (vectors ? 100 : 50));
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(standing_still),
	    cmocka_unit_test(few_modes),
	    cmocka_unit_test(one_answer),
	    cmocka_unit_test(one_answer_for_images),
	    cmocka_unit_test(running_away),
	    cmocka_unit_test(too_fast),
	    cmocka_unit_test(nothing_measured_says_nothing),
	    cmocka_unit_test(advice_can_be_followed),
	    cmocka_unit_test(figures_are_the_rows),
	    cmocka_unit_test(measuring_is_rare_enough),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
