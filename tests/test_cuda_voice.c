/* voice: what is said while plans are built, to a terminal and to a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cuda/voice.h"

#include <stdio.h>
#include <string.h>

static struct {
	bool live;
	int lines, statuses;
	char status[256]; /* empty: taken away */
} heard;

static void hear_line(const char *fmt, ...)
{
	(void)fmt;
	heard.lines++;
}

static bool is_live(void) { return heard.live; }

static void hear_status(const char *line)
{
	heard.statuses++;
	snprintf(heard.status, sizeof heard.status, "%s", line ? line : "");
}

static const otp_voice VOICE = {hear_line, is_live, hear_status};

static void terminal_sees_every_plan(void **state)
{
	(void)state;
	otp_builds b = {0};
	memset(&heard, 0, sizeof heard);
	heard.live = true;
	otp_cuda_speak_through(&VOICE);
	for (int i = 0; i < 5; i++)
		otp_cuda_building(&b, i % 2 == 1);
	assert_int_equal(heard.statuses, 5);
	assert_string_equal(heard.status, "cuda: building 5 cuDNN plans, 2 of them compiled so far");
	otp_cuda_built(&b);
	assert_string_equal(heard.status, "");
	assert_int_equal(heard.lines, 0); /* it took no time */
	otp_cuda_built(&b);
	assert_int_equal(heard.statuses, 6); /* a launch after which nothing was built says nothing */
}

/* By times long ago instead of waiting. */
static void file_gets_a_line_now_and_then(void **state)
{
	(void)state;
	otp_builds b = {0};
	memset(&heard, 0, sizeof heard);
	for (int i = 0; i < 50; i++)
		otp_cuda_building(&b, true);
	assert_int_equal(heard.lines, 0);
	b.told -= 60;
	for (int i = 0; i < 50; i++)
		otp_cuda_building(&b, true);
	assert_int_equal(heard.lines, 1);
	b.begun -= 60;
	otp_cuda_built(&b);
	assert_int_equal(heard.lines, 2);
	assert_int_equal(heard.statuses, 0);
}

/* Compiled side by side: how many of how many, and in the end as plans that were built. */
static void compiling_is_told(void **state)
{
	(void)state;
	otp_builds b = {0};
	memset(&heard, 0, sizeof heard);
	heard.live = true;
	otp_cuda_compiling(&b, 0, 3);
	otp_cuda_compiling(&b, 2, 3);
	assert_string_equal(heard.status, "cuda: compiling cuDNN plans, once on this machine: 2 of 3");
	otp_cuda_compiled(&b, 3);
	otp_cuda_building(&b, false);
	assert_string_equal(heard.status, "cuda: building 4 cuDNN plans, 3 of them compiled so far");
	otp_cuda_built(&b);
	assert_string_equal(heard.status, "");
	heard.live = false;
	for (int i = 0; i < 50; i++)
		otp_cuda_compiling(&b, i, 50);
	assert_int_equal(heard.lines, 0);
	b.told -= 60;
	otp_cuda_compiling(&b, 49, 50);
	assert_int_equal(heard.lines, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(terminal_sees_every_plan),
	    cmocka_unit_test(file_gets_a_line_now_and_then),
	    cmocka_unit_test(compiling_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
