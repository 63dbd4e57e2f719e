/* plan and program: on random graphs and on the graphs of real training steps,
 * no two values that are needed at once share memory, a run with free memory
 * poisoned gives the same bits, and running allocates nothing.
 *
 * Lifetimes are found here again from the graph alone, without the planner's.
 * With types mixed at random, and with storage.h's, the same holds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/places.h"
#include "graph/plan.h"
#include "graph/program.h"
#include "graph/storage.h"

#include <errno.h>
#include <limits.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ---- counting allocations ---- */

/* The program's own malloc comes before the C library's, for every shared
 * library too. Two counts: calls from our code, which is linked into this
 * program, and whoever's calls for a page or more. What is left out is small
 * change: oneDNN's execute fills a hash table of its arguments every time. And
 * pages where it has no AVX-512: its older matrix products pack their operands
 * into memory of their own, whatever scratchpad they are given.
 * Sanitizers bring their own malloc, so there nothing is counted. */
#if defined(__GLIBC__) && !defined(OTPLAN_SANITIZE)
#define COUNTS_ALLOCATIONS 1
static atomic_long our_allocations, pages_of_others;

extern const char __executable_start[], etext[];
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

static void count_allocation(size_t bytes, const void *caller)
{
	uintptr_t at = (uintptr_t)caller;
	bool ours = at >= (uintptr_t)__executable_start && at < (uintptr_t)etext;
	if (ours)
		atomic_fetch_add(&our_allocations, 1);
	else if (bytes >= 4096)
		atomic_fetch_add(&pages_of_others, 1);
}
#define COUNT(bytes) count_allocation(bytes, __builtin_return_address(0))

void *malloc(size_t bytes)
{
	COUNT(bytes);
	return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
	COUNT(count * bytes);
	return __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes)
{
	COUNT(bytes);
	return __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
	COUNT(bytes);
	return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
	COUNT(bytes);
	*memory = __libc_memalign(alignment, bytes);
	return *memory ? 0 : ENOMEM;
}

static bool products_pack_in_scratchpads(void)
{
	int isa = (int)dnnl_get_effective_cpu_isa(), wanted = (int)dnnl_cpu_isa_avx512_core;
	return (isa & wanted) == wanted;
}

static long allocation_count(void)
{
	return atomic_load(&our_allocations) +
	       (products_pack_in_scratchpads() ? atomic_load(&pages_of_others) : 0);
}
#endif

/* ---- lifetimes, found again ---- */

static const size_t BYTES[OTP_TYPE_COUNT] = {[OTP_F32] = 4, [OTP_U32] = 4, [OTP_BF16] = 2};

typedef struct lifetime {
	bool needed;
	int base;	 /* the node whose memory this is: itself, or what it is a view of */
	int first, last; /* by bases: written at first, read no later than last; -1: before the run, INT_MAX:
			    after it */
	int64_t begin, end;
} lifetime;

static void mark_needed(const otp_graph *g, lifetime *lives)
{
	for (int id = otp_graph_size(g) - 1; id >= 0; id--) {
		const otp_node *node = otp_graph_node(g, id);
		lives[id].needed |= node->output;
		for (int i = 0; i < node->input_count; i++)
			lives[node->in[i]->id].needed |= lives[id].needed;
	}
}

/* Whether kernels are known to read input i of a node where its rows lie apart. */
static bool may_read_rows(const otp_node *node, int i)
{
	if (strncmp(otp_op_name(node->op), "norm_total", 10) == 0)
		return i == 1 || i == 2;
	if (strncmp(otp_op_name(node->op), "norm_", 5) == 0)
		return i == 0 || i == 2 || i == 3 || i >= 5;
	if (node->op == OTP_OP_conv2d_merge)
		return i == 3;
	if (node->op == OTP_OP_sum)
		return node->shape.n == 1 && node->in[0]->shape.h == 1 && node->in[0]->shape.w == 1 &&
		       node->shape.c == node->in[0]->shape.c;
	if (node->op == OTP_OP_add)
		return otp_shape_equal(node->in[0]->shape, node->in[1]->shape);
	return node->op == OTP_OP_affine || node->op == OTP_OP_down2 || node->op == OTP_OP_up2 ||
	       node->op == OTP_OP_up2_merge;
}

/* But for the concat that it is a part of. */
static void check_readers(const otp_graph *g, const otp_plan *plan, const otp_node *of, int whole)
{
	for (int id = of->id + 1; id < otp_graph_size(g); id++) {
		const otp_node *node = otp_graph_node(g, id);
		for (int i = 0; i < node->input_count && plan->place[id].live; i++)
			if (node->in[i] == of && id != whole)
				assert_true(may_read_rows(node, i));
	}
}

static bool is_whole(const otp_graph *g, const otp_plan *plan, int id)
{
	return plan->place[id].view && plan->place[id].live && otp_graph_node(g, id)->op == OTP_OP_concat;
}

