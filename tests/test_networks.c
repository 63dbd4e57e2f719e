/* networks: whole networks against PyTorch, the fixtures of tests/golden, on every
 * backend that there is. Bounds are those of common/fixtures.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/fixtures.h"
#include "common/places.h"
#include "nn/networks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char NETWORKS[] = "networks.h5";

enum { SPAN_PARAMS, SPAN_GRADS, SPAN_R1_GRADS, SPAN_USED };
enum { MAX_LEAVES = 5, MAX_RESULTS = 3 };

typedef struct network_case {
	const char *group;
	bool potential;
	int n;
	otp_arch arch;
} network_case;

/* A network's graph with what the fixture feeds it and what it is asked for. */
typedef struct network_graph {
	otp_graph *graph;
	otp_params *params;
	otp_node *leaf[MAX_LEAVES], *result[MAX_RESULTS];
	const char *result_name[MAX_RESULTS];
	int leaf_count, result_count;
} network_graph;

static otp_node *add_leaf(network_graph *n, const char *name, otp_shape shape)
{
	return n->leaf[n->leaf_count++] = otp_input(n->graph, name, OTP_F32, shape);
}

static void add_result(network_graph *n, const char *name, otp_node *x)
{
	n->result_name[n->result_count] = name;
	n->result[n->result_count++] = otp_output(x, OTP_SPAN_NONE, 0);
}

static otp_node *inner_product(otp_node *a, otp_node *b)
{
	return otp_sum(otp_mul(a, b), otp_shape4(1, 1, 1, 1));
}

static void build_transport(network_graph *n, const network_case *c)
{
	const otp_arch *a = &c->arch;
	otp_shape s = otp_shape4(c->n, a->h, a->w, a->c);
	otp_builder b = otp_builder_make(n->graph, n->params, SPAN_PARAMS, 0);
	otp_transport_input in = {.smoothed = add_leaf(n, "smoothed", s)};
	if (a->condition_noise) {
		in.clean = add_leaf(n, "clean", s);
		in.eps = add_leaf(n, "eps", s);
	}
	if (a->latent)
		in.z = add_leaf(n, "z", otp_shape4(c->n, 1, 1, a->latent));
	otp_node *y = otp_transport_build(&b, a, in);
	otp_builder_output(&b, otp_builder_grads(&b, inner_product(y, add_leaf(n, "seed", s)), NULL, NULL),
			   SPAN_GRADS, 0);
	add_result(n, "y", y);
	otp_builder_done(&b);
}

/* V, and r1 = sum |grad V|^2 with its gradient: the second order. */
static void build_potential(network_graph *n, const network_case *c)
{
	const otp_arch *a = &c->arch;
	otp_builder b = otp_builder_make(n->graph, n->params, SPAN_PARAMS, 0);
	otp_node *at = add_leaf(n, "y_at", otp_shape4(c->n, a->h, a->w, a->c));
	otp_node *value = otp_potential_build(&b, a, at), *slope = NULL;
	otp_node *seed = add_leaf(n, "seed", otp_shape4(c->n, 1, 1, 1));
	otp_builder_output(&b, otp_builder_grads(&b, inner_product(value, seed), NULL, NULL), SPAN_GRADS, 0);
	otp_grad(otp_sum(value, otp_shape4(1, 1, 1, 1)), &at, 1, &slope);
	otp_node *r1 = inner_product(slope, slope);
	otp_builder_output(&b, otp_builder_grads(&b, r1, NULL, NULL), SPAN_R1_GRADS, 0);
	add_result(n, "y", value);
	add_result(n, "slope", slope);
	add_result(n, "r1", r1);
	otp_builder_done(&b);
}

static void feed(const fixture *f, const network_graph *n, otp_program *p)
{
	for (int i = 0; i < n->leaf_count; i++) {
		float *x = read_floats(f, n->leaf[i]->name, otp_shape_count(n->leaf[i]->shape));
		otp_program_write(p, n->leaf[i], x);
		otp_free(x);
	}
}

static void judge_result(judge *j, const fixture *f, const place *at, const network_graph *n, otp_program *p,
			 int i)
{
	char error_name[64];
	snprintf(error_name, sizeof error_name, "%s_error", n->result_name[i]);
	int64_t count = otp_shape_count(n->result[i]->shape);
	values want = read_values(f, n->result_name[i]), error = read_values(f, error_name);
	assert_int_equal(want.count, count);
	double *got = fetch(at->backend, at->device, otp_program_data(p, n->result[i]), count);
	if (j->bf16)
		compare_bf16(j, f, n->result_name[i], got, want.v, count);
	else
		compare(j, n->result_name[i], got, want.v, count, error.v[0], j->unit);
	otp_free(got);
	otp_free(want.v);
	otp_free(error.v);
}

