/* conv.c (cpu): the convolution triple, through oneDNN. */
#include "cpu/cpu.h"
#include "cpu/dnn.h"

static void bind_conv(otp_call *call, otp_dnn_direction direction, otp_shape x, otp_shape w, otp_shape y)
{
	otp_dnn_conv conv = {.direction = direction,
			     .x = x,
			     .w = w,
			     .y = y,
			     .stride = call->attr.conv.stride,
			     .pad = call->attr.conv.pad,
			     .bias = call->op == OTP_OP_conv2d_bias,
			     .bf16 = call->precision == OTP_PRECISION_BF16 && otp_dnn_has_bf16()};
	call->bound = otp_dnn_conv_new(&conv);
}

static void bind_forward(otp_call *call)
{
	bind_conv(call, OTP_DNN_FORWARD, call->in[0].shape, call->in[1].shape, call->out.shape);
}

static void bind_dgrad(otp_call *call)
{
	bind_conv(call, OTP_DNN_DGRAD, call->out.shape, call->in[1].shape, call->in[0].shape);
}

static void bind_wgrad(otp_call *call)
{
	bind_conv(call, OTP_DNN_WGRAD, call->in[0].shape, call->out.shape, call->in[1].shape);
}

static void run(const otp_call *call) { otp_dnn_run(call->bound, call->in, call->out.data, call->scratch); }
static void unbind(otp_call *call) { otp_dnn_free(call->bound); }
static size_t scratch_bytes(const otp_call *call) { return otp_dnn_scratch_bytes(call->bound); }

const otp_kernel otp_cpu_conv2d = {run, bind_forward, unbind, scratch_bytes};
const otp_kernel otp_cpu_conv2d_bias = {run, bind_forward, unbind, scratch_bytes};
const otp_kernel otp_cpu_conv2d_dgrad = {run, bind_dgrad, unbind, scratch_bytes};
const otp_kernel otp_cpu_conv2d_wgrad = {run, bind_wgrad, unbind, scratch_bytes};
