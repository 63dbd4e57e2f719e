/* check_ops: every op of ops.def on every backend against ref, and every
 * gradient rule against finite differences. A line of ops.def without a
 * check_<name> below does not compile.
 *
 *   check_ops [op]             check all ops, or one
 *   check_ops --bench [op]     time the cases instead
 *   check_ops --backend NAME   that backend alone; the gradient rules, which ref checks, not again
 *
 * Bounds are derived, never tuned: with u = 2^-24, the unit roundoff of float,
 * |got - ref| <= roundings * u * magnitude, where `roundings` counts what can
 * add up and `magnitude` is the size of what was rounded. A sum of L products
 * in any order has at most L roundings of sum |terms| (Higham 2002, section
 * 3.1), and sum |terms| is the op itself on absolute values, computed by ref.
 *
 * What a program may store in bfloat16 is tried in every mixture of types. The
 * inputs are rounded before ref sees them; kernels compute in float, so all that
 * is added is the rounding of a result to 8 significant bits, half an ulp of
 * which is at most 2^-8 of it.
 */
#include "bf16.h"
#include "graph/program.h"
#include "ref/ref.h"
#include "shim/backend.h"

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNIT 0x1p-24

/* Backends compared with ref. One that cannot be opened here is skipped, and said so. */
static const char *const tested_backends[] = {"cpu", "shim", "cuda"};
enum { TESTED_COUNT = sizeof tested_backends / sizeof *tested_backends };

/* The product's, and one that only tests have: the own CUDA kernels on the host. */
static const otp_backend *find_backend(const char *name, otp_error *err)
{
	return strcmp(name, "shim") == 0 ? &otp_shim_backend : otp_backend_find(name, err);
}

static struct {
	const otp_backend *backend;
	otp_device *device;
} ref, tested[TESTED_COUNT];

static struct {
	int cases, checks, failures;
	bool bench;
	const char *alone; /* the only backend to be tested, or NULL */
} tally;

/* Opened, and with a kernel of its own for the op. */
static bool runs(int which, otp_op op)
{
	return tested[which].backend && tested[which].backend->kernels[op]->run;
}

static void report(bool good, const char *what, const char *fmt, ...) OTP_PRINTF(3, 4);

/* ---- cases ---- */

typedef enum fill {
	NORMALISH, /* in (-2, 2) */
	AWAY,	   /* 0.1 <= |x| < 2: no kink within a finite difference's reach */
	WIDE,	   /* in (-60, 60): far into both tails of an exponential */
	POSITIVE,  /* in (0.5, 2) */
	SHARE,	   /* positive, rows along c adding up to 1 */
	WORDS,	   /* any u32 */
	PICKS,	   /* u32 below twice the rows of input 0 */
} fill;

typedef enum bound {
	EXACT,
	BY_ABS, /* magnitude: the op on absolute values */
	BY_OUT, /* magnitude: |y| */
	BY_RULE /* magnitude: the case's own function */
} bound;

typedef struct test_case test_case;
typedef otp_node *builder(const test_case *t, otp_node *const *in);
typedef void magnitude_rule(const test_case *t, double *const *in, double *magnitude);

struct test_case {
	otp_op op;
	otp_attr attr;
	int count;
	otp_shape in[OTP_MAX_INPUTS];
	fill fill[OTP_MAX_INPUTS];
	bound bound;
	double roundings;
	magnitude_rule *rule;
	builder *build;	  /* NULL: the op itself */
	int order;	  /* differentiable this often: 0, 1 or 2 */
	bool bf16;	  /* a product: may run in bfloat16 */
	bool bench_only;  /* too large for ref */
	int one_mixture;  /* one of many similar cases: with the mixture of types of this number alone */
	double flops;	  /* for --bench; 0: count bytes */
};

static otp_node *build_node(const test_case *t, otp_node *const *in)
{
	return t->build ? t->build(t, in) : otp_node_new(t->op, t->attr, in, t->count);
}

static otp_type input_type(const test_case *t, int i)
{
	return t->fill[i] == WORDS || t->fill[i] == PICKS ? OTP_U32 : OTP_F32;
}

typedef struct built {
	otp_graph *graph;
	otp_node *in[OTP_MAX_INPUTS];
	otp_node *through; /* the copy of input 0, or NULL */
	otp_node *out;
} built;

/* `through_copy`: input 0 reaches the op as an intermediate, so that the plan
 * may let the op overwrite it. */
static built build_case(const test_case *t, bool through_copy)
{
	built b = {.graph = otp_graph_new()};
	otp_node *args[OTP_MAX_INPUTS];
	for (int i = 0; i < t->count; i++)
		args[i] = b.in[i] = otp_input(b.graph, "in", input_type(t, i), t->in[i]);
	if (through_copy && input_type(t, 0) == OTP_F32)
		args[0] = b.through = otp_copy(b.in[0]);
	b.out = build_node(t, args);
	return b;
}

/* Inputs as the host's elements, and as doubles. */
typedef struct values {
	void *host[OTP_MAX_INPUTS];
	double *exact[OTP_MAX_INPUTS];
} values;

static double random_unit(uint32_t stream, uint32_t i)
{
	return otp_random_uniform(otp_stream_make(stream, 0, 0), OTP_PURPOSE_SYNTH, i);
}

static double random_value(fill how, uint32_t stream, uint32_t i)
{
	double unit = random_unit(stream, i), sign = random_unit(stream + 1000, i) < 0.5 ? -1 : 1;
	switch (how) {
	case AWAY:
		return sign * (0.1 + 1.9 * unit);
	case WIDE:
		return 120 * unit - 60;
	case POSITIVE:
	case SHARE:
		return 0.5 + 1.5 * unit;
	default:
		return 4 * unit - 2;
	}
}

static void make_rows_shares(double *x, otp_shape s)
{
	int64_t rows = otp_shape_count(s) / s.c;
	for (int64_t r = 0; r < rows; r++) {
		double total = 0;
		for (int c = 0; c < s.c; c++)
			total += x[r * s.c + c];
		for (int c = 0; c < s.c; c++)
			x[r * s.c + c] /= total;
	}
}

static uint32_t random_word(const test_case *t, int i, uint32_t stream, uint32_t k)
{
	uint32_t word = otp_random_u32(otp_stream_make(stream, 0, 0), OTP_PURPOSE_SYNTH, k);
	return t->fill[i] == PICKS ? word % (2 * (uint32_t)t->in[0].n) : word;
}

static values make_values(const test_case *t)
{
	values v = {0};
	for (int i = 0; i < t->count; i++) {
		int64_t count = otp_shape_count(t->in[i]);
		uint32_t stream = (uint32_t)(t->op * 64 + i);
		v.host[i] = otp_calloc((size_t)count, 4);
		v.exact[i] = otp_calloc((size_t)count, sizeof(double));
		for (int64_t k = 0; k < count; k++)
			v.exact[i][k] = random_value(t->fill[i], stream, (uint32_t)k);
		if (t->fill[i] == SHARE)
			make_rows_shares(v.exact[i], t->in[i]);
		for (int64_t k = 0; k < count; k++)
			if (input_type(t, i) == OTP_U32)
				v.exact[i][k] = ((uint32_t *)v.host[i])[k] =
				    random_word(t, i, stream, (uint32_t)k);
			else
				v.exact[i][k] = ((float *)v.host[i])[k] = (float)v.exact[i][k];
	}
	return v;
}

static void drop_values(const test_case *t, values *v)
{
	for (int i = 0; i < t->count; i++) {
		otp_free(v->host[i]);
		otp_free(v->exact[i]);
	}
}

/* ---- types ---- */

enum { RESULT = 1 << OTP_MAX_INPUTS };

/* How a case is run: what is in bfloat16 is a bit of `narrow`, 1 << i for input i, and RESULT. */
typedef struct way {
	otp_precision precision;
	unsigned narrow;
} way;

/* What storage.h's rule, or a weight's or vector's being a leaf, leaves open. */
static unsigned may_be_narrow(otp_op op)
{
	switch (op) {
	case OTP_OP_reshape: /* never called */
	case OTP_OP_normal:
	case OTP_OP_gather:
	case OTP_OP_record:
	case OTP_OP_adam:
		return 0;
	case OTP_OP_sum:
	case OTP_OP_norm_stats:
		return 1;
	case OTP_OP_conv2d_wgrad:
		return 1 | 2;
	case OTP_OP_conv2d_merge:
		return 1 | 8 | RESULT;
	case OTP_OP_norm_sums: /* a case's inputs are x, scale, shift, g */
		return 1 | 8;
	case OTP_OP_norm_dgrad:
		return 1 | 8 | RESULT;
	case OTP_OP_concat:
	case OTP_OP_add:
	case OTP_OP_mul:
	case OTP_OP_lrelu_gate:
	case OTP_OP_silu_gate:
	case OTP_OP_silu_curve:
	case OTP_OP_softmax_gate:
	case OTP_OP_matmul:
	case OTP_OP_attention_grad:
		return 1 | 2 | RESULT;
	default:
		return 1 | RESULT;
	}
}

/* The next mixture after `narrow`, 0 when all have been met. */
static unsigned next_mixture(unsigned narrow, unsigned possible) { return (narrow - 1) & possible; }

/* The case's k-th, k from 1 on: numbers past the last begin anew. */
static unsigned mixture_number(int k, unsigned possible)
{
	unsigned narrow = 0;
	for (int i = 0; i < k; i++) {
		narrow = next_mixture(narrow, possible);
		if (!narrow)
			narrow = next_mixture(narrow, possible);
	}
	return narrow;
}

/* Types of all nodes of a case; `kept` holds its result. */
static otp_type *types_of(const test_case *t, const built *b, const otp_node *kept, unsigned narrow)
{
	otp_type *types = otp_calloc((size_t)otp_graph_size(b->graph), sizeof *types);
	for (int id = 0; id < otp_graph_size(b->graph); id++)
		types[id] = otp_graph_node(b->graph, id)->type;
	for (int i = 0; i < t->count; i++)
		if (narrow >> i & 1)
			types[b->in[i]->id] = OTP_BF16;
	if (b->through)
		types[b->through->id] = types[b->in[0]->id];
	if (narrow & RESULT)
		types[kept->id] = OTP_BF16;
	return types;
}

