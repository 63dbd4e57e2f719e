/* The planner: one walk for who is needed and until when, one walk that hands
 * out offsets first-fit from a sorted list of free blocks. */
#include "graph/plan.h"

#include <limits.h>
#include <string.h>

enum { ALIGN_BYTES = 64, KEPT_ALIGN_BYTES = 256 };

typedef struct block {
	int64_t begin, end;
} block;

/* Free memory as sorted, disjoint, non-touching blocks; the last reaches to infinity. */
typedef struct free_list {
	block *blocks;
	int count, room;
	int64_t high; /* the highest end ever handed out */
} free_list;

static void insert_block(free_list *list, int at, block b)
{
	if (list->count == list->room) {
		size_t old_bytes = (size_t)list->room * sizeof b;
		list->room = list->room ? 2 * list->room : 64;
		list->blocks = otp_realloc(list->blocks, old_bytes, (size_t)list->room * sizeof b);
	}
	memmove(&list->blocks[at + 1], &list->blocks[at], (size_t)(list->count - at) * sizeof b);
	list->blocks[at] = b;
	list->count++;
}

static void remove_block(free_list *list, int at)
{
	list->count--;
	memmove(&list->blocks[at], &list->blocks[at + 1], (size_t)(list->count - at) * sizeof(block));
}

/* The smallest block that fits; ties go to the lowest address. */
static int64_t take(free_list *list, int64_t bytes)
{
	int best = -1;
	for (int i = 0; i < list->count; i++) {
		int64_t size = list->blocks[i].end - list->blocks[i].begin;
		if (size >= bytes && (best < 0 || size < list->blocks[best].end - list->blocks[best].begin))
			best = i;
	}
	int64_t offset = list->blocks[best].begin;
	list->blocks[best].begin += bytes;
	if (list->blocks[best].begin == list->blocks[best].end)
		remove_block(list, best);
	if (offset + bytes > list->high)
		list->high = offset + bytes;
	return offset;
}

static void give_back(free_list *list, int64_t offset, int64_t bytes)
{
	int at = 0;
	while (at < list->count && list->blocks[at].begin < offset)
		at++;
	insert_block(list, at, (block){offset, offset + bytes});
	if (at + 1 < list->count && list->blocks[at].end == list->blocks[at + 1].begin) {
		list->blocks[at].end = list->blocks[at + 1].end;
		remove_block(list, at + 1);
	}
	if (at > 0 && list->blocks[at - 1].end == list->blocks[at].begin) {
		list->blocks[at - 1].end = list->blocks[at].end;
		remove_block(list, at);
	}
}

static void mark_live(const otp_graph *g, otp_plan *plan)
{
	for (int id = plan->node_count - 1; id >= 0; id--) {
		const otp_node *node = otp_graph_node(g, id);
		plan->place[id].live |= node->output;
		if (plan->place[id].live)
			for (int i = 0; i < node->input_count; i++)
				plan->place[node->in[i]->id].live = true;
	}
}

/* Whether a slice's elements lie one behind the other in its input: nothing varies outside of its axis. */
static bool lies_together(const otp_node *node)
{
	const int outer[4] = {node->shape.n, node->shape.h, node->shape.w, node->shape.c};
	for (int axis = 0; axis < (int)node->attr.slice.axis; axis++)
		if (outer[axis] != 1)
			return false;
	return true;
}

