/* structure.cu: ops that only move elements. Along an axis a tensor is rows of
 * neighbouring elements, from the axis inwards; concat, slice and pad fill each
 * row of the output from at most two others. */
#include "cuda/launch.cuh"

namespace otp_structure
{

/* `to` elements of an output row, which are all of it, or y_row apart and at y_skip: [begin, begin + length)
 * comes from a's row, at `skip` in it; what lies behind comes from b's row, and is zero without b. */
struct rows {
	view a, b;
	unsigned to, begin, length, skip, a_row, b_row, y_row, y_skip;
	divisor row; /* to */
};

/* Lengths in packs. */
template <class V, int W> OTP_GLOBAL structure_rows(V y, V a, V b, rows r, unsigned count)
{
	for (unsigned item = (unsigned)otp_first_item(); item < count; item += (unsigned)otp_item_step()) {
		unsigned row = item / r.row, at = item - row * r.to;
		pack<W> p = {};
		if (at >= r.begin && at - r.begin < r.length)
			p = load<W>(a, W * ((int64_t)row * r.a_row + r.skip + (at - r.begin)));
		else if (r.b.data)
			p = load<W>(b, W * ((int64_t)row * r.b_row + (at - r.length)));
		store(y, W * ((int64_t)row * r.y_row + r.y_skip + at), p);
	}
}

void run_rows(const otp_call *call, rows r)
{
	r.y_row = r.y_row ? r.y_row : r.to;
	unsigned *const lengths[] = {&r.to,    &r.begin, &r.length, &r.skip,
				     &r.a_row, &r.b_row, &r.y_row,  &r.y_skip};
	unsigned all = 0, count = otp_index_count(call->out.shape) / r.y_row * r.to;
	for (unsigned *length : lengths)
		all |= *length; /* a power of two divides this where it divides each */
	view y = view_of(call->out);
	otp_packs packs = otp_packs_of(all, {y, r.a, r.b.data ? r.b : r.a});
	unsigned width = (unsigned)otp_packs_width(packs);
	for (unsigned *length : lengths)
		*length /= width;
	r.row = divisor_of(r.to);
	count /= width;
	OTP_WITH_PACKS(packs, OTP_LAUNCH(call, (structure_rows<V, W>), otp_blocks(count), OTP_THREADS, 0,
					 as<V>(y), as<V>(r.a), as<V>(r.b), r, count));
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

} // namespace otp_structure

using namespace otp_structure;

OTP_CUDA_KERNEL(copy) { otp_cuda_convert(call, &call->out, &call->in[0]); }
/* Planned to share its input's memory, and then never called. */
OTP_CUDA_KERNEL(reshape) { otp_cuda_convert(call, &call->out, &call->in[0]); }

OTP_CUDA_KERNEL(concat)
{
	int axis = call->attr.axis.axis;
	unsigned a = row_of(call->in[0].shape, axis), b = row_of(call->in[1].shape, axis);
	if (call->in[0].step) /* is there */
		run_rows(call, rows{view_of(call->in[1]), view{}, b, 0, b, 0, b, 0, a + b, a, {}});
	else if (call->in[1].step)
		run_rows(call, rows{view_of(call->in[0]), view{}, a, 0, a, 0, a, 0, a + b, 0, {}});
	else
		run_rows(call,
			 rows{view_of(call->in[0]), view_of(call->in[1]), a + b, 0, a, 0, a, b, 0, 0, {}});
}

OTP_CUDA_KERNEL(slice)
{
	int axis = call->attr.slice.axis;
	unsigned from = row_of(call->in[0].shape, axis), to = row_of(call->out.shape, axis);
	unsigned skip = (unsigned)call->attr.slice.begin * row_of(call->out.shape, axis + 1);
	run_rows(call, rows{view_of(call->in[0]), view{}, to, 0, to, skip, from, 0, 0, 0, {}});
}

OTP_CUDA_KERNEL(pad)
{
	int axis = call->attr.slice.axis;
	unsigned from = row_of(call->in[0].shape, axis), to = row_of(call->out.shape, axis);
	unsigned begin = (unsigned)call->attr.slice.begin * row_of(call->out.shape, axis + 1);
	run_rows(call, rows{view_of(call->in[0]), view{}, to, begin, from, 0, from, 0, 0, 0, {}});
}