/* The same with those inputs rounded that are to be narrow. */
static values round_values(const test_case *t, const values *v, unsigned narrow)
{
	values rounded = {0};
	for (int i = 0; i < t->count; i++) {
		size_t count = (size_t)otp_shape_count(t->in[i]);
		rounded.host[i] = otp_calloc(count, 4);
		rounded.exact[i] = otp_calloc(count, sizeof(double));
		memcpy(rounded.host[i], v->host[i], count * 4);
		memcpy(rounded.exact[i], v->exact[i], count * sizeof(double));
		for (size_t k = 0; (narrow >> i & 1) && k < count; k++) {
			float *x = rounded.host[i];
			x[k] = otp_bf16_widen(otp_bf16_round(x[k]));
			rounded.exact[i][k] = (double)x[k];
		}
	}
	return rounded;
}

static const char *describe(const test_case *t)
{
	static char text[256];
	int at = snprintf(text, sizeof text, "%s", otp_op_name(t->op));
	for (int i = 0; i < t->count; i++)
		at += snprintf(text + at, sizeof text - (size_t)at, "%s%dx%dx%dx%d", i ? ", " : "(",
			       t->in[i].n, t->in[i].h, t->in[i].w, t->in[i].c);
	at += snprintf(text + at, sizeof text - (size_t)at, ")");
	if (t->op == OTP_OP_matmul)
		snprintf(text + at, sizeof text - (size_t)at, "%s%s", t->attr.matmul.ta ? " a'" : "",
			 t->attr.matmul.tb ? " b'" : "");
	else if (t->bf16)
		snprintf(text + at, sizeof text - (size_t)at, " stride %d pad %d", t->attr.conv.stride,
			 t->attr.conv.pad);
	return text;
}

