/* steps_bf16: training steps with activations in bfloat16 against the same in float32. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/places.h"
#include "graph/storage.h"

#include <math.h>
#include <string.h>

/* clang-format off */
static const otp_objective BF16_OBJECTIVE = {
    .arch = {.h = 8, .w = 8, .c = 3, .condition_noise = true, .noise_features = 8, .latent = 5, .embedding = 8,
	     .residual = true, .patch = 1, .width = 16, .blocks = 1, .levels = 2, .multipliers = {1, 2},
	     .attention_count = 1, .attention = {4}, .filter = OTP_FILTER_FIR, .potential_features = 8,
	     .potential_width = 16, .potential_levels = 3, .potential_multipliers = {1, 2, 2}},
    .tau = 0.1};
/* clang-format on */
enum { BF16_BATCH = 4 };

/* The most values in bfloat16 that follow from one another. */
static int longest_chain(const otp_graph *g)
{
	int count = otp_graph_size(g), longest = 0;
	otp_type *types = otp_storage_types(g, true, 0);
	int *chain = otp_calloc((size_t)count, sizeof *chain);
	for (int id = 0; id < count; id++) {
		const otp_node *node = otp_graph_node(g, id);
		for (int i = 0; i < node->input_count; i++)
			if (chain[node->in[i]->id] > chain[id])
				chain[id] = chain[node->in[i]->id];
		chain[id] += types[id] == OTP_BF16 && node->op != OTP_OP_reshape;
		longest = chain[id] > longest ? chain[id] : longest;
	}
	otp_free(chain);
	otp_free(types);
	return longest;
}

static int chain_of(otp_network network)
{
	otp_params *t = otp_params_new(), *v = otp_params_new();
	otp_step_graph step =
	    network == OTP_TRANSPORT
		? otp_transport_step(&BF16_OBJECTIVE, t, v, BF16_BATCH, BF16_BATCH, 0)
		: otp_potential_step(&BF16_OBJECTIVE, t, v, BF16_BATCH, BF16_BATCH, 0, true);
	int chain = longest_chain(step.graph);
	otp_graph_free(step.graph);
	otp_params_free(t);
	otp_params_free(v);
	return chain;
}

/* What both networks' gradients are, as the first moments that one update leaves. */
typedef struct gradients {
	double *of[OTP_NETWORKS], report[OTP_NETWORKS][OTP_REPORT_COUNT];
	int64_t count[OTP_NETWORKS];
	size_t program_bytes;
} gradients;

static gradients gradients_on(const char *backend_name, otp_precision precision)
{
	otp_runtime work;
	otp_error err = {0};
	if (!work_open(backend_name, 1, &work, &err))
		fail_msg("%s", err.text);
	work.precision = precision;
	otp_engine_settings settings = {.objective = BF16_OBJECTIVE,
					.batch = BF16_BATCH,
					.parts = 1,
					.r1_used = true,
					.beta1 = 0.5,
					.beta2 = 0.9};
	otp_engine *e = otp_engine_new(&work, &settings);
	otp_engine_size size = otp_engine_measure(e);
	gradients g = {.program_bytes = size.arena_bytes + size.scratch_bytes};
	float x[2][BF16_BATCH * 8 * 8 * 3];
	for (otp_network i = 0; i < OTP_NETWORKS; i++) {
		for (uint32_t k = 0; k < sizeof x[i] / sizeof **x; k++)
			x[i][k] =
			    2 * otp_random_uniform(otp_stream_make(5, (uint32_t)i, 0), OTP_PURPOSE_SYNTH, k) -
			    1;
		int64_t rows = otp_engine_rows(i), elements = otp_engine_params(e, i)->elements;
		float *state = otp_calloc((size_t)(rows * elements), sizeof *state);
		/* All parameters random, so that nothing hides behind a layer that starts at zero. */
		for (int64_t k = 0; k < elements; k++)
			state[k] = 0.3f * (2 * otp_random_uniform(otp_stream_make(6, (uint32_t)i, 0),
								  OTP_PURPOSE_SYNTH, (uint32_t)k) -
					   1);
		otp_engine_write(e, i, state);
		otp_free(state);
	}
	otp_update u = {.seed = 4, .count = 1, .keep = 1, .sigma = 0.3, .r1 = 0.5, .rate = 0};
	otp_engine_transport_step(e, (otp_batch){.values = x[0]}, &u);
	otp_engine_potential_step(e, (otp_batch){.values = x[0]}, (otp_batch){.values = x[1]}, &u);
	otp_losses losses = otp_engine_losses(e);
	memcpy(g.report[OTP_TRANSPORT], losses.sum[OTP_STEP_TRANSPORT], sizeof g.report[0]);
	memcpy(g.report[OTP_POTENTIAL], losses.sum[OTP_STEP_POTENTIAL_R1], sizeof g.report[0]);
	for (otp_network i = 0; i < OTP_NETWORKS; i++) {
		g.count[i] = otp_engine_params(e, i)->elements;
		double *state =
		    fetch(work.backend, work.device, otp_engine_state(e, i), g.count[i] * (OTP_ROW_M + 1));
		g.of[i] = otp_calloc((size_t)g.count[i], sizeof(double));
		memcpy(g.of[i], state + OTP_ROW_M * g.count[i], (size_t)g.count[i] * sizeof(double));
		otp_free(state);
	}
	otp_engine_free(e);
	otp_runtime_close(&work);
	return g;
}

