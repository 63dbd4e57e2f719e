/* Whole networks and whole training steps against PyTorch: the fixtures of
 * tests/golden, made in float64 (README.md there says how), on ref and cpu.
 *
 * Bounds follow from the fixture. Beside each tensor stands E, the largest
 * error that float32 PyTorch made of it in sixteen runs. An error grows with
 * the unit roundoff u, so an implementation as good as PyTorch's is within
 * E u / 2^-24. Four times that is allowed, since our exponential may be off by
 * 2e-7 = 3.4 roundoffs where the C library's is within one; and the fixture's
 * own rounding to 32 bits is added.
 *
 * In bfloat16 the error of a whole result, as a root mean square, is held to
 * one and a half times that of PyTorch's autocast, also where (on the GPU, and so
 * through the shim) activations are stored in bfloat16 between all ops.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "graph/storage.h"
#include "ref/ref.h"
#include "scalar.h"
#include "shim/backend.h"
#include "train/engine.h"

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double FLOAT_UNIT = 0x1p-24, DOUBLE_UNIT = 0x1p-53, FIXTURE_UNIT = 0x1p-32, ALLOWANCE = 4;
static const double BF16_ALLOWANCE = 1.5;
static const char NETWORKS[] = "networks.h5", STEPS[] = "steps.h5";

/* ---- fixtures ---- */

/* A group of a fixture file. */
typedef struct fixture {
	hid_t file, group;
	const char *name;
} fixture;

/* From this source tree, or from OTPLAN_GOLDEN: a package is tested where no tree is. */
static fixture fixture_open(const char *file, const char *group)
{
	fixture f = {.name = group};
	const char *folder = getenv("OTPLAN_GOLDEN");
	char *path = otp_format("%s/%s", folder ? folder : OTPLAN_SOURCE_DIR "/tests/golden", file);
	f.file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
	if (f.file < 0)
		fail_msg("%s cannot be opened", path);
	f.group = H5Gopen2(f.file, group, H5P_DEFAULT);
	if (f.group < 0)
		fail_msg("%s has no group %s", path, group);
	otp_free(path);
	return f;
}

static void fixture_close(fixture *f)
{
	H5Gclose(f->group);
	H5Fclose(f->file);
}

typedef struct values {
	double *v;
	int64_t count;
} values;

static values read_values(const fixture *f, const char *name)
{
	hid_t set = H5Dopen2(f->group, name, H5P_DEFAULT);
	if (set < 0)
		fail_msg("%s has no %s", f->name, name);
	hid_t space = H5Dget_space(set);
	values x = {.count = H5Sget_simple_extent_npoints(space)};
	x.v = otp_calloc((size_t)x.count, sizeof *x.v);
	assert_true(H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, x.v) >= 0);
	H5Sclose(space);
	H5Dclose(set);
	return x;
}

static float *read_floats(const fixture *f, const char *name, int64_t count)
{
	values x = read_values(f, name);
	if (x.count != count)
		fail_msg("%s/%s holds %lld values, not %lld", f->name, name, (long long)x.count,
			 (long long)count);
	float *floats = otp_calloc((size_t)count, sizeof *floats);
	for (int64_t i = 0; i < count; i++)
		floats[i] = (float)x.v[i];
	otp_free(x.v);
	return floats;
}

static char *read_text(const fixture *f, const char *name)
{
	hid_t attribute = H5Aopen(f->group, name, H5P_DEFAULT);
	assert_true(attribute >= 0);
	hid_t type = H5Aget_type(attribute);
	char *text = otp_calloc(H5Tget_size(type) + 1, 1);
	assert_true(H5Aread(attribute, type, text) >= 0);
	H5Tclose(type);
	H5Aclose(attribute);
	return text;
}

static double read_number(const fixture *f, const char *name)
{
	hid_t attribute = H5Aopen(f->group, name, H5P_DEFAULT);
	double number = 0;
	assert_true(attribute >= 0 && H5Aread(attribute, H5T_NATIVE_DOUBLE, &number) >= 0);
	H5Aclose(attribute);
	return number;
}

/* ---- parameters: the fixture's order and ours ---- */

/* One tensor of a network's flat array in the fixture, and where it lies in our rows. */
typedef struct piece {
	const char *name;
	int64_t from, to, count;
} piece;

typedef struct piece_list {
	piece *pieces;
	int count;
	int64_t elements;
} piece_list;