static void report(bool good, const char *what, const char *fmt, ...)
{
	tally.checks++;
	if (good)
		return;
	tally.failures++;
	char text[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	printf("FAILED %s: %s\n", what, text);
}

/* ---- running a case ---- */

enum { GUARD = 16 }; /* elements before and behind the output that must not change */
static const float SENTINEL = -12352.0f; /* a bfloat16, too */

/* The op writes into a span full of NaN between sentinels; a write outside shows. */
static void run_guarded(int which, const test_case *t, const values *v, way w, float *out)
{
	const otp_backend *backend = tested[which].backend;
	otp_device *device = tested[which].device;
	built b = build_case(t, false);
	int64_t count = otp_shape_count(b.out->shape), all = count + 2 * GUARD;
	float *host = otp_calloc((size_t)all, sizeof *host);
	for (int64_t i = 0; i < all; i++)
		host[i] = i < GUARD || i >= count + GUARD ? SENTINEL : NAN;
	otp_node *kept = otp_output(b.out, 0, GUARD);
	otp_type *types = types_of(t, &b, kept, w.narrow), type = types[kept->id];
	void *spans[OTP_MAX_SPANS] = {backend->alloc(device, (size_t)all * backend->element_bytes[type])};
	backend->upload(device, spans[0], type, host, all);
	otp_program *p = otp_program_new(backend, device, b.graph, spans,
					 (otp_program_options){.precision = w.precision, .types = types});
	for (int i = 0; i < t->count; i++)
		otp_program_write(p, b.in[i], v->host[i]);
	otp_program_run(p);
	backend->wait(device);
	backend->download(device, host, type, spans[0], all);
	bool untouched = true;
	for (int i = 0; i < GUARD; i++)
		untouched &= host[i] == SENTINEL && host[all - 1 - i] == SENTINEL;
	report(untouched, describe(t), "%s wrote outside its output", backend->name);
	memcpy(out, host + GUARD, (size_t)count * sizeof *out);
	otp_free(types);
	otp_program_free(p);
	otp_graph_free(b.graph);
	backend->release(device, spans[0]);
	otp_free(host);
}

/* As an intermediate, in place where the plan can, poisoned or not; `runs` times. */
static void run_planned(int which, const test_case *t, const values *v, way w, bool poison, int runs,
			float *out)
{
	const otp_backend *backend = tested[which].backend;
	built b = build_case(t, true);
	otp_node *kept = otp_output(b.out, OTP_SPAN_NONE, 0);
	otp_type *types = types_of(t, &b, kept, w.narrow);
	otp_program_options options = {.precision = w.precision, .poison = poison, .types = types};
	otp_program *p = otp_program_new(backend, tested[which].device, b.graph, NULL, options);
	for (int i = 0; i < t->count; i++)
		otp_program_write(p, b.in[i], v->host[i]);
	for (int run = 0; run < runs; run++)
		otp_program_run(p);
	otp_program_read(p, kept, out);
	otp_free(types);
	otp_program_free(p);
	otp_graph_free(b.graph);
}

static void run_ref(const test_case *t, double *const *in, bool absolute, double *out)
{
	built b = build_case(t, false);
	otp_node *kept = otp_output(b.out, OTP_SPAN_NONE, 0);
	otp_program *p = otp_program_new(ref.backend, ref.device, b.graph, NULL, (otp_program_options){0});
	for (int i = 0; i < t->count; i++) {
		double *element = otp_program_data(p, b.in[i]);
		for (int64_t k = 0; k < otp_shape_count(t->in[i]); k++)
			element[k] = absolute ? fabs(in[i][k]) : in[i][k];
	}
	otp_program_run(p);
	otp_ref_peek(out, otp_program_data(p, kept), otp_shape_count(kept->shape));
	otp_program_free(p);
	otp_graph_free(b.graph);
}

/* ---- accuracy and repeatability ---- */

static void find_magnitude(const test_case *t, const values *v, const double *exact, int64_t count,
			   double *magnitude)
{
	if (t->bound == BY_ABS)
		run_ref(t, v->exact, true, magnitude);
	else if (t->bound == BY_RULE)
		t->rule(t, v->exact, magnitude);
	else
		for (int64_t i = 0; i < count; i++)
			magnitude[i] = fabs(exact[i]);
}

/* In bfloat16 the float32 operands of a product are rounded to 8 significant
 * bits, by at most 2^-8 each, before a float32 sum; two together below
 * 2^-7 (1 + 2^-9). Before a bias is added (and a residual: all that follows has
 * slopes of at most 1) a narrow result may be rounded, too. */
static double unit_bound(const test_case *t, way w)
{
	double unit = t->bound == EXACT ? 0 : t->roundings * UNIT;
	/* Rounded queries and keys put scores off by D = 2^-7 S, shares by e^2D - 1, below 2.5 D where S < 25;
	 * p, v, g and ds are rounded, too. Compare check_attention_op. */
	bool attention = t->op == OTP_OP_attention || t->op == OTP_OP_attention_grad;
	if (attention && w.precision == OTP_PRECISION_BF16)
		return unit + (t->op == OTP_OP_attention ? 2.5 * 0x1p-7 + 2 * 0x1p-8
							 : 2 * 2.5 * 0x1p-7 + 4 * 0x1p-8);
	for (int i = 0; i < 2 && t->bf16 && w.precision == OTP_PRECISION_BF16; i++)
		unit += w.narrow >> i & 1 ? 0 : 0x1p-8 + 0x1p-17;
	bool epilogue = t->op == OTP_OP_conv2d_bias || t->op == OTP_OP_conv2d_merge;
	return unit + (epilogue && (w.narrow & RESULT) ? 0x1p-8 : 0);
}

/* A narrow result is the float32 one, off by `inner`, rounded once more. */
static double bound_of(double inner, double exact, unsigned narrow)
{
	return narrow & RESULT ? inner + 0x1p-8 * (fabs(exact) + inner) : inner;
}

static void compare(const test_case *t, way w, const char *backend, const float *got, const double *exact,
		    const double *magnitude, int64_t count)
{
	int64_t worst = -1;
	double excess = 0, unit = unit_bound(t, w);
	for (int64_t i = 0; i < count; i++) {
		double error = fabs((double)got[i] - exact[i]);
		double allowed = bound_of(unit * magnitude[i], exact[i], w.narrow);
		if (error <= allowed)
			continue;
		if (worst < 0 || !(error - allowed <= excess)) {
			worst = i;
			excess = error - allowed;
		}
	}
	if (worst < 0)
		report(true, "", "-");
	else
		report(false, describe(t),
		       "%s%s, narrow %#x: element %lld of %lld is %.9g, ref has %.9g, allowed %.3g", backend,
		       w.precision == OTP_PRECISION_BF16 ? " bf16" : "", w.narrow, (long long)worst,
		       (long long)count, (double)got[worst], exact[worst],
		       bound_of(unit * magnitude[worst], exact[worst], w.narrow));
}

static bool same_bits(const float *a, const float *b, int64_t count)
{
	return memcmp(a, b, (size_t)count * sizeof *a) == 0;
}

static void check_backend(int which, const test_case *t, const values *v, way w, const double *exact,
			  const double *magnitude, int64_t count)
{
	const char *name = tested_backends[which];
	float *first = otp_calloc((size_t)count, sizeof *first),
	      *again = otp_calloc((size_t)count, sizeof *again);
	run_guarded(which, t, v, w, first);
	compare(t, w, name, first, exact, magnitude, count);
	run_planned(which, t, v, w, false, 2, again);
	report(same_bits(first, again, count), describe(t),
	       "%s, narrow %#x: planned, second run: other bits", name, w.narrow);
	run_planned(which, t, v, w, true, 1, again);
	report(same_bits(first, again, count), describe(t),
	       "%s, narrow %#x: with free memory poisoned: other bits", name, w.narrow);
	otp_free(first);
	otp_free(again);
}

typedef struct replica {
	int which;
	const test_case *t;
	const values *v;
	way w;
	float *out;
} replica;

static void *run_replica(void *argument)
{
	replica *r = argument;
	run_planned(r->which, r->t, r->v, r->w, false, 2, r->out);
	return NULL;
}

/* Programs run side by side, one a thread, as the trainer runs them. */
static void check_replicas(int which, const test_case *t, const values *v, way w, int64_t count)
{
	enum { REPLICAS = 3 };
	pthread_t threads[REPLICAS];
	replica replicas[REPLICAS];
	bool same = true;
	for (int i = 0; i < REPLICAS; i++) {
		float *out = otp_calloc((size_t)count, sizeof *out);
		replicas[i] = (replica){which, t, v, w, out};
		int failed = pthread_create(&threads[i], NULL, run_replica, &replicas[i]);
		OTP_ASSERT(!failed, "check_ops: no thread: %d", failed);
	}
	for (int i = 0; i < REPLICAS; i++) {
		pthread_join(threads[i], NULL);
		same &= same_bits(replicas[0].out, replicas[i].out, count);
	}
	report(same, describe(t), "%s: replicas in threads differ", tested_backends[which]);
	for (int i = 0; i < REPLICAS; i++)
		otp_free(replicas[i].out);
}

/* On every backend that stores such types. */
static void check_way(const test_case *t, const values *v, way w)
{
	built b = build_case(t, false);
	int64_t count = otp_shape_count(b.out->shape);
	otp_graph_free(b.graph);
	double *exact = otp_calloc((size_t)count, sizeof *exact);
	double *magnitude = otp_calloc((size_t)count, sizeof *magnitude);
	run_ref(t, v->exact, false, exact);
	find_magnitude(t, v, exact, count, magnitude);
	for (int which = 0; which < TESTED_COUNT; which++) {
		if (!runs(which, t->op) || (w.narrow && !tested[which].backend->element_bytes[OTP_BF16]))
			continue;
		check_backend(which, t, v, w, exact, magnitude, count);
		if (tested[which].backend != &otp_shim_backend) /* has one stream, as the GPU */
			check_replicas(which, t, v, w, count);
	}
	otp_free(exact);
	otp_free(magnitude);
}

static bool any_stores_bf16(otp_op op)
{
	for (int which = 0; which < TESTED_COUNT; which++)
		if (runs(which, op) && tested[which].backend->element_bytes[OTP_BF16])
			return true;
	return false;
}

static void check_mixture(const test_case *t, const values *v, unsigned narrow)
{
	values rounded = round_values(t, v, narrow);
	check_way(t, &rounded, (way){OTP_PRECISION_BF16, narrow});
	drop_values(t, &rounded);
}

static void check_values(const test_case *t, const values *v)
{
	unsigned possible = may_be_narrow(t->op);
	check_way(t, v, (way){OTP_PRECISION_F32, 0});
	if (t->bf16)
		check_way(t, v, (way){OTP_PRECISION_BF16, 0});
	if (!possible || !any_stores_bf16(t->op))
		return;
	if (t->one_mixture) {
		check_mixture(t, v, mixture_number(t->one_mixture, possible));
		return;
	}
	for (unsigned narrow = possible; narrow; narrow = next_mixture(narrow, possible))
		check_mixture(t, v, narrow);
}

/* ---- gradients ---- */

enum { MAX_VARIABLES = 2 * OTP_MAX_INPUTS + 1 };

/* Leaves with their values: what a scalar is differentiated by, and random weights. */
typedef struct variables {
	otp_node *leaf[MAX_VARIABLES];
	double *value[MAX_VARIABLES];
	int count;
} variables;

static otp_node *add_variable(variables *vars, otp_graph *g, otp_shape shape, const double *value)
{
	OTP_ASSERT(vars->count < MAX_VARIABLES, "check_ops: too many variables");
	int64_t count = otp_shape_count(shape);
	int at = vars->count++;
	vars->leaf[at] = otp_input(g, "variable", OTP_F32, shape);
	vars->value[at] = otp_calloc((size_t)count, sizeof(double));
	for (int64_t i = 0; i < count; i++)
		vars->value[at][i] =
		    value ? value[i] : random_value(NORMALISH, (uint32_t)(7000 + at), (uint32_t)i);
	return vars->leaf[at];
}

static otp_node *inner_product(otp_node *a, otp_node *b)
{
	return otp_sum(otp_mul(a, b), otp_shape4(1, 1, 1, 1));
}

static double direction(int variable, int64_t i)
{
	return random_value(NORMALISH, (uint32_t)(9000 + variable), (uint32_t)i);
}

/* The scalar at value + step * direction. */
static double scalar_along(otp_program *p, const variables *vars, const otp_node *scalar, double step)
{
	for (int k = 0; k < vars->count; k++) {
		double *element = otp_program_data(p, vars->leaf[k]);
		for (int64_t i = 0; i < otp_shape_count(vars->leaf[k]->shape); i++)
			element[i] = vars->value[k][i] + step * direction(k, i);
	}
	otp_program_run(p);
	double result;
	otp_ref_peek(&result, otp_program_data(p, scalar), 1);
	return result;
}

/* Central differences in double along one random direction of all variables
 * together. With step h their error is about h^2 of third derivatives plus
 * 2^-52 / h of the values: 1e-10 and 1e-11 at h = 1e-5, relative to the terms
 * that the derivative adds up. */
static void check_derivative(const test_case *t, otp_graph *g, const variables *vars, otp_node *scalar,
			     otp_node *const *grads, const char *order)
{
	otp_node *value = otp_output(scalar, OTP_SPAN_NONE, 0), *kept[MAX_VARIABLES] = {NULL};
	for (int k = 0; k < vars->count; k++)
		if (grads[k])
			kept[k] = otp_output(grads[k], OTP_SPAN_NONE, 0);
	/* A leaf that nothing reads has no memory to write to: read them all. */
	for (int k = 0; k < vars->count; k++)
		otp_output(otp_copy(vars->leaf[k]), OTP_SPAN_NONE, 0);
	otp_program *p = otp_program_new(ref.backend, ref.device, g, NULL, (otp_program_options){0});
	const double h = 1e-5;
	double up = scalar_along(p, vars, value, h), down = scalar_along(p, vars, value, -h);
	double by_differences = (up - down) / (2 * h), by_rule = 0, terms = 1;
	terms += fabs(scalar_along(p, vars, value, 0));
	for (int k = 0; k < vars->count; k++) {
		if (!kept[k])
			continue;
		const double *gradient = otp_program_data(p, kept[k]);
		for (int64_t i = 0; i < otp_shape_count(vars->leaf[k]->shape); i++) {
			by_rule += gradient[i] * direction(k, i);
			terms += fabs(gradient[i] * direction(k, i));
		}
	}
	report(fabs(by_rule - by_differences) <= 1e-7 * terms, describe(t),
	       "%s order: the rule gives %.12g, differences %.12g", order, by_rule, by_differences);
	otp_program_free(p);
}

/* L = <y, weights>; then S = sum <dL/dx, more weights>, whose gradient is the second order. */
static void check_gradients(const test_case *t, const values *v)
{
	otp_graph *g = otp_graph_new();
	variables vars = {0};
	for (int i = 0; i < t->count; i++)
		add_variable(&vars, g, t->in[i], v->exact[i]);
	otp_node *y = build_node(t, vars.leaf);
	otp_node *loss = inner_product(y, add_variable(&vars, g, y->shape, NULL));
	int first_count = vars.count;
	otp_node *grads[MAX_VARIABLES] = {NULL};
	otp_grad(loss, vars.leaf, first_count, grads);

	otp_node *second = NULL, *second_grads[MAX_VARIABLES] = {NULL};
	if (t->order >= 2) {
		for (int i = 0; i < first_count - 1; i++) {
			if (!grads[i])
				continue;
			otp_node *term =
			    inner_product(grads[i], add_variable(&vars, g, grads[i]->shape, NULL));
			second = second ? otp_add(second, term) : term;
		}
		if (second)
			otp_grad(second, vars.leaf, vars.count, second_grads);
	}
	/* The first order's check must not see the later variables move: they do not reach the loss. */
	check_derivative(t, g, &vars, loss, grads, "first");
	if (second)
		check_derivative(t, g, &vars, second, second_grads, "second");
	for (int k = 0; k < vars.count; k++)
		otp_free(vars.value[k]);
	otp_graph_free(g);
}

/* ---- bench ---- */

static double bytes_moved(const test_case *t, otp_shape out, unsigned narrow)
{
	double bytes = (narrow & RESULT ? 2 : 4) * (double)otp_shape_count(out);
	for (int i = 0; i < t->count; i++)
		bytes += (narrow >> i & 1 ? 2 : 4) * (double)otp_shape_count(t->in[i]);
	return bytes;
}

/* The best of several batches of runs, each long enough for the clock. */
static double best_seconds(otp_program *p, const otp_backend *backend, otp_device *device)
{
	double best = INFINITY;
	otp_program_run(p);
	for (int batch = 0; batch < 5; batch++) {
		int runs = 0;
		double start = otp_seconds(), taken = 0;
		while (taken < 0.02) {
			otp_program_run(p);
			backend->wait(device);
			runs++;
			taken = otp_seconds() - start;
		}
		best = taken / runs < best ? taken / runs : best;
	}
	return best;
}

static void bench(int which, const test_case *t, const values *v, way w)
{
	built b = build_case(t, false);
	otp_node *kept = otp_output(b.out, OTP_SPAN_NONE, 0);
	otp_type *types = types_of(t, &b, kept, w.narrow);
	otp_program_options options = {.precision = w.precision, .types = types};
	otp_program *p = otp_program_new(tested[which].backend, tested[which].device, b.graph, NULL, options);
	for (int i = 0; i < t->count; i++)
		otp_program_write(p, b.in[i], v->host[i]);
	double seconds = best_seconds(p, tested[which].backend, tested[which].device);
	double work = t->flops > 0 ? t->flops : bytes_moved(t, b.out->shape, w.narrow);
	printf("%-5s%-5s %9.1f us %8.1f %s  %s\n", tested_backends[which],
	       w.precision == OTP_PRECISION_BF16 ? "bf16" : "f32", seconds * 1e6, work / seconds / 1e9,
	       t->flops > 0 ? "GFLOP/s" : "GB/s   ", describe(t));
	otp_free(types);
	otp_program_free(p);
	otp_graph_free(b.graph);
}

static void run_case(test_case t)
{
	if (t.bench_only && !tally.bench)
		return;
	values v = make_values(&t);
	tally.cases++;
	if (tally.bench) {
		for (int which = 0; which < TESTED_COUNT; which++) {
			if (!runs(which, t.op))
				continue;
			bool stores = tested[which].backend->element_bytes[OTP_BF16];
			unsigned narrow = stores ? may_be_narrow(t.op) : 0;
			bench(which, &t, &v, (way){OTP_PRECISION_F32, 0});
			if (t.bf16 || narrow)
				bench(which, &t, &v, (way){OTP_PRECISION_BF16, narrow});
		}
	} else {
		check_values(&t, &v);
		if (t.order > 0 && !tally.alone)
			check_gradients(&t, &v);
	}
	drop_values(&t, &v);
}

/* ---- the ops ---- */

/* One element, odd ones, less and more than a vector, more than a block, more
 * than a warp of packs; the last is for --bench. */
static const otp_shape shapes[] = {{1, 1, 1, 1},  {3, 1, 1, 5},	  {2, 3, 5, 7},
				   {1, 4, 4, 33}, {2, 6, 5, 100}, {1, 2, 5, 328},
				   {16, 64, 64, 32}};
enum { SHAPE_COUNT = sizeof shapes / sizeof *shapes, LARGE = SHAPE_COUNT - 1 };

/* A case with one input shape for all inputs, for each of the shapes. */
static void over_shapes(test_case t)
{
	for (int k = 0; k < SHAPE_COUNT; k++) {
		for (int i = 0; i < t.count; i++)
			t.in[i] = shapes[k];
		t.bench_only = k == LARGE;
		run_case(t);
	}
}

static void check_copy(void)
{
	over_shapes((test_case){.op = OTP_OP_copy, .count = 1, .bound = EXACT, .order = 2});
}

static void check_reshape(void)
{
	test_case t = {.op = OTP_OP_reshape, .count = 1, .in = {{2, 3, 5, 7}}, .bound = EXACT, .order = 2};
	t.attr.shape.to = otp_shape4(1, 6, 1, 35);
	run_case(t);
}

/* A bit of `mask` for each dimension that has length 1 in the small shape. */
static otp_shape shrunk(otp_shape s, int mask)
{
	return otp_shape4(mask & 1 ? 1 : s.n, mask & 2 ? 1 : s.h, mask & 4 ? 1 : s.w, mask & 8 ? 1 : s.c);
}

/* Any set of dimensions; and for bench those that training uses. */
static bool bench_mask(int mask)
{
	return mask == 0 || mask == 7 || mask == 6 || mask == 8 || mask == 14 || mask == 15 || mask == 1;
}

/* A sum keeps at least the accuracy of pairwise summation: log2 of its length roundings. */
static void check_sum_of(otp_shape x, int mask, bool bench_only)
{
	test_case t = {.op = OTP_OP_sum, .count = 1, .in = {x}, .bound = BY_ABS, .order = 2};
	t.attr.shape.to = shrunk(x, mask);
	t.roundings = 2 + log2((double)otp_shape_count(x) / (double)otp_shape_count(t.attr.shape.to));
	t.bench_only = bench_only;
	run_case(t);
}

static void check_sum(void)
{
	for (int k = 0; k < SHAPE_COUNT; k++)
		for (int mask = 0; mask < 16; mask++)
			if (k != LARGE || bench_mask(mask))
				check_sum_of(shapes[k], mask, k == LARGE);
	/* Long sums of few columns, which may be cut into slices: all, over the image, over n and w. */
	check_sum_of(otp_shape4(1, 60, 90, 1), 15, false);
	check_sum_of(otp_shape4(1, 40, 40, 3), 7, false);
	check_sum_of(otp_shape4(40, 2, 40, 3), 5, false);
	/* Whole packs of columns, in slices and not, and of what is summed; short rows and columns. */
	for (int mask = 1; mask < 16; mask++)
		check_sum_of(otp_shape4(3, 20, 24, 16), mask, false);
}

static void check_spread(void)
{
	for (int k = 0; k < SHAPE_COUNT; k++)
		for (int mask = 0; mask < 16; mask++) {
			test_case t = {.op = OTP_OP_spread, .count = 1, .bound = EXACT, .order = 2};
			t.in[0] = shrunk(shapes[k], mask);
			t.attr.shape.to = shapes[k];
			t.bench_only = k == LARGE;
			if (!t.bench_only || bench_mask(mask))
				run_case(t);
		}
}

static void set_extent(otp_shape *s, int axis, int value)
{
	*(axis == 0 ? &s->n : axis == 1 ? &s->h : axis == 2 ? &s->w : &s->c) = value;
}

static void check_concat(void)
{
	for (int axis = 0; axis < 4; axis++) {
		test_case t = {.op = OTP_OP_concat,
			       .count = 2,
			       .in = {{2, 3, 5, 7}, {2, 3, 5, 7}},
			       .bound = EXACT,
			       .order = 2};
		t.attr.axis.axis = (otp_axis)axis;
		run_case(t);
		set_extent(&t.in[1], axis, 1);
		run_case(t);
		t.in[0] = t.in[1] = otp_shape4(1, 2, 3, 16);
		run_case(t);
	}
	test_case t = {
	    .op = OTP_OP_concat, .count = 2, .in = {{16, 64, 64, 32}, {16, 64, 64, 32}}, .bench_only = true};
	t.attr.axis.axis = OTP_AXIS_C;
	run_case(t);
}

static void check_slice(void)
{
	for (int axis = 0; axis < 4; axis++) {
		test_case t = {
		    .op = OTP_OP_slice, .count = 1, .in = {{5, 6, 7, 8}}, .bound = EXACT, .order = 2};
		for (int begin = 0; begin < 3; begin++) {
			t.attr.slice.axis = (otp_axis)axis;
			t.attr.slice.begin = begin;
			t.attr.slice.count = begin == 1 ? 1 : 3;
			run_case(t);
		}
	}
	test_case t = {.op = OTP_OP_slice, .count = 1, .in = {{2, 3, 4, 32}}, .bound = EXACT, .order = 2};
	t.attr.slice.axis = OTP_AXIS_C;
	t.attr.slice.begin = 8;
	t.attr.slice.count = 16;
	run_case(t);
}

static void check_pad(void)
{
	for (int axis = 0; axis < 4; axis++) {
		test_case t = {
		    .op = OTP_OP_pad, .count = 1, .in = {{2, 3, 4, 5}}, .bound = EXACT, .order = 2};
		for (int begin = 0; begin < 3; begin++) {
			t.attr.slice.axis = (otp_axis)axis;
			t.attr.slice.begin = begin;
			t.attr.slice.count = 7;
			run_case(t);
		}
		t.in[0] = otp_shape4(2, 3, 4, 8);
		t.attr.slice.begin = 8;
		t.attr.slice.count = 24;
		run_case(t);
	}
}

/* Every way in which two operands can broadcast, either or both, in any dimension. */
static void check_broadcast(otp_op op)
{
	test_case t = {.op = op, .count = 2, .bound = BY_ABS, .roundings = 1, .order = 2};
	const otp_shape whole[] = {{2, 3, 5, 17}, {2, 2, 3, 24}}, large = shapes[LARGE];
	for (int k = 0; k < 2; k++)
		for (int mask = 0; mask < 256; mask++) {
			t.in[0] = shrunk(whole[k], mask & 15);
			t.in[1] = shrunk(whole[k], mask >> 4);
			t.one_mixture = 1 + mask % 7;
			run_case(t);
		}
	t.bench_only = true;
	for (int mask = 0; mask < 16; mask++) {
		t.in[0] = large;
		t.in[1] = shrunk(large, mask);
		if (bench_mask(mask))
			run_case(t);
	}
}

static void check_add(void) { check_broadcast(OTP_OP_add); }
static void check_mul(void) { check_broadcast(OTP_OP_mul); }

static void check_affine(void)
{
	test_case t = {.op = OTP_OP_affine, .count = 1, .bound = BY_ABS, .roundings = 2, .order = 2};
	t.attr.affine.scale = 1.7f;
	t.attr.affine.offset = 0.3f;
	over_shapes(t);
}

static void check_lrelu(void)
{
	test_case t = {
	    .op = OTP_OP_lrelu, .count = 1, .fill = {AWAY}, .bound = BY_OUT, .roundings = 1, .order = 2};
	t.attr.slope.slope = 0.2f;
	over_shapes(t);
}

static void check_lrelu_gate(void)
{
	test_case t = {
	    .op = OTP_OP_lrelu_gate, .count = 2, .fill = {AWAY}, .bound = BY_OUT, .roundings = 1, .order = 2};
	t.attr.slope.slope = 0.2f;
	over_shapes(t);
}

/* The float exponential is within 2e-7, 3.4 u, of the true one; an addition, a
 * division and a product follow. The slope of log(1 + e) never amplifies. */
static void check_pointwise(otp_op op, fill how, double roundings)
{
	over_shapes((test_case){
	    .op = op, .count = 1, .fill = {how}, .bound = BY_OUT, .roundings = roundings, .order = 2});
}

static void check_tails(otp_op op, double roundings)
{
	run_case((test_case){.op = op,
			     .count = 1,
			     .in = {{2, 6, 5, 100}},
			     .fill = {WIDE},
			     .bound = BY_OUT,
			     .roundings = roundings});
}

static void check_silu(void)
{
	check_pointwise(OTP_OP_silu, NORMALISH, 8);
	check_tails(OTP_OP_silu, 8);
}

static void check_sigmoid(void)
{
	check_pointwise(OTP_OP_sigmoid, NORMALISH, 7);
	check_tails(OTP_OP_sigmoid, 7);
}

static void check_softplus(void)
{
	check_pointwise(OTP_OP_softplus, NORMALISH, 8);
	check_tails(OTP_OP_softplus, 8);
}

static void check_exp(void)
{
	check_pointwise(OTP_OP_exp, NORMALISH, 4);
	check_tails(OTP_OP_exp, 4);
}

static void check_rsqrt(void) { check_pointwise(OTP_OP_rsqrt, POSITIVE, 3); }

/* g s (1 + x (1 - s)): s is off by 6 u s, so 1 - s by 6 u + u. */
static void silu_gate_magnitude(const test_case *t, double *const *in, double *magnitude)
{
	for (int64_t i = 0; i < otp_shape_count(t->in[0]); i++)
		magnitude[i] = fabs(in[1][i]) * (1 + fabs(in[0][i]));
}

static void check_silu_gate(void)
{
	over_shapes((test_case){.op = OTP_OP_silu_gate,
				.count = 2,
				.bound = BY_RULE,
				.roundings = 12,
				.rule = silu_gate_magnitude,
				.order = 2});
}

/* g d c with d = s (1 - s), c = 2 + x (1 - 2 s): d is off by 8 u s, c by (15 |x| + 2) u, and two products;
 * |c| <= 2 + |x|, d <= 1/4: in all at most (17.5 + 12.25 |x|) u |g|. */
static void check_silu_curve(void)
{
	over_shapes((test_case){.op = OTP_OP_silu_curve,
				.count = 2,
				.bound = BY_RULE,
				.roundings = 18,
				.rule = silu_gate_magnitude,
				.order = 2});
}

/* ---- convolution ---- */

typedef struct conv_size {
	int n, h, w, in, out, kh, kw, stride, pad;
	bool bench;
} conv_size;

/* One pixel, one channel, image channels, odd sizes, kernels as large as the
 * image, strides that leave a remainder, patches of an image, blocks of 16 and not; then what the
 * networks spend their time in. */
static const conv_size conv_sizes[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 0, false},	      {2, 5, 7, 3, 8, 3, 3, 1, 1, false},
    {3, 6, 6, 7, 5, 3, 3, 2, 1, false},	      {2, 8, 8, 16, 32, 4, 4, 2, 1, false},
    {2, 4, 4, 33, 17, 1, 1, 1, 0, false},     {4, 4, 4, 12, 1, 4, 4, 1, 0, false},
    {2, 9, 8, 32, 3, 3, 3, 1, 1, false},      {2, 7, 8, 16, 16, 3, 2, 2, 0, false},
    {2, 8, 12, 3, 16, 6, 6, 2, 2, false},     {1, 16, 16, 3, 24, 12, 12, 4, 4, false},
    {1, 16, 16, 64, 32, 3, 3, 1, 1, false},   {16, 32, 32, 64, 64, 3, 3, 1, 1, true},
    {16, 16, 16, 128, 128, 3, 3, 1, 1, true}, {16, 64, 64, 32, 32, 3, 3, 1, 1, true},
    {16, 64, 64, 3, 32, 3, 3, 1, 1, true},    {16, 64, 64, 32, 3, 3, 3, 1, 1, true},
    {16, 32, 32, 64, 128, 4, 4, 2, 1, true},  {16, 32, 32, 64, 64, 1, 1, 1, 0, true},
    {16, 64, 64, 3, 64, 6, 6, 2, 2, true},    {16, 64, 64, 3, 64, 12, 12, 4, 4, true},
};

