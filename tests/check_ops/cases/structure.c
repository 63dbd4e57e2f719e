/* structure: memory and shapes, sums and their adjoints. */
#include "check_ops/harness.h"

#include <math.h>

void check_copy(void) { over_shapes((test_case){.op = OTP_OP_copy, .count = 1, .bound = EXACT, .order = 2}); }

void check_reshape(void)
{
	test_case t = {.op = OTP_OP_reshape, .count = 1, .in = {{2, 3, 5, 7}}, .bound = EXACT, .order = 2};
	t.attr.shape.to = otp_shape4(1, 6, 1, 35);
	run_case(t);
}

/* A sum keeps at least the accuracy of pairwise summation: log2 of its length roundings. On a GPU a thread
 * adds at most 64 rows and what a pack of 8 holds, a block 256 threads in 8 levels. */
static void check_sum_of(otp_shape x, int mask, bool bench_only)
{
	test_case t = {.op = OTP_OP_sum, .count = 1, .in = {x}, .bound = BY_ABS, .order = 2};
	t.attr.shape.to = shrunk(x, mask);
	t.roundings = 2 + log2((double)otp_shape_count(x) / (double)otp_shape_count(t.attr.shape.to));
	t.gpu_roundings = 64 + 8 + 8;
	t.bench_only = bench_only;
	run_case(t);
}

void check_sum(void)
{
	for (int k = 0; k < SHAPE_COUNT; k++)
		for (int mask = 0; mask < 16; mask++)
			if (k != LARGE || bench_mask(mask))
				check_sum_of(shapes[k], mask, k == LARGE);
	/* Of rows that lie apart. */
	for (int n = 5; n < 1000; n += 300)
		for (int c = 5; c < 40; c += 11) {
			test_case t = {.op = OTP_OP_sum, .count = 1, .in = {{n, 1, 1, 3 * c}}, .apart = 1};
			t.attr.shape.to = otp_shape4(1, 1, 1, c);
			t.bound = BY_ABS;
			t.roundings = 12;
			t.gpu_roundings = 64 + 8 + 8;
			run_case(t);
		}
	/* Long sums of few columns, which may be cut into slices: all, over the image, over n and w. */
	check_sum_of(otp_shape4(1, 60, 90, 1), 15, false);
	check_sum_of(otp_shape4(1, 40, 40, 3), 7, false);
	check_sum_of(otp_shape4(40, 2, 40, 3), 5, false);
	/* Whole packs of columns, in slices and not, and of what is summed; short rows and columns. */
	for (int mask = 1; mask < 16; mask++)
		check_sum_of(otp_shape4(3, 20, 24, 16), mask, false);
}

void check_spread(void)
{
	for (int k = 0; k < SHAPE_COUNT; k++)
		for (int mask = 0; mask < 16; mask++) {
			test_case t = {.op = OTP_OP_spread, .count = 1, .bound = EXACT, .order = 2};
			t.in[0] = shrunk(shapes[k], mask);
			t.attr.shape.to = shapes[k];
			t.bench_only = k == LARGE;
			if (!t.bench_only || bench_mask(mask))
				run_case(t);
		}
}

static void set_extent(otp_shape *s, int axis, int value)
{
	*(axis == 0 ? &s->n : axis == 1 ? &s->h : axis == 2 ? &s->w : &s->c) = value;
}

void check_concat(void)
{
	for (int axis = 0; axis < 4; axis++) {
		test_case t = {.op = OTP_OP_concat,
			       .count = 2,
			       .in = {{2, 3, 5, 7}, {2, 3, 5, 7}},
			       .bound = EXACT,
			       .order = 2};
		t.attr.axis.axis = (otp_axis)axis;
		run_case(t);
		set_extent(&t.in[1], axis, 1);
		run_case(t);
		t.in[0] = t.in[1] = otp_shape4(1, 2, 3, 16);
		run_case(t);
	}
	test_case t = {
	    .op = OTP_OP_concat, .count = 2, .in = {{16, 64, 64, 32}, {16, 64, 64, 32}}, .bench_only = true};
	t.attr.axis.axis = OTP_AXIS_C;
	run_case(t);
}

void check_slice(void)
{
	for (int axis = 0; axis < 4; axis++) {
		test_case t = {
		    .op = OTP_OP_slice, .count = 1, .in = {{5, 6, 7, 8}}, .bound = EXACT, .order = 2};
		for (int begin = 0; begin < 3; begin++) {
			t.attr.slice.axis = (otp_axis)axis;
			t.attr.slice.begin = begin;
			t.attr.slice.count = begin == 1 ? 1 : 3;
			run_case(t);
		}
	}
	test_case t = {.op = OTP_OP_slice, .count = 1, .in = {{2, 3, 4, 32}}, .bound = EXACT, .order = 2};
	t.attr.slice.axis = OTP_AXIS_C;
	t.attr.slice.begin = 8;
	t.attr.slice.count = 16;
	run_case(t);
}

void check_pad(void)
{
	for (int axis = 0; axis < 4; axis++) {
		test_case t = {
		    .op = OTP_OP_pad, .count = 1, .in = {{2, 3, 4, 5}}, .bound = EXACT, .order = 2};
		for (int begin = 0; begin < 3; begin++) {
			t.attr.slice.axis = (otp_axis)axis;
			t.attr.slice.begin = begin;
			t.attr.slice.count = 7;
			run_case(t);
		}
		t.in[0] = otp_shape4(2, 3, 4, 8);
		t.attr.slice.begin = 8;
		t.attr.slice.count = 24;
		run_case(t);
	}
}
