/* conv.c (ref): the convolution triple as one sum of products. Each term joins
 * an element of x, one of w and one of y; which of the three collects the
 * product of the other two is all that tells the ops apart, so that they are
 * adjoint by construction. */
#include "ref/ref.h"
#include "scalar.h"

typedef enum collector { INTO_X, INTO_W, INTO_Y } collector;

/* The terms of one output position and one kernel position. */
static void add_terms(const otp_tensor *x, const otp_tensor *w, const otp_tensor *y, otp_shape at_y, int kh,
		      int kw, int stride, int pad, collector into)
{
	otp_shape at_x = {at_y.n, at_y.h * stride + kh - pad, at_y.w * stride + kw - pad, 0};
	if (at_x.h < 0 || at_x.h >= x->shape.h || at_x.w < 0 || at_x.w >= x->shape.w)
		return; /* zero padding */
	double *ye = otp_ref_at(y, at_y);
	for (int ci = 0; ci < x->shape.c; ci++) {
		at_x.c = ci;
		double *xe = otp_ref_at(x, at_x), *we = otp_ref_at(w, otp_shape4(at_y.c, kh, kw, ci));
		if (into == INTO_X)
			*xe += *ye * *we;
		else if (into == INTO_W)
			*we += *xe * *ye;
		else
			*ye += *xe * *we;
	}
}

static void convolve(const otp_call *call, const otp_tensor *x, const otp_tensor *w, const otp_tensor *y,
		     collector into)
{
	OTP_REF_EACH (i, y->shape)
		for (int kh = 0; kh < w->shape.h; kh++)
			for (int kw = 0; kw < w->shape.w; kw++)
				add_terms(x, w, y, i, kh, kw, call->attr.conv.stride, call->attr.conv.pad,
					  into);
}

OTP_REF_KERNEL(conv2d)
{
	otp_ref_zero(&call->out);
	convolve(call, &call->in[0], &call->in[1], &call->out, INTO_Y);
}

OTP_REF_KERNEL(conv2d_bias)
{
	OTP_REF_EACH (i, call->out.shape)
		*otp_ref_at(&call->out, i) = *otp_ref_at(&call->in[2], i);
	convolve(call, &call->in[0], &call->in[1], &call->out, INTO_Y);
	OTP_REF_EACH (i, call->out.shape) {
		double *y = otp_ref_at(&call->out, i);
		*y = otp_lrelu_d(*y, call->attr.conv.slope);
	}
}

OTP_REF_KERNEL(conv2d_merge)
{
	OTP_REF_EACH (i, call->out.shape)
		*otp_ref_at(&call->out, i) = *otp_ref_at(&call->in[2], i) + *otp_ref_at(&call->in[3], i);
	convolve(call, &call->in[0], &call->in[1], &call->out, INTO_Y);
	OTP_REF_EACH (i, call->out.shape)
		*otp_ref_at(&call->out, i) *= call->attr.conv.scale;
}

OTP_REF_KERNEL(conv2d_dgrad)
{
	otp_ref_zero(&call->out);
	convolve(call, &call->out, &call->in[1], &call->in[0], INTO_X);
}

OTP_REF_KERNEL(conv2d_wgrad)
{
	otp_ref_zero(&call->out);
	convolve(call, &call->in[0], &call->out, &call->in[1], INTO_W);
}
