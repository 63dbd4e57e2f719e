#include "graph/piece.h"

struct otp_piece {
	otp_node **moved; /* [nodes up to y], of the samples that move; NULL: does not depend on x */
	int *axis;	  /* along which samples lie, [nodes up to y] */
	int first, count; /* the samples that move */
	int nodes;
};

enum { CONSTANT = -1, BROKEN = -2 }; /* in place of an axis */

static int extent(otp_shape s, int axis) { return axis == OTP_AXIS_N ? s.n : axis == OTP_AXIS_W ? s.w : 0; }

static otp_shape with_samples(otp_shape s, int axis, int samples)
{
	*(axis == OTP_AXIS_N ? &s.n : &s.w) = samples;
	return s;
}

/* Rows of a matrix, or again samples of their own. */
static int reshaped_axis(const otp_node *node, int axis)
{
	otp_shape from = node->in[0]->shape, to = node->shape;
	int samples = extent(from, axis);
	if (to.n == samples)
		return OTP_AXIS_N;
	return to.n == 1 && to.h == 1 && to.w == samples ? OTP_AXIS_W : BROKEN;
}

/* Whether input i is the same for all samples: a parameter. */
static bool is_shared(const otp_node *node, const int *axes, int i, int axis)
{
	return axes[node->in[i]->id] == CONSTANT && extent(node->in[i]->shape, axis) == 1;
}

/* Of a node of which an input's samples lie along `axis`, and those of others too where they depend on x. */
static int next_axis(const otp_node *node, const int *axes, int axis)
{
	bool first = axes[node->in[0]->id] == axis, good = false;
	switch (node->op) {
	case OTP_OP_copy:
	case OTP_OP_affine:
	case OTP_OP_lrelu:
	case OTP_OP_down2:
	case OTP_OP_up2:
		good = true;
		break;
	case OTP_OP_reshape:
		return reshaped_axis(node, axis);
	case OTP_OP_sum:
	case OTP_OP_spread:
		good = extent(node->shape, axis) == extent(node->in[0]->shape, axis);
		break;
	case OTP_OP_slice:
	case OTP_OP_pad:
		good = (int)node->attr.slice.axis != axis;
		break;
	case OTP_OP_concat:
		good = first && axes[node->in[1]->id] == axis && (int)node->attr.axis.axis != axis;
		break;
	case OTP_OP_add:
		good = (first || is_shared(node, axes, 0, axis)) &&
		       (axes[node->in[1]->id] == axis || is_shared(node, axes, 1, axis));
		break;
	case OTP_OP_matmul:
		good =
		    first && axes[node->in[1]->id] == CONSTANT && !node->attr.matmul.ta && axis == OTP_AXIS_W;
		break;
	case OTP_OP_conv2d:
	case OTP_OP_conv2d_bias:
	case OTP_OP_conv2d_merge:
		good = first && axis == OTP_AXIS_N;
		for (int i = 1; i < node->input_count; i++)
			good &= axes[node->in[i]->id] == (i == 3 ? axis : CONSTANT);
		break;
	default:
		return BROKEN;
	}
	return good ? axis : BROKEN;
}

/* Along which axis each node's samples lie, [y->id + 1]; NULL where y is not piecewise linear in each of x's.
 */
static int *find_axes(otp_node *x, otp_node *y)
{
	int *axes = otp_calloc((size_t)y->id + 1, sizeof *axes);
	for (int id = 0; id <= y->id; id++) {
		const otp_node *node = otp_graph_node(y->graph, id);
		axes[id] = id == x->id ? OTP_AXIS_N : CONSTANT;
		for (int i = 0; i < node->input_count; i++) {
			int axis = axes[node->in[i]->id];
			if (axis == CONSTANT)
				continue;
			bool same = axes[id] == CONSTANT || axes[id] == axis;
			axes[id] = same ? axis : BROKEN;
		}
		if (id > x->id && axes[id] >= 0)
			axes[id] = next_axis(node, axes, axes[id]);
	}
	if (axes[y->id] >= 0)
		return axes;
	otp_free(axes);
	return NULL;
}

