#include "graph/work.h"

static double elements(otp_tensor t) { return (double)otp_shape_count(t.shape); }

/* Of a convolution: each of its output's elements takes one product with each weight of a filter. */
static double conv_products(otp_tensor y, otp_tensor w) { return elements(y) * elements(w) / w.shape.n; }

static double products(const otp_call *call)
{
	switch (call->op) {
	case OTP_OP_conv2d:
	case OTP_OP_conv2d_bias:
		return conv_products(call->out, call->in[1]);
	case OTP_OP_conv2d_dgrad:
		return conv_products(call->in[0], call->in[1]);
	case OTP_OP_conv2d_wgrad:
		return conv_products(call->in[1], call->out);
	case OTP_OP_matmul:
		return elements(call->out) *
		       (call->attr.matmul.ta ? call->in[0].shape.w : call->in[0].shape.c);
	default:
		return 0;
	}
}

/* Of the i-th input; of a data set only what is picked, a byte a value. */
static double input_bytes(const otp_call *call, int i, const size_t element_bytes[OTP_TYPE_COUNT])
{
	if (call->op == OTP_OP_gather && i == 0)
		return elements(call->out);
	return elements(call->in[i]) * (double)element_bytes[call->in[i].type];
}

otp_work otp_work_of_call(const otp_call *call, const size_t element_bytes[OTP_TYPE_COUNT], otp_peaks peaks)
{
	otp_work work = {.calls = 1, .flops = 2 * products(call)};
	work.bytes = elements(call->out) * (double)element_bytes[call->out.type];
	for (int i = 0; i < otp_op_inputs(call->op); i++)
		work.bytes += input_bytes(call, i, element_bytes);
	double move = work.bytes / peaks.bytes_per_s, compute = work.flops / peaks.flops_per_s;
	work.floor_s = move > compute ? move : compute;
	return work;
}
