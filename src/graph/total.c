/* total: what a gradient adds up to over samples and positions: the gradient of a
 * bias. It need not be read for that where the ops that made it say what their
 * results add up to: a norm's gradient does so by sums that the norm has, a
 * sum of gradients, a factor, channels cut out, and a 1 x 1 convolution by
 * what their inputs add up to. Not so FIR resampling and wider convolutions,
 * which lose at the border; nor a gate. */
#include "graph/graph.h"

static otp_node *known(otp_node *x);

/* norm_dgrad and, with r, norm_dgrad_merge. */
static otp_node *of_norm(const otp_node *x)
{
	bool merge = x->op == OTP_OP_norm_dgrad_merge;
	otp_node *in[] = {x->in[1], x->in[2], x->in[5], merge ? known(x->in[6]) : NULL};
	OTP_ASSERT(x->shape.c == x->in[0]->shape.c, "the total of a part of a norm's gradient");
	if (merge && !in[3])
		return NULL;
	return otp_node_new(merge ? OTP_OP_norm_total_merge : OTP_OP_norm_total, x->attr, in, merge ? 4 : 3);
}

/* Without a border every position of x is its gradient's at the same position times the weights. */
static otp_node *of_convolution(const otp_node *x)
{
	otp_node *w = x->in[1], *g = NULL;
	bool alone = w->shape.h == 1 && w->shape.w == 1 && x->attr.conv.stride == 1 && x->attr.conv.pad == 0;
	g = alone ? known(x->in[0]) : NULL;
	return g ? otp_matmul(g, otp_reshape(w, otp_shape4(1, 1, w->shape.n, w->shape.c)), false, false)
		 : NULL;
}

static otp_node *of_sum(const otp_node *x)
{
	bool alike = otp_shape_equal(x->in[0]->shape, x->in[1]->shape);
	otp_node *a = alike ? known(x->in[0]) : NULL, *b = a ? known(x->in[1]) : NULL;
	return b ? otp_add(a, b) : NULL;
}

static otp_node *derive(const otp_node *x)
{
	otp_node *of = NULL; /* what the only input adds up to */
	switch (x->op) {
	case OTP_OP_norm_dgrad:
	case OTP_OP_norm_dgrad_merge:
		return of_norm(x);
	case OTP_OP_conv2d_dgrad:
		return of_convolution(x);
	case OTP_OP_add:
		return of_sum(x);
	case OTP_OP_affine:
		of = x->attr.affine.offset == 0 ? known(x->in[0]) : NULL;
		return of ? otp_affine(of, x->attr.affine.scale, 0) : NULL;
	case OTP_OP_slice:
		of = x->attr.slice.axis == OTP_AXIS_C ? known(x->in[0]) : NULL;
		return of ? otp_slice(of, OTP_AXIS_C, x->attr.slice.begin, x->attr.slice.count) : NULL;
	default:
		return NULL;
	}
}

/* NULL where only a pass over x tells. */
static otp_node *known(otp_node *x)
{
	if (!x->total)
		x->total = derive(x);
	return x->total;
}

otp_node *otp_gradient_total(otp_node *g)
{
	if (!known(g))
		g->total = otp_sum(g, otp_shape4(1, 1, 1, g->shape.c));
	return g->total;
}