/* Root mean square of a - b, and of b. */
static double rms_between(const double *a, const double *b, int64_t count)
{
	double sum = 0;
	for (int64_t i = 0; i < count; i++)
		sum += (a[i] - b[i]) * (a[i] - b[i]);
	return sqrt(sum / (double)count);
}

/* Every value stored is off by at most 2^-8 of itself, this way or that, and a
 * network hands relative errors on much as they are: D roundings in a row make
 * delta = sqrt(D) 2^-8. A LeakyReLU whose argument is off by delta of its size
 * is on the wrong side with probability delta / pi (normal variables), and its
 * slope is then 0.2 for 1 or the reverse: sqrt(delta / pi) of a gradient, as a
 * root mean square. D counts forward and backward passes, R1's too; a gate sees
 * the first alone, which leaves room for there being several in a row. */
static double gradient_allowance(double delta) { return delta + sqrt(delta / OTP_PI); }

static void check_bf16_steps(const char *backend_name)
{
	gradients wide = gradients_on(backend_name, OTP_PRECISION_F32);
	gradients narrow = gradients_on(backend_name, OTP_PRECISION_BF16);
	for (otp_network i = 0; i < OTP_NETWORKS; i++) {
		double *zeros = otp_calloc((size_t)wide.count[i], sizeof *zeros);
		double size = rms_between(wide.of[i], zeros, wide.count[i]), largest = 0;
		double off = rms_between(narrow.of[i], wide.of[i], wide.count[i]) / size;
		double delta = sqrt(chain_of(i)) * 0x1p-8;
		print_message("             %s: gradients %.4f off, %.4f allowed\n",
			      i == OTP_TRANSPORT ? "transport" : "potential", off, gradient_allowance(delta));
		assert_true(off > 0 && off <= gradient_allowance(delta));
		for (int k = 0; k < OTP_REPORT_COUNT; k++)
			largest = fmax(largest, fabs(wide.report[i][k]));
		for (int k = 0; k < OTP_REPORT_COUNT; k++)
			assert_true(fabs(narrow.report[i][k] - wide.report[i][k]) <= delta * largest);
		otp_free(zeros);
		otp_free(wide.of[i]);
		otp_free(narrow.of[i]);
	}
	/* Half, but for what stays float32. */
	double share = (double)narrow.program_bytes / (double)wide.program_bytes;
	print_message("             programs on %s take %.2f of float32's memory\n", backend_name, share);
	if (strcmp(backend_name, "shim") == 0) /* a library's workspaces are another matter */
		assert_true(share < 0.7);
}

static void bf16_steps_follow_float32(void **state)
{
	(void)state;
	check_bf16_steps("shim");
	if (has_gpu())
		check_bf16_steps("cuda");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(bf16_steps_follow_float32)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
