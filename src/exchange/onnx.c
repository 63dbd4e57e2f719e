/* onnx: the generator's graph, node by node. Tensors (n, h, w, c) become (n, c, h, w), which is what ONNX's
 * convolutions take; ops on planes or on the order of memory turn theirs back and forth. */
#include "exchange/writer.h"
#include "ot/objective.h"
#include "ot/smoothing.h"

#include <string.h>

typedef struct translation {
	otp_onnx *o;
	const otp_generator *g;
	const otp_graph *twin; /* the same graph for one sample more, which tells N among the dimensions */
	const char **names;    /* by node */
} translation;

typedef const char *rule(translation *t, const otp_node *y, const char *const *in);

/* ---- shapes ---- */

enum { RANK = 4 };

/* Dimensions of a node as (n, h, w, c), -1 for the one that grows with N. */
static void dims_of(const translation *t, const otp_node *x, int64_t dims[RANK])
{
	const otp_node *twin = otp_graph_node(t->twin, x->id);
	const int a[] = {x->shape.n, x->shape.h, x->shape.w, x->shape.c};
	const int b[] = {twin->shape.n, twin->shape.h, twin->shape.w, twin->shape.c};
	for (int i = 0; i < RANK; i++)
		dims[i] = a[i] == b[i] ? a[i] : -1;
}

static const char *reshaped(translation *t, const char *x, int count, const int64_t *dims)
{
	return otp_onnx_put(t->o, "Reshape", x, otp_onnx_list(t->o, count, dims), NULL);
}

static const char *turned(translation *t, const char *x, int a, int b, int c, int d)
{
	const int64_t order[RANK] = {a, b, c, d};
	const char *y = otp_onnx_put(t->o, "Transpose", x, NULL);
	otp_onnx_ints(t->o, "perm", RANK, order);
	return y;
}

static const char *to_planes(translation *t, const char *x) { return turned(t, x, 0, 2, 3, 1); }
static const char *from_planes(translation *t, const char *x) { return turned(t, x, 0, 3, 1, 2); }

static int axis_of(otp_axis axis)
{
	static const int AXES[] = {[OTP_AXIS_N] = 0, [OTP_AXIS_H] = 2, [OTP_AXIS_W] = 3, [OTP_AXIS_C] = 1};
	return AXES[axis];
}

/* ---- structure ---- */

static const char *same(translation *t, const otp_node *y, const char *const *in)
{
	(void)y;
	return otp_onnx_put(t->o, "Identity", in[0], NULL);
}

static const char *reshape(translation *t, const otp_node *y, const char *const *in)
{
	int64_t dims[RANK];
	dims_of(t, y, dims);
	return from_planes(t, reshaped(t, to_planes(t, in[0]), RANK, dims));
}

static const char *sum(translation *t, const otp_node *y, const char *const *in)
{
	const otp_shape from = y->in[0]->shape, to = y->shape;
	const bool summed[] = {from.n != to.n, from.c != to.c, from.h != to.h, from.w != to.w};
	int64_t axes[RANK];
	int count = 0;
	for (int i = 0; i < RANK; i++)
		if (summed[i])
			axes[count++] = i;
	return otp_onnx_put(t->o, "ReduceSum", in[0], otp_onnx_list(t->o, count, axes), NULL);
}

static const char *concat(translation *t, const otp_node *y, const char *const *in)
{
	const char *made = otp_onnx_put(t->o, "Concat", in[0], in[1], NULL);
	otp_onnx_int(t->o, "axis", axis_of(y->attr.axis.axis));
	return made;
}

static const char *slice(translation *t, const otp_node *y, const char *const *in)
{
	int64_t begin = y->attr.slice.begin, end = begin + y->attr.slice.count,
		axis = axis_of(y->attr.slice.axis);
	return otp_onnx_put(t->o, "Slice", in[0], otp_onnx_list(t->o, 1, &begin),
			    otp_onnx_list(t->o, 1, &end), otp_onnx_list(t->o, 1, &axis), NULL);
}

/* ---- pointwise ---- */

static const char *add(translation *t, const otp_node *y, const char *const *in)
{
	(void)y;
	return otp_onnx_put(t->o, "Add", in[0], in[1], NULL);
}

static const char *mul(translation *t, const otp_node *y, const char *const *in)
{
	(void)y;
	return otp_onnx_put(t->o, "Mul", in[0], in[1], NULL);
}

static const char *scaled(translation *t, const char *x, float scale)
{
	return scale == 1 ? x : otp_onnx_put(t->o, "Mul", x, otp_onnx_number(t->o, scale), NULL);
}

static const char *affine(translation *t, const otp_node *y, const char *const *in)
{
	const char *x = scaled(t, in[0], y->attr.affine.scale);
	return otp_onnx_put(t->o, "Add", x, otp_onnx_number(t->o, y->attr.affine.offset), NULL);
}

