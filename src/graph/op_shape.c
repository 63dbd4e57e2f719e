/* Shape rules: the output's shape from attribute and inputs, with every
 * condition an op puts on them. One function a line of ops.def. */
#include "graph/op.h"
#include "tree.h"

#define RULE(name) static otp_shape otp_shape_##name(const otp_attr *attr, const otp_shape *in)

#define SHAPE_FMT "%dx%dx%dx%d"
#define SHAPE_ARGS(s) (s).n, (s).h, (s).w, (s).c

static int extent(otp_shape s, int axis)
{
	return axis == OTP_AXIS_N ? s.n : axis == OTP_AXIS_H ? s.h : axis == OTP_AXIS_W ? s.w : s.c;
}

static otp_shape with_extent(otp_shape s, int axis, int value)
{
	*(axis == OTP_AXIS_N ? &s.n : axis == OTP_AXIS_H ? &s.h : axis == OTP_AXIS_W ? &s.w : &s.c) = value;
	return s;
}

/* Each dimension of `small` equals that of `big` or is 1. */
static bool broadcasts(otp_shape small, otp_shape big)
{
	for (int axis = 0; axis < 4; axis++)
		if (extent(small, axis) != extent(big, axis) && extent(small, axis) != 1)
			return false;
	return true;
}

static otp_shape same_as_first(const char *op, const otp_shape *in, int count)
{
	for (int i = 1; i < count; i++)
		OTP_ASSERT(otp_shape_equal(in[0], in[i]), "%s: " SHAPE_FMT " against " SHAPE_FMT, op,
			   SHAPE_ARGS(in[0]), SHAPE_ARGS(in[i]));
	return in[0];
}

RULE(copy)
{
	(void)attr;
	return in[0];
}

RULE(reshape)
{
	OTP_ASSERT(otp_shape_count(in[0]) == otp_shape_count(attr->shape.to),
		   "reshape: " SHAPE_FMT " to " SHAPE_FMT, SHAPE_ARGS(in[0]), SHAPE_ARGS(attr->shape.to));
	return attr->shape.to;
}

RULE(sum)
{
	OTP_ASSERT(broadcasts(attr->shape.to, in[0]), "sum: " SHAPE_FMT " to " SHAPE_FMT, SHAPE_ARGS(in[0]),
		   SHAPE_ARGS(attr->shape.to));
	return attr->shape.to;
}

RULE(spread)
{
	OTP_ASSERT(broadcasts(in[0], attr->shape.to), "spread: " SHAPE_FMT " to " SHAPE_FMT,
		   SHAPE_ARGS(in[0]), SHAPE_ARGS(attr->shape.to));
	return attr->shape.to;
}

RULE(concat)
{
	int axis = attr->axis.axis;
	otp_shape a = in[0], b = with_extent(in[1], axis, extent(in[0], axis));
	OTP_ASSERT(otp_shape_equal(a, b), "concat: " SHAPE_FMT " with " SHAPE_FMT, SHAPE_ARGS(in[0]),
		   SHAPE_ARGS(in[1]));
	return with_extent(a, axis, extent(in[0], axis) + extent(in[1], axis));
}

RULE(slice)
{
	int axis = attr->slice.axis, begin = attr->slice.begin, count = attr->slice.count;
	OTP_ASSERT(begin >= 0 && count > 0 && begin + count <= extent(in[0], axis), "slice: %d+%d of %d",
		   begin, count, extent(in[0], axis));
	return with_extent(in[0], axis, count);
}

RULE(pad)
{
	int axis = attr->slice.axis, begin = attr->slice.begin, count = attr->slice.count;
	OTP_ASSERT(begin >= 0 && begin + extent(in[0], axis) <= count, "pad: %d at %d of %d",
		   extent(in[0], axis), begin, count);
	return with_extent(in[0], axis, count);
}

static otp_shape broadcast_shape(const char *op, const otp_shape *in)
{
	otp_shape out = in[0];
	for (int axis = 0; axis < 4; axis++)
		if (extent(out, axis) == 1)
			out = with_extent(out, axis, extent(in[1], axis));
	OTP_ASSERT(broadcasts(in[0], out) && broadcasts(in[1], out), "%s: " SHAPE_FMT " with " SHAPE_FMT, op,
		   SHAPE_ARGS(in[0]), SHAPE_ARGS(in[1]));
	return out;
}

RULE(add)
{
	(void)attr;
	return broadcast_shape("add", in);
}
RULE(mul)
{
	(void)attr;
	return broadcast_shape("mul", in);
}
RULE(affine)
{
	(void)attr;
	return in[0];
}
RULE(lrelu)
{
	(void)attr;
	return in[0];
}
RULE(lrelu_gate_merge)
{
	(void)attr;
	return same_as_first("lrelu_gate_merge", in, 3);
}

