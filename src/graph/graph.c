/* Nodes and their typed constructors. A node is checked when it is made, so
 * that a wrong shape is reported where the model was written. */
#include "graph/graph.h"

#include <string.h>

enum { CHUNK_NODES = 256 };

struct otp_graph {
	otp_node **chunks; /* nodes never move: pointers to them stay good */
	int chunk_count, chunk_room;
	int size;
	bool keeps_equals;
};

otp_graph *otp_graph_new(void) { return otp_calloc(1, sizeof(otp_graph)); }

void otp_graph_free(otp_graph *g)
{
	if (!g)
		return;
	for (int i = 0; i < g->chunk_count; i++)
		otp_free(g->chunks[i]);
	otp_free(g->chunks);
	otp_free(g);
}

void otp_graph_keep_equals(otp_graph *g) { g->keeps_equals = true; }

int otp_graph_size(const otp_graph *g) { return g->size; }

otp_node *otp_graph_node(const otp_graph *g, int id)
{
	OTP_ASSERT(id >= 0 && id < g->size, "node %d of %d", id, g->size);
	return &g->chunks[id / CHUNK_NODES][id % CHUNK_NODES];
}

static otp_node *append(otp_graph *g)
{
	if (g->size == g->chunk_count * CHUNK_NODES) {
		if (g->chunk_count == g->chunk_room) {
			size_t old_bytes = (size_t)g->chunk_room * sizeof *g->chunks;
			g->chunk_room = g->chunk_room ? 2 * g->chunk_room : 8;
			g->chunks =
			    otp_realloc(g->chunks, old_bytes, (size_t)g->chunk_room * sizeof *g->chunks);
		}
		g->chunks[g->chunk_count++] = otp_calloc(CHUNK_NODES, sizeof(otp_node));
	}
	int id = g->size++;
	otp_node *node = otp_graph_node(g, id);
	node->graph = g;
	node->id = id;
	node->span = OTP_SPAN_NONE;
	return node;
}

static otp_node *leaf(otp_graph *g, const char *name, otp_type type, otp_shape shape)
{
	OTP_ASSERT(shape.n > 0 && shape.h > 0 && shape.w > 0 && shape.c > 0, "%s: empty shape %dx%dx%dx%d",
		   name, shape.n, shape.h, shape.w, shape.c);
	otp_node *node = append(g);
	node->op = OTP_OP_LEAF;
	node->type = type;
	node->shape = shape;
	node->name = name;
	return node;
}

otp_node *otp_input(otp_graph *g, const char *name, otp_type type, otp_shape shape)
{
	return leaf(g, name, type, shape);
}

otp_node *otp_view(otp_graph *g, const char *name, int span, int64_t offset, otp_shape shape)
{
	OTP_ASSERT(span >= 0 && span < OTP_MAX_SPANS && offset >= 0, "%s: span %d", name, span);
	otp_node *node = leaf(g, name, OTP_F32, shape);
	node->span = span;
	node->span_offset = offset;
	return node;
}

otp_node *otp_view_words(otp_graph *g, const char *name, int span, int64_t offset, otp_shape shape)
{
	otp_node *node = otp_view(g, name, span, offset, shape);
	node->type = OTP_U32;
	return node;
}

otp_node *otp_constant(otp_graph *g, float value)
{
	otp_node *node = leaf(g, "constant", OTP_F32, otp_shape4(1, 1, 1, 1));
	node->constant = true;
	node->value = value;
	return node;
}

/* Draws and updates are told apart by what they read, so they too are equal where op, attribute and inputs
 * are. An update in place changes a span under the leaves that are views of it: a view that is made after it
 * is another leaf.
 */
static otp_node *find_equal(otp_op op, const otp_attr *attr, otp_node *const *in, int input_count)
{
	for (otp_node *user = in[0]->graph->keeps_equals ? NULL : in[0]->users; user; user = user->next_user)
		if (user->op == op &&
		    memcmp((const void *)&user->attr, (const void *)attr, sizeof *attr) == 0 &&
		    memcmp((const void *)user->in, (const void *)in, (size_t)input_count * sizeof *in) == 0)
			return user;
	return NULL;
}

