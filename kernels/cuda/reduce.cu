/* reduce.cu: sum. A short sum is a thread's, or a few neighbouring lanes'. For
 * the others a block is lanes along the kept inner dimension by rows along what
 * is summed; long sums of few columns are cut into slices whose partial sums a
 * second launch adds. Sums are kept in double, in an order that depends on
 * shapes alone: equal bit for bit from run to run, without atomics. */
#include "cuda/launch.cuh"
#include "fold.h"

namespace
{

/* Element (k0, r1, k2, r3, k4) of the folded input; kept 0, 2, 4, summed 1, 3. */
struct reduction {
	unsigned count[5];
	unsigned outputs;
	bool joined;	       /* dimension 4 is a pack of what is summed: no such dimension was kept */
	unsigned team;	       /* of a short sum: neighbouring threads, a power of two; else 0 */
	int width;	       /* elements of a pack */
	unsigned lanes, tiles; /* packs of a block, a power of two; blocks that count[4] takes */
	unsigned slices, slice_rows;
};

/* With packs of `width` along dimension 4, or where that is 1 along dimension 3. */
reduction plan_reduction(const int64_t *count, int width)
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
	unsigned packs = r.count[4] / (unsigned)width, rows = r.count[1] * r.count[3];
	r.lanes = otp_power_of_two_from(packs, OTP_WARP);
	r.tiles = (packs + r.lanes - 1) / r.lanes;
	r.slices = otp_sum_slices(rows, packs, r.count[0] * r.count[2]);
	r.slice_rows = (rows + r.slices - 1) / r.slices;
	return r;
}

/* total[k] += element at + k */
template <int W> __device__ void add(double *total, view x, int64_t at)
{
	pack<W> p = load<W>(x, at);
	for (int k = 0; k < W; k++)
		total[k] += (double)p.v[k];
}

template <int W> __device__ void add(double *total, const double *x, int64_t at)
{
	for (int k = 0; k < W; k++)
		total[k] += x[at + k];
}

__device__ void put_total(double *y, int64_t at, double total) { y[at] = total; }
__device__ void put_total(view y, int64_t at, double total) { put(y, at, (float)total); }

/* The thread's rows, `step` apart, of the pack at k4. */
template <int W, class X>
__device__ void sum_rows(double *total, X x, const reduction &r, unsigned k0, unsigned k2, unsigned k4,
			 unsigned row, unsigned end, unsigned step)
{
	for (; row < end; row += step) {
		unsigned r1 = r.count[1] == 1 ? 0 : row / r.count[3], r3 = row - r1 * r.count[3];
		int64_t at = (((int64_t)k0 * r.count[1] + r1) * r.count[2] + k2) * r.count[3] + r3;
		add<W>(total, x, at * r.count[4] + k4);
	}
}

/* Slice s of output o goes to y[s * outputs + o]. */
template <int W, class X, class Y> __global__ void sum_slices(Y y, X x, reduction r)
{
	__shared__ double room[W * OTP_THREADS];
	unsigned lane = threadIdx.x % r.lanes, row = threadIdx.x / r.lanes, rows = OTP_THREADS / r.lanes;
	unsigned b = blockIdx.x, slice = b % r.slices;
	b /= r.slices;
	unsigned k4 = (b % r.tiles * r.lanes + lane) * W;
	b /= r.tiles;
	unsigned k2 = b % r.count[2], k0 = b / r.count[2];
	unsigned begin = slice * r.slice_rows, end = begin + r.slice_rows, all = r.count[1] * r.count[3];
	end = end < all ? end : all;
	bool inside = k4 < r.count[4];
	double total[W] = {};
	if (inside)
		sum_rows<W>(total, x, r, k0, k2, k4, begin + row, end, rows);
	for (int k = 1; r.joined && k < W; k++)
		total[0] += total[k];
	int kept = r.joined ? 1 : W;
	for (int k = 0; k < kept; k++)
		room[k * OTP_THREADS + threadIdx.x] = total[k];
	for (unsigned half = rows / 2; half > 0; half /= 2) {
		__syncthreads();
		for (int k = 0; k < kept && row < half; k++)
			room[k * OTP_THREADS + threadIdx.x] +=
			    room[k * OTP_THREADS + threadIdx.x + half * r.lanes];
	}
	int64_t column = ((int64_t)k0 * r.count[2] + k2) * (r.joined ? 1 : r.count[4]) + (r.joined ? 0 : k4);
	for (int k = 0; k < kept && row == 0 && inside; k++)
		put_total(y, (int64_t)slice * r.outputs + column + k, room[k * OTP_THREADS + threadIdx.x]);
}

