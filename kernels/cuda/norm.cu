/* norm.cu: group normalisation fused with scale, shift and SiLU, in NHWC. A
 * tensor is cut into (sample, tile of channels, slice of rows), one block each,
 * so that a small batch still fills the device. A block folds statistics, scale
 * and shift into two or four numbers a channel; a thread keeps its channels' in
 * registers and walks rows, four loads in flight. Sums are per (sample, channel),
 * in float over a thread's rows, in double over threads and slices; a second
 * launch adds the slices: no atomics, the same order always. */
#include "cuda/launch.cuh"
#include "scalar.h"

namespace otp_norm
{

/* A thread sums at least ROWS_A_THREAD rows, and no more than MOST_ROWS in float, if slices are not too many.
 */
constexpr unsigned MOST_SLICES = 128, WANTED_BLOCKS = 1024, ROWS_A_THREAD = 4, MOST_ROWS = 64;

struct cut {
	int rows, c;	       /* of a sample: h w positions, channels that are worked on */
	int begin, all;	       /* the first of them, and how many x has */
	unsigned lanes, tiles; /* packs of a block, a power of two; blocks that the channels take */
	unsigned slices;
	int slice_rows;
	unsigned blocks;
};

bool is_dgrad(const otp_call *call)
{
	return call->op == OTP_OP_norm_dgrad || call->op == OTP_OP_norm_dgrad_merge ||
	       call->op == OTP_OP_norm_dgrad_merge_two;
}

/* With packs of `width` channels. */
cut cut_of(const otp_call *call, int width)
{
	otp_shape s = call->in[0].shape;
	cut k = {s.h * s.w, s.c, 0, s.c, 1, 1, 1, 0, 1};
	if (is_dgrad(call)) {
		k.begin = call->attr.norm.begin;
		k.c = call->attr.norm.count;
	}
	unsigned packs = (unsigned)(k.c / width);
	while (k.lanes < packs && k.lanes < OTP_WARP)
		k.lanes *= 2;
	k.tiles = (packs + k.lanes - 1) / k.lanes;
	unsigned whole = (unsigned)s.n * k.tiles, wanted = WANTED_BLOCKS / whole;
	unsigned passes = (unsigned)k.rows / (OTP_THREADS / k.lanes), worth = passes / ROWS_A_THREAD;
	unsigned slices = worth < wanted ? worth : wanted, least = (passes + MOST_ROWS - 1) / MOST_ROWS;
	slices = slices < least ? least : slices;
	slices = slices < 1 ? 1 : slices < MOST_SLICES ? slices : MOST_SLICES;
	k.slice_rows = (k.rows + (int)slices - 1) / (int)slices;
	k.slices = (unsigned)((k.rows + k.slice_rows - 1) / k.slice_rows);
	k.blocks = whole * k.slices;
	return k;
}

/* What a thread works on: W channels from `channel` on, rows row, row + step, ... below end. */
struct share {
	int n, slice, base, channel, row, end, step; /* base: the block's first channel */
	bool inside;				     /* a block's last lanes may lie past the channels */
};

template <int W> __device__ share share_of(const cut &k)
{
	share t;
	unsigned lane = threadIdx.x % k.lanes, b = blockIdx.x;
	t.step = (int)(OTP_THREADS / k.lanes);
	t.slice = (int)(b % k.slices);
	b /= k.slices;
	t.base = (int)(b % k.tiles * k.lanes * W);
	t.channel = t.base + (int)lane * W;
	t.n = (int)(b / k.tiles);
	t.row = t.slice * k.slice_rows + (int)(threadIdx.x / k.lanes);
	t.end = (t.slice + 1) * k.slice_rows;
	t.end = t.end < k.rows ? t.end : k.rows;
	t.inside = t.channel < k.c;
	return t;
}

/* What says what u is: u = scale (x - mean) rstd + shift. Strides are 0 where one row serves all samples. */
struct recipe {
	const float *stats, *scale, *shift;
	int stats_step, scale_step, shift_step, sums_step, groups;
};

recipe recipe_of(const otp_call *call)
{
	const otp_tensor *in = call->in;
	return recipe{floats(in[1]),
		      floats(in[2]),
		      floats(in[3]),
		      otp_row_step(&in[1]),
		      (int)otp_sample_step(&in[2]),
		      (int)otp_sample_step(&in[3]),
		      otp_row_step(&in[5]),
		      call->attr.norm.groups};
}

/* ---- coefficients: a block's channels, each folded once ---- */

constexpr int MOST_CHANNELS = 8 * OTP_WARP, MOST_GROUPS = MOST_CHANNELS;
static_assert(MOST_CHANNELS <= int{OTP_THREADS}, "a thread folds one channel");

/* u = gain x + shift; and gx = gain du + level - tilt x. */
struct line {
	float gain[MOST_CHANNELS], shift[MOST_CHANNELS];
};
struct plane {
	float tilt[MOST_CHANNELS], level[MOST_CHANNELS];
};

/* The channel that this thread folds; k.c or more: none. */
template <int W> __device__ int own_channel(const cut &k, const share &t)
{
	return threadIdx.x < k.lanes * W ? t.base + (int)threadIdx.x : k.c;
}

template <int W> __device__ void fold_line(line &l, const recipe &r, const cut &k, const share &t)
{
	int c = own_channel<W>(k, t);
	if (c < k.c) {
		c += k.begin;
		const float *stats = r.stats + (int64_t)t.n * r.stats_step + c / (k.all / r.groups);
		float gain = r.scale[(int64_t)t.n * r.scale_step + c] * stats[r.groups];
		l.gain[threadIdx.x] = gain;
		l.shift[threadIdx.x] = r.shift[(int64_t)t.n * r.shift_step + c] - gain * stats[0];
	}
	__syncthreads();
}

/* gx = gain du - rest - tilt (x - mean), with rest and tilt of a (sample, group): from sums, a warp a group.
 */
template <int W>
__device__ void fold_plane(plane &p, const float *sums, const recipe &r, const cut &k, const share &t)
{
	__shared__ float rest[MOST_GROUPS], tilt[MOST_GROUPS];
	int size = k.all / r.groups, base = k.begin + t.base, first = base / size;
	int lane = (int)(threadIdx.x % OTP_WARP), end = t.base + (int)k.lanes * W, c = own_channel<W>(k, t);
	const float *stats = r.stats + (int64_t)t.n * r.stats_step;
	const float *scale = r.scale + (int64_t)t.n * r.scale_step, *sum = sums + (int64_t)t.n * r.sums_step;
	end = k.begin + (end < k.c ? end : k.c);
	for (int group = first + (int)(threadIdx.x / OTP_WARP); group * size < end; group += OTP_WARPS) {
		float product = 0, plain = 0;
		OTP_NOT_UNROLLED
		for (int i = group * size + lane; i < (group + 1) * size; i += OTP_WARP) {
			product += scale[i] * sum[i];
			plain += scale[i] * sum[k.all + i];
		}
		product = warp_sum(product);
		plain = warp_sum(plain);
		float share = stats[r.groups + group] / ((float)k.rows * (float)size);
		if (lane == 0) {
			rest[group - first] = share * plain;
			tilt[group - first] = share * stats[r.groups + group] * product;
		}
	}
	__syncthreads();
	if (c < k.c) {
		int group = (k.begin + c) / size;
		p.tilt[threadIdx.x] = tilt[group - first];
		p.level[threadIdx.x] = tilt[group - first] * stats[group] - rest[group - first];
	}
	__syncthreads();
}

/* The thread's of a block's numbers. */
template <int W> __device__ pack<W> own(const float *numbers, const cut &k)
{
	pack<W> p;
	for (int j = 0; j < W; j++)
		p.v[j] = numbers[threadIdx.x % k.lanes * W + j];
	return p;
}

/* dL/du */
template <bool SILU> __device__ float inside_grad(float u, float g)
{
	return SILU ? g * otp_silu_slope_f(u) : g;
}

/* ---- a thread's rows ---- */

/* Within its sample. */
__device__ walk walk_of(const cut &k, const share &t)
{
	return walk{(unsigned)(t.row * k.c + t.channel), (unsigned)(t.step * k.c), (unsigned)(t.end * k.c)};
}

/* The tensor from sample n on. */
template <class V> __device__ V sample_of(V x, const cut &k, int n)
{
	return shifted(x, (int64_t)n * k.rows * k.c);
}
template <class V> __device__ apart<V> sample_of(const apart<V> &x, const cut &k, int n)
{
	return shifted(x, (int64_t)n * k.rows);
}

/* ---- sums over rows ---- */

/* The block's sums of two quantities a channel: partial[(n slices + slice) 2 + which][c]. */
template <int W>
__device__ void put_sums(double *partial, const float *first, const float *second, const cut &k,
			 const share &t)
{
	__shared__ float room[2 * W * OTP_THREADS];
	for (int j = 0; j < W; j++) {
		room[j * OTP_THREADS + threadIdx.x] = first[j];
		room[(W + j) * OTP_THREADS + threadIdx.x] = second[j];
	}
	__syncthreads();
	for (unsigned i = threadIdx.x; i < 2 * W * k.lanes; i += OTP_THREADS) {
		unsigned lane = i % k.lanes, j = i / k.lanes;
		int channel = t.base + (int)(lane * W + j % W);
		double total = 0;
		for (unsigned at = lane; at < OTP_THREADS; at += k.lanes)
			total += (double)room[j * OTP_THREADS + at];
		if (channel < k.c)
			partial[((int64_t)(t.n * (int)k.slices + t.slice) * 2 + j / W) * k.c + channel] =
			    total;
	}
}

/* What a group's moments are taken around: near its mean, so that float sums of squares lose little. */
template <class X> __device__ float pivot_of(const X &x, const cut &k, int n, int group, int size)
{
	return get(sample_of(x, k, n), group * size);
}

template <class X, int W> OTP_GLOBAL norm_add_moments(double *partial, X x, cut k, int groups)
{
	__shared__ float pivots[MOST_CHANNELS];
	share t = share_of<W>(k);
	int c = own_channel<W>(k, t), size = k.c / groups;
	if (c < k.c)
		pivots[threadIdx.x] = pivot_of(x, k, t.n, c / size, size);
	__syncthreads();
	float sum[W] = {}, square[W] = {};
	if (t.inside) {
		pack<W> pivot = own<W>(pivots, k);
		each_pack<W>(sample_of(x, k, t.n), walk_of(k, t), [&](unsigned, const pack<W> &p) {
			for (int j = 0; j < W; j++) {
				float away = p.v[j] - pivot.v[j];
				sum[j] += away;
				square[j] += away * away;
			}
		});
	}
	put_sums<W>(partial, sum, square, k, t);
}

/* Sums of du x and of du. */
template <class V, class X, int W, bool SILU>
OTP_GLOBAL norm_add_products(double *partial, X x, V g, recipe r, cut k)
{
	__shared__ line folded;
	share t = share_of<W>(k);
	fold_line<W>(folded, r, k, t);
	float product[W] = {}, plain[W] = {};
	if (t.inside) {
		pack<W> gain = own<W>(folded.gain, k), shift = own<W>(folded.shift, k);
		each_pair<W>(sample_of(x, k, t.n), sample_of(g, k, t.n), walk_of(k, t),
			     [&](unsigned, const pack<W> &p, const pack<W> &q) {
				     for (int j = 0; j < W; j++) {
					     float u = gain.v[j] * p.v[j] + shift.v[j];
					     float du = inside_grad<SILU>(u, q.v[j]);
					     product[j] += du * p.v[j];
					     plain[j] += du;
				     }
			     });
	}
	put_sums<W>(partial, product, plain, k, t);
}

/* ---- from sums to results: little data, a warp a group or a thread a channel ---- */

/* Of a group's channels a warp does `team` at once, a power of two, the lanes of each going through slices.
 */
struct column {
	int c, slice, step; /* of this lane; c: within the group */
};

/* In every lane of the channel: its slices' sums, 0 past the group. */
__device__ double add_slices(const double *partial, const column &at, int size, const cut &k)
{
	double sum = 0;
	for (int slice = at.slice; slice < (int)k.slices && at.c < size; slice += at.step)
		sum += partial[(int64_t)slice * 2 * k.c + at.c];
	for (int lanes = OTP_WARP / at.step; lanes < OTP_WARP; lanes *= 2)
		sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
	return sum;
}

OTP_GLOBAL norm_finish_stats(float *out, const double *partial, apart<view> x, cut k, int samples, int groups,
			     int team, float eps)
{
	int size = k.c / groups, lane = (int)(threadIdx.x % OTP_WARP);
	double count = (double)k.rows * size;
	for (int64_t item = otp_first_item() / OTP_WARP; item < (int64_t)samples * groups;
	     item += otp_item_step() / OTP_WARP) {
		int n = (int)(item / groups), group = (int)(item % groups);
		const double *from = partial + (int64_t)n * (int)k.slices * 2 * k.c + group * size;
		float *to = out + (int64_t)n * (2 * groups + k.c);
		column at = {lane % team, lane / team, OTP_WARP / team};
		double sum = 0, square = 0;
		for (int first = 0; first < size; first += team, at.c += team) {
			sum += add_slices(from, at, size, k);
			square += add_slices(from + k.c, at, size, k);
		}
		/* a channel is in `step` lanes */
		double away = warp_sum(sum) / (count * at.step);
		double variance = warp_sum(square) / (count * at.step) - away * away;
		double rstd = otp_rsqrt_d((variance > 0 ? variance : 0) + (double)eps);
		if (lane == 0) {
			to[group] = (float)((double)pivot_of(x, k, n, group, size) + away);
			to[groups + group] = (float)rstd;
		}
		at.c = lane % team;
		for (int first = 0; first < size; first += team, at.c += team) {
			double own = add_slices(from, at, size, k) / k.rows;
			if (at.slice == 0 && at.c < size)
				to[2 * groups + group * size + at.c] = (float)((own - away) * rstd);
		}
	}
}

/* d scale = sum of du xhat */
OTP_GLOBAL norm_finish_sums(float *out, int out_step, const double *partial, recipe r, cut k, int samples)
{
	for (int64_t item = otp_first_item(); item < (int64_t)samples * k.c; item += otp_item_step()) {
		int n = (int)(item / k.c), c = (int)(item % k.c);
		double product = 0, plain = 0;
		for (int slice = 0; slice < (int)k.slices; slice++) {
			const double *from = partial + (int64_t)(n * (int)k.slices + slice) * 2 * k.c + c;
			product += from[0];
			plain += from[k.c];
		}
		const float *stats = r.stats + (int64_t)n * r.stats_step + c / (k.c / r.groups);
		out[(int64_t)n * out_step + c] =
		    (float)((product - (double)stats[0] * plain) * (double)stats[r.groups]);
		out[(int64_t)n * out_step + k.c + c] = (float)plain;
	}
}

/* What norm_dgrad adds up to over samples and positions, a block a group: rstd (scale plain - (sum of scale
 * plain + xhat's mean sum of scale product) / size), sums over the group's channels; samples are the warps'.
 */
OTP_GLOBAL norm_finish_total(view out, view rest, float factor, const float *sums, recipe r, int samples,
			     int c)
{
	__shared__ double room[OTP_WARPS][OTP_WARP];
	int size = c / r.groups, lane = (int)(threadIdx.x % OTP_WARP), warp = (int)(threadIdx.x / OTP_WARP);
	int chunks = (size + OTP_WARP - 1) / OTP_WARP;
	for (int item = (int)blockIdx.x; item < r.groups * chunks; item += (int)gridDim.x) {
		int group = item / chunks, base = group * size, own = base + item % chunks * OTP_WARP + lane;
		bool inside = own < base + size;
		double total = 0;
		for (int n = warp; n < samples; n += OTP_WARPS) {
			const float *stats = r.stats + (int64_t)n * r.stats_step;
			const float *scale = r.scale + (int64_t)n * r.scale_step;
			const float *product = sums + (int64_t)n * r.sums_step, *plain = product + c;
			double level = 0, tilt = 0;
			for (int i = base + lane; i < base + size; i += OTP_WARP) {
				level += (double)scale[i] * (double)plain[i];
				tilt += (double)scale[i] * (double)product[i];
			}
			level = warp_sum(level) / size;
			tilt = warp_sum(tilt) / size;
			if (inside)
				total += (double)stats[r.groups + group] *
					 ((double)scale[own] * (double)plain[own] - level -
					  (double)stats[2 * r.groups + own] * tilt);
		}
		room[warp][lane] = total;
		__syncthreads();
		if (warp == 0 && inside) {
			for (int other = 1; other < OTP_WARPS; other++)
				total += room[other][lane];
			total += rest.data ? (double)get(rest, own) : 0;
			put(out, own, (float)((double)factor * total));
		}
		__syncthreads();
	}
}

/* ---- one read, one write ---- */

template <class V, class X, int W, bool SILU> OTP_GLOBAL norm_apply(V y, X x, recipe r, cut k)
{
	__shared__ line folded;
	share t = share_of<W>(k);
	fold_line<W>(folded, r, k, t);
	if (!t.inside)
		return;
	pack<W> gain = own<W>(folded.gain, k), shift = own<W>(folded.shift, k);
	V to = sample_of(y, k, t.n);
	each_pack<W>(sample_of(x, k, t.n), walk_of(k, t), [&](unsigned at, pack<W> p) {
		for (int j = 0; j < W; j++) {
			float u = gain.v[j] * p.v[j] + shift.v[j];
			p.v[j] = SILU ? otp_silu_f(u) : u;
		}
		store(to, at, p);
	});
}

/* A thread's part of line and plane. */
template <int W> struct slopes {
	pack<W> gain, shift, tilt, level;
};

template <int W>
__device__ slopes<W> fold_slopes(const float *sums, const recipe &r, const cut &k, const share &t)
{
	__shared__ line folded;
	__shared__ plane tilted;
	fold_line<W>(folded, r, k, t);
	fold_plane<W>(tilted, sums, r, k, t);
	return slopes<W>{own<W>(folded.gain, k), own<W>(folded.shift, k), own<W>(tilted.tilt, k),
			 own<W>(tilted.level, k)};
}

template <bool SILU, int W> __device__ pack<W> grad_of(pack<W> x, const pack<W> &g, const slopes<W> &s)
{
	for (int j = 0; j < W; j++) {
		float du = inside_grad<SILU>(s.gain.v[j] * x.v[j] + s.shift.v[j], g.v[j]);
		x.v[j] = s.gain.v[j] * du + (s.level.v[j] - s.tilt.v[j] * x.v[j]);
	}
	return x;
}

template <int W> __device__ pack<W> times(float factor, pack<W> p)
{
	for (int j = 0; j < W; j++)
		p.v[j] = factor * p.v[j];
	return p;
}

template <int W> __device__ pack<W> sum_of(pack<W> p, const pack<W> &q)
{
	for (int j = 0; j < W; j++)
		p.v[j] = p.v[j] + q.v[j];
	return p;
}

template <class V, class X, int W, bool SILU>
OTP_GLOBAL norm_dgrad(V gx, X x, X g, float factor, const float *sums, recipe r, cut k)
{
	share t = share_of<W>(k);
	slopes<W> s = fold_slopes<W>(sums, r, k, t);
	if (!t.inside)
		return;
	V to = sample_of(gx, k, t.n);
	each_pair<W>(sample_of(x, k, t.n), sample_of(g, k, t.n), walk_of(k, t),
		     [&](unsigned at, const pack<W> &p, const pack<W> &q) {
			     store(to, at, times(factor, grad_of<SILU>(p, q, s)));
		     });
}

/* gx = factor (gradient + a): three loads in flight. */
template <class V, class X, int W, bool SILU>
OTP_GLOBAL norm_dgrad_merge(V gx, X x, X g, X a, float factor, const float *sums, recipe r, cut k)
{
	share t = share_of<W>(k);
	slopes<W> s = fold_slopes<W>(sums, r, k, t);
	if (!t.inside)
		return;
	V to = sample_of(gx, k, t.n);
	each_triple<1, W>(sample_of(x, k, t.n), sample_of(g, k, t.n), sample_of(a, k, t.n), walk_of(k, t),
			  [&](unsigned at, const pack<W> &p, const pack<W> &q, const pack<W> &other) {
				  store(to, at, times(factor, sum_of(grad_of<SILU>(p, q, s), other)));
			  });
}

/* gx = factor (gradient + (a + b)): four loads in flight. */
template <class V, class X, int W, bool SILU>
OTP_GLOBAL norm_dgrad_merge_two(V gx, X x, X g, X a, X b, float factor, const float *sums, recipe r, cut k)
{
	share t = share_of<W>(k);
	slopes<W> s = fold_slopes<W>(sums, r, k, t);
	if (!t.inside)
		return;
	V to = sample_of(gx, k, t.n);
	X second = sample_of(b, k, t.n);
	each_triple<1, W>(sample_of(x, k, t.n), sample_of(g, k, t.n), sample_of(a, k, t.n), walk_of(k, t),
			  [&](unsigned at, const pack<W> &p, const pack<W> &q, const pack<W> &first) {
				  pack<W> other = sum_of(first, load<W>(second, at));
				  store(to, at, times(factor, sum_of(grad_of<SILU>(p, q, s), other)));
			  });
}

/* ---- the table's ---- */

/* Tensors of the image's size: x, g, what merges add. */
struct images {
	const otp_tensor *t[4];
	int count;
};

images images_of(const otp_call *call)
{
	const otp_tensor *in = call->in;
	images m = {{in}, 1};
	if (is_dgrad(call) || call->op == OTP_OP_norm_sums)
		m.t[m.count++] = &in[4];
	int merges = call->op == OTP_OP_norm_dgrad_merge_two ? 2
		     : call->op == OTP_OP_norm_dgrad_merge   ? 1
							     : 0;
	for (int i = 0; i < merges; i++)
		m.t[m.count++] = &in[6 + i];
	return m;
}

/* Whether the rows of one of them lie apart: of wider ones, or where a part of the channels is read. */
bool lie_apart(const otp_call *call)
{
	images m = images_of(call);
	bool apart = is_dgrad(call) && call->attr.norm.count != call->in[0].shape.c;
	for (int i = 0; i < m.count; i++)
		apart |= m.t[i]->step != 0;
	return apart;
}

/* By every tensor of the image's size. */
otp_packs packs_of(const otp_call *call)
{
	images m = images_of(call);
	view v[4],
	    y = call->op == OTP_OP_norm_apply || is_dgrad(call) ? view_of(call->out) : view_of(*m.t[0]);
	unsigned row = (unsigned)call->in[0].shape.c;
	if (is_dgrad(call))
		row |= (unsigned)call->attr.norm.begin | (unsigned)call->attr.norm.count;
	for (int i = 0; i < 4; i++) {
		const otp_tensor &t = *m.t[i < m.count ? i : 0];
		row |= (unsigned)t.step;
		v[i] = view_of(t);
	}
	return otp_packs_of(row, {v[0], v[1], v[2], v[3], y});
}

/* Of a tensor of the image's size the channels that are worked on: as V, or as rows that lie apart. */
template <class X> struct image {
	static X of(const otp_tensor &t, const cut &) { return as<X>(view_of(t)); }
};
template <class V> struct image<apart<V>> {
	static apart<V> of(const otp_tensor &t, const cut &k)
	{
		view from = view_of(t);
		from.data = static_cast<char *>(from.data) + (size_t)k.begin * (from.narrow ? 2 : 4);
		return apart<V>{as<V>(from), divisor_of((unsigned)k.c), (unsigned)otp_row_step(&t)};
	}
};

template <class V, class X, int W> void stats_as(const otp_call *call)
{
	cut k = cut_of(call, W);
	int samples = call->in[0].shape.n, groups = call->attr.norm.groups;
	double *partial = static_cast<double *>(call->scratch);
	OTP_LAUNCH(call, (norm_add_moments<X, W>), k.blocks, OTP_THREADS, 0, partial,
		   image<X>::of(call->in[0], k), k, groups);
	OTP_LAUNCH(call, norm_finish_stats, otp_blocks((int64_t)samples * groups, OTP_WARPS), OTP_THREADS, 0,
		   floats(call->out), partial, image<apart<view>>::of(call->in[0], k), k, samples, groups,
		   (int)otp_power_of_two_from((unsigned)(k.c / groups), OTP_WARP), call->attr.norm.eps);
}

template <class V, class X, int W, bool SILU> void apply_as(const otp_call *call)
{
	cut k = cut_of(call, W);
	OTP_LAUNCH(call, (norm_apply<V, X, W, SILU>), k.blocks, OTP_THREADS, 0, as<V>(view_of(call->out)),
		   image<X>::of(call->in[0], k), recipe_of(call), k);
}

template <class V, class X, int W, bool SILU> void sums_as(const otp_call *call)
{
	cut k = cut_of(call, W);
	recipe r = recipe_of(call);
	int samples = call->in[0].shape.n;
	double *partial = static_cast<double *>(call->scratch);
	OTP_LAUNCH(call, (norm_add_products<V, X, W, SILU>), k.blocks, OTP_THREADS, 0, partial,
		   image<X>::of(call->in[0], k), as<V>(view_of(call->in[4])), r, k);
	OTP_LAUNCH(call, norm_finish_sums, otp_blocks((int64_t)samples * k.c), OTP_THREADS, 0,
		   floats(call->out), otp_row_step(&call->out), partial, r, k, samples);
}

template <class V, class X, int W, bool SILU> void dgrad_as(const otp_call *call)
{
	cut k = cut_of(call, W);
	const otp_tensor *in = call->in;
	V gx = as<V>(view_of(call->out));
	X x = image<X>::of(in[0], k), g = image<X>::of(in[4], k);
	const float *sums = floats(in[5]);
	float factor = call->attr.norm.scale;
	recipe r = recipe_of(call);
	if (call->op == OTP_OP_norm_dgrad)
		OTP_LAUNCH(call, (norm_dgrad<V, X, W, SILU>), k.blocks, OTP_THREADS, 0, gx, x, g, factor,
			   sums, r, k);
	else if (call->op == OTP_OP_norm_dgrad_merge)
		OTP_LAUNCH(call, (norm_dgrad_merge<V, X, W, SILU>), k.blocks, OTP_THREADS, 0, gx, x, g,
			   image<X>::of(in[6], k), factor, sums, r, k);
	else
		OTP_LAUNCH(call, (norm_dgrad_merge_two<V, X, W, SILU>), k.blocks, OTP_THREADS, 0, gx, x, g,
			   image<X>::of(in[6], k), image<X>::of(in[7], k), factor, sums, r, k);
}

void run_total(const otp_call *call)
{
	const otp_tensor *in = call->in;
	int c = call->out.shape.c, groups = call->attr.norm.groups;
	bool merges = call->op == OTP_OP_norm_total_merge;
	recipe r = {};
	r.stats = floats(in[0]);
	r.scale = floats(in[1]);
	r.stats_step = otp_row_step(&in[0]);
	r.scale_step = (int)otp_sample_step(&in[1]);
	r.sums_step = otp_row_step(&in[2]);
	r.groups = groups;
	int64_t blocks = (int64_t)groups * ((c / groups + OTP_WARP - 1) / OTP_WARP);
	OTP_LAUNCH(call, norm_finish_total, otp_blocks(blocks, 1), OTP_THREADS, 0, view_of(call->out),
		   merges ? view_of(in[3]) : view{nullptr, false}, call->attr.norm.scale, floats(in[2]), r,
		   in[0].shape.n, c);
}

size_t partial_bytes(const otp_call *call)
{
	otp_shape s = call->in[0].shape;
	return (size_t)s.n * cut_of(call, otp_packs_width(packs_of(call))).slices * 2 * (size_t)s.c *
	       sizeof(double);
}

} // namespace otp_norm

