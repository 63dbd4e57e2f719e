/* graph: what is computed. Nodes are made in order, so a node's inputs always
 * have smaller ids: creation order is the schedule. A view of a span therefore
 * sees what nodes made before its reader have put there.
 *
 * A node that would compute what an earlier one does is that one: what two rules
 * both need is computed once.
 *
 * Shapes are checked where a node is made (OTP_ASSERT: a wrong shape is our
 * bug). Gradients are graph too: otp_grad returns nodes, never numbers.
 */
#ifndef OTP_GRAPH_H
#define OTP_GRAPH_H

#include "graph/op.h"

/* A leaf's or an output's home. Spans are numbered by whoever builds the
 * graph; their memory is given when a program is made. */
enum { OTP_SPAN_NONE = -1, OTP_MAX_SPANS = 8 };

typedef struct otp_graph otp_graph;

typedef struct otp_node {
	otp_graph *graph;
	int id;
	otp_op op;
	otp_type type;
	otp_shape shape;
	otp_attr attr;
	int input_count;
	struct otp_node *in[OTP_MAX_INPUTS];
	const char *name;    /* leaves only, else NULL */
	int span;	     /* leaves in a span, outputs: its number; else OTP_SPAN_NONE */
	int64_t span_offset; /* elements from the span's start */
	bool output;	     /* computed into the span, or (span NONE) into memory of its own */
	bool constant;	     /* a leaf of one element that holds `value` in every run */
	float value;
	struct otp_node *users, *next_user; /* nodes whose first input this is, the last one made first */
	struct otp_node *total; /* total.c: what it adds up to, where that was asked for; else NULL */
} otp_node;

otp_graph *otp_graph_new(void);
void otp_graph_free(otp_graph *g);
/* From now on equal nodes stay apart: for those who time what they ask for more than once. */
void otp_graph_keep_equals(otp_graph *g);
int otp_graph_size(const otp_graph *g);
otp_node *otp_graph_node(const otp_graph *g, int id);

/* Leaves. An input has memory in the program, written before a run; a view
 * reads `shape` elements of a span at an offset (parameters, state). */
otp_node *otp_input(otp_graph *g, const char *name, otp_type type, otp_shape shape);
otp_node *otp_view(otp_graph *g, const char *name, int span, int64_t offset, otp_shape shape);
otp_node *otp_view_words(otp_graph *g, const char *name, int span, int64_t offset,
			 otp_shape shape);	   /* of u32 */
otp_node *otp_constant(otp_graph *g, float value); /* (1, 1, 1, 1) */

/* Keep x after the run: in a span at an offset, or readable through the
 * program (span OTP_SPAN_NONE). Returns the node that holds it, which is a
 * copy of x where x itself cannot be placed there. */
otp_node *otp_output(otp_node *x, int span, int64_t offset);

/* A node of any op, or an equal one that there is; the functions below are its typed spellings. */
otp_node *otp_node_new(otp_op op, otp_attr attr, otp_node *const *in, int input_count);

otp_node *otp_copy(otp_node *x);
otp_node *otp_reshape(otp_node *x, otp_shape to);
otp_node *otp_sum(otp_node *x, otp_shape to);
otp_node *otp_spread(otp_node *x, otp_shape to);
otp_node *otp_concat(otp_node *a, otp_node *b, otp_axis axis);
otp_node *otp_slice(otp_node *x, otp_axis axis, int begin, int count);
otp_node *otp_pad(otp_node *x, otp_axis axis, int begin, int count);

otp_node *otp_add(otp_node *a, otp_node *b);
otp_node *otp_mul(otp_node *a, otp_node *b);
otp_node *otp_affine(otp_node *x, float scale, float offset);
otp_node *otp_lrelu(otp_node *x, float slope);
otp_node *otp_lrelu_gate(otp_node *x, otp_node *g, float slope);
otp_node *otp_silu(otp_node *x);
otp_node *otp_silu_gate(otp_node *x, otp_node *g);
otp_node *otp_silu_curve(otp_node *x, otp_node *g);
otp_node *otp_sigmoid(otp_node *x);
otp_node *otp_softplus(otp_node *x);
otp_node *otp_exp(otp_node *x);
otp_node *otp_rsqrt(otp_node *x);