otp_node *otp_node_new(otp_op op, otp_attr attr, otp_node *const *in, int input_count)
{
	OTP_ASSERT(input_count == otp_op_inputs(op), "%s takes %d inputs, not %d", otp_op_name(op),
		   otp_op_inputs(op), input_count);
	otp_shape shapes[OTP_MAX_INPUTS];
	for (int i = 0; i < input_count; i++) {
		OTP_ASSERT(in[i]->graph == in[0]->graph, "%s: inputs of two graphs", otp_op_name(op));
		OTP_ASSERT((in[i]->type == OTP_U32) == otp_op_takes_words(op, i),
			   "%s: input %d has the wrong type", otp_op_name(op), i);
		shapes[i] = in[i]->shape;
	}
	otp_node *equal = find_equal(op, &attr, in, input_count);
	if (equal)
		return equal;
	otp_node *node = append(in[0]->graph);
	node->op = op;
	node->type = OTP_F32;
	node->attr = attr;
	node->next_user = in[0]->users;
	in[0]->users = node;
	node->shape = otp_op_shape(op, &attr, shapes, input_count);
	node->input_count = input_count;
	memcpy(node->in, in, (size_t)input_count * sizeof *in);
	return node;
}

/* Whether this node's memory can be the output itself: computed, owned, not yet promised. Norms' sums are
 * read by the backward pass as well, in float32, and a span may be held in bfloat16: with a batch of one they
 * are a gradient themselves. */
static bool placeable(const otp_node *x)
{
	return x->op != OTP_OP_LEAF && x->op != OTP_OP_reshape && x->op != OTP_OP_norm_sums && !x->output;
}

otp_node *otp_output(otp_node *x, int span, int64_t offset)
{
	if (!placeable(x))
		x = otp_copy(x);
	x->output = true;
	x->span = span;
	x->span_offset = offset;
	return x;
}

/* ---- typed constructors ---- */

static const otp_attr NONE;

static otp_node *node1(otp_op op, otp_attr attr, otp_node *a) { return otp_node_new(op, attr, &a, 1); }

static otp_node *node2(otp_op op, otp_attr attr, otp_node *a, otp_node *b)
{
	otp_node *in[] = {a, b};
	return otp_node_new(op, attr, in, 2);
}

static otp_attr to_shape(otp_shape to)
{
	otp_attr attr = NONE;
	attr.shape.to = to;
	return attr;
}

otp_node *otp_copy(otp_node *x) { return node1(OTP_OP_copy, NONE, x); }

otp_node *otp_reshape(otp_node *x, otp_shape to)
{
	return otp_shape_equal(x->shape, to) ? x : node1(OTP_OP_reshape, to_shape(to), x);
}

otp_node *otp_sum(otp_node *x, otp_shape to)
{
	return otp_shape_equal(x->shape, to) ? x : node1(OTP_OP_sum, to_shape(to), x);
}

otp_node *otp_spread(otp_node *x, otp_shape to)
{
	return otp_shape_equal(x->shape, to) ? x : node1(OTP_OP_spread, to_shape(to), x);
}

otp_node *otp_concat(otp_node *a, otp_node *b, otp_axis axis)
{
	otp_attr attr = NONE;
	attr.axis.axis = axis;
	return node2(OTP_OP_concat, attr, a, b);
}

static otp_attr slice_attr(otp_axis axis, int begin, int count)
{
	otp_attr attr = NONE;
	attr.slice.axis = axis;
	attr.slice.begin = begin;
	attr.slice.count = count;
	return attr;
}

otp_node *otp_slice(otp_node *x, otp_axis axis, int begin, int count)
{
	return node1(OTP_OP_slice, slice_attr(axis, begin, count), x);
}

otp_node *otp_pad(otp_node *x, otp_axis axis, int begin, int count)
{
	return node1(OTP_OP_pad, slice_attr(axis, begin, count), x);
}

otp_node *otp_add(otp_node *a, otp_node *b) { return node2(OTP_OP_add, NONE, a, b); }
otp_node *otp_mul(otp_node *a, otp_node *b) { return node2(OTP_OP_mul, NONE, a, b); }

otp_node *otp_affine(otp_node *x, float scale, float offset)
{
	otp_attr attr = NONE;
	attr.affine.scale = scale;
	attr.affine.offset = offset;
	return node1(OTP_OP_affine, attr, x);
}

static otp_attr slope_attr(float slope)
{
	otp_attr attr = NONE;
	attr.slope.slope = slope;
	return attr;
}

otp_node *otp_lrelu(otp_node *x, float slope) { return node1(OTP_OP_lrelu, slope_attr(slope), x); }

otp_node *otp_lrelu_gate(otp_node *x, otp_node *g, float slope)
{
	return node2(OTP_OP_lrelu_gate, slope_attr(slope), x, g);
}

