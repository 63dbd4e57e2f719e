/* matrix.c (cpu): matrix product through oneDNN or thin.c, softmax row by row, and
 * attention from both, a few samples at a time, so that scores stay in the cache. */
#include "cpu/cpu.h"
#include "cpu/dnn.h"
#include "cpu/thin.h"
#include "scalar.h"

#include <string.h>

/* Products with a thin side are bound to nothing: thin.c computes them. Small ones gain less from
 * bfloat16 than rounding their operands costs. */
enum { LEAST_BF16 = 1 << 20 };

static bool worth_bf16(const otp_call *call, const otp_dnn_matmul *p)
{
	return call->precision == OTP_PRECISION_BF16 && p->m * p->n * p->k >= LEAST_BF16 &&
	       otp_dnn_has_bf16();
}

static otp_dnn_matmul product_of(const otp_call *call)
{
	otp_shape a = call->in[0].shape, out = call->out.shape;
	bool ta = call->attr.matmul.ta;
	otp_dnn_matmul p = {.batch = (int64_t)a.n * a.h,
			    .m = out.w,
			    .n = out.c,
			    .k = ta ? a.w : a.c,
			    .ta = ta,
			    .tb = call->attr.matmul.tb};
	p.bf16 = worth_bf16(call, &p);
	p.planned = call->planned;
	return p;
}

static bool bind_matmul(otp_call *call, otp_error *err)
{
	(void)err;
	otp_dnn_matmul p = product_of(call);
	if (!otp_thin_suits(p.m, p.n, p.k))
		call->bound = otp_dnn_matmul_new(&p);
	return true;
}

static void run_thin(const otp_call *call)
{
	otp_dnn_matmul p = product_of(call);
	const float *a = call->in[0].data, *b = call->in[1].data;
	float *y = call->out.data;
	for (int64_t i = 0; i < p.batch; i++, a += p.m * p.k, b += p.k * p.n, y += p.m * p.n)
		otp_thin_product(y, a, b, p.m, p.n, p.k, p.ta, p.tb, call->scratch);
}

static void run_matmul(const otp_call *call)
{
	if (call->bound)
		otp_dnn_run(call->bound, call->in, call->out.data, call->scratch);
	else
		run_thin(call);
}

static void unbind_matmul(otp_call *call) { otp_dnn_free(call->bound); }

static size_t matmul_scratch(const otp_call *call)
{
	otp_dnn_matmul p = product_of(call);
	return call->bound ? otp_dnn_scratch_bytes(call->bound) : otp_thin_scratch_bytes(p.m, p.n, p.k);
}

const otp_kernel otp_cpu_matmul = {run_matmul, bind_matmul, unbind_matmul, matmul_scratch};

/* softmax of scale x, scale > 0 */
OTP_SIMD static void softmax_rows(float *y, const float *x, int64_t rows, int count, float scale)
{
	for (int64_t r = 0; r < rows; r++, x += count, y += count) {
		float largest = x[0], total = 0;
#pragma omp simd reduction(max : largest)
		for (int i = 0; i < count; i++)
			largest = x[i] > largest ? x[i] : largest;
#pragma omp simd reduction(+ : total)
		for (int i = 0; i < count; i++) {
			y[i] = otp_exp_f(scale * (x[i] - largest));
			total += y[i];
		}
		float share = 1.0f / total;
#pragma omp simd
		for (int i = 0; i < count; i++)
			y[i] *= share;
	}
}

OTP_CPU_KERNEL(softmax)
{
	otp_shape s = call->out.shape;
	softmax_rows(call->out.data, call->in[0].data, otp_shape_count(s) / s.c, s.c, 1);
}

OTP_SIMD static void softmax_gate_rows(float *out, const float *y, const float *g, int64_t rows, int count,
				       float scale)
{
	for (int64_t r = 0; r < rows; r++, y += count, g += count, out += count) {
		float inner = 0;
#pragma omp simd reduction(+ : inner)
		for (int i = 0; i < count; i++)
			inner += y[i] * g[i];
#pragma omp simd
		for (int i = 0; i < count; i++)
			out[i] = scale * y[i] * (g[i] - inner);
	}
}

OTP_CPU_KERNEL(softmax_gate)
{
	otp_shape s = call->out.shape;
	softmax_gate_rows(call->out.data, call->in[0].data, call->in[1].data, otp_shape_count(s) / s.c, s.c,
			  1);
}

/* ---- attention: oneDNN is slow where rows do not lie side by side, so q, k and v are taken apart first ----
 */

enum { SCORES, MIX, MIX_ADJOINT, TO_Q, PRODUCTS, MOST_SCORES = 1 << 16 };

typedef struct attention {
	otp_dnn
	    *product[PRODUCTS]; /* q k^T and g v^T; p v; p^T g and ds^T q; ds k: those that the op needs */
	int64_t planes, group;	/* samples; of which `group` are done together */
	int64_t tokens, channels;
	int64_t part, scores; /* floats of scratch for a q, for scores */
	size_t product_bytes;
} attention;

/* As many samples as keep their scores within MOST_SCORES, and divide them all. */
static int64_t group_of(int64_t planes, int64_t scores)
{
	int64_t group = MOST_SCORES / scores;
	group = group < 1 ? 1 : group > planes ? planes : group;
	while (planes % group)
		group--;
	return group;
}

static int64_t aligned(int64_t floats)
{
	return (int64_t)otp_round_up((size_t)floats, OTP_CPU_ALIGN / sizeof(float));
}

