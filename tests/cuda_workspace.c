/* cuda_workspace: what a convolution's plan may want of memory, on the fake device: one that wants more than
 * any may is not built, one that wants more than there is room for is not taken, and the choice not kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "graph/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 8, CHANNELS = 16, COUNT = SIZE * SIZE * CHANNELS };

typedef struct result {
	float y[COUNT];
	size_t scratch, planned; /* bytes, of a program that is made, and of one that is not */
} result;

static char folder[64];

static int64_t lines_kept(void)
{
	char command[160];
	long long lines = 0;
	snprintf(command, sizeof command, "cat %s/cudnn-*.txt 2>/dev/null | grep -c '^[0-9]'", folder);
	FILE *count = popen(command, "r");
	assert_non_null(count);
	assert_int_equal(fscanf(count, "%lld", &lines), 1);
	pclose(count);
	return lines;
}

/* A convolution of exact sums, where engines on tensor cores want so many bytes, and the device has `room`,
 * or (0) all that there is. */
static void convolve(const char *wanted, size_t room, result *r)
{
	otp_error err = {0};
	otp_device *device = NULL;
	setenv("OTPLAN_CUDA_CACHE", folder, 1);
	setenv("OTPLAN_FAKE_WORKSPACE", wanted, 1);
	const otp_backend *backend = otp_backend_find("cuda", &err);
	if (!backend || !backend->open(0, &device, &err)) {
		fail_msg("%s", err.text);
		return;
	}
	size_t left = backend->memory_free(device);
	void *filling = room ? backend->alloc(device, left - room) : NULL;
	otp_graph *g = otp_graph_new();
	otp_node *x = otp_input(g, "x", OTP_F32, otp_shape4(1, SIZE, SIZE, CHANNELS));
	otp_node *w = otp_input(g, "w", OTP_F32, otp_shape4(CHANNELS, 1, 1, CHANNELS));
	otp_node *y = otp_output(otp_conv2d(x, w, 1, 0), OTP_SPAN_NONE, 0);
	otp_program_options options = {.precision = OTP_PRECISION_BF16};
	float values[COUNT];
	for (int i = 0; i < COUNT; i++)
		values[i] = (float)(i % 7 - 3);
	r->planned = otp_program_plan(backend, device, g, options).scratch_bytes;
	otp_program *p = otp_program_new(backend, device, g, NULL, options);
	r->scratch = otp_program_measure(p).scratch_bytes;
	otp_program_write(p, x, values);
	otp_program_write(p, w, values);
	otp_program_run(p);
	otp_program_read(p, y, r->y);
	otp_program_free(p);
	otp_graph_free(g);
	backend->release(device, filling);
	backend->close(device);
}

static void workspaces_have_limits(void **state)
{
	(void)state;
	static result small, huge, crowded, again;
	snprintf(folder, sizeof folder, "/tmp/otplan-workspace-XXXXXX");
	assert_non_null(mkdtemp(folder));

	/* More than there is room for: the engine that wants nothing, for this once. */
	convolve("50000000", 100000000, &crowded);
	assert_true(crowded.scratch < 1000000 && crowded.planned < 1000000);
	assert_int_equal(lines_kept(), 0);

	/* Room for it: the faster one, and so from now on. */
	convolve("50000000", 0, &small);
	assert_in_range(small.scratch, 50000000, 50100000);
	assert_in_range(small.planned, 50000000, 50100000);
	int64_t kept = lines_kept();
	assert_true(kept > 0);
	convolve("50000000", 0, &again);
	assert_int_equal(again.scratch, small.scratch);
	assert_int_equal(lines_kept(), kept);

	/* More than any may have: what was chosen before cannot be built any more. */
	convolve("600000000", 0, &huge);
	assert_true(huge.scratch < 1000000 && huge.planned < 1000000);

	assert_memory_equal(small.y, huge.y, sizeof small.y);
	assert_memory_equal(small.y, crowded.y, sizeof small.y);
	assert_memory_equal(small.y, again.y, sizeof small.y);
	bool any = false;
	for (int i = 0; i < COUNT; i++)
		any |= small.y[i] != 0;
	assert_true(any);
	char command[128];
	snprintf(command, sizeof command, "rm -r %s", folder);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(workspaces_have_limits)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