static const char *leaky(translation *t, const char *x, float slope)
{
	if (slope == 1)
		return x;
	const char *y = otp_onnx_put(t->o, "LeakyRelu", x, NULL);
	otp_onnx_float(t->o, "alpha", slope);
	return y;
}

static const char *lrelu(translation *t, const otp_node *y, const char *const *in)
{
	return leaky(t, in[0], y->attr.slope.slope);
}

static const char *silu_of(translation *t, const char *x)
{
	return otp_onnx_put(t->o, "Mul", x, otp_onnx_put(t->o, "Sigmoid", x, NULL), NULL);
}

static const char *silu(translation *t, const otp_node *y, const char *const *in)
{
	(void)y;
	return silu_of(t, in[0]);
}

static const char *rsqrt(translation *t, const otp_node *y, const char *const *in)
{
	(void)y;
	return otp_onnx_put(t->o, "Reciprocal", otp_onnx_put(t->o, "Sqrt", in[0], NULL), NULL);
}

/* ---- convolution and resampling ---- */

static void set_window(translation *t, int kernel, int stride, int pad, int groups)
{
	const int64_t kernels[] = {kernel, kernel}, strides[] = {stride, stride},
		      pads[] = {pad, pad, pad, pad};
	otp_onnx_ints(t->o, "kernel_shape", 2, kernels);
	otp_onnx_ints(t->o, "strides", 2, strides);
	otp_onnx_ints(t->o, "pads", 4, pads);
	otp_onnx_int(t->o, "group", groups);
}

static const char *conv2d(translation *t, const otp_node *y, const char *const *in)
{
	const char *made = otp_onnx_put(t->o, "Conv", in[0], in[1], NULL);
	set_window(t, y->in[1]->shape.h, y->attr.conv.stride, y->attr.conv.pad, 1);
	return made;
}

static const char *conv2d_bias(translation *t, const otp_node *y, const char *const *in)
{
	const char *sums = otp_onnx_put(t->o, "Add", conv2d(t, y, in), in[2], NULL);
	return leaky(t, sums, y->attr.conv.slope);
}

static const char *conv2d_merge(translation *t, const otp_node *y, const char *const *in)
{
	const char *sums = otp_onnx_put(t->o, "Add", conv2d(t, y, in), in[2], NULL);
	return scaled(t, otp_onnx_put(t->o, "Add", sums, in[3], NULL), y->attr.conv.scale);
}

/* What stride and kernel alone leave undecided of the image's size is added at its end. */
static const char *conv2d_dgrad(translation *t, const otp_node *y, const char *const *in)
{
	int k = y->in[1]->shape.h, stride = y->attr.conv.stride, pad = y->attr.conv.pad;
	const int64_t more[] = {y->shape.h - ((y->in[0]->shape.h - 1) * stride - 2 * pad + k),
				y->shape.w - ((y->in[0]->shape.w - 1) * stride - 2 * pad + k)};
	const char *made = otp_onnx_put(t->o, "ConvTranspose", in[0], in[1], NULL);
	set_window(t, k, stride, pad, 1);
	otp_onnx_ints(t->o, "output_padding", 2, more);
	return made;
}

/* A channel's own convolution with the filter's taps at samples -1 to 2, zero outside. */
static const char *resampled(translation *t, const otp_node *y, const char *x, const char *type)
{
	enum { TAPS = 4 };
	static const float ALONG[][TAPS] = {
	    [OTP_FILTER_BOX] = {0, 0.5f, 0.5f, 0}, [OTP_FILTER_FIR] = {0.125f, 0.375f, 0.375f, 0.125f}};
	const float *tap = ALONG[y->attr.resample.filter];
	int channels = y->shape.c;
	float *w = otp_calloc((size_t)channels * TAPS * TAPS, sizeof *w);
	for (int i = 0; i < channels * TAPS * TAPS; i++)
		w[i] = y->attr.resample.gain * tap[i / TAPS % TAPS] * tap[i % TAPS];
	const char *made = otp_onnx_put(
	    t->o, type, x, otp_onnx_floats(t->o, NULL, RANK, (const int64_t[]){channels, 1, TAPS, TAPS}, w),
	    NULL);
	set_window(t, TAPS, 2, 1, channels);
	otp_free(w);
	return made;
}

static const char *down2(translation *t, const otp_node *y, const char *const *in)
{
	return resampled(t, y, in[0], "Conv");
}

static const char *up2(translation *t, const otp_node *y, const char *const *in)
{
	return resampled(t, y, in[0], "ConvTranspose");
}

/* ---- matrices ---- */