static bool bind_attention(otp_call *call, otp_error *err)
{
	(void)err;
	otp_shape s = call->in[0].shape;
	attention *a = otp_calloc(1, sizeof *a);
	int64_t t = a->tokens = s.w, c = a->channels = s.c / 3;
	a->planes = (int64_t)s.n * s.h;
	int64_t n = a->group = group_of(a->planes, t * t);
	a->part = aligned(n * t * c);
	a->scores = aligned(n * t * t);
	const otp_dnn_matmul products[PRODUCTS] = {[SCORES] = {n, t, t, c, .tb = true},
						   [MIX] = {n, t, c, t},
						   [MIX_ADJOINT] = {n, t, c, t, .ta = true},
						   [TO_Q] = {n, t, c, t}};
	for (int i = 0; i < PRODUCTS; i++) {
		otp_dnn_matmul p = products[i];
		p.bf16 = worth_bf16(call, &p);
		p.planned = call->planned;
		if (i == SCORES || (i == MIX) == (call->op == OTP_OP_attention))
			a->product[i] = otp_dnn_matmul_new(&p);
	}
	for (int i = 0; i < PRODUCTS; i++) {
		size_t bytes = a->product[i] ? otp_dnn_scratch_bytes(a->product[i]) : 0;
		a->product_bytes = bytes > a->product_bytes ? bytes : a->product_bytes;
	}
	call->bound = a;
	return true;
}

static void unbind_attention(otp_call *call)
{
	attention *a = call->bound;
	for (int i = 0; i < PRODUCTS; i++)
		otp_dnn_free(a->product[i]);
	otp_free(a);
}

/* In scratch: q, k, v, one of their gradients, p, ds, and what a product needs. */
typedef struct room {
	float *q, *k, *v, *grad, *p, *ds;
	void *product;
} room;

static room room_of(const otp_call *call)
{
	const attention *a = call->bound;
	float *at = call->scratch, *scores = at + 4 * a->part;
	return (room){at,     at + a->part,	  at + 2 * a->part,	 at + 3 * a->part,
		      scores, scores + a->scores, scores + 2 * a->scores};
}

static size_t attention_scratch(const otp_call *call)
{
	const attention *a = call->bound;
	return (size_t)(4 * a->part + 2 * a->scores) * sizeof(float) + a->product_bytes;
}

/* The part of each row, of all three, that begins at `from`; and back. */
static void take_part(const attention *a, float *part, const float *from)
{
	for (int64_t row = 0; row < a->group * a->tokens; row++)
		memcpy(part + row * a->channels, from + 3 * row * a->channels,
		       (size_t)a->channels * sizeof *part);
}

static void put_part(const attention *a, float *to, const float *part)
{
	for (int64_t row = 0; row < a->group * a->tokens; row++)
		memcpy(to + 3 * row * a->channels, part + row * a->channels,
		       (size_t)a->channels * sizeof *part);
}

static void multiply(const otp_call *call, int which, float *x, float *w, float *y)
{
	const attention *a = call->bound;
	const otp_tensor in[2] = {{.data = x}, {.data = w}};
	otp_dnn_run(a->product[which], in, y, room_of(call).product);
}

/* q, k, v of the group at qkv, and p = softmax(scale q k^T) */
static void look(const otp_call *call, const float *qkv)
{
	const attention *a = call->bound;
	room r = room_of(call);
	take_part(a, r.q, qkv);
	take_part(a, r.k, qkv + a->channels);
	take_part(a, r.v, qkv + 2 * a->channels);
	multiply(call, SCORES, r.q, r.k, r.p);
	softmax_rows(r.p, r.p, a->group * a->tokens, (int)a->tokens, call->attr.attention.scale);
}

static void run_attention(const otp_call *call)
{
	const attention *a = call->bound;
	room r = room_of(call);
	int64_t elements = a->group * a->tokens * a->channels;
	const float *qkv = call->in[0].data;
	float *y = call->out.data;
	for (int64_t i = 0; i < a->planes; i += a->group, qkv += 3 * elements, y += elements) {
		look(call, qkv);
		multiply(call, MIX, r.p, r.v, y);
	}
}

static void run_attention_grad(const otp_call *call)
{
	const attention *a = call->bound;
	room r = room_of(call);
	int64_t rows = a->group * a->tokens, elements = rows * a->channels;
	const float *qkv = call->in[0].data;
	float *g = call->in[1].data, *to = call->out.data;
	for (int64_t i = 0; i < a->planes;
	     i += a->group, qkv += 3 * elements, g += elements, to += 3 * elements) {
		look(call, qkv);
		multiply(call, MIX_ADJOINT, r.p, g, r.grad);
		put_part(a, to + 2 * a->channels, r.grad);
		multiply(call, SCORES, g, r.v, r.ds);
		softmax_gate_rows(r.ds, r.p, r.ds, rows, (int)a->tokens, call->attr.attention.scale);
		multiply(call, TO_Q, r.ds, r.k, r.grad);
		put_part(a, to, r.grad);
		multiply(call, MIX_ADJOINT, r.ds, r.q, r.grad);
		put_part(a, to + a->channels, r.grad);
	}
}

const otp_kernel otp_cpu_attention = {run_attention, bind_attention, unbind_attention, attention_scratch};
const otp_kernel otp_cpu_attention_grad = {run_attention_grad, bind_attention, unbind_attention,
					   attention_scratch};
