#include "graph/work.h"

const double otp_peak_bytes[OTP_PEAK_SIZES] = {0, 0x1p17, 0x1p20, 0x1p23, 0x1p26, 0x1p28};

static double elements(otp_tensor t) { return (double)otp_shape_count(t.shape); }

/* Along one side of an image: pairs of an output and a tap that meet an input, not the padding. */
static double taps(int in, int out, int kernel, int stride, int pad)
{
	int64_t pairs = 0;
	for (int o = 0; o < out; o++)
		for (int k = 0; k < kernel; k++) {
			int at = o * stride + k - pad;
			pairs += at >= 0 && at < in;
		}
	return (double)pairs;
}

/* y = x * w, and as many for either adjoint. */
static double conv_products(const otp_call *call, otp_shape x, otp_shape w, otp_shape y)
{
	int stride = call->attr.conv.stride, pad = call->attr.conv.pad;
	return taps(x.h, y.h, w.h, stride, pad) * taps(x.w, y.w, w.w, stride, pad) * x.n * x.c * y.c;
}

/* Of a product of matrices. */
static int length_of_sums(const otp_call *call)
{
	return call->attr.matmul.ta ? call->in[0].shape.w : call->in[0].shape.c;
}

/* Of matrices of tokens with each other, for each plane: scores and mix, or scores anew and the gradients of
 * shares, q, k and v. */
static double attention_products(const otp_call *call)
{
	otp_shape qkv = call->in[0].shape;
	int head = qkv.c / 3; /* queries, keys and values lie side by side */
	return (call->op == OTP_OP_attention ? 2 : 5) * (double)qkv.n * qkv.h * qkv.w * qkv.w * head;
}

/* Multiplications, each with its addition. No default: an op that is not listed does not compile. */
static double products(const otp_call *call)
{
	switch (call->op) {
	case OTP_OP_conv2d:
	case OTP_OP_conv2d_bias:
	case OTP_OP_conv2d_merge:
		return conv_products(call, call->in[0].shape, call->in[1].shape, call->out.shape);
	case OTP_OP_conv2d_dgrad:
		return conv_products(call, call->out.shape, call->in[1].shape, call->in[0].shape);
	case OTP_OP_conv2d_wgrad:
		return conv_products(call, call->in[0].shape, call->out.shape, call->in[1].shape);
	case OTP_OP_matmul:
		return elements(call->out) * length_of_sums(call);
	case OTP_OP_attention:
	case OTP_OP_attention_grad:
		return attention_products(call);
	case OTP_OP_copy:
	case OTP_OP_reshape:
	case OTP_OP_sum:
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
	case OTP_OP_norm_stats:
	case OTP_OP_norm_apply:
	case OTP_OP_norm_sums:
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
	case OTP_OP_LEAF:
	case OTP_OP_COUNT:
		return 0;
	}
	return 0;
}

/* The part of the columns that is this call's. */
static double share(const otp_call *call)
{
	bool shared = call->op == OTP_OP_adam || call->op == OTP_OP_squares;
	return shared && call->processes > 0 ? 1.0 / (call->processes * call->workers) : 1;
}

static bool is_norm_gradient(const otp_call *call)
{
	return call->op == OTP_OP_norm_dgrad || call->op == OTP_OP_norm_dgrad_merge ||
	       call->op == OTP_OP_norm_dgrad_merge_two;
}

/* Of the i-th input: of a data set what is picked, a byte a value; of a slice's input what it keeps; of a
 * ring nothing; of a concat's what is not in it yet; of parameters the rounded copy where there is one. */
static double input_bytes(const otp_call *call, int i, const size_t element_bytes[OTP_TYPE_COUNT])
{
	const otp_tensor *t = &call->in[i];
	double element = (double)element_bytes[t->rounded && call->op != OTP_OP_adam ? OTP_BF16 : t->type];
	if (call->op == OTP_OP_gather && i == 0)
		return elements(call->out);
	if (call->op == OTP_OP_record && i == 0)
		return 0;
	if (call->op == OTP_OP_concat && t->step)
		return 0;
	if (call->op == OTP_OP_slice)
		return elements(call->out) * element;
	if (is_norm_gradient(call) && otp_shape_equal(t->shape, call->in[0].shape))
		return elements(call->out) * element; /* of its channels alone */
	return elements(*t) * element * (i < 2 ? share(call) : 1);
}

/* Of a ring only a row is written; of parameters that are kept in bfloat16 too, a row of those beside the
 * state; of a concat what is not in it from the start. */
static double output_bytes(const otp_call *call, const size_t element_bytes[OTP_TYPE_COUNT])
{
	const otp_tensor *written = call->op == OTP_OP_record ? &call->in[1] : &call->out;
	double rounded = call->out.rounded ? (double)call->out.shape.c * (double)element_bytes[OTP_BF16] : 0;
	double count = elements(*written);
	for (int i = 0; call->op == OTP_OP_concat && i < 2; i++)
		count -= call->in[i].step ? elements(call->in[i]) : 0;
	return (count * (double)element_bytes[call->out.type] + rounded) * share(call);
}

static double bandwidth(const otp_peaks *peaks, double bytes)
{
	int size = OTP_PEAK_SIZES - 1;
	while (size > 0 && bytes < otp_peak_bytes[size])
		size--;
	return peaks->bytes_per_s[size];
}

otp_work otp_work_of_call(const otp_call *call, const size_t element_bytes[OTP_TYPE_COUNT], otp_peaks peaks)
{
	otp_work work = {.calls = 1, .flops = 2 * products(call)};
	work.bytes = output_bytes(call, element_bytes);
	for (int i = 0; i < otp_op_inputs(call->op); i++)
		work.bytes += input_bytes(call, i, element_bytes);
	double move = work.bytes / bandwidth(&peaks, work.bytes), compute = work.flops / peaks.flops_per_s;
	work.floor_s = move > compute ? move : compute;
	return work;
}
