/* conv.c (cpu): the convolution triple, through oneDNN. */
#include "cpu/cpu.h"
#include "cpu/dnn.h"

/* A slope is oneDNN's to apply, in the convolution's last pass over the result. A residual is not: oneDNN
 * adds to what the result's memory holds, and to copy the residual there first costs as much as to add it. */
static bool bind_conv(otp_call *call, otp_dnn_direction direction, otp_shape x, otp_shape w, otp_shape y)
{
	otp_dnn_conv conv = {.direction = direction,
			     .x = x,
			     .w = w,
			     .y = y,
			     .stride = call->attr.conv.stride,
			     .pad = call->attr.conv.pad,
			     .bias = call->op == OTP_OP_conv2d_bias || call->op == OTP_OP_conv2d_merge,
			     .slope = call->op == OTP_OP_conv2d_bias ? call->attr.conv.slope : 1,
			     .bf16 = call->precision == OTP_PRECISION_BF16 && otp_dnn_has_bf16(),
			     .planned = call->planned};
	call->bound = otp_dnn_conv_new(&conv);
	return true;
}

static bool bind_forward(otp_call *call, otp_error *err)
{
	(void)err;
	return bind_conv(call, OTP_DNN_FORWARD, call->in[0].shape, call->in[1].shape, call->out.shape);
}

static bool bind_dgrad(otp_call *call, otp_error *err)
{
	(void)err;
	return bind_conv(call, OTP_DNN_DGRAD, call->out.shape, call->in[1].shape, call->in[0].shape);
}

static bool bind_wgrad(otp_call *call, otp_error *err)
{
	(void)err;
	return bind_conv(call, OTP_DNN_WGRAD, call->in[0].shape, call->out.shape, call->in[1].shape);
}

static void run(const otp_call *call) { otp_dnn_run(call->bound, call->in, call->out.data, call->scratch); }

OTP_SIMD static void merge(float *y, const float *r, int64_t count, float scale)
{
#pragma omp simd
	for (int64_t i = 0; i < count; i++)
		y[i] = scale * (y[i] + r[i]);
}

static void run_merge(const otp_call *call)
{
	run(call);
	merge(call->out.data, call->in[3].data, otp_shape_count(call->out.shape), call->attr.conv.scale);
}

static void unbind(otp_call *call) { otp_dnn_free(call->bound); }
static size_t scratch_bytes(const otp_call *call) { return otp_dnn_scratch_bytes(call->bound); }

const otp_kernel otp_cpu_conv2d = {run, bind_forward, unbind, scratch_bytes};
const otp_kernel otp_cpu_conv2d_bias = {run, bind_forward, unbind, scratch_bytes};
const otp_kernel otp_cpu_conv2d_merge = {run_merge, bind_forward, unbind, scratch_bytes};
const otp_kernel otp_cpu_conv2d_dgrad = {run, bind_dgrad, unbind, scratch_bytes};
const otp_kernel otp_cpu_conv2d_wgrad = {run, bind_wgrad, unbind, scratch_bytes};