/* Whether kernels can read input i of a node where its rows lie apart. */
static bool reads_rows(const otp_plan *plan, const otp_node *node, int i)
{
	otp_shape in = node->in[i]->shape, out = node->shape;
	switch (node->op) {
	case OTP_OP_conv2d_merge:
		return i == 3 && plan->rows_apart;
	case OTP_OP_norm_stats:
		return true;
	case OTP_OP_norm_apply: /* x, scale, shift, sums; what is added to the gradient */
	case OTP_OP_norm_sums:
		return i == 0 || i == 2 || i == 3;
	case OTP_OP_norm_dgrad:
	case OTP_OP_norm_dgrad_merge:
	case OTP_OP_norm_dgrad_merge_two:
		return i == 0 || i == 2 || i == 3 || i >= 5;
	case OTP_OP_norm_total: /* scale, sums */
	case OTP_OP_norm_total_merge:
		return i == 1 || i == 2;
	case OTP_OP_affine:
	case OTP_OP_down2:
	case OTP_OP_up2:
	case OTP_OP_up2_merge:
		return true;
	case OTP_OP_add:
		return otp_shape_equal(in, out) && otp_shape_equal(node->in[1 - i]->shape, out);
	case OTP_OP_sum: /* over samples that are rows */
		return otp_shape_equal(in, otp_shape4(in.n, 1, 1, out.c)) && out.n == 1;
	default:
		return false;
	}
}

static bool writes_rows(const otp_plan *plan, otp_op op)
{
	return op == OTP_OP_norm_sums || op == OTP_OP_up2 || op == OTP_OP_down2 ||
	       ((op == OTP_OP_conv2d_bias || op == OTP_OP_conv2d_merge) && plan->rows_apart);
}

/* Who reads a node: only such as can where its rows lie apart, and how many concats of channels. */
typedef struct readers {
	bool rows;
	int concats;
} readers;

static bool is_concat(const otp_node *node)
{
	return node->op == OTP_OP_concat && node->attr.axis.axis == OTP_AXIS_C;
}

static readers *find_readers(const otp_graph *g, const otp_plan *plan)
{
	readers *found = otp_calloc((size_t)plan->node_count, sizeof *found);
	for (int id = 0; id < plan->node_count; id++) {
		const otp_node *node = otp_graph_node(g, id);
		found[id].rows = !node->output;
		for (int i = 0; i < node->input_count && plan->place[id].live; i++) {
			readers *r = &found[node->in[i]->id];
			if (is_concat(node))
				r->concats++;
			else
				r->rows &= reads_rows(plan, node, i);
		}
	}
	return found;
}

/* Slices of channels that all their readers can read where they are. */
static void find_steps(const otp_graph *g, otp_plan *plan, const readers *found)
{
	for (int id = 0; id < plan->node_count; id++) {
		const otp_node *node = otp_graph_node(g, id);
		bool several = otp_shape_count(node->shape) > node->shape.c;
		bool slice = node->op == OTP_OP_slice && node->attr.slice.axis == OTP_AXIS_C;
		if (slice && several && found[id].rows && !found[id].concats)
			plan->place[id].step = node->in[0]->shape.c;
	}
}

/* Whether a concat's input may lie in it. */
static bool may_be_part(const otp_plan *plan, const readers *found, const otp_node *concat,
			const otp_node *input)
{
	const otp_place *place = &plan->place[input->id];
	int64_t bytes = input->shape.c * (int64_t)plan->element_bytes[place->type];
	return (writes_rows(plan, input->op) || (is_concat(input) && place->view)) && found[input->id].rows &&
	       found[input->id].concats == 1 && place->type == plan->place[concat->id].type &&
	       bytes % ALIGN_BYTES == 0;
}

static bool may_have_parts(const otp_plan *plan, const otp_node *node)
{
	return plan->place[node->id].live && is_concat(node) && !node->output && node->in[0] != node->in[1];
}

/* Concats whose inputs are written where they are wanted: inner ones before those that they lie in. One that
 * has one such input copies the other. */
static void find_parts(const otp_graph *g, otp_plan *plan, const readers *found)
{
	for (int id = 0; id < plan->node_count; id++) {
		const otp_node *node = otp_graph_node(g, id);
		otp_place *place = &plan->place[id];
		place->root = id;
		if (may_have_parts(plan, node))
			place->view = may_be_part(plan, found, node, node->in[0]) &&
				      may_be_part(plan, found, node, node->in[1]);
	}
	for (int id = plan->node_count - 1; id >= 0; id--) {
		const otp_node *node = otp_graph_node(g, id);
		const otp_place *whole = &plan->place[id];
		int64_t within = whole->within;
		for (int i = 0; i < 2 && may_have_parts(plan, node); i++) {
			otp_place *part = &plan->place[node->in[i]->id];
			if (may_be_part(plan, found, node, node->in[i])) {
				part->part = true;
				part->root = whole->root;
				part->within = within;
				part->step = whole->step ? whole->step : node->shape.c;
			}
			within += node->in[i]->shape.c * (int64_t)plan->element_bytes[whole->type];
		}
	}
}

