/* style: one product for all adaptive norms of a generator whose parameters are arranged, against one for
 * each norm; and that files do not know of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/places.h"
#include "nn/networks.h"

#include <math.h>
#include <string.h>

enum { N = 2, SIZE = 8, CHANNELS = 3, LATENT = 5, WEIGHTS = 0, GRADS = 1 };

static const otp_arch ARCH = {.h = SIZE,
			      .w = SIZE,
			      .c = CHANNELS,
			      .condition_noise = true,
			      .noise_features = 4,
			      .latent = LATENT,
			      .embedding = 8,
			      .residual = true,
			      .patch = 1,
			      .width = 16,
			      .blocks = 1,
			      .levels = 2,
			      .multipliers = {1, 2},
			      .attention_count = 1,
			      .attention = {4},
			      .filter = OTP_FILTER_FIR};

static float made_up(uint32_t which, uint32_t k)
{
	return 2 * otp_random_uniform(otp_stream_make(3, which, 0), OTP_PURPOSE_SYNTH, k) - 1;
}

typedef struct network {
	otp_graph *graph;
	otp_params *params;
	otp_node *leaf[4], *y; /* x', eps, z, seed */
} network;

/* T and its gradients of <y, seed>. */
static void build(network *t, otp_params *params)
{
	otp_shape s = otp_shape4(N, SIZE, SIZE, CHANNELS);
	t->graph = otp_graph_new();
	t->params = params;
	otp_builder b = otp_builder_make(t->graph, params, WEIGHTS, 0);
	const otp_shape shapes[] = {s, s, otp_shape4(N, 1, 1, LATENT), s};
	for (int i = 0; i < 4; i++)
		t->leaf[i] = otp_input(t->graph, "leaf", OTP_F32, shapes[i]);
	otp_transport_input in = {t->leaf[0], t->leaf[0], t->leaf[1], t->leaf[2]};
	otp_node *y = otp_transport_build(&b, &ARCH, in);
	otp_node *loss = otp_sum(otp_mul(y, t->leaf[3]), otp_shape4(1, 1, 1, 1));
	otp_builder_output(&b, otp_builder_grads(&b, loss, NULL, NULL), GRADS, 0);
	t->y = otp_output(y, OTP_SPAN_NONE, 0);
	otp_builder_done(&b);
}

/* Fresh parameters, as they are found. */
static otp_params *discover(void)
{
	network t;
	otp_params *params = otp_params_new();
	build(&t, params);
	otp_graph_free(t.graph);
	return params;
}

/* By name and place alone, wherever they lie. */
static float *make_row(const otp_params *p)
{
	float *row = otp_calloc((size_t)p->elements, sizeof *row);
	for (int k = 0; k < p->count; k++)
		for (int64_t i = 0; i < otp_shape_count(p->info[k].shape); i++)
			row[p->info[k].offset + i] = 0.5f * made_up((uint32_t)(10 + k), (uint32_t)i);
	return row;
}

typedef struct results {
	double *y, *grads;
} results;

static results run(const char *backend, otp_params *params)
{
	network t;
	place at = place_open(backend);
	size_t bytes = (size_t)params->elements * at.backend->element_bytes[OTP_F32];
	void *spans[OTP_MAX_SPANS] = {at.backend->alloc(at.device, bytes),
				      at.backend->alloc(at.device, bytes)};
	float *row = make_row(params), values[N * SIZE * SIZE * CHANNELS];
	at.backend->upload(at.device, spans[WEIGHTS], OTP_F32, row, params->elements);
	build(&t, params);
	otp_program *p =
	    otp_program_new(at.backend, at.device, t.graph, spans, (otp_program_options){.poison = true});
	for (uint32_t i = 0; i < 4; i++) {
		for (uint32_t k = 0; k < sizeof values / sizeof *values; k++)
			values[k] = made_up(i, k);
		otp_program_write(p, t.leaf[i], values);
	}
	otp_program_run(p);
	results r = {fetch(at.backend, at.device, otp_program_data(p, t.y), otp_shape_count(t.y->shape)),
		     fetch(at.backend, at.device, spans[GRADS], params->elements)};
	otp_program_free(p);
	otp_graph_free(t.graph);
	for (int span = 0; span < 2; span++)
		at.backend->release(at.device, spans[span]);
	otp_free(row);
	at.backend->close(at.device);
	return r;
}

