/* matrix.c (ref): matrix product, softmax and attention over the (w, c) planes. */
#include "ref/ref.h"
#include "scalar.h"

OTP_REF_KERNEL(matmul)
{
	const otp_tensor *a = &call->in[0], *b = &call->in[1];
	bool ta = call->attr.matmul.ta, tb = call->attr.matmul.tb;
	int depth = ta ? a->shape.w : a->shape.c;
	OTP_REF_EACH (i, call->out.shape) {
		double total = 0;
		for (int k = 0; k < depth; k++) {
			otp_shape at_a = {i.n, i.h, ta ? k : i.w, ta ? i.w : k};
			otp_shape at_b = {i.n, i.h, tb ? i.c : k, tb ? k : i.c};
			total += *otp_ref_at(a, at_a) * *otp_ref_at(b, at_b);
		}
		*otp_ref_at(&call->out, i) = total;
	}
}

static otp_shape rows_of(otp_shape s) { return otp_shape4(s.n, s.h, s.w, 1); }

OTP_REF_KERNEL(softmax)
{
	int count = call->out.shape.c;
	OTP_REF_EACH (row, rows_of(call->out.shape)) {
		const double *x = otp_ref_at(&call->in[0], row);
		double *y = otp_ref_at(&call->out, row), largest = x[0], total = 0;
		for (int c = 0; c < count; c++)
			largest = x[c] > largest ? x[c] : largest;
		for (int c = 0; c < count; c++)
			total += y[c] = otp_exp_d(x[c] - largest);
		for (int c = 0; c < count; c++)
			y[c] /= total;
	}
}

OTP_REF_KERNEL(softmax_gate)
{
	int count = call->out.shape.c;
	OTP_REF_EACH (row, rows_of(call->out.shape)) {
		const double *y = otp_ref_at(&call->in[0], row), *g = otp_ref_at(&call->in[1], row);
		double *out = otp_ref_at(&call->out, row), inner = 0;
		for (int c = 0; c < count; c++)
			inner += y[c] * g[c];
		for (int c = 0; c < count; c++)
			out[c] = y[c] * (g[c] - inner);
	}
}

/* ---- attention ---- */

enum { Q, K, V };

/* Channel c of token w's query, key or value at i's plane, in a tensor of all three. */
static double *part_at(const otp_tensor *qkv, otp_shape plane, int w, int part, int c)
{
	return otp_ref_at(qkv, otp_shape4(plane.n, plane.h, w, part * (qkv->shape.c / 3) + c));
}

/* How much token w looks at each token: softmax of a row of scores. */
static void look(const otp_call *call, otp_shape plane, int w, double *share)
{
	const otp_tensor *qkv = &call->in[0];
	int tokens = qkv->shape.w, channels = qkv->shape.c / 3;
	double largest = -HUGE_VAL, total = 0;
	for (int k = 0; k < tokens; k++) {
		share[k] = 0;
		for (int c = 0; c < channels; c++)
			share[k] += call->attr.attention.scale * *part_at(qkv, plane, w, Q, c) *
				    *part_at(qkv, plane, k, K, c);
		largest = share[k] > largest ? share[k] : largest;
	}
	for (int k = 0; k < tokens; k++)
		total += share[k] = otp_exp_d(share[k] - largest);
	for (int k = 0; k < tokens; k++)
		share[k] /= total;
}

static void run_attention(const otp_call *call)
{
	otp_shape s = call->out.shape;
	double *share = call->scratch;
	OTP_REF_EACH (row, rows_of(s)) {
		look(call, row, row.w, share);
		for (row.c = 0; row.c < s.c; row.c++) {
			double *y = otp_ref_at(&call->out, row);
			*y = 0;
			for (int k = 0; k < s.w; k++)
				*y += share[k] * *part_at(&call->in[0], row, k, V, row.c);
		}
		row.c = 0;
	}
}

/* What token w's row of scores gives to the gradients: dv = share g, and, with
 * ds = share (g v - <share, g v>) its scores' gradient, dq = scale ds k and dk = scale ds q. */
static void add_row(const otp_call *call, otp_shape plane, int w, const double *share, double *gv)
{
	const otp_tensor *qkv = &call->in[0], *g = &call->in[1], *out = &call->out;
	int tokens = g->shape.w, channels = g->shape.c;
	double inner = 0;
	for (int k = 0; k < tokens; k++) {
		gv[k] = 0;
		for (int c = 0; c < channels; c++)
			gv[k] += *otp_ref_at(g, otp_shape4(plane.n, plane.h, w, c)) *
				 *part_at(qkv, plane, k, V, c);
		inner += share[k] * gv[k];
	}
	for (int k = 0; k < tokens; k++)
		for (int c = 0; c < channels; c++) {
			double ds = call->attr.attention.scale * share[k] * (gv[k] - inner);
			*part_at(out, plane, w, Q, c) += ds * *part_at(qkv, plane, k, K, c);
			*part_at(out, plane, k, K, c) += ds * *part_at(qkv, plane, w, Q, c);
			*part_at(out, plane, k, V, c) +=
			    share[k] * *otp_ref_at(g, otp_shape4(plane.n, plane.h, w, c));
		}
}

static void run_attention_grad(const otp_call *call)
{
	otp_shape s = call->in[1].shape;
	double *share = call->scratch;
	otp_ref_zero(&call->out);
	OTP_REF_EACH (row, rows_of(s)) {
		look(call, row, row.w, share);
		add_row(call, row, row.w, share, share + s.w);
	}
}

/* A row of shares, and one of their gradients. */
static size_t two_rows(const otp_call *call) { return 2 * (size_t)call->in[0].shape.w * sizeof(double); }

const otp_kernel otp_ref_attention = {.run = run_attention, .scratch_bytes = two_rows};
const otp_kernel otp_ref_attention_grad = {.run = run_attention_grad, .scratch_bytes = two_rows};
