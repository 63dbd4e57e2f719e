/* conv.c (cuda): the convolution triple, through cuDNN. Tensors that are stored
 * as the plan wants them go to it as they are, weights as the copy that adam
 * keeps of them; others (pictures, in bfloat16) are converted in scratch. Bias, residual, scale and
 * slope are cuDNN's epilogue where an engine has it and is no slower, else one
 * launch of our own. */
#include "cuda/compile.h"
#include "launches.h"

#include <stdio.h>

typedef struct bound {
	const otp_dnn_plan *plan;
	otp_dnn_epilogue left; /* what the plan does not do */
} bound;

/* Where things lie in scratch: cuDNN's workspace, then what is stored otherwise than the plan wants it. */
typedef struct layout {
	size_t operand[2], result, bytes;
} layout;

static const otp_dnn_role operand_roles[][2] = {
    [OTP_DNN_FORWARD] = {OTP_DNN_X, OTP_DNN_W},
    [OTP_DNN_DGRAD] = {OTP_DNN_Y, OTP_DNN_W},
    [OTP_DNN_WGRAD] = {OTP_DNN_X, OTP_DNN_Y},
};

static otp_type type_of(bool bf16) { return bf16 ? OTP_BF16 : OTP_F32; }

/* t, or the copy that is kept of it, whichever is of the type wanted; else t. */
static otp_tensor kept(const otp_tensor *t, otp_type wanted)
{
	otp_tensor copy = otp_cuda_rounded(*t);
	return copy.type == wanted ? copy : *t;
}

/* Room for what is stored otherwise than it is wanted: of another type, or in rows that lie apart. */
static size_t place(size_t *at, otp_tensor t, otp_type wanted, bool apart)
{
	size_t here = *at, element = wanted == OTP_BF16 ? sizeof(uint16_t) : sizeof(float);
	if (t.type != wanted || apart)
		*at += otp_round_up((size_t)otp_shape_count(t.shape) * element, 256);
	return here;
}

static layout layout_of(const otp_call *call, const otp_dnn_plan *plan)
{
	layout l = {.bytes = otp_round_up(plan->workspace_bytes, 256)};
	otp_type operands = type_of(plan->conv.bf16_in);
	for (int i = 0; i < 2; i++)
		l.operand[i] = place(&l.bytes, kept(&call->in[i], operands), operands, false);
	l.result =
	    place(&l.bytes, call->out, type_of(plan->conv.bf16_out), call->out.step != plan->conv.y_step);
	return l;
}

typedef struct question {
	otp_device *device;
	const otp_dnn_conv *conv;
	otp_type stored;
	otp_precision precision;
} question;

/* Without what follows it, which finds its rows beside one another. */
static otp_dnn_conv alone(otp_dnn_conv conv)
{
	conv.after = (otp_dnn_epilogue){false};
	conv.y_step = conv.r_step = 0;
	return conv;
}

static otp_dnn_conv conv_in(const question *q, const otp_way *way)
{
	otp_dnn_conv conv = *q->conv;
	conv.tf32 = q->precision != OTP_PRECISION_F32;
	conv.compiled = way->compiled;
	conv.bf16_in = way->bf16_in;
	conv.bf16_out = way->bf16_out;
	if (!way->fused)
		conv = alone(conv);
	return conv;
}

static otp_way_answer ask(void *context, const otp_way *way)
{
	const question *q = context;
	otp_dnn_conv conv = conv_in(q, way);
	otp_dnn_plan *plan = otp_dnn_plan_for(q->device, &conv);
	return (otp_way_answer){plan->verdict, plan->taken};
}

static float time_apart(void *context, const otp_way *apart)
{
	const question *q = context;
	otp_dnn_conv conv = conv_in(q, apart);
	float alone = otp_dnn_time(q->device, otp_dnn_plan_for(q->device, &conv));
	conv.after = q->conv->after;
	return alone + otp_dnn_time_epilogue(q->device, &conv, q->stored);
}

