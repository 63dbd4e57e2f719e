/* pointwise.cu: element by element, in place where the plan wants it: a thread
 * reads all of a pack before it writes it. The formulas are scalar.h's. */
#include "cuda/launch.cuh"
#include "scalar.h"

namespace otp_pointwise
{

template <int W, class V, class X, class F> __device__ void map(V y, X x, unsigned count, F f)
{
	walk w = walk_over<W>(count);
	each_pack<W>(x, w, [&](unsigned at, pack<W> p) {
		for (int k = 0; k < W; k++)
			p.v[k] = f(p.v[k]);
		store(y, at, p);
	});
	for (unsigned i = w.end + (unsigned)otp_first_item(); i < count; i += (unsigned)otp_item_step())
		put(y, i, f(get(x, i)));
}

/* y = expression of x and a gradient g of the same shape. */
template <int W, class V, class F> __device__ void gate(V y, V x, V g, unsigned count, F f)
{
	walk w = walk_over<W>(count);
	each_pair<W>(x, g, w, [&](unsigned at, pack<W> p, const pack<W> &q) {
		for (int k = 0; k < W; k++)
			p.v[k] = f(p.v[k], q.v[k]);
		store(y, at, p);
	});
	for (unsigned i = w.end + (unsigned)otp_first_item(); i < count; i += (unsigned)otp_item_step())
		put(y, i, f(get(x, i), get(g, i)));
}

} // namespace otp_pointwise

/* y = expression of x and up to two constants p, q of the attribute. */
#define UNARY_KERNEL(name, expression)                                                                       \
	namespace otp_pointwise                                                                              \
	{                                                                                                    \
	struct name##_of {                                                                                   \
		float p, q;                                                                                  \
		__device__ float operator()(float x) const { return expression; }                            \
	};                                                                                                   \
	template <class V, class X, int W>                                                                   \
	OTP_GLOBAL pointwise_##name(V y, X x, unsigned count, name##_of f)                                   \
	{                                                                                                    \
		map<W>(y, x, count, f);                                                                      \
	}                                                                                                    \
	}
