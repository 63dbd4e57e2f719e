/* reduce.cu: sum. A block is lanes along the kept inner dimension by rows along
 * what is summed; long sums of few columns are cut into slices whose partial
 * sums a second launch adds. Sums are kept in double, in an order that depends
 * on shapes alone: equal bit for bit from run to run, without atomics. */
#include "cuda/launch.cuh"
#include "fold.h"

namespace
{

/* Element (k0, r1, k2, r3, k4) of the folded input; kept 0, 2, 4, summed 1, 3. */
struct reduction {
	unsigned count[5];
	unsigned lanes, tiles; /* columns of a block, a power of two; blocks that count[4] takes */
	unsigned slices, slice_rows;
	unsigned outputs;
};

unsigned power_of_two_from(unsigned value, unsigned most)
{
	unsigned p = 1;
	while (p < value && p < most)
		p *= 2;
	return p;
}

enum { WANTED_BLOCKS = 1024, ROWS_A_THREAD = 8 };

reduction plan_reduction(const int64_t *count)
{
	reduction r;
	for (int d = 0; d < 5; d++)
		r.count[d] = (unsigned)count[d];
	r.lanes = power_of_two_from(r.count[4], OTP_WARP);
	r.tiles = (r.count[4] + r.lanes - 1) / r.lanes;
	r.outputs = r.count[0] * r.count[2] * r.count[4];
	unsigned rows = r.count[1] * r.count[3], blocks = r.count[0] * r.count[2] * r.tiles;
	unsigned worth = rows / (OTP_THREADS / r.lanes * ROWS_A_THREAD), wanted = WANTED_BLOCKS / blocks;
	unsigned slices = worth < wanted ? worth : wanted;
	slices = slices < 1 ? 1 : slices;
	r.slice_rows = (rows + slices - 1) / slices;
	r.slices = (rows + r.slice_rows - 1) / r.slice_rows;
	return r;
}

/* The thread's rows of one column, rows `step` apart. */
template <class T>
__device__ double sum_rows(const T *x, const reduction &r, unsigned k0, unsigned k2, unsigned k4,
			   unsigned row, unsigned end, unsigned step)
{
	double total = 0;
	for (; row < end; row += step) {
		unsigned r1 = r.count[1] == 1 ? 0 : row / r.count[3], r3 = row - r1 * r.count[3];
		int64_t at = (((int64_t)k0 * r.count[1] + r1) * r.count[2] + k2) * r.count[3] + r3;
		total += (double)x[at * r.count[4] + k4];
	}
	return total;
}

/* Slice s of output o goes to y[s * outputs + o]. */
template <class T, class Y> __global__ void sum_slices(Y *y, const T *x, reduction r)
{
	__shared__ double room[OTP_THREADS];
	unsigned lane = threadIdx.x % r.lanes, row = threadIdx.x / r.lanes, rows = OTP_THREADS / r.lanes;
	unsigned b = blockIdx.x, slice = b % r.slices;
	b /= r.slices;
	unsigned k4 = b % r.tiles * r.lanes + lane;
	b /= r.tiles;
	unsigned k2 = b % r.count[2], k0 = b / r.count[2];
	unsigned begin = slice * r.slice_rows, end = begin + r.slice_rows, all = r.count[1] * r.count[3];
	end = end < all ? end : all;
	bool inside = k4 < r.count[4];
	room[threadIdx.x] = inside ? sum_rows(x, r, k0, k2, k4, begin + row, end, rows) : 0;
	for (unsigned half = rows / 2; half > 0; half /= 2) {
		__syncthreads();
		if (row < half)
			room[threadIdx.x] += room[threadIdx.x + half * r.lanes];
	}
	if (row == 0 && inside)
		y[(int64_t)slice * r.outputs + ((int64_t)k0 * r.count[2] + k2) * r.count[4] + k4] =
		    (Y)room[threadIdx.x];
}

unsigned block_count(const reduction &r) { return r.count[0] * r.count[2] * r.tiles * r.slices; }

reduction reduction_of(const otp_call *call)
{
	otp_index_count(call->in[0].shape);
	otp_lanes lanes = otp_lanes_make(call->out.shape, call->in[0].shape);
	return plan_reduction(lanes.count);
}

void run_sum(const otp_call *call)
{
	reduction r = reduction_of(call);
	const float *x = floats(call->in[0]);
	float *y = floats(call->out);
	if (r.slices == 1) {
		OTP_LAUNCH(call, (sum_slices<float, float>), block_count(r), OTP_THREADS, 0, y, x, r);
		return;
	}
	double *partial = static_cast<double *>(call->scratch);
	OTP_LAUNCH(call, (sum_slices<float, double>), block_count(r), OTP_THREADS, 0, partial, x, r);
	const int64_t again[5] = {1, 1, 1, r.slices, r.outputs};
	reduction last = plan_reduction(again);
	last.slices = 1;
	last.slice_rows = r.slices;
	OTP_LAUNCH(call, (sum_slices<double, float>), block_count(last), OTP_THREADS, 0, y, partial, last);
}

size_t sum_scratch(const otp_call *call)
{
	reduction r = reduction_of(call);
	return r.slices == 1 ? 0 : (size_t)r.slices * r.outputs * sizeof(double);
}

} // namespace

const otp_kernel otp_cuda_sum = {run_sum, nullptr, nullptr, sum_scratch};
