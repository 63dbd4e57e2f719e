/* scalar: every pointwise formula once, for host and device, in double (_d,
 * used by ref) and float (_f, used by cpu and cuda). Logarithm and circle
 * functions are our own polynomials in float, so that compilers vectorise them
 * and every backend makes the same draws. Exponential, quotient and 1/sqrt have
 * a device form, the GPU's own instructions, and a host form, which the cpu and
 * the tests' shim use: check_ops' bounds cover either. In double the exponential
 * is the C library's, so that check_ops compares the two.
 */
#ifndef OTP_SCALAR_H
#define OTP_SCALAR_H

#include "core/rng.h"

#include <math.h>
#include <string.h>

#ifdef __CUDA_ARCH__

/* e^x: at most 2 + floor(1.173 |x|) ulp off (CUDA's documentation), 0 and infinity where float ends. */
static inline OTP_HD float otp_exp_f(float x) { return __expf(x); }
/* a / b: at most 2 ulp off, and 0 where |b| > 2^126 (CUDA's documentation). */
static inline OTP_HD float otp_quotient_f(float a, float b) { return __fdividef(a, b); }
/* At most 2 ulp off. */
static inline OTP_HD float otp_rsqrt_f(float x) { return rsqrtf(x); }

#else

/* e^x in float, relative error below 2e-7 on [-87, 88], clamped outside.
 * Range reduction x = k log 2 + r in two steps (Cody-Waite), degree-6
 * polynomial on |r| <= log(2)/2 (coefficients: Cephes expf), exponent added
 * as bits. Adding and taking away 1.5 2^23 rounds to a whole number without a
 * branch: branches would keep compilers from vectorising. */
static inline OTP_HD float otp_exp_f(float x)
{
	x = x < -87.0f ? -87.0f : x;
	x = x > 88.0f ? 88.0f : x;
	float kf = (x * 1.44269504088896341f + 12582912.0f) - 12582912.0f;
	float r = x - kf * 0.693359375f + kf * 2.12194440e-4f;
	float p = 1.9875691500e-4f;
	p = p * r + 1.3981999507e-3f;
	p = p * r + 8.3334519073e-3f;
	p = p * r + 4.1665795894e-2f;
	p = p * r + 1.6666665459e-1f;
	p = p * r + 5.0000001201e-1f;
	p = p * r * r + r + 1.0f;
	uint32_t bits = (uint32_t)((int32_t)kf + 127) << 23;
	float two_to_k;
	memcpy(&two_to_k, &bits, sizeof two_to_k);
	return p * two_to_k;
}
static inline OTP_HD float otp_quotient_f(float a, float b) { return a / b; }
static inline OTP_HD float otp_rsqrt_f(float x) { return 1.0f / sqrtf(x); }

#endif

static inline OTP_HD double otp_exp_d(double x) { return exp(x); }
static inline OTP_HD double otp_quotient_d(double a, double b) { return a / b; }
static inline OTP_HD double otp_rsqrt_d(double x) { return 1 / sqrt(x); }

