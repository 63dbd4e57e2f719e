/* matrix.c (ref): matrix product and softmax over the (w, c) planes. */
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
