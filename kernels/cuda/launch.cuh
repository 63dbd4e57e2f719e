/* launch: what all kernel files share. A launch and dynamic shared memory are
 * the two things that the host's compiler cannot parse: they are macros, the
 * rest of a file is the same for nvcc and for the shim.
 */
#ifndef OTP_CUDA_LAUNCH_CUH
#define OTP_CUDA_LAUNCH_CUH

#include <cuda_runtime.h> /* first: the shim's gives the qualifiers their meaning */

#include "cuda/cuda.h"

#include <string.h>

#ifdef OTP_CUDA_SHIM
#define OTP_LAUNCH(call, kernel, grid, block, shared_bytes, ...)                                             \
	((void)(call), otp_shim_launch(grid, block, shared_bytes, kernel, __VA_ARGS__))
#define OTP_DYNAMIC_SHARED(type, name) type *name = static_cast<type *>(otp_shim_shared())
#else
#define OTP_LAUNCH(call, kernel, grid, block, shared_bytes, ...)                                             \
	do {                                                                                                 \
		cudaStream_t stream = static_cast<cudaStream_t>(otp_cuda_stream((call)->device));            \
		kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__);                                  \
		otp_cuda_launched((call)->device, #kernel, __FILE__, __LINE__);                              \
	} while (0)
#define OTP_DYNAMIC_SHARED(type, name)                                                                       \
	extern __shared__ __align__(16) unsigned char otp_dynamic_shared[];                                  \
	type *name = reinterpret_cast<type *>(otp_dynamic_shared)
#endif

/* Define a kernel of the table that is only a run function: the block that follows. */
#define OTP_CUDA_KERNEL(name)                                                                                \
	static void run_##name(const otp_call *call);                                                        \
	const otp_kernel otp_cuda_##name = {run_##name, nullptr, nullptr, nullptr};                          \
	static void run_##name(const otp_call *call)

enum { OTP_THREADS = 256, OTP_WARP = 32, OTP_WARPS = OTP_THREADS / OTP_WARP };

/* Several waves on any device; tests lower it, so that kernels must stride. */
#ifndef OTP_MOST_BLOCKS
#define OTP_MOST_BLOCKS 4096
#endif

/* Blocks for so many items, one a thread; the kernel strides over what is left. */
static inline unsigned otp_blocks(int64_t items, int items_per_block = OTP_THREADS)
{
	int64_t blocks = (items + items_per_block - 1) / items_per_block;
	return blocks < 1 ? 1u : blocks < OTP_MOST_BLOCKS ? (unsigned)blocks : OTP_MOST_BLOCKS;
}

static inline __device__ int64_t otp_first_item() { return (int64_t)blockIdx.x * blockDim.x + threadIdx.x; }
static inline __device__ int64_t otp_item_step() { return (int64_t)gridDim.x * blockDim.x; }

/* W neighbouring floats, moved as one access: 16 bytes where W is 4. */
template <int W> struct alignas(4 * W) pack {
	float v[W];
};

template <int W> static inline __device__ pack<W> load(const float *from)
{
	return *reinterpret_cast<const pack<W> *>(from);
}

template <int W> static inline __device__ void store(float *to, pack<W> value)
{
	*reinterpret_cast<pack<W> *>(to) = value;
}

static inline bool otp_aligned(const void *pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

static inline float *floats(const otp_tensor &t) { return static_cast<float *>(t.data); }

/* Kernels that divide indices do so in 32 bits. */
static inline unsigned otp_index_count(otp_shape s)
{
	int64_t count = otp_shape_count(s);
	OTP_ASSERT(count < INT32_MAX, "cuda: a tensor of %lld elements, at most 2^31 - 2 are supported",
		   (long long)count);
	return (unsigned)count;
}

/* The warp's sum in every lane: always the same tree. */
template <class T> static inline __device__ T warp_sum(T value)
{
	for (int lanes = OTP_WARP / 2; lanes > 0; lanes /= 2)
		value += __shfl_xor_sync(0xffffffffu, value, lanes);
	return value;
}

#endif
