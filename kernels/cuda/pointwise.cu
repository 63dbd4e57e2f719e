/* pointwise.cu: element by element, in place where the plan wants it: a thread
 * reads all of a pack before it writes it. The formulas are scalar.h's. */
#include "cuda/launch.cuh"
#include "scalar.h"

namespace
{

template <int W, class F> __global__ void map(view y, view x, int64_t count, F f)
{
	for (int64_t i = otp_first_item(); i < count / W; i += otp_item_step()) {
		pack<W> p = load<W>(x, W * i);
		for (int k = 0; k < W; k++)
			p.v[k] = f(p.v[k]);
		store(y, W * i, p);
	}
	for (int64_t i = count / W * W + otp_first_item(); i < count; i += otp_item_step())
		put(y, i, f(get(x, i)));
}

template <class F> void run_map(const otp_call *call, F f)
{
	int64_t count = otp_shape_count(call->out.shape);
	view x = view_of(call->in[0]), y = view_of(call->out);
	OTP_WITH_WIDTH(otp_width(OTP_ANY_ROW, {x, y}),
		       OTP_LAUNCH(call, (map<W, F>), otp_blocks(count / W), OTP_THREADS, 0, y, x, count, f));
}

/* y = expression of x and a gradient g of the same shape. */
template <int W, class F> __global__ void gate(view y, view x, view g, int64_t count, F f)
{
	for (int64_t i = otp_first_item(); i < count / W; i += otp_item_step()) {
		pack<W> p = load<W>(x, W * i), q = load<W>(g, W * i);
		for (int k = 0; k < W; k++)
			p.v[k] = f(p.v[k], q.v[k]);
		store(y, W * i, p);
	}
	for (int64_t i = count / W * W + otp_first_item(); i < count; i += otp_item_step())
		put(y, i, f(get(x, i), get(g, i)));
}

template <class F> void run_gate(const otp_call *call, F f)
{
	int64_t count = otp_shape_count(call->out.shape);
	view x = view_of(call->in[0]), g = view_of(call->in[1]), y = view_of(call->out);
	OTP_WITH_WIDTH(
	    otp_width(OTP_ANY_ROW, {x, g, y}),
	    OTP_LAUNCH(call, (gate<W, F>), otp_blocks(count / W), OTP_THREADS, 0, y, x, g, count, f));
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