using namespace otp_norm;

/* The statement with V and W, and with X: V, or rows of V that lie apart. */
#define WITH_IMAGES(call, ...)                                                                               \
	do {                                                                                                 \
		if (lie_apart(call))                                                                         \
			OTP_WITH_PACKS(packs_of(call), using X = apart<V>; __VA_ARGS__);                     \
		else                                                                                         \
			OTP_WITH_PACKS(packs_of(call), using X = V; __VA_ARGS__);                            \
	} while (0)
#define BY_SILU(name)                                                                                        \
	static void run_##name(const otp_call *call)                                                         \
	{                                                                                                    \
		if (call->attr.norm.silu)                                                                    \
			WITH_IMAGES(call, name##_as<V, X, W, true>(call));                                   \
		else                                                                                         \
			WITH_IMAGES(call, name##_as<V, X, W, false>(call));                                  \
	}

BY_SILU(apply)
BY_SILU(sums)
BY_SILU(dgrad)
static void run_stats(const otp_call *call) { WITH_IMAGES(call, stats_as<V, X, W>(call)); }

const otp_kernel otp_cuda_norm_stats = {run_stats, nullptr, nullptr, partial_bytes, nullptr};
const otp_kernel otp_cuda_norm_apply = {run_apply, nullptr, nullptr, nullptr, nullptr};
const otp_kernel otp_cuda_norm_sums = {run_sums, nullptr, nullptr, partial_bytes, nullptr};
const otp_kernel otp_cuda_norm_dgrad = {run_dgrad, nullptr, nullptr, nullptr, nullptr};
const otp_kernel otp_cuda_norm_dgrad_merge = {run_dgrad, nullptr, nullptr, nullptr, nullptr};
const otp_kernel otp_cuda_norm_dgrad_merge_two = {run_dgrad, nullptr, nullptr, nullptr, nullptr};
const otp_kernel otp_cuda_norm_total = {run_total, nullptr, nullptr, nullptr, nullptr};
const otp_kernel otp_cuda_norm_total_merge = {run_total, nullptr, nullptr, nullptr, nullptr};