/* How far from the root of its input a view begins, in bytes; -1 where node is none. A slice is one where
 * kernels find it aligned as anything else, and not of a span, which may change under it. */
static int64_t view_offset(const otp_graph *g, const otp_plan *plan, const otp_node *node)
{
	if (node->op != OTP_OP_reshape && node->op != OTP_OP_slice)
		return -1;
	const otp_place *from = &plan->place[node->in[0]->id];
	if (node->op == OTP_OP_reshape)
		return from->within;
	int step = plan->place[node->id].step;
	if (node->output || !(step || lies_together(node)) || from->step ||
	    from->type != plan->place[node->id].type || otp_graph_node(g, from->root)->span != OTP_SPAN_NONE)
		return -1;
	int64_t inner = step ? 1 : otp_shape_count(node->shape) / node->attr.slice.count;
	int64_t begin = inner * node->attr.slice.begin;
	int64_t offset = from->within + begin * (int64_t)plan->element_bytes[from->type];
	return offset % ALIGN_BYTES == 0 ? offset : -1;
}

/* A view of its input lies in that. */
static void find_root(const otp_graph *g, otp_plan *plan, const otp_node *node)
{
	otp_place *place = &plan->place[node->id];
	if (is_concat(node) || place->part)
		return;
	int64_t offset = view_offset(g, plan, node);
	place->view = offset >= 0;
	place->within = place->view ? offset : 0;
	place->step = place->view ? place->step : 0;
	place->root = place->view ? plan->place[node->in[0]->id].root : node->id;
}

/* When the last reader of node's memory runs, views followed. A part's whole comes after it, and is read no
 * earlier. */
static void find_deaths(const otp_graph *g, otp_plan *plan)
{
	for (int id = 0; id < plan->node_count; id++) {
		const otp_node *node = otp_graph_node(g, id);
		otp_place *place = &plan->place[id];
		find_root(g, plan, node);
		place->dies_at = node->output || node->op == OTP_OP_LEAF ? INT_MAX : id;
		if (place->live)
			for (int i = 0; i < node->input_count; i++) {
				otp_place *root = &plan->place[plan->place[node->in[i]->id].root];
				if (root->dies_at < id)
					root->dies_at = id;
			}
	}
}

/* Whether node may overwrite the memory of its first input: the table allows
 * it, shapes and types agree, this is the last reader, and no other input shares it. */
static bool may_overwrite(const otp_graph *g, const otp_plan *plan, const otp_node *node)
{
	if (!otp_op_in_place(node->op) || node->output || plan->place[node->id].part)
		return false;
	int root = plan->place[node->in[0]->id].root;
	const otp_node *owner = otp_graph_node(g, root);
	if (owner->span != OTP_SPAN_NONE || plan->place[root].dies_at != node->id ||
	    !otp_shape_equal(node->in[0]->shape, node->shape) ||
	    otp_shape_count(owner->shape) != otp_shape_count(node->shape) ||
	    plan->place[root].type != plan->place[node->id].type)
		return false;
	for (int i = 1; i < node->input_count; i++)
		if (plan->place[node->in[i]->id].root == root)
			return false;
	return true;
}

static void take_for(otp_plan *plan, free_list *list, otp_place *place)
{
	place->offset = take(list, place->bytes);
	plan->unshared_bytes += place->bytes;
}

/* What is there before a run, or after it: never reused, so that other programs may use all else. */
static bool is_kept(const otp_graph *g, const otp_plan *plan, int id)
{
	const otp_node *node = otp_graph_node(g, id);
	return plan->place[id].live && node->span == OTP_SPAN_NONE &&
	       (node->op == OTP_OP_LEAF || node->output);
}