static void judge_grads(judge *j, const fixture *f, const place *at, const void *span, const network_graph *n,
			const piece_list *list, const char *name)
{
	char error_name[64];
	snprintf(error_name, sizeof error_name, "%s_error", name);
	values want = read_values(f, name), error = read_values(f, error_name);
	assert_int_equal(want.count, list->elements);
	assert_int_equal(error.count, list->count);
	double *got = fetch(at->backend, at->device, span, n->params->elements);
	if (j->bf16) {
		pack(got, list);
		compare_bf16(j, f, name, got, want.v, list->elements);
	} else {
		compare_pieces(j, name, got, want.v, error.v, list);
	}
	otp_free(got);
	otp_free(want.v);
	otp_free(error.v);
}

static void check_network(const network_case *c, const char *backend_name, otp_precision precision)
{
	place at = place_open(backend_name);
	fixture f = fixture_open(NETWORKS, c->group);
	network_graph n = {.graph = otp_graph_new(), .params = otp_params_new()};
	(c->potential ? build_potential : build_transport)(&n, c);
	piece_list list = match_params(&f, "names", n.params);

	size_t row = (size_t)n.params->elements;
	void *spans[OTP_MAX_SPANS] = {NULL};
	for (int i = 0; i < SPAN_USED; i++)
		spans[i] = at.backend->alloc(at.device, row * at.backend->element_bytes[OTP_F32]);
	float *params = otp_calloc(row, sizeof *params);
	read_params(&f, "params", &list, params);
	at.backend->upload(at.device, spans[SPAN_PARAMS], OTP_F32, params, n.params->elements);

	otp_program *p = otp_program_new(at.backend, at.device, n.graph, spans,
					 (otp_program_options){.precision = precision});
	feed(&f, &n, p);
	otp_program_run(p);
	bool bf16 = precision == OTP_PRECISION_BF16;
	char label[32];
	snprintf(label, sizeof label, "%s%s", backend_name, bf16 ? " in bf16" : "");
	judge j = {c->group, label, unit_of(at.backend), 0, 0, bf16};
	for (int i = 0; i < n.result_count; i++)
		judge_result(&j, &f, &at, &n, p, i);
	judge_grads(&j, &f, &at, spans[SPAN_GRADS], &n, &list, "grads");
	if (c->potential)
		judge_grads(&j, &f, &at, spans[SPAN_R1_GRADS], &n, &list, "r1_grads");
	say(&j);

	otp_program_free(p);
	for (int i = 0; i < SPAN_USED; i++)
		at.backend->release(at.device, spans[i]);
	otp_free(params);
	otp_free(list.pieces);
	otp_params_free(n.params);
	otp_graph_free(n.graph);
	fixture_close(&f);
	at.backend->close(at.device);
}

/* As in make_fixtures.py. */
/* clang-format off */
static const network_case NETWORK_CASES[] = {
    {"unet_full", false, 2,
     {.h = 8, .w = 8, .c = 3, .condition_noise = true, .noise_features = 4, .latent = 5, .embedding = 8,
      .residual = true, .patch = 1, .width = 8, .blocks = 1, .levels = 2, .multipliers = {1, 1},
      .attention_count = 1, .attention = {4}, .filter = OTP_FILTER_FIR}},
    {"unet_noise", false, 2,
     {.h = 8, .w = 8, .c = 2, .condition_noise = true, .noise_features = 3, .embedding = 4, .residual = true,
      .patch = 2, .width = 4, .blocks = 1, .levels = 2, .multipliers = {1, 2}, .filter = OTP_FILTER_BOX}},
    {"unet_plain", false, 2,
     {.h = 8, .w = 8, .c = 3, .patch = 1, .width = 4, .blocks = 1, .levels = 2, .multipliers = {1, 2},
      .filter = OTP_FILTER_BOX}},
    {"potential_fir", true, 2,
     {.h = 8, .w = 8, .c = 3, .patch = 1, .filter = OTP_FILTER_FIR, .potential_features = 5,
      .potential_width = 8, .potential_levels = 2, .potential_multipliers = {1, 1}}},
    {"potential_patches", true, 2,
     {.h = 8, .w = 8, .c = 1, .patch = 2, .filter = OTP_FILTER_BOX,
      .potential_width = 4, .potential_levels = 2, .potential_multipliers = {1, 2}}},
    {"mlp_transport", false, 3,
     {.vectors = true, .h = 1, .w = 1, .c = 3, .condition_noise = true, .latent = 2, .residual = true,
      .width = 8, .blocks = 2, .sharpness = 1}},
    {"mlp_potential", true, 3,
     {.vectors = true, .h = 1, .w = 1, .c = 3, .potential_width = 8, .potential_blocks = 2,
      .potential_sharpness = 1, .potential_quadratic = 4}},
};
/* clang-format on */
enum { NETWORK_COUNT = sizeof NETWORK_CASES / sizeof *NETWORK_CASES };

