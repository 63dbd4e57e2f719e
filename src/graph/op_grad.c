/* Gradient rules: given y = op(in...) and g = dL/dy, the nodes of dL/d in[i].
 * Rules return graph, never numbers, so their results can be differentiated
 * again. Draws, data and updates have none; those of attention and of the norm family
 * stop at the first order (the potential contains neither). */
#include "graph/graph.h"

#define RULE(name) static void otp_grad_##name(otp_node *y, otp_node *g, const bool *wanted, otp_node **gx)
#define UNUSED_WANTED (void)wanted

/* No gradient flows: the output does not depend smoothly on any input, or the op only updates. */
#define NO_GRADIENT(name)                                                                                    \
	RULE(name)                                                                                           \
	{                                                                                                    \
		(void)y;                                                                                     \
		(void)g;                                                                                     \
		(void)wanted;                                                                                \
		(void)gx;                                                                                    \
	}
/* Asking for it is our bug: the networks that need second order do not contain the op. */
#define FIRST_ORDER_ONLY(name)                                                                               \
	RULE(name)                                                                                           \
	{                                                                                                    \
		(void)g;                                                                                     \
		(void)gx;                                                                                    \
		for (int i = 0; i < y->input_count; i++)                                                     \
			OTP_ASSERT(!wanted[i], #name " has no gradient rule: first order only");             \
	}

RULE(copy)
{
	(void)y;
	UNUSED_WANTED;
	gx[0] = g;
}
RULE(reshape)
{
	UNUSED_WANTED;
	gx[0] = otp_reshape(g, y->in[0]->shape);
}
RULE(sum)
{
	UNUSED_WANTED;
	gx[0] = otp_spread(g, y->in[0]->shape);
}
RULE(spread)
{
	UNUSED_WANTED;
	gx[0] = otp_sum(g, y->in[0]->shape);
}

static int extent(otp_shape s, otp_axis axis)
{
	return axis == OTP_AXIS_N ? s.n : axis == OTP_AXIS_H ? s.h : axis == OTP_AXIS_W ? s.w : s.c;
}

RULE(concat)
{
	otp_axis axis = y->attr.axis.axis;
	int first = extent(y->in[0]->shape, axis), second = extent(y->in[1]->shape, axis);
	if (wanted[0])
		gx[0] = otp_slice(g, axis, 0, first);
	if (wanted[1])
		gx[1] = otp_slice(g, axis, first, second);
}

RULE(slice)
{
	UNUSED_WANTED;
	otp_axis axis = y->attr.slice.axis;
	gx[0] = otp_pad(g, axis, y->attr.slice.begin, extent(y->in[0]->shape, axis));
}

RULE(pad)
{
	UNUSED_WANTED;
	otp_axis axis = y->attr.slice.axis;
	gx[0] = otp_slice(g, axis, y->attr.slice.begin, extent(y->in[0]->shape, axis));
}

RULE(add)
{
	for (int i = 0; i < 2; i++)
		if (wanted[i])
			gx[i] = otp_sum(g, y->in[i]->shape);
}

RULE(mul)
{
	for (int i = 0; i < 2; i++)
		if (wanted[i])
			gx[i] = otp_sum(otp_mul(g, y->in[1 - i]), y->in[i]->shape);
}

RULE(affine)
{
	UNUSED_WANTED;
	gx[0] = otp_affine(g, y->attr.affine.scale, 0);
}

/* y has x's sign, so the gate reads y and x's memory is free. */
RULE(lrelu)
{
	UNUSED_WANTED;
	gx[0] = otp_lrelu_gate(y, g, y->attr.slope.slope);
}

RULE(lrelu_gate)
{
	/* Piecewise constant in x: nothing flows there. */
	if (wanted[1])
		gx[1] = otp_lrelu_gate(y->in[0], g, y->attr.slope.slope);
}

RULE(lrelu_gate_merge)
{
	g = otp_gradient_scaled(g, y->attr.gate.scale);
	if (wanted[1])
		gx[1] = otp_lrelu_gate(y->in[0], g, y->attr.gate.slope);
	if (wanted[2])
		gx[2] = g;
}

RULE(silu)
{
	UNUSED_WANTED;
	gx[0] = otp_silu_gate(y->in[0], g);
}

RULE(silu_gate)
{
	otp_node *x = y->in[0], *gate = y->in[1];
	if (wanted[0])
		gx[0] = otp_silu_curve(x, otp_mul(g, gate));
	if (wanted[1])
		gx[1] = otp_silu_gate(x, g);
}

RULE(silu_curve)
{
	otp_node *x = y->in[0], *gate = y->in[1];
	if (wanted[0]) {
		/* silu''' = d (3 (1 - 2 s) + x ((1 - 2 s)^2 - 2 d)), d = s (1 - s), s = sigmoid(x) */
		otp_node *s = otp_sigmoid(x), *odd = otp_affine(s, -2, 1);
		otp_node *d = otp_mul(s, otp_affine(s, -1, 1));
		otp_node *bend = otp_add(otp_mul(odd, odd), otp_affine(d, -2, 0));
		otp_node *third = otp_mul(d, otp_add(otp_affine(odd, 3, 0), otp_mul(x, bend)));
		gx[0] = otp_mul(otp_mul(g, gate), third);
	}
	if (wanted[1])
		gx[1] = otp_silu_curve(x, g);
}

RULE(sigmoid)
{
	UNUSED_WANTED;
	gx[0] = otp_mul(g, otp_mul(y, otp_affine(y, -1, 1)));
}
RULE(softplus)
{
	UNUSED_WANTED;
	gx[0] = otp_mul(g, otp_sigmoid(y->in[0]));
}
RULE(exp)
{
	UNUSED_WANTED;
	gx[0] = otp_mul(g, y);
}
RULE(rsqrt)
{
	UNUSED_WANTED;
	gx[0] = otp_mul(g, otp_affine(otp_mul(y, otp_mul(y, y)), -0.5f, 0));
}

RULE(conv2d)
{
	otp_node *x = y->in[0], *w = y->in[1];
	int stride = y->attr.conv.stride, pad = y->attr.conv.pad;
	if (wanted[0])
		gx[0] = otp_conv2d_dgrad(g, w, stride, pad, x->shape.h, x->shape.w);
	if (wanted[1])
		gx[1] = otp_conv2d_wgrad(x, g, stride, pad, w->shape.h, w->shape.w);
}

/* As lrelu: y has the sign of what was bent. */
RULE(conv2d_bias)
{
	if (y->attr.conv.slope != 1)
		g = otp_lrelu_gate(y, g, y->attr.conv.slope);
	otp_grad_conv2d(y, g, wanted, gx);
	if (wanted[2])
		gx[2] = otp_gradient_total(g);
}

RULE(conv2d_merge)
{
	g = otp_gradient_scaled(g, y->attr.conv.scale);
	otp_grad_conv2d(y, g, wanted, gx);
	if (wanted[2])
		gx[2] = otp_gradient_total(g);
	if (wanted[3])
		gx[3] = g;
}

/* y = dgrad(a, w): linear in both; g has an image's shape. */
RULE(conv2d_dgrad)
{
	otp_node *a = y->in[0], *w = y->in[1];
	int stride = y->attr.conv.stride, pad = y->attr.conv.pad;
	if (wanted[0])
		gx[0] = otp_conv2d(g, w, stride, pad);
	if (wanted[1])
		gx[1] = otp_conv2d_wgrad(g, a, stride, pad, w->shape.h, w->shape.w);
}

/* y = wgrad(x, a): linear in both; g has a weight's shape. */
RULE(conv2d_wgrad)
{
	otp_node *x = y->in[0], *a = y->in[1];
	int stride = y->attr.conv.stride, pad = y->attr.conv.pad;
	if (wanted[0])
		gx[0] = otp_conv2d_dgrad(a, g, stride, pad, x->shape.h, x->shape.w);
	if (wanted[1])
		gx[1] = otp_conv2d(x, g, stride, pad);
}

/* A scale comes last, so its adjoint first. */
static otp_node *before_resampling(const otp_node *y, otp_node *g)
{
	float scale = y->attr.resample.scale;
	return scale == 1 ? g : otp_affine(g, scale, 0);
}

RULE(down2)
{
	UNUSED_WANTED;
	gx[0] = otp_up2(before_resampling(y, g), y->attr.resample.filter, y->attr.resample.gain);
}
RULE(up2)
{
	UNUSED_WANTED;
	gx[0] = otp_down2(before_resampling(y, g), y->attr.resample.filter, y->attr.resample.gain);
}

RULE(matmul)
{
	otp_node *a = y->in[0], *b = y->in[1];
	bool ta = y->attr.matmul.ta, tb = y->attr.matmul.tb;
	if (wanted[0])
		gx[0] = ta ? otp_matmul(b, g, tb, true) : otp_matmul(g, b, false, !tb);
	if (wanted[1])
		gx[1] = tb ? otp_matmul(g, a, true, ta) : otp_matmul(a, g, !ta, false);
}

RULE(softmax)
{
	UNUSED_WANTED;
	gx[0] = otp_softmax_gate(y, g);
}

/* z = y (h - <y, h>), linear in h with a symmetric matrix: adjoint in h is the
 * op itself; in y: g (h - <y, h>) - h <y, g>. */
RULE(softmax_gate)
{
	otp_node *s = y->in[0], *h = y->in[1];
	otp_shape row = s->shape;
	row.c = 1;
	if (wanted[0]) {
		otp_node *sh = otp_sum(otp_mul(s, h), row), *sg = otp_sum(otp_mul(s, g), row);
		otp_node *a = otp_mul(g, otp_add(h, otp_affine(sh, -1, 0)));
		gx[0] = otp_add(a, otp_affine(otp_mul(h, sg), -1, 0));
	}
	if (wanted[1])
		gx[1] = otp_softmax_gate(s, g);
}

RULE(attention)
{
	UNUSED_WANTED;
	gx[0] = otp_attention_grad(y->in[0], g, y->attr.attention.scale);
}

/* The whole gradient of x, through the statistics too, so none is left for the
 * statistics node: that is why norm_stats itself has no rule. */
RULE(norm_apply)
{
	otp_node *x = y->in[0], *stats = y->in[1], *scale = y->in[2], *shift = y->in[3];
	otp_node *sums = otp_norm_sums(x, stats, scale, shift, g, y->attr);
	int c = x->shape.c;
	if (wanted[0])
		gx[0] = otp_norm_dgrad(x, stats, scale, shift, g, sums, y->attr);
	if (wanted[2])
		gx[2] = otp_sum(otp_slice(sums, OTP_AXIS_C, 0, c), scale->shape);
	if (wanted[3])
		gx[3] = otp_sum(otp_slice(sums, OTP_AXIS_C, c, c), shift->shape);
}

FIRST_ORDER_ONLY(attention_grad)
NO_GRADIENT(norm_stats)
FIRST_ORDER_ONLY(norm_sums)
FIRST_ORDER_ONLY(norm_dgrad)
FIRST_ORDER_ONLY(norm_dgrad_merge)
FIRST_ORDER_ONLY(norm_dgrad_merge_two)
FIRST_ORDER_ONLY(norm_total)
FIRST_ORDER_ONLY(norm_total_merge)
FIRST_ORDER_ONLY(up2_merge)
NO_GRADIENT(normal)
NO_GRADIENT(gather)
FIRST_ORDER_ONLY(record)
FIRST_ORDER_ONLY(squares)
FIRST_ORDER_ONLY(guard)
FIRST_ORDER_ONLY(adam)
FIRST_ORDER_ONLY(reduce_scatter)
FIRST_ORDER_ONLY(all_gather)

otp_grad_rule *const otp_grad_rules[OTP_OP_COUNT] = {
#define OP(name, inputs, attribute, in_place, meaning) [OTP_OP_##name] = otp_grad_##name,
#include "graph/ops.def"
#undef OP
};