#define UNARY(name, p_value, q_value, expression)                                                            \
	UNARY_KERNEL(name, expression)                                                                       \
	OTP_CUDA_KERNEL(name)                                                                                \
	{                                                                                                    \
		using namespace otp_pointwise;                                                               \
		unsigned count = otp_index_count(call->out.shape);                                           \
		view x = view_of(call->in[0]), y = view_of(call->out);                                       \
		name##_of f{p_value, q_value};                                                               \
		OTP_WITH_PACKS(otp_packs_of(OTP_ANY_ROW, {x, y}),                                            \
			       OTP_LAUNCH(call, (pointwise_##name<V, V, W>),                                 \
					  otp_blocks_for(count, W, IN_FLIGHT<V>), OTP_THREADS, 0, as<V>(y),  \
					  as<V>(x), count, f));                                              \
	}

UNARY_KERNEL(affine, p *x + q)
OTP_CUDA_KERNEL(affine)
{
	using namespace otp_pointwise;
	const otp_tensor &from = call->in[0];
	unsigned count = otp_index_count(call->out.shape);
	view x = view_of(from), y = view_of(call->out);
	affine_of f{call->attr.affine.scale, call->attr.affine.offset};
	if (from.step)
		OTP_WITH_PACKS(otp_packs_of(otp_packs_row((unsigned)from.shape.c, from, from), {x, y}),
			       OTP_LAUNCH(call, (pointwise_affine<V, apart<V>, W>),
					  otp_blocks_for(count, W, IN_FLIGHT<V>), OTP_THREADS, 0, as<V>(y),
					  as<V>(apart_of(from)), count, f));
	else
		OTP_WITH_PACKS(otp_packs_of(OTP_ANY_ROW, {x, y}),
			       OTP_LAUNCH(call, (pointwise_affine<V, V, W>),
					  otp_blocks_for(count, W, IN_FLIGHT<V>), OTP_THREADS, 0, as<V>(y),
					  as<V>(x), count, f));
}
UNARY(lrelu, call->attr.slope.slope, 0, otp_lrelu_f(x, p))
UNARY(silu, 0, 0, otp_silu_f(x))
UNARY(sigmoid, 0, 0, otp_sigmoid_f(x))
UNARY(softplus, 0, 0, otp_softplus_f(x))
UNARY(exp, 0, 0, otp_exp_f(x))
UNARY(rsqrt, 0, 0, otp_rsqrt_f(x))

#define GATE(name, p_value, expression)                                                                      \
	namespace otp_pointwise                                                                              \
	{                                                                                                    \
	struct name##_of {                                                                                   \
		float p;                                                                                     \
		__device__ float operator()(float x, float g) const { return expression; }                   \
	};                                                                                                   \
	template <class V, int W> OTP_GLOBAL pointwise_##name(V y, V x, V g, unsigned count, name##_of f)    \
	{                                                                                                    \
		gate<W>(y, x, g, count, f);                                                                  \
	}                                                                                                    \
	}                                                                                                    \
	OTP_CUDA_KERNEL(name)                                                                                \
	{                                                                                                    \
		using namespace otp_pointwise;                                                               \
		unsigned count = otp_index_count(call->out.shape);                                           \
		view x = view_of(call->in[0]), g = view_of(call->in[1]), y = view_of(call->out);             \
		name##_of f{p_value};                                                                        \
		OTP_WITH_PACKS(otp_packs_of(OTP_ANY_ROW, {x, g, y}),                                         \
			       OTP_LAUNCH(call, (pointwise_##name<V, W>),                                    \
					  otp_blocks_for(count, W, PAIRS_IN_FLIGHT<V>), OTP_THREADS, 0,      \
					  as<V>(y), as<V>(x), as<V>(g), count, f));                          \
	}

GATE(lrelu_gate, call->attr.slope.slope, otp_lrelu_gate_f(x, g, p))
GATE(silu_gate, 0, g *otp_silu_slope_f(x))
GATE(silu_curve, 0, g *otp_silu_curve_f(x))

namespace otp_pointwise
{

template <class V, int W>
OTP_GLOBAL pointwise_lrelu_gate_merge(V y, V x, V g, V r, unsigned count, float slope, float scale)
{
	walk w = walk_over<W>(count);
	each_triple<PAIRS_IN_FLIGHT<V>, W>(
	    x, g, r, w, [&](unsigned at, pack<W> p, const pack<W> &q, const pack<W> &s) {
		    for (int k = 0; k < W; k++)
			    p.v[k] = otp_lrelu_gate_merge_f(p.v[k], q.v[k], s.v[k], slope, scale);
		    store(y, at, p);
	    });
	for (unsigned i = w.end + (unsigned)otp_first_item(); i < count; i += (unsigned)otp_item_step())
		put(y, i, otp_lrelu_gate_merge_f(get(x, i), get(g, i), get(r, i), slope, scale));
}

} // namespace otp_pointwise

OTP_CUDA_KERNEL(lrelu_gate_merge)
{
	using namespace otp_pointwise;
	unsigned count = otp_index_count(call->out.shape);
	view x = view_of(call->in[0]), g = view_of(call->in[1]), r = view_of(call->in[2]);
	view y = view_of(call->out);
	OTP_WITH_PACKS(otp_packs_of(OTP_ANY_ROW, {x, g, r, y}),
		       OTP_LAUNCH(call, (pointwise_lrelu_gate_merge<V, W>),
				  otp_blocks_for(count, W, PAIRS_IN_FLIGHT<V>), OTP_THREADS, 0, as<V>(y),
				  as<V>(x), as<V>(g), as<V>(r), count, call->attr.gate.slope,
				  call->attr.gate.scale));
}