static void network_is_pytorchs(void **state)
{
	check_network(*state, "ref", OTP_PRECISION_F32);
	check_network(*state, "cpu", OTP_PRECISION_F32);
	check_network(*state, "cpu", OTP_PRECISION_BF16);
	check_network(*state, "shim", OTP_PRECISION_F32);
	check_network(*state, "shim", OTP_PRECISION_BF16);
	if (has_gpu()) {
		check_network(*state, "cuda", OTP_PRECISION_F32);
		check_network(*state, "cuda", OTP_PRECISION_BF16);
	}
}

/* ---- coarse noise ---- */

enum { SIDE = 8, CELL = 4, COLOURS = 3, VALUES = SIDE * SIDE * COLOURS };

/* T's answers to eps, with weights that are drawn, zero-initialised ones too. */
static void answer_to_noise(int halvings, const float eps[VALUES], double y[VALUES])
{
	const network_case c = {.n = 1,
				.arch = {.h = SIDE,
					 .w = SIDE,
					 .c = COLOURS,
					 .condition_noise = true,
					 .noise_features = 4,
					 .embedding = 8,
					 .noise_halvings = halvings,
					 .patch = 1,
					 .width = 8,
					 .blocks = 1,
					 .levels = 2,
					 .residual = true,
					 .multipliers = {1, 1},
					 .filter = OTP_FILTER_BOX}};
	place at = place_open("ref");
	network_graph n = {.graph = otp_graph_new(), .params = otp_params_new()};
	build_transport(&n, &c);
	size_t row = (size_t)n.params->elements;
	void *spans[OTP_MAX_SPANS] = {NULL};
	for (int i = 0; i < SPAN_USED; i++)
		spans[i] = at.backend->alloc(at.device, row * at.backend->element_bytes[OTP_F32]);
	float *weights = otp_calloc(row, sizeof *weights), zeros[VALUES] = {0};
	otp_stream stream = otp_stream_make(3, 0, 0);
	for (size_t i = 0; i < row; i++)
		weights[i] = 0.4f * ((float)otp_random_uniform(stream, OTP_PURPOSE_EVAL, (uint32_t)i) - 0.5f);
	at.backend->upload(at.device, spans[SPAN_PARAMS], OTP_F32, weights, n.params->elements);
	otp_program *p = otp_program_new(at.backend, at.device, n.graph, spans, (otp_program_options){0});
	for (int i = 0; i < n.leaf_count; i++)
		otp_program_write(p, n.leaf[i], strcmp(n.leaf[i]->name, "eps") == 0 ? eps : zeros);
	otp_program_run(p);
	double *got = fetch(at.backend, at.device, otp_program_data(p, n.result[0]), VALUES);
	memcpy(y, got, VALUES * sizeof *y);
	otp_free(got);
	otp_free(weights);
	otp_program_free(p);
	for (int i = 0; i < SPAN_USED; i++)
		at.backend->release(at.device, spans[i]);
	otp_params_free(n.params);
	otp_graph_free(n.graph);
	at.backend->close(at.device);
}

static double largest_difference(const double a[VALUES], const double b[VALUES])
{
	double most = 0;
	for (int i = 0; i < VALUES; i++)
		most = fmax(most, fabs(a[i] - b[i]));
	return most;
}

/* Noise that sums to 0 over every cell has no say where the cell is what T sees; other noise has. */
static void coarse_noise_hides_the_fine(void **state)
{
	(void)state;
	float none[VALUES] = {0}, fine[VALUES], coarse[VALUES];
	double at_none[VALUES], at_fine[VALUES], at_coarse[VALUES];
	for (int i = 0; i < VALUES; i++) {
		int row = i / COLOURS / SIDE, column = i / COLOURS % SIDE;
		fine[i] = (row + column) % 2 ? 1 : -1;
		coarse[i] = row / CELL == column / CELL ? 1 : -1;
	}
	answer_to_noise(2, none, at_none);
	answer_to_noise(2, fine, at_fine);
	answer_to_noise(2, coarse, at_coarse);
	assert_true(largest_difference(at_fine, at_none) == 0);
	assert_true(largest_difference(at_coarse, at_none) > 0.01);
	answer_to_noise(0, none, at_none);
	answer_to_noise(0, fine, at_fine);
	assert_true(largest_difference(at_fine, at_none) > 0.01);
}

int main(void)
{
	struct CMUnitTest tests[NETWORK_COUNT + 1];
	for (int i = 0; i < NETWORK_COUNT; i++)
		tests[i] = (struct CMUnitTest){"network_is_pytorchs", network_is_pytorchs, NULL, NULL,
					       (void *)&NETWORK_CASES[i]};
	tests[NETWORK_COUNT] = (struct CMUnitTest)cmocka_unit_test(coarse_noise_hides_the_fine);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
