/* softmax.cu: softmax along c and its adjoint, a warp a row. A lane reads no
 * element that another lane writes, so that in place is safe: shuffles do not
 * order memory. */
#include "cuda/launch.cuh"
#include "scalar.h"

#include <float.h>

namespace otp_softmax
{

__device__ float warp_max(float value)
{
	for (int lanes = OTP_WARP / 2; lanes > 0; lanes /= 2) {
		float other = __shfl_xor_sync(0xffffffffu, value, lanes);
		value = other > value ? other : value;
	}
	return value;
}

/* Exponentials are computed twice rather than kept: y may have too few digits for them. */
template <class V, int W> OTP_GLOBAL softmax_rows(V y, V x, int64_t rows, unsigned count, float scale)
{
	walk all = {W * (threadIdx.x % OTP_WARP), W * OTP_WARP, count};
	for (int64_t row = otp_first_item() / OTP_WARP; row < rows; row += otp_item_step() / OTP_WARP) {
		V from = shifted(x, row * count), to = shifted(y, row * count);
		float largest = -FLT_MAX, total = 0;
		each_pack<W>(from, all, [&](unsigned, const pack<W> &p) {
			for (int k = 0; k < W; k++)
				largest = p.v[k] > largest ? p.v[k] : largest;
		});
		largest = warp_max(largest);
		each_pack<W>(from, all, [&](unsigned, const pack<W> &p) {
			for (int k = 0; k < W; k++)
				total += otp_exp_f(scale * (p.v[k] - largest));
		});
		float share = 1.0f / warp_sum(total);
		each_pack<W>(from, all, [&](unsigned at, pack<W> p) {
			for (int k = 0; k < W; k++)
				p.v[k] = otp_exp_f(scale * (p.v[k] - largest)) * share;
			store(to, at, p);
		});
	}
}

template <class V, int W>
OTP_GLOBAL softmax_gate_rows(V out, V y, V g, int64_t rows, unsigned count, float scale)
{
	walk all = {W * (threadIdx.x % OTP_WARP), W * OTP_WARP, count};
	for (int64_t row = otp_first_item() / OTP_WARP; row < rows; row += otp_item_step() / OTP_WARP) {
		V shares = shifted(y, row * count), grads = shifted(g, row * count);
		V to = shifted(out, row * count);
		float inner = 0;
		each_pair<W>(shares, grads, all, [&](unsigned, const pack<W> &p, const pack<W> &q) {
			for (int k = 0; k < W; k++)
				inner += p.v[k] * q.v[k];
		});
		inner = warp_sum(inner);
		each_pair<W>(shares, grads, all, [&](unsigned at, pack<W> p, const pack<W> &q) {
			for (int k = 0; k < W; k++)
				p.v[k] *= scale * (q.v[k] - inner);
			store(to, at, p);
		});
	}
}

} // namespace otp_softmax

using namespace otp_softmax;

void otp_cuda_share_out(const otp_call *call, const otp_tensor *to, const otp_tensor *from, float scale)
{
	int count = to->shape.c;
	int64_t rows = otp_shape_count(to->shape) / count;
	view y = view_of(*to), x = view_of(*from);
	OTP_WITH_PACKS(otp_packs_of((unsigned)count, {y, x}),
		       OTP_LAUNCH(call, (softmax_rows<V, W>), otp_blocks(rows, OTP_WARPS), OTP_THREADS, 0,
				  as<V>(y), as<V>(x), rows, (unsigned)count, scale));
}

void otp_cuda_gate_shares(const otp_call *call, const otp_tensor *to, const otp_tensor *share,
			  const otp_tensor *grad, float scale)
{
	int count = to->shape.c;
	int64_t rows = otp_shape_count(to->shape) / count;
	view out = view_of(*to), y = view_of(*share), g = view_of(*grad);
	OTP_WITH_PACKS(otp_packs_of((unsigned)count, {out, y, g}),
		       OTP_LAUNCH(call, (softmax_gate_rows<V, W>), otp_blocks(rows, OTP_WARPS), OTP_THREADS,
				  0, as<V>(out), as<V>(y), as<V>(g), rows, (unsigned)count, scale));
}

OTP_CUDA_KERNEL(softmax) { otp_cuda_share_out(call, &call->out, &call->in[0], 1); }
OTP_CUDA_KERNEL(softmax_gate) { otp_cuda_gate_shares(call, &call->out, &call->in[0], &call->in[1], 1); }
