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
template <int W> OTP_GLOBAL softmax_rows(view y, view x, int64_t rows, int count, float scale)
{
	int first = W * (int)(threadIdx.x % OTP_WARP), step = W * OTP_WARP;
	for (int64_t row = otp_first_item() / OTP_WARP; row < rows; row += otp_item_step() / OTP_WARP) {
		float largest = -FLT_MAX, total = 0;
		for (int i = first; i < count; i += step) {
			pack<W> p = load<W>(x, row * count + i);
			for (int k = 0; k < W; k++)
				largest = p.v[k] > largest ? p.v[k] : largest;
		}
		largest = warp_max(largest);
		for (int i = first; i < count; i += step) {
			pack<W> p = load<W>(x, row * count + i);
			for (int k = 0; k < W; k++)
				total += otp_exp_f(scale * (p.v[k] - largest));
		}
		float share = 1.0f / warp_sum(total);
		for (int i = first; i < count; i += step) {
			pack<W> p = load<W>(x, row * count + i);
			for (int k = 0; k < W; k++)
				p.v[k] = otp_exp_f(scale * (p.v[k] - largest)) * share;
			store(y, row * count + i, p);
		}
	}
}

template <int W> OTP_GLOBAL softmax_gate_rows(view out, view y, view g, int64_t rows, int count, float scale)
{
	int first = W * (int)(threadIdx.x % OTP_WARP), step = W * OTP_WARP;
	for (int64_t row = otp_first_item() / OTP_WARP; row < rows; row += otp_item_step() / OTP_WARP) {
		float inner = 0;
		for (int i = first; i < count; i += step) {
			pack<W> p = load<W>(y, row * count + i), q = load<W>(g, row * count + i);
			for (int k = 0; k < W; k++)
				inner += p.v[k] * q.v[k];
		}
		inner = warp_sum(inner);
		for (int i = first; i < count; i += step) {
			pack<W> p = load<W>(y, row * count + i), q = load<W>(g, row * count + i);
			for (int k = 0; k < W; k++)
				p.v[k] *= scale * (q.v[k] - inner);
			store(out, row * count + i, p);
		}
	}
}

} // namespace otp_softmax

using namespace otp_softmax;

void otp_cuda_share_out(const otp_call *call, const otp_tensor *to, const otp_tensor *from, float scale)
{
	int count = to->shape.c;
	int64_t rows = otp_shape_count(to->shape) / count;
	view y = view_of(*to), x = view_of(*from);
	OTP_WITH_WIDTH(otp_width((unsigned)count, {y, x}),
		       OTP_LAUNCH(call, softmax_rows<W>, otp_blocks(rows, OTP_WARPS), OTP_THREADS, 0, y, x,
				  rows, count, scale));
}

void otp_cuda_gate_shares(const otp_call *call, const otp_tensor *to, const otp_tensor *share,
			  const otp_tensor *grad, float scale)
{
	int count = to->shape.c;
	int64_t rows = otp_shape_count(to->shape) / count;
	view out = view_of(*to), y = view_of(*share), g = view_of(*grad);
	OTP_WITH_WIDTH(otp_width((unsigned)count, {out, y, g}),
		       OTP_LAUNCH(call, softmax_gate_rows<W>, otp_blocks(rows, OTP_WARPS), OTP_THREADS, 0,
				  out, y, g, rows, count, scale));
}

OTP_CUDA_KERNEL(softmax) { otp_cuda_share_out(call, &call->out, &call->in[0], 1); }
OTP_CUDA_KERNEL(softmax_gate) { otp_cuda_gate_shares(call, &call->out, &call->in[0], &call->in[1], 1); }
