/* broadcast.cu: add, mul and spread over operands that repeat along some
 * dimensions. Shapes are folded to as few dimensions as they need; a pack lies
 * along the innermost, where an operand stands still or steps. */
#include "cuda/launch.cuh"
#include "fold.h"

#include <utility>

namespace otp_broadcast
{

/* The fold with its inner dimension in packs. */
struct places {
	divisor count[4]; /* the last in packs */
	int64_t step_a[4], step_b[4];
};

/* Where a pack's operands begin: element `a` of the outer dimensions, `inner` packs further if it steps. */
struct place {
	int64_t a, b;
	unsigned inner;
};

__device__ place place_of(const places &w, unsigned pack)
{
	unsigned rest = pack / w.count[3];
	place p = {0, 0, pack - rest * w.count[3].value};
	for (int d = 2; d >= 0; d--) {
		unsigned outer = rest / w.count[d], i = rest - outer * w.count[d].value;
		rest = outer;
		p.a += i * w.step_a[d];
		p.b += i * w.step_b[d];
	}
	return p;
}

template <int W, class V> __device__ pack<W> operand(V from, int64_t first, unsigned inner, bool steps)
{
	if (steps)
		return load<W>(from, first + (int64_t)inner * W);
	pack<W> same;
	float value = get(from, first);
	for (int k = 0; k < W; k++)
		same.v[k] = value;
	return same;
}

/* Two packs in flight of each; an operand's type is asked for only if it is not V. */
template <int W, class V, class A, class B, class F>
__device__ void combine(V y, A a, B b, const places &w, unsigned packs, F f)
{
	constexpr int R = PAIRS_IN_FLIGHT<A>;
	unsigned step = (unsigned)otp_item_step();
	bool steps_a = w.step_a[3] != 0, steps_b = w.step_b[3] != 0;
	for (unsigned first = (unsigned)otp_first_item(); first < packs; first += R * step) {
		pack<W> p[R], q[R];
		for (int i = 0; i < R; i++) {
			unsigned item = first + i * step < packs ? first + i * step : first;
			place at = place_of(w, item);
			p[i] = operand<W>(a, at.a, at.inner, steps_a);
			q[i] = operand<W>(b, at.b, at.inner, steps_b);
		}
		for (int i = 0; i < R; i++) {
			for (int k = 0; k < W; k++)
				p[i].v[k] = f(p[i].v[k], q[i].v[k]);
			if (first + i * step < packs)
				store(y, (int64_t)(first + i * step) * W, p[i]);
		}
	}
}

struct sum_of {
	__device__ float operator()(float a, float b) const { return a + b; }
};
struct product_of {
	__device__ float operator()(float a, float b) const { return a * b; }
};

template <class V, class A, class B, int W> OTP_GLOBAL broadcast_add(V y, A a, B b, places w, unsigned packs)
{
	combine<W>(y, a, b, w, packs, sum_of{});
}

template <class V, class A, class B, int W> OTP_GLOBAL broadcast_mul(V y, A a, B b, places w, unsigned packs)
{
	combine<W>(y, a, b, w, packs, product_of{});
}

template <class V, int W> OTP_GLOBAL broadcast_spread(V y, view x, places w, unsigned packs)
{
	bool steps = w.step_a[3] != 0;
	for (unsigned item = (unsigned)otp_first_item(); item < packs; item += (unsigned)otp_item_step()) {
		place at = place_of(w, item);
		store(y, (int64_t)item * W, operand<W>(x, at.a, at.inner, steps));
	}
}

places places_of(const otp_fold &fold, int width)
{
	places w;
	for (int d = 0; d < 4; d++) {
		w.count[d] = divisor_of((unsigned)(fold.count[d] / (d == 3 ? width : 1)));
		w.step_a[d] = fold.step_a[d];
		w.step_b[d] = fold.step_b[d];
	}
	return w;
}

/* A sum or a product: operands change places so that one of the result's shape is the first. */
struct operands {
	otp_tensor a, b;
	bool whole_a, whole_b; /* of the result's shape and type */
	places w;
	otp_packs packs;
	unsigned count;
};

operands operands_of(const otp_call *call)
{
	operands o = {call->in[0], call->in[1], false, false, {}, OTP_PACKS_SINGLE, 0};
	const otp_tensor &y = call->out;
	if (!otp_shape_equal(o.a.shape, y.shape))
		std::swap(o.a, o.b);
	o.whole_a = otp_shape_equal(o.a.shape, y.shape) && o.a.type == y.type;
	o.whole_b = otp_shape_equal(o.b.shape, y.shape) && o.b.type == y.type;
	otp_fold fold = otp_fold_of(&o.a, &o.b, y.shape);
	o.packs = otp_packs_of(otp_packs_row((unsigned)fold.count[3], o.a, o.b),
			       {view_of(y), o.whole_a ? view_of(o.a) : view_of(y)});
	if (!otp_aligned(o.a.data) || !otp_aligned(o.b.data))
		o.packs = OTP_PACKS_SINGLE;
	int width = otp_packs_width(o.packs);
	o.w = places_of(fold, width);
	o.count = otp_index_count(y.shape) / (unsigned)width;
	return o;
}

} // namespace otp_broadcast

using namespace otp_broadcast;

#define COMBINE(name)                                                                                        \
	template <class V, class A, class B, int W>                                                          \
	static void name##_as(const otp_call *call, const operands &o)                                       \
	{                                                                                                    \
		unsigned grid = otp_blocks(o.count, OTP_THREADS * PAIRS_IN_FLIGHT<A>);                       \
		OTP_LAUNCH(call, (broadcast_##name<V, A, B, W>), grid, OTP_THREADS, 0,                       \
			   as<V>(view_of(call->out)), as<A>(view_of(o.a)), as<B>(view_of(o.b)), o.w,         \
			   o.count);                                                                         \
	}                                                                                                    \
	OTP_CUDA_KERNEL(name)                                                                                \
	{                                                                                                    \
		operands o = operands_of(call);                                                              \
		if (o.whole_a && o.whole_b)                                                                  \
			OTP_WITH_PACKS(o.packs, name##_as<V, V, V, W>(call, o));                             \
		else if (o.whole_a)                                                                          \
			OTP_WITH_PACKS(o.packs, name##_as<V, V, view, W>(call, o));                          \
		else                                                                                         \
			OTP_WITH_PACKS(o.packs, name##_as<V, view, view, W>(call, o));                       \
	}

COMBINE(add)
COMBINE(mul)

OTP_CUDA_KERNEL(spread)
{
	const otp_tensor &x = call->in[0], &y = call->out;
	otp_fold fold = otp_fold_make(x.shape, x.shape, y.shape);
	otp_packs packs =
	    otp_aligned(x.data) ? otp_packs_of((unsigned)fold.count[3], {view_of(y)}) : OTP_PACKS_SINGLE;
	unsigned count = otp_index_count(y.shape) / (unsigned)otp_packs_width(packs);
	places w = places_of(fold, otp_packs_width(packs));
	OTP_WITH_PACKS(packs, OTP_LAUNCH(call, (broadcast_spread<V, W>), otp_blocks(count), OTP_THREADS, 0,
					 as<V>(view_of(y)), view_of(x), w, count));
}