otp_node *otp_silu(otp_node *x) { return node1(OTP_OP_silu, NONE, x); }
otp_node *otp_silu_gate(otp_node *x, otp_node *g) { return node2(OTP_OP_silu_gate, NONE, x, g); }
otp_node *otp_silu_curve(otp_node *x, otp_node *g) { return node2(OTP_OP_silu_curve, NONE, x, g); }
otp_node *otp_sigmoid(otp_node *x) { return node1(OTP_OP_sigmoid, NONE, x); }
otp_node *otp_softplus(otp_node *x) { return node1(OTP_OP_softplus, NONE, x); }
otp_node *otp_exp(otp_node *x) { return node1(OTP_OP_exp, NONE, x); }
otp_node *otp_rsqrt(otp_node *x) { return node1(OTP_OP_rsqrt, NONE, x); }

static otp_attr conv_attr(int stride, int pad, int h, int w)
{
	otp_attr attr = NONE;
	attr.conv.stride = stride;
	attr.conv.pad = pad;
	attr.conv.h = h;
	attr.conv.w = w;
	return attr;
}

otp_node *otp_conv2d(otp_node *x, otp_node *w, int stride, int pad)
{
	return node2(OTP_OP_conv2d, conv_attr(stride, pad, 0, 0), x, w);
}

otp_node *otp_conv2d_bias(otp_node *x, otp_node *w, otp_node *b, int stride, int pad, float slope)
{
	otp_node *in[] = {x, w, b};
	otp_attr attr = conv_attr(stride, pad, 0, 0);
	attr.conv.slope = slope;
	return otp_node_new(OTP_OP_conv2d_bias, attr, in, 3);
}

otp_node *otp_conv2d_merge(otp_node *x, otp_node *w, otp_node *b, otp_node *r, int stride, int pad,
			   float scale)
{
	otp_node *in[] = {x, w, b, r};
	otp_attr attr = conv_attr(stride, pad, 0, 0);
	attr.conv.scale = scale;
	return otp_node_new(OTP_OP_conv2d_merge, attr, in, 4);
}

otp_node *otp_conv2d_dgrad(otp_node *g, otp_node *w, int stride, int pad, int h, int width)
{
	return node2(OTP_OP_conv2d_dgrad, conv_attr(stride, pad, h, width), g, w);
}

otp_node *otp_conv2d_wgrad(otp_node *x, otp_node *g, int stride, int pad, int kh, int kw)
{
	return node2(OTP_OP_conv2d_wgrad, conv_attr(stride, pad, kh, kw), x, g);
}

static otp_attr resample_attr(otp_filter filter, float gain)
{
	otp_attr attr = NONE;
	attr.resample.filter = filter;
	attr.resample.gain = gain;
	attr.resample.scale = 1;
	return attr;
}

otp_node *otp_down2(otp_node *x, otp_filter filter, float gain)
{
	return node1(OTP_OP_down2, resample_attr(filter, gain), x);
}

otp_node *otp_up2(otp_node *x, otp_filter filter, float gain)
{
	return node1(OTP_OP_up2, resample_attr(filter, gain), x);
}

otp_node *otp_matmul(otp_node *a, otp_node *b, bool ta, bool tb)
{
	otp_attr attr = NONE;
	attr.matmul.ta = ta;
	attr.matmul.tb = tb;
	return node2(OTP_OP_matmul, attr, a, b);
}

otp_node *otp_softmax(otp_node *x) { return node1(OTP_OP_softmax, NONE, x); }
otp_node *otp_softmax_gate(otp_node *y, otp_node *g) { return node2(OTP_OP_softmax_gate, NONE, y, g); }

static otp_attr attention_attr(float scale)
{
	otp_attr attr = NONE;
	attr.attention.scale = scale;
	return attr;
}

otp_node *otp_attention(otp_node *qkv, float scale)
{
	return node1(OTP_OP_attention, attention_attr(scale), qkv);
}

otp_node *otp_attention_grad(otp_node *qkv, otp_node *g, float scale)
{
	return node2(OTP_OP_attention_grad, attention_attr(scale), qkv, g);
}

otp_node *otp_norm_stats(otp_node *x, otp_attr attr) { return node1(OTP_OP_norm_stats, attr, x); }

otp_node *otp_norm_apply(otp_node *x, otp_node *stats, otp_node *scale, otp_node *shift, otp_attr attr)
{
	otp_node *in[] = {x, stats, scale, shift};
	return otp_node_new(OTP_OP_norm_apply, attr, in, 4);
}

otp_node *otp_norm_sums(otp_node *x, otp_node *stats, otp_node *scale, otp_node *shift, otp_node *g,
			otp_attr attr)
{
	otp_node *in[] = {x, stats, scale, shift, g};
	return otp_node_new(OTP_OP_norm_sums, attr, in, 5);
}