static void check_conv(otp_op op, float slope, float scale)
{
	for (size_t k = 0; k < sizeof conv_sizes / sizeof *conv_sizes; k++) {
		conv_size s = conv_sizes[k];
		otp_shape x = {s.n, s.h, s.w, s.in}, w = {s.out, s.kh, s.kw, s.in};
		otp_shape y = {s.n, (s.h + 2 * s.pad - s.kh) / s.stride + 1,
			       (s.w + 2 * s.pad - s.kw) / s.stride + 1, s.out};
		double taps = (double)s.kh * s.kw, pixels = (double)s.n * y.h * y.w;
		test_case t = {.op = op,
			       .count = 2,
			       .bound = BY_ABS,
			       .order = 2,
			       .bf16 = true,
			       .bench_only = s.bench,
			       .one_mixture = 1 + (int)k,
			       .flops = 2 * taps * s.in * s.out * pixels};
		t.attr.conv.stride = s.stride;
		t.attr.conv.pad = s.pad;
		t.in[0] = op == OTP_OP_conv2d_dgrad ? y : x;
		t.in[1] = op == OTP_OP_conv2d_wgrad ? y : w;
		if (op == OTP_OP_conv2d_bias || op == OTP_OP_conv2d_merge)
			t.in[t.count++] = otp_shape4(1, 1, 1, s.out);
		if (op == OTP_OP_conv2d_merge)
			t.in[t.count++] = y;
		t.attr.conv.slope = slope;
		t.attr.conv.scale = scale;
		t.attr.conv.h = op == OTP_OP_conv2d_dgrad ? s.h : op == OTP_OP_conv2d_wgrad ? s.kh : 0;
		t.attr.conv.w = op == OTP_OP_conv2d_dgrad ? s.w : op == OTP_OP_conv2d_wgrad ? s.kw : 0;
		t.roundings =
		    1 +
		    (op == OTP_OP_conv2d_wgrad ? pixels : taps * (op == OTP_OP_conv2d_dgrad ? s.out : s.in));
		/* A product with the slope, which brings errors no further apart; a term more, and a product. */
		t.roundings += op == OTP_OP_conv2d_merge ? 2 : op == OTP_OP_conv2d_bias && slope != 1 ? 1 : 0;
		run_case(t);
	}
}