/* The concats that what is written into them lies in, [nodes]; -1: memory of its own, or a view's. */
static int *find_wholes(const otp_graph *g, const otp_plan *plan)
{
	int count = otp_graph_size(g), *whole = otp_calloc((size_t)count, sizeof *whole);
	for (int id = 0; id < count; id++)
		whole[id] = -1;
	for (int id = count - 1; id >= 0; id--) {
		const otp_node *node = otp_graph_node(g, id);
		int64_t begin = 0;
		for (int i = 0; i < node->input_count && node->op == OTP_OP_concat; i++) {
			const otp_node *part = node->in[i];
			const otp_place *lies = &plan->place[part->id];
			int64_t bytes = part->shape.c * (int64_t)BYTES[plan->place[id].type];
			assert_true(!is_whole(g, plan, id) || lies->part);
			begin += bytes;
			if (!plan->place[id].live || !lies->part || whole[part->id] >= 0)
				continue;
			assert_true(node->attr.axis.axis == OTP_AXIS_C && !part->output);
			assert_true(part->op == OTP_OP_norm_sums || part->op == OTP_OP_up2 ||
				    part->op == OTP_OP_down2 || part->op == OTP_OP_conv2d_bias ||
				    part->op == OTP_OP_conv2d_merge || is_whole(g, plan, part->id));
			assert_true(lies->type == plan->place[id].type);
			whole[part->id] = whole[id] < 0 ? id : whole[id];
			assert_int_equal(lies->step, otp_graph_node(g, whole[part->id])->shape.c);
			assert_int_equal(lies->offset, plan->place[id].offset + begin - bytes);
			check_readers(g, plan, part, id);
		}
	}
	return whole;
}

/* A view is a reshape, or a slice that lies where its elements lie in what it is of. */
static bool is_view(const otp_graph *g, const otp_plan *plan, int id)
{
	const otp_node *node = otp_graph_node(g, id);
	if (node->op == OTP_OP_concat)
		return false;
	if (!plan->place[id].view || !plan->place[id].live)
		return node->op == OTP_OP_reshape;
	const otp_node *of = node->in[0];
	int64_t begin = 0;
	if (node->op == OTP_OP_slice) {
		const int all[4] = {of->shape.n, of->shape.h, of->shape.w, of->shape.c};
		int64_t inner = otp_shape_count(of->shape) / all[node->attr.slice.axis];
		if (plan->place[id].step) {
			assert_true(node->attr.slice.axis == OTP_AXIS_C);
			assert_int_equal(plan->place[id].step, all[3]);
			check_readers(g, plan, node, -1);
			inner = 1;
		} else
			for (int axis = 0; axis < (int)node->attr.slice.axis; axis++) {
				assert_int_equal(all[axis], 1);
			}
		begin = inner * node->attr.slice.begin;
	}
	assert_true(node->op == OTP_OP_slice || node->op == OTP_OP_reshape);
	assert_true(!node->output && plan->place[id].type == plan->place[of->id].type);
	if (plan->place[of->id].offset >= 0)
		assert_int_equal(plan->place[id].offset,
				 plan->place[of->id].offset + begin * (int64_t)BYTES[plan->place[id].type]);
	return true;
}

static lifetime *find_lifetimes(const otp_graph *g, const otp_plan *plan)
{
	int count = otp_graph_size(g);
	lifetime *lives = otp_calloc((size_t)count, sizeof *lives);
	int *whole = find_wholes(g, plan);
	mark_needed(g, lives);
	for (int id = 0; id < count; id++) {
		const otp_node *node = otp_graph_node(g, id);
		lifetime *l = &lives[id];
		bool leaf = node->op == OTP_OP_LEAF;
		l->base = is_view(g, plan, id) ? lives[node->in[0]->id].base : whole[id] < 0 ? id : whole[id];
		l->first = leaf ? -1 : id;
		l->last = leaf || node->output ? INT_MAX : id;
		l->begin = plan->place[id].offset;
		l->end = l->begin + otp_shape_count(node->shape) * (int64_t)BYTES[plan->place[id].type];
		for (int i = 0; l->needed && i < node->input_count; i++) {
			lifetime *read = &lives[lives[node->in[i]->id].base];
			read->last = read->last < id ? id : read->last;
		}
	}
	for (int id = 0; id < count; id++) /* a whole is there from its first part on */
		if (whole[id] >= 0 && lives[whole[id]].first > id)
			lives[whole[id]].first = id;
	otp_free(whole);
	return lives;
}

/* Whether b may be written where a lies although it reads a: ops.def says so,
 * elements correspond, and b's other inputs lie elsewhere. */
static bool overwrites(const otp_graph *g, const lifetime *lives, int a, int b)
{
	const otp_node *node = otp_graph_node(g, b);
	if (lives[a].last != b || !otp_op_in_place(node->op) || lives[node->in[0]->id].base != a)
		return false;
	for (int i = 1; i < node->input_count; i++)
		if (lives[node->in[i]->id].base == a)
			return false;
	return otp_shape_equal(node->in[0]->shape, node->shape) && lives[a].begin == lives[b].begin &&
	       lives[a].end - lives[a].begin == lives[b].end - lives[b].begin;
}

static bool in_arena(const otp_graph *g, const lifetime *lives, int id)
{
	return lives[id].needed && lives[id].base == id && otp_graph_node(g, id)->span == OTP_SPAN_NONE;
}

static void check_pair(const otp_graph *g, const lifetime *lives, int a, int b)
{
	bool apart = lives[a].end <= lives[b].begin || lives[b].end <= lives[a].begin;
	if (!apart && lives[a].last >= lives[b].first && !overwrites(g, lives, a, b))
		fail_msg("node %d (%s), needed until %d, shares memory with node %d (%s)", a,
			 otp_op_name(otp_graph_node(g, a)->op), lives[a].last, b,
			 otp_op_name(otp_graph_node(g, b)->op));
}