RULE(lrelu_gate)
{
	(void)attr;
	return same_as_first("lrelu_gate", in, 2);
}
RULE(silu)
{
	(void)attr;
	return in[0];
}
RULE(silu_gate)
{
	(void)attr;
	return same_as_first("silu_gate", in, 2);
}
RULE(silu_curve)
{
	(void)attr;
	return same_as_first("silu_curve", in, 2);
}
RULE(sigmoid)
{
	(void)attr;
	return in[0];
}
RULE(softplus)
{
	(void)attr;
	return in[0];
}
RULE(exp)
{
	(void)attr;
	return in[0];
}
RULE(rsqrt)
{
	(void)attr;
	return in[0];
}

static int conv_extent(int image, int kernel, int stride, int pad)
{
	return (image + 2 * pad - kernel) / stride + 1;
}

RULE(conv2d)
{
	otp_shape x = in[0], w = in[1];
	OTP_ASSERT(x.c == w.c, "conv2d: %d channels in, weights for %d", x.c, w.c);
	OTP_ASSERT(attr->conv.stride >= 1 && attr->conv.pad >= 0 && x.h + 2 * attr->conv.pad >= w.h &&
		       x.w + 2 * attr->conv.pad >= w.w,
		   "conv2d: image %dx%d, kernel %dx%d", x.h, x.w, w.h, w.w);
	return otp_shape4(x.n, conv_extent(x.h, w.h, attr->conv.stride, attr->conv.pad),
			  conv_extent(x.w, w.w, attr->conv.stride, attr->conv.pad), w.n);
}

static otp_shape biased_conv_shape(const char *op, const otp_attr *attr, const otp_shape *in)
{
	OTP_ASSERT(otp_shape_equal(in[2], otp_shape4(1, 1, 1, in[1].n)), "%s: bias " SHAPE_FMT, op,
		   SHAPE_ARGS(in[2]));
	return otp_shape_conv2d(attr, in);
}

RULE(conv2d_bias)
{
	OTP_ASSERT(attr->conv.slope > 0, "conv2d_bias: slope %g", (double)attr->conv.slope);
	return biased_conv_shape("conv2d_bias", attr, in);
}

RULE(conv2d_merge)
{
	otp_shape y = biased_conv_shape("conv2d_merge", attr, in);
	OTP_ASSERT(otp_shape_equal(in[3], y), "conv2d_merge: y is " SHAPE_FMT ", r " SHAPE_FMT, SHAPE_ARGS(y),
		   SHAPE_ARGS(in[3]));
	return y;
}

RULE(conv2d_dgrad)
{
	otp_shape g = in[0], w = in[1], x = otp_shape4(g.n, attr->conv.h, attr->conv.w, w.c);
	otp_shape forward[] = {x, w};
	OTP_ASSERT(otp_shape_equal(g, otp_shape_conv2d(attr, forward)), "conv2d_dgrad: g is " SHAPE_FMT,
		   SHAPE_ARGS(g));
	return x;
}

RULE(conv2d_wgrad)
{
	otp_shape x = in[0], g = in[1], w = otp_shape4(g.c, attr->conv.h, attr->conv.w, x.c);
	otp_shape forward[] = {x, w};
	OTP_ASSERT(otp_shape_equal(g, otp_shape_conv2d(attr, forward)), "conv2d_wgrad: g is " SHAPE_FMT,
		   SHAPE_ARGS(g));
	return w;
}

RULE(down2)
{
	(void)attr;
	OTP_ASSERT(in[0].h % 2 == 0 && in[0].w % 2 == 0, "down2: odd size %dx%d", in[0].h, in[0].w);
	return otp_shape4(in[0].n, in[0].h / 2, in[0].w / 2, in[0].c);
}

RULE(up2)
{
	(void)attr;
	return otp_shape4(in[0].n, in[0].h * 2, in[0].w * 2, in[0].c);
}

RULE(up2_merge)
{
	otp_shape y = otp_shape_up2(attr, in);
	OTP_ASSERT(otp_shape_equal(in[1], y), "up2_merge: r is " SHAPE_FMT, SHAPE_ARGS(in[1]));
	return y;
}

RULE(matmul)
{
	otp_shape a = in[0], b = in[1];
	int m = attr->matmul.ta ? a.c : a.w, k = attr->matmul.ta ? a.w : a.c;
	int k2 = attr->matmul.tb ? b.c : b.w, n = attr->matmul.tb ? b.w : b.c;
	OTP_ASSERT(a.n == b.n && a.h == b.h && k == k2, "matmul: " SHAPE_FMT " with " SHAPE_FMT,
		   SHAPE_ARGS(a), SHAPE_ARGS(b));
	return otp_shape4(a.n, a.h, m, n);
}