static const otp_param_info *find_param(const otp_params *p, const char *name)
{
	for (int k = 0; k < p->count; k++)
		if (strcmp(p->info[k].name, name) == 0)
			return &p->info[k];
	fail_msg("the fixture's parameter %s is none of ours", name);
	return NULL;
}

/* Fails unless the fixture's parameters are ours, all of them, in the same shapes. */
static piece_list match_params(const fixture *f, const char *names_attribute, const otp_params *p)
{
	piece_list list = {.pieces = otp_calloc((size_t)p->count, sizeof *list.pieces)};
	char *text = read_text(f, names_attribute), name[96];
	otp_shape s;
	int length = 0;
	for (char *line = text;
	     sscanf(line, "%95s %d %d %d %d\n%n", name, &s.n, &s.h, &s.w, &s.c, &length) == 5;
	     line += length) {
		const otp_param_info *info = find_param(p, name);
		if (!otp_shape_equal(info->shape, s))
			fail_msg("%s is %dx%dx%dx%d, in the fixture %dx%dx%dx%d", name, info->shape.n,
				 info->shape.h, info->shape.w, info->shape.c, s.n, s.h, s.w, s.c);
		assert_true(list.count < p->count);
		list.pieces[list.count++] =
		    (piece){info->name, list.elements, info->offset, otp_shape_count(s)};
		list.elements += otp_shape_count(s);
	}
	assert_int_equal(list.count, p->count);
	otp_free(text);
	return list;
}

static void read_params(const fixture *f, const char *name, const piece_list *list, float *row)
{
	float *flat = read_floats(f, name, list->elements);
	for (int k = 0; k < list->count; k++)
		memcpy(row + list->pieces[k].to, flat + list->pieces[k].from,
		       (size_t)list->pieces[k].count * sizeof *row);
	otp_free(flat);
}

/* A row of ours, in the fixture's order. */
static void pack(double *row, const piece_list *list)
{
	double *flat = otp_calloc((size_t)list->elements, sizeof *flat);
	for (int k = 0; k < list->count; k++)
		memcpy(flat + list->pieces[k].from, row + list->pieces[k].to,
		       (size_t)list->pieces[k].count * sizeof *row);
	memcpy(row, flat, (size_t)list->elements * sizeof *row);
	otp_free(flat);
}

/* ---- comparing ---- */

typedef struct judge {
	const char *test, *backend;
	double unit;  /* unit roundoff of what is judged */
	double worst; /* largest error so far, in shares of what is allowed */
	int compared;
	bool bf16;
} judge;

/* `unit`: the judge's, or a coarser one (reports pass through float). */
static void compare(judge *j, const char *what, const double *got, const double *want, int64_t count,
		    double float_error, double unit)
{
	for (int64_t i = 0; i < count; i++) {
		double allowed = ALLOWANCE * float_error * unit / FLOAT_UNIT + FIXTURE_UNIT * fabs(want[i]);
		double error = fabs(got[i] - want[i]);
		if (!(error <= allowed))
			fail_msg("%s on %s, %s[%lld]: %.12g, PyTorch has %.12g, %.3g off, %.3g allowed",
				 j->test, j->backend, what, (long long)i, got[i], want[i], error, allowed);
		if (allowed > 0 && error / allowed > j->worst)
			j->worst = error / allowed;
		j->compared++;
	}
}

/* A network in bfloat16: the root mean square error, against the largest that PyTorch's autocast makes. */
static void compare_bf16(judge *j, const fixture *f, const char *what, const double *got, const double *want,
			 int64_t count)
{
	char name[64];
	snprintf(name, sizeof name, "%s_bf16_error", what);
	double sum = 0, allowed = BF16_ALLOWANCE * read_number(f, name);
	for (int64_t i = 0; i < count; i++)
		sum += (got[i] - want[i]) * (got[i] - want[i]);
	double error = sqrt(sum / (double)count);
	if (!(error <= allowed))
		fail_msg("%s on %s, %s: %.3g off in the mean, %.3g allowed", j->test, j->backend, what, error,
			 allowed);
	if (error / allowed > j->worst)
		j->worst = error / allowed;
	j->compared += (int)count;
}

static void compare_pieces(judge *j, const char *what, const double *row, const double *want,
			   const double *float_error, const piece_list *list)
{
	for (int k = 0; k < list->count; k++) {
		const piece *at = &list->pieces[k];
		char label[160];
		snprintf(label, sizeof label, "%s %s", what, at->name);
		compare(j, label, row + at->to, want + at->from, at->count, float_error[k], j->unit);
	}
}