/* Returns the arena's share of the memory without reuse. */
static double check_plan(const otp_graph *g, const otp_type *types)
{
	otp_plan *plan = otp_plan_new(g, types, BYTES, true);
	lifetime *lives = find_lifetimes(g, plan);
	for (int b = 0; b < otp_graph_size(g); b++) {
		if (!in_arena(g, lives, b))
			continue;
		assert_true(lives[b].begin >= 0 && lives[b].end <= plan->arena_bytes);
		assert_int_equal(lives[b].begin % 64, 0);
		for (int a = 0; a < b; a++)
			if (in_arena(g, lives, a))
				check_pair(g, lives, a, b);
	}
	assert_true(plan->arena_bytes <= plan->unshared_bytes);
	double share = (double)plan->arena_bytes / (double)plan->unshared_bytes;
	otp_free(lives);
	otp_plan_free(plan);
	return share;
}

/* ---- random graphs ---- */

enum { RANDOM_GRAPHS = 200, RANDOM_NODES = 60, RANDOM_SPAN = 0, VIEW_SPAN = 1, LEAVES = 3 };

typedef struct dice {
	otp_stream stream;
	uint32_t thrown;
} dice;

static int throw_dice(dice *d, int sides)
{
	return (int)(otp_random_u32(d->stream, OTP_PURPOSE_SYNTH, d->thrown++) % (uint32_t)sides);
}

typedef struct random_graph {
	otp_graph *graph;
	otp_node *nodes[RANDOM_NODES + LEAVES]; /* all within [-1, 1] */
	int count;
	otp_node *leaf[LEAVES - 1];
	otp_node *kept[RANDOM_NODES + 1];
	int kept_count;
	int64_t span_elements; /* of the outputs in RANDOM_SPAN */
} random_graph;

static const otp_shape RANDOM_SHAPE = {2, 3, 5, 7}; /* no multiple of the planner's 16 */

static otp_node *any(random_graph *r, dice *d)
{
	/* Mostly the latest, so that lives are short and memory is passed on. */
	int back = throw_dice(d, throw_dice(d, 3) ? 4 : r->count);
	return r->nodes[back < r->count ? r->count - 1 - back : 0];
}

static otp_node *any_like(random_graph *r, dice *d, otp_shape s)
{
	for (int tries = 0; tries < 8; tries++) {
		otp_node *x = any(r, d);
		if (otp_shape_equal(x->shape, s))
			return x;
	}
	return NULL;
}

/* What reads a slice of wider rows, of 16 channels of 32. */
static otp_node *part_of_rows(otp_node *a, otp_node *b, int how)
{
	otp_node *all = otp_concat(otp_pad(a, OTP_AXIS_C, 0, 16), otp_pad(b, OTP_AXIS_C, 0, 16), OTP_AXIS_C);
	otp_node *second = otp_slice(all, OTP_AXIS_C, 16, 16);
	otp_shape each = otp_shape4(a->shape.n, 1, 1, 16);
	switch (how) {
	case 0:
		return otp_affine(otp_add(second, otp_slice(all, OTP_AXIS_C, 0, 16)), 0.5f, 0);
	case 1:
		return otp_affine(second, 0.5f, 0.25f);
	case 2:
		return otp_affine(otp_sum(otp_up2(second, OTP_FILTER_FIR, 1), each),
				  0.25f / (float)(a->shape.h * a->shape.w), 0);
	default:
		all = otp_affine(otp_sum(all, otp_shape4(a->shape.n, 1, 1, 32)),
				 1.0f / (float)(a->shape.h * a->shape.w), 0);
		return otp_affine(otp_sum(otp_slice(all, OTP_AXIS_C, 16, 16), otp_shape4(1, 1, 1, 16)),
				  1.0f / (float)a->shape.n, 0);
	}
}

/* What is written into a concat, or beside what is copied there. */
static otp_node *of_resampled(otp_node *a, otp_node *b, int how)
{
	otp_node *x = otp_up2(otp_pad(a, OTP_AXIS_C, 0, 16), OTP_FILTER_BOX, 4);
	otp_node *y = otp_up2(otp_pad(b, OTP_AXIS_C, 0, 16), OTP_FILTER_FIR, 4);
	otp_node *z = otp_affine(y, 0.5f, 0);
	otp_node *all =
	    how == 0   ? otp_concat(x, otp_up2(otp_pad(b, OTP_AXIS_C, 0, 16), OTP_FILTER_BOX, 2), OTP_AXIS_C)
	    : how == 1 ? otp_concat(x, z, OTP_AXIS_C)
		       : otp_concat(z, x, OTP_AXIS_C);
	return otp_affine(otp_sum(all, otp_shape4(a->shape.n, 1, 1, 32)),
			  0.25f / (float)(a->shape.h * a->shape.w), 0);
}

/* Sums of two norms, with those of a third behind them, and what reads one of them in its place. */
static otp_node *of_norms(otp_node *a, otp_node *b)
{
	otp_attr attr = {.norm = {.groups = 4, .eps = 1, .silu = true}};
	otp_node *x = otp_pad(a, OTP_AXIS_C, 0, 16), *g = otp_pad(b, OTP_AXIS_C, 0, 16);
	otp_node *scale = otp_affine(otp_sum(x, otp_shape4(x->shape.n, 1, 1, 16)),
				     1.0f / (float)(x->shape.h * x->shape.w), 0);
	otp_node *stats = otp_norm_stats(x, attr);
	otp_node *one = otp_norm_sums(x, stats, scale, scale, g, attr);
	otp_node *two = otp_norm_sums(x, stats, scale, scale, otp_affine(g, 0.5f, 0), attr);
	otp_node *three = otp_norm_sums(x, stats, scale, scale, otp_affine(g, -0.5f, 0), attr);
	otp_node *gx = otp_norm_dgrad(x, stats, scale, scale, g, two, attr);
	otp_node *all = otp_concat(otp_concat(one, two, OTP_AXIS_C), three, OTP_AXIS_C);
	otp_node *mean = otp_affine(otp_sum(all, otp_shape4(all->shape.n, 1, 1, 1)), 1e-4f, 0);
	return otp_affine(otp_add(gx, mean), 0.1f, 0);
}

