/* attention.c (cuda): attention and its adjoint as products and softmax, in one
 * call's scratch. Products are of bfloat16 operands where anything is stored so;
 * scores and their gradients are float32 until softmax and its adjoint have seen
 * them. The adjoint makes the scores anew: they are not kept between the two.
 * Where all is bfloat16 flash kernels take over if they are faster.
 * Knows of no CUDA: it runs on the host under the tests' shim, too. */
#include "cuda/cuda.h"
#include "cuda/flash.h"
#include "cuda/product.h"

enum { SCORES, MIX, MIX_ADJOINT, SCORES_BY_MIX, TO_Q, TO_K, PRODUCTS };

typedef struct bound {
	otp_product *product[PRODUCTS]; /* those that the op needs */
	otp_type type;			/* of operands */
	size_t operand[2];		/* where in scratch an input is, if it is not stored in `type` */
	size_t scores, shares, workspace, bytes;
	void (*composed)(const otp_call *call);
	const otp_dnn_plan *flash; /* in place of all that, or NULL */
} bound;

static size_t take(size_t *at, int64_t elements, otp_type type)
{
	size_t here = *at;
	*at += otp_round_up((size_t)elements * (type == OTP_BF16 ? sizeof(uint16_t) : sizeof(float)), 256);
	return here;
}

static int input_count(const otp_call *call) { return call->op == OTP_OP_attention ? 1 : 2; }

static otp_shape scores_shape(const otp_call *call)
{
	otp_shape s = call->in[0].shape;
	return otp_shape4(s.n, s.h, s.w, s.w);
}

static void lay_out(const otp_call *call, bound *b)
{
	int64_t scores = otp_shape_count(scores_shape(call));
	for (int i = 0; i < input_count(call); i++)
		if (call->in[i].type != b->type)
			b->operand[i] = take(&b->bytes, otp_shape_count(call->in[i].shape), b->type);
	b->scores = take(&b->bytes, scores, OTP_F32);
	b->shares = take(&b->bytes, scores, b->type);
	b->workspace = b->bytes;
}

/* `columns` columns of t from `first` on, as it will be in `type`. */
static otp_matrices part_of(const otp_tensor *t, otp_type type, int first, int columns)
{
	size_t offset = (size_t)first * (type == OTP_BF16 ? sizeof(uint16_t) : sizeof(float));
	uintptr_t start = t->type == type ? (uintptr_t)t->data : 0; /* scratch */
	return (otp_matrices){type,	  (int64_t)t->shape.n * t->shape.h, t->shape.w, columns,
			      t->shape.c, otp_alignment_of(start + offset)};
}

static void bind_products(otp_call *call)
{
	bool forward = call->op == OTP_OP_attention, narrow = call->out.type == OTP_BF16;
	for (int i = 0; i < input_count(call); i++)
		narrow |= call->in[i].type == OTP_BF16;
	bound *b = call->bound = otp_calloc(1, sizeof *b);
	b->type = narrow ? OTP_BF16 : OTP_F32;
	lay_out(call, b);

	const otp_tensor *qkv = &call->in[0], *g = &call->in[1], *out = &call->out;
	int c = qkv->shape.c / 3, tokens = qkv->shape.w;
	otp_matrices q = part_of(qkv, b->type, 0, c), k = part_of(qkv, b->type, c, c);
	otp_matrices v = part_of(qkv, b->type, 2 * c, c);
	otp_matrices shares = {b->type, q.batch, tokens, tokens, tokens, 64}, scores = shares;
	scores.type = OTP_F32;
	b->product[SCORES] = otp_product_new(call->device, &q, false, &k, true, &scores, call->precision);
	if (forward) {
		otp_matrices y = part_of(out, out->type, 0, c);
		b->product[MIX] =
		    otp_product_new(call->device, &shares, false, &v, false, &y, call->precision);
	} else {
		otp_matrices gy = part_of(g, b->type, 0, c);
		otp_matrices dq = part_of(out, out->type, 0, c), dk = part_of(out, out->type, c, c);
		otp_matrices dv = part_of(out, out->type, 2 * c, c);
		b->product[MIX_ADJOINT] =
		    otp_product_new(call->device, &shares, true, &gy, false, &dv, call->precision);
		b->product[SCORES_BY_MIX] =
		    otp_product_new(call->device, &gy, false, &v, true, &scores, call->precision);
		b->product[TO_Q] =
		    otp_product_new(call->device, &shares, false, &k, false, &dq, call->precision);
		b->product[TO_K] =
		    otp_product_new(call->device, &shares, true, &q, false, &dk, call->precision);
	}
	size_t most = 0;
	for (int i = 0; i < PRODUCTS; i++)
		if (b->product[i] && otp_product_workspace(b->product[i]) > most)
			most = otp_product_workspace(b->product[i]);
	b->bytes += most;
}

