/* What a program's calls cost at least, counted by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "graph/work.h"

/* Peaks at which a byte and an operation take a second: here convolutions compute, products move. */
static const otp_peaks PEAKS = {1, 1};
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

/* 5 filters of 3 x 3 x 7 on 2 images of 4 x 6 x 7: forward and both adjoints multiply as often. */
static void convolutions_are_counted(void **state)
{
	(void)state;
	const int x_count = 2 * 4 * 6 * 7, w_count = 5 * 3 * 3 * 7, y_count = 2 * 4 * 6 * 5;
	const double operations = 2.0 * y_count * 3 * 3 * 7;
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
	    cmocka_unit_test(convolutions_are_counted),
	    cmocka_unit_test(products_are_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