static void settle(void *context, const otp_way *fused, bool wanted)
{
	const question *q = context;
	otp_dnn_conv conv = conv_in(q, fused);
	otp_dnn_settle(q->device, otp_dnn_plan_for(q->device, &conv), wanted);
}

static const otp_dnn_plan *best_plan(otp_device *device, const otp_dnn_conv *conv, otp_type stored,
				     otp_precision precision)
{
	question q = {device, conv, stored, precision};
	otp_way_wishes wishes = {.epilogue = conv->after.bias,
				 .bf16 = precision == OTP_PRECISION_BF16,
				 .bf16_result = stored == OTP_BF16,
				 .compile_fused = device->compiles && otp_worth_compiling(conv->y),
				 .compile_apart = device->compiles};
	otp_way way;
	if (!otp_way_choose(&wishes, &(otp_way_judge){&q, ask, time_apart, settle}, &way))
		return NULL;
	otp_dnn_conv chosen = conv_in(&q, &way);
	return otp_dnn_plan_for(device, &chosen);
}

static const char *describe(const otp_dnn_conv *c)
{
	static char text[160];
	snprintf(text, sizeof text, "x %dx%dx%dx%d, w %dx%dx%dx%d, stride %d, pad %d", c->x.n, c->x.h, c->x.w,
		 c->x.c, c->w.n, c->w.h, c->w.w, c->w.c, c->stride, c->pad);
	return text;
}

static otp_dnn_epilogue epilogue_of(const otp_call *call)
{
	if (call->op == OTP_OP_conv2d_bias)
		return (otp_dnn_epilogue){.bias = true, .scale = 1, .slope = call->attr.conv.slope};
	if (call->op == OTP_OP_conv2d_merge)
		return (otp_dnn_epilogue){.bias = true,
					  .residual = true,
					  .bf16_residual = call->in[3].type == OTP_BF16,
					  .scale = call->attr.conv.scale,
					  .slope = 1};
	return (otp_dnn_epilogue){false};
}

static otp_dnn_conv conv_of(const otp_call *call)
{
	otp_dnn_conv conv = {
	    .x = call->in[0].shape,
	    .w = call->in[1].shape,
	    .y = call->out.shape,
	    .stride = call->attr.conv.stride,
	    .pad = call->attr.conv.pad,
	    .y_step = call->out.step,
	    .r_step = call->op == OTP_OP_conv2d_merge ? call->in[3].step : 0,
	    .after = epilogue_of(call),
	};
	if (call->op == OTP_OP_conv2d_dgrad) {
		conv.direction = OTP_DNN_DGRAD;
		conv.x = call->out.shape;
		conv.y = call->in[0].shape;
	} else if (call->op == OTP_OP_conv2d_wgrad) {
		conv.direction = OTP_DNN_WGRAD;
		conv.w = call->out.shape;
		conv.y = call->in[1].shape;
	}
	return conv;
}

static bool bind_conv(otp_call *call, otp_error *err)
{
	otp_dnn_conv conv = conv_of(call);
	for (int i = 0; i < OTP_MAX_INPUTS; i++) /* those that there are not are NULL */
		OTP_ASSERT((uintptr_t)call->in[i].data % 16 == 0 && (uintptr_t)call->out.data % 16 == 0,
			   "cudnn: an operand of %s is not aligned to 16 bytes", describe(&conv));
	bound *b = call->bound = otp_calloc(1, sizeof *b);
	otp_cuda_note note;
	otp_cuda_start_note(&note);
	otp_device_enter(call->device);
	b->plan = best_plan(call->device, &conv, call->out.type, call->precision);
	otp_device_leave(call->device);
	if (!otp_cuda_end_note(&note, err))
		return false;
	if (!b->plan)
		return otp_fail_machine(err, "cudnn", "no %s computes the convolution of %s",
					call->device->compiles
					    ? "deterministic engine"
					    : "engine that need not be compiled (OTPLAN_CUDA_COMPILED=0)",
					describe(&conv));
	if (!b->plan->conv.after.bias)
		b->left = conv.after;
	return true;
}