static otp_node *grow(random_graph *r, dice *d)
{
	otp_node *a = any(r, d), *b = any_like(r, d, a->shape);
	int c = a->shape.c;
	b = b ? b : a;
	switch (throw_dice(d, 16)) {
	case 0:
		return otp_mul(a, b);
	case 1:
		return otp_affine(otp_add(a, b), 0.5f, 0);
	case 2:
		return otp_lrelu_gate(a, b, 0.2f);
	case 3:
		return otp_silu(a);
	case 4:
		return otp_lrelu(a, 0.2f);
	case 5:
		return otp_softmax(a);
	case 6:
		return otp_copy(a);
	case 7:
		return otp_reshape(a, otp_shape4(a->shape.h, a->shape.n, a->shape.w, c));
	case 8:
		return c < 20 ? otp_concat(a, b, OTP_AXIS_C) : otp_slice(a, OTP_AXIS_C, 3, 7);
	case 9:
		return c > 2 ? otp_slice(a, OTP_AXIS_C, 1, c - 1) : otp_pad(a, OTP_AXIS_C, 1, c + 1);
	case 10:
		return otp_affine(otp_sum(a, otp_shape4(a->shape.n, 1, 1, c)),
				  1.0f / (float)(a->shape.h * a->shape.w), 0);
	case 11: /* 16 channels: most samples lie where a view may begin */
		return a->shape.n > 1 && c <= 16
			   ? otp_slice(otp_pad(a, OTP_AXIS_C, 0, 16), OTP_AXIS_N, 1, a->shape.n - 1)
			   : otp_copy(a);
	case 12:
		return c <= 16 ? part_of_rows(a, b, throw_dice(d, 4)) : otp_copy(a);
	case 13:
		return c <= 16 ? of_norms(a, b) : otp_copy(a);
	case 14:
		return c <= 16 ? of_resampled(a, b, throw_dice(d, 3)) : otp_copy(a);
	default:
		return otp_affine(a, -0.75f, 0.25f);
	}
}

static void keep(random_graph *r, dice *d, otp_node *x)
{
	bool in_span = throw_dice(d, 2);
	otp_node *kept = otp_output(x, in_span ? RANDOM_SPAN : OTP_SPAN_NONE, in_span ? r->span_elements : 0);
	if (in_span)
		r->span_elements += otp_shape_count(x->shape);
	r->kept[r->kept_count++] = kept;
}

static random_graph random_graph_make(uint32_t which)
{
	dice d = {.stream = otp_stream_make(which, 0, 0)};
	random_graph r = {.graph = otp_graph_new()};
	for (int i = 0; i < LEAVES - 1; i++)
		r.nodes[r.count++] = r.leaf[i] = otp_input(r.graph, "leaf", OTP_F32, RANDOM_SHAPE);
	r.nodes[r.count++] = otp_view(r.graph, "view", VIEW_SPAN, 32, RANDOM_SHAPE);
	while (r.count < RANDOM_NODES + LEAVES) {
		otp_node *x = grow(&r, &d);
		r.nodes[r.count++] = x;
		if (throw_dice(&d, 12) == 0)
			keep(&r, &d, x);
	}
	keep(&r, &d, r.nodes[r.count - 1]);
	return r;
}

/* Every other graph with any computed node in bfloat16, but for what is kept. */
static otp_type *random_types(const otp_graph *g, uint32_t which)
{
	dice d = {.stream = otp_stream_make(which, 1, 0)};
	otp_type *types = otp_storage_types(g, false, 0);
	for (int id = 0; which % 2 && id < otp_graph_size(g); id++) {
		const otp_node *node = otp_graph_node(g, id);
		if (node->op == OTP_OP_reshape)
			types[id] = types[node->in[0]->id];
		else if (node->op != OTP_OP_LEAF && !node->output && node->op != OTP_OP_norm_stats &&
			 node->op != OTP_OP_norm_sums && throw_dice(&d, 2))
			types[id] = OTP_BF16;
		bool norm = strncmp(otp_op_name(node->op), "norm_", 5) == 0;
		for (int i = 1; norm && i < node->input_count; i++)
			if (i != 4) /* all but the gradient are statistics, channels and sums */
				types[node->in[i]->id] = OTP_F32;
	}
	return types;
}

static void random_plans_keep_values_apart(void **state)
{
	(void)state;
	double shares = 0;
	for (uint32_t which = 0; which < RANDOM_GRAPHS; which++) {
		random_graph r = random_graph_make(which);
		otp_type *types = random_types(r.graph, which);
		shares += check_plan(r.graph, types);
		otp_free(types);
		otp_graph_free(r.graph);
	}
	print_message("             arena at %.2f of unshared memory on average\n", shares / RANDOM_GRAPHS);
}

static void fill(float *values, int64_t count, uint32_t which)
{
	for (int64_t i = 0; i < count; i++)
		values[i] =
		    2 * otp_random_uniform(otp_stream_make(which, 7, 0), OTP_PURPOSE_SYNTH, (uint32_t)i) - 1;
}

static void *make_span(const place *at, int64_t elements, uint32_t which)
{
	float *host = otp_calloc((size_t)elements, sizeof *host);
	fill(host, elements, which);
	void *span = at->backend->alloc(at->device, (size_t)elements * at->backend->element_bytes[OTP_F32]);
	at->backend->upload(at->device, span, OTP_F32, host, elements);
	otp_free(host);
	return span;
}

