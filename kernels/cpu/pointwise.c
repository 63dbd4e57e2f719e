/* pointwise.c (cpu): element by element, in place where the plan wants it:
 * loops promise only that no iteration depends on another, so y may be x. */
#include "cpu/cpu.h"
#include "fold.h"
#include "scalar.h"

/* y = expression of x and up to two constants p, q of the attribute. */
#define UNARY(name, p_value, q_value, expression)                                                            \
	OTP_SIMD static void loop_##name(float *y, const float *in, int64_t count, float p, float q)         \
	{                                                                                                    \
		(void)p;                                                                                     \
		(void)q;                                                                                     \
		_Pragma("omp simd") for (int64_t i = 0; i < count; i++)                                      \
		{                                                                                            \
			float x = in[i];                                                                     \
			y[i] = expression;                                                                   \
		}                                                                                            \
	}                                                                                                    \
	OTP_CPU_KERNEL(name)                                                                                 \
	{                                                                                                    \
		loop_##name(call->out.data, call->in[0].data, otp_shape_count(call->out.shape), p_value,     \
			    q_value);                                                                        \
	}

UNARY(lrelu, call->attr.slope.slope, 0, otp_lrelu_f(x, p))
UNARY(silu, 0, 0, otp_silu_f(x))
UNARY(sigmoid, 0, 0, otp_sigmoid_f(x))
UNARY(softplus, 0, 0, otp_softplus_f(x))
UNARY(exp, 0, 0, otp_exp_f(x))
UNARY(rsqrt, 0, 0, otp_rsqrt_f(x))

OTP_SIMD static void loop_affine(float *y, const float *x, int64_t count, float scale, float offset)
{
#pragma omp simd
	for (int64_t i = 0; i < count; i++)
		y[i] = scale * x[i] + offset;
}

OTP_CPU_KERNEL(affine)
{
	int64_t count = otp_shape_count(call->out.shape), row = call->in[0].step ? call->out.shape.c : count;
	const float *x = call->in[0].data;
	for (int64_t i = 0; i < count; i += row, x += call->in[0].step)
		loop_affine((float *)call->out.data + i, x, row, call->attr.affine.scale,
			    call->attr.affine.offset);
}

/* y = expression of x and a gradient g of the same shape. */
#define GATE(name, p_value, expression)                                                                      \
	OTP_SIMD static void loop_##name(float *y, const float *in, const float *grad, int64_t count,        \
					 float p)                                                            \
	{                                                                                                    \
		(void)p;                                                                                     \
		_Pragma("omp simd") for (int64_t i = 0; i < count; i++)                                      \
		{                                                                                            \
			float x = in[i], g = grad[i];                                                        \
			y[i] = expression;                                                                   \
		}                                                                                            \
	}                                                                                                    \
	OTP_CPU_KERNEL(name)                                                                                 \
	{                                                                                                    \
		loop_##name(call->out.data, call->in[0].data, call->in[1].data,                              \
			    otp_shape_count(call->out.shape), p_value);                                      \
	}

GATE(lrelu_gate, call->attr.slope.slope, otp_lrelu_gate_f(x, g, p))
GATE(silu_gate, 0, g *otp_silu_slope_f(x))
GATE(silu_curve, 0, g *otp_silu_curve_f(x))

OTP_SIMD static void loop_lrelu_gate_merge(float *y, const float *x, const float *g, const float *r,
					   int64_t count, float slope, float scale)
{
#pragma omp simd
	for (int64_t i = 0; i < count; i++)
		y[i] = otp_lrelu_gate_merge_f(x[i], g[i], r[i], slope, scale);
}

OTP_CPU_KERNEL(lrelu_gate_merge)
{
	loop_lrelu_gate_merge(call->out.data, call->in[0].data, call->in[1].data, call->in[2].data,
			      otp_shape_count(call->out.shape), call->attr.gate.slope, call->attr.gate.scale);
}

/* Broadcasting: folded to at most four dimensions, the two inner ones in one
 * hot function. Where an operand stands still along the inner dimension it is
 * a scalar there; both cannot, or the dimension would have length 1. */
#define BROADCAST(name, operator)                                                                            \
	OTP_SIMD static void plane_##name(float *y, const float *a, const float *b, const otp_fold *f)       \
	{                                                                                                    \
		int64_t rows = f->count[2], count = f->count[3];                                             \
		for (int64_t r = 0; r < rows; r++, y += count, a += f->step_a[2], b += f->step_b[2]) {       \
			float a0 = a[0], b0 = b[0];                                                          \
			if (f->step_b[3] == 0)                                                               \
				_Pragma("omp simd") for (int64_t i = 0; i < count; i++) y[i] =               \
				    a[i] operator b0;                                                        \
			else if (f->step_a[3] == 0)                                                          \
				_Pragma("omp simd") for (int64_t i = 0; i < count; i++) y[i] =               \
				    a0 operator b[i];                                                        \
			else                                                                                 \
				_Pragma("omp simd") for (int64_t i = 0; i < count; i++) y[i] =               \
				    a[i] operator b[i];                                                      \
		}                                                                                            \
	}                                                                                                    \
	OTP_CPU_KERNEL(name)                                                                                 \
	{                                                                                                    \
		otp_fold f = otp_fold_of(&call->in[0], &call->in[1], call->out.shape);                       \
		const float *a = call->in[0].data, *b = call->in[1].data;                                    \
		float *y = call->out.data;                                                                   \
		for (int64_t i = 0; i < f.count[0]; i++)                                                     \
			for (int64_t j = 0; j < f.count[1]; j++) {                                           \
				plane_##name(y, a + i * f.step_a[0] + j * f.step_a[1],                       \
					     b + i * f.step_b[0] + j * f.step_b[1], &f);                     \
				y += f.count[2] * f.count[3];                                                \
			}                                                                                    \
	}

BROADCAST(add, +)
BROADCAST(mul, *)
