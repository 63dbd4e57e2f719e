/* adam.cu: the optimiser's step and the average of weights, one launch over
 * whole spans. Step, rate and decay are read on the device, so that a captured
 * launch can be repeated. Where the program keeps the weights in bfloat16 too,
 * that copy is written in the same pass. */
#include "cuda/launch.cuh"
#include "scalar.h"
#include "tree.h"

namespace
{

/* Rows of the state and of the gradients are `columns` apart. */
struct update {
	const float *in, *grads, *hyper;
	float *out;
	view rounded; /* of the weights; data NULL: none */
	int64_t columns, begin, end;
	int parts;
	bool ema;
	float beta1, beta2, eps;
};

template <int W> __device__ pack<W> sum_of(pack<W> a, const pack<W> &b)
{
	for (int k = 0; k < W; k++)
		a.v[k] += b.v[k];
	return a;
}

/* The parts' gradients, added in the order of the tree. */
template <int W> __device__ pack<W> summed_gradient(const update &u, int64_t at)
{
	pack<W> stack[OTP_TREE_LEVELS], sum = load<W>(u.grads + at);
	int depth = 0;
	for (int part = 1; part < u.parts; part++) {
		stack[depth++] = sum;
		sum = load<W>(u.grads + part * u.columns + at);
		for (int merges = otp_tree_merges(part, u.parts); merges > 0; merges--)
			sum = sum_of(stack[--depth], sum);
	}
	return sum;
}

template <int W> __global__ void step(update u)
{
	float rate = u.hyper[OTP_HYPER_RATE], c1 = u.hyper[OTP_HYPER_CORRECT1],
	      c2 = u.hyper[OTP_HYPER_CORRECT2];
	float decay = u.hyper[OTP_HYPER_EMA];
	for (int64_t at = u.begin + W * otp_first_item(); at < u.end; at += W * otp_item_step()) {
		pack<W> g = summed_gradient<W>(u, at), p = load<W>(u.in + OTP_ROW_PARAM * u.columns + at);
		pack<W> m = load<W>(u.in + OTP_ROW_M * u.columns + at);
		pack<W> v = load<W>(u.in + OTP_ROW_V * u.columns + at);
		for (int k = 0; k < W; k++)
			p.v[k] = otp_adam_step_f(p.v[k], g.v[k], &m.v[k], &v.v[k], rate, u.beta1, u.beta2, c1,
						 c2, u.eps);
		store(u.out + OTP_ROW_PARAM * u.columns + at, p);
		store(u.out + OTP_ROW_M * u.columns + at, m);
		store(u.out + OTP_ROW_V * u.columns + at, v);
		if (u.rounded.data)
			store(u.rounded, at, p);
		if (!u.ema)
			continue;
		pack<W> e = load<W>(u.in + OTP_ROW_EMA * u.columns + at);
		for (int k = 0; k < W; k++)
			e.v[k] = otp_ema_f(e.v[k], p.v[k], decay);
		store(u.out + OTP_ROW_EMA * u.columns + at, e);
	}
}

/* Where a share of the columns begins: a multiple of 16, so that every share is whole packs. */
int64_t share_begin(int64_t columns, int share, int shares)
{
	int64_t lines = (columns + 15) / 16, begin = 16 * (lines * share / shares);
	return begin < columns ? begin : columns;
}

} // namespace

OTP_CUDA_KERNEL(adam)
{
	const otp_attr &attr = call->attr;
	int64_t columns = call->in[0].shape.c;
	int shares = call->shares > 0 ? call->shares : 1;
	update u = {floats(call->in[0]),
		    floats(call->in[1]),
		    floats(call->in[2]),
		    floats(call->out),
		    view{call->out.rounded, true},
		    columns,
		    share_begin(columns, call->share, shares),
		    share_begin(columns, call->share + 1, shares),
		    call->in[1].shape.w,
		    attr.adam.ema,
		    attr.adam.beta1,
		    attr.adam.beta2,
		    attr.adam.eps};
	if (u.begin == u.end)
		return;
	bool wide = columns % 4 == 0 && otp_aligned(u.in) && otp_aligned(u.grads) && otp_aligned(u.out) &&
		    otp_aligned(u.rounded.data);
	if (wide)
		OTP_LAUNCH(call, step<4>, otp_blocks((u.end - u.begin) / 4), OTP_THREADS, 0, u);
	else
		OTP_LAUNCH(call, step<1>, otp_blocks(u.end - u.begin), OTP_THREADS, 0, u);
}
