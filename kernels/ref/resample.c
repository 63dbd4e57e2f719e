/* resample.c (ref): down2 and up2 as one sum: sample (h, w) of the small image
 * meets samples 2h - 1 .. 2h + 2 of the large one, zero outside. */
#include "ref/ref.h"

static const double taps[][4] = {
    [OTP_FILTER_BOX] = {0, 0.5, 0.5, 0},
    [OTP_FILTER_FIR] = {0.125, 0.375, 0.375, 0.125},
};

static void resample(const otp_call *call, const otp_tensor *small, const otp_tensor *large, bool down)
{
	const double *tap = taps[call->attr.resample.filter];
	OTP_REF_EACH (i, small->shape)
		for (int kh = 0; kh < 4; kh++)
			for (int kw = 0; kw < 4; kw++) {
				otp_shape j = {i.n, 2 * i.h + kh - 1, 2 * i.w + kw - 1, i.c};
				if (j.h < 0 || j.h >= large->shape.h || j.w < 0 || j.w >= large->shape.w)
					continue;
				double weight = call->attr.resample.gain * tap[kh] * tap[kw];
				weight *= call->attr.resample.scale;
				if (down)
					*otp_ref_at(small, i) += weight * *otp_ref_at(large, j);
				else
					*otp_ref_at(large, j) += weight * *otp_ref_at(small, i);
			}
}

OTP_REF_KERNEL(down2)
{
	otp_ref_zero(&call->out);
	resample(call, &call->out, &call->in[0], true);
}

OTP_REF_KERNEL(up2)
{
	otp_ref_zero(&call->out);
	resample(call, &call->in[0], &call->out, false);
}

OTP_REF_KERNEL(up2_merge)
{
	OTP_REF_EACH (i, call->out.shape)
		*otp_ref_at(&call->out, i) = call->attr.resample.scale * *otp_ref_at(&call->in[1], i);
	resample(call, &call->in[0], &call->out, false);
}
