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
#define OTP_NOT_UNROLLED
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
#define OTP_NOT_UNROLLED _Pragma("unroll 1")
#endif

/* Define a kernel of the table that is only a run function: the block that follows. */
#define OTP_CUDA_KERNEL(name)                                                                                \
	static void run_##name(const otp_call *call);                                                        \
	const otp_kernel otp_cuda_##name = {run_##name, nullptr, nullptr, nullptr, nullptr};                 \
	static void run_##name(const otp_call *call)

/* The head of a kernel: at most 64 registers, so that half of a multiprocessor's threads fit. */
#define OTP_GLOBAL __global__ void __launch_bounds__(OTP_THREADS, 4)

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

/* So that a thread has `packs` of W elements to fetch at once, where there are as many. */
static inline unsigned otp_blocks_for(unsigned count, int width, int packs)
{
	return otp_blocks(count / (unsigned)width, OTP_THREADS * packs);
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

/* A tensor's elements. A kernel is compiled for packs of one type, f32 or bf16, where all that it moves is
 * stored so; else for a view, which is asked at each access. `fetch` brings W elements from `at` on, a
 * multiple of W, as they are stored: a kernel that fetches several before it widens the first has as many
 * loads in flight. */
struct f32 {
	float *data;
};
struct bf16 {
	uint16_t *data;
};
struct view {
	void *data;
	bool narrow;
};

template <int W> static inline __device__ lump<float, W> fetch(f32 from, int64_t at)
{
	return *reinterpret_cast<const lump<float, W> *>(from.data + at);
}

template <int W> static inline __device__ lump<uint16_t, W> fetch(bf16 from, int64_t at)
{
	return *reinterpret_cast<const lump<uint16_t, W> *>(from.data + at);
}

template <int W> static inline __device__ pack<W> widen(const lump<float, W> &l)
{
	pack<W> p;
	for (int k = 0; k < W; k++)
		p.v[k] = l.v[k];
	return p;
}

template <int W> static inline __device__ pack<W> widen(const lump<uint16_t, W> &l)
{
	pack<W> p;
	for (int k = 0; k < W; k++)
		p.v[k] = otp_bf16_widen(l.v[k]);
	return p;
}

template <int W> static inline __device__ pack<W> widen(const pack<W> &p) { return p; }

template <int W> static inline __device__ pack<W> fetch(view from, int64_t at)
{
	if (from.narrow)
		return widen(fetch<W>(bf16{static_cast<uint16_t *>(from.data)}, at));
	return widen(fetch<W>(f32{static_cast<float *>(from.data)}, at));
}

template <int W, class V> static inline __device__ pack<W> load(V from, int64_t at)
{
	return widen(fetch<W>(from, at));
}

template <int W> static inline __device__ pack<W> load(const float *from)
{
	return widen(*reinterpret_cast<const lump<float, W> *>(from));
}

template <int W> static inline __device__ void store(float *to, pack<W> p)
{
	lump<float, W> l;
	for (int k = 0; k < W; k++)
		l.v[k] = p.v[k];
	*reinterpret_cast<lump<float, W> *>(to) = l;
}

template <int W> static inline __device__ void store(f32 to, int64_t at, pack<W> p)
{
	store(to.data + at, p);
}

template <int W> static inline __device__ void store(bf16 to, int64_t at, pack<W> p)
{
	lump<uint32_t, W / 2> l;
	for (int k = 0; k < W / 2; k++)
		l.v[k] = otp_bf16_round_pair(p.v[2 * k], p.v[2 * k + 1]);
	*reinterpret_cast<lump<uint32_t, W / 2> *>(to.data + at) = l;
}

static inline __device__ void store(bf16 to, int64_t at, pack<1> p) { to.data[at] = otp_bf16_round(p.v[0]); }

template <int W> static inline __device__ void store(view to, int64_t at, pack<W> p)
{
	if (to.narrow)
		store(bf16{static_cast<uint16_t *>(to.data)}, at, p);
	else
		store(static_cast<float *>(to.data) + at, p);
}

template <class V> static inline __device__ float get(V from, int64_t at) { return load<1>(from, at).v[0]; }
template <class V> static inline __device__ void put(V to, int64_t at, float value)
{
	store(to, at, pack<1>{{value}});
}

static inline view view_of(const otp_tensor &t) { return view{t.data, t.type == OTP_BF16}; }

template <class V> static inline V as(view v);
template <> inline f32 as<f32>(view v) { return f32{static_cast<float *>(v.data)}; }
template <> inline bf16 as<bf16>(view v) { return bf16{static_cast<uint16_t *>(v.data)}; }
template <> inline view as<view>(view v) { return v; }

/* From element `by` on. */
static inline __device__ f32 shifted(f32 v, int64_t by) { return f32{v.data + by}; }
static inline __device__ bf16 shifted(bf16 v, int64_t by) { return bf16{v.data + by}; }
static inline __device__ view shifted(view v, int64_t by)
{
	return view{static_cast<char *>(v.data) + by * (v.narrow ? 2 : 4), v.narrow};
}

/* Division of numbers below 2^31 by one that a launch knows, without the GPU's long way: with d <= 2^l and
 * m = ceil(2^(31+l) / d) < 2^32, n m = (n 2^(31+l) + n e) / d, e < d, and n e < 2^(31+l) changes no quotient.
 */
struct divisor {
	unsigned value, factor, shift;
};

static inline divisor divisor_of(unsigned value)
{
	unsigned l = 0;
	while ((uint64_t)1 << l < value)
		l++;
	return divisor{value, (unsigned)((((uint64_t)1 << (31 + l)) + value - 1) / value), 31 + l};
}

static inline __device__ unsigned operator/(unsigned n, divisor d)
{
	return (unsigned)((uint64_t)n * d.factor >> d.shift);
}

static inline __device__ unsigned operator%(unsigned n, divisor d) { return n - n / d * d.value; }

/* A tensor whose rows lie apart, as if they did not. */
template <class V> struct apart {
	V from;
	divisor row; /* elements of one */
	unsigned step;
};

template <int W, class V> static inline __device__ auto fetch(const apart<V> &x, int64_t at)
{
	unsigned row = (unsigned)at / x.row;
	return fetch<W>(x.from, (int64_t)row * x.step + ((unsigned)at - row * x.row.value));
}

template <int W, class V> static inline __device__ void store(const apart<V> &y, int64_t at, pack<W> p)
{
	unsigned row = (unsigned)at / y.row;
	store(y.from, (int64_t)row * y.step + ((unsigned)at - row * y.row.value), p);
}

template <class V> static inline __device__ apart<V> shifted(const apart<V> &x, int64_t rows)
{
	return apart<V>{shifted(x.from, rows * x.step), x.row, x.step};
}

/* A thread's packs: from element `at` on, `step` apart, below `end`. */
struct walk {
	unsigned at, step, end;
};

/* All whole packs of `count` elements, over all threads. */
template <int W> static inline __device__ walk walk_over(unsigned count)
{
	return walk{(unsigned)(W * otp_first_item()), (unsigned)(W * otp_item_step()), count / W * W};
}

/* Packs in flight of a tensor, and of two: one where a branch lies between loads. */
template <class V> inline constexpr int IN_FLIGHT = 4;
template <class V> inline constexpr int PAIRS_IN_FLIGHT = 2;
template <> inline constexpr int IN_FLIGHT<view> = 1;
template <> inline constexpr int PAIRS_IN_FLIGHT<view> = 1;
template <class V> inline constexpr int IN_FLIGHT<apart<V>> = IN_FLIGHT<V>;
template <class V> inline constexpr int PAIRS_IN_FLIGHT<apart<V>> = PAIRS_IN_FLIGHT<V>;
template <> inline constexpr int PAIRS_IN_FLIGHT<apart<bf16>> = 1; /* two spill, by the places of rows */

/* body(at, x) for each pack, several fetched before the first is computed with. */
template <int W, class V, class F> static inline __device__ void each_pack(V x, walk w, F body)
{
	constexpr int R = IN_FLIGHT<V>;
	unsigned at = w.at;
	for (; R > 1 && at + (R - 1) * w.step < w.end; at += R * w.step) {
		decltype(fetch<W>(x, 0)) held[R];
		for (int i = 0; i < R; i++)
			held[i] = fetch<W>(x, at + i * w.step);
		for (int i = 0; i < R; i++)
			body(at + i * w.step, widen(held[i]));
	}
	OTP_NOT_UNROLLED
	for (; at < w.end; at += w.step)
		body(at, load<W>(x, at));
}

/* body(at, x, g) */
template <int W, class V, class X, class F> static inline __device__ void each_pair(V x, X g, walk w, F body)
{
	constexpr int R = PAIRS_IN_FLIGHT<V>;
	unsigned at = w.at;
	for (; R > 1 && at + (R - 1) * w.step < w.end; at += R * w.step) {
		decltype(fetch<W>(x, 0)) held[R];
		decltype(fetch<W>(g, 0)) grad[R];
		for (int i = 0; i < R; i++) {
			held[i] = fetch<W>(x, at + i * w.step);
			grad[i] = fetch<W>(g, at + i * w.step);
		}
		for (int i = 0; i < R; i++)
			body(at + i * w.step, widen(held[i]), widen(grad[i]));
	}
	OTP_NOT_UNROLLED
	for (; at < w.end; at += w.step)
		body(at, load<W>(x, at), load<W>(g, at));
}

/* body(at, x, g, r), R packs of each in flight */
template <int R, int W, class V, class X, class F>
static inline __device__ void each_triple(V x, V g, X r, walk w, F body)
{
	unsigned at = w.at;
	for (; R > 1 && at + (R - 1) * w.step < w.end; at += R * w.step) {
		decltype(fetch<W>(x, 0)) held[R], grad[R];
		decltype(fetch<W>(r, 0)) rest[R];
		for (int i = 0; i < R; i++) {
			held[i] = fetch<W>(x, at + i * w.step);
			grad[i] = fetch<W>(g, at + i * w.step);
			rest[i] = fetch<W>(r, at + i * w.step);
		}
		for (int i = 0; i < R; i++)
			body(at + i * w.step, widen(held[i]), widen(grad[i]), widen(rest[i]));
	}
	OTP_NOT_UNROLLED
	for (; at < w.end; at += w.step) {
		auto p = fetch<W>(x, at), q = fetch<W>(g, at), h = fetch<W>(r, at);
		body(at, widen(p), widen(q), widen(h));
	}
}

/* Of a tensor that is never stored as bfloat16: leaves, statistics, state. */
static inline float *floats(const otp_tensor &t)
{
	OTP_ASSERT(t.type == OTP_F32, "cuda: a tensor of type %d where only float32 is expected",
		   (int)t.type);
	return static_cast<float *>(t.data);
}

static inline bool otp_aligned(const void *pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

enum { OTP_ANY_ROW = 0 }; /* for kernels that do an incomplete last pack themselves */

/* What packs a kernel is compiled for: W elements of V. */
enum otp_packs { OTP_PACKS_BF16, OTP_PACKS_F32, OTP_PACKS_MIXED, OTP_PACKS_SINGLE };

/* 16 bytes' worth where all operands are of one type, four elements where not, if they are aligned and packs
 * fill rows of `row` elements. */
static inline otp_packs otp_packs_of(unsigned row, std::initializer_list<view> operands)
{
	bool aligned = true, narrow = true, wide = true;
	for (view v : operands) {
		aligned &= otp_aligned(v.data);
		narrow &= v.narrow;
		wide &= !v.narrow;
	}
	if (!aligned || row % 4 != 0)
		return OTP_PACKS_SINGLE;
	return narrow && row % 8 == 0 ? OTP_PACKS_BF16 : wide ? OTP_PACKS_F32 : OTP_PACKS_MIXED;
}

/* A length that packs fill where they fill rows of `row` elements and what lies between their beginnings:
 * what divides each, of powers of two. */
static inline unsigned otp_packs_row(unsigned row, const otp_tensor &a, const otp_tensor &b)
{
	return row | (unsigned)a.step | (unsigned)b.step;
}

static inline apart<view> apart_of(const otp_tensor &t)
{
	return apart<view>{view_of(t), divisor_of((unsigned)t.shape.c), (unsigned)otp_row_step(&t)};
}

template <class V> static inline apart<V> as(const apart<view> &x)
{
	return apart<V>{as<V>(x.from), x.row, x.step};
}

static inline int otp_packs_width(otp_packs packs)
{
	return packs == OTP_PACKS_SINGLE ? 1 : packs == OTP_PACKS_BF16 ? 8 : 4;
}

/* The statement with `packs` as the type V and the constant W. */
#define OTP_WITH_PACKS(packs, ...)                                                                           \
	do {                                                                                                 \
		if ((packs) == OTP_PACKS_BF16) {                                                             \
			using V = bf16;                                                                      \
			constexpr int W = 8;                                                                 \
			__VA_ARGS__;                                                                         \
		} else if ((packs) == OTP_PACKS_F32) {                                                       \
			using V = f32;                                                                       \
			constexpr int W = 4;                                                                 \
			__VA_ARGS__;                                                                         \
		} else if ((packs) == OTP_PACKS_MIXED) {                                                     \
			using V = view;                                                                      \
			constexpr int W = 4;                                                                 \
			__VA_ARGS__;                                                                         \
		} else {                                                                                     \
			using V = view;                                                                      \
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