static void free_results(results r)
{
	otp_free(r.y);
	otp_free(r.grads);
}

static double *of(const otp_params *p, int k, const results *r) { return r->grads + p->info[k].offset; }

/* The same sums but for the embedding's gradient, which one product adds up over all norms at once: what is
 * behind it may be off by roundings. These grow with the unit roundoff, and float32 shows by how much they
 * are amplified. */
static void one_product_is_as_many(void **state)
{
	(void)state;
	otp_params *apart = discover(), *arranged = discover();
	otp_params_arrange(arranged);
	assert_true(arranged->arranged);
	results a = run("ref", apart), b = run("ref", arranged), f = run("cpu", arranged),
		s = run("shim", arranged);
	assert_memory_equal(a.y, b.y, N * SIZE * SIZE * CHANNELS * sizeof *a.y);
	int differing = 0;
	for (int k = 0; k < apart->count; k++) {
		int64_t count = otp_shape_count(apart->info[k].shape);
		double amplified = 0, largest = 0;
		for (int64_t i = 0; i < count; i++) {
			amplified = fmax(amplified, fabs(of(arranged, k, &f)[i] - of(arranged, k, &b)[i]));
			largest = fmax(largest, fabs(of(arranged, k, &b)[i]));
		}
		assert_true(largest > 0 && amplified < 1e-4 * (1 + largest));
		for (int64_t i = 0; i < count; i++) {
			double error = fabs(of(apart, k, &a)[i] - of(arranged, k, &b)[i]);
			if (!(error <= 4 * amplified * 0x1p-53 / 0x1p-24 + 0x1p-60 * largest))
				fail_msg("%s[%d]: %.3g off", apart->info[k].name, (int)i, error);
			differing += error > 0;
			assert_true(fabs(of(arranged, k, &s)[i] - of(arranged, k, &b)[i]) <=
				    1e-4 * (1 + largest)); /* nor is anything written elsewhere */
		}
	}
	print_message("             %d gradients differ in their last bits\n", differing);
	results all[] = {a, b, f, s};
	for (int i = 0; i < 4; i++)
		free_results(all[i]);
	otp_params_free(apart);
	otp_params_free(arranged);
}

static void files_keep_the_order_of_before(void **state)
{
	(void)state;
	otp_params *apart = discover(), *arranged = discover();
	otp_params_arrange(arranged);
	int64_t elements = apart->elements, moved = 0;
	assert_int_equal(arranged->elements, elements);
	float *before = make_row(apart), *row = make_row(arranged),
	      *rows = otp_calloc((size_t)(2 * elements), sizeof *rows);
	for (int k = 0; k < apart->count; k++)
		moved += apart->info[k].offset != arranged->info[k].offset;
	assert_true(moved > 0);
	memcpy(rows, row, (size_t)elements * sizeof *row);
	memcpy(rows + elements, row, (size_t)elements * sizeof *row);
	otp_params_to_file(arranged, rows, 2);
	assert_memory_equal(rows, before, (size_t)elements * sizeof *row);
	assert_memory_equal(rows + elements, before, (size_t)elements * sizeof *row);
	otp_params_from_file(arranged, rows, 2);
	assert_memory_equal(rows, row, (size_t)elements * sizeof *row);
	assert_memory_equal(rows + elements, row, (size_t)elements * sizeof *row);
	float *first = otp_calloc((size_t)elements, sizeof *first),
	      *other = otp_calloc((size_t)elements, sizeof *other);
	otp_params_init(apart, 5, OTP_TRANSPORT, first);
	otp_params_init(arranged, 5, OTP_TRANSPORT, other);
	otp_params_to_file(arranged, other, 1);
	assert_memory_equal(first, other, (size_t)elements * sizeof *first);
	float *all[] = {before, row, rows, first, other};
	for (int i = 0; i < 5; i++)
		otp_free(all[i]);
	otp_params_free(apart);
	otp_params_free(arranged);
}