static bool same_bytes(const place *at, const void *a, const void *b, int64_t elements)
{
	return memcmp(a, b, (size_t)elements * at->backend->element_bytes[OTP_F32]) == 0;
}

/* One graph, run plain and poisoned: the same bytes in every output. */
static void check_random_poison(const char *backend_name, uint32_t which)
{
	place at = place_open(backend_name);
	random_graph r = random_graph_make(which);
	otp_type *types = at.backend->element_bytes[OTP_BF16] ? random_types(r.graph, which) : NULL;
	int64_t view_elements = 32 + otp_shape_count(RANDOM_SHAPE);
	float *x = otp_calloc((size_t)otp_shape_count(RANDOM_SHAPE), sizeof *x);
	void *spans[2][OTP_MAX_SPANS] = {{NULL}};
	otp_program *p[2];
	for (int poison = 0; poison < 2; poison++) {
		spans[poison][RANDOM_SPAN] = make_span(&at, r.span_elements + 1, 50);
		spans[poison][VIEW_SPAN] = make_span(&at, view_elements, 51);
		p[poison] = otp_program_new(at.backend, at.device, r.graph, spans[poison],
					    (otp_program_options){.poison = poison, .types = types});
		for (int i = 0; i < LEAVES - 1; i++) {
			fill(x, otp_shape_count(RANDOM_SHAPE), (uint32_t)i);
			otp_program_write(p[poison], r.leaf[i], x);
		}
		otp_program_run(p[poison]);
		otp_program_run(p[poison]); /* again: inputs must have outlived the first run */
		at.backend->wait(at.device);
	}
	for (int i = 0; i < r.kept_count; i++)
		assert_true(same_bytes(&at, otp_program_data(p[0], r.kept[i]),
				       otp_program_data(p[1], r.kept[i]), otp_shape_count(r.kept[i]->shape)));
	assert_true(same_bytes(&at, spans[0][VIEW_SPAN], spans[1][VIEW_SPAN], view_elements));
	for (int poison = 0; poison < 2; poison++) {
		otp_program_free(p[poison]);
		at.backend->release(at.device, spans[poison][RANDOM_SPAN]);
		at.backend->release(at.device, spans[poison][VIEW_SPAN]);
	}
	otp_free(x);
	otp_free(types);
	otp_graph_free(r.graph);
	at.backend->close(at.device);
}

static void random_programs_survive_poison(void **state)
{
	(void)state;
	for (uint32_t which = 0; which < RANDOM_GRAPHS; which++) {
		check_random_poison("cpu", which);
		if (which % 8 == 0)
			check_random_poison("ref", which);
		if (which % 4 == 1)
			check_random_poison("shim", which);
	}
}

/* ---- programs that share memory ---- */

enum { SHARING = 3, SHARED_RUNS = 2 };

typedef struct sharer {
	random_graph r;
	otp_type *types;
	void *spans[OTP_MAX_SPANS];
	otp_program *program;
} sharer;

/* With inputs written once, before any of them runs. */
static sharer sharer_make(const place *at, uint32_t which, otp_shared *shared)
{
	sharer s = {.r = random_graph_make(which)};
	s.types = at->backend->element_bytes[OTP_BF16] ? random_types(s.r.graph, which) : NULL;
	s.spans[RANDOM_SPAN] = make_span(at, s.r.span_elements + 1, 50);
	s.spans[VIEW_SPAN] = make_span(at, 32 + otp_shape_count(RANDOM_SHAPE), 51);
	s.program = otp_program_new(at->backend, at->device, s.r.graph, s.spans,
				    (otp_program_options){.types = s.types, .shared = shared});
	float *x = otp_calloc((size_t)otp_shape_count(RANDOM_SHAPE), sizeof *x);
	for (int i = 0; i < LEAVES - 1; i++) {
		fill(x, otp_shape_count(RANDOM_SHAPE), which + (uint32_t)i);
		otp_program_write(s.program, s.r.leaf[i], x);
	}
	otp_free(x);
	return s;
}

static void sharer_free(const place *at, sharer *s)
{
	otp_program_free(s->program);
	otp_graph_free(s->r.graph);
	otp_free(s->types);
	at->backend->release(at->device, s->spans[RANDOM_SPAN]);
	at->backend->release(at->device, s->spans[VIEW_SPAN]);
}

/* What each of them gives in turn is what it gives alone, read after all have run. */
static void check_outputs(const place *at, const sharer *alone, const sharer *with)
{
	for (int k = 0; k < alone->r.kept_count; k++)
		assert_true(same_bytes(at, otp_program_data(alone->program, alone->r.kept[k]),
				       otp_program_data(with->program, with->r.kept[k]),
				       otp_shape_count(alone->r.kept[k]->shape)));
}

