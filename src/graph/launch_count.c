#include "graph/launch_count.h"
#include "graph/work.h"
#include "launches.h"

/* Nothing was taken. */
static void release(otp_device *device, void *memory)
{
	(void)device;
	OTP_ASSERT(!memory, "memory on paper");
}

const otp_backend otp_cuda_on_paper = {
    .name = "cuda on paper",
    .element_bytes = {[OTP_F32] = 4, [OTP_U32] = 4, [OTP_BF16] = 2},
    .rows_apart = true,
    .release = release,
};

static double bytes_of(otp_shape s, otp_type type)
{
	return (double)otp_shape_count(s) * (double)otp_cuda_on_paper.element_bytes[type];
}

static double stored(const otp_tensor *t) { return bytes_of(t->shape, t->type); }

static void launch(otp_launches *sum, double bytes)
{
	sum->count++;
	sum->small += bytes < OTP_SMALL_LAUNCH;
	sum->bytes += bytes;
}

static void convert(otp_launches *sum, otp_shape s)
{
	launch(sum, bytes_of(s, OTP_F32) + bytes_of(s, OTP_BF16));
}

/* An operand as a library wants it: what it reads, after a launch that converts where nothing of the type is
 * kept.
 */
static double operand(otp_launches *sum, const otp_tensor *t, otp_type wanted)
{
	otp_type kept = t->rounded ? OTP_BF16 : t->type;
	if (t->type != wanted && kept != wanted)
		convert(sum, t->shape);
	return bytes_of(t->shape, wanted);
}

/* The least that the call moves. */
static double least(const otp_call *call)
{
	const otp_peaks any = {1, {1, 1, 1, 1, 1, 1}};
	return otp_work_of_call(call, otp_cuda_on_paper.element_bytes, any).bytes;
}

/* ---- convolutions (conv.c, ways.c) ---- */

/* Whether bias, residual, scale and slope are done by cuDNN, where they are to be done: a float32 bias alone
 * by an engine that is ready. */
static bool is_fused(const otp_call *call, bool compiled)
{
	bool bias_alone = call->op == OTP_OP_conv2d_bias && call->attr.conv.slope == 1;
	if (bias_alone && call->precision != OTP_PRECISION_BF16)
		return true;
	return compiled && otp_worth_compiling(call->out.shape);
}

/* No engine that is ready writes float32 from bfloat16 operands: its result is converted, by what follows the
 * convolution where something does. */
static void add_convolution(otp_launches *sum, const otp_call *call, bool compiled)
{
	bool follows = call->op == OTP_OP_conv2d_bias || call->op == OTP_OP_conv2d_merge;
	bool fused = follows && is_fused(call, compiled);
	otp_type type = call->precision == OTP_PRECISION_BF16 ? OTP_BF16 : OTP_F32;
	otp_type result = fused ? call->out.type : type;
	double read = operand(sum, &call->in[0], type) + operand(sum, &call->in[1], type), after = 0;
	for (int i = 2; i < otp_op_inputs(call->op); i++)
		after += stored(&call->in[i]);
	launch(sum, read + (fused ? after : 0) + bytes_of(call->out.shape, result));
	if (follows && !fused)
		launch(sum, bytes_of(call->out.shape, result) + after + stored(&call->out));
	else if (result != call->out.type)
		convert(sum, call->out.shape);
}

/* ---- products (matmul.c, attention.c) ---- */

static bool any_narrow(const otp_call *call)
{
	bool narrow = call->out.type == OTP_BF16;
	for (int i = 0; i < otp_op_inputs(call->op); i++)
		narrow |= call->in[i].type == OTP_BF16;
	return narrow;
}

static void add_product(otp_launches *sum, const otp_call *call)
{
	bool narrow = call->in[0].type == OTP_BF16 || call->in[1].type == OTP_BF16;
	otp_type type = narrow ? OTP_BF16 : OTP_F32;
	double read = operand(sum, &call->in[0], type) + operand(sum, &call->in[1], type);
	bool converted = type == OTP_F32 && call->out.type == OTP_BF16;
	launch(sum, read + bytes_of(call->out.shape, converted ? OTP_F32 : call->out.type));
	if (converted)
		convert(sum, call->out.shape);
}

static bool all_narrow(const otp_call *call)
{
	bool narrow = call->out.type == OTP_BF16;
	for (int i = 0; i < otp_op_inputs(call->op); i++)
		narrow &= call->in[i].type == OTP_BF16;
	return narrow;
}

/* Queries, keys and values are a third of qkv each; scores are float32, shares as operands are. */
static void add_composed_attention(otp_launches *sum, const otp_call *call)
{
	otp_shape qkv = call->in[0].shape, one = qkv, square = qkv;
	otp_type type = any_narrow(call) ? OTP_BF16 : OTP_F32;
	one.c = qkv.c / 3;
	square.c = qkv.w;
	double part = bytes_of(one, type), scores = bytes_of(square, OTP_F32),
	       shares = bytes_of(square, type);
	double out = bytes_of(one, call->out.type);
	for (int i = 0; i < otp_op_inputs(call->op); i++)
		operand(sum, &call->in[i], type);
	launch(sum, 2 * part + scores);
	launch(sum, scores + shares);
	launch(sum, shares + part + out); /* the mix, or the values' gradient */
	if (call->op == OTP_OP_attention)
		return;
	launch(sum, 2 * part + scores);
	launch(sum, 2 * shares + scores);
	launch(sum, shares + part + out);
	launch(sum, shares + part + out);
}

