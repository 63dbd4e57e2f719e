/* dnn_attention_graph.c: attention and its adjoint as cuDNN operation graphs.
 * Forward is an operation of its own. The adjoint is a pattern that cuDNN
 * recognises (9.19 has an operation for it, which no graph takes). Needs no device. */
#include "cuda/describe.h"

enum { MOST_OPERATIONS = 20 };

typedef struct builder {
	otp_dnn_graph *g;
	const otp_dnn_attention *a;
	cudnnBackendDescriptor_t operations[MOST_OPERATIONS];
	int count;
	bool good; /* nothing was refused so far */
} builder;

/* A matrix for each of the batch, of one head; steps in elements. */
typedef struct layout {
	int64_t rows, columns, row, column;
} layout;

static layout turned(layout l) { return (layout){l.columns, l.rows, l.column, l.row}; }

static layout layout_of(const otp_dnn_attention *a, otp_dnn_attention_role role)
{
	int64_t tokens = a->tokens, channels = a->channels;
	bool third = role == OTP_DNN_QUERY || role == OTP_DNN_KEY || role == OTP_DNN_VALUE ||
		     role == OTP_DNN_QUERY_GRAD || role == OTP_DNN_KEY_GRAD || role == OTP_DNN_VALUE_GRAD;
	if (role == OTP_DNN_STATISTICS || role == OTP_DNN_INNER)
		return (layout){tokens, 1, 1, 1};
	return (layout){tokens, channels, third ? 3 * channels : channels, 1};
}

static cudnnBackendDescriptor_t tensor(builder *b, layout l, cudnnDataType_t type, int64_t id,
				       tensor_place place)
{
	int64_t extent = b->a->tokens * (l.row > l.column ? l.row : l.column);
	const int64_t size[4] = {b->a->batch, 1, l.rows, l.columns},
		      step[4] = {extent, extent, l.row, l.column};
	cudnnBackendDescriptor_t made;
	b->good &= make_strided(b->g, size, step, type, id, place, &made);
	return made;
}

static cudnnBackendDescriptor_t wide(builder *b, otp_dnn_attention_role role)
{
	return tensor(b, layout_of(b->a, role), CUDNN_DATA_FLOAT, role, IN_MEMORY);
}

static cudnnBackendDescriptor_t narrow(builder *b, otp_dnn_attention_role role)
{
	return tensor(b, layout_of(b->a, role), CUDNN_DATA_BFLOAT16, role, IN_MEMORY);
}

/* Columns for rows, in the same memory. */
static cudnnBackendDescriptor_t narrow_turned(builder *b, otp_dnn_attention_role role)
{
	return tensor(b, turned(layout_of(b->a, role)), CUDNN_DATA_BFLOAT16, role, IN_MEMORY);
}

static cudnnBackendDescriptor_t between(builder *b, layout l, cudnnDataType_t type)
{
	return tensor(b, l, type, OTP_DNN_ATTENTION_ROLES + b->g->count, BETWEEN);
}

static cudnnBackendDescriptor_t number(builder *b, otp_dnn_attention_role role)
{
	const int64_t one[4] = {1, 1, 1, 1};
	cudnnBackendDescriptor_t made;
	b->good &= make_strided(b->g, one, one, CUDNN_DATA_FLOAT, role, BY_VALUE, &made);
	return made;
}

/* ---- operations ---- */

typedef struct operand {
	cudnnBackendAttributeName_t name;
	cudnnBackendDescriptor_t tensor; /* or what describes the operation; NULL: it has none */
} operand;

static void operate(builder *b, cudnnBackendDescriptorType_t type, const operand *operands, int count)
{
	OTP_ASSERT(b->count < MOST_OPERATIONS, "cudnn: too many operations");
	cudnnBackendDescriptor_t operation = make(b->g, type);
	for (int i = 0; i < count; i++)
		if (operands[i].tensor)
			b->good = b->good && put_descriptor(operation, operands[i].name, operands[i].tensor);
	b->good = b->good && finish(operation);
	b->operations[b->count++] = operation;
}