otp_node *otp_norm_dgrad(otp_node *x, otp_node *stats, otp_node *scale, otp_node *shift, otp_node *g,
			 otp_node *sums, otp_attr attr)
{
	otp_node *in[] = {x, stats, scale, shift, g, sums};
	attr.norm.scale = 1;
	attr.norm.begin = 0;
	attr.norm.count = x->shape.c;
	return otp_node_new(OTP_OP_norm_dgrad, attr, in, 6);
}

static otp_node *norm_dgrad_merge(otp_node *const *in, otp_attr attr, float scale)
{
	attr.norm.scale = scale;
	return otp_node_new(OTP_OP_norm_dgrad_merge, attr, in, 7);
}

static otp_node *lrelu_gate_merge(otp_node *const *in, float slope, float scale)
{
	otp_attr attr = NONE;
	attr.gate.slope = slope;
	attr.gate.scale = scale;
	return otp_node_new(OTP_OP_lrelu_gate_merge, attr, in, 3);
}

static bool takes_a_sum(const otp_node *g)
{
	return g->op == OTP_OP_norm_dgrad || g->op == OTP_OP_lrelu_gate;
}

otp_node *otp_gradient_sum(otp_node *a, otp_node *b)
{
	otp_node *own = takes_a_sum(b) ? b : a, *r = own == b ? a : b, *in[7];
	if (!takes_a_sum(own) || !otp_shape_equal(a->shape, b->shape))
		return otp_add(a, b);
	memcpy((void *)in, (const void *)own->in, (size_t)own->input_count * sizeof *in);
	in[own->input_count] = r;
	return own->op == OTP_OP_norm_dgrad ? norm_dgrad_merge(in, own->attr, 1)
					    : lrelu_gate_merge(in, own->attr.slope.slope, 1);
}

otp_node *otp_gradient_scaled(otp_node *g, float scale)
{
	if (g->op == OTP_OP_norm_dgrad_merge)
		return norm_dgrad_merge(g->in, g->attr, scale * g->attr.norm.scale);
	if (g->op == OTP_OP_lrelu_gate_merge)
		return lrelu_gate_merge(g->in, g->attr.gate.slope, scale * g->attr.gate.scale);
	return otp_affine(g, scale, 0);
}

otp_node *otp_norm(otp_node *x, otp_node *scale, otp_node *shift, int groups, float eps, bool silu)
{
	otp_attr attr = NONE;
	attr.norm.groups = groups;
	attr.norm.eps = eps;
	attr.norm.silu = silu;
	return otp_norm_apply(x, otp_norm_stats(x, attr), scale, shift, attr);
}

otp_node *otp_normal(otp_node *words, otp_shape to, enum otp_purpose purpose)
{
	otp_attr attr = NONE;
	attr.noise.to = to;
	attr.noise.purpose = (uint32_t)purpose;
	return node1(OTP_OP_normal, attr, words);
}

otp_node *otp_gather(otp_node *bytes, otp_node *words, otp_shape to, int stored, int column)
{
	otp_attr attr = NONE;
	attr.gather.to = to;
	attr.gather.stored = stored;
	attr.gather.column = column;
	return node2(OTP_OP_gather, attr, bytes, words);
}

otp_node *otp_record(otp_node *ring, otp_node *row, otp_node *words, int column)
{
	otp_attr attr = NONE;
	attr.record.column = column;
	otp_node *in[] = {ring, row, words};
	return otp_node_new(OTP_OP_record, attr, in, 3);
}

otp_node *otp_squares(otp_node *grads) { return node1(OTP_OP_squares, NONE, grads); }

otp_node *otp_guard(otp_node *guard, otp_node *squares, otp_node *hyper, int kind, float times)
{
	otp_attr attr = NONE;
	attr.guard.kind = kind;
	attr.guard.times = times;
	otp_node *in[] = {guard, squares, hyper};
	return otp_node_new(OTP_OP_guard, attr, in, 3);
}

otp_node *otp_adam(otp_node *state, otp_node *grads, otp_node *hyper, otp_node *guard, otp_attr attr)
{
	otp_node *in[] = {state, grads, hyper, guard};
	return otp_node_new(OTP_OP_adam, attr, in, 4);
}

otp_node *otp_reduce_scatter(otp_node *x, int64_t each, bool empty, bool alike)
{
	otp_attr attr = NONE; /* all of its bytes: attributes are compared */
	attr.deal.each = each;
	attr.deal.empty = empty;
	attr.deal.alike = alike;
	return node1(OTP_OP_reduce_scatter, attr, x);
}

otp_node *otp_all_gather(otp_node *x, int64_t each)
{
	return node1(OTP_OP_all_gather, (otp_attr){.deal = {.each = each}}, x);
}
