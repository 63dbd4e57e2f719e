/* fuse: gradients of a network with skips, residuals, attention and resampling as fused nodes make them are
 * those of the nodes that were made: bit for bit in float32, since the additions and products are the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/places.h"
#include "graph/fuse.h"
#include "graph/program.h"
#include "nn/layers.h"
#include "nn/networks.h"

#include <string.h>

enum { SAMPLES = 2, SIZE = 8, CHANNELS = 3, WEIGHTS = 0, GRADS = 1 };

/* clang-format off */
static const otp_arch ARCHS[] = {
    {.h = SIZE, .w = SIZE, .c = CHANNELS, .residual = true, .patch = 1, .width = 8, .blocks = 2, .levels = 2,
     .multipliers = {1, 2}, .attention_count = 1, .attention = {4}, .filter = OTP_FILTER_FIR},
    {.h = SIZE, .w = SIZE, .c = CHANNELS, .residual = true, .patch = 1, .width = 12, .blocks = 1, .levels = 3,
     .multipliers = {1, 1, 2}, .filter = OTP_FILTER_BOX},
};
/* clang-format on */
enum { ARCH_COUNT = sizeof ARCHS / sizeof *ARCHS };

typedef struct built {
	otp_graph *graph;
	otp_node *x;
	int64_t weights;
	bool *needed;		 /* by node: whether a program computes it */
	int by_op[OTP_OP_COUNT]; /* how many of those */
} built;

static void count_ops(built *b)
{
	size_t size = (size_t)otp_graph_size(b->graph);
	bool *needed = b->needed = otp_calloc(size, sizeof *needed);
	for (int id = (int)size - 1; id >= 0; id--) {
		const otp_node *node = otp_graph_node(b->graph, id);
		needed[id] |= node->output;
		b->by_op[node->op] += needed[id];
		for (int i = 0; i < node->input_count; i++)
			needed[node->in[i]->id] |= needed[id];
	}
}

static void built_free(built *b)
{
	otp_graph_free(b->graph);
	otp_free(b->needed);
}

/* The gradients of T's weights, of half the squares of what T makes of x. */
static built build(const otp_arch *arch, bool fused)
{
	built b = {.graph = otp_graph_new()};
	otp_params *params = otp_params_new();
	otp_builder builder = otp_builder_make(b.graph, params, WEIGHTS, 0);
	b.x = otp_input(b.graph, "x", OTP_F32, otp_shape4(SAMPLES, SIZE, SIZE, CHANNELS));
	otp_node *y = otp_transport_build(&builder, arch, (otp_transport_input){b.x, b.x, NULL, NULL});
	otp_node *loss = otp_layer_total(otp_mul(y, y), 0.5f);
	otp_builder_output(&builder, otp_builder_grads(&builder, loss, NULL, NULL), GRADS, 0);
	b.weights = params->elements;
	if (fused)
		otp_graph_fuse(b.graph);
	otp_builder_done(&builder);
	otp_params_free(params);
	count_ops(&b);
	return b;
}

static float made_up(uint32_t which, uint32_t k)
{
	return 2 * otp_random_uniform(otp_stream_make(7, which, 0), OTP_PURPOSE_SYNTH, k) - 1;
}

static double *gradients(const char *backend, const built *b)
{
	place at = place_open(backend);
	size_t bytes = (size_t)b->weights * at.backend->element_bytes[OTP_F32];
	void *spans[OTP_MAX_SPANS] = {
	    [WEIGHTS] = at.backend->alloc(at.device, bytes), [GRADS] = at.backend->alloc(at.device, bytes)};
	float *host = otp_calloc((size_t)b->weights, sizeof *host), x[SAMPLES * SIZE * SIZE * CHANNELS];
	for (int64_t k = 0; k < b->weights; k++)
		host[k] = 0.5f * made_up(1, (uint32_t)k);
	for (uint32_t k = 0; k < sizeof x / sizeof *x; k++)
		x[k] = made_up(2, k);
	at.backend->upload(at.device, spans[WEIGHTS], OTP_F32, host, b->weights);
	otp_program *p = otp_program_new(at.backend, at.device, b->graph, spans, (otp_program_options){0});
	otp_program_write(p, b->x, x);
	otp_program_run(p);
	double *grads = fetch(at.backend, at.device, spans[GRADS], b->weights);
	otp_program_free(p);
	otp_free(host);
	at.backend->release(at.device, spans[WEIGHTS]);
	at.backend->release(at.device, spans[GRADS]);
	at.backend->close(at.device);
	return grads;
}

static void check_arch(const char *backend, const otp_arch *arch)
{
	built apart = build(arch, false), fused = build(arch, true);
	assert_int_equal(apart.weights, fused.weights);
	double *wanted = gradients(backend, &apart), *got = gradients(backend, &fused);
	double size = 0;
	for (int64_t k = 0; k < apart.weights; k++) {
		assert_true(got[k] == wanted[k]);
		size += wanted[k] * wanted[k];
	}
	assert_true(size > 0);
	otp_free(wanted);
	otp_free(got);
	built_free(&apart);
	built_free(&fused);
}

static void gradients_keep_their_bits(void **state)
{
	(void)state;
	for (int i = 0; i < ARCH_COUNT; i++) {
		check_arch("cpu", &ARCHS[i]);
		check_arch("shim", &ARCHS[i]);
	}
}

static bool is_norm_gradient(const otp_node *node)
{
	return strncmp(otp_op_name(node->op), "norm_dgrad", strlen("norm_dgrad")) == 0;
}

/* No factor of a gradient that GroupNorm or resampling makes is left, and none is cut out of it. */
static void check_nothing_is_left(const built *b)
{
	for (int id = 0; id < otp_graph_size(b->graph); id++) {
		const otp_node *node = otp_graph_node(b->graph, id), *x = node->in[0];
		bool scales = node->op == OTP_OP_affine && node->attr.affine.offset == 0;
		bool up = x && (x->op == OTP_OP_up2_merge || x->op == OTP_OP_down2);
		assert_false(b->needed[id] && scales && (up || is_norm_gradient(x)));
		assert_false(b->needed[id] && node->op == OTP_OP_slice && is_norm_gradient(x));
	}
}

static void all_ways_are_met(void **state)
{
	(void)state;
	for (int i = 0; i < ARCH_COUNT; i++) {
		built apart = build(&ARCHS[i], false), fused = build(&ARCHS[i], true);
		int skips = apart.by_op[OTP_OP_slice] - fused.by_op[OTP_OP_slice];
		check_nothing_is_left(&fused);
		assert_int_equal(skips, 2 * ARCHS[i].levels * (ARCHS[i].blocks + 1));
		assert_true(apart.by_op[OTP_OP_affine] - fused.by_op[OTP_OP_affine] > ARCHS[i].levels);
		assert_true(fused.by_op[OTP_OP_norm_dgrad_merge_two] > 0);
		assert_int_equal(fused.by_op[OTP_OP_up2_merge], ARCHS[i].levels - 1);
		assert_int_equal(apart.by_op[OTP_OP_conv2d_wgrad], fused.by_op[OTP_OP_conv2d_wgrad]);
		built_free(&apart);
		built_free(&fused);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(gradients_keep_their_bits),
	    cmocka_unit_test(all_ways_are_met),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
