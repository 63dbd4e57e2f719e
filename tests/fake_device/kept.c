/* kept: attention and its adjoint, which cuDNN computes by plans that it compiles, on the fake device: one
 * run, whose result goes to a file. kept.sh runs it with plans kept, damaged and refused. */
#include "bf16.h"
#include "graph/program.h"

#include <stdio.h>
#include <stdlib.h>

/* As many scores as a plan is worth compiling for. */
enum { TOKENS = 256, CHANNELS = 8, COUNT = TOKENS * CHANNELS };

static float *make_up(size_t count, uint32_t seed)
{
	float *values = otp_calloc(count, sizeof *values);
	for (size_t i = 0; i < count; i++) {
		seed = seed * 1664525u + 1013904223u;
		values[i] = (float)(seed >> 8) * 0x1p-23F - 1;
	}
	return values;
}

static void attend(const otp_backend *backend, otp_device *device, float *mixed, float *gradient)
{
	otp_graph *g = otp_graph_new();
	otp_node *qkv = otp_input(g, "qkv", OTP_F32, otp_shape4(1, 1, TOKENS, 3 * CHANNELS));
	otp_node *along = otp_input(g, "along", OTP_F32, otp_shape4(1, 1, TOKENS, CHANNELS));
	otp_node *y = otp_output(otp_attention(qkv, 0.5F), OTP_SPAN_NONE, 0);
	otp_node *dqkv = otp_output(otp_attention_grad(qkv, along, 0.5F), OTP_SPAN_NONE, 0);
	otp_type types[8];
	for (int id = 0; id < otp_graph_size(g); id++)
		types[id] = OTP_BF16;
	otp_program *p = otp_program_new(
	    backend, device, g, NULL, (otp_program_options){.precision = OTP_PRECISION_BF16, .types = types});
	float *in = make_up((size_t)3 * COUNT, 1), *g_in = make_up(COUNT, 2);
	otp_program_write(p, qkv, in);
	otp_program_write(p, along, g_in);
	otp_program_run(p);
	otp_program_read(p, y, mixed);
	otp_program_read(p, dqkv, gradient);
	otp_program_free(p);
	otp_graph_free(g);
	otp_free(in);
	otp_free(g_in);
}

int main(int argc, char **argv)
{
	otp_error err = {0};
	otp_device *device = NULL;
	const otp_backend *backend = otp_backend_find("cuda", &err);
	if (argc != 2 || !backend || !backend->open(0, &device, &err)) {
		fprintf(stderr, "kept: %s\n", err.text);
		return 1;
	}
	float *results = otp_calloc((size_t)4 * COUNT, sizeof *results);
	attend(backend, device, results, results + COUNT);
	backend->close(device);
	FILE *file = fopen(argv[1], "wb");
	bool good = file && fwrite(results, sizeof *results, (size_t)4 * COUNT, file) == (size_t)4 * COUNT;
	good = file && fclose(file) == 0 && good;
	otp_free(results);
	return good ? 0 : 1;
}
