/* Reverse-mode differentiation as graph construction. */
#include "graph/graph.h"

/* Nodes up to y that depend on one of wrt. */
static bool *mark_dependent(otp_node *y, otp_node *const *wrt, int count)
{
	bool *dependent = otp_calloc((size_t)y->id + 1, sizeof *dependent);
	for (int i = 0; i < count; i++)
		if (wrt[i]->id <= y->id)
			dependent[wrt[i]->id] = true;
	for (int id = 0; id <= y->id; id++) {
		const otp_node *node = otp_graph_node(y->graph, id);
		for (int i = 0; i < node->input_count; i++)
			dependent[id] |= dependent[node->in[i]->id];
	}
	return dependent;
}

/* ---- what is sliced: its gradient is put together of the slices', not added up of as many padded with zeros
 * ---- */

typedef struct piece {
	int begin, count;
	otp_axis axis;
	otp_node *grad;
	struct piece *next; /* by begin */
} piece;

static void add_piece(piece **list, const otp_node *slice, otp_node *grad)
{
	piece *p = otp_calloc(1, sizeof *p);
	*p = (piece){slice->attr.slice.begin, slice->attr.slice.count, slice->attr.slice.axis, grad, NULL};
	while (*list && (*list)->begin < p->begin)
		list = &(*list)->next;
	p->next = *list;
	*list = p;
}

static int extent(otp_shape s, otp_axis axis)
{
	return axis == OTP_AXIS_N ? s.n : axis == OTP_AXIS_H ? s.h : axis == OTP_AXIS_W ? s.w : s.c;
}

/* Whether the pieces lie one behind the other and fill x. */
static bool fill(const piece *list, const otp_node *x)
{
	int at = 0;
	otp_axis axis = list->axis;
	for (; list; list = list->next) {
		if (list->axis != axis || list->begin != at)
			return false;
		at += list->count;
	}
	return at == extent(x->shape, axis);
}

/* Neighbours that are neighbours in one node, too, are one piece of it. */
static void merge_neighbours(piece *list)
{
	while (list && list->next) {
		piece *next = list->next;
		otp_node *a = list->grad, *b = next->grad;
		bool slices = a->op == OTP_OP_slice && b->op == OTP_OP_slice && a->in[0] == b->in[0] &&
			      a->attr.slice.axis == list->axis && b->attr.slice.axis == list->axis;
		int begin = a->attr.slice.begin, count = list->count + next->count;
		if (!slices || b->attr.slice.begin != begin + list->count) {
			list = next;
			continue;
		}
		bool whole = count == extent(a->in[0]->shape, list->axis);
		list->grad = whole ? a->in[0] : otp_slice(a->in[0], list->axis, begin, count);
		list->count = count;
		list->next = next->next;
		otp_free(next);
	}
}

/* In pairs, and pairs of pairs: each value is moved as often as the pieces can be halved. */
static otp_node *put_together(otp_node *const *grads, int count, otp_axis axis)
{
	if (count == 1)
		return grads[0];
	return otp_concat(put_together(grads, count / 2, axis),
			  put_together(grads + count / 2, count - count / 2, axis), axis);
}

static otp_node *gather(piece *list, const otp_node *x, otp_node *sum)
{
	bool filled = fill(list, x);
	int count = 0;
	otp_node **grads = NULL;
	if (filled)
		merge_neighbours(list);
	for (const piece *p = list; p; p = p->next)
		count++;
	grads = otp_calloc((size_t)count, sizeof *grads);
	count = 0;
	for (const piece *p = list; p; p = p->next) {
		grads[count++] =
		    filled ? p->grad : otp_pad(p->grad, p->axis, p->begin, extent(x->shape, p->axis));
		if (!filled)
			sum = sum ? otp_gradient_sum(sum, grads[count - 1]) : grads[count - 1];
	}
	if (filled) {
		otp_node *all = put_together(grads, count, list->axis);
		sum = sum ? otp_gradient_sum(sum, all) : all;
	}
	otp_free(grads);
	return sum;
}

static void free_pieces(piece *list)
{
	while (list) {
		piece *next = list->next;
		otp_free(list);
		list = next;
	}
}

/* ---- the walk ---- */

typedef struct walk {
	bool *dependent;
	otp_node **adjoint;
	piece **pieces; /* of the adjoint, beside it */
} walk;

static void propagate(otp_node *node, const walk *w)
{
	bool wanted[OTP_MAX_INPUTS] = {false};
	otp_node *gx[OTP_MAX_INPUTS] = {NULL};
	for (int i = 0; i < node->input_count; i++)
		wanted[i] = w->dependent[node->in[i]->id];
	if (node->op == OTP_OP_slice) {
		add_piece(&w->pieces[node->in[0]->id], node, w->adjoint[node->id]);
		return;
	}
	otp_grad_rules[node->op](node, w->adjoint[node->id], wanted, gx);
	for (int i = 0; i < node->input_count; i++) {
		otp_node **sum = &w->adjoint[node->in[i]->id];
		if (wanted[i] && gx[i])
			*sum = *sum ? otp_gradient_sum(*sum, gx[i]) : gx[i];
	}
}

void otp_grad(otp_node *y, otp_node *const *wrt, int count, otp_node **grads)
{
	OTP_ASSERT(otp_shape_count(y->shape) == 1, "otp_grad of %lld values: sum them first",
		   (long long)otp_shape_count(y->shape));
	otp_graph *g = y->graph;
	walk w = {.dependent = mark_dependent(y, wrt, count),
		  .adjoint = otp_calloc((size_t)y->id + 1, sizeof *w.adjoint),
		  .pieces = otp_calloc((size_t)y->id + 1, sizeof *w.pieces)};

	/* dy/dy = 1 is a constant, so that a second derivative finds nothing behind it. */
	w.adjoint[y->id] = otp_constant(g, 1);
	for (int id = y->id; id >= 0; id--) {
		otp_node *node = otp_graph_node(g, id);
		if (w.pieces[id] && w.dependent[id])
			w.adjoint[id] = gather(w.pieces[id], node, w.adjoint[id]);
		if (w.adjoint[id] && w.dependent[id] && node->op != OTP_OP_LEAF)
			propagate(node, &w);
		free_pieces(w.pieces[id]);
	}
	for (int i = 0; i < count; i++)
		grads[i] = wrt[i]->id <= y->id ? w.adjoint[wrt[i]->id] : NULL;
	otp_free((void *)w.pieces);
	otp_free((void *)w.adjoint);
	otp_free(w.dependent);
}
