/* ways: in which way a convolution is computed, by made-up engines and times. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cuda/ways.h"

#include <string.h>

enum { MOST = 8 };

/* What a machine has, and what it was asked. */
typedef struct machine {
	struct engine {
		otp_way way;
		otp_way_answer answer;
	} engines[MOST];
	float after; /* of the launch that follows */
	int asked, asked_fused, settled;
	bool wanted;
} machine;

static bool same(const otp_way *a, const otp_way *b)
{
	return a->fused == b->fused && a->compiled == b->compiled && a->bf16_in == b->bf16_in &&
	       a->bf16_out == b->bf16_out;
}

static otp_way_answer ask(void *context, const otp_way *way)
{
	machine *m = context;
	m->asked++;
	m->asked_fused += way->fused;
	for (int i = 0; i < MOST; i++)
		if (same(&m->engines[i].way, way))
			return m->engines[i].answer;
	return (otp_way_answer){OTP_WAY_NONE, NAN};
}

static float time_apart(void *context, const otp_way *apart)
{
	const machine *m = context;
	assert_false(apart->fused);
	for (int i = 0; i < MOST; i++)
		if (same(&m->engines[i].way, apart))
			return m->engines[i].answer.taken + m->after;
	return NAN;
}

static void settle(void *context, const otp_way *fused, bool wanted)
{
	machine *m = context;
	assert_true(fused->fused);
	m->settled++;
	m->wanted = wanted;
}

static bool choose(machine *m, otp_way_wishes wishes, otp_way *way)
{
	return otp_way_choose(&wishes, &(otp_way_judge){m, ask, time_apart, settle}, way);
}

/* A convolution with an epilogue and a result in bfloat16, large enough that engines are compiled for it. */
static const otp_way_wishes NARROW = {true, true, true, true, true};

static const otp_way FUSED = {true, true, true, true}, FUSED_READY = {true, false, true, true},
		     FUSED_WIDE = {true, true, true, false}, APART = {false, false, true, true},
		     APART_WIDE = {false, false, true, false}, APART_COMPILED = {false, true, true, true},
		     FLOATS = {false, false, false, false};

static otp_way_answer timed(float taken) { return (otp_way_answer){OTP_WAY_TIMED, taken}; }

static void check_choice(machine *m, otp_way_wishes wishes, otp_way want)
{
	otp_way way;
	assert_true(choose(m, wishes, &way));
	assert_true(same(&way, &want));
}

static void faster_fused_is_taken(void **state)
{
	(void)state;
	machine m = {.engines = {{FUSED, timed(3)}, {APART, timed(2)}}, .after = 1.5f};
	check_choice(&m, NARROW, FUSED);
	assert_int_equal(m.settled, 1);
	assert_true(m.wanted);
}

/* There is a fused engine with a float32 result, too, and nothing with such a result to compare it with. */
static void slower_fused_ends_the_fused_ways(void **state)
{
	(void)state;
	machine m = {.engines = {{FUSED, timed(4)}, {FUSED_WIDE, timed(0.1f)}, {APART, timed(2)}},
		     .after = 1.5f};
	check_choice(&m, NARROW, APART);
	assert_int_equal(m.settled, 1);
	assert_false(m.wanted);
	m = (machine){.engines = {{FUSED_READY, timed(4)}, {FUSED, timed(1)}, {APART, timed(2)}}, .after = 1};
	check_choice(&m, NARROW, APART);
	assert_int_equal(m.asked_fused, 1);
}

/* As cuDNN has them: no ready engine from bfloat16 to float32. The comparison is with what would be taken. */
static void fused_is_compared_with_what_else_there_is(void **state)
{
	(void)state;
	otp_way_wishes wide = NARROW;
	wide.bf16_result = false;
	machine m = {.engines = {{FUSED_WIDE, timed(4)}, {APART, timed(2)}, {FLOATS, timed(1)}}, .after = 1};
	check_choice(&m, wide, APART);
	assert_false(m.wanted);
	m.after = 3;
	check_choice(&m, wide, FUSED_WIDE);
	assert_true(m.wanted);
}

static void earlier_comparisons_hold(void **state)
{
	(void)state;
	machine m = {.engines = {{FUSED, {OTP_WAY_WANTED, 9}}, {APART, timed(1)}}, .after = 1};
	check_choice(&m, NARROW, FUSED);
	assert_int_equal(m.asked, 2); /* not what it was once compared with */
	m = (machine){.engines = {{FUSED, {OTP_WAY_UNWANTED, 0}}, {APART, timed(1)}}, .after = 1};
	check_choice(&m, NARROW, APART);
	assert_int_equal(m.settled, 0);
}

static void without_a_rival_fused_is_taken(void **state)
{
	(void)state;
	machine m = {.engines = {{FUSED, timed(4)}}};
	check_choice(&m, NARROW, FUSED);
	otp_way way;
	m = (machine){.engines = {{FUSED, {OTP_WAY_UNWANTED, 0}}}};
	assert_false(choose(&m, NARROW, &way));
}

static void wishes_are_kept(void **state)
{
	(void)state;
	machine m = {.engines = {{FUSED, timed(1)},
				 {APART, timed(2)},
				 {APART_WIDE, timed(2)},
				 {APART_COMPILED, timed(1)},
				 {FLOATS, timed(1)}},
		     .after = 1};
	otp_way_wishes w = NARROW;
	w.compile_fused = false;
	check_choice(&m, w, APART);
	w = NARROW;
	w.epilogue = false;
	check_choice(&m, w, APART);
	assert_int_equal(m.settled, 0);
	w.bf16_result = false;
	check_choice(&m, w, APART_WIDE);
	w.bf16 = false;
	check_choice(&m, w, FLOATS);
	m = (machine){.engines = {{APART_COMPILED, timed(1)}, {FLOATS, timed(2)}}};
	check_choice(&m, NARROW, FLOATS); /* ready before compiled */
	m = (machine){.engines = {{APART_COMPILED, timed(1)}}};
	check_choice(&m, NARROW, APART_COMPILED);
	w = NARROW;
	w.compile_fused = w.compile_apart = false;
	otp_way way;
	assert_false(choose(&m, w, &way));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(faster_fused_is_taken),
	    cmocka_unit_test(slower_fused_ends_the_fused_ways),
	    cmocka_unit_test(fused_is_compared_with_what_else_there_is),
	    cmocka_unit_test(earlier_comparisons_hold),
	    cmocka_unit_test(without_a_rival_fused_is_taken),
	    cmocka_unit_test(wishes_are_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