static void place_node(const otp_graph *g, otp_plan *plan, free_list *list, int id)
{
	const otp_node *node = otp_graph_node(g, id);
	otp_place *place = &plan->place[id], *root = &plan->place[place->root];
	if (place->view || place->part) {
		if (place->part && root->offset < 0) /* the first in its concat */
			take_for(plan, list, root);
		place->offset = root->offset + place->within;
		return;
	}
	if (node->span != OTP_SPAN_NONE || place->offset >= 0)
		return;
	if (may_overwrite(g, plan, node)) {
		otp_place *before = &plan->place[plan->place[node->in[0]->id].root];
		place->in_place = true;
		place->offset = before->offset;
		before->released = true; /* the memory now belongs to this node */
		return;
	}
	take_for(plan, list, place);
}

/* Memory of roots whose last reader was node. */
static void release_inputs(const otp_graph *g, otp_plan *plan, free_list *list, const otp_node *node)
{
	for (int i = 0; i < node->input_count; i++) {
		int root = plan->place[node->in[i]->id].root;
		otp_place *place = &plan->place[root];
		if (place->dies_at == node->id && !place->released &&
		    otp_graph_node(g, root)->span == OTP_SPAN_NONE) {
			give_back(list, place->offset, place->bytes);
			place->released = true;
		}
	}
}

static void find_sizes(const otp_graph *g, otp_plan *plan, const otp_type *types,
		       const size_t element_bytes[OTP_TYPE_COUNT])
{
	for (int id = 0; id < plan->node_count; id++) {
		const otp_node *node = otp_graph_node(g, id);
		otp_place *place = &plan->place[id];
		OTP_ASSERT(element_bytes[types[id]], "plan: %s of a type that is not stored here",
			   otp_op_name(node->op));
		OTP_ASSERT(node->op != OTP_OP_reshape || types[id] == types[node->in[0]->id],
			   "plan: a reshape changes the type");
		place->type = types[id];
		place->bytes = (int64_t)otp_round_up(
		    (size_t)otp_shape_count(node->shape) * element_bytes[types[id]], ALIGN_BYTES);
	}
}

otp_plan *otp_plan_new(const otp_graph *g, const otp_type *types, const size_t element_bytes[OTP_TYPE_COUNT],
		       bool rows_apart)
{
	otp_plan *plan = otp_calloc(1, sizeof *plan);
	plan->node_count = otp_graph_size(g);
	plan->place = otp_calloc((size_t)plan->node_count, sizeof *plan->place);
	plan->element_bytes = element_bytes;
	plan->rows_apart = rows_apart;
	for (int id = 0; id < plan->node_count; id++)
		plan->place[id].offset = -1;
	find_sizes(g, plan, types, element_bytes);
	mark_live(g, plan);
	readers *found = find_readers(g, plan);
	find_steps(g, plan, found);
	find_parts(g, plan, found);
	find_deaths(g, plan);
	otp_free(found);

	free_list list = {0};
	insert_block(&list, 0, (block){0, INT64_MAX});
	for (int id = 0; id < plan->node_count; id++)
		if (is_kept(g, plan, id))
			take_for(plan, &list, &plan->place[id]);
	plan->kept_bytes = list.high = (int64_t)otp_round_up((size_t)list.high, KEPT_ALIGN_BYTES);
	list.blocks[0].begin = list.high;
	for (int id = 0; id < plan->node_count; id++) {
		if (!plan->place[id].live)
			continue;
		if (!is_kept(g, plan, id))
			place_node(g, plan, &list, id);
		release_inputs(g, plan, &list, otp_graph_node(g, id));
	}
	plan->arena_bytes = list.high;
	otp_free(list.blocks);
	return plan;
}

void otp_plan_free(otp_plan *plan)
{
	if (!plan)
		return;
	otp_free(plan->place);
	otp_free(plan);
}
