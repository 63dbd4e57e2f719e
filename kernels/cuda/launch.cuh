/* launch: what all kernel files share. A launch and dynamic shared memory are
 * the two things that the host's compiler cannot parse: they are macros, the
 * rest of a file is the same for nvcc and for the shim.
 */
#ifndef OTP_CUDA_LAUNCH_CUH
#define OTP_CUDA_LAUNCH_CUH

#include <cuda_runtime.h> /* first: the shim's gives the qualifiers their meaning */

#include "cuda/cuda.h"
#include "bf16.h"
#include "launches.h"

#include <initializer_list>
#include <string.h>

#ifdef OTP_CUDA_SHIM
#define OTP_LAUNCH(call, kernel, grid, block, shared_bytes, ...)                                             \
	otp_shim_launch_kernel({(call)->device, #kernel, __FILE__, __LINE__}, grid, block, shared_bytes,     \
			       kernel, __VA_ARGS__)
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
	const otp_kernel otp_cuda_##name = {run_##name, nullptr, nullptr, nullptr, nullptr};                 \
	static void run_##name(const otp_call *call)

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

/* W neighbouring values, as kernels compute with them. */
template <int W> struct pack {
	float v[W];
};

/* The same in memory, moved 16 bytes at a time where there are as many. */
template <class T, int W> struct alignas(W * sizeof(T) < 16 ? W * sizeof(T) : 16) lump {
	T v[W];
};

template <int W> static inline __device__ pack<W> load(const float *from)
{
	auto l = *reinterpret_cast<const lump<float, W> *>(from);
	pack<W> p;
	for (int k = 0; k < W; k++)
		p.v[k] = l.v[k];
	return p;
}

template <int W> static inline __device__ void store(float *to, pack<W> p)
{
	lump<float, W> l;
	for (int k = 0; k < W; k++)
		l.v[k] = p.v[k];
	*reinterpret_cast<lump<float, W> *>(to) = l;
}

/* A tensor's elements, float32 or bfloat16. All threads branch alike, which costs nothing beside the access.
 */
struct view {
	void *data;
	bool bf16;
};

/* Elements at .. at + W - 1; `at` is a multiple of W. */
template <int W> static inline __device__ pack<W> load(view from, int64_t at)
{
	if (!from.bf16)
		return load<W>(static_cast<const float *>(from.data) + at);
	auto l = *reinterpret_cast<const lump<uint16_t, W> *>(static_cast<const uint16_t *>(from.data) + at);
	pack<W> p;
	for (int k = 0; k < W; k++)
		p.v[k] = otp_bf16_widen(l.v[k]);
	return p;
}

template <int W> static inline __device__ void store(view to, int64_t at, pack<W> p)
{
	if (!to.bf16)
		return store(static_cast<float *>(to.data) + at, p);
	lump<uint16_t, W> l;
	for (int k = 0; k < W; k++)
		l.v[k] = otp_bf16_round(p.v[k]);
	*reinterpret_cast<lump<uint16_t, W> *>(static_cast<uint16_t *>(to.data) + at) = l;
}

static inline __device__ float get(view from, int64_t at) { return load<1>(from, at).v[0]; }
static inline __device__ void put(view to, int64_t at, float value) { store(to, at, pack<1>{{value}}); }

static inline view view_of(const otp_tensor &t) { return view{t.data, t.type == OTP_BF16}; }

/* Of a tensor that is never stored as bfloat16: leaves, statistics, state. */
static inline float *floats(const otp_tensor &t)
{
	OTP_ASSERT(t.type == OTP_F32, "cuda: a tensor of type %d where only float32 is expected",
		   (int)t.type);
	return static_cast<float *>(t.data);
}

static inline bool otp_aligned(const void *pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

/* Elements a pack: 16 bytes' worth of the narrowest operand, where all are aligned and packs fill rows of
 * `row` elements. */
static inline int otp_width(unsigned row, std::initializer_list<view> operands)
{
	bool aligned = true, narrow = false;
	for (view v : operands) {
		aligned &= otp_aligned(v.data);
		narrow |= v.bf16;
	}
	return aligned ? otp_pack_width(row, narrow) : 1;
}

enum { OTP_ANY_ROW = 0 }; /* for kernels that do an incomplete last pack themselves */

/* The statement with `width` as the constant W. */
#define OTP_WITH_WIDTH(width, ...)                                                                           \
	do {                                                                                                 \
		if ((width) == 8) {                                                                          \
			constexpr int W = 8;                                                                 \
			__VA_ARGS__;                                                                         \
		} else if ((width) == 4) {                                                                   \
			constexpr int W = 4;                                                                 \
			__VA_ARGS__;                                                                         \
		} else {                                                                                     \
			constexpr int W = 1;                                                                 \
			__VA_ARGS__;                                                                         \
		}                                                                                            \
	} while (0)

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
