/* cuda_runtime: stands in for CUDA's header where kernels are compiled for the
 * host: as much of the language as kernels/cuda uses, in C++ over shim.h. */
#ifndef OTP_SHIM_CUDA_RUNTIME_H
#define OTP_SHIM_CUDA_RUNTIME_H

#include "shim.h"

#include <cstring>
#include <new>
#include <tuple>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...) /* there are as many registers as it takes */
/* One block at a time runs on a thread, so a variable of the thread is one of the block. */
#define __shared__ static thread_local

struct dim3 : otp_shim_dim {
	dim3(unsigned x_count = 1, unsigned y_count = 1, unsigned z_count = 1)
	{
		x = x_count;
		y = y_count;
		z = z_count;
	}
};

#define threadIdx (otp_shim_self->thread)
#define blockIdx (otp_shim_self->block)
#define blockDim (otp_shim_self->block_dim)
#define gridDim (otp_shim_self->grid_dim)

#define __syncthreads() otp_shim_sync_block(__FILE__, __LINE__)
#define __syncwarp() otp_shim_sync_warp(0xffffffffu, __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, lanes)                                                                  \
	otp_shim_exchange(mask, otp_shim_lane() ^ (unsigned)(lanes), value, __FILE__, __LINE__)
#define __shfl_sync(mask, value, lane) otp_shim_exchange(mask, (unsigned)(lane), value, __FILE__, __LINE__)

template <class T>
inline T otp_shim_exchange(unsigned mask, unsigned source, T value, const char *file, int line)
{
	T received;
	otp_shim_shuffle(mask, source, &value, &received, sizeof value, file, line);
	return received;
}

/* A kernel with its arguments, converted to the parameters' types once as a launch does. */
template <class... P> struct otp_shim_bound {
	void (*kernel)(P...);
	std::tuple<P...> arguments;
};

template <class... P> inline void otp_shim_body(void *bound)
{
	auto *b = static_cast<otp_shim_bound<P...> *>(bound);
	std::apply(b->kernel, b->arguments);
}

template <class... P> inline void otp_shim_release(void *bound)
{
	delete static_cast<otp_shim_bound<P...> *>(bound);
}

/* A launch without its kernel and arguments. */
struct otp_shim_where {
	const struct otp_device *device;
	const char *name, *file;
	int line;
};

/* What lies between a parameter's members is whatever was there before, an address too. */
template <class T> inline void otp_shim_clear_padding(T &parameter)
{
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
	__builtin_clear_padding(&parameter);
#endif
#endif
	(void)parameter;
}

/* Whoever looks for addresses among the arguments finds none that nobody passed. */
template <class... P, class... A>
inline otp_shim_bound<P...> *otp_shim_bind(void (*kernel)(P...), A... arguments)
{
	void *memory = ::operator new(sizeof(otp_shim_bound<P...>));
	std::memset(memory, 0, sizeof(otp_shim_bound<P...>));
	/* Else the compiler may leave that out: what is there before a constructor counts as undefined. */
	__asm__ volatile("" : "+r"(memory) : : "memory");
	auto *bound =
	    new (memory) otp_shim_bound<P...>{kernel, std::tuple<P...>(static_cast<P>(arguments)...)};
	std::apply([](auto &...each) { (otp_shim_clear_padding(each), ...); }, bound->arguments);
	return bound;
}

template <class... P, class... A>
inline void otp_shim_launch_kernel(otp_shim_where at, dim3 grid, dim3 block, size_t shared_bytes,
				   void (*kernel)(P...), A... arguments)
{
	auto *bound = otp_shim_bind(kernel, arguments...);
	otp_shim_launch launch = {at.name,
				  at.file,
				  at.line,
				  grid,
				  block,
				  shared_bytes,
				  reinterpret_cast<void (*)()>(kernel),
				  otp_shim_body<P...>,
				  otp_shim_release<P...>,
				  bound,
				  &bound->arguments,
				  sizeof bound->arguments};
	otp_shim_issue(at.device, &launch);
}

#endif