RULE(softmax)
{
	(void)attr;
	return in[0];
}
RULE(softmax_gate)
{
	(void)attr;
	return same_as_first("softmax_gate", in, 2);
}

RULE(attention)
{
	OTP_ASSERT(in[0].c % 3 == 0 && attr->attention.scale > 0, "attention: %d channels, scale %g", in[0].c,
		   (double)attr->attention.scale);
	return otp_shape4(in[0].n, in[0].h, in[0].w, in[0].c / 3);
}

RULE(attention_grad)
{
	OTP_ASSERT(otp_shape_equal(in[1], otp_shape_attention(attr, in)), "attention_grad: g is " SHAPE_FMT,
		   SHAPE_ARGS(in[1]));
	return in[0];
}

RULE(norm_stats)
{
	OTP_ASSERT(attr->norm.groups > 0 && in[0].c % attr->norm.groups == 0,
		   "norm: %d channels in %d groups", in[0].c, attr->norm.groups);
	return otp_shape4(in[0].n, 1, 1, 2 * attr->norm.groups + in[0].c);
}

RULE(norm_apply)
{
	otp_shape x = in[0];
	OTP_ASSERT(otp_shape_equal(in[1], otp_shape_norm_stats(attr, in)), "norm: statistics " SHAPE_FMT,
		   SHAPE_ARGS(in[1]));
	for (int i = 2; i < 4; i++)
		OTP_ASSERT((in[i].n == x.n || in[i].n == 1) && in[i].h == 1 && in[i].w == 1 && in[i].c == x.c,
			   "norm: x " SHAPE_FMT ", scale or shift " SHAPE_FMT, SHAPE_ARGS(x),
			   SHAPE_ARGS(in[i]));
	OTP_ASSERT(in[2].n == in[3].n, "norm: scale for %d samples, shift for %d", in[2].n, in[3].n);
	return x;
}

RULE(norm_sums)
{
	otp_shape x = otp_shape_norm_apply(attr, in);
	OTP_ASSERT(otp_shape_equal(in[4], x), "norm_sums: g is " SHAPE_FMT, SHAPE_ARGS(in[4]));
	return otp_shape4(x.n, 1, 1, 2 * x.c);
}

RULE(norm_dgrad)
{
	int begin = attr->norm.begin, count = attr->norm.count;
	OTP_ASSERT(otp_shape_equal(in[5], otp_shape_norm_sums(attr, in)), "norm_dgrad: sums are " SHAPE_FMT,
		   SHAPE_ARGS(in[5]));
	OTP_ASSERT(begin >= 0 && count > 0 && begin + count <= in[0].c,
		   "norm_dgrad: %d channels from %d of %d", count, begin, in[0].c);
	return with_extent(in[0], OTP_AXIS_C, count);
}

RULE(norm_dgrad_merge)
{
	OTP_ASSERT(otp_shape_equal(in[6], in[0]), "norm_dgrad_merge: r is " SHAPE_FMT, SHAPE_ARGS(in[6]));
	return otp_shape_norm_dgrad(attr, in);
}

RULE(norm_dgrad_merge_two)
{
	OTP_ASSERT(otp_shape_equal(in[7], in[0]), "norm_dgrad_merge_two: s is " SHAPE_FMT, SHAPE_ARGS(in[7]));
	return otp_shape_norm_dgrad_merge(attr, in);
}

RULE(norm_total)
{
	int n = in[2].n, c = in[2].c / 2, groups = attr->norm.groups;
	OTP_ASSERT(in[2].h == 1 && in[2].w == 1 && groups > 0 && c % groups == 0,
		   "norm_total: sums are " SHAPE_FMT, SHAPE_ARGS(in[2]));
	OTP_ASSERT(otp_shape_equal(in[0], otp_shape4(n, 1, 1, 2 * groups + c)),
		   "norm_total: statistics " SHAPE_FMT, SHAPE_ARGS(in[0]));
	OTP_ASSERT((in[1].n == n || in[1].n == 1) && otp_shape_count(in[1]) == (int64_t)in[1].n * c,
		   "norm_total: scale " SHAPE_FMT, SHAPE_ARGS(in[1]));
	return otp_shape4(1, 1, 1, c);
}

RULE(norm_total_merge)
{
	otp_shape out = otp_shape_norm_total(attr, in);
	OTP_ASSERT(otp_shape_equal(in[3], out), "norm_total_merge: r is " SHAPE_FMT, SHAPE_ARGS(in[3]));
	return out;
}

/* A row of words for each of n samples, with a column of that number. */
static bool is_words(otp_shape s, int n, int column)
{
	return column >= 0 && otp_shape_equal(s, otp_shape4(n, 1, 1, s.c)) && s.c > column;
}

RULE(normal)
{
	OTP_ASSERT(is_words(in[0], attr->noise.to.n, 3), "normal: words " SHAPE_FMT, SHAPE_ARGS(in[0]));
	return attr->noise.to;
}

