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

/* To nearest, ties to even; a NaN stays one. */
static inline OTP_HD uint16_t otp_bf16_round(float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof bits);
	if ((bits & 0x7fffffffu) > 0x7f800000u)
		return (uint16_t)(bits >> 16 | 0x40u);
	return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

#endif
