/* graphs: random ones of every op that plans treat in its own way, and memory with random values. */
#include "plan/plan.h"

#include <string.h>

typedef struct dice {
	otp_stream stream;
	uint32_t thrown;
} dice;

static int throw_dice(dice *d, int sides)
{
	return (int)(otp_random_u32(d->stream, OTP_PURPOSE_SYNTH, d->thrown++) % (uint32_t)sides);
}

const otp_shape RANDOM_SHAPE = {2, 3, 5, 7}; /* no multiple of the planner's 16 */

static otp_node *any(random_graph *r, dice *d)
{
	/* Mostly the latest, so that lives are short and memory is passed on. */
	int back = throw_dice(d, throw_dice(d, 3) ? 4 : r->count);
	return r->nodes[back < r->count ? r->count - 1 - back : 0];
}

static otp_node *any_like(random_graph *r, dice *d, otp_shape s)
{
	for (int tries = 0; tries < 8; tries++) {
		otp_node *x = any(r, d);
		if (otp_shape_equal(x->shape, s))
			return x;
	}
	return NULL;
}

/* What reads a slice of wider rows, of 16 channels of 32. */
static otp_node *part_of_rows(otp_node *a, otp_node *b, int how)
{
	otp_node *all = otp_concat(otp_pad(a, OTP_AXIS_C, 0, 16), otp_pad(b, OTP_AXIS_C, 0, 16), OTP_AXIS_C);
	otp_node *second = otp_slice(all, OTP_AXIS_C, 16, 16);
	otp_shape each = otp_shape4(a->shape.n, 1, 1, 16);
	switch (how) {
	case 0:
		return otp_affine(otp_add(second, otp_slice(all, OTP_AXIS_C, 0, 16)), 0.5f, 0);
	case 1:
		return otp_affine(second, 0.5f, 0.25f);
	case 2:
		return otp_affine(otp_sum(otp_up2(second, OTP_FILTER_FIR, 1), each),
				  0.25f / (float)(a->shape.h * a->shape.w), 0);
	default:
		all = otp_affine(otp_sum(all, otp_shape4(a->shape.n, 1, 1, 32)),
				 1.0f / (float)(a->shape.h * a->shape.w), 0);
		return otp_affine(otp_sum(otp_slice(all, OTP_AXIS_C, 16, 16), otp_shape4(1, 1, 1, 16)),
				  1.0f / (float)a->shape.n, 0);
	}
}

/* What is written into a concat, or beside what is copied there. */
static otp_node *of_resampled(otp_node *a, otp_node *b, int how)
{
	otp_node *x = otp_up2(otp_pad(a, OTP_AXIS_C, 0, 16), OTP_FILTER_BOX, 4);
	otp_node *y = otp_up2(otp_pad(b, OTP_AXIS_C, 0, 16), OTP_FILTER_FIR, 4);
	otp_node *z = otp_affine(y, 0.5f, 0);
	otp_node *all =
	    how == 0   ? otp_concat(x, otp_up2(otp_pad(b, OTP_AXIS_C, 0, 16), OTP_FILTER_BOX, 2), OTP_AXIS_C)
	    : how == 1 ? otp_concat(x, z, OTP_AXIS_C)
		       : otp_concat(z, x, OTP_AXIS_C);
	return otp_affine(otp_sum(all, otp_shape4(a->shape.n, 1, 1, 32)),
			  0.25f / (float)(a->shape.h * a->shape.w), 0);
}

/* Sums of two norms, with those of a third behind them, and what reads one of them in its place. */
static otp_node *of_norms(otp_node *a, otp_node *b)
{
	otp_attr attr = {.norm = {.groups = 4, .eps = 1, .silu = true}};
	otp_node *x = otp_pad(a, OTP_AXIS_C, 0, 16), *g = otp_pad(b, OTP_AXIS_C, 0, 16);
	otp_node *scale = otp_affine(otp_sum(x, otp_shape4(x->shape.n, 1, 1, 16)),
				     1.0f / (float)(x->shape.h * x->shape.w), 0);
	otp_node *stats = otp_norm_stats(x, attr);
	otp_node *one = otp_norm_sums(x, stats, scale, scale, g, attr);
	otp_node *two = otp_norm_sums(x, stats, scale, scale, otp_affine(g, 0.5f, 0), attr);
	otp_node *three = otp_norm_sums(x, stats, scale, scale, otp_affine(g, -0.5f, 0), attr);
	otp_node *gx = otp_norm_dgrad(x, stats, scale, scale, g, two, attr);
	otp_node *all = otp_concat(otp_concat(one, two, OTP_AXIS_C), three, OTP_AXIS_C);
	otp_node *mean = otp_affine(otp_sum(all, otp_shape4(all->shape.n, 1, 1, 1)), 1e-4f, 0);
	return otp_affine(otp_add(gx, mean), 0.1f, 0);
}

