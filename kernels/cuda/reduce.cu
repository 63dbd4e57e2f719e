/* reduce.cu: sum. A short sum is a thread's, or a few neighbouring lanes'. For
 * the others a block is lanes along the kept inner dimension by rows along what
 * is summed; long sums of few columns are cut into slices whose partial sums a
 * second launch adds. A thread and a block add in float, so many numbers at most;
 * slices are added in double. The order depends on shapes alone: equal bit for
 * bit from run to run, without atomics. */
#include "cuda/launch.cuh"
#include "fold.h"

namespace otp_reduce
{

/* Element (k0, r1, k2, r3, k4) of the folded input; kept 0, 2, 4, summed 1, 3. */
struct reduction {
	unsigned count[5];
	unsigned outputs;
	unsigned line;	       /* from one of dimension 3 to the next */
	bool joined;	       /* dimension 4 is a pack of what is summed: no such dimension was kept */
	unsigned team;	       /* of a short sum: neighbouring threads, a power of two; else 0 */
	int width;	       /* elements of a pack */
	unsigned lanes, tiles; /* packs of a block, a power of two; blocks that count[4] takes */
	unsigned slices, slice_rows;
	divisor inner; /* count[3] */
};

/* With packs of `width` along dimension 4, or where that is 1 along dimension 3. step: where lines lie apart.
 */
reduction plan_reduction(const int64_t *count, int width, int step)
{
	reduction r = {};
	r.width = width;
	r.team = otp_sum_team(count);
	for (int d = 0; d < 5; d++)
		r.count[d] = (unsigned)count[d];
	r.outputs = r.count[0] * r.count[2] * r.count[4];
	r.joined = width > 1 && r.count[4] == 1;
	if (r.joined) {
		r.count[3] /= (unsigned)width;
		r.count[4] = (unsigned)width;
	}
	r.line = step ? (unsigned)step : r.count[4];
	unsigned packs = r.count[4] / (unsigned)width, rows = r.count[1] * r.count[3];
	r.lanes = otp_power_of_two_from(packs, OTP_WARP);
	r.tiles = (packs + r.lanes - 1) / r.lanes;
	r.slices = otp_sum_slices(rows, packs, r.count[0] * r.count[2]);
	r.slice_rows = (rows + r.slices - 1) / r.slices;
	r.inner = divisor_of(r.count[3]);
	return r;
}

/* The element at which summed row `row` of the pack at k4 begins. */
__device__ int64_t place_of(const reduction &r, unsigned k0, unsigned k2, unsigned k4, unsigned row)
{
	unsigned r1 = row / r.inner, r3 = row - r1 * r.count[3];
	return ((((int64_t)k0 * r.count[1] + r1) * r.count[2] + k2) * r.count[3] + r3) * r.line + k4;
}

/* The thread's rows, `step` apart, several fetched before the first is added. */
template <int W, class V>
__device__ pack<W> sum_rows(V x, const reduction &r, unsigned k0, unsigned k2, unsigned k4, unsigned row,
			    unsigned end, unsigned step)
{
	constexpr int R = IN_FLIGHT<V>;
	pack<W> total = {};
	for (; R > 1 && row + (R - 1) * step < end; row += R * step) {
		decltype(fetch<W>(x, 0)) held[R];
		for (int i = 0; i < R; i++)
			held[i] = fetch<W>(x, place_of(r, k0, k2, k4, row + i * step));
		for (int i = 0; i < R; i++)
			for (int k = 0; k < W; k++)
				total.v[k] += widen(held[i]).v[k];
	}
	OTP_NOT_UNROLLED
	for (; row < end; row += step) {
		pack<W> p = load<W>(x, place_of(r, k0, k2, k4, row));
		for (int k = 0; k < W; k++)
			total.v[k] += p.v[k];
	}
	return total;
}

/* Over the block's rows, `rows` of them, a power of two; in the first row's threads. */
template <int W> __device__ pack<W> fold_rows(pack<W> total, unsigned row, unsigned rows, unsigned lanes)
{
	__shared__ float room[W * OTP_THREADS];
	for (int k = 0; k < W; k++)
		room[k * OTP_THREADS + threadIdx.x] = total.v[k];
	for (unsigned half = rows / 2; half > 0; half /= 2) {
		__syncthreads();
		for (int k = 0; k < W && row < half; k++)
			room[k * OTP_THREADS + threadIdx.x] +=
			    room[k * OTP_THREADS + threadIdx.x + half * lanes];
	}
	for (int k = 0; k < W; k++)
		total.v[k] = room[k * OTP_THREADS + threadIdx.x];
	return total;
}

/* Slice s of output o goes to y[s * outputs + o]. JOINED: what a pack holds belongs to one output. */
template <class V, int W, bool JOINED> OTP_GLOBAL sum_slices(view y, V x, reduction r)
{
	unsigned lane = threadIdx.x % r.lanes, row = threadIdx.x / r.lanes, rows = OTP_THREADS / r.lanes;
	unsigned b = blockIdx.x, slice = b % r.slices;
	b /= r.slices;
	unsigned k4 = (b % r.tiles * r.lanes + lane) * W;
	b /= r.tiles;
	unsigned k2 = b % r.count[2], k0 = b / r.count[2];
	unsigned begin = slice * r.slice_rows, end = begin + r.slice_rows, all = r.count[1] * r.count[3];
	end = end < all ? end : all;
	bool inside = k4 < r.count[4];
	pack<W> total = {};
	if (inside)
		total = sum_rows<W>(x, r, k0, k2, k4, begin + row, end, rows);
	int64_t at = (int64_t)slice * r.outputs + (int64_t)k0 * r.count[2] + k2;
	if (JOINED) {
		pack<1> one = {};
		for (int k = 0; k < W; k++)
			one.v[0] += total.v[k];
		one = fold_rows(one, row, rows, r.lanes);
		if (row == 0 && inside)
			put(y, at, one.v[0]);
		return;
	}
	total = fold_rows(total, row, rows, r.lanes);
	at = (int64_t)slice * r.outputs + ((int64_t)k0 * r.count[2] + k2) * r.count[4] + k4;
	for (int k = 0; k < W && row == 0 && inside; k++)
		put(y, at + k, total.v[k]);
}

/* The slices' sums, each a row of all outputs; a warp an output where there are few, else a thread. */
OTP_GLOBAL sum_finish(view y, const float *partial, unsigned slices, unsigned outputs, unsigned team)
{
	int64_t items = ((int64_t)outputs * team + OTP_WARP - 1) / OTP_WARP * OTP_WARP;
	for (int64_t item = otp_first_item(); item < items; item += otp_item_step()) {
		unsigned output = team == 1 ? (unsigned)item : (unsigned)item / OTP_WARP;
		double total = 0;
		for (unsigned s = (unsigned)item % team; output < outputs && s < slices; s += team)
			total += (double)partial[(int64_t)s * outputs + output];
		if (team > 1)
			total = warp_sum(total);
		if (output < outputs && (unsigned)item % team == 0)
			put(y, output, (float)total);
	}
}

/* An output a team; a warp stays together, for its lanes shuffle. */
OTP_GLOBAL sum_short(view y, view x, reduction r)
{
	int64_t items = ((int64_t)r.outputs * r.team + OTP_WARP - 1) / OTP_WARP * OTP_WARP;
	unsigned lane = threadIdx.x % r.team;
	for (int64_t item = otp_first_item(); item < items; item += otp_item_step()) {
		unsigned output = (unsigned)(item / r.team), rest = output;
		bool inside = output < r.outputs;
		unsigned k4 = rest % r.count[4];
		rest /= r.count[4];
		unsigned k2 = rest % r.count[2], k0 = rest / r.count[2];
		pack<1> total = {};
		if (inside)
			total = sum_rows<1>(x, r, k0, k2, k4, lane, r.count[1] * r.count[3], r.team);
		for (unsigned lanes = r.team / 2; lanes > 0; lanes /= 2)
			total.v[0] += __shfl_xor_sync(0xffffffffu, total.v[0], lanes);
		if (inside && lane == 0)
			put(y, output, total.v[0]);
	}
}

unsigned block_count(const reduction &r) { return r.count[0] * r.count[2] * r.tiles * r.slices; }

otp_packs packs_of(const otp_call *call, const otp_lanes &lanes)
{
	const otp_tensor &x = call->in[0];
	unsigned row = (unsigned)lanes.count[lanes.count[4] > 1 ? 4 : 3];
	return otp_packs_of(otp_packs_row(row, x, x), {view_of(x)});
}

/* So many threads would not fill a device. */
enum { FEW_OUTPUTS = 8192 };

struct plan {
	otp_packs packs;
	reduction r;
};

plan plan_of(const otp_call *call)
{
	otp_index_count(call->in[0].shape);
	otp_lanes lanes = otp_lanes_make(call->out.shape, call->in[0].shape);
	otp_packs packs = otp_sum_team(lanes.count) ? OTP_PACKS_SINGLE : packs_of(call, lanes);
	return plan{packs, plan_reduction(lanes.count, otp_packs_width(packs), call->in[0].step)};
}

template <class V, int W> void slices_as(const otp_call *call, const reduction &r)
{
	view x = view_of(call->in[0]), y = view_of(call->out);
	view to = r.slices == 1 ? y : view{call->scratch, false};
	if (r.joined)
		OTP_LAUNCH(call, (sum_slices<V, W, true>), block_count(r), OTP_THREADS, 0, to, as<V>(x), r);
	else
		OTP_LAUNCH(call, (sum_slices<V, W, false>), block_count(r), OTP_THREADS, 0, to, as<V>(x), r);
	if (r.slices == 1)
		return;
	unsigned team = r.outputs < (unsigned)FEW_OUTPUTS ? OTP_WARP : 1;
	OTP_LAUNCH(call, sum_finish, otp_blocks((int64_t)r.outputs * team), OTP_THREADS, 0, y,
		   static_cast<const float *>(call->scratch), r.slices, r.outputs, team);
}

void run_sum(const otp_call *call)
{
	plan p = plan_of(call);
	if (p.r.team)
		OTP_LAUNCH(call, sum_short, otp_blocks((int64_t)p.r.outputs * p.r.team), OTP_THREADS, 0,
			   view_of(call->out), view_of(call->in[0]), p.r);
	else
		OTP_WITH_PACKS(p.packs, slices_as<V, W>(call, p.r));
}

size_t sum_scratch(const otp_call *call)
{
	reduction r = plan_of(call).r;
	return r.team || r.slices == 1 ? 0 : (size_t)r.slices * r.outputs * sizeof(float);
}

} // namespace otp_reduce

using namespace otp_reduce;

const otp_kernel otp_cuda_sum = {run_sum, nullptr, nullptr, sum_scratch, nullptr};
