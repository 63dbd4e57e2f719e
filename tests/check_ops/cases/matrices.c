/* matrices: products and softmax; attention has a file of its own. */
#include "check_ops/harness.h"

#include <math.h>

void check_matmul(void)
{
	/* the last six are for --bench */
	static const struct {
		int n, h, rows, columns, depth;
	} sizes[] = {{1, 1, 1, 1, 1},	    {1, 1, 7, 5, 3},	   {2, 3, 17, 33, 20},
		     {1, 1, 64, 1, 48},	    {4, 1, 1, 40, 65},	   {2, 1, 3, 150, 40},
		     {2, 1, 150, 4, 40},    {1, 2, 70, 90, 2},	   {1, 1, 80, 112, 128},
		     {16, 1, 256, 256, 64}, {1, 1, 256, 512, 512}, {1, 1, 256, 128, 128},
		     {1, 1, 256, 128, 4},   {1, 1, 256, 2, 128},   {1, 1, 128, 4, 256}};
	enum { SIZES = sizeof sizes / sizeof *sizes };
	for (int k = 0; k < SIZES; k++)
		for (int transposed = 0; transposed < 4; transposed++) {
			bool ta = transposed & 1, tb = transposed & 2;
			int m = sizes[k].rows, n = sizes[k].columns, d = sizes[k].depth;
			test_case t = {.op = OTP_OP_matmul,
				       .count = 2,
				       .bound = BY_ABS,
				       .roundings = 1 + d,
				       .order = 2,
				       .bf16 = true,
				       .bench_only = k >= SIZES - 6,
				       .flops = 2.0 * sizes[k].n * sizes[k].h * m * n * d};
			t.in[0] = otp_shape4(sizes[k].n, sizes[k].h, ta ? d : m, ta ? m : d);
			t.in[1] = otp_shape4(sizes[k].n, sizes[k].h, tb ? n : d, tb ? d : n);
			t.attr.matmul.ta = ta;
			t.attr.matmul.tb = tb;
			run_case(t);
		}
}

/* x - max is below 4 and rounded once: 4 u in the exponential, which adds 3.4 u;
 * the same again, and a rounding for each of c terms, in the sum; a quotient. The device's two exponentials
 * are (4 + 2.35 4) u off. */
void check_softmax(void)
{
	for (int k = 0; k < SHAPE_COUNT; k++)
		run_case((test_case){.op = OTP_OP_softmax,
				     .count = 1,
				     .in = {shapes[k]},
				     .bound = BY_OUT,
				     .roundings = 18 + shapes[k].c,
				     .device_roundings = 27,
				     .order = 2,
				     .bench_only = k == LARGE});
}

/* y (g - <y, g>) on absolute values with a plus sign. */
static void softmax_gate_magnitude(const test_case *t, double *const *in, double *magnitude)
{
	int c = t->in[0].c;
	for (int64_t row = 0; row < otp_shape_count(t->in[0]) / c; row++) {
		double inner = 0;
		for (int64_t i = row * c; i < (row + 1) * c; i++)
			inner += fabs(in[0][i] * in[1][i]);
		for (int64_t i = row * c; i < (row + 1) * c; i++)
			magnitude[i] = fabs(in[0][i]) * (fabs(in[1][i]) + inner);
	}
}

void check_softmax_gate(void)
{
	for (int k = 0; k < SHAPE_COUNT; k++)
		run_case((test_case){.op = OTP_OP_softmax_gate,
				     .count = 2,
				     .in = {shapes[k], shapes[k]},
				     .fill = {SHARE},
				     .bound = BY_RULE,
				     .roundings = 3 + shapes[k].c,
				     .rule = softmax_gate_magnitude,
				     .order = 2,
				     .bench_only = k == LARGE});
}