static void unbind_attention(otp_call *call)
{
	bound *b = call->bound;
	for (int i = 0; i < PRODUCTS; i++)
		otp_product_free(b->product[i]);
	otp_free(b);
}

static size_t attention_scratch(const otp_call *call)
{
	const bound *b = call->bound;
	return b->flash ? otp_flash_scratch(call, b->flash) : b->bytes;
}

/* An input as the products want it. */
static char *operand(const otp_call *call, int i)
{
	const bound *b = call->bound;
	if (call->in[i].type == b->type)
		return call->in[i].data;
	otp_tensor converted = {(char *)call->scratch + b->operand[i], call->in[i].shape, b->type, NULL};
	otp_cuda_convert(call, &converted, &call->in[i]);
	return converted.data;
}

static void multiply(const otp_call *call, int which, const void *x, const void *w, void *y)
{
	const bound *b = call->bound;
	otp_product_run(call, b->product[which], x, w, y, (char *)call->scratch + b->workspace);
}

/* Where things are: q, k, v in what was given, or in dq, dk, dv; scores and shares in scratch. */
typedef struct parts {
	char *q, *k, *v;
} parts;

static parts parts_of(const otp_call *call, char *data, otp_type type)
{
	size_t apart =
	    (size_t)call->in[0].shape.c / 3 * (type == OTP_BF16 ? sizeof(uint16_t) : sizeof(float));
	return (parts){data, data + apart, data + 2 * apart};
}

static otp_tensor scores_of(const otp_call *call)
{
	const bound *b = call->bound;
	return (otp_tensor){(char *)call->scratch + b->scores, scores_shape(call), OTP_F32, NULL};
}

static otp_tensor shares_of(const otp_call *call)
{
	const bound *b = call->bound;
	return (otp_tensor){(char *)call->scratch + b->shares, scores_shape(call), b->type, NULL};
}

/* shares = softmax(scale q k^T) */
static void look(const otp_call *call, parts in)
{
	otp_tensor scores = scores_of(call), shares = shares_of(call);
	multiply(call, SCORES, in.q, in.k, scores.data);
	otp_cuda_share_out(call, &shares, &scores, call->attr.attention.scale);
}

static void compose_attention(const otp_call *call)
{
	const bound *b = call->bound;
	parts in = parts_of(call, operand(call, 0), b->type);
	look(call, in);
	multiply(call, MIX, shares_of(call).data, in.v, call->out.data);
}

static void compose_attention_grad(const otp_call *call)
{
	const bound *b = call->bound;
	parts in = parts_of(call, operand(call, 0), b->type);
	parts out = parts_of(call, call->out.data, call->out.type);
	char *g = operand(call, 1);
	otp_tensor scores = scores_of(call), shares = shares_of(call);
	look(call, in);
	multiply(call, MIX_ADJOINT, shares.data, g, out.v);
	multiply(call, SCORES_BY_MIX, g, in.v, scores.data);
	otp_cuda_gate_shares(call, &shares, &shares, &scores, call->attr.attention.scale);
	multiply(call, TO_Q, shares.data, in.k, out.q);
	multiply(call, TO_K, shares.data, in.q, out.k);
}

/* No flash plan is tried beside products that could not be made. */
static bool bind(otp_call *call, void (*composed)(const otp_call *call), otp_error *err)
{
	otp_cuda_note note;
	otp_cuda_start_note(&note);
	bind_products(call);
	if (!otp_cuda_end_note(&note, err))
		return false;
	bound *b = call->bound;
	b->composed = composed;
	otp_cuda_start_note(&note);
	b->flash = otp_flash_plan_for(call, composed, b->bytes);
	return otp_cuda_end_note(&note, err);
}

static bool bind_attention(otp_call *call, otp_error *err) { return bind(call, compose_attention, err); }
static bool bind_attention_grad(otp_call *call, otp_error *err)
{
	return bind(call, compose_attention_grad, err);
}

/* Of the composition: flash kernels, where they take over, need less. */
static size_t expected_scratch(otp_call *call)
{
	bind_products(call);
	bound *b = call->bound;
	size_t bytes = b->bytes;
	unbind_attention(call);
	call->bound = NULL;
	return bytes;
}

static void run_attention(const otp_call *call)
{
	const bound *b = call->bound;
	if (b->flash)
		otp_flash_run(call, b->flash);
	else
		b->composed(call);
}

const otp_kernel otp_cuda_attention = {run_attention, bind_attention, unbind_attention, attention_scratch,
				       expected_scratch};
const otp_kernel otp_cuda_attention_grad = {run_attention, bind_attention_grad, unbind_attention,
					    attention_scratch, expected_scratch};