static void say(const judge *j)
{
	print_message("             %s on %s: %d values, at worst %.2f of what is allowed\n", j->test,
		      j->backend, j->compared, j->worst);
}

/* ---- whole networks ---- */

typedef struct place {
	const otp_backend *backend;
	otp_device *device;
} place;

/* The product's, and the own CUDA kernels on the host. */
static const otp_backend *find_backend(const char *name, otp_error *err)
{
	return strcmp(name, "shim") == 0 ? otp_shim_for_networks() : otp_backend_find(name, err);
}

static place place_open(const char *name)
{
	otp_error err = {0};
	place at = {.backend = find_backend(name, &err)};
	if (!at.backend || !at.backend->open(0, &at.device, &err))
		fail_msg("%s", err.text);
	return at;
}

/* The plugin says whether there is one that can be used. */
static bool has_gpu(void)
{
	otp_error err = {0};
	return otp_backend_find("cuda", &err) != NULL;
}

static double unit_of(const otp_backend *backend)
{
	return backend->element_bytes[OTP_F32] == sizeof(double) ? DOUBLE_UNIT : FLOAT_UNIT;
}

/* Device memory as doubles, with all the digits that the backend has. */
static double *fetch(const otp_backend *backend, otp_device *device, const void *memory, int64_t count)
{
	double *wide = otp_calloc((size_t)count, sizeof *wide);
	backend->wait(device);
	if (backend->element_bytes[OTP_F32] == sizeof(double)) {
		otp_ref_peek(wide, memory, count);
		return wide;
	}
	float *narrow = otp_calloc((size_t)count, sizeof *narrow);
	backend->download(device, narrow, OTP_F32, memory, count);
	for (int64_t i = 0; i < count; i++)
		wide[i] = (double)narrow[i];
	otp_free(narrow);
	return wide;
}

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
	otp_builder_output_grads(&b, inner_product(y, add_leaf(n, "seed", s)), SPAN_GRADS, 0);
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
	otp_builder_output_grads(&b, inner_product(value, seed), SPAN_GRADS, 0);
	otp_grad(otp_sum(value, otp_shape4(1, 1, 1, 1)), &at, 1, &slope);
	otp_node *r1 = inner_product(slope, slope);
	otp_builder_output_grads(&b, r1, SPAN_R1_GRADS, 0);
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
      .width = 8, .blocks = 2}},
    {"mlp_potential", true, 3,
     {.vectors = true, .h = 1, .w = 1, .c = 3, .potential_width = 8, .potential_blocks = 2,
      .potential_quadratic = 4}},
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

/* ---- training steps ---- */

typedef struct step_case {
	const char *group;
	otp_objective objective;
} step_case;

/* clang-format off */
static const step_case STEP_CASES[] = {
    {"image",
     {.arch = {.h = 8, .w = 8, .c = 2, .condition_noise = true, .noise_features = 2, .latent = 3,
	       .embedding = 4, .residual = true, .patch = 1, .width = 4, .blocks = 1, .levels = 2,
	       .multipliers = {1, 1}, .filter = OTP_FILTER_FIR, .potential_features = 3, .potential_width = 4,
	       .potential_levels = 2, .potential_multipliers = {1, 2}}}},
    {"vectors",
     {.arch = {.vectors = true, .h = 1, .w = 1, .c = 2, .condition_noise = true, .latent = 2,
	       .residual = true, .width = 8, .blocks = 2, .potential_width = 8, .potential_blocks = 1},
      .g = OTP_G_SOFTPLUS}},
};
/* clang-format on */
enum { STEP_COUNT = sizeof STEP_CASES / sizeof *STEP_CASES, OUTER_STEPS = 2 };

/* Whose turn it is: everything that differs between the two networks' halves. */
typedef struct side {
	int span;
	const char *name, *names, *params, *rate;
} side;

static const side SIDES[] = {
    {OTP_SPAN_POTENTIAL, "potential", "potential_names", "potential_params", "rate_v"},
    {OTP_SPAN_TRANSPORT, "transport", "transport_names", "transport_params", "rate_t"},
};

static void write_start(otp_engine *e, const fixture *f, const side *s, const piece_list *list)
{
	int64_t elements = otp_engine_params(e, s->span)->elements;
	int rows = otp_engine_rows(s->span);
	float *state = otp_calloc((size_t)(elements * rows), sizeof *state);
	read_params(f, s->params, list, state + OTP_ROW_PARAM * elements);
	if (rows > OTP_ROW_EMA)
		memcpy(state + OTP_ROW_EMA * elements, state, (size_t)elements * sizeof *state);
	otp_engine_write(e, s->span, state);
	otp_free(state);
}