static void check_sharing(const char *backend_name, uint32_t which)
{
	place at = place_open(backend_name);
	sharer alone[SHARING], with[SHARING];
	otp_shared shared = {0};
	size_t all = 0;
	for (int i = 0; i < SHARING; i++) {
		alone[i] = sharer_make(&at, which + (uint32_t)i, NULL);
		otp_program_options options = {.types = alone[i].types};
		size_t bytes = otp_program_shared_bytes(at.backend, alone[i].r.graph, options);
		otp_program_size size = otp_program_measure(alone[i].program);
		assert_int_equal(bytes, size.arena_bytes - size.kept_bytes);
		shared.arena_bytes = bytes > shared.arena_bytes ? bytes : shared.arena_bytes;
		all += bytes;
	}
	assert_true(shared.arena_bytes < all);
	shared.arena = at.backend->alloc(at.device, shared.arena_bytes);
	for (int i = 0; i < SHARING; i++)
		with[i] = sharer_make(&at, which + (uint32_t)i, &shared);
	shared.scratch = at.backend->alloc(at.device, shared.scratch_bytes);
	for (int i = 0; i < SHARING; i++)
		otp_program_take_scratch(with[i].program);
	for (int run = 0; run < SHARED_RUNS * SHARING; run++) {
		otp_program_run(alone[run % SHARING].program);
		otp_program_run(with[run % SHARING].program);
	}
	at.backend->wait(at.device);
	for (int i = 0; i < SHARING; i++) {
		check_outputs(&at, &alone[i], &with[i]);
		sharer_free(&at, &alone[i]);
		sharer_free(&at, &with[i]);
	}
	at.backend->release(at.device, shared.arena);
	at.backend->release(at.device, shared.scratch);
	at.backend->close(at.device);
}

static void programs_may_share_memory(void **state)
{
	(void)state;
	for (uint32_t which = 0; which < RANDOM_GRAPHS / 2; which += SHARING) {
		check_sharing("cpu", which);
		if (which % 4 == 0)
			check_sharing("ref", which);
		if (which % 4 == 1)
			check_sharing("shim", which);
	}
}

/* ---- training steps ---- */

/* clang-format off */
static const otp_arch ARCHS[] = {
    {.h = 8, .w = 8, .c = 3, .condition_noise = true, .noise_features = 4, .latent = 5, .embedding = 8,
     .residual = true, .patch = 1, .width = 8, .blocks = 2, .levels = 2, .multipliers = {1, 2},
     .attention_count = 1, .attention = {4}, .filter = OTP_FILTER_FIR, .potential_features = 4,
     .potential_width = 8, .potential_levels = 3, .potential_multipliers = {1, 2, 2}},
    {.h = 8, .w = 12, .c = 1, .condition_noise = true, .noise_features = 3, .embedding = 4, .residual = true,
     .patch = 2, .width = 12, .blocks = 1, .levels = 2, .multipliers = {1, 1}, .filter = OTP_FILTER_BOX,
     .potential_width = 8, .potential_levels = 2, .potential_multipliers = {1, 2}},
    {.vectors = true, .h = 1, .w = 1, .c = 3, .condition_noise = true, .latent = 2, .residual = true,
     .width = 8, .blocks = 2, .sharpness = 1, .potential_width = 8, .potential_blocks = 2, .potential_sharpness = 2},
};
/* clang-format on */
enum { ARCH_COUNT = sizeof ARCHS / sizeof *ARCHS, SAMPLES = 3 };
enum step_kind { STEP_TRANSPORT, STEP_POTENTIAL, STEP_POTENTIAL_R1, STEP_KINDS };

typedef struct step_setup {
	otp_params *t, *v;
	otp_step_graph step;
	int grads_span;
	otp_params *updated;
} step_setup;

static step_setup setup_make(const otp_arch *arch, enum step_kind kind, otp_g g)
{
	otp_objective o = {.arch = *arch, .tau = 0.1, .g = g};
	step_setup s = {.t = otp_params_new(), .v = otp_params_new()};
	bool transports = kind == STEP_TRANSPORT;
	s.step = transports
		     ? otp_transport_step(&o, s.t, s.v, SAMPLES, SAMPLES, 0)
		     : otp_potential_step(&o, s.t, s.v, SAMPLES, SAMPLES, 0, kind == STEP_POTENTIAL_R1);
	s.grads_span = otp_grads_span(transports ? OTP_TRANSPORT : OTP_POTENTIAL);
	s.updated = transports ? s.t : s.v;
	return s;
}

static void setup_free(step_setup *s)
{
	otp_graph_free(s->step.graph);
	otp_params_free(s->t);
	otp_params_free(s->v);
}

/* The rule of storage.h, once more as a list of what must be and must not be. */
static void check_stored_type(const otp_node *node, otp_type type, bool vectors)
{
	otp_shape s = node->shape;
	bool wide_picture = s.h > 1 && s.w > 1 && s.c >= 8;
	if (node->op == OTP_OP_LEAF || node->output || node->op == OTP_OP_sum ||
	    node->op == OTP_OP_conv2d_wgrad || node->op == OTP_OP_norm_stats ||
	    node->op == OTP_OP_norm_sums || (s.c < 8 && node->op != OTP_OP_reshape) || vectors)
		assert_true(type == node->type);
	else if (wide_picture && (node->op == OTP_OP_conv2d_bias || node->op == OTP_OP_conv2d_dgrad ||
				  node->op == OTP_OP_norm_apply || node->op == OTP_OP_norm_dgrad ||
				  node->op == OTP_OP_spread || node->op == OTP_OP_lrelu_gate))
		assert_true(type == OTP_BF16);
	else if (node->op == OTP_OP_softmax) /* attention's */
		assert_true(type == OTP_BF16);
}

static void maps_are_stored_in_bf16(void **state)
{
	const otp_arch *arch = *state;
	for (int kind = 0; kind < STEP_KINDS; kind++) {
		step_setup s = setup_make(arch, (enum step_kind)kind, OTP_G_SOFTPLUS);
		const otp_graph *g = s.step.graph;
		otp_type *types = otp_storage_types(g, true, 0), *plain = otp_storage_types(g, false, 0);
		for (int id = 0; id < otp_graph_size(g); id++) {
			check_stored_type(otp_graph_node(g, id), types[id], arch->vectors);
			assert_true(plain[id] == otp_graph_node(g, id)->type);
		}
		otp_free(types);
		otp_free(plain);
		setup_free(&s);
	}
}

