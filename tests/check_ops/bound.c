/* bound: how far a result may be from ref's. */
#include "check_ops/harness.h"

#include <math.h>
#include <string.h>

/* Half an ulp of 8 significant bits is at most so much of a number. */
static const double BF16_UNIT = 0x1p-8;

static bool is_convolution(otp_op op)
{
	return op == OTP_OP_conv2d || op == OTP_OP_conv2d_bias || op == OTP_OP_conv2d_merge ||
	       op == OTP_OP_conv2d_dgrad || op == OTP_OP_conv2d_wgrad;
}

/* cuDNN has no ready engine with bfloat16 operands and a float32 result, so where operands may be bfloat16 a
 * convolution's sums may be written in bfloat16 whatever type its result has. */
static bool sums_may_be_bf16(const char *backend, const test_case *t, way w)
{
	bool converted = strcmp(backend, "cuda") == 0 && w.precision == OTP_PRECISION_BF16;
	return is_convolution(t->op) && (converted || (w.narrow & RESULT));
}

/* What sums and operands leave, in units of the magnitude. In bfloat16 the float32 operands of a product are
 * rounded to 8 significant bits, by at most 2^-8 each, before a float32 sum; two together below
 * 2^-7 (1 + 2^-9). */
static double unit_of(const test_case *t, way w)
{
	double unit = t->bound == EXACT ? 0 : t->roundings * UNIT;
	/* Rounded queries and keys put scores off by D = 2^-7 S, shares by e^2D - 1, below 2.5 D where S <
	 * 25; p, v, g and ds are rounded, too. Compare check_attention_op. */
	bool attention = t->op == OTP_OP_attention || t->op == OTP_OP_attention_grad;
	if (attention && w.precision == OTP_PRECISION_BF16)
		return unit + (t->op == OTP_OP_attention ? 2.5 * 0x1p-7 + 2 * BF16_UNIT
							 : 2 * 2.5 * 0x1p-7 + 4 * BF16_UNIT);
	for (int i = 0; i < 2 && t->bf16 && w.precision == OTP_PRECISION_BF16; i++)
		unit += w.narrow >> i & 1 ? 0 : BF16_UNIT + 0x1p-17;
	return unit;
}

/* A number that is off by `error` and at most so large without it, after it was rounded to bfloat16. */
static double rounded(double error, double size) { return error + BF16_UNIT * (size + error); }

/* Each rounding to bfloat16 is of what was computed up to there: sums before an epilogue, whose size is at
 * most the magnitude and after which errors are no larger (scales and slopes are at most 1); and the result,
 * whose size is known. Sums without an epilogue are the result: they are rounded once, be it stored in
 * bfloat16 or widened. */
double allowed_error(const char *backend, const test_case *t, way w, double magnitude, double gpu, double x,
		     double exact)
{
	bool device = strcmp(backend, "cuda") == 0, own = device || strcmp(backend, "shim") == 0;
	bool epilogue = t->op == OTP_OP_conv2d_bias || t->op == OTP_OP_conv2d_merge;
	bool bf16_sums = sums_may_be_bf16(backend, t, w);
	double error = unit_of(t, w) * magnitude;
	if (own)
		error += (gpu + t->gpu_roundings * magnitude) * UNIT;
	if (device)
		error += (t->device_roundings + t->device_slope * fabs(x)) * magnitude * UNIT;
	if (bf16_sums && epilogue)
		error = rounded(error, magnitude);
	bool last = (w.narrow & RESULT) || (bf16_sums && !epilogue);
	return last ? rounded(error, fabs(exact)) : error;
}
