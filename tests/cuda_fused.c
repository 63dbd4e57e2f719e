/* cuda_fused: a convolution so large that engines with an epilogue are compiled
 * for it, on the fake device: taken where they are fast, left where they are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bf16.h"
#include "graph/program.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 2^22 results of three products each, y = SCALE (x * w + b + r) */
enum { N = 16, SIZE = 128, IN = 3, OUT = 16, PIXELS = N * SIZE * SIZE, COUNT = PIXELS * OUT };
static const float SCALE = 0.75F;

typedef struct operands {
	float *x, *w, *b, *r;
} operands;

/* In (-1, 1), and bfloat16 numbers. */
static float *make_up(size_t count, uint32_t seed)
{
	float *values = otp_calloc(count, sizeof *values);
	for (size_t i = 0; i < count; i++) {
		seed = seed * 1664525u + 1013904223u;
		values[i] = otp_bf16_widen(otp_bf16_round((float)(seed >> 8) * 0x1p-23F - 1));
	}
	return values;
}

/* The result as the backend computes it, choosing plans anew in an empty folder. */
static float *compute(const operands *o, const char *folder)
{
	otp_error err = {0};
	otp_device *device = NULL;
	setenv("OTPLAN_CUDA_CACHE", folder, 1);
	const otp_backend *backend = otp_backend_find("cuda", &err);
	if (!backend || !backend->open(0, &device, &err))
		fail_msg("%s", err.text);
	otp_graph *g = otp_graph_new();
	otp_node *x = otp_input(g, "x", OTP_F32, otp_shape4(N, SIZE, SIZE, IN));
	otp_node *w = otp_input(g, "w", OTP_F32, otp_shape4(OUT, 1, 1, IN));
	otp_node *b = otp_input(g, "b", OTP_F32, otp_shape4(1, 1, 1, OUT));
	otp_node *r = otp_input(g, "r", OTP_F32, otp_shape4(N, SIZE, SIZE, OUT));
	otp_node *y = otp_output(otp_conv2d_merge(x, w, b, r, 1, 0, SCALE), OTP_SPAN_NONE, 0);
	otp_type *types = otp_calloc((size_t)otp_graph_size(g), sizeof *types);
	for (int id = 0; id < otp_graph_size(g); id++)
		types[id] = otp_graph_node(g, id)->type;
	types[x->id] = types[r->id] = types[y->id] = OTP_BF16;
	otp_program *p = otp_program_new(
	    backend, device, g, NULL, (otp_program_options){.precision = OTP_PRECISION_BF16, .types = types});
	otp_program_write(p, x, o->x);
	otp_program_write(p, w, o->w);
	otp_program_write(p, b, o->b);
	otp_program_write(p, r, o->r);
	otp_program_run(p);
	float *result = otp_calloc(COUNT, sizeof *result);
	otp_program_read(p, y, result);
	otp_program_free(p);
	otp_graph_free(g);
	otp_free(types);
	backend->close(device);
	return result;
}

/* The mode in the line about the fused engine in the folder's file of choices. */
static int chosen_mode(const char *folder)
{
	char command[512], line[512];
	int mode = -1;
	snprintf(command, sizeof command, "grep -h 'residual.*compiled$' %s/cudnn-*.txt", folder);
	FILE *lines = popen(command, "r");
	assert_non_null(lines);
	assert_non_null(fgets(line, sizeof line, lines));
	assert_int_equal(sscanf(line, "%d", &mode), 1);
	pclose(lines);
	return mode;
}

/* Either rounds its result to bfloat16, by 2^-8 of it; apart, the convolution's is rounded before, by 2^-9 of
 * at most three products. Sums of float32 are another millionth. */
static void check(const operands *o, const float *together, const float *apart)
{
	for (int64_t i = 0; i < COUNT; i++) {
		double sum = (double)o->b[i % OUT] + (double)o->r[i];
		for (int c = 0; c < IN; c++)
			sum += (double)o->x[i / OUT * IN + c] * (double)o->w[i % OUT * IN + c];
		double exact = (double)SCALE * sum, once = 0x1p-8 * fabs(exact) + 1e-6;
		assert_true(fabs((double)together[i] - exact) <= once);
		assert_true(fabs((double)apart[i] - exact) <= 1.01 * once + (double)SCALE * IN * 0x1p-8);
	}
}

static void engines_are_compiled_where_they_win(void **state)
{
	(void)state;
	enum { NONE_WANTED = 4 }; /* in place of a mode, of which cuDNN has four */
	operands o = {make_up((size_t)PIXELS * IN, 1), make_up((size_t)OUT * IN, 2), make_up(OUT, 3),
		      make_up(COUNT, 4)};
	char folder[] = "/tmp/otplan-fused-XXXXXX", fast[64], slow[64];
	assert_non_null(mkdtemp(folder));
	snprintf(fast, sizeof fast, "%s/fast", folder);
	snprintf(slow, sizeof slow, "%s/slow", folder);
	float *together = compute(&o, fast);
	assert_int_not_equal(chosen_mode(fast), NONE_WANTED);
	setenv("OTPLAN_FAKE_SLOW", "1", 1);
	float *apart = compute(&o, slow);
	assert_int_equal(chosen_mode(slow), NONE_WANTED);
	assert_memory_not_equal(together, apart, COUNT * sizeof *apart);
	check(&o, together, apart);
	char command[128];
	snprintf(command, sizeof command, "rm -r %s", folder);
	assert_int_equal(system(command), 0);
	float *all[] = {o.x, o.w, o.b, o.r, together, apart};
	for (int i = 0; i < 6; i++)
		otp_free(all[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(engines_are_compiled_where_they_win)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
