/* update.c (ref): random draws and the optimiser's step. */
#include "ref/ref.h"
#include "scalar.h"

OTP_REF_KERNEL(normal)
{
	otp_shape s = call->out.shape;
	OTP_REF_EACH (i, s) {
		otp_stream stream;
		for (int k = 0; k < 4; k++)
			stream.word[k] = (uint32_t)*otp_ref_at(&call->in[0], otp_shape4(i.n, 0, 0, k));
		uint32_t element = (uint32_t)(((int64_t)i.h * s.w + i.w) * s.c + i.c);
		otp_normals draw = otp_normal_block(stream, call->attr.noise.purpose, element / 4);
		*otp_ref_at(&call->out, i) = draw.v[element % 4];
	}
}

/* The first share updates all columns: shares are a matter of speed. */
OTP_REF_KERNEL(adam)
{
	const otp_tensor *state = &call->in[0], *grads = &call->in[1];
	const double *hyper = call->in[2].data;
	if (call->part != 0)
		return;
	for (int c = 0; c < state->shape.c; c++) {
		double g = 0;
		for (int part = 0; part < grads->shape.w; part++)
			g += *otp_ref_at(grads, otp_shape4(0, 0, part, c));
		double row[4] = {0};
		for (int k = 0; k < state->shape.w; k++)
			row[k] = *otp_ref_at(state, otp_shape4(0, 0, k, c));
		row[OTP_ROW_PARAM] = otp_adam_step_d(row[OTP_ROW_PARAM], g, &row[OTP_ROW_M], &row[OTP_ROW_V],
						     hyper[OTP_HYPER_RATE], call->attr.adam.beta1,
						     call->attr.adam.beta2, hyper[OTP_HYPER_CORRECT1],
						     hyper[OTP_HYPER_CORRECT2], call->attr.adam.eps);
		row[OTP_ROW_EMA] = otp_ema_d(row[OTP_ROW_EMA], row[OTP_ROW_PARAM], hyper[OTP_HYPER_EMA]);
		for (int k = 0; k < state->shape.w; k++)
			*otp_ref_at(&call->out, otp_shape4(0, 0, k, c)) = row[k];
	}
}
