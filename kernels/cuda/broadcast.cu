/* broadcast.cu: add, mul and spread over operands that repeat along some
 * dimensions. Shapes are folded to as few dimensions as they need; a pack is
 * four elements along the innermost, where an operand stands still or steps. */
#include "cuda/launch.cuh"
#include "fold.h"

namespace
{

/* The fold with its inner dimension in packs. */
struct walk {
	unsigned count[4]; /* the last in packs */
	int64_t step_a[4], step_b[4];
};

template <int W> __device__ pack<W> operand(const float *from, unsigned at, bool steps)
{
	if (steps)
		return load<W>(from + (int64_t)at * W);
	pack<W> same;
	for (int k = 0; k < W; k++)
		same.v[k] = from[0];
	return same;
}

template <int W, class F>
__global__ void combine(float *y, const float *a, const float *b, walk w, unsigned packs, F f)
{
	for (int64_t item = otp_first_item(); item < packs; item += otp_item_step()) {
		unsigned rest = (unsigned)item, inner = rest % w.count[3];
		rest /= w.count[3];
		int64_t at_a = 0, at_b = 0;
		for (int d = 2; d >= 0; d--) {
			unsigned i = rest % w.count[d];
			rest /= w.count[d];
			at_a += i * w.step_a[d];
			at_b += i * w.step_b[d];
		}
		pack<W> p = operand<W>(a + at_a, inner, w.step_a[3] != 0);
		pack<W> q = operand<W>(b + at_b, inner, w.step_b[3] != 0);
		for (int k = 0; k < W; k++)
			p.v[k] = f(p.v[k], q.v[k]);
		store(y + item * W, p);
	}
}

template <class F> void run_combine(const otp_call *call, const otp_tensor &a, const otp_tensor &b, F f)
{
	otp_fold fold = otp_fold_make(a.shape, b.shape, call->out.shape);
	unsigned count = otp_index_count(call->out.shape);
	bool wide = fold.count[3] % 4 == 0 && otp_aligned(call->out.data) &&
		    (!fold.step_a[3] || otp_aligned(a.data)) && (!fold.step_b[3] || otp_aligned(b.data));
	walk w;
	for (int d = 0; d < 4; d++) {
		w.count[d] = (unsigned)fold.count[d];
		w.step_a[d] = fold.step_a[d];
		w.step_b[d] = fold.step_b[d];
	}
	if (wide) {
		w.count[3] /= 4;
		count /= 4;
		OTP_LAUNCH(call, (combine<4, F>), otp_blocks(count), OTP_THREADS, 0, floats(call->out),
			   floats(a), floats(b), w, count, f);
	} else {
		OTP_LAUNCH(call, (combine<1, F>), otp_blocks(count), OTP_THREADS, 0, floats(call->out),
			   floats(a), floats(b), w, count, f);
	}
}

struct sum_of {
	__device__ float operator()(float a, float b) const { return a + b; }
};
struct product_of {
	__device__ float operator()(float a, float b) const { return a * b; }
};
struct first_of {
	__device__ float operator()(float a, float) const { return a; }
};

} // namespace

OTP_CUDA_KERNEL(add) { run_combine(call, call->in[0], call->in[1], sum_of{}); }
OTP_CUDA_KERNEL(mul) { run_combine(call, call->in[0], call->in[1], product_of{}); }
OTP_CUDA_KERNEL(spread) { run_combine(call, call->in[0], call->in[0], first_of{}); }

void otp_cuda_add_bias(const otp_call *call, float *y, const float *b, int64_t rows, int channels)
{
	walk w = {{1, 1, (unsigned)rows, (unsigned)channels}, {0, 0, channels, 1}, {0, 0, 0, 1}};
	unsigned count = (unsigned)(rows * channels);
	if (channels % 4 == 0 && otp_aligned(y) && otp_aligned(b)) {
		w.count[3] /= 4;
		OTP_LAUNCH(call, (combine<4, sum_of>), otp_blocks(count / 4), OTP_THREADS, 0, y, y, b, w,
			   count / 4, sum_of{});
	} else {
		OTP_LAUNCH(call, (combine<1, sum_of>), otp_blocks(count), OTP_THREADS, 0, y, y, b, w, count,
			   sum_of{});
	}
}
