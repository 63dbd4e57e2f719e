/* rng: counter-based randomness, Philox4x32-10 (Salmon et al., SC 2011).
 *
 * A draw is a pure function of (stream, purpose, element), so it depends on
 * nothing else: not on batch size, order, threads or device. Host and device
 * code share this header; integers are equal bit for bit everywhere.
 */
#ifndef OTP_RNG_H
#define OTP_RNG_H

#include <stdint.h>

#if defined(__CUDACC__) || defined(OTP_CUDA_SHIM)
#define OTP_HD __host__ __device__
#elif defined(__GNUC__)
/* Always: compilers do not inline of their own accord into a function that has
 * clones for other instruction sets, and its loop would then stay scalar. */
#define OTP_HD __attribute__((always_inline))
#else
#define OTP_HD
#endif

/* What a draw is for: two purposes never share a number. */
enum otp_purpose {
	OTP_PURPOSE_EPS = 1, /* smoothing noise */
	OTP_PURPOSE_LATENT,  /* z */
	OTP_PURPOSE_INIT,    /* initial weights */
	OTP_PURPOSE_ORDER,   /* shuffling of a data set */
	OTP_PURPOSE_FLIP,
	OTP_PURPOSE_HUE,
	OTP_PURPOSE_SYNTH, /* generated data */
	OTP_PURPOSE_EVAL,
	OTP_PURPOSE_CROP, /* windows of pictures */
};

/* One sample's stream: key words and the two upper counter words.
 * Training: key = seed, word 2 = sample in the global batch, word 3 = draw.
 * Translation: key = digest of (seed, input), word 2 = k, word 3 = 0. */
typedef struct otp_stream {
	uint32_t word[4];
} otp_stream;

typedef struct otp_philox {
	uint32_t v[4];
} otp_philox;

static inline OTP_HD otp_philox otp_philox_block(otp_stream stream, uint32_t purpose, uint32_t block)
{
	uint32_t k0 = stream.word[0], k1 = stream.word[1];
	otp_philox x = {{block, purpose, stream.word[2], stream.word[3]}};
	for (int round = 0; round < 10; round++) {
		uint64_t a = (uint64_t)0xD2511F53u * x.v[0];
		uint64_t b = (uint64_t)0xCD9E8D57u * x.v[2];
		otp_philox y = {{(uint32_t)(b >> 32) ^ x.v[1] ^ k0, (uint32_t)b,
				 (uint32_t)(a >> 32) ^ x.v[3] ^ k1, (uint32_t)a}};
		x = y;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	return x;
}

/* The i-th 32-bit word of a stream: word i % 4 of block i / 4. */
static inline OTP_HD uint32_t otp_random_u32(otp_stream stream, uint32_t purpose, uint32_t i)
{
	return otp_philox_block(stream, purpose, i / 4).v[i % 4];
}

/* Uniform in (0, 1): 23 bits and a half, exact in float, never 0 or 1. */
static inline OTP_HD float otp_unit_float(uint32_t u)
{
	return ((float)(u >> 9) + 0.5f) * (1.0f / 8388608.0f);
}

static inline OTP_HD float otp_random_uniform(otp_stream stream, uint32_t purpose, uint32_t i)
{
	return otp_unit_float(otp_random_u32(stream, purpose, i));
}

static inline otp_stream otp_stream_make(uint64_t seed, uint32_t sample, uint32_t draw)
{
	otp_stream s = {{(uint32_t)seed, (uint32_t)(seed >> 32), sample, draw}};
	return s;
}

#endif