/* In a network whose channels fill lines of memory no slice of a gradient is cut out: each is made by itself.
 * And the norms' sums are made where the gradient of all of them lies. */
static void parts_lie_in_their_wholes(void **state)
{
	(void)state;
	otp_arch arch = ARCHS[0];
	arch.width = arch.potential_width = 32;
	step_setup s = setup_make(&arch, STEP_TRANSPORT, OTP_G_LINEAR);
	otp_params_arrange(s.t);
	otp_params_arrange(s.v);
	otp_graph_free(s.step.graph);
	otp_objective o = {.arch = arch, .tau = 0.1};
	s.step = otp_transport_step(&o, s.t, s.v, SAMPLES, SAMPLES, 0);
	for (int bf16 = 0; bf16 < 2; bf16++) {
		const otp_graph *g = s.step.graph;
		otp_type *types = otp_storage_types(g, bf16, 0);
		otp_plan *plan = otp_plan_new(g, types, BYTES, true);
		int slices = 0, wholes = 0, copied = 0;
		check_plan(g, types);
		for (int id = 0; id < otp_graph_size(g); id++) {
			const otp_node *node = otp_graph_node(g, id);
			bool live = plan->place[id].live && node->shape.n > 1;
			slices +=
			    live && node->op == OTP_OP_slice && node->shape.h > 1 && node->shape.c % 32 == 0;
			/* All skips but one, which a convolution reads. */
			if (live && node->op == OTP_OP_concat && node->shape.c % 32 == 0 && node->shape.h > 1)
				copied += !plan->place[id].view;
			if (live && node->op == OTP_OP_concat && node->shape.h == 1) {
				assert_true(plan->place[id].view);
				wholes++;
			}
		}
		assert_int_equal(slices, 0);
		assert_int_equal(copied, 1);
		assert_in_range(wholes, 10, 100);
		otp_plan_free(plan);
		otp_free(types);
	}
	setup_free(&s);
}

static void step_plans_keep_values_apart(void **state)
{
	const otp_arch *arch = *state;
	for (int turn = 0; turn < 2 * STEP_KINDS; turn++) {
		int kind = turn / 2;
		step_setup s =
		    setup_make(arch, (enum step_kind)kind, turn % 2 ? OTP_G_LINEAR : OTP_G_SOFTPLUS);
		for (int bf16 = 0; bf16 < 2; bf16++) {
			otp_type *types = otp_storage_types(s.step.graph, bf16, 0);
			double share = check_plan(s.step.graph, types);
			otp_free(types);
			assert_true(share <
				    0.75); /* a training step's values are many and most are short-lived */
			print_message("             step kind %d%s: arena at %.2f of unshared memory\n", kind,
				      bf16 ? " in bf16" : "", share);
		}
		setup_free(&s);
	}
}

/* A step as a program with memory of its own. */
typedef struct step_program {
	place at;
	void *spans[OTP_MAX_SPANS];
	otp_program *program;
} step_program;

static void write_random(otp_program *p, const otp_node *leaf, uint32_t which)
{
	if (!leaf)
		return;
	float *x = otp_calloc((size_t)otp_shape_count(leaf->shape), sizeof *x);
	fill(x, otp_shape_count(leaf->shape), which);
	otp_program_write(p, leaf, x);
	otp_free(x);
}

static void write_inputs(otp_program *p, const otp_step_inputs *in)
{
	uint32_t words[OTP_WORD_COUNT * SAMPLES] = {0};
	float numbers[OTP_HYPER_COUNT] = {0};
	for (uint32_t i = 0; i < SAMPLES; i++)
		memcpy(words + OTP_WORD_COUNT * i, otp_stream_make(3, i, 1).word, 4 * sizeof *words);
	numbers[OTP_NUMBER_KEEP] = 0.9f;
	numbers[OTP_NUMBER_SIGMA] = 0.4f;
	numbers[OTP_NUMBER_R1] = 0.7f;
	otp_program_write(p, in->words, words);
	otp_program_write(p, in->numbers, numbers);
	write_random(p, in->x, 60);
	write_random(p, in->y, 61);
}

static step_program step_program_make(const char *backend_name, const step_setup *s,
				      otp_program_options options)
{
	step_program made = {.at = place_open(backend_name)};
	const place *at = &made.at;
	made.spans[otp_state_span(OTP_TRANSPORT)] = make_span(at, s->t->elements, 70);
	made.spans[otp_state_span(OTP_POTENTIAL)] = make_span(at, s->v->elements, 71);
	made.spans[s->grads_span] = make_span(at, s->updated->elements, 72);
	made.program = otp_program_new(at->backend, at->device, s->step.graph, made.spans, options);
	write_inputs(made.program, &s->step.in);
	return made;
}

static void step_program_free(step_program *p)
{
	otp_program_free(p->program);
	for (int i = 0; i < OTP_MAX_SPANS; i++)
		if (p->spans[i])
			p->at.backend->release(p->at.device, p->spans[i]);
	p->at.backend->close(p->at.device);
}