/* A norm and all its gradients, of scales and shifts that are parts of wider rows, as they lie or copied out
 * of them. */
static double *run_norm(const char *backend, bool copied, int *calls, int64_t *count)
{
	enum { C = 16, WIDE = 96, LEAVES = 3 };
	place at = place_open(backend);
	otp_graph *g = otp_graph_new();
	const otp_shape shapes[LEAVES] = {{N, 4, 4, C}, {N, 1, 1, WIDE}, {N, 4, 4, C}};
	otp_node *leaf[LEAVES], *grads[2], *kept[3];
	float values[N * WIDE + N * 4 * 4 * C];
	for (int i = 0; i < LEAVES; i++)
		leaf[i] = otp_input(g, "leaf", OTP_F32, shapes[i]);
	otp_node *scale = otp_slice(leaf[1], OTP_AXIS_C, 32, C),
		 *shift = otp_slice(leaf[1], OTP_AXIS_C, 64, C);
	otp_node *y = otp_norm(leaf[0], copied ? otp_copy(scale) : scale, copied ? otp_copy(shift) : shift, 4,
			       1e-6f, true);
	otp_grad(otp_sum(otp_mul(y, leaf[2]), otp_shape4(1, 1, 1, 1)), leaf, 2, grads);
	kept[0] = otp_output(y, OTP_SPAN_NONE, 0);
	for (int i = 0; i < 2; i++)
		kept[i + 1] = otp_output(grads[i], OTP_SPAN_NONE, 0);
	otp_program *p = otp_program_new(at.backend, at.device, g, NULL, (otp_program_options){0});
	for (uint32_t i = 0; i < LEAVES; i++) {
		for (uint32_t k = 0; k < sizeof values / sizeof *values; k++)
			values[k] = made_up(i, k);
		otp_program_write(p, leaf[i], values);
	}
	otp_program_run(p);
	*calls = otp_program_measure(p).calls;
	*count = 2 * otp_shape_count(shapes[0]) + otp_shape_count(shapes[1]);
	double *all = otp_calloc((size_t)*count, sizeof *all);
	for (int64_t i = 0, filled = 0; i < 3; i++) {
		int64_t some = otp_shape_count(kept[i]->shape);
		double *one = fetch(at.backend, at.device, otp_program_data(p, kept[i]), some);
		memcpy(all + filled, one, (size_t)some * sizeof *all);
		filled += some;
		otp_free(one);
	}
	otp_program_free(p);
	otp_graph_free(g);
	at.backend->close(at.device);
	return all;
}

static void parts_of_rows_are_read_where_they_lie(void **state)
{
	(void)state;
	const char *backends[] = {"ref", "cpu", "shim"};
	for (int i = 0; i < 3; i++) {
		int calls[2];
		int64_t count;
		double *there = run_norm(backends[i], false, &calls[0], &count);
		double *copied = run_norm(backends[i], true, &calls[1], &count);
		assert_int_equal(calls[0] + 4, calls[1]); /* two slices and two copies less */
		assert_memory_equal(there, copied, (size_t)count * sizeof *there);
		otp_free(there);
		otp_free(copied);
	}
}

/* Where padding would come between the members of a group. */
static void narrow_networks_stay_apart(void **state)
{
	(void)state;
	otp_arch narrow = ARCH;
	narrow.width = 8;
	otp_params *params = otp_params_new();
	otp_graph *g = otp_graph_new();
	otp_builder b = otp_builder_make(g, params, WEIGHTS, 0);
	otp_node *x = otp_input(g, "x", OTP_F32, otp_shape4(1, SIZE, SIZE, CHANNELS));
	otp_transport_build(
	    &b, &narrow,
	    (otp_transport_input){x, x, x, otp_input(g, "z", OTP_F32, otp_shape4(1, 1, 1, LATENT))});
	otp_params_arrange(params);
	assert_false(params->arranged);
	otp_builder_done(&b);
	otp_graph_free(g);
	otp_params_free(params);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_product_is_as_many),
	    cmocka_unit_test(files_keep_the_order_of_before),
	    cmocka_unit_test(narrow_networks_stay_apart),
	    cmocka_unit_test(parts_of_rows_are_read_where_they_lie),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
