/* pointwise.c (ref): the formulas of scalar.h in double, element by element. */
#include "ref/ref.h"
#include "scalar.h"

/* y = expression of a (input 0), b (input 1, where there is one) and attr. */
#define POINTWISE(name, second, expression)                                                                  \
	OTP_REF_KERNEL(name)                                                                                 \
	{                                                                                                    \
		const otp_attr *attr = &call->attr;                                                          \
		(void)attr;                                                                                  \
		OTP_REF_EACH (i, call->out.shape) {                                                          \
			double a = *otp_ref_at(&call->in[0], i), b = *otp_ref_at(&call->in[second], i);      \
			(void)b;                                                                             \
			*otp_ref_at(&call->out, i) = expression;                                             \
		}                                                                                            \
	}

POINTWISE(add, 1, a + b)
POINTWISE(mul, 1, a *b)
POINTWISE(affine, 0, attr->affine.scale *a + attr->affine.offset)
POINTWISE(lrelu, 0, otp_lrelu_d(a, attr->slope.slope))
POINTWISE(lrelu_gate, 1, otp_lrelu_gate_d(a, b, attr->slope.slope))
POINTWISE(lrelu_gate_merge, 1,
	  otp_lrelu_gate_merge_d(a, b, *otp_ref_at(&call->in[2], i), attr->gate.slope, attr->gate.scale))
POINTWISE(silu, 0, otp_silu_d(a))
POINTWISE(silu_gate, 1, b *otp_silu_slope_d(a))
POINTWISE(silu_curve, 1, b *otp_silu_curve_d(a))
POINTWISE(sigmoid, 0, otp_sigmoid_d(a))
POINTWISE(softplus, 0, otp_softplus_d(a))
POINTWISE(exp, 0, otp_exp_d(a))
POINTWISE(rsqrt, 0, otp_rsqrt_d(a))