static const char *matmul(translation *t, const otp_node *y, const char *const *in)
{
	const char *a = y->attr.matmul.ta ? turned(t, in[0], 0, 2, 1, 3) : to_planes(t, in[0]);
	const char *b = y->attr.matmul.tb ? turned(t, in[1], 0, 2, 1, 3) : to_planes(t, in[1]);
	return from_planes(t, otp_onnx_put(t->o, "MatMul", a, b, NULL));
}

static const char *channels(translation *t, const char *x, int64_t begin, int64_t count)
{
	int64_t end = begin + count, axis = 1;
	return otp_onnx_put(t->o, "Slice", x, otp_onnx_list(t->o, 1, &begin), otp_onnx_list(t->o, 1, &end),
			    otp_onnx_list(t->o, 1, &axis), NULL);
}

static const char *attention(translation *t, const otp_node *y, const char *const *in)
{
	int c = y->shape.c;
	const char *q = to_planes(t, channels(t, in[0], 0, c));
	const char *k = turned(t, channels(t, in[0], c, c), 0, 2, 1, 3);
	const char *v = to_planes(t, channels(t, in[0], 2 * c, c));
	const char *alike = otp_onnx_put(t->o, "MatMul", q, k, NULL);
	const char *shares = otp_onnx_put(t->o, "Softmax", scaled(t, alike, y->attr.attention.scale), NULL);
	otp_onnx_int(t->o, "axis", -1);
	return from_planes(t, otp_onnx_put(t->o, "MatMul", shares, v, NULL));
}

/* ---- group normalisation: of each group as if it were one channel ---- */

static const char *norm_apply(translation *t, const otp_node *y, const char *const *in)
{
	int groups = y->attr.norm.groups;
	int64_t dims[RANK], count = groups;
	dims_of(t, y, dims);
	/* 0: as it is */
	const int64_t grouped[] = {0, groups, -1}, whole[] = {dims[0], dims[3], dims[1], dims[2]};
	float *ones = otp_calloc((size_t)groups, sizeof *ones),
	      *zeros = otp_calloc((size_t)groups, sizeof *zeros);
	for (int i = 0; i < groups; i++)
		ones[i] = 1;
	const char *x = otp_onnx_put(t->o, "InstanceNormalization", reshaped(t, in[0], 3, grouped),
				     otp_onnx_floats(t->o, NULL, 1, &count, ones),
				     otp_onnx_floats(t->o, NULL, 1, &count, zeros), NULL);
	otp_onnx_float(t->o, "epsilon", y->attr.norm.eps);
	otp_free(ones);
	otp_free(zeros);
	x = reshaped(t, x, RANK, whole);
	x = otp_onnx_put(t->o, "Add", otp_onnx_put(t->o, "Mul", x, in[2], NULL), in[3], NULL);
	return y->attr.norm.silu ? silu_of(t, x) : x;
}

/* ---- leaves ---- */

/* What the graph takes from outside: pictures as they are, vectors (N, d) as pictures of one pixel. */
static const char *taken(translation *t, const char *name, otp_shape s)
{
	bool vector = s.h == 1 && s.w == 1;
	const int64_t dims[] = {0, s.c, s.h, s.w}, whole[] = {-1, s.c, 1, 1};
	const char *x = otp_onnx_input(t->o, name, vector ? 2 : RANK, dims);
	return vector ? reshaped(t, x, RANK, whole) : x;
}

static const char *values(translation *t, const char *name, otp_shape s, const float *from)
{
	const int64_t dims[] = {s.n, s.c, s.h, s.w};
	float *to = otp_calloc((size_t)otp_shape_count(s), sizeof *to);
	otp_exchange_turn(from, s, to);
	const char *made = otp_onnx_floats(t->o, name, RANK, dims, to);
	otp_free(to);
	return made;
}

static const char *leaf(translation *t, const otp_node *x, const otp_step_inputs *in)
{
	const otp_stored *f = &t->g->facts;
	float numbers[OTP_HYPER_COUNT] = {0};
	numbers[OTP_NUMBER_KEEP] = (float)otp_smoothing_keep(f->smoothing, f->sigma);
	numbers[OTP_NUMBER_SIGMA] = (float)f->sigma;
	if (x == in->eps && f->sigma == 0 && !f->arch.condition_noise)
		return otp_onnx_number(t->o, 0); /* it smooths nothing, and nothing else sees it */
	if (x == in->x || x == in->eps)
		return taken(t, x == in->x ? "x" : "eps", x->shape);
	if (x == in->numbers)
		return values(t, "numbers", x->shape, numbers);
	if (x->constant)
		return otp_onnx_number(t->o, x->value);
	OTP_ASSERT(x->span == otp_state_span(OTP_TRANSPORT), "a leaf %s", x->name);
	return values(t, x->name, x->shape, t->g->row + x->span_offset);
}

