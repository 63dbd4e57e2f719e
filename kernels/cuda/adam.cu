/* adam.cu: the gradient's norm with the guard that judges it, and the optimiser's
 * step with the average of weights, one launch over whole spans. Step, rate and decay are read on the device,
 * so that a captured launch can be repeated. Where the program keeps the weights in bfloat16 too, that copy
 * is written in the same pass. */
#include "cuda/launch.cuh"
#include "guard.h"
#include "scalar.h"
#include "tree.h"

namespace otp_adam
{

/* Rows of gradients are `columns` apart, and so are those of the state where there is one process. Of
 * several, the rows behind the weights hold the process's `own` columns alone, which begin at `first`. */
template <class V> struct update {
	const float *in;
	V grads;
	const float *hyper, *guard;
	float *out;
	view rounded; /* of the weights; data NULL: none */
	int64_t columns, first, own, begin, end;
	int parts;
	bool ema;
	float beta1, beta2, eps;
};

template <int W> __device__ pack<W> sum_of(pack<W> a, const pack<W> &b)
{
	for (int k = 0; k < W; k++)
		a.v[k] += b.v[k];
	return a;
}

/* The parts' gradients, added in the order of the tree. ALONE: there is one. */
template <int W, bool ALONE, class V>
__device__ pack<W> summed_gradient(V grads, int64_t columns, int parts, int64_t at)
{
	pack<W> sum = load<W>(grads, at);
	if (ALONE)
		return sum;
	pack<W> stack[OTP_TREE_LEVELS];
	int depth = 0;
	for (int part = 1; part < parts; part++) {
		stack[depth++] = sum;
		sum = load<W>(grads, part * columns + at);
		for (int merges = otp_tree_merges(part, parts); merges > 0; merges--)
			sum = sum_of(stack[--depth], sum);
	}
	return sum;
}

/* The block's sum, in thread 0: always the same tree. */
template <class T> __device__ T block_sum(T value)
{
	__shared__ T room[OTP_WARPS];
	value = warp_sum(value);
	__syncthreads(); /* of the sum before */
	if (threadIdx.x % OTP_WARP == 0)
		room[threadIdx.x / OTP_WARP] = value;
	__syncthreads();
	T sum = 0;
	for (int warp = 0; warp < OTP_WARPS && threadIdx.x == 0; warp++)
		sum += room[warp];
	return sum;
}

/* A thread's columns, next to each other: the same whether they are read as packs or one by one. */
enum { SQUARES_A_THREAD = OTP_NORM_COLUMNS / OTP_THREADS, SQUARES_IN_FLIGHT = 4 };

/* In a block of columns; zero past the last. */
template <int W, bool ALONE, class V>
__device__ pack<SQUARES_A_THREAD> thread_columns(V grads, int64_t columns, int parts, int block)
{
	int64_t first = (int64_t)block * OTP_NORM_COLUMNS + threadIdx.x * SQUARES_A_THREAD;
	pack<SQUARES_A_THREAD> all = {};
	for (int k = 0; k < SQUARES_A_THREAD; k += W)
		if (first + k < columns) {
			pack<W> g = summed_gradient<W, ALONE>(grads, columns, parts, first + k);
			for (int i = 0; i < W; i++)
				all.v[k + i] = g.v[i];
		}
	return all;
}

template <class V, int W, bool ALONE>
OTP_GLOBAL adam_squares(float *y, V grads, int64_t columns, int parts, int begin, int end)
{
	int step = (int)gridDim.x;
	for (int block = begin + (int)blockIdx.x; block < end; block += SQUARES_IN_FLIGHT * step) {
		pack<SQUARES_A_THREAD> held[SQUARES_IN_FLIGHT];
		for (int k = 0; k < SQUARES_IN_FLIGHT; k++)
			held[k] = thread_columns<W, ALONE>(grads, columns, parts, block + k * step);
		for (int k = 0; k < SQUARES_IN_FLIGHT && block + k * step < end; k++) {
			float sum = 0;
			for (int i = 0; i < SQUARES_A_THREAD; i++)
				sum += held[k].v[i] * held[k].v[i];
			sum = block_sum(sum);
			if (threadIdx.x == 0)
				y[block + k * step] = sum;
		}
	}
}

/* One block of threads. after and before may be the same. */
OTP_GLOBAL adam_guard(float *after, const float *before, int values, int kind, float times,
		      const float *squares, int blocks, const float *hyper)
{
	__shared__ float median;
	float *row = after + OTP_GUARD_HEAD + kind * OTP_GUARD_ROW;
	int thread = (int)threadIdx.x;
	double sum = 0;
	for (int i = thread; i < values && after != before; i += OTP_THREADS)
		after[i] = before[i];
	for (int i = thread; i < blocks; i += OTP_THREADS)
		sum += (double)squares[i];
	if (thread == 0)
		median = 0;
	sum = block_sum(sum); /* and a barrier */
	if (thread < OTP_GUARD_KEPT && otp_guard_is_median_f(row, thread + 1))
		median = row[thread + 1];
	__syncthreads();
	if (thread == 0)
		otp_guard_next_f(after, row, (float)sqrt(sum), median, times, hyper[OTP_HYPER_CLIP],
				 hyper[OTP_HYPER_SLOT]);
}

template <class V> __device__ int64_t place_in_state(const update<V> &u, int row, int64_t at)
{
	return row == OTP_ROW_PARAM ? at : u.columns + (row - 1) * u.own + (at - u.first);
}

/* The state that a guard that stopped leaves as it was. */
template <class V> __device__ void keep_state(const update<V> &u)
{
	int rows = u.ema ? OTP_ROW_EMA + 1 : OTP_ROW_EMA;
	for (int row = 0; row < rows && u.out != u.in; row++)
		for (int64_t at = u.begin + otp_first_item(); at < u.end; at += otp_item_step())
			u.out[place_in_state(u, row, at)] = u.in[place_in_state(u, row, at)];
}

template <class V, int W, bool ALONE> OTP_GLOBAL adam_step(update<V> u)
{
	float factor = u.guard[OTP_GUARD_FACTOR];
	if (u.guard[OTP_GUARD_STOPPED] != 0) {
		keep_state(u);
		return;
	}
	float rate = u.hyper[OTP_HYPER_RATE], c1 = u.hyper[OTP_HYPER_CORRECT1],
	      c2 = u.hyper[OTP_HYPER_CORRECT2];
	float decay = u.hyper[OTP_HYPER_EMA];
	for (int64_t at = u.begin + W * otp_first_item(); at < u.end; at += W * otp_item_step()) {
		pack<W> g = summed_gradient<W, ALONE>(u.grads, u.columns, u.parts, at);
		pack<W> p = load<W>(u.in + place_in_state(u, OTP_ROW_PARAM, at));
		pack<W> m = load<W>(u.in + place_in_state(u, OTP_ROW_M, at));
		pack<W> v = load<W>(u.in + place_in_state(u, OTP_ROW_V, at));
		for (int k = 0; k < W; k++)
			p.v[k] = otp_adam_step_f(p.v[k], factor * g.v[k], &m.v[k], &v.v[k], rate, u.beta1,
						 u.beta2, c1, c2, u.eps);
		store(u.out + place_in_state(u, OTP_ROW_PARAM, at), p);
		store(u.out + place_in_state(u, OTP_ROW_M, at), m);
		store(u.out + place_in_state(u, OTP_ROW_V, at), v);
		if (u.rounded.data)
			store(u.rounded, at, p);
		if (!u.ema)
			continue;
		pack<W> e = load<W>(u.in + place_in_state(u, OTP_ROW_EMA, at));
		for (int k = 0; k < W; k++)
			e.v[k] = otp_ema_f(e.v[k], p.v[k], decay);
		store(u.out + place_in_state(u, OTP_ROW_EMA, at), e);
	}
}

/* Where a block's columns begin: whole packs, too. */
int64_t first_column(int block, int64_t columns)
{
	int64_t begin = (int64_t)block * OTP_NORM_COLUMNS;
	return begin < columns ? begin : columns;
}

/* The statement with ALONE, whether there is one part. */
#define WITH_PARTS(grads, ...)                                                                               \
	do {                                                                                                 \
		if ((grads).shape.w == 1) {                                                                  \
			constexpr bool ALONE = true;                                                         \
			__VA_ARGS__;                                                                         \
		} else {                                                                                     \
			constexpr bool ALONE = false;                                                        \
			__VA_ARGS__;                                                                         \
		}                                                                                            \
	} while (0)

/* The statement with the gradients' type as V and packs of W where rows of `columns` are aligned, else 1. */
#define WITH_GRADIENTS(columns, grads, aligned, ...)                                                         \
	do {                                                                                                 \
		if ((columns) % 4 == 0 && (aligned) && otp_aligned((grads).data)) {                          \
			constexpr int W = 4;                                                                 \
			if ((grads).type == OTP_BF16) {                                                      \
				using V = bf16;                                                              \
				__VA_ARGS__;                                                                 \
			} else {                                                                             \
				using V = f32;                                                               \
				__VA_ARGS__;                                                                 \
			}                                                                                    \
		} else {                                                                                     \
			constexpr int W = 1;                                                                 \
			using V = view;                                                                      \
			__VA_ARGS__;                                                                         \
		}                                                                                            \
	} while (0)

template <class V, int W, bool ALONE> void step_as(const otp_call *call, bool ema)
{
	const otp_attr &attr = call->attr;
	int64_t columns = call->in[0].shape.c;
	int64_t first = first_column(otp_process_block(columns, call->process, call->processes), columns);
	int64_t last = first_column(otp_process_block(columns, call->process + 1, call->processes), columns);
	update<V> u = {floats(call->in[0]),
		       as<V>(view_of(call->in[1])),
		       floats(call->in[2]),
		       floats(call->in[3]),
		       floats(call->out),
		       view{call->out.rounded, true},
		       columns,
		       first,
		       last - first,
		       first_column(otp_call_block(call, columns, call->worker), columns),
		       first_column(otp_call_block(call, columns, call->worker + 1), columns),
		       call->in[1].shape.w,
		       ema,
		       attr.adam.beta1,
		       attr.adam.beta2,
		       attr.adam.eps};
	if (u.begin < u.end)
		OTP_LAUNCH(call, (adam_step<V, W, ALONE>), otp_blocks((u.end - u.begin) / W), OTP_THREADS, 0,
			   u);
}

} // namespace otp_adam

