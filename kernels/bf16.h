/* bf16: bfloat16 as bits, the upper half of a float's, for host and device.
 * CUDA's own type would not exist where kernels run on the host. */
#ifndef OTP_BF16_H
#define OTP_BF16_H

#include "core/rng.h"

#include <string.h>

static inline OTP_HD float otp_bf16_widen(uint16_t half)
{
	uint32_t bits = (uint32_t)half << 16;
	float value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

/* To nearest, ties to even; a NaN stays one. From compute capability 8.0 on the GPU has an instruction. */
static inline OTP_HD uint16_t otp_bf16_round(float value)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
	uint16_t half;
	asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(half) : "f"(value));
	return half;
#else
	uint32_t bits;
	memcpy(&bits, &value, sizeof bits);
	if ((bits & 0x7fffffffu) > 0x7f800000u)
		return (uint16_t)(bits >> 16 | 0x40u);
	return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
#endif
}

/* Two neighbours in memory, the first in the lower half. */
static inline OTP_HD uint32_t otp_bf16_round_pair(float first, float second)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
	uint32_t pair;
	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
	return pair;
#else
	return otp_bf16_round(first) | (uint32_t)otp_bf16_round(second) << 16;
#endif
}

#endif