/* An output a team; a warp stays together, for its lanes shuffle. */
__global__ void sum_short(view y, view x, reduction r)
{
	int64_t items = ((int64_t)r.outputs * r.team + OTP_WARP - 1) / OTP_WARP * OTP_WARP;
	unsigned lane = threadIdx.x % r.team;
	for (int64_t item = otp_first_item(); item < items; item += otp_item_step()) {
		unsigned output = (unsigned)(item / r.team), rest = output;
		bool inside = output < r.outputs;
		unsigned k4 = rest % r.count[4];
		rest /= r.count[4];
		unsigned k2 = rest % r.count[2], k0 = rest / r.count[2];
		double total = 0;
		if (inside)
			sum_rows<1>(&total, x, r, k0, k2, k4, lane, r.count[1] * r.count[3], r.team);
		for (unsigned lanes = r.team / 2; lanes > 0; lanes /= 2)
			total += __shfl_xor_sync(0xffffffffu, total, lanes);
		if (inside && lane == 0)
			put_total(y, output, total);
	}
}

unsigned block_count(const reduction &r) { return r.count[0] * r.count[2] * r.tiles * r.slices; }

int width_of(const otp_call *call, const otp_lanes &lanes)
{
	return otp_width((unsigned)lanes.count[lanes.count[4] > 1 ? 4 : 3], {view_of(call->in[0])});
}

reduction reduction_of(const otp_call *call)
{
	otp_index_count(call->in[0].shape);
	otp_lanes lanes = otp_lanes_make(call->out.shape, call->in[0].shape);
	return plan_reduction(lanes.count, otp_sum_team(lanes.count) ? 1 : width_of(call, lanes));
}

/* The slices' sums, each a row of all outputs. */
void add_slices(const otp_call *call, const reduction &r)
{
	const int64_t count[5] = {1, 1, 1, r.slices, r.outputs};
	reduction last = plan_reduction(count, 1);
	last.slices = 1;
	last.slice_rows = r.slices;
	OTP_LAUNCH(call, (sum_slices<1, const double *, view>), block_count(last), OTP_THREADS, 0,
		   view_of(call->out), static_cast<const double *>(call->scratch), last);
}

void run_sum(const otp_call *call)
{
	reduction r = reduction_of(call);
	view x = view_of(call->in[0]), y = view_of(call->out);
	if (r.team) {
		OTP_LAUNCH(call, sum_short, otp_blocks((int64_t)r.outputs * r.team), OTP_THREADS, 0, y, x, r);
	} else if (r.slices == 1) {
		OTP_WITH_WIDTH(r.width, OTP_LAUNCH(call, (sum_slices<W, view, view>), block_count(r),
						   OTP_THREADS, 0, y, x, r));
	} else {
		OTP_WITH_WIDTH(r.width,
			       OTP_LAUNCH(call, (sum_slices<W, view, double *>), block_count(r), OTP_THREADS,
					  0, static_cast<double *>(call->scratch), x, r));
		add_slices(call, r);
	}
}

size_t sum_scratch(const otp_call *call)
{
	reduction r = reduction_of(call);
	return r.team || r.slices == 1 ? 0 : (size_t)r.slices * r.outputs * sizeof(double);
}

} // namespace

const otp_kernel otp_cuda_sum = {run_sum, nullptr, nullptr, sum_scratch, nullptr};
