/* permute: a keyed permutation of 0 .. count-1 without memory: a Feistel
 * network over the next power of two, walked until it falls inside. */
#ifndef OTP_PERMUTE_H
#define OTP_PERMUTE_H

#include "core/rng.h"

/* Where the permutation of `key` takes i. count >= 1, i < count. */
static inline uint64_t otp_permute(otp_stream key, uint64_t i, uint64_t count)
{
	enum { ROUNDS = 8 };
	int bits = 2;
	while (bits < 63 && (UINT64_C(1) << bits) < count)
		bits++;
	do {
		/* Halves may differ by one bit; they trade places every round, and the number of rounds is
		 * even. */
		int low_bits = bits / 2, high_bits = bits - low_bits;
		uint64_t low = i & ((UINT64_C(1) << low_bits) - 1), high = i >> low_bits;
		for (uint32_t round = 0; round < ROUNDS; round++) {
			otp_stream s = key;
			s.word[2] ^= round << 28;
			uint32_t mix = otp_random_u32(s, OTP_PURPOSE_ORDER, (uint32_t)low << 2);
			uint64_t next = (high ^ mix) & ((UINT64_C(1) << high_bits) - 1);
			int swap = low_bits;
			high = low;
			low = next;
			low_bits = high_bits;
			high_bits = swap;
		}
		i = high << low_bits | low;
	} while (i >= count);
	return i;
}

#endif