static void judge_report(judge *j, const fixture *step, const side *s, const double *report)
{
	char name[64], error_name[64];
	snprintf(name, sizeof name, "%s_report", s->name);
	snprintf(error_name, sizeof error_name, "%s_report_error", s->name);
	values want = read_values(step, name), error = read_values(step, error_name);
	assert_int_equal(want.count, OTP_REPORT_COUNT);
	compare(j, name, report, want.v, OTP_REPORT_COUNT, error.v[0], FLOAT_UNIT);
	otp_free(want.v);
	otp_free(error.v);
}

static void judge_state(judge *j, const fixture *step, otp_engine *e, const place *at, const side *s,
			const piece_list *list)
{
	static const char *const ROWS[] = {"p", "m", "v", "ema"};
	char name[64], error_name[64], label[96];
	snprintf(name, sizeof name, "%s_state", s->name);
	snprintf(error_name, sizeof error_name, "%s_state_error", s->name);
	values want = read_values(step, name), error = read_values(step, error_name);
	int64_t elements = otp_engine_params(e, s->span)->elements;
	int rows = (int)(want.count / list->elements);
	assert_true(rows >= 1 && rows <= otp_engine_rows(s->span));
	double *got =
	    fetch(at->backend, at->device, otp_engine_span(e, s->span), elements * otp_engine_rows(s->span));
	for (int row = 0; row < rows; row++) {
		snprintf(label, sizeof label, "%s %s %s of", step->name, s->name, ROWS[row]);
		compare_pieces(j, label, got + row * elements, want.v + row * list->elements,
			       error.v + row * list->count, list);
	}
	otp_free(got);
	otp_free(want.v);
	otp_free(error.v);
}

static void run_half(otp_engine *e, const fixture *f, const fixture *step, const side *s, otp_update u,
		     int64_t elements, double *report)
{
	u.rate = read_number(f, s->rate);
	bool transports = s->span == OTP_SPAN_TRANSPORT;
	float *x = read_floats(step, transports ? "transport_x" : "potential_x", elements);
	float *y = transports ? NULL : read_floats(step, "potential_y", elements);
	otp_engine_set_losses(e, NULL);
	if (transports)
		otp_engine_transport_step(e, (otp_batch){.values = x}, &u);
	else
		otp_engine_potential_step(e, (otp_batch){.values = x}, (otp_batch){.values = y}, &u);
	otp_losses losses = otp_engine_losses(e);
	memcpy(report, losses.sum[transports ? OTP_STEP_TRANSPORT : OTP_STEP_POTENTIAL_R1], sizeof losses.sum[0]);
	otp_free(x);
	otp_free(y);
}

static uint64_t read_seed(const fixture *f) { return (uint64_t)read_number(f, "seed"); /* below 2^53 */ }

static otp_update update_settings(const fixture *f)
{
	return (otp_update){
	    .seed = read_seed(f),
	    .keep = read_number(f, "keep"),
	    .sigma = read_number(f, "sigma"),
	    .ema = read_number(f, "ema"),
	    .r1 = read_number(f, "r1"),
	};
}

static bool open_work(const char *backend_name, int threads, otp_place_of_work *work, otp_error *err)
{
	if (strcmp(backend_name, "shim") != 0)
		return otp_place_open(backend_name, "f32", threads, work, err);
	*work = (otp_place_of_work){.backend = otp_shim_for_networks(), .pool = otp_pool_new(threads)};
	return work->backend->open(0, &work->device, err);
}

