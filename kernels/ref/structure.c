/* structure.c (ref): ops that move elements, sum them or repeat them. */
#include "ref/ref.h"

#include <string.h>

OTP_REF_KERNEL(copy)
{
	OTP_REF_EACH (i, call->out.shape)
		*otp_ref_at(&call->out, i) = *otp_ref_at(&call->in[0], i);
}

OTP_REF_KERNEL(reshape)
{
	memmove(call->out.data, call->in[0].data, (size_t)otp_shape_count(call->out.shape) * sizeof(double));
}

OTP_REF_KERNEL(sum)
{
	otp_ref_zero(&call->out);
	OTP_REF_EACH (i, call->in[0].shape)
		*otp_ref_at(&call->out, i) += *otp_ref_at(&call->in[0], i);
}

OTP_REF_KERNEL(spread)
{
	OTP_REF_EACH (i, call->out.shape)
		*otp_ref_at(&call->out, i) = *otp_ref_at(&call->in[0], i);
}

/* The index moved by `by` along an axis. */
static otp_shape moved(otp_shape i, otp_axis axis, int by)
{
	*otp_ref_along(&i, axis) += by;
	return i;
}

/* Put all of `part` into `whole` from `begin` on. */
static void place(const otp_tensor *whole, const otp_tensor *part, otp_axis axis, int begin)
{
	OTP_REF_EACH (i, part->shape)
		*otp_ref_at(whole, moved(i, axis, begin)) = *otp_ref_at(part, i);
}

OTP_REF_KERNEL(concat)
{
	otp_axis axis = call->attr.axis.axis;
	otp_shape first = call->in[0].shape;
	place(&call->out, &call->in[0], axis, 0);
	place(&call->out, &call->in[1], axis, *otp_ref_along(&first, axis));
}

OTP_REF_KERNEL(slice)
{
	otp_axis axis = call->attr.slice.axis;
	int begin = call->attr.slice.begin;
	OTP_REF_EACH (i, call->out.shape)
		*otp_ref_at(&call->out, i) = *otp_ref_at(&call->in[0], moved(i, axis, begin));
}

OTP_REF_KERNEL(pad)
{
	otp_ref_zero(&call->out);
	place(&call->out, &call->in[0], call->attr.slice.axis, call->attr.slice.begin);
}
