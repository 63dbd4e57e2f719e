/* total: what gradients add up to is what they say (graph/total.c): of every node of a U-Net's backward pass
 * whose total is derived, in double.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/places.h"
#include "graph/program.h"
#include "nn/layers.h"
#include "nn/networks.h"

#include <math.h>

enum { SAMPLES = 2, SIZE = 8, CHANNELS = 3, WEIGHTS = 0, MAPS = 1, TOTALS = 2, SPANS = 3, MOST = 256 };

static const otp_arch ARCH = {.h = SIZE,
			      .w = SIZE,
			      .c = CHANNELS,
			      .residual = true,
			      .patch = 1,
			      .width = 8,
			      .blocks = 2,
			      .levels = 2,
			      .multipliers = {1, 2},
			      .attention_count = 1,
			      .attention = {4},
			      .filter = OTP_FILTER_FIR};

/* A map and its total, each in its span. */
typedef struct pair {
	otp_op op;
	otp_shape shape;
	int64_t map, total;
} pair;

typedef struct backward {
	otp_graph *graph;
	otp_node *x;
	int64_t elements[SPANS];
	pair pairs[MOST];
	int count, by_op[OTP_OP_COUNT];
} backward;

static bool is_map(const otp_node *node) { return node->shape.h > 1 && node->op != OTP_OP_LEAF; }

static void keep(backward *b, otp_node *map, otp_node *total)
{
	pair p = {map->op, map->shape, b->elements[MAPS], b->elements[TOTALS]};
	assert_true(b->count < MOST);
	assert_true(otp_shape_equal(total->shape, otp_shape4(1, 1, 1, map->shape.c)));
	otp_output(otp_copy(map), MAPS, p.map);
	otp_output(otp_copy(total), TOTALS, p.total);
	b->elements[MAPS] += otp_shape_count(map->shape);
	b->elements[TOTALS] += map->shape.c;
	b->by_op[map->op]++;
	b->pairs[b->count++] = p;
}

/* T's backward pass, of half the squares of what it makes of x. */
static backward build(void)
{
	backward b = {.graph = otp_graph_new()};
	otp_params *params = otp_params_new();
	otp_builder builder = otp_builder_make(b.graph, params, WEIGHTS, 0);
	b.x = otp_input(b.graph, "x", OTP_F32, otp_shape4(SAMPLES, SIZE, SIZE, CHANNELS));
	otp_node *y = otp_transport_build(&builder, &ARCH, (otp_transport_input){b.x, b.x, NULL, NULL});
	int forward = otp_graph_size(b.graph);
	otp_free(otp_builder_grads(&builder, otp_layer_total(otp_mul(y, y), 0.5f), NULL, NULL));
	int end = otp_graph_size(b.graph);
	for (int id = forward; id < end; id++) {
		otp_node *node = otp_graph_node(b.graph, id);
		otp_node *total = is_map(node) ? otp_gradient_total(node) : NULL;
		if (total && total->op != OTP_OP_sum)
			keep(&b, node, total);
	}
	b.elements[WEIGHTS] = params->elements;
	otp_builder_done(&builder);
	otp_params_free(params);
	return b;
}

static float made_up(uint32_t which, uint32_t k)
{
	return 2 * otp_random_uniform(otp_stream_make(7, which, 0), OTP_PURPOSE_SYNTH, k) - 1;
}

static void check_pair(const pair *p, const double *maps, const double *totals)
{
	int64_t rows = otp_shape_count(p->shape) / p->shape.c;
	for (int c = 0; c < p->shape.c; c++) {
		double sum = 0, size = 0;
		for (int64_t row = 0; row < rows; row++) {
			double value = maps[p->map + row * p->shape.c + c];
			sum += value;
			size += fabs(value);
		}
		/* Through ten layers at most, of sums over a thousand terms: far above their roundings. */
		if (!(fabs(totals[p->total + c] - sum) <= 1e-11 * size) || !(size > 0))
			fail_msg("%s, channel %d: %.17g, not %.17g", otp_op_name(p->op), c,
				 totals[p->total + c], sum);
	}
}

static void totals_are_sums(void **state)
{
	(void)state;
	backward b = build();
	place at = place_open("ref");
	void *spans[OTP_MAX_SPANS] = {NULL};
	for (int i = 0; i < SPANS; i++)
		spans[i] =
		    at.backend->alloc(at.device, (size_t)b.elements[i] * at.backend->element_bytes[OTP_F32]);
	float *weights = otp_calloc((size_t)b.elements[WEIGHTS], sizeof *weights);
	float x[SAMPLES * SIZE * SIZE * CHANNELS];
	for (int64_t k = 0; k < b.elements[WEIGHTS]; k++)
		weights[k] = 0.5f * made_up(1, (uint32_t)k);
	for (uint32_t k = 0; k < sizeof x / sizeof *x; k++)
		x[k] = made_up(2, k);
	at.backend->upload(at.device, spans[WEIGHTS], OTP_F32, weights, b.elements[WEIGHTS]);
	otp_program *p = otp_program_new(at.backend, at.device, b.graph, spans, (otp_program_options){0});
	otp_program_write(p, b.x, x);
	otp_program_run(p);
	double *maps = fetch(at.backend, at.device, spans[MAPS], b.elements[MAPS]);
	double *totals = fetch(at.backend, at.device, spans[TOTALS], b.elements[TOTALS]);
	for (int i = 0; i < b.count; i++)
		check_pair(&b.pairs[i], maps, totals);
	const otp_op derived[] = {OTP_OP_norm_dgrad,   OTP_OP_norm_dgrad_merge,
				  OTP_OP_conv2d_dgrad, OTP_OP_affine,
				  OTP_OP_slice,	       OTP_OP_add};
	for (size_t i = 0; i < sizeof derived / sizeof *derived; i++)
		assert_true(b.by_op[derived[i]] > 0);
	otp_program_free(p);
	otp_free(maps);
	otp_free(totals);
	otp_free(weights);
	for (int i = 0; i < SPANS; i++)
		at.backend->release(at.device, spans[i]);
	at.backend->close(at.device);
	otp_graph_free(b.graph);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(totals_are_sums)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