static void check_step_poison(const char *backend_name, const otp_arch *arch, enum step_kind kind,
			      otp_precision precision)
{
	step_setup s = setup_make(arch, kind, OTP_G_SOFTPLUS);
	otp_program_options options = {.precision = precision};
	step_program plain = step_program_make(backend_name, &s, options);
	options.poison = true;
	step_program poisoned = step_program_make(backend_name, &s, options);
	for (int run = 0; run < 2; run++) {
		otp_program_run(plain.program);
		otp_program_run(poisoned.program);
	}
	float report[OTP_REPORT_COUNT], again[OTP_REPORT_COUNT];
	otp_program_read(plain.program, s.step.report, report);
	otp_program_read(poisoned.program, s.step.report, again);
	assert_memory_equal(report, again, sizeof report);
	for (int k = 0; k < OTP_REPORT_COUNT; k++)
		assert_true(report[k] == report[k]);
	assert_true(same_bytes(&plain.at, plain.spans[s.grads_span], poisoned.spans[s.grads_span],
			       s.updated->elements));
	step_program_free(&plain);
	step_program_free(&poisoned);
	setup_free(&s);
}

static void steps_survive_poison(void **state)
{
	for (int kind = 0; kind < STEP_KINDS; kind++) {
		check_step_poison("cpu", *state, (enum step_kind)kind, OTP_PRECISION_F32);
		check_step_poison("ref", *state, (enum step_kind)kind, OTP_PRECISION_F32);
		check_step_poison("shim", *state, (enum step_kind)kind, OTP_PRECISION_BF16);
	}
}

/* ---- allocations ---- */

#ifdef COUNTS_ALLOCATIONS

static void allocations_are_counted(void **state)
{
	(void)state;
	long before = allocation_count();
	otp_free(otp_calloc(3, 5));
	assert_true(allocation_count() > before);
}

static void check_program_allocates_nothing(const char *backend_name, const otp_arch *arch,
					    enum step_kind kind)
{
	step_setup s = setup_make(arch, kind, OTP_G_LINEAR);
	step_program p = step_program_make(backend_name, &s, (otp_program_options){0});
	otp_program_run(p.program); /* a thread's first run may set up the thread */
	long before = allocation_count();
	for (int run = 0; run < 10; run++) {
		write_inputs(p.program,
			     &(otp_step_inputs){.words = s.step.in.words, .numbers = s.step.in.numbers});
		otp_program_run(p.program);
	}
	long made = allocation_count() - before;
	if (made)
		fail_msg("%s, step kind %d: %ld allocations in 10 runs", backend_name, (int)kind, made);
	step_program_free(&p);
	setup_free(&s);
}

static void programs_allocate_nothing(void **state)
{
	for (int kind = 0; kind < STEP_KINDS; kind++) {
		check_program_allocates_nothing("ref", *state, (enum step_kind)kind);
		check_program_allocates_nothing("cpu", *state, (enum step_kind)kind);
	}
}

/* Whole updates with two workers: inputs, forward, backward, Adam and EMA, reports. */
static void engine_steps_allocate_nothing(void **state)
{
	const otp_arch *arch = *state;
	otp_error err = {0};
	otp_runtime work;
	assert_true(otp_runtime_open("cpu", 0, "f32", 2, &work, &err));
	otp_engine_settings settings = {.objective = {.arch = *arch, .tau = 0.1},
					.batch = SAMPLES,
					.parts = 2,
					.r1_used = true,
					.plain_used = true,
					.beta1 = 0.5,
					.beta2 = 0.9};
	otp_engine *e = otp_engine_new(&work, &settings);
	otp_engine_init(e, 1);
	int64_t floats = (int64_t)SAMPLES * arch->h * arch->w * arch->c;
	float *x = otp_calloc((size_t)floats, sizeof *x);
	fill(x, floats, 80);
	otp_update u = {.seed = 1, .keep = 1, .sigma = 0.5, .rate = 1e-4, .ema = 0.9};
	long before = 0;
	for (int step = 0; step < 12; step++) {
		if (step == 2)
			before = allocation_count();
		u.count = step + 1;
		u.draw = (uint32_t)step;
		u.r1 = step % 2 ? 0.5 : 0;
		otp_batch batch = {.values = x};
		otp_engine_potential_step(e, batch, batch, &u);
		otp_engine_transport_step(e, batch, &u);
		otp_engine_losses(e);
	}
	assert_int_equal(allocation_count() - before, 0);
	otp_free(x);
	otp_engine_free(e);
	otp_runtime_close(&work);
}

#endif

typedef struct test_row {
	const char *name;
	CMUnitTestFunction run;
	bool for_each_arch;
} test_row;

#define ROW(run, each)                                                                                       \
	{                                                                                                    \
#run, run, each                                                                              \
	}

static const test_row ROWS[] = {
    ROW(random_plans_keep_values_apart, false),
    ROW(random_programs_survive_poison, false),
    ROW(programs_may_share_memory, false),
    ROW(maps_are_stored_in_bf16, true),
    ROW(parts_lie_in_their_wholes, false),
    ROW(step_plans_keep_values_apart, true),
    ROW(steps_survive_poison, true),
#ifdef COUNTS_ALLOCATIONS
    ROW(allocations_are_counted, false),
    ROW(programs_allocate_nothing, true),
    ROW(engine_steps_allocate_nothing, true),
#endif
};
enum { ROW_COUNT = sizeof ROWS / sizeof *ROWS };

int main(void)
{
	struct CMUnitTest tests[ROW_COUNT * ARCH_COUNT] = {{0}}; /* empty rows are skipped */
	size_t count = 0;
	for (int row = 0; row < ROW_COUNT; row++)
		for (int arch = 0; arch < (ROWS[row].for_each_arch ? ARCH_COUNT : 1); arch++)
			tests[count++] = (struct CMUnitTest){ROWS[row].name, ROWS[row].run, NULL, NULL,
							     (void *)&ARCHS[arch]};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
