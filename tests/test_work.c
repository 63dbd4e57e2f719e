/* What a program's calls cost at least, counted by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "graph/work.h"

/* Peaks at which a byte and an operation take a second: here convolutions compute, products move. */
static const otp_peaks PEAKS = {1, {1, 1, 1, 1, 1, 1}};
enum { FLOAT_BYTES = 4 };

static void count(otp_graph *g, otp_work *by_op)
{
	otp_error err = {0};
	otp_device *device;
	const otp_backend *backend = otp_backend_find("cpu", &err);
	assert_non_null(backend);
	assert_true(backend->open(0, &device, &err));
	otp_program *p = otp_program_new(backend, device, g, NULL, (otp_program_options){0});
	for (int op = 0; op < OTP_OP_COUNT; op++)
		by_op[op] = (otp_work){0};
	otp_program_add_work(p, PEAKS, by_op);
	otp_program_free(p);
	backend->close(device);
}

static void check(otp_work got, int calls, double elements, double operations)
{
	double bytes = FLOAT_BYTES * elements, compute = operations / PEAKS.flops_per_s;
	assert_int_equal(got.calls, calls);
	assert_true(got.bytes == bytes);
	assert_true(got.flops == operations);
	assert_true(got.floor_s == (bytes > compute ? bytes : compute));
}

/* 5 filters of 3 x 3 x 7 on 2 images of 4 x 6 x 7, all around which one row or column of taps meets padding:
 * 4 x 3 - 2 by 6 x 3 - 2 pairs of pixels. Forward and both adjoints multiply as often. */
static void convolutions_are_counted(void **state)
{
	(void)state;
	const int x_count = 2 * 4 * 6 * 7, w_count = 5 * 3 * 3 * 7, y_count = 2 * 4 * 6 * 5;
	const double operations = 2.0 * 2 * 7 * 5 * 10 * 16;
	otp_graph *g = otp_graph_new();
	otp_node *x = otp_input(g, "x", OTP_F32, otp_shape4(2, 4, 6, 7));
	otp_node *w = otp_input(g, "w", OTP_F32, otp_shape4(5, 3, 3, 7));
	otp_node *y = otp_conv2d(x, w, 1, 1), *seed = otp_input(g, "g", OTP_F32, y->shape),
		 *leaves[] = {x, w};
	otp_node *grads[2];
	otp_output(y, OTP_SPAN_NONE, 0);
	otp_grad(otp_sum(otp_mul(y, seed), otp_shape4(1, 1, 1, 1)), leaves, 2, grads);
	otp_output(grads[0], OTP_SPAN_NONE, 0);
	otp_output(grads[1], OTP_SPAN_NONE, 0);
	otp_work by_op[OTP_OP_COUNT];
	count(g, by_op);
	check(by_op[OTP_OP_conv2d], 1, x_count + w_count + y_count, operations);
	check(by_op[OTP_OP_conv2d_dgrad], 1, x_count + w_count + y_count, operations);
	check(by_op[OTP_OP_conv2d_wgrad], 1, x_count + w_count + y_count, operations);
	otp_graph_free(g);
}

/* 2 x 2 patches of 2 images of 4 x 4 x 3 into 6 channels, without padding; then bias, and residual and scale.
 */
static void fused_convolutions_are_counted(void **state)
{
	(void)state;
	const int x_count = 2 * 4 * 4 * 3, w_count = 6 * 2 * 2 * 3, y_count = 2 * 2 * 2 * 6, b_count = 6;
	const double operations = 2.0 * y_count * 2 * 2 * 3;
	otp_graph *g = otp_graph_new();
	otp_node *x = otp_input(g, "x", OTP_F32, otp_shape4(2, 4, 4, 3));
	otp_node *w = otp_input(g, "w", OTP_F32, otp_shape4(6, 2, 2, 3));
	otp_node *b = otp_input(g, "b", OTP_F32, otp_shape4(1, 1, 1, 6));
	otp_node *r = otp_input(g, "r", OTP_F32, otp_shape4(2, 2, 2, 6));
	otp_output(otp_conv2d_bias(x, w, b, 2, 0, 0.2f), OTP_SPAN_NONE, 0);
	otp_output(otp_conv2d_merge(x, w, b, r, 2, 0, 0.7f), OTP_SPAN_NONE, 0);
	otp_work by_op[OTP_OP_COUNT];
	count(g, by_op);
	check(by_op[OTP_OP_conv2d_bias], 1, x_count + w_count + b_count + y_count, operations);
	check(by_op[OTP_OP_conv2d_merge], 1, x_count + w_count + b_count + 2 * y_count, operations);
	otp_graph_free(g);
}

/* 2 images of 5 tokens of 8 channels: queries with keys and shares with values; the adjoint takes the scores
 * again, and has the gradients of shares, queries, keys and values. */