/* cuDNN 9.19 has no adjoint for more channels (for a described H100: scripts/plan_convolutions). */
static bool has_adjoint(const otp_call *call) { return call->in[0].shape.c / 3 <= 256; }

/* The adjoint runs the forward pass again, and reads its result. */
static void add_attention(otp_launches *sum, const otp_call *call, bool compiled)
{
	bool adjoint = call->op == OTP_OP_attention_grad;
	if (!compiled || !all_narrow(call) || !otp_worth_flash(call->in[0].shape) ||
	    (adjoint && !has_adjoint(call))) {
		add_composed_attention(sum, call);
		return;
	}
	double kept = stored(&call->in[0]) / 3;
	if (adjoint)
		launch(sum, stored(&call->in[0]) + kept);
	launch(sum, least(call) + (adjoint ? kept : 0));
}

/* ---- own kernels of two launches (reduce.cu, norm.cu) ---- */

static void add_sum(otp_launches *sum, const otp_call *call)
{
	otp_lanes lanes = otp_lanes_make(call->out.shape, call->in[0].shape);
	const int64_t *count = lanes.count;
	bool kept = count[4] > 1; /* packs lie along it, else along what is summed */
	int width = otp_pack_width((unsigned)count[kept ? 4 : 3], call->in[0].type == OTP_BF16);
	unsigned rows = (unsigned)(count[1] * (kept ? count[3] : count[3] / width));
	unsigned slices = 1, packs = kept ? (unsigned)count[4] / (unsigned)width : 1;
	if (!otp_sum_team(count))
		slices = otp_sum_slices(rows, packs, (unsigned)(count[0] * count[2]));
	double partial = slices * (double)otp_shape_count(call->out.shape) * sizeof(float);
	launch(sum, slices == 1 ? least(call) : stored(&call->in[0]) + partial);
	if (slices > 1)
		launch(sum, partial + stored(&call->out));
}

/* One launch over the maps, and one between sums over rows and what they are for. */
static void add_norm(otp_launches *sum, const otp_call *call)
{
	double small = stored(&call->out);
	launch(sum, least(call) - small);
	launch(sum, small);
}

/* Calls that are several launches, or a library's. */
static bool add_many(otp_launches *sum, const otp_call *call, bool compiled)
{
	switch (call->op) {
	case OTP_OP_conv2d:
	case OTP_OP_conv2d_bias:
	case OTP_OP_conv2d_merge:
	case OTP_OP_conv2d_dgrad:
	case OTP_OP_conv2d_wgrad:
		add_convolution(sum, call, compiled);
		return true;
	case OTP_OP_matmul:
		add_product(sum, call);
		return true;
	case OTP_OP_attention:
	case OTP_OP_attention_grad:
		add_attention(sum, call, compiled);
		return true;
	case OTP_OP_sum:
		add_sum(sum, call);
		return true;
	case OTP_OP_norm_stats:
	case OTP_OP_norm_sums:
		add_norm(sum, call);
		return true;
	default:
		return false;
	}
}

/* No default: an op that is not listed does not compile. */
void otp_launches_add(otp_launches *sum, const otp_call *call, bool compiled)
{
	if (add_many(sum, call, compiled))
		return;
	switch (call->op) {
	case OTP_OP_copy:
	case OTP_OP_reshape:
	case OTP_OP_spread:
	case OTP_OP_concat:
	case OTP_OP_slice:
	case OTP_OP_pad:
	case OTP_OP_add:
	case OTP_OP_mul:
	case OTP_OP_affine:
	case OTP_OP_lrelu:
	case OTP_OP_lrelu_gate:
	case OTP_OP_lrelu_gate_merge:
	case OTP_OP_silu:
	case OTP_OP_silu_gate:
	case OTP_OP_silu_curve:
	case OTP_OP_sigmoid:
	case OTP_OP_softplus:
	case OTP_OP_exp:
	case OTP_OP_rsqrt:
	case OTP_OP_down2:
	case OTP_OP_up2:
	case OTP_OP_up2_merge:
	case OTP_OP_softmax:
	case OTP_OP_softmax_gate:
	case OTP_OP_norm_apply:
	case OTP_OP_norm_dgrad:
	case OTP_OP_norm_dgrad_merge:
	case OTP_OP_norm_dgrad_merge_two:
	case OTP_OP_norm_total:
	case OTP_OP_norm_total_merge:
	case OTP_OP_normal:
	case OTP_OP_gather:
	case OTP_OP_record:
	case OTP_OP_squares:
	case OTP_OP_guard:
	case OTP_OP_adam:
	case OTP_OP_reduce_scatter:
	case OTP_OP_all_gather:
		launch(sum, least(call));
		return;
	case OTP_OP_conv2d:
	case OTP_OP_conv2d_bias:
	case OTP_OP_conv2d_merge:
	case OTP_OP_conv2d_dgrad:
	case OTP_OP_conv2d_wgrad:
	case OTP_OP_matmul:
	case OTP_OP_attention:
	case OTP_OP_attention_grad:
	case OTP_OP_sum:
	case OTP_OP_norm_stats:
	case OTP_OP_norm_sums:
	case OTP_OP_LEAF:
	case OTP_OP_COUNT:
		return;
	}
}
