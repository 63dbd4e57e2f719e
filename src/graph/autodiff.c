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

static void propagate(otp_node *node, const bool *dependent, otp_node **adjoint)
{
	bool wanted[OTP_MAX_INPUTS] = {false};
	otp_node *gx[OTP_MAX_INPUTS] = {NULL};
	for (int i = 0; i < node->input_count; i++)
		wanted[i] = dependent[node->in[i]->id];
	otp_grad_rules[node->op](node, adjoint[node->id], wanted, gx);
	for (int i = 0; i < node->input_count; i++) {
		otp_node **sum = &adjoint[node->in[i]->id];
		if (wanted[i] && gx[i])
			*sum = *sum ? otp_gradient_sum(*sum, gx[i]) : gx[i];
	}
}

void otp_grad(otp_node *y, otp_node *const *wrt, int count, otp_node **grads)
{
	OTP_ASSERT(otp_shape_count(y->shape) == 1, "otp_grad of %lld values: sum them first",
		   (long long)otp_shape_count(y->shape));
	otp_graph *g = y->graph;
	bool *dependent = mark_dependent(y, wrt, count);
	otp_node **adjoint = otp_calloc((size_t)y->id + 1, sizeof *adjoint);

	/* dy/dy = 1 is a constant, so that a second derivative finds nothing behind it. */
	adjoint[y->id] = otp_constant(g, 1);
	for (int id = y->id; id >= 0; id--) {
		otp_node *node = otp_graph_node(g, id);
		if (adjoint[id] && dependent[id] && node->op != OTP_OP_LEAF)
			propagate(node, dependent, adjoint);
	}
	for (int i = 0; i < count; i++)
		grads[i] = wrt[i]->id <= y->id ? adjoint[wrt[i]->id] : NULL;
	otp_free(adjoint);
	otp_free(dependent);
}