/* Drawn within otplan, given from outside here. */
static const char *normal(translation *t, const otp_node *y, const char *const *in)
{
	(void)in;
	OTP_ASSERT(y->attr.noise.purpose == OTP_PURPOSE_LATENT, "noise of purpose %u", y->attr.noise.purpose);
	return taken(t, "z", y->shape);
}

/* ---- the graph ---- */

static rule *const RULES[OTP_OP_COUNT] = {
    [OTP_OP_copy] = same,
    [OTP_OP_reshape] = reshape,
    [OTP_OP_sum] = sum,
    [OTP_OP_concat] = concat,
    [OTP_OP_slice] = slice,
    [OTP_OP_add] = add,
    [OTP_OP_mul] = mul,
    [OTP_OP_affine] = affine,
    [OTP_OP_lrelu] = lrelu,
    [OTP_OP_silu] = silu,
    [OTP_OP_rsqrt] = rsqrt,
    [OTP_OP_conv2d] = conv2d,
    [OTP_OP_conv2d_bias] = conv2d_bias,
    [OTP_OP_conv2d_merge] = conv2d_merge,
    [OTP_OP_conv2d_dgrad] = conv2d_dgrad,
    [OTP_OP_down2] = down2,
    [OTP_OP_up2] = up2,
    [OTP_OP_matmul] = matmul,
    [OTP_OP_attention] = attention,
    [OTP_OP_norm_apply] = norm_apply,
    [OTP_OP_normal] = normal,
};

/* Statistics are InstanceNormalization's own, words are what noise is drawn from. */
static bool reads(const otp_node *y, int input)
{
	return !(y->op == OTP_OP_norm_apply && input == 1) && y->op != OTP_OP_normal;
}

static void mark(const otp_node *y, bool *needed)
{
	needed[y->id] = true;
	for (int id = y->id; id >= 0; id--) {
		const otp_node *x = otp_graph_node(y->graph, id);
		for (int i = 0; needed[id] && i < x->input_count; i++)
			if (reads(x, i))
				needed[x->in[i]->id] = true;
	}
}

static const char *name_of(translation *t, const otp_node *x, const otp_step_inputs *leaves)
{
	const char *in[OTP_MAX_INPUTS] = {0};
	if (x->op == OTP_OP_LEAF)
		return leaf(t, x, leaves);
	OTP_ASSERT(RULES[x->op], "no rule for op %s", otp_op_name(x->op));
	for (int i = 0; i < x->input_count; i++)
		in[i] = t->names[x->in[i]->id];
	return RULES[x->op](t, x, in);
}

static void translate(translation *t, const otp_sample_graph *sample)
{
	const otp_arch *a = &t->g->facts.arch;
	int count = otp_graph_size(sample->graph);
	bool *needed = otp_calloc((size_t)count, sizeof *needed);
	const int64_t dims[] = {0, a->c, a->h, a->w}, rows[] = {-1, a->c};
	t->names = otp_calloc((size_t)count, sizeof *t->names);
	mark(sample->y, needed);
	for (int id = 0; id < count; id++)
		if (needed[id])
			t->names[id] = name_of(t, otp_graph_node(sample->graph, id), &sample->in);
	const char *y = t->names[sample->y->id];
	if (a->vectors)
		reshaped(t, y, 2, rows);
	else
		otp_onnx_put(t->o, "Identity", y, NULL);
	otp_onnx_call(t->o, "y");
	otp_onnx_output(t->o, "y", a->vectors ? 2 : RANK, dims);
	otp_free(t->names);
	otp_free(needed);
}

uint8_t *otp_exchange_onnx(const otp_generator *g, size_t *bytes, otp_error *err)
{
	enum { N = 2 };
	const int64_t most =
	    (INT64_C(1) << 31) - (INT64_C(1) << 24); /* protobuf's bound, and room for nodes */
	if (g->params->elements * (int64_t)sizeof *g->row > most) {
		otp_fail(err, "--for onnx",
			 "%lld weights are more than a protobuf holds (2 GB); expected safetensors",
			 (long long)g->params->elements);
		return NULL;
	}
	otp_sample_graph sample = otp_sample_build(&g->facts.arch, g->params, 0, N, true),
			 twin = otp_sample_build(&g->facts.arch, g->params, 0, N + 1, true);
	translation t = {.o = otp_onnx_new(), .g = g, .twin = twin.graph};
	translate(&t, &sample);
	otp_exchange_facts(g, otp_onnx_fact, t.o);
	uint8_t *file = otp_onnx_pack(t.o, "otplan generator", bytes);
	otp_onnx_free(t.o);
	otp_graph_free(sample.graph);
	otp_graph_free(twin.graph);
	return file;
}
