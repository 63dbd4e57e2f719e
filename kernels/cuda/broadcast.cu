/* broadcast.cu: add, mul and spread over operands that repeat along some
 * dimensions. Shapes are folded to as few dimensions as they need; a pack lies
 * along the innermost, where an operand stands still or steps. */
#include "cuda/launch.cuh"
#include "fold.h"

namespace
{

/* The fold with its inner dimension in packs. */
struct walk {
	unsigned count[4]; /* the last in packs */
	int64_t step_a[4], step_b[4];
};

/* From element `first` of the outer dimensions on, `inner` packs further where the operand steps. */
template <int W> __device__ pack<W> operand(view from, int64_t first, unsigned inner, bool steps)
{
	if (steps)
		return load<W>(from, first + (int64_t)inner * W);
	pack<W> same;
	float value = get(from, first);
	for (int k = 0; k < W; k++)
		same.v[k] = value;
	return same;
}

template <int W, class F> __global__ void combine(view y, view a, view b, walk w, unsigned packs, F f)
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
		pack<W> p = operand<W>(a, at_a, inner, w.step_a[3] != 0);
		pack<W> q = operand<W>(b, at_b, inner, w.step_b[3] != 0);
		for (int k = 0; k < W; k++)
			p.v[k] = f(p.v[k], q.v[k]);
		store(y, item * W, p);
	}
}

template <class F>
void run_combine(const otp_call *call, const otp_tensor &out, const otp_tensor &a, const otp_tensor &b, F f)
{
	otp_fold fold = otp_fold_make(a.shape, b.shape, out.shape);
	unsigned count = otp_index_count(out.shape);
	walk w;
	for (int d = 0; d < 4; d++) {
		w.count[d] = (unsigned)fold.count[d];
		w.step_a[d] = fold.step_a[d];
		w.step_b[d] = fold.step_b[d];
	}
	int width = otp_width(w.count[3], {view_of(out), view_of(a), view_of(b)});
	w.count[3] /= (unsigned)width;
	count /= (unsigned)width;
	OTP_WITH_WIDTH(width, OTP_LAUNCH(call, (combine<W, F>), otp_blocks(count), OTP_THREADS, 0,
					 view_of(out), view_of(a), view_of(b), w, count, f));
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

OTP_CUDA_KERNEL(add) { run_combine(call, call->out, call->in[0], call->in[1], sum_of{}); }
OTP_CUDA_KERNEL(mul) { run_combine(call, call->out, call->in[0], call->in[1], product_of{}); }
OTP_CUDA_KERNEL(spread) { run_combine(call, call->out, call->in[0], call->in[0], first_of{}); }