using namespace otp_adam;

OTP_CUDA_KERNEL(squares)
{
	const otp_tensor &grads = call->in[0];
	float *y = floats(call->out);
	int64_t columns = grads.shape.c;
	int parts = grads.shape.w;
	int begin = otp_call_block(call, columns, call->worker),
	    end = otp_call_block(call, columns, call->worker + 1);
	if (begin == end)
		return;
	unsigned grid = otp_blocks(end - begin, SQUARES_IN_FLIGHT);
	WITH_GRADIENTS(columns, grads, true,
		       WITH_PARTS(grads, OTP_LAUNCH(call, (adam_squares<V, W, ALONE>), grid, OTP_THREADS, 0,
						    y, as<V>(view_of(grads)), columns, parts, begin, end)));
}

OTP_CUDA_KERNEL(guard)
{
	OTP_LAUNCH(call, adam_guard, 1, OTP_THREADS, 0, floats(call->out), floats(call->in[0]),
		   call->out.shape.c, call->attr.guard.kind, call->attr.guard.times, floats(call->in[1]),
		   call->in[1].shape.c, floats(call->in[2]));
}

OTP_CUDA_KERNEL(adam)
{
	const otp_tensor &state = call->in[0];
	bool aligned =
	    otp_aligned(state.data) && otp_aligned(call->out.data) && otp_aligned(call->out.rounded);
	WITH_GRADIENTS(state.shape.c, call->in[1], aligned,
		       WITH_PARTS(call->in[1], step_as<V, W, ALONE>(call, call->attr.adam.ema)));
}
