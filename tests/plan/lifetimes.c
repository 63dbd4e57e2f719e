/* lifetimes: found again from the graph alone, without the planner's, and what a plan makes of them. */
#include "plan/plan.h"

#include <limits.h>
#include <string.h>

const size_t BYTES[OTP_TYPE_COUNT] = {[OTP_F32] = 4, [OTP_U32] = 4, [OTP_BF16] = 2};

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
double check_plan(const otp_graph *g, const otp_type *types)
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