/* y = f(x) or f(x, second), in float32. Operations return y. */
static cudnnBackendDescriptor_t pointwise(builder *b, cudnnPointwiseMode_t mode, cudnnBackendDescriptor_t x,
					  cudnnBackendDescriptor_t second, cudnnBackendDescriptor_t y)
{
	const cudnnDataType_t type = CUDNN_DATA_FLOAT;
	cudnnBackendDescriptor_t formula = make(b->g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
	b->good = b->good && put(formula, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode) &&
		  put(formula, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &type) &&
		  finish(formula);
	const operand operands[] = {{CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, formula},
				    {CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x},
				    {CUDNN_ATTR_OPERATION_POINTWISE_BDESC, second},
				    {CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y}};
	operate(b, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, operands, 4);
	return y;
}

/* Along the dimensions in which y has extent 1. */
static cudnnBackendDescriptor_t sum(builder *b, cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t y)
{
	const cudnnDataType_t type = CUDNN_DATA_FLOAT;
	const cudnnReduceTensorOp_t add = CUDNN_REDUCE_TENSOR_ADD;
	cudnnBackendDescriptor_t formula = make(b->g, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
	b->good = b->good &&
		  put(formula, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &add) &&
		  put(formula, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type) &&
		  finish(formula);
	const operand operands[] = {{CUDNN_ATTR_OPERATION_REDUCTION_DESC, formula},
				    {CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x},
				    {CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y}};
	operate(b, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, operands, 3);
	return y;
}

static cudnnBackendDescriptor_t multiply(builder *b, cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t w,
					 cudnnBackendDescriptor_t y)
{
	const cudnnDataType_t type = CUDNN_DATA_FLOAT;
	cudnnBackendDescriptor_t formula = make(b->g, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
	b->good = b->good && put(formula, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type) &&
		  finish(formula);
	const operand operands[] = {{CUDNN_ATTR_OPERATION_MATMUL_DESC, formula},
				    {CUDNN_ATTR_OPERATION_MATMUL_ADESC, x},
				    {CUDNN_ATTR_OPERATION_MATMUL_BDESC, w},
				    {CUDNN_ATTR_OPERATION_MATMUL_CDESC, y}};
	operate(b, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, operands, 4);
	return y;
}

/* y, a bfloat16 operand of that layout, which may turn x. */
static cudnnBackendDescriptor_t laid_out(builder *b, cudnnBackendDescriptor_t x, layout l)
{
	cudnnBackendDescriptor_t y = between(b, l, CUDNN_DATA_BFLOAT16);
	const operand operands[] = {{CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x},
				    {CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y}};
	operate(b, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR, operands, 2);
	return y;
}

/* ---- the graphs ---- */

static void describe_forward(builder *b)
{
	bool kept = b->a->pass == OTP_DNN_ATTENTION_KEEPING;
	const operand operands[] = {
	    {CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, narrow(b, OTP_DNN_QUERY)},
	    {CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, narrow(b, OTP_DNN_KEY)},
	    {CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, narrow(b, OTP_DNN_VALUE)},
	    {CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, narrow(b, OTP_DNN_MIX)},
	    {CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, number(b, OTP_DNN_SCORE_SCALE)},
	    {CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC, kept ? wide(b, OTP_DNN_STATISTICS) : NULL}};
	operate(b, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR, operands, 6);
}

/* shares = exp(scale q k^T - statistics), dv = shares^T g; ds = scale shares (g v^T - <g, mix>),
 * dk = ds^T q, dq = ds k. That dq is a product's result, and not summed in float32 and then rounded, asks for
 * the algorithm that repeats its bits. <g, mix> is multiplied by one, where the pattern has what dropout
 * left: without that cuDNN 9.19 wants three times the workspace. */
static void describe_adjoint(builder *b)
{
	const otp_dnn_attention *a = b->a;
	const cudnnDataType_t f32 = CUDNN_DATA_FLOAT;
	const layout scores = {a->tokens, a->tokens, a->tokens, 1};
	cudnnBackendDescriptor_t q = narrow(b, OTP_DNN_QUERY), k = narrow_turned(b, OTP_DNN_KEY);
	cudnnBackendDescriptor_t v = narrow_turned(b, OTP_DNN_VALUE), g = narrow(b, OTP_DNN_MIX_GRAD);
	cudnnBackendDescriptor_t scale = number(b, OTP_DNN_SCORE_SCALE);

	cudnnBackendDescriptor_t inner = pointwise(b, CUDNN_POINTWISE_MUL, g, narrow(b, OTP_DNN_MIX),
						   between(b, layout_of(a, OTP_DNN_MIX), f32));
	inner = sum(b, inner, between(b, layout_of(a, OTP_DNN_INNER), f32));
	inner = pointwise(b, CUDNN_POINTWISE_MUL, inner, number(b, OTP_DNN_ONE), wide(b, OTP_DNN_INNER));

	cudnnBackendDescriptor_t shares = multiply(b, q, k, between(b, scores, f32));
	shares = pointwise(b, CUDNN_POINTWISE_MUL, shares, scale, between(b, scores, f32));
	shares =
	    pointwise(b, CUDNN_POINTWISE_SUB, shares, wide(b, OTP_DNN_STATISTICS), between(b, scores, f32));
	shares = pointwise(b, CUDNN_POINTWISE_EXP, shares, NULL, between(b, scores, f32));
	multiply(b, laid_out(b, shares, turned(scores)), g, narrow(b, OTP_DNN_VALUE_GRAD));

	cudnnBackendDescriptor_t ds = multiply(b, g, v, between(b, scores, f32));
	ds = pointwise(b, CUDNN_POINTWISE_SUB, ds, inner, between(b, scores, f32));
	ds = pointwise(b, CUDNN_POINTWISE_MUL, ds, shares, between(b, scores, f32));
	ds = pointwise(b, CUDNN_POINTWISE_MUL, ds, scale, between(b, scores, f32));
	multiply(b, laid_out(b, ds, turned(scores)), q, narrow(b, OTP_DNN_KEY_GRAD));
	multiply(b, ds, laid_out(b, k, layout_of(a, OTP_DNN_KEY)), narrow(b, OTP_DNN_QUERY_GRAD));
}

bool otp_dnn_attention_init(otp_dnn_graph *g, const otp_dnn_attention *attention, cudnnHandle_t handle)
{
	*g = (otp_dnn_graph){.count = 0};
	builder b = {.g = g, .a = attention, .good = true};
	if (attention->pass == OTP_DNN_ATTENTION_ADJOINT)
		describe_adjoint(&b);
	else
		describe_forward(&b);
	if (b.good && make_whole(g, b.operations, b.count, handle))
		return true;
	otp_dnn_graph_free(g);
	return false;
}

bool otp_dnn_attention_takes(otp_dnn_attention_pass pass, otp_dnn_attention_role role)
{
	if (role <= OTP_DNN_SCORE_SCALE)
		return true;
	return pass == OTP_DNN_ATTENTION_ADJOINT ||
	       (pass == OTP_DNN_ATTENTION_KEEPING && role == OTP_DNN_STATISTICS);
}