static otp_node *grow(random_graph *r, dice *d)
{
	otp_node *a = any(r, d), *b = any_like(r, d, a->shape);
	int c = a->shape.c;
	b = b ? b : a;
	switch (throw_dice(d, 16)) {
	case 0:
		return otp_mul(a, b);
	case 1:
		return otp_affine(otp_add(a, b), 0.5f, 0);
	case 2:
		return otp_lrelu_gate(a, b, 0.2f);
	case 3:
		return otp_silu(a);
	case 4:
		return otp_lrelu(a, 0.2f);
	case 5:
		return otp_softmax(a);
	case 6:
		return otp_copy(a);
	case 7:
		return otp_reshape(a, otp_shape4(a->shape.h, a->shape.n, a->shape.w, c));
	case 8:
		return c < 20 ? otp_concat(a, b, OTP_AXIS_C) : otp_slice(a, OTP_AXIS_C, 3, 7);
	case 9:
		return c > 2 ? otp_slice(a, OTP_AXIS_C, 1, c - 1) : otp_pad(a, OTP_AXIS_C, 1, c + 1);
	case 10:
		return otp_affine(otp_sum(a, otp_shape4(a->shape.n, 1, 1, c)),
				  1.0f / (float)(a->shape.h * a->shape.w), 0);
	case 11: /* 16 channels: most samples lie where a view may begin */
		return a->shape.n > 1 && c <= 16
			   ? otp_slice(otp_pad(a, OTP_AXIS_C, 0, 16), OTP_AXIS_N, 1, a->shape.n - 1)
			   : otp_copy(a);
	case 12:
		return c <= 16 ? part_of_rows(a, b, throw_dice(d, 4)) : otp_copy(a);
	case 13:
		return c <= 16 ? of_norms(a, b) : otp_copy(a);
	case 14:
		return c <= 16 ? of_resampled(a, b, throw_dice(d, 3)) : otp_copy(a);
	default:
		return otp_affine(a, -0.75f, 0.25f);
	}
}

static void keep(random_graph *r, dice *d, otp_node *x)
{
	bool in_span = throw_dice(d, 2);
	otp_node *kept = otp_output(x, in_span ? RANDOM_SPAN : OTP_SPAN_NONE, in_span ? r->span_elements : 0);
	if (in_span)
		r->span_elements += otp_shape_count(x->shape);
	r->kept[r->kept_count++] = kept;
}

random_graph random_graph_make(uint32_t which)
{
	dice d = {.stream = otp_stream_make(which, 0, 0)};
	random_graph r = {.graph = otp_graph_new()};
	for (int i = 0; i < LEAVES - 1; i++)
		r.nodes[r.count++] = r.leaf[i] = otp_input(r.graph, "leaf", OTP_F32, RANDOM_SHAPE);
	r.nodes[r.count++] = otp_view(r.graph, "view", VIEW_SPAN, 32, RANDOM_SHAPE);
	while (r.count < RANDOM_NODES + LEAVES) {
		otp_node *x = grow(&r, &d);
		r.nodes[r.count++] = x;
		if (throw_dice(&d, 12) == 0)
			keep(&r, &d, x);
	}
	keep(&r, &d, r.nodes[r.count - 1]);
	return r;
}

/* Every other graph with any computed node in bfloat16, but for what is kept. */
otp_type *random_types(const otp_graph *g, uint32_t which)
{
	dice d = {.stream = otp_stream_make(which, 1, 0)};
	otp_type *types = otp_storage_types(g, false, 0);
	for (int id = 0; which % 2 && id < otp_graph_size(g); id++) {
		const otp_node *node = otp_graph_node(g, id);
		if (node->op == OTP_OP_reshape)
			types[id] = types[node->in[0]->id];
		else if (node->op != OTP_OP_LEAF && !node->output && node->op != OTP_OP_norm_stats &&
			 node->op != OTP_OP_norm_sums && throw_dice(&d, 2))
			types[id] = OTP_BF16;
		bool norm = strncmp(otp_op_name(node->op), "norm_", 5) == 0;
		for (int i = 1; norm && i < node->input_count; i++)
			if (i != 4) /* all but the gradient are statistics, channels and sums */
				types[node->in[i]->id] = OTP_F32;
	}
	return types;
}

void fill(float *values, int64_t count, uint32_t which)
{
	for (int64_t i = 0; i < count; i++)
		values[i] =
		    2 * otp_random_uniform(otp_stream_make(which, 7, 0), OTP_PURPOSE_SYNTH, (uint32_t)i) - 1;
}

void *make_span(const place *at, int64_t elements, uint32_t which)
{
	float *host = otp_calloc((size_t)elements, sizeof *host);
	fill(host, elements, which);
	void *span = at->backend->alloc(at->device, (size_t)elements * at->backend->element_bytes[OTP_F32]);
	at->backend->upload(at->device, span, OTP_F32, host, elements);
	otp_free(host);
	return span;
}

bool same_bytes(const place *at, const void *a, const void *b, int64_t elements)
{
	return memcmp(a, b, (size_t)elements * at->backend->element_bytes[OTP_F32]) == 0;
}