RULE(gather)
{
	otp_shape to = attr->gather.to;
	int stored = attr->gather.stored, words = otp_gather_words((int64_t)to.h * to.w * stored);
	OTP_ASSERT((stored == to.c || stored == 1) && is_words(in[1], to.n, attr->gather.column),
		   "gather: %d channels stored for %d, picks " SHAPE_FMT, stored, to.c, SHAPE_ARGS(in[1]));
	OTP_ASSERT(otp_shape_equal(in[0], otp_shape4(in[0].n, 1, 1, words)),
		   "gather: bytes " SHAPE_FMT ", %d words a picture", SHAPE_ARGS(in[0]), words);
	return to;
}

RULE(record)
{
	otp_shape ring = in[0];
	OTP_ASSERT(ring.n == 1 && ring.h == 1 && otp_shape_equal(in[1], otp_shape4(1, 1, 1, ring.c)),
		   "record: ring " SHAPE_FMT ", row " SHAPE_FMT, SHAPE_ARGS(ring), SHAPE_ARGS(in[1]));
	OTP_ASSERT(is_words(in[2], in[2].n, attr->record.column), "record: words " SHAPE_FMT,
		   SHAPE_ARGS(in[2]));
	return ring;
}

RULE(squares)
{
	(void)attr;
	OTP_ASSERT(in[0].n == 1 && in[0].h == 1 && in[0].w <= OTP_MOST_PARTS, "squares: gradients " SHAPE_FMT,
		   SHAPE_ARGS(in[0]));
	return otp_shape4(1, 1, 1, otp_norm_blocks(in[0].c));
}

static bool is_hyper(otp_shape s) { return otp_shape_equal(s, otp_shape4(1, 1, 1, OTP_HYPER_COUNT)); }
static bool is_guard(otp_shape s, int kind)
{
	return otp_shape_equal(s, otp_shape4(1, 1, 1, s.c)) && kind >= 0 &&
	       s.c >= OTP_GUARD_HEAD + (kind + 1) * OTP_GUARD_ROW;
}

RULE(guard)
{
	otp_shape squares = in[1];
	OTP_ASSERT(is_guard(in[0], attr->guard.kind) &&
		       otp_shape_equal(squares, otp_shape4(1, 1, 1, squares.c)) && is_hyper(in[2]),
		   "guard: guard " SHAPE_FMT ", squares " SHAPE_FMT ", hyper " SHAPE_FMT, SHAPE_ARGS(in[0]),
		   SHAPE_ARGS(squares), SHAPE_ARGS(in[2]));
	return in[0];
}

RULE(adam)
{
	otp_shape state = in[0], grads = in[1];
	OTP_ASSERT(otp_shape_equal(state, otp_shape4(1, 1, attr->adam.ema ? 4 : 3, grads.c)) &&
		       grads.n == 1 && grads.h == 1 && grads.w <= OTP_MOST_PARTS,
		   "adam: state " SHAPE_FMT ", gradients " SHAPE_FMT, SHAPE_ARGS(state), SHAPE_ARGS(grads));
	OTP_ASSERT(is_hyper(in[2]) && is_guard(in[3], 0), "adam: hyper " SHAPE_FMT ", guard " SHAPE_FMT,
		   SHAPE_ARGS(in[2]), SHAPE_ARGS(in[3]));
	return state;
}

static otp_shape dealt(const otp_attr *attr, otp_shape x)
{
	OTP_ASSERT(otp_shape_equal(x, otp_shape4(1, 1, 1, x.c)) && attr->deal.each >= 0 &&
		       attr->deal.each <= x.c,
		   "columns " SHAPE_FMT " are dealt by %lld", SHAPE_ARGS(x), (long long)attr->deal.each);
	return x;
}

RULE(reduce_scatter) { return dealt(attr, in[0]); }
RULE(all_gather) { return dealt(attr, in[0]); }

otp_shape otp_op_shape(otp_op op, const otp_attr *attr, const otp_shape *in, int input_count)
{
	static otp_shape (*const rules[OTP_OP_COUNT])(const otp_attr *, const otp_shape *) = {
#define OP(name, inputs, attribute, in_place, meaning) [OTP_OP_##name] = otp_shape_##name,
#include "graph/ops.def"
#undef OP
	};
	OTP_ASSERT(op > OTP_OP_LEAF && op < OTP_OP_COUNT && input_count == otp_op_inputs(op), "op %d",
		   (int)op);
	otp_shape out = rules[op](attr, in);
	OTP_ASSERT(out.n > 0 && out.h > 0 && out.w > 0 && out.c > 0, "%s: empty output " SHAPE_FMT,
		   otp_op_name(op), SHAPE_ARGS(out));
	return out;
}
