/* norm.cu: group normalisation fused with scale, shift and SiLU, in NHWC. A
 * tensor is cut into (sample, tile of channels, slice of rows), one block each,
 * so that a small batch still fills the device; a thread keeps its channels'
 * coefficients in registers and walks rows. Sums are per (sample, channel),
 * slice by slice, in double (which makes the one-pass variance safe), and a
 * second launch adds the slices: no atomics, the same order always. */
#include "cuda/launch.cuh"
#include "scalar.h"

namespace
{

constexpr unsigned MOST_SLICES = 128, WANTED_BLOCKS = 1024, ROWS_A_THREAD = 4;

struct cut {
	int rows, c;	       /* of a sample: h w positions, channels */
	unsigned lanes, tiles; /* packs of a block, a power of two; blocks that the channels take */
	unsigned slices;
	int slice_rows;
	unsigned blocks;
};

/* With packs of `width` channels. */
cut cut_of(otp_shape s, int width)
{
	cut k = {s.h * s.w, s.c, 1, 1, 1, 0, 1};
	unsigned packs = (unsigned)(s.c / width);
	while (k.lanes < packs && k.lanes < OTP_WARP)
		k.lanes *= 2;
	k.tiles = (packs + k.lanes - 1) / k.lanes;
	unsigned whole = (unsigned)s.n * k.tiles, wanted = WANTED_BLOCKS / whole;
	unsigned worth = (unsigned)k.rows / (OTP_THREADS / k.lanes * ROWS_A_THREAD);
	unsigned slices = worth < wanted ? worth : wanted;
	slices = slices < 1 ? 1 : slices < MOST_SLICES ? slices : MOST_SLICES;
	k.slice_rows = (k.rows + (int)slices - 1) / (int)slices;
	k.slices = (unsigned)((k.rows + k.slice_rows - 1) / k.slice_rows);
	k.blocks = whole * k.slices;
	return k;
}

/* What a thread works on: W channels from `channel` on, rows row, row + step, ... below end. */
struct share {
	int n, slice, channel, row, end, step;
	bool inside; /* a block's last lanes may lie past the channels */
};

template <int W> __device__ share share_of(const cut &k)
{
	share t;
	unsigned lane = threadIdx.x % k.lanes, b = blockIdx.x;
	t.step = (int)(OTP_THREADS / k.lanes);
	t.slice = (int)(b % k.slices);
	b /= k.slices;
	t.channel = (int)((b % k.tiles * k.lanes + lane) * W);
	t.n = (int)(b / k.tiles);
	t.row = t.slice * k.slice_rows + (int)(threadIdx.x / k.lanes);
	t.end = (t.slice + 1) * k.slice_rows;
	t.end = t.end < k.rows ? t.end : k.rows;
	t.inside = t.channel < k.c;
	return t;
}

/* Everything that says what u is: u = gain (x - mean) + shift. Strides are 0 where one row serves all
 * samples. */
struct recipe {
	const float *stats, *scale, *shift;
	int scale_step, shift_step, groups;
};

recipe recipe_of(const otp_call *call)
{
	const otp_tensor *in = call->in;
	return recipe{floats(in[1]),
		      floats(in[2]),
		      floats(in[3]),
		      (int)otp_sample_step(&in[2]),
		      (int)otp_sample_step(&in[3]),
		      call->attr.norm.groups};
}

template <int W> struct coefficients {
	float mean[W], gain[W], shift[W];
};

template <int W> __device__ coefficients<W> coefficients_of(const recipe &r, const cut &k, const share &t)
{
	coefficients<W> f;
	int size = k.c / r.groups;
	const float *stats = r.stats + (int64_t)t.n * 2 * r.groups;
	for (int j = 0; j < W; j++) {
		int c = t.channel + j, group = c / size;
		f.mean[j] = stats[group];
		f.gain[j] = r.scale[(int64_t)t.n * r.scale_step + c] * stats[r.groups + group];
		f.shift[j] = r.shift[(int64_t)t.n * r.shift_step + c];
	}
	return f;
}

/* dL/du of one element at distance d from the mean */
template <bool SILU> __device__ float inside_grad(float d, float g, float gain, float shift)
{
	return SILU ? g * otp_silu_slope_f(gain * d + shift) : g;
}

/* ---- sums over rows ---- */

/* The block's sums of two quantities a channel: partial[(n slices + slice) 2 + which][c]. */
template <int W>
__device__ void put_sums(double *partial, const double *first, const double *second, const cut &k,
			 const share &t)
{
	OTP_DYNAMIC_SHARED(double, room); /* [2 W][threads] */
	for (int j = 0; j < W; j++) {
		room[j * OTP_THREADS + threadIdx.x] = first[j];
		room[(W + j) * OTP_THREADS + threadIdx.x] = second[j];
	}
	__syncthreads();
	int base = t.channel - (int)(threadIdx.x % k.lanes) * W;
	for (unsigned i = threadIdx.x; i < 2 * W * k.lanes; i += OTP_THREADS) {
		unsigned lane = i % k.lanes, j = i / k.lanes;
		int channel = base + (int)lane * W + (int)(j % W);
		double total = 0;
		for (unsigned at = lane; at < OTP_THREADS; at += k.lanes)
			total += room[j * OTP_THREADS + at];
		if (channel < k.c)
			partial[((int64_t)(t.n * (int)k.slices + t.slice) * 2 + j / W) * k.c + channel] =
			    total;
	}
}

enum { SUM_BYTES_A_CHANNEL = 2 * OTP_THREADS * (int)sizeof(double) }; /* of put_sums' shared memory */

template <int W> __global__ void add_moments(double *partial, view x, cut k)
{
	share t = share_of<W>(k);
	double sum[W] = {}, square[W] = {};
	for (int row = t.row; t.inside && row < t.end; row += t.step) {
		pack<W> p = load<W>(x, ((int64_t)t.n * k.rows + row) * k.c + t.channel);
		for (int j = 0; j < W; j++) {
			sum[j] += (double)p.v[j];
			square[j] += (double)p.v[j] * (double)p.v[j];
		}
	}
	put_sums<W>(partial, sum, square, k, t);
}

template <int W, bool SILU> __global__ void add_products(double *partial, view x, view g, recipe r, cut k)
{
	share t = share_of<W>(k);
	double product[W] = {}, plain[W] = {};
	if (t.inside) {
		coefficients<W> f = coefficients_of<W>(r, k, t);
		for (int row = t.row; row < t.end; row += t.step) {
			int64_t at = ((int64_t)t.n * k.rows + row) * k.c + t.channel;
			pack<W> p = load<W>(x, at), q = load<W>(g, at);
			for (int j = 0; j < W; j++) {
				float d = p.v[j] - f.mean[j];
				float du = inside_grad<SILU>(d, q.v[j], f.gain[j], f.shift[j]);
				product[j] += (double)du * (double)d;
				plain[j] += (double)du;
			}
		}
	}
	put_sums<W>(partial, product, plain, k, t);
}

/* ---- from sums to results: little data, a warp a group or a thread a channel ---- */

__global__ void finish_stats(float *out, const double *partial, cut k, int samples, int groups, float eps)
{
	int size = k.c / groups, lane = (int)(threadIdx.x % OTP_WARP);
	double count = (double)k.rows * size;
	for (int64_t item = otp_first_item() / OTP_WARP; item < (int64_t)samples * groups;
	     item += otp_item_step() / OTP_WARP) {
		int n = (int)(item / groups), group = (int)(item % groups);
		double sum = 0, square = 0;
		for (int i = lane; i < (int)k.slices * size; i += OTP_WARP) {
			const double *slice = partial + (int64_t)(n * (int)k.slices + i / size) * 2 * k.c;
			int c = group * size + i % size;
			sum += slice[c];
			square += slice[k.c + c];
		}
		double mean = warp_sum(sum) / count, variance = warp_sum(square) / count - mean * mean;
		if (lane != 0)
			continue;
		out[(int64_t)n * 2 * groups + group] = (float)mean;
		out[(int64_t)n * 2 * groups + groups + group] =
		    (float)otp_rsqrt_d((variance > 0 ? variance : 0) + (double)eps);
	}
}

/* d rstd = xhat */
__global__ void finish_sums(float *out, const double *partial, recipe r, cut k, int samples)
{
	for (int64_t item = otp_first_item(); item < (int64_t)samples * k.c; item += otp_item_step()) {
		int n = (int)(item / k.c), c = (int)(item % k.c);
		double product = 0, plain = 0;
		for (int slice = 0; slice < (int)k.slices; slice++) {
			const double *from = partial + (int64_t)(n * (int)k.slices + slice) * 2 * k.c + c;
			product += from[0];
			plain += from[k.c];
		}
		float rstd = r.stats[(int64_t)n * 2 * r.groups + r.groups + c / (k.c / r.groups)];
		out[(int64_t)n * 2 * k.c + c] = (float)product * rstd;
		out[(int64_t)n * 2 * k.c + k.c + c] = (float)plain;
	}
}

/* gx = gain du - rest - tilt d, with rest and tilt of a (sample, group): means[item] = rest, tilt. */
__global__ void group_means(float *means, const float *sums, recipe r, cut k, int samples)
{
	int size = k.c / r.groups, lane = (int)(threadIdx.x % OTP_WARP);
	double count = (double)k.rows * size;
	for (int64_t item = otp_first_item() / OTP_WARP; item < (int64_t)samples * r.groups;
	     item += otp_item_step() / OTP_WARP) {
		int n = (int)(item / r.groups), group = (int)(item % r.groups);
		const float *scale = r.scale + (int64_t)n * r.scale_step, *sum = sums + (int64_t)n * 2 * k.c;
		double product = 0, plain = 0;
		for (int c = group * size + lane; c < (group + 1) * size; c += OTP_WARP) {
			product += (double)scale[c] * (double)sum[c];
			plain += (double)scale[c] * (double)sum[k.c + c];
		}
		product = warp_sum(product);
		plain = warp_sum(plain);
		double rstd = (double)r.stats[(int64_t)n * 2 * r.groups + r.groups + group];
		if (lane != 0)
			continue;
		means[2 * item] = (float)(rstd * plain / count);
		means[2 * item + 1] = (float)(rstd * rstd * product / count);
	}
}

/* ---- one read, one write ---- */

template <int W, bool SILU> __global__ void apply(view y, view x, recipe r, cut k)
{
	share t = share_of<W>(k);
	if (!t.inside)
		return;
	coefficients<W> f = coefficients_of<W>(r, k, t);
	for (int row = t.row; row < t.end; row += t.step) {
		int64_t at = ((int64_t)t.n * k.rows + row) * k.c + t.channel;
		pack<W> p = load<W>(x, at);
		for (int j = 0; j < W; j++) {
			float u = f.gain[j] * (p.v[j] - f.mean[j]) + f.shift[j];
			p.v[j] = SILU ? otp_silu_f(u) : u;
		}
		store(y, at, p);
	}
}

template <int W, bool SILU>
__global__ void dgrad(view gx, view x, view g, const float *means, recipe r, cut k)
{
	share t = share_of<W>(k);
	if (!t.inside)
		return;
	coefficients<W> f = coefficients_of<W>(r, k, t);
	float rest[W], tilt[W];
	for (int j = 0; j < W; j++) {
		int group = (t.channel + j) / (k.c / r.groups);
		rest[j] = means[2 * ((int64_t)t.n * r.groups + group)];
		tilt[j] = means[2 * ((int64_t)t.n * r.groups + group) + 1];
	}
	for (int row = t.row; row < t.end; row += t.step) {
		int64_t at = ((int64_t)t.n * k.rows + row) * k.c + t.channel;
		pack<W> p = load<W>(x, at), q = load<W>(g, at);
		for (int j = 0; j < W; j++) {
			float d = p.v[j] - f.mean[j],
			      du = inside_grad<SILU>(d, q.v[j], f.gain[j], f.shift[j]);
			p.v[j] = f.gain[j] * du - rest[j] - tilt[j] * d;
		}
		store(gx, at, p);
	}
}

/* ---- the table's ---- */

/* By every tensor of the image's size. */
int width_of(const otp_call *call)
{
	bool has_g = call->op == OTP_OP_norm_sums || call->op == OTP_OP_norm_dgrad;
	bool writes = call->op == OTP_OP_norm_apply || call->op == OTP_OP_norm_dgrad;
	view x = view_of(call->in[0]), g = has_g ? view_of(call->in[4]) : x;
	return otp_width((unsigned)call->in[0].shape.c, {x, g, writes ? view_of(call->out) : x});
}

template <int W> void stats_as(const otp_call *call)
{
	cut k = cut_of(call->in[0].shape, W);
	int samples = call->in[0].shape.n, groups = call->attr.norm.groups;
	double *partial = static_cast<double *>(call->scratch);
	OTP_LAUNCH(call, add_moments<W>, k.blocks, OTP_THREADS, W * SUM_BYTES_A_CHANNEL, partial,
		   view_of(call->in[0]), k);
	OTP_LAUNCH(call, finish_stats, otp_blocks((int64_t)samples * groups, OTP_WARPS), OTP_THREADS, 0,
		   floats(call->out), partial, k, samples, groups, call->attr.norm.eps);
}

template <int W, bool SILU> void apply_as(const otp_call *call)
{
	cut k = cut_of(call->in[0].shape, W);
	OTP_LAUNCH(call, (apply<W, SILU>), k.blocks, OTP_THREADS, 0, view_of(call->out), view_of(call->in[0]),
		   recipe_of(call), k);
}

template <int W, bool SILU> void sums_as(const otp_call *call)
{
	cut k = cut_of(call->in[0].shape, W);
	recipe r = recipe_of(call);
	int samples = call->in[0].shape.n;
	double *partial = static_cast<double *>(call->scratch);
	OTP_LAUNCH(call, (add_products<W, SILU>), k.blocks, OTP_THREADS, W * SUM_BYTES_A_CHANNEL, partial,
		   view_of(call->in[0]), view_of(call->in[4]), r, k);
	OTP_LAUNCH(call, finish_sums, otp_blocks((int64_t)samples * k.c), OTP_THREADS, 0, floats(call->out),
		   partial, r, k, samples);
}

template <int W, bool SILU> void dgrad_as(const otp_call *call)
{
	cut k = cut_of(call->in[0].shape, W);
	recipe r = recipe_of(call);
	int samples = call->in[0].shape.n;
	float *means = static_cast<float *>(call->scratch);
	OTP_LAUNCH(call, group_means, otp_blocks((int64_t)samples * r.groups, OTP_WARPS), OTP_THREADS, 0,
		   means, floats(call->in[5]), r, k, samples);
	OTP_LAUNCH(call, (dgrad<W, SILU>), k.blocks, OTP_THREADS, 0, view_of(call->out), view_of(call->in[0]),
		   view_of(call->in[4]), means, r, k);
}

size_t partial_bytes(const otp_call *call)
{
	otp_shape s = call->in[0].shape;
	return (size_t)s.n * cut_of(s, width_of(call)).slices * 2 * (size_t)s.c * sizeof(double);
}

size_t means_bytes(const otp_call *call)
{
	return 2 * (size_t)call->in[0].shape.n * (size_t)call->attr.norm.groups * sizeof(float);
}

} // namespace

#define BY_WIDTH_AND_SILU(name)                                                                              \
	static void run_##name(const otp_call *call)                                                         \
	{                                                                                                    \
		if (call->attr.norm.silu)                                                                    \
			OTP_WITH_WIDTH(width_of(call), name##_as<W, true>(call));                            \
		else                                                                                         \
			OTP_WITH_WIDTH(width_of(call), name##_as<W, false>(call));                           \
	}

BY_WIDTH_AND_SILU(apply)
BY_WIDTH_AND_SILU(sums)
BY_WIDTH_AND_SILU(dgrad)
static void run_stats(const otp_call *call) { OTP_WITH_WIDTH(width_of(call), stats_as<W>(call)); }

const otp_kernel otp_cuda_norm_stats = {run_stats, nullptr, nullptr, partial_bytes, nullptr};
const otp_kernel otp_cuda_norm_apply = {run_apply, nullptr, nullptr, nullptr, nullptr};
const otp_kernel otp_cuda_norm_sums = {run_sums, nullptr, nullptr, partial_bytes, nullptr};
const otp_kernel otp_cuda_norm_dgrad = {run_dgrad, nullptr, nullptr, means_bytes, nullptr};