static void check_conv2d(void) { check_conv(OTP_OP_conv2d, 0, 0); }
/* With these inputs no sum lies within a finite difference's reach of the kink, or the check of gradients would
 * fail. */
static void check_conv2d_bias(void)
{
	check_conv(OTP_OP_conv2d_bias, 1, 0);
	check_conv(OTP_OP_conv2d_bias, 0.2f, 0);
}
static void check_conv2d_merge(void) { check_conv(OTP_OP_conv2d_merge, 0, 0.70710678f); }
static void check_conv2d_dgrad(void) { check_conv(OTP_OP_conv2d_dgrad, 0, 0); }
static void check_conv2d_wgrad(void) { check_conv(OTP_OP_conv2d_wgrad, 0, 0); }

/* ---- resampling, matrices ---- */

/* At most sixteen products of a weight that took two roundings to make. */
static void check_resample(otp_op op)
{
	static const otp_shape small[] = {
	    {1, 1, 1, 1}, {2, 3, 5, 3}, {3, 4, 2, 20}, {1, 3, 2, 16}, {16, 32, 32, 64}};
	for (int k = 0; k < 5; k++)
		for (int filter = 0; filter < 2; filter++) {
			test_case t = {.op = op,
				       .count = 1,
				       .in = {small[k]},
				       .bound = BY_ABS,
				       .roundings = 18,
				       .order = 2,
				       .bench_only = k == 4};
			if (op == OTP_OP_down2) {
				t.in[0].h *= 2;
				t.in[0].w *= 2;
			}
			t.attr.resample.filter = filter ? OTP_FILTER_FIR : OTP_FILTER_BOX;
			t.attr.resample.gain = filter ? 0.7f : 1;
			run_case(t);
		}
}

static void check_down2(void) { check_resample(OTP_OP_down2); }
static void check_up2(void) { check_resample(OTP_OP_up2); }

static void check_matmul(void)
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
 * the same again, and a rounding for each of c terms, in the sum; a quotient. */
