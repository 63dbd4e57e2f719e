/* softmax.cu: softmax along c and its adjoint, a warp a row. A lane reads no
 * element that another lane writes, so that in place is safe: shuffles do not
 * order memory. */
#include "cuda/launch.cuh"
#include "scalar.h"

#include <float.h>

namespace
{

__device__ float warp_max(float value)
{
	for (int lanes = OTP_WARP / 2; lanes > 0; lanes /= 2) {
		float other = __shfl_xor_sync(0xffffffffu, value, lanes);
		value = other > value ? other : value;
	}
	return value;
}

__global__ void softmax_rows(float *y, const float *x, int64_t rows, int count)
{
	int lane = (int)(threadIdx.x % OTP_WARP);
	for (int64_t row = otp_first_item() / OTP_WARP; row < rows; row += otp_item_step() / OTP_WARP) {
		const float *from = x + row * count;
		float *to = y + row * count, largest = -FLT_MAX, total = 0;
		for (int i = lane; i < count; i += OTP_WARP)
			largest = from[i] > largest ? from[i] : largest;
		largest = warp_max(largest);
		for (int i = lane; i < count; i += OTP_WARP) {
			float e = otp_exp_f(from[i] - largest);
			to[i] = e;
			total += e;
		}
		float share = 1.0f / warp_sum(total);
		for (int i = lane; i < count; i += OTP_WARP)
			to[i] *= share;
	}
}

__global__ void gate_rows(float *out, const float *y, const float *g, int64_t rows, int count)
{
	int lane = (int)(threadIdx.x % OTP_WARP);
	for (int64_t row = otp_first_item() / OTP_WARP; row < rows; row += otp_item_step() / OTP_WARP) {
		const float *yr = y + row * count, *gr = g + row * count;
		float inner = 0;
		for (int i = lane; i < count; i += OTP_WARP)
			inner += yr[i] * gr[i];
		inner = warp_sum(inner);
		for (int i = lane; i < count; i += OTP_WARP)
			out[row * count + i] = yr[i] * (gr[i] - inner);
	}
}

} // namespace

OTP_CUDA_KERNEL(softmax)
{
	int count = call->out.shape.c;
	int64_t rows = otp_shape_count(call->out.shape) / count;
	OTP_LAUNCH(call, softmax_rows, otp_blocks(rows, OTP_WARPS), OTP_THREADS, 0, floats(call->out),
		   floats(call->in[0]), rows, count);
}

OTP_CUDA_KERNEL(softmax_gate)
{
	int count = call->out.shape.c;
	int64_t rows = otp_shape_count(call->out.shape) / count;
	OTP_LAUNCH(call, gate_rows, otp_blocks(rows, OTP_WARPS), OTP_THREADS, 0, floats(call->out),
		   floats(call->in[0]), floats(call->in[1]), rows, count);
}