/* The formulas, written once for a type T with suffix S. */
#define OTP_SCALAR_FORMULAS(T, S, SQRT, LOG1P, FABS)                                                         \
	static inline OTP_HD T otp_sigmoid##S(T x) { return otp_quotient##S((T)1, (T)1 + otp_exp##S(-x)); }  \
	static inline OTP_HD T otp_silu##S(T x) { return x * otp_sigmoid##S(x); }                            \
	/* silu'(x) = s + x s (1 - s) */                                                                     \
	static inline OTP_HD T otp_silu_slope##S(T x)                                                        \
	{                                                                                                    \
		T s = otp_sigmoid##S(x);                                                                     \
		return s * ((T)1 + x * ((T)1 - s));                                                          \
	}                                                                                                    \
	/* silu''(x) = s (1 - s) (2 + x (1 - 2 s)) */                                                        \
	static inline OTP_HD T otp_silu_curve##S(T x)                                                        \
	{                                                                                                    \
		T s = otp_sigmoid##S(x);                                                                     \
		return s * ((T)1 - s) * ((T)2 + x * ((T)1 - (T)2 * s));                                      \
	}                                                                                                    \
	static inline OTP_HD T otp_lrelu##S(T x, T slope) { return x > (T)0 ? x : slope * x; }               \
	static inline OTP_HD T otp_lrelu_gate##S(T x, T g, T slope) { return x > (T)0 ? g : slope * g; }     \
	static inline OTP_HD T otp_lrelu_gate_merge##S(T x, T g, T r, T slope, T scale)                      \
	{                                                                                                    \
		return scale * (otp_lrelu_gate##S(x, g, slope) + r);                                         \
	}                                                                                                    \
	/* log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), which never overflows */                              \
	static inline OTP_HD T otp_softplus##S(T x)                                                          \
	{                                                                                                    \
		return (x > (T)0 ? x : (T)0) + LOG1P(otp_exp##S(-FABS(x)));                                  \
	}                                                                                                    \
	/* Adam (Kingma, Ba 2015) with bias corrections c1 = 1/(1 - b1^t), c2 = 1/(1 - b2^t). */             \
	static inline OTP_HD T otp_adam_step##S(T p, T g, T *m, T *v, T rate, T b1, T b2, T c1, T c2, T eps) \
	{                                                                                                    \
		*m = b1 * *m + ((T)1 - b1) * g;                                                              \
		*v = b2 * *v + ((T)1 - b2) * g * g;                                                          \
		return p - rate * (*m * c1) / (SQRT(*v * c2) + eps);                                         \
	}                                                                                                    \
	static inline OTP_HD T otp_ema##S(T ema, T p, T decay) { return decay * ema + ((T)1 - decay) * p; }

OTP_SCALAR_FORMULAS(float, _f, sqrtf, log1pf, fabsf)
OTP_SCALAR_FORMULAS(double, _d, sqrt, log1p, fabs)

#undef OTP_SCALAR_FORMULAS

/* log(x) in float for normal positive x, relative error below 2e-7 (coefficients: Cephes logf). */
static inline OTP_HD float otp_log_f(float x)
{
	uint32_t bits;
	memcpy(&bits, &x, sizeof bits);
	float e = (float)((int32_t)(bits >> 23) - 126);
	bits = (bits & 0x007fffffu) | 0x3f000000u;
	float m; /* x = m 2^e, m in [1/2, 1); then m - 1 in [sqrt(1/2) - 1, sqrt(2) - 1) */
	memcpy(&m, &bits, sizeof m);
	float low = m < 0.707106781186547524f ? 1.0f : 0.0f;
	e -= low;
	m = m + low * m - 1.0f;
	float z = m * m;
	float p = 7.0376836292e-2f;
	p = p * m - 1.1514610310e-1f;
	p = p * m + 1.1676998740e-1f;
	p = p * m - 1.2420140846e-1f;
	p = p * m + 1.4249322787e-1f;
	p = p * m - 1.6668057665e-1f;
	p = p * m + 2.0000714765e-1f;
	p = p * m - 2.4999993993e-1f;
	p = p * m + 3.3333331174e-1f;
	p = p * m * z - 2.12194440e-4f * e - 0.5f * z;
	return m + p + 0.693359375f * e;
}

/* sin and cos of u turns, u in [0, 1], absolute error below 2e-7: the nearest
 * quarter turn q, then polynomials on the rest, |t| <= pi/4 (Cephes sinf, cosf). */
static inline OTP_HD void otp_sincos_turns_f(float u, float *sine, float *cosine)
{
	int32_t q = (int32_t)(4.0f * u + 0.5f);
	float t = (4.0f * u - (float)q) * 1.57079632679489662f;
	float z = t * t;
	float s = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * t + t;
	float c = ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z -
		  0.5f * z + 1.0f;
	float across = q & 1 ? c : s, along = q & 1 ? s : c;
	*sine = q & 2 ? -across : across;
	*cosine = (q + 1) & 2 ? -along : along;
}

/* What a byte of a picture stands for, in [-1, 1]: byte / 127.5 - 1, in float on
 * every backend, so that a picture's values do not depend on where they are made. */
static inline OTP_HD float otp_byte_value(unsigned byte) { return (float)byte / 127.5f - 1.0f; }

/* Two standard normals from two 32-bit words (Box, Muller 1958). In float on
 * every backend: the draw is part of the program's result, not of its rounding. */
static inline OTP_HD void otp_normal_pair(uint32_t a, uint32_t b, float *n0, float *n1)
{
	float radius = sqrtf(-2.0f * otp_log_f(otp_unit_float(a)));
	float sine, cosine;
	otp_sincos_turns_f(otp_unit_float(b), &sine, &cosine);
	*n0 = radius * cosine;
	*n1 = radius * sine;
}

typedef struct otp_normals {
	float v[4];
} otp_normals;

/* Elements 4 block .. 4 block + 3 of a sample's normal tensor. */
static inline OTP_HD otp_normals otp_normal_block(otp_stream stream, uint32_t purpose, uint32_t block)
{
	otp_philox words = otp_philox_block(stream, purpose, block);
	float a, b, c, d;
	otp_normal_pair(words.v[0], words.v[1], &a, &b);
	otp_normal_pair(words.v[2], words.v[3], &c, &d);
	otp_normals draw = {{a, b, c, d}};
	return draw;
}

#endif
