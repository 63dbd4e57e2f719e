/* convert.cu: float32 to bfloat16 and back, for the operands of tensor cores.
 * The bits are made by hand: CUDA's own type does not exist under the shim. */
#include "cuda/launch.cuh"

namespace
{

struct alignas(8) halves4 {
	uint16_t v[4];
};

/* To nearest, ties to even; a NaN stays one. */
__device__ uint16_t rounded(float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof bits);
	if ((bits & 0x7fffffffu) > 0x7f800000u)
		return (uint16_t)(bits >> 16 | 0x40u);
	return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

__device__ float widened(uint16_t half)
{
	uint32_t bits = (uint32_t)half << 16;
	float value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

__global__ void narrow(uint16_t *y, const float *x, int64_t packs, int64_t count)
{
	for (int64_t i = otp_first_item(); i < packs; i += otp_item_step()) {
		pack<4> p = load<4>(x + 4 * i);
		halves4 h = {{rounded(p.v[0]), rounded(p.v[1]), rounded(p.v[2]), rounded(p.v[3])}};
		reinterpret_cast<halves4 *>(y)[i] = h;
	}
	for (int64_t i = 4 * packs + otp_first_item(); i < count; i += otp_item_step())
		y[i] = rounded(x[i]);
}

__global__ void widen(float *y, const uint16_t *x, int64_t packs, int64_t count)
{
	for (int64_t i = otp_first_item(); i < packs; i += otp_item_step()) {
		halves4 h = reinterpret_cast<const halves4 *>(x)[i];
		pack<4> p = {{widened(h.v[0]), widened(h.v[1]), widened(h.v[2]), widened(h.v[3])}};
		store(y + 4 * i, p);
	}
	for (int64_t i = 4 * packs + otp_first_item(); i < count; i += otp_item_step())
		y[i] = widened(x[i]);
}

} // namespace

void otp_cuda_to_bf16(const otp_call *call, uint16_t *dst, const float *src, int64_t count)
{
	int64_t packs = otp_aligned(dst) && otp_aligned(src) ? count / 4 : 0;
	OTP_LAUNCH(call, narrow, otp_blocks(packs ? packs : count), OTP_THREADS, 0, dst, src, packs, count);
}

void otp_cuda_from_bf16(const otp_call *call, float *dst, const uint16_t *src, int64_t count)
{
	int64_t packs = otp_aligned(dst) && otp_aligned(src) ? count / 4 : 0;
	OTP_LAUNCH(call, widen, otp_blocks(packs ? packs : count), OTP_THREADS, 0, dst, src, packs, count);
}