/* The fused way that best_plan asks for first, of those that are compiled. */
void otp_conv_foresee(otp_compile_list *list, const otp_call *call)
{
	otp_dnn_conv conv = conv_of(call);
	bool narrow = call->out.type == OTP_BF16, bf16 = call->precision == OTP_PRECISION_BF16;
	question q = {call->device, &conv, call->out.type, call->precision};
	otp_dnn_conv fused = conv_in(&q, &(otp_way){true, true, bf16, narrow});
	if (call->device->compiles && conv.after.bias && otp_worth_compiling(conv.y) &&
	    otp_dnn_rounds(&fused) && (bf16 || !narrow))
		otp_compile_add_conv(list, &fused);
}

/* t itself, or its place in scratch. */
static otp_tensor as_wanted(otp_tensor t, otp_type wanted, bool apart, void *scratch)
{
	return t.type == wanted && !apart ? t : (otp_tensor){scratch, t.shape, wanted, NULL};
}

static void run_conv(const otp_call *call)
{
	const bound *b = call->bound;
	const otp_dnn_conv *conv = &b->plan->conv;
	layout l = layout_of(call, b->plan);
	char *scratch = call->scratch;
	void *data[OTP_DNN_ROLES] = {NULL};
	for (int i = 0; i < 2; i++) {
		otp_type wanted = type_of(conv->bf16_in);
		otp_tensor given = kept(&call->in[i], wanted);
		otp_tensor operand = as_wanted(given, wanted, false, scratch + l.operand[i]);
		if (operand.data != given.data)
			otp_cuda_convert(call, &operand, &given);
		data[operand_roles[conv->direction][i]] = operand.data;
	}
	otp_tensor result =
	    as_wanted(call->out, type_of(conv->bf16_out), call->out.step != conv->y_step, scratch + l.result);
	data[otp_dnn_result(conv)] = result.data;
	data[OTP_DNN_BIAS] = call->in[2].data;
	data[OTP_DNN_RESIDUAL] = call->in[3].data;
	otp_dnn_convolve(call->device, b->plan, data, scratch);
	if (b->left.bias)
		otp_cuda_epilogue(call, &call->out, &result, &call->in[2],
				  b->left.residual ? &call->in[3] : NULL, b->left.scale, b->left.slope);
	else if (result.data != call->out.data)
		otp_cuda_convert(call, &call->out, &result);
}

static void unbind_conv(otp_call *call) { otp_free(call->bound); }

static size_t conv_scratch(const otp_call *call)
{
	const bound *b = call->bound;
	return layout_of(call, b->plan).bytes;
}

/* As of the first way apart (ways.c) that has an engine, without an epilogue. */
static size_t expected_scratch(otp_call *call)
{
	otp_dnn_plan plan = {.conv = alone(conv_of(call))};
	plan.conv.tf32 = call->precision != OTP_PRECISION_F32;
	plan.conv.bf16_in = call->precision == OTP_PRECISION_BF16;
	plan.conv.bf16_out = plan.conv.bf16_in && call->out.type == OTP_BF16;
	otp_device_enter(call->device);
	bool found = otp_dnn_expect_workspace(call->device, &plan.conv, &plan.workspace_bytes);
	if (!found && plan.conv.bf16_in) {
		plan.conv.bf16_out = !plan.conv.bf16_out;
		otp_dnn_expect_workspace(call->device, &plan.conv, &plan.workspace_bytes);
	}
	otp_device_leave(call->device);
	return layout_of(call, &plan).bytes;
}

const otp_kernel otp_cuda_conv2d = {run_conv, bind_conv, unbind_conv, conv_scratch, expected_scratch};
const otp_kernel otp_cuda_conv2d_bias = {run_conv, bind_conv, unbind_conv, conv_scratch, expected_scratch};
const otp_kernel otp_cuda_conv2d_merge = {run_conv, bind_conv, unbind_conv, conv_scratch, expected_scratch};
const otp_kernel otp_cuda_conv2d_dgrad = {run_conv, bind_conv, unbind_conv, conv_scratch, expected_scratch};
const otp_kernel otp_cuda_conv2d_wgrad = {run_conv, bind_conv, unbind_conv, conv_scratch, expected_scratch};
