#include "graph/fuse.h"

#include <string.h>

typedef struct fusing {
	otp_graph *graph;
	int *readers; /* inputs of nodes that are needed, by node */
	bool *needed;
} fusing;

static void count_readers(fusing *f)
{
	for (int id = otp_graph_size(f->graph) - 1; id >= 0; id--) {
		const otp_node *node = otp_graph_node(f->graph, id);
		f->needed[id] |= node->output;
		for (int i = 0; i < node->input_count && f->needed[id]; i++) {
			f->needed[node->in[i]->id] = true;
			f->readers[node->in[i]->id]++;
		}
	}
}

/* All that read `old` read `replacement`, which is made no later. */
static void replace(fusing *f, otp_node *old, otp_node *replacement)
{
	for (int id = old->id + 1; id < otp_graph_size(f->graph); id++) {
		otp_node *node = otp_graph_node(f->graph, id);
		for (int i = 0; i < node->input_count; i++)
			if (node->in[i] == old)
				node->in[i] = replacement;
	}
	f->readers[replacement->id] += f->readers[old->id] - 1;
	f->readers[old->id] = 0;
	f->needed[old->id] = false;
}

/* Whether one node alone reads it, and nobody after the run. */
static bool is_between(const fusing *f, const otp_node *node)
{
	return f->readers[node->id] == 1 && !node->output;
}

static bool is_norm_gradient(const otp_node *node)
{
	return node->op == OTP_OP_norm_dgrad || node->op == OTP_OP_norm_dgrad_merge ||
	       node->op == OTP_OP_norm_dgrad_merge_two;
}

static bool is_resampling(const otp_node *node)
{
	return node->op == OTP_OP_down2 || node->op == OTP_OP_up2 || node->op == OTP_OP_up2_merge;
}

static bool is_slice_of_channels(const otp_node *node)
{
	return node->op == OTP_OP_slice && node->attr.slice.axis == OTP_AXIS_C;
}

/* Whether x is read in slices of channels alone, that do not overlap. */
static bool is_dealt_out(const fusing *f, const otp_node *x)
{
	int channels = 0;
	for (int id = x->id + 1; id < otp_graph_size(f->graph); id++) {
		const otp_node *node = otp_graph_node(f->graph, id);
		for (int i = 0; i < node->input_count && f->needed[id]; i++) {
			if (node->in[i] != x)
				continue;
			if (!is_slice_of_channels(node))
				return false;
			channels += node->attr.slice.count;
		}
	}
	return channels <= x->shape.c;
}

/* Of a gradient that is read in slices of channels each is made by itself: where it is wanted, and dense. */
static void deal_out(fusing *f, otp_node *x)
{
	if (x->output || !is_dealt_out(f, x))
		return;
	for (int id = x->id + 1; id < otp_graph_size(f->graph); id++) {
		otp_node *node = otp_graph_node(f->graph, id);
		if (!f->needed[id] || !is_slice_of_channels(node) || node->in[0] != x)
			continue;
		int begin = x->attr.norm.begin + node->attr.slice.begin, count = node->attr.slice.count;
		node->op = x->op;
		node->attr = x->attr;
		node->attr.norm.begin = begin;
		node->attr.norm.count = count;
		node->input_count = x->input_count;
		memcpy((void *)node->in, (const void *)x->in, sizeof node->in);
		for (int i = 0; i < node->input_count; i++)
			f->readers[node->in[i]->id]++;
	}
	for (int i = 0; i < x->input_count; i++)
		f->readers[x->in[i]->id]--;
	f->needed[x->id] = false;
}

/* scale x, where x can be made so. */
static void fuse_factor(fusing *f, otp_node *node)
{
	otp_node *x = node->in[0];
	if (node->attr.affine.offset != 0 || node->output || !is_between(f, x))
		return;
	if (is_norm_gradient(x) && x->attr.norm.scale == 1)
		x->attr.norm.scale = node->attr.affine.scale;
	else if (is_resampling(x) && x->attr.resample.scale == 1)
		x->attr.resample.scale = node->attr.affine.scale;
	else
		return;
	replace(f, node, x);
}

/* a + up2(x) */
static void fuse_upsampling(fusing *f, otp_node *node)
{
	for (int i = 0; i < 2; i++) {
		otp_node *up = node->in[i], *other = node->in[1 - i];
		if (up->op != OTP_OP_up2 || !is_between(f, up) || up->attr.resample.scale != 1 ||
		    !otp_shape_equal(other->shape, up->shape))
			continue;
		node->op = OTP_OP_up2_merge;
		node->attr = up->attr;
		node->in[0] = up->in[0];
		node->in[1] = other;
		f->needed[up->id] = false;
		f->readers[up->id] = 0;
		return;
	}
}

/* norm_dgrad + (a + b) */
static void fuse_sum(fusing *f, otp_node *node)
{
	otp_node *sum = node->in[6], *a = sum->in[0], *b = sum->in[1];
	if (sum->op != OTP_OP_add || !is_between(f, sum) || !otp_shape_equal(a->shape, b->shape))
		return;
	node->op = OTP_OP_norm_dgrad_merge_two;
	node->in[6] = a;
	node->in[7] = b;
	node->input_count = 8;
	f->needed[sum->id] = false;
	f->readers[sum->id] = 0;
}

void otp_graph_fuse(otp_graph *g)
{
	size_t size = (size_t)otp_graph_size(g);
	fusing f = {g, otp_calloc(size, sizeof *f.readers), otp_calloc(size, sizeof *f.needed)};
	count_readers(&f);
	for (int id = 0; id < otp_graph_size(g); id++) {
		otp_node *node = otp_graph_node(g, id);
		if (!f.needed[id])
			continue;
		if (node->op == OTP_OP_add)
			fuse_upsampling(&f, node);
		else if (node->op == OTP_OP_affine)
			fuse_factor(&f, node);
		else if (node->op == OTP_OP_norm_dgrad_merge)
			fuse_sum(&f, node);
		if (is_norm_gradient(node))
			deal_out(&f, node);
	}
	otp_free(f.readers);
	otp_free(f.needed);
}
