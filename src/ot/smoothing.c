#include "ot/smoothing.h"
#include "core/base.h"
#include "scalar.h"

#include <math.h>

double otp_annealing_at(const otp_annealing *a, int64_t step)
{
	if (a->shape == OTP_ANNEAL_CONSTANT)
		return a->start;
	double way = (double)a->steps * a->fraction;
	double t = way > 0 ? (double)(step - 1) / way : 1;
	if (t >= 1 || a->shape == OTP_ANNEAL_NONE)
		return a->end;
	switch (a->shape) {
	case OTP_ANNEAL_COSINE:
		return a->end + (a->start - a->end) * 0.5 * (1 + cos(OTP_PI * t));
	case OTP_ANNEAL_GEOMETRIC:
		return a->start * pow(a->end / a->start, t);
	default:
		return a->start + (a->end - a->start) * t;
	}
}

double otp_smoothing_keep(otp_smoothing kind, double sigma)
{
	return kind == OTP_SMOOTHING_VP ? sqrt(1 - sigma * sigma) : 1;
}

otp_node *otp_smooth(otp_node *x, otp_node *eps, otp_node *keep, otp_node *sigma)
{
	return otp_add(otp_mul(x, keep), otp_mul(eps, sigma));
}

void otp_smoothing_noise(otp_stream stream, uint32_t first, size_t count, float *out)
{
	for (size_t i = 0; i < count;) {
		uint32_t element = first + (uint32_t)i, block = element / 4;
		otp_normals drawn = otp_normal_block(stream, OTP_PURPOSE_EPS, block);
		for (uint32_t k = element % 4; k < 4 && i < count; k++)
			out[i++] = drawn.v[k];
	}
}