static void check_steps(const step_case *c, const char *backend_name, int threads)
{
	otp_error err = {0};
	otp_place_of_work work;
	if (!open_work(backend_name, threads, &work, &err))
		fail_msg("%s", err.text);
	place at = {work.backend, work.device};
	fixture f = fixture_open(STEPS, c->group);
	otp_engine_settings settings = {.objective = c->objective,
					.batch = (int)read_number(&f, "batch"),
					.r1_used = true,
					.beta1 = read_number(&f, "beta1"),
					.beta2 = read_number(&f, "beta2")};
	settings.objective.tau = read_number(&f, "tau");
	otp_engine *e = otp_engine_new(&work, &settings);
	piece_list lists[2];
	for (int i = 0; i < 2; i++) {
		lists[i] = match_params(&f, SIDES[i].names, otp_engine_params(e, SIDES[i].span));
		write_start(e, &f, &SIDES[i], &lists[i]);
	}

	const otp_arch *a = &c->objective.arch;
	judge j = {c->group, backend_name, unit_of(at.backend), 0, 0, false};
	otp_update u = update_settings(&f);
	for (int k = 0; k < OUTER_STEPS; k++) {
		char name[64];
		snprintf(name, sizeof name, "%s/step%d", c->group, k);
		fixture step = fixture_open(STEPS, name);
		u.count = k + 1;
		for (int i = 0; i < 2; i++) {
			double report[OTP_REPORT_COUNT];
			u.draw = (uint32_t)(2 * k + i);
			run_half(e, &f, &step, &SIDES[i], u, (int64_t)settings.batch * a->h * a->w * a->c,
				 report);
			judge_report(&j, &step, &SIDES[i], report);
			judge_state(&j, &step, e, &at, &SIDES[i], &lists[i]);
		}
		fixture_close(&step);
	}
	say(&j);
	for (int i = 0; i < 2; i++)
		otp_free(lists[i].pieces);
	fixture_close(&f);
	otp_engine_free(e);
	otp_place_close(&work);
}

static void steps_are_pytorchs(void **state)
{
	check_steps(*state, "ref", 1);
	check_steps(*state, "cpu", 1);
	check_steps(*state, "cpu", 2);
	check_steps(*state, "shim", 1);
	if (has_gpu())
		check_steps(*state, "cuda", 1);
}

/* ---- training steps with activations in bfloat16 ---- */

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
	otp_type *types = otp_storage_types(g, true);
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

static int chain_of(int span)
{
	otp_params *t = otp_params_new(), *v = otp_params_new();
	otp_step_graph step =
	    span == OTP_SPAN_TRANSPORT
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
	double *of[2], report[2][OTP_REPORT_COUNT];
	int64_t count[2];
	size_t program_bytes;
} gradients;