otp_node *otp_conv2d(otp_node *x, otp_node *w, int stride, int pad);
otp_node *otp_conv2d_bias(otp_node *x, otp_node *w, otp_node *b, int stride, int pad, float slope);
otp_node *otp_conv2d_merge(otp_node *x, otp_node *w, otp_node *b, otp_node *r, int stride, int pad,
			   float scale);
otp_node *otp_conv2d_dgrad(otp_node *g, otp_node *w, int stride, int pad, int h, int width);
otp_node *otp_conv2d_wgrad(otp_node *x, otp_node *g, int stride, int pad, int kh, int kw);

otp_node *otp_down2(otp_node *x, otp_filter filter, float gain);
otp_node *otp_up2(otp_node *x, otp_filter filter, float gain);

otp_node *otp_matmul(otp_node *a, otp_node *b, bool ta, bool tb);
otp_node *otp_softmax(otp_node *x);
otp_node *otp_softmax_gate(otp_node *y, otp_node *g);
/* qkv: (n, h, tokens, 3c) -> (n, h, tokens, c) */
otp_node *otp_attention(otp_node *qkv, float scale);
otp_node *otp_attention_grad(otp_node *qkv, otp_node *g, float scale);

/* y = act(scale (x - mean)/std + shift) over `groups` groups of channels;
 * scale and shift are (n or 1, 1, 1, c). Makes the statistics node itself. */
otp_node *otp_norm(otp_node *x, otp_node *scale, otp_node *shift, int groups, float eps, bool silu);
/* Its pieces, used by gradient rules and tests. */
otp_node *otp_norm_stats(otp_node *x, otp_attr attr);
otp_node *otp_norm_apply(otp_node *x, otp_node *stats, otp_node *scale, otp_node *shift, otp_attr attr);
otp_node *otp_norm_sums(otp_node *x, otp_node *stats, otp_node *scale, otp_node *shift, otp_node *g,
			otp_attr attr);
otp_node *otp_norm_dgrad(otp_node *x, otp_node *stats, otp_node *scale, otp_node *shift, otp_node *g,
			 otp_node *sums, otp_attr attr);

/* Gradients a + b of one tensor, and scale g, in as few passes as there is an op for: norm_dgrad and
 * lrelu_gate take what reaches x elsewhere, and a scale, in their own. What is then not used any more stays
 * in the graph, and no program computes it. */
otp_node *otp_gradient_sum(otp_node *a, otp_node *b);
otp_node *otp_gradient_scaled(otp_node *g, float scale);
/* What g, (n, h, w, c), adds up to over samples and positions, (1, 1, 1, c): from sums that there are, where
 * they say it, else by a pass over g. */
otp_node *otp_gradient_total(otp_node *g);

/* words: (n, 1, 1, 4 or more) u32 */
otp_node *otp_normal(otp_node *words, otp_shape to, enum otp_purpose purpose);
/* to: (n, h, w, c); stored: channels of the bytes, c or 1; column: the pick's among a sample's words. */
otp_node *otp_gather(otp_node *bytes, otp_node *words, otp_shape to, int stored, int column);

otp_node *otp_record(otp_node *ring, otp_node *row, otp_node *words, int column);
otp_node *otp_squares(otp_node *grads);
/* kind: which row of the guard; times: how many times its median is still believed. */
otp_node *otp_guard(otp_node *guard, otp_node *squares, otp_node *hyper, int kind, float times);
otp_node *otp_adam(otp_node *state, otp_node *grads, otp_node *hyper, otp_node *guard, otp_attr attr);
/* each: columns of a process's own, the last has the rest; empty: x counts as zeros; alike: every process has
 * the same calls before this one, so that the sum may begin with what is there. */
otp_node *otp_reduce_scatter(otp_node *x, int64_t each, bool empty, bool alike);
otp_node *otp_all_gather(otp_node *x, int64_t each);

/* d y / d wrt[i] for a one-element y, as nodes (NULL where y does not depend
 * on wrt[i]). Differentiating the result again is allowed and exact. */
void otp_grad(otp_node *y, otp_node *const *wrt, int count, otp_node **grads);

/* The rule table's type: given y, its gradient g, and which inputs are wanted,
 * set gx[i] (leave NULL where the input gets none). Rules live in op_grad.c. */
typedef void otp_grad_rule(otp_node *y, otp_node *g, const bool *wanted, otp_node **gx);
extern otp_grad_rule *const otp_grad_rules[OTP_OP_COUNT];

#endif
