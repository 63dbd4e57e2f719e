/* cuda_precisions: what --precision asks of cuDNN and cuBLASLt for float32 tensors, on the fake device, whose
 * tensor cores round operands as they are told: a convolution, its adjoints and a product in each precision.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "graph/program.h"

#include <math.h>
#include <stdlib.h>

/* A 1 x 1 convolution and a product are the same sums: y = x w^T. */
enum { ROWS = 64, IN = 24, OUT = 16 };

static float *make_up(size_t count, uint32_t seed)
{
	float *values = otp_calloc(count, sizeof *values);
	for (size_t i = 0; i < count; i++) {
		seed = seed * 1664525u + 1013904223u;
		values[i] = (float)(seed >> 8) * 0x1p-23F - 1;
	}
	return values;
}

typedef struct outcome {
	double worst; /* error in units of the sum of absolute products */
} outcome;

static void judge(outcome *o, double got, double exact, double size)
{
	o->worst = fmax(o->worst, fabs(got - exact) / size);
}

enum { PRODUCT, FORWARD, DGRAD, WGRAD, KINDS };

/* Exact sums of whichever is the result: rows x OUT, rows x IN, OUT x IN. */
static void check(outcome *o, int kind, const float *got, const float *x, const float *w, const float *y)
{
	int rows = kind == WGRAD ? OUT : ROWS, columns = kind == PRODUCT || kind == FORWARD ? OUT : IN;
	int terms = kind == DGRAD ? OUT : kind == WGRAD ? ROWS : IN;
	for (int i = 0; i < rows; i++)
		for (int j = 0; j < columns; j++) {
			double exact = 0, size = 0;
			for (int k = 0; k < terms; k++) {
				double product =
				    kind == WGRAD   ? (double)y[k * OUT + i] * (double)x[k * IN + j]
				    : kind == DGRAD ? (double)y[i * OUT + k] * (double)w[k * IN + j]
						    : (double)x[i * IN + k] * (double)w[j * IN + k];
				exact += product;
				size += fabs(product);
			}
			judge(o, (double)got[i * columns + j], exact, size);
		}
}

static void compute(otp_precision precision, outcome outcomes[KINDS])
{
	otp_error err = {0};
	otp_device *device = NULL;
	const otp_backend *backend = otp_backend_find("cuda", &err);
	if (!backend || !backend->open(0, &device, &err))
		fail_msg("%s", err.text);
	otp_graph *g = otp_graph_new();
	otp_node *x = otp_input(g, "x", OTP_F32, otp_shape4(1, 1, ROWS, IN));
	otp_node *w = otp_input(g, "w", OTP_F32, otp_shape4(OUT, 1, 1, IN));
	otp_node *y = otp_input(g, "y", OTP_F32, otp_shape4(1, 1, ROWS, OUT));
	otp_node *flat = otp_reshape(w, otp_shape4(1, 1, OUT, IN));
	otp_node *results[KINDS] = {[PRODUCT] = otp_matmul(x, flat, false, true),
				    [FORWARD] = otp_conv2d(x, w, 1, 0),
				    [DGRAD] = otp_conv2d_dgrad(y, w, 1, 0, 1, ROWS),
				    [WGRAD] = otp_conv2d_wgrad(x, y, 1, 0, 1, 1)};
	for (int k = 0; k < KINDS; k++)
		results[k] = otp_output(results[k], OTP_SPAN_NONE, 0);
	otp_type *types = otp_calloc((size_t)otp_graph_size(g), sizeof *types); /* all float32 */
	otp_program *p = otp_program_new(backend, device, g, NULL,
					 (otp_program_options){.precision = precision, .types = types});
	float *in[] = {make_up(ROWS * IN, 1), make_up(OUT * IN, 2), make_up(ROWS * OUT, 3)};
	float *got = otp_calloc((size_t)ROWS * (IN + OUT), sizeof *got);
	otp_program_write(p, x, in[0]);
	otp_program_write(p, w, in[1]);
	otp_program_write(p, y, in[2]);
	otp_program_run(p);
	for (int k = 0; k < KINDS; k++) {
		otp_program_read(p, results[k], got);
		check(&outcomes[k], k, got, in[0], in[1], in[2]);
	}
	otp_program_free(p);
	otp_graph_free(g);
	otp_free(types);
	otp_free(got);
	for (int i = 0; i < 3; i++)
		otp_free(in[i]);
	backend->close(device);
}

/* Float32: the fake device sums in double and rounds the result, by 2^-24 of it. TF32: either operand's
 * rounding is 2^-11, and that of a product their sum and product. Bfloat16: 2^-9 each, and a result by way of
 * bfloat16 is rounded by 2^-9 (nearest, 8 bits with the first). The rounding is there: of hundreds of sums of
 * random signs the worst is above a sixteenth of the bound. */
static void operands_are_rounded_as_asked(void **state)
{
	(void)state;
	static const struct {
		otp_precision precision;
		double operand, result;
	} cases[] = {{OTP_PRECISION_F32, 0, 0x1p-24},
		     {OTP_PRECISION_TF32, 0x1p-11, 0x1p-24},
		     {OTP_PRECISION_BF16, 0x1p-9, 0x1p-9}};
	for (int i = 0; i < 3; i++) {
		outcome outcomes[KINDS] = {{0}};
		double operands = 2 * cases[i].operand + cases[i].operand * cases[i].operand;
		double bound = operands + cases[i].result * (1 + operands);
		compute(cases[i].precision, outcomes);
		for (int k = 0; k < KINDS; k++) {
			assert_true(outcomes[k].worst <= bound);
			assert_true(outcomes[k].worst >= bound / 16);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(operands_are_rounded_as_asked)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