static gradients gradients_on(const char *backend_name, otp_precision precision)
{
	otp_place_of_work work;
	otp_error err = {0};
	if (!open_work(backend_name, 1, &work, &err))
		fail_msg("%s", err.text);
	work.precision = precision;
	otp_engine_settings settings = {
	    .objective = BF16_OBJECTIVE, .batch = BF16_BATCH, .r1_used = true, .beta1 = 0.5, .beta2 = 0.9};
	otp_engine *e = otp_engine_new(&work, &settings);
	gradients g = {.program_bytes = otp_engine_measure(e).program_bytes};
	float x[2][BF16_BATCH * 8 * 8 * 3];
	for (int i = 0; i < 2; i++) {
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
	memcpy(g.report[OTP_SPAN_TRANSPORT], losses.sum[OTP_STEP_TRANSPORT], sizeof g.report[0]);
	memcpy(g.report[OTP_SPAN_POTENTIAL], losses.sum[OTP_STEP_POTENTIAL_R1], sizeof g.report[0]);
	for (int i = 0; i < 2; i++) {
		g.count[i] = otp_engine_params(e, i)->elements;
		double *state =
		    fetch(work.backend, work.device, otp_engine_span(e, i), g.count[i] * (OTP_ROW_M + 1));
		g.of[i] = otp_calloc((size_t)g.count[i], sizeof(double));
		memcpy(g.of[i], state + OTP_ROW_M * g.count[i], (size_t)g.count[i] * sizeof(double));
		otp_free(state);
	}
	otp_engine_free(e);
	otp_place_close(&work);
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
static double gradient_allowance(double delta) { return delta + sqrt(delta / 3.14159265358979); }

static void check_bf16_steps(const char *backend_name)
{
	gradients wide = gradients_on(backend_name, OTP_PRECISION_F32);
	gradients narrow = gradients_on(backend_name, OTP_PRECISION_BF16);
	for (int i = 0; i < 2; i++) {
		double *zeros = otp_calloc((size_t)wide.count[i], sizeof *zeros);
		double size = rms_between(wide.of[i], zeros, wide.count[i]), largest = 0;
		double off = rms_between(narrow.of[i], wide.of[i], wide.count[i]) / size;
		double delta = sqrt(chain_of(i)) * 0x1p-8;
		print_message("             span %d: gradients %.4f off, %.4f allowed\n", i, off,
			      gradient_allowance(delta));
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

/* ---- draws ---- */

/* The third of Random123's known answers (kat_vectors, philox4x32 10): all counter and key words differ. */
static void philox_keeps_its_words_apart(void **state)
{
	(void)state;
	otp_stream pi = {{0xa4093822, 0x299f31d0, 0x13198a2e, 0x03707344}};
	static const uint32_t want[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
	assert_memory_equal(otp_philox_block(pi, 0x85a308d3, 0x243f6a88).v, want, sizeof want);
}

/* The draws of step 0's potential half, on one backend. */
static double *draw(const place *at, const fixture *f, otp_shape to)
{
	uint32_t *words = otp_calloc((size_t)to.n * 4, sizeof *words);
	for (int i = 0; i < to.n; i++)
		memcpy(words + 4 * i, otp_stream_make(read_seed(f), (uint32_t)i, 0).word, 4 * sizeof *words);
	otp_graph *g = otp_graph_new();
	otp_node *streams = otp_input(g, "streams", OTP_U32, otp_shape4(to.n, 1, 1, 4));
	otp_node *eps = otp_output(otp_normal(streams, to, OTP_PURPOSE_EPS), OTP_SPAN_NONE, 0);
	otp_program *p = otp_program_new(at->backend, at->device, g, NULL, (otp_program_options){0});
	otp_program_write(p, streams, words);
	otp_program_run(p);
	double *drawn = fetch(at->backend, at->device, otp_program_data(p, eps), otp_shape_count(to));
	otp_program_free(p);
	otp_graph_free(g);
	otp_free(words);
	return drawn;
}

/* Against Box and Muller's formula in float64, r (cos, sin). scalar.h promises
 * log to 2e-7 of itself, so r to 1e-7, and the circle to 2e-7; the square root
 * and the product round once each. */
static void check_draws(const char *backend_name, const fixture *f, const double *exact,
			const double *float_draws, otp_shape to)
{
	place at = place_open(backend_name);
	double *got = draw(&at, f, to);
	for (int64_t i = 0; i < otp_shape_count(to); i++) {
		double radius = hypot(exact[i / 2 * 2], exact[i / 2 * 2 + 1]);
		assert_true(fabs(got[i] - exact[i]) <= radius * (3e-7 + 2 * FLOAT_UNIT));
		/* Compiled without fused multiply-add, ref does numpy's float operations one by one. */
		if (unit_of(at.backend) == DOUBLE_UNIT)
			assert_true(got[i] == float_draws[i]);
	}
	otp_free(got);
	at.backend->close(at.device);
}

static void draws_are_box_and_mullers(void **state)
{
	const step_case *c = *state;
	char name[64];
	snprintf(name, sizeof name, "%s/step0", c->group);
	fixture f = fixture_open(STEPS, c->group), step = fixture_open(STEPS, name);
	values exact = read_values(&step, "eps_exact"), float_draws = read_values(&step, "potential_eps");
	const otp_arch *a = &c->objective.arch;
	otp_shape to = otp_shape4((int)read_number(&f, "batch"), a->h, a->w, a->c);
	assert_int_equal(exact.count, otp_shape_count(to));
	check_draws("ref", &f, exact.v, float_draws.v, to);
	check_draws("cpu", &f, exact.v, float_draws.v, to);
	if (has_gpu())
		check_draws("cuda", &f, exact.v, float_draws.v, to);
	otp_free(exact.v);
	otp_free(float_draws.v);
	fixture_close(&step);
	fixture_close(&f);
}

int main(void)
{
	struct CMUnitTest tests[NETWORK_COUNT + 2 * STEP_COUNT + 2];
	int count = 0;
	tests[count++] = (struct CMUnitTest)cmocka_unit_test(philox_keeps_its_words_apart);
	tests[count++] = (struct CMUnitTest)cmocka_unit_test(bf16_steps_follow_float32);
	for (int i = 0; i < STEP_COUNT; i++)
		tests[count++] = (struct CMUnitTest){"draws_are_box_and_mullers", draws_are_box_and_mullers,
						     NULL, NULL, (void *)&STEP_CASES[i]};
	for (int i = 0; i < NETWORK_COUNT; i++)
		tests[count++] = (struct CMUnitTest){"network_is_pytorchs", network_is_pytorchs, NULL, NULL,
						     (void *)&NETWORK_CASES[i]};
	for (int i = 0; i < STEP_COUNT; i++)
		tests[count++] = (struct CMUnitTest){"steps_are_pytorchs", steps_are_pytorchs, NULL, NULL,
						     (void *)&STEP_CASES[i]};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