bool otp_is_piecewise_linear(otp_node *x, otp_node *y)
{
	int *axes = find_axes(x, y);
	otp_free(axes);
	return axes != NULL;
}

/* The samples of a node that move, or those that do not; what was put together is taken, not cut out. */
static otp_node *part(const otp_piece *p, otp_node *node, int axis, bool moving)
{
	if (node->op == OTP_OP_concat && (int)node->attr.axis.axis == axis &&
	    extent(node->in[0]->shape, axis) == p->first)
		return node->in[moving];
	return otp_slice(node, (otp_axis)axis, moving ? p->first : 0, moving ? p->count : p->first);
}

/* A node's samples that move, from its inputs' that did. */
static otp_node *move(const otp_piece *p, otp_node *node)
{
	otp_node *in[OTP_MAX_INPUTS] = {NULL};
	otp_attr attr = node->attr;
	int axis = p->axis[node->id];
	for (int i = 0; i < node->input_count; i++) {
		otp_node *moved = p->moved[node->in[i]->id];
		in[i] = moved ? moved : node->in[i];
	}
	switch (node->op) {
	case OTP_OP_lrelu:
		return otp_lrelu_gate(part(p, node, axis, true), in[0], attr.slope.slope);
	case OTP_OP_conv2d_bias:
		attr.conv.slope = 1;
		break;
	case OTP_OP_reshape:
	case OTP_OP_sum:
	case OTP_OP_spread:
		attr.shape.to = with_samples(attr.shape.to, axis, p->count);
		break;
	default:
		break;
	}
	otp_node *linear = otp_node_new(node->op, attr, in, node->input_count);
	if (node->op == OTP_OP_conv2d_bias && node->attr.conv.slope != 1)
		return otp_lrelu_gate(part(p, node, axis, true), linear, node->attr.conv.slope);
	return linear;
}

otp_piece *otp_piece_new(otp_node *x, otp_node *y, int first, otp_node *at)
{
	otp_piece *p = otp_calloc(1, sizeof *p);
	p->axis = find_axes(x, y);
	OTP_ASSERT(p->axis && first > 0 && first + at->shape.n == x->shape.n,
		   "piece: of a function that has none");
	p->nodes = y->id + 1;
	p->first = first;
	p->count = at->shape.n;
	p->moved = otp_calloc((size_t)p->nodes, sizeof *p->moved);
	p->moved[x->id] = at;
	for (int id = x->id + 1; id < p->nodes; id++)
		if (p->axis[id] >= 0)
			p->moved[id] = move(p, otp_graph_node(y->graph, id));
	return p;
}

void otp_piece_free(otp_piece *p)
{
	otp_free(p->moved);
	otp_free(p->axis);
	otp_free(p);
}

/* Weights' gradients are bilinear in values and gradients, and sums over samples; those of constants have no
 * values in them. */
otp_node *otp_piece_grad(const otp_piece *p, otp_node *grad)
{
	int values = grad->op == OTP_OP_conv2d_wgrad ? 0 : 1, axis = values ? OTP_AXIS_W : OTP_AXIS_N;
	OTP_ASSERT(grad->op != OTP_OP_add, "piece: a parameter of several layers");
	if (grad->op != OTP_OP_conv2d_wgrad && grad->op != OTP_OP_matmul)
		return grad;
	OTP_ASSERT(grad->in[values]->id < p->nodes, "piece: a weight's gradient without values");
	otp_node *still[2], *moving[2];
	for (int i = 0; i < 2; i++) {
		still[i] = part(p, grad->in[i], axis, false);
		moving[i] = i == values ? p->moved[grad->in[i]->id] : part(p, grad->in[i], axis, true);
	}
	return otp_add(otp_node_new(grad->op, grad->attr, still, 2),
		       otp_node_new(grad->op, grad->attr, moving, 2));
}