static void check_softmax(void)
{
	for (int k = 0; k < SHAPE_COUNT; k++)
		run_case((test_case){.op = OTP_OP_softmax,
				     .count = 1,
				     .in = {shapes[k]},
				     .bound = BY_OUT,
				     .roundings = 18 + shapes[k].c,
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

static void check_softmax_gate(void)
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

/* ---- attention: first order only, no potential contains it ---- */

enum { QUERY, KEY, VALUE };

/* An element of a token's query, key or value. */
static double part(const test_case *t, double *const *in, int plane, int token, int which, int channel)
{
	int c = t->in[0].c / 3;
	return in[0][((int64_t)plane * t->in[0].w + token) * 3 * c + which * c + channel];
}

/* What share p of a token's look falls on each token; returns 1 + S, S the largest sum of |scale q k| in the
 * row, with which p's relative error grows. */
static double find_shares(const test_case *t, double *const *in, int plane, int token, double *p)
{
	double scale = (double)t->attr.attention.scale, largest = -HUGE_VAL, size = 0, total = 0;
	for (int k = 0; k < t->in[0].w; k++) {
		double terms = 0;
		p[k] = 0;
		for (int c = 0; c < t->in[0].c / 3; c++) {
			double term = scale * part(t, in, plane, token, QUERY, c) * part(t, in, plane, k, KEY, c);
			p[k] += term;
			terms += fabs(term);
		}
		largest = p[k] > largest ? p[k] : largest;
		size = terms > size ? terms : size;
	}
	for (int k = 0; k < t->in[0].w; k++)
		total += p[k] = exp(p[k] - largest);
	for (int k = 0; k < t->in[0].w; k++)
		p[k] /= total;
	return 1 + size;
}

/* y = sum p v */
static void add_row_of_attention(const test_case *t, double *const *in, int plane, int i, double *room,
				 double *magnitude)
{
	int tokens = t->in[0].w, channels = t->in[0].c / 3;
	double rough = find_shares(t, in, plane, i, room);
	for (int c = 0; c < channels; c++)
		for (int k = 0; k < tokens; k++)
			magnitude[((int64_t)plane * tokens + i) * channels + c] +=
			    rough * room[k] * fabs(part(t, in, plane, k, VALUE, c));
}

/* dv = sum p g, dq = sum ds k, dk = sum ds q, ds = scale p (dp - <p, dp>), dp = <g, v>: with absolute values
 * and a plus sign. */
static void add_row_of_attention_grad(const test_case *t, double *const *in, int plane, int i, double *room,
				      double *magnitude)
{
	int tokens = t->in[0].w, channels = t->in[0].c / 3;
	double *p = room, *dp = room + tokens, mean = 0, rough = find_shares(t, in, plane, i, p);
	const double *g = in[1] + ((int64_t)plane * tokens + i) * channels;
	for (int k = 0; k < tokens; k++) {
		dp[k] = 0;
		for (int c = 0; c < channels; c++)
			dp[k] += fabs(g[c] * part(t, in, plane, k, VALUE, c));
		mean += p[k] * dp[k];
	}
	for (int k = 0; k < tokens; k++)
		for (int c = 0; c < channels; c++) {
			double ds = rough * (double)t->attr.attention.scale * p[k] * (dp[k] + mean);
			double *of_i = magnitude + ((int64_t)plane * tokens + i) * 3 * channels + c;
			double *of_k = magnitude + ((int64_t)plane * tokens + k) * 3 * channels + c;
			of_i[QUERY * channels] += ds * fabs(part(t, in, plane, k, KEY, c));
			of_k[KEY * channels] += ds * fabs(part(t, in, plane, i, QUERY, c));
			of_k[VALUE * channels] += rough * p[k] * fabs(g[c]);
		}
}

static void attention_magnitude(const test_case *t, double *const *in, double *magnitude)
{
	bool grad = t->op == OTP_OP_attention_grad;
	int tokens = t->in[0].w;
	int64_t count = otp_shape_count(t->in[0]) / (grad ? 1 : 3);
	double *room = otp_calloc(2 * (size_t)tokens, sizeof *room);
	memset(magnitude, 0, (size_t)count * sizeof *magnitude);
	for (int plane = 0; plane < t->in[0].n * t->in[0].h; plane++)
		for (int i = 0; i < tokens; i++)
			(grad ? add_row_of_attention_grad : add_row_of_attention)(t, in, plane, i, room,
										  magnitude);
	otp_free(room);
}

/* Of c channels and t tokens. A score is off by D = (c + 2) u S, and by 4 u S when the row's largest has been
 * taken off and it is scaled; p, in which such errors count twice, by 2 D and, of exponentials, their sum and
 * the quotient, by (t + 9) u; y by t + 1 more. In the adjoint dp is off by c, <p, dp> by c + t and as p is,
 * ds by both and as p is, by 3 for its own operations, and what it is summed into by t. */
static void check_attention_op(otp_op op)
{
	static const struct {
		int n, h, tokens, channels;
	} sizes[] = {{1, 1, 1, 1},  {2, 1, 5, 3},  {1, 2, 16, 8},    {2, 1, 20, 24},
		     {3, 1, 33, 7}, {1, 3, 4, 40}, {1, 1, 128, 64}, {1, 2, 256, 64},
		     {16, 1, 64, 128}, {16, 1, 256, 64}};
	for (int k = 0; k < 10; k++) { /* from the eighth on large enough for a flash kernel */
		int n = sizes[k].n, h = sizes[k].h, t = sizes[k].tokens, c = sizes[k].channels;
		bool grad = op == OTP_OP_attention_grad;
		test_case test = {.op = op,
				  .count = grad ? 2 : 1,
				  .in = {{n, h, t, 3 * c}, {n, h, t, c}},
				  .bound = BY_RULE,
				  .roundings = grad ? 6 * c + 4 * t + 45 : 2 * c + 2 * t + 22,
				  .rule = attention_magnitude,
				  .order = grad || k >= 6 ? 0 : 1,
				  .bf16 = true,
				  .one_mixture = k == 6 || k == 7,
				  .bench_only = k >= 8,
				  .flops = (grad ? 10.0 : 4.0) * n * h * t * t * c};
		test.attr.attention.scale = 1 / sqrtf((float)c);
		run_case(test);
	}
}

static void check_attention(void) { check_attention_op(OTP_OP_attention); }
static void check_attention_grad(void) { check_attention_op(OTP_OP_attention_grad); }

/* ---- group normalisation: first order only, no potential contains it ---- */

/* Inputs of these cases are x, scale, shift[, g]; the statistics are nodes, so
 * that finite differences see them move with x. */
static otp_node *build_norm(const test_case *t, otp_node *const *in)
{
	otp_node *stats = otp_norm_stats(in[0], t->attr);
	if (t->op == OTP_OP_norm_stats)
		return stats;
	if (t->op == OTP_OP_norm_apply)
		return otp_norm(in[0], in[1], in[2], t->attr.norm.groups, t->attr.norm.eps,
				t->attr.norm.silu);
	otp_node *sums = otp_norm_sums(in[0], stats, in[1], in[2], in[3], t->attr);
	if (t->op == OTP_OP_norm_sums)
		return sums;
	return otp_norm_dgrad(in[0], stats, in[1], in[2], in[3], sums, t->attr);
}

/* Of one sample and group: mean, mean of |x|, 1/sqrt(var + eps). */
typedef struct moments {
	double mean, size, rstd;
} moments;

static moments group_moments(const test_case *t, const double *x, int n, int group)
{
	otp_shape s = t->in[0];
	int width = s.c / t->attr.norm.groups;
	int64_t pixels = (int64_t)s.h * s.w;
	double sum = 0, size = 0, square = 0, m = (double)(pixels * width);
	for (int64_t p = 0; p < pixels; p++)
		for (int c = group * width; c < (group + 1) * width; c++) {
			double value = x[(n * pixels + p) * s.c + c];
			sum += value / m;
			size += fabs(value) / m;
			square += value * value / m;
		}
	return (moments){sum, size, 1 / sqrt(square - sum * sum + t->attr.norm.eps)};
}

static void stats_magnitude(const test_case *t, double *const *in, double *magnitude)
{
	int groups = t->attr.norm.groups;
	for (int n = 0; n < t->in[0].n; n++)
		for (int group = 0; group < groups; group++) {
			moments m = group_moments(t, in[0], n, group);
			magnitude[2 * groups * n + group] = m.size;
			magnitude[2 * groups * n + groups + group] = m.rstd;
		}
}

/* With X = (|x| + |mean|) rstd, which is rounded four times to xhat, and
 * U = |scale| X + |shift|, the size of what becomes u:
 *   y    is off by 4 u U inside and 8 u U in the SiLU, whose slope is below 1.1;
 *   du   by |g| times (1/2, which bounds silu'', times 4 u U, plus 12 u (1 + U) of its own);
 *   sums add up du, off by 14 u |g| (1 + U), and du xhat, off by 19 u |g| (1 + U) X;
 *   gx   takes rstd times scale du, mean(scale du) and xhat mean(scale du xhat). */
typedef struct element_size {
	double x, u, du;
} element_size;

static element_size size_of_element(const test_case *t, double *const *in, moments m, int64_t at, int n,
				    int c)
{
	int64_t channel = (t->in[1].n == 1 ? 0 : n * t->in[1].c) + c;
	element_size z = {.x = (fabs(in[0][at]) + fabs(m.mean)) * m.rstd};
	z.u = fabs(in[1][channel]) * z.x + fabs(in[2][channel]);
	z.du = t->count > 3 ? fabs(in[3][at]) * (1 + z.u) : 0;
	return z;
}

static void group_magnitude(const test_case *t, double *const *in, double *magnitude, int n, int group)
{
	otp_shape s = t->in[0];
	int width = s.c / t->attr.norm.groups;
	int64_t pixels = (int64_t)s.h * s.w;
	moments m = group_moments(t, in[0], n, group);
	double mean_du = 0, mean_product = 0;
	for (int pass = 0; pass < 2; pass++)
		for (int64_t p = 0; p < pixels; p++)
			for (int c = group * width; c < (group + 1) * width; c++) {
				int64_t at = (n * pixels + p) * s.c + c;
				double scale = fabs(in[1][(t->in[1].n == 1 ? 0 : n * s.c) + c]);
				element_size z = size_of_element(t, in, m, at, n, c);
				if (t->op == OTP_OP_norm_apply) {
					magnitude[at] = z.u;
				} else if (t->op == OTP_OP_norm_sums && pass == 0) {
					magnitude[2 * n * s.c + c] += z.du * z.x;
					magnitude[2 * n * s.c + s.c + c] += z.du;
				} else if (t->op == OTP_OP_norm_dgrad && pass == 0) {
					mean_du += scale * z.du / (double)(pixels * width);
					mean_product += scale * z.du * z.x / (double)(pixels * width);
				} else if (t->op == OTP_OP_norm_dgrad) {
					magnitude[at] =
					    m.rstd * (scale * z.du + mean_du + z.x * mean_product);
				}
			}
}

static void norm_magnitude(const test_case *t, double *const *in, double *magnitude)
{
	for (int n = 0; n < t->in[0].n; n++)
		for (int group = 0; group < t->attr.norm.groups; group++)
			group_magnitude(t, in, magnitude, n, group);
}

static void check_norm(otp_op op, int inputs, double roundings, int order)
{
	static const struct {
		otp_shape x;
		int groups;
	} sizes[] = {{{1, 1, 1, 4}, 2},	     {{2, 3, 5, 6}, 3},	    {{3, 4, 4, 40}, 8},
		     {{2, 5, 3, 64}, 1},     {{2, 4, 4, 72}, 4},    {{2, 33, 31, 6}, 3},
		     {{1, 32, 16, 24}, 6},   {{16, 64, 64, 32}, 8}, {{16, 64, 64, 16}, 4},
		     {{16, 16, 16, 128}, 32}};
	enum { SIZE_COUNT = sizeof sizes / sizeof *sizes, FIRST_LARGE = SIZE_COUNT - 3 };
	for (int k = 0; k < SIZE_COUNT; k++)
		for (int variant = 0; variant < 4; variant++) {
			otp_shape x = sizes[k].x, channels = otp_shape4(variant & 2 ? x.n : 1, 1, 1, x.c);
			test_case t = {.op = op,
				       .count = inputs,
				       .in = {x, channels, channels, x},
				       .bound = BY_RULE,
				       .roundings = roundings,
				       .rule = op == OTP_OP_norm_stats ? stats_magnitude : norm_magnitude,
				       .build = build_norm,
				       .order = order,
				       .bench_only = k >= FIRST_LARGE,
				       .one_mixture = 1 + 4 * k + variant};
			t.attr.norm.groups = sizes[k].groups;
			t.attr.norm.eps = 1e-3f;
			t.attr.norm.silu = variant & 1;
			run_case(t);
		}
}

/* Statistics keep the accuracy of pairwise summation, at most 2^11 terms here. */
static void check_norm_stats(void) { check_norm(OTP_OP_norm_stats, 1, 4 + 11, 0); }
static void check_norm_apply(void) { check_norm(OTP_OP_norm_apply, 3, 16, 1); }
static void check_norm_sums(void) { check_norm(OTP_OP_norm_sums, 4, 20, 0); }
static void check_norm_dgrad(void) { check_norm(OTP_OP_norm_dgrad, 4, 32, 0); }

/* ---- randomness and update: nothing to differentiate ---- */

/* The same float formula everywhere; a compiler may fuse its products and
 * sums, each worth a rounding, of a radius below sqrt(-2 log 2^-25) < 6. */
static void normal_magnitude(const test_case *t, double *const *in, double *magnitude)
{
	(void)in;
	for (int64_t i = 0; i < otp_shape_count(t->attr.noise.to); i++)
		magnitude[i] = 6;
}

static void check_normal(void)
{
	for (int k = 0; k < SHAPE_COUNT; k++) {
		test_case t = {.op = OTP_OP_normal,
			       .count = 1,
			       .in = {{shapes[k].n, 1, 1, k % 2 ? 4 : 7}},
			       .fill = {WORDS},
			       .bound = BY_RULE,
			       .roundings = 8,
			       .rule = normal_magnitude,
			       .bench_only = k == LARGE};
		t.attr.noise.to = shapes[k];
		t.attr.noise.purpose = OTP_PURPOSE_EPS;
		run_case(t);
	}
	/* many points */
	test_case t = {.op = OTP_OP_normal,
		       .count = 1,
		       .in = {{100, 1, 1, 4}},
		       .fill = {WORDS},
		       .bound = BY_RULE,
		       .roundings = 8,
		       .rule = normal_magnitude};
	t.attr.noise.to = otp_shape4(100, 1, 1, 6);
	t.attr.noise.purpose = OTP_PURPOSE_EPS;
	run_case(t);
}

/* The moments of a long draw: mean, variance and a fourth moment of 3, each
 * within five standard errors; and a tail that reaches past 3.5. */
static void check_normal_moments(int which)
{
	enum { DRAWS = 1 << 16 };
	test_case t = {.op = OTP_OP_normal, .count = 1, .in = {{1, 1, 1, 4}}, .fill = {WORDS}};
	t.attr.noise.to = otp_shape4(1, 1, DRAWS, 1);
	t.attr.noise.purpose = OTP_PURPOSE_LATENT;
	values v = make_values(&t);
	float *x = otp_calloc(DRAWS, sizeof *x);
	run_planned(which, &t, &v, (way){0}, false, 1, x);
	double m1 = 0, m2 = 0, m4 = 0, most = 0;
	for (int i = 0; i < DRAWS; i++) {
		double square = (double)x[i] * x[i];
		m1 += x[i] / (double)DRAWS;
		m2 += square / DRAWS;
		m4 += square * square / DRAWS;
		most = square > most ? square : most;
	}
	double error = 1 / sqrt(DRAWS); /* variances of x, x^2, x^4: 1, 2, 96 */
	report(fabs(m1) < 5 * error && fabs(m2 - 1) < 5 * sqrt(2) * error &&
		   fabs(m4 - 3) < 5 * sqrt(96) * error && most > 3.5 * 3.5,
	       "normal", "%s: moments %.4f %.4f %.4f, largest %.2f", tested_backends[which], m1, m2, m4,
	       sqrt(most));
	otp_free(x);
	drop_values(&t, &v);
}

/* Bytes written one by one, and what each pick must find: the formula, not the kernels' indexing. */
static void check_gather_by_hand(int which)
{
	enum { ROWS = 256, H = 2, W = 3, C = 3, N = 5, COLUMN = 1 };
	const uint32_t picks[N] = {0, 1, 2 * 255, 2 * 255 + 1, 2 * 77};
	test_case t = {.op = OTP_OP_gather, .count = 2, .fill = {WORDS, WORDS}};
	t.attr.gather.to = otp_shape4(N, H, W, C);
	t.attr.gather.stored = C;
	t.attr.gather.column = COLUMN;
	t.in[0] = otp_shape4(ROWS, 1, 1, otp_gather_words(H * W * C));
	t.in[1] = otp_shape4(N, 1, 1, 2);
	values v = make_values(&t);
	unsigned char *bytes = v.host[0];
	for (int row = 0; row < ROWS; row++)
		for (int i = 0; i < H * W * C; i++)
			bytes[row * 4 * t.in[0].c + i] = (unsigned char)(row + 7 * i);
	for (int n = 0; n < N; n++)
		((uint32_t *)v.host[1])[2 * n + COLUMN] = picks[n];
	float out[N * H * W * C];
	run_planned(which, &t, &v, (way){0}, false, 1, out);
	bool right = true;
	for (int i = 0; i < N * H * W * C; i++) {
		int n = i / (H * W * C), c = i % C, w = i / C % W, h = i / (C * W) % H;
		int from = (h * W + (picks[n] % 2 ? W - 1 - w : w)) * C + c;
		unsigned char byte = (unsigned char)((int)(picks[n] / 2) + 7 * from);
		right &= out[i] == (float)byte / 127.5f - 1;
	}
	report(right, "gather", "%s: other values than the bytes stand for", tested_backends[which]);
	drop_values(&t, &v);
}

static void check_gather(void)
{
	static const struct {
		otp_shape to;
		int stored, rows;
	} sizes[] = {{{1, 1, 1, 1}, 1, 1},    {{3, 5, 7, 3}, 3, 4}, {{4, 3, 3, 3}, 1, 9},
		     {{2, 28, 28, 1}, 1, 31}, {{5, 2, 9, 4}, 4, 2}, {{64, 64, 64, 3}, 3, 512}};
	enum { SIZE_COUNT = sizeof sizes / sizeof *sizes };
	for (int k = 0; k < SIZE_COUNT; k++) {
		otp_shape to = sizes[k].to;
		test_case t = {.op = OTP_OP_gather,
			       .count = 2,
			       .fill = {WORDS, PICKS},
			       .bound = EXACT,
			       .bench_only = k == SIZE_COUNT - 1};
		t.attr.gather.to = to;
		t.attr.gather.stored = sizes[k].stored;
		t.attr.gather.column = k % 3;
		t.in[0] =
		    otp_shape4(sizes[k].rows, 1, 1, otp_gather_words((int64_t)to.h * to.w * sizes[k].stored));
		t.in[1] = otp_shape4(to.n, 1, 1, 3 + k % 2);
		run_case(t);
	}
	for (int which = 0; which < TESTED_COUNT && !tally.bench; which++)
		if (tested[which].backend)
			check_gather_by_hand(which);
}

/* In place, as the engine runs it: every row in its slot, past the end from the first on again. */
static void check_record_rows(int which)
{
	enum { SLOTS = 5, COLUMNS = 3, RUNS = 13 };
	const otp_backend *backend = tested[which].backend;
	otp_device *device = tested[which].device;
	void *spans[OTP_MAX_SPANS] = {backend->alloc(device, SLOTS * COLUMNS * backend->element_bytes[OTP_F32])};
	otp_graph *g = otp_graph_new();
	otp_node *ring = otp_view(g, "ring", 0, 0, otp_shape4(1, 1, SLOTS, COLUMNS));
	otp_node *row = otp_input(g, "row", OTP_F32, otp_shape4(1, 1, 1, COLUMNS));
	otp_node *words = otp_input(g, "words", OTP_U32, otp_shape4(2, 1, 1, 2));
	otp_output(otp_record(ring, row, words, 1), 0, 0);
	otp_program *p = otp_program_new(backend, device, g, spans, (otp_program_options){0});
	for (uint32_t run = 0; run < RUNS; run++) {
		const float three[COLUMNS] = {(float)run, (float)run + 0.25f, (float)run + 0.5f};
		const uint32_t numbers[4] = {99, run, 98, 97};
		otp_program_write(p, row, three);
		otp_program_write(p, words, numbers);
		otp_program_run(p);
	}
	float got[SLOTS * COLUMNS];
	backend->wait(device);
	backend->download(device, got, OTP_F32, spans[0], SLOTS * COLUMNS);
	bool right = true;
	for (int slot = 0; slot < SLOTS; slot++) {
		float last = (float)(slot < RUNS % SLOTS ? RUNS / SLOTS * SLOTS + slot
							 : (RUNS / SLOTS - 1) * SLOTS + slot);
		for (int c = 0; c < COLUMNS; c++)
			right &= got[slot * COLUMNS + c] == last + 0.25f * (float)c;
	}
	report(right, "record", "%s: rows are not in their slots", tested_backends[which]);
	otp_program_free(p);
	otp_graph_free(g);
	backend->release(device, spans[0]);
}

static void check_record(void)
{
	static const otp_shape rings[] = {{1, 1, 1, 1}, {1, 1, 7, 4}, {1, 1, 300, 5}};
	for (int k = 0; k < 3; k++) {
		test_case t = {.op = OTP_OP_record,
			       .count = 3,
			       .in = {rings[k], {1, 1, 1, rings[k].c}, {2, 1, 1, 1 + k}},
			       .fill = {NORMALISH, NORMALISH, WORDS},
			       .bound = EXACT};
		t.attr.record.column = k;
		run_case(t);
	}
	for (int which = 0; which < TESTED_COUNT && !tally.bench; which++)
		if (tested[which].backend)
			check_record_rows(which);
}

typedef struct adam_setup {
	int columns, grad_rows;
	bool ema;
	otp_attr attr;
} adam_setup;

enum { ADAM_STEPS = 5 };

static double adam_start(int row, int i)
{
	double value = random_value(NORMALISH, (uint32_t)(500 + row), (uint32_t)i);
	return (float)(row == OTP_ROW_V ? value * value : value);
}

static double adam_grad(int step, int row, int i)
{
	return (float)random_value(NORMALISH, (uint32_t)(600 + 10 * step + row), (uint32_t)i);
}

static void adam_hyper(const adam_setup *s, int step, float *hyper)
{
	memset(hyper, 0, OTP_HYPER_COUNT * sizeof *hyper);
	hyper[OTP_HYPER_RATE] = 0.01f;
	hyper[OTP_HYPER_CORRECT1] = (float)(1 / (1 - pow(s->attr.adam.beta1, step + 1)));
	hyper[OTP_HYPER_CORRECT2] = (float)(1 / (1 - pow(s->attr.adam.beta2, step + 1)));
	hyper[OTP_HYPER_EMA] = 0.9f;
}

/* The paper's formulas, once more and by hand, in double. */
static void adam_by_hand(const adam_setup *s, double *state)
{
	for (int i = 0; i < s->columns; i++)
		for (int step = 0; step < ADAM_STEPS; step++) {
			float hyper[OTP_HYPER_COUNT];
			adam_hyper(s, step, hyper);
			double *p = &state[i], *m = p + s->columns, *v = m + s->columns, g = 0;
			double b1 = s->attr.adam.beta1, b2 = s->attr.adam.beta2;
			for (int row = 0; row < s->grad_rows; row++)
				g += adam_grad(step, row, i);
			*m = b1 * *m + (1 - b1) * g;
			*v = b2 * *v + (1 - b2) * g * g;
			*p -= hyper[OTP_HYPER_RATE] * *m * hyper[OTP_HYPER_CORRECT1] /
			      (sqrt(*v * hyper[OTP_HYPER_CORRECT2]) + s->attr.adam.eps);
			if (s->ema)
				v[s->columns] =
				    hyper[OTP_HYPER_EMA] * v[s->columns] + (1 - hyper[OTP_HYPER_EMA]) * *p;
		}
}

/* The same on a backend, the columns shared by `parts` programs over one state span; where the backend stores
 * bfloat16, with the copy of the weights, read into `rounded`. */
static void adam_on(int which, const adam_setup *s, int parts, float *state, float *rounded)
{
	const otp_backend *backend = tested[which].backend;
	otp_device *device = tested[which].device;
	int64_t count = (int64_t)(s->ema ? 4 : 3) * s->columns;
	void *spans[OTP_MAX_SPANS] = {backend->alloc(device, (size_t)count * backend->element_bytes[OTP_F32])};
	backend->upload(device, spans[0], OTP_F32, state, count);
	otp_rounded copies[OTP_MAX_SPANS] = {{NULL, 0}};
	if (backend->element_bytes[OTP_BF16])
		copies[0] = (otp_rounded){backend->alloc(device, (size_t)s->columns * backend->element_bytes[OTP_BF16]),
					  s->columns};
	otp_graph *g = otp_graph_new();
	otp_node *view = otp_view(g, "state", 0, 0, otp_shape4(1, 1, s->ema ? 4 : 3, s->columns));
	otp_node *grads = otp_input(g, "grads", OTP_F32, otp_shape4(1, 1, s->grad_rows, s->columns));
	otp_node *hyper = otp_input(g, "hyper", OTP_F32, otp_shape4(1, 1, 1, OTP_HYPER_COUNT));
	otp_output(otp_adam(view, grads, hyper, s->attr), 0, 0);
	float *rows = otp_calloc((size_t)s->grad_rows * (size_t)s->columns, sizeof *rows);
	otp_program *programs[4];
	for (int part = 0; part < parts; part++)
		programs[part] = otp_program_new(backend, device, g, spans,
						 (otp_program_options){.part = part, .parts = parts,
								       .rounded = copies});
	for (int step = 0; step < ADAM_STEPS; step++) {
		float scalars[OTP_HYPER_COUNT];
		adam_hyper(s, step, scalars);
		for (int row = 0; row < s->grad_rows; row++)
			for (int i = 0; i < s->columns; i++)
				rows[(int64_t)row * s->columns + i] = (float)adam_grad(step, row, i);
		for (int part = 0; part < parts; part++) {
			otp_program_write(programs[part], grads, rows);
			otp_program_write(programs[part], hyper, scalars);
			otp_program_run(programs[part]);
		}
	}
	backend->wait(device);
	backend->download(device, state, OTP_F32, spans[0], count);
	if (copies[0].memory)
		backend->download(device, rounded, OTP_BF16, copies[0].memory, s->columns);
	backend->release(device, copies[0].memory);
	for (int part = 0; part < parts; part++)
		otp_program_free(programs[part]);
	otp_graph_free(g);
	otp_free(rows);
	backend->release(device, spans[0]);
}

/* A step rounds each of p, m, v a handful of times, 16 u with what they inherit
 * from g; values stay below 8 (v: g^2 of three rows in (-2, 2)^2 stays below 36). */
static void check_adam_steps(int which, adam_setup s)
{
	int rows = s.ema ? 4 : 3;
	int64_t count = (int64_t)rows * s.columns;
	double *exact = otp_calloc((size_t)count, sizeof *exact);
	float *whole = otp_calloc((size_t)count, sizeof *whole),
	      *shared = otp_calloc((size_t)count, sizeof *shared);
	for (int row = 0; row < rows; row++)
		for (int i = 0; i < s.columns; i++) {
			int64_t at = (int64_t)row * s.columns + i;
			exact[at] = adam_start(row, i);
			whole[at] = shared[at] = (float)exact[at];
		}
	float *rounded = otp_calloc((size_t)s.columns, sizeof *rounded);
	adam_by_hand(&s, exact);
	adam_on(which, &s, 3, shared, rounded);
	adam_on(which, &s, 1, whole, rounded);
	double most = 0;
	for (int64_t i = 0; i < count; i++)
		most = fmax(most, fabs(whole[i] - exact[i]));
	const char *name = tested_backends[which];
	report(most <= 16 * ADAM_STEPS * UNIT * 36, "adam", "%s, %d columns: off by %g after %d steps", name,
	       s.columns, most, ADAM_STEPS);
	int stale = 0;
	for (int i = 0; i < s.columns && tested[which].backend->element_bytes[OTP_BF16]; i++)
		stale += rounded[i] != otp_bf16_widen(otp_bf16_round(whole[i]));
	report(stale == 0, "adam", "%s, %d columns: %d of the copy in bfloat16 are not the weights rounded", name,
	       s.columns, stale);
	otp_free(rounded);
	report(same_bits(whole, shared, count), "adam", "%s, %d columns: three shares give other bits", name,
	       s.columns);
	otp_free(exact);
	otp_free(whole);
	otp_free(shared);
}

static void check_adam(void)
{
	static const int columns[] = {1, 17, 1000, 2500};
	otp_attr attr = {.adam = {.beta1 = 0.9f, .beta2 = 0.99f, .eps = 1e-8f}};
	for (int which = 0; which < TESTED_COUNT && !tally.bench; which++)
		for (int k = 0; k < 8 && tested[which].backend; k++) {
			adam_setup s = {
			    .columns = columns[k / 2], .grad_rows = 1 + k % 3, .ema = k % 2, .attr = attr};
			s.attr.adam.ema = s.ema;
			tally.cases++;
			check_adam_steps(which, s);
		}
	for (int which = 0; which < TESTED_COUNT && !tally.bench; which++)
		if (tested[which].backend)
			check_normal_moments(which);
	test_case t = {.op = OTP_OP_adam,
		       .count = 3,
		       .fill = {POSITIVE, NORMALISH, POSITIVE},
		       .attr = attr,
		       .bench_only = true};
	t.attr.adam.ema = true;
	t.in[0] = otp_shape4(1, 1, 4, 1 << 21);
	t.in[1] = otp_shape4(1, 1, 2, 1 << 21);
	t.in[2] = otp_shape4(1, 1, 1, OTP_HYPER_COUNT);
	run_case(t);
}

/* ---- all of them ---- */

static const struct {
	const char *name;
	void (*run)(void);
} checks[] = {
#define OP(name, inputs, attribute, in_place, meaning) {#name, check_##name},
#include "graph/ops.def"
#undef OP
};

static void open_backends(void)
{
	otp_error err = {0};
	ref.backend = &otp_ref_backend;
	ref.backend->open(0, &ref.device, &err);
	for (int which = 0; which < TESTED_COUNT; which++) {
		if (tally.alone && strcmp(tally.alone, tested_backends[which]) != 0)
			continue;
		const otp_backend *backend = find_backend(tested_backends[which], &err);
		if (backend && backend->open(0, &tested[which].device, &err))
			tested[which].backend = backend;
		else
			printf("skipped %s: %s\n", tested_backends[which], err.text);
		err = (otp_error){0};
	}
}

static void name_library_ops(void)
{
	for (int which = 0; which < TESTED_COUNT; which++) {
		int listed = 0;
		for (int op = OTP_OP_LEAF + 1; op < OTP_OP_COUNT && tested[which].backend; op++)
			if (!runs(which, (otp_op)op))
				printf("%s%s",
				       listed++ ? ", " : "library ops, not run: ", otp_op_name((otp_op)op));
		if (listed)
			printf(" (%s)\n", tested_backends[which]);
	}
}

/* With --backend, not to have run anything is a failure: whoever asks wants a result. */
static bool opened_any(void)
{
	for (int which = 0; which < TESTED_COUNT; which++)
		if (tested[which].backend)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	const char *only = NULL;
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--bench") == 0)
			tally.bench = true;
		else if (strcmp(argv[i], "--backend") == 0 && i + 1 < argc)
			tally.alone = argv[++i];
		else
			only = argv[i];
	open_backends();
	if (!opened_any())
		return OTP_EXIT_FAILED;
	name_library_ops();
	int ops = 0;
	for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
		if (only && strcmp(checks[i].name, only) != 0)
			continue;
		ops++;
		checks[i].run();
	}
	if (!ops) {
		fprintf(stderr, "check_ops: there is no op '%s'\n", only);
		return OTP_EXIT_USAGE;
	}
	printf("%d ops, %d cases, %d checks, %d failed\n", ops, tally.cases, tally.checks, tally.failures);
	return tally.failures ? OTP_EXIT_FAILED : OTP_EXIT_OK;
}
