/* pointwise.cu: element by element, in place where the plan wants it: a thread
 * reads all of a pack before it writes it. The formulas are scalar.h's. */
#include "cuda/launch.cuh"
#include "scalar.h"

namespace
{

template <class F> __global__ void map(float *y, const float *x, int64_t packs, int64_t count, F f)
{
	for (int64_t i = otp_first_item(); i < packs; i += otp_item_step()) {
		pack<4> p = load<4>(x + 4 * i);
		for (int k = 0; k < 4; k++)
			p.v[k] = f(p.v[k]);
		store(y + 4 * i, p);
	}
	for (int64_t i = 4 * packs + otp_first_item(); i < count; i += otp_item_step())
		y[i] = f(x[i]);
}

template <class F> void run_map(const otp_call *call, F f)
{
	int64_t count = otp_shape_count(call->out.shape);
	const float *x = floats(call->in[0]);
	float *y = floats(call->out);
	int64_t packs = otp_aligned(x) && otp_aligned(y) ? count / 4 : 0;
	OTP_LAUNCH(call, map<F>, otp_blocks(packs ? packs : count), OTP_THREADS, 0, y, x, packs, count, f);
}

/* y = expression of x and a gradient g of the same shape. */
template <class F>
__global__ void gate(float *y, const float *x, const float *g, int64_t packs, int64_t count, F f)
{
	for (int64_t i = otp_first_item(); i < packs; i += otp_item_step()) {
		pack<4> p = load<4>(x + 4 * i), q = load<4>(g + 4 * i);
		for (int k = 0; k < 4; k++)
			p.v[k] = f(p.v[k], q.v[k]);
		store(y + 4 * i, p);
	}
	for (int64_t i = 4 * packs + otp_first_item(); i < count; i += otp_item_step())
		y[i] = f(x[i], g[i]);
}

template <class F> void run_gate(const otp_call *call, F f)
{
	int64_t count = otp_shape_count(call->out.shape);
	const float *x = floats(call->in[0]), *g = floats(call->in[1]);
	float *y = floats(call->out);
	int64_t packs = otp_aligned(x) && otp_aligned(g) && otp_aligned(y) ? count / 4 : 0;
	OTP_LAUNCH(call, gate<F>, otp_blocks(packs ? packs : count), OTP_THREADS, 0, y, x, g, packs, count,
		   f);
}

} // namespace

/* y = expression of x and up to two constants p, q of the attribute. */
#define UNARY(name, p_value, q_value, expression)                                                            \
	namespace                                                                                            \
	{                                                                                                    \
	struct name##_of {                                                                                   \
		float p, q;                                                                                  \
		__device__ float operator()(float x) const { return expression; }                            \
	};                                                                                                   \
	}                                                                                                    \
	OTP_CUDA_KERNEL(name) { run_map(call, name##_of{p_value, q_value}); }

UNARY(affine, call->attr.affine.scale, call->attr.affine.offset, p *x + q)
UNARY(lrelu, call->attr.slope.slope, 0, otp_lrelu_f(x, p))
UNARY(silu, 0, 0, otp_silu_f(x))
UNARY(sigmoid, 0, 0, otp_sigmoid_f(x))
UNARY(softplus, 0, 0, otp_softplus_f(x))
UNARY(exp, 0, 0, otp_exp_f(x))
UNARY(rsqrt, 0, 0, otp_rsqrt_f(x))

#define GATE(name, p_value, expression)                                                                      \
	namespace                                                                                            \
	{                                                                                                    \
	struct name##_of {                                                                                   \
		float p;                                                                                     \
		__device__ float operator()(float x, float g) const { return expression; }                   \
	};                                                                                                   \
	}                                                                                                    \
	OTP_CUDA_KERNEL(name) { run_gate(call, name##_of{p_value}); }

GATE(lrelu_gate, call->attr.slope.slope, otp_lrelu_gate_f(x, g, p))
GATE(silu_gate, 0, g *otp_silu_slope_f(x))
GATE(silu_curve, 0, g *otp_silu_curve_f(x))
