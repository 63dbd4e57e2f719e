/* structure.cu: ops that only move elements. Along an axis a tensor is rows of
 * neighbouring elements, from the axis inwards; concat, slice and pad fill each
 * row of the output from at most two others. Elements are moved as words: any
 * type, any bits. */
#include "cuda/launch.cuh"

namespace
{

/* One output row of `to` words: [begin, begin + length) comes from a's row, at
 * `skip` in it; what lies behind comes from b's row, and is zero without b. */
struct rows {
	const void *a, *b;
	unsigned to, begin, length, skip, a_row, b_row;
};

struct alignas(16) words4 {
	uint32_t v[4];
};

template <class T> __global__ void fill_rows(T *y, rows r, unsigned count)
{
	const T *a = static_cast<const T *>(r.a), *b = static_cast<const T *>(r.b);
	for (int64_t item = otp_first_item(); item < count; item += otp_item_step()) {
		unsigned row = (unsigned)item / r.to, at = (unsigned)item - row * r.to;
		T value = {};
		if (at >= r.begin && at - r.begin < r.length)
			value = a[(int64_t)row * r.a_row + r.skip + (at - r.begin)];
		else if (b)
			value = b[(int64_t)row * r.b_row + (at - r.length)];
		y[item] = value;
	}
}

bool divides(const rows &r) { return (r.to | r.begin | r.length | r.skip | r.a_row | r.b_row) % 4 == 0; }

void run_rows(const otp_call *call, rows r)
{
	unsigned count = otp_index_count(call->out.shape);
	if (divides(r) && otp_aligned(r.a) && otp_aligned(r.b) && otp_aligned(call->out.data)) {
		rows wide = {r.a,	   r.b,	       r.to / 4,    r.begin / 4,
			     r.length / 4, r.skip / 4, r.a_row / 4, r.b_row / 4};
		OTP_LAUNCH(call, fill_rows<words4>, otp_blocks(count / 4), OTP_THREADS, 0,
			   static_cast<words4 *>(call->out.data), wide, count / 4);
	} else {
		OTP_LAUNCH(call, fill_rows<uint32_t>, otp_blocks(count), OTP_THREADS, 0,
			   static_cast<uint32_t *>(call->out.data), r, count);
	}
}

/* Elements of one row: everything from the axis inwards. */
unsigned row_of(otp_shape s, int axis)
{
	const int extent[4] = {s.n, s.h, s.w, s.c};
	unsigned elements = 1;
	for (int d = 3; d >= axis; d--)
		elements *= (unsigned)extent[d];
	return elements;
}

} // namespace

static void move_all(const otp_call *call)
{
	unsigned row = otp_index_count(call->out.shape);
	run_rows(call, rows{call->in[0].data, nullptr, row, 0, row, 0, row, 0});
}

OTP_CUDA_KERNEL(copy) { move_all(call); }
/* Planned to share its input's memory, and then never called. */
OTP_CUDA_KERNEL(reshape) { move_all(call); }

OTP_CUDA_KERNEL(concat)
{
	int axis = call->attr.axis.axis;
	unsigned a = row_of(call->in[0].shape, axis), b = row_of(call->in[1].shape, axis);
	run_rows(call, rows{call->in[0].data, call->in[1].data, a + b, 0, a, 0, a, b});
}

OTP_CUDA_KERNEL(slice)
{
	int axis = call->attr.slice.axis;
	unsigned from = row_of(call->in[0].shape, axis), to = row_of(call->out.shape, axis);
	unsigned skip = (unsigned)call->attr.slice.begin * row_of(call->out.shape, axis + 1);
	run_rows(call, rows{call->in[0].data, nullptr, to, 0, to, skip, from, 0});
}

OTP_CUDA_KERNEL(pad)
{
	int axis = call->attr.slice.axis;
	unsigned from = row_of(call->in[0].shape, axis), to = row_of(call->out.shape, axis);
	unsigned begin = (unsigned)call->attr.slice.begin * row_of(call->out.shape, axis + 1);
	run_rows(call, rows{call->in[0].data, nullptr, to, begin, from, 0, from, 0});
}
