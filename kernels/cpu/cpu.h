/* cpu: kernels for one core. oneDNN computes convolutions and matrix products
 * (dnn.h), plain loops that the compiler vectorises compute the rest.
 *
 * A kernel never starts a thread: who wants more cores runs more copies of a
 * program, one a thread, each on its share of the batch.
 */
#ifndef OTP_CPU_H
#define OTP_CPU_H

#include "graph/op.h"

extern const otp_backend otp_cpu_backend;

#define OP(name, inputs, attribute, in_place, meaning) extern const otp_kernel otp_cpu_##name;
#include "graph/ops.def"
#undef OP

/* Hot functions are compiled for several instruction sets; the loader picks
 * one. Sanitizers run before the loader's choice is possible. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && !defined(OTPLAN_SANITIZE)
#define OTP_SIMD_CLONES
#define OTP_SIMD __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define OTP_SIMD
#endif

/* Loop bodies shared by several OTP_SIMD functions: inlined, so that they take the instruction set of each.
 */
#if defined(__GNUC__)
#define OTP_INLINE static inline __attribute__((always_inline))
#else
#define OTP_INLINE static inline
#endif

/* Define a kernel that is only a run function: the block that follows. */
#define OTP_CPU_KERNEL(name)                                                                                 \
	static void run_##name(const otp_call *call);                                                        \
	const otp_kernel otp_cpu_##name = {.run = run_##name};                                               \
	static void run_##name(const otp_call *call)

enum { OTP_CPU_ALIGN = 64 }; /* a cache line, and the widest vector */

#endif