static void attention_is_counted(void **state)
{
	(void)state;
	const int qkv_count = 2 * 5 * 24, y_count = 2 * 5 * 8;
	const double one = 2.0 * 2 * 5 * 5 * 8;
	otp_graph *g = otp_graph_new();
	otp_node *qkv = otp_input(g, "qkv", OTP_F32, otp_shape4(2, 1, 5, 24));
	otp_node *y = otp_attention(qkv, 0.35f), *seed = otp_input(g, "g", OTP_F32, y->shape), *grad;
	otp_output(y, OTP_SPAN_NONE, 0);
	otp_grad(otp_sum(otp_mul(y, seed), otp_shape4(1, 1, 1, 1)), &qkv, 1, &grad);
	otp_output(grad, OTP_SPAN_NONE, 0);
	otp_work by_op[OTP_OP_COUNT];
	count(g, by_op);
	check(by_op[OTP_OP_attention], 1, qkv_count + y_count, 2 * one);
	check(by_op[OTP_OP_attention_grad], 1, 2 * qkv_count + y_count, 5 * one);
	otp_graph_free(g);
}

/* What is not read or written is not moved: the rest of what is sliced, of a ring, of other workers' columns.
 */
static void only_what_moves_is_counted(void **state)
{
	(void)state;
	static const size_t bytes[OTP_TYPE_COUNT] = {[OTP_F32] = 4, [OTP_U32] = 4, [OTP_BF16] = 2};
	otp_call slice = {
	    .op = OTP_OP_slice, .in = {{.shape = {1, 1, 100, 8}}}, .out = {.shape = {1, 1, 3, 8}}};
	check(otp_work_of_call(&slice, bytes, PEAKS), 1, 2 * 24, 0);
	otp_call record = {
	    .op = OTP_OP_record,
	    .in = {{.shape = {1, 1, 1024, 5}}, {.shape = {1, 1, 1, 5}}, {.shape = {4, 1, 1, 8}}},
	    .out = {.shape = {1, 1, 1024, 5}}};
	check(otp_work_of_call(&record, bytes, PEAKS), 1, 2 * 5 + 4 * 8, 0);
	otp_call adam = {.op = OTP_OP_adam,
			 .in = {{.shape = {1, 1, 4, 96}},
				{.shape = {1, 1, 2, 96}},
				{.shape = {1, 1, 1, 12}},
				{.shape = {1, 1, 1, 4}}},
			 .out = {.shape = {1, 1, 4, 96}},
			 .worker = 1,
			 .processes = 1,
			 .workers = 2};
	check(otp_work_of_call(&adam, bytes, PEAKS), 1, (4 + 2 + 4) * 96 / 2 + 12 + 4, 0);
	otp_call squares = {.op = OTP_OP_squares,
			    .in = {{.shape = {1, 1, 2, 4096}}},
			    .out = {.shape = {1, 1, 1, 4}},
			    .worker = 1,
			    .processes = 1,
			    .workers = 2};
	check(otp_work_of_call(&squares, bytes, PEAKS), 1, 4096 + 2, 0);
}

/* By the rate of calls of its size. */
static void small_calls_may_be_in_a_cache(void **state)
{
	(void)state;
	static const size_t bytes[OTP_TYPE_COUNT] = {[OTP_F32] = 4};
	const otp_peaks peaks = {1, {32, 16, 8, 4, 2, 1}};
	for (int size = 0; size < OTP_PEAK_SIZES; size++) {
		int columns = size ? (int)(otp_peak_bytes[size] / 8) : 16;
		otp_call copy = {.op = OTP_OP_copy,
				 .in = {{.shape = {1, 1, 1, columns}}},
				 .out = {.shape = {1, 1, 1, columns}}};
		otp_work work = otp_work_of_call(&copy, bytes, peaks);
		assert_true(work.floor_s == 8.0 * columns / peaks.bytes_per_s[size]);
	}
}

/* Four planes of (3 x 8)(8 x 5), the first factor as it is and transposed. */
static void products_are_counted(void **state)
{
	(void)state;
	for (int transposed = 0; transposed < 2; transposed++) {
		otp_graph *g = otp_graph_new();
		otp_shape s = transposed ? otp_shape4(2, 2, 8, 3) : otp_shape4(2, 2, 3, 8);
		otp_node *a = otp_input(g, "a", OTP_F32, s);
		otp_node *b = otp_input(g, "b", OTP_F32, otp_shape4(2, 2, 8, 5));
		otp_output(otp_matmul(a, b, transposed, false), OTP_SPAN_NONE, 0);
		otp_work by_op[OTP_OP_COUNT];
		count(g, by_op);
		check(by_op[OTP_OP_matmul], 1, 4 * (3 * 8 + 8 * 5 + 3 * 5), 2.0 * 4 * 3 * 5 * 8);
		otp_graph_free(g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(convolutions_are_counted),	     cmocka_unit_test(fused_convolutions_are_counted),
	    cmocka_unit_test(attention_is_counted),	     cmocka_unit_test(only_what_moves_is_counted),
	    cmocka_unit_test(small_calls_may_be_in_a_cache), cmocka_unit_test(products_are_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
