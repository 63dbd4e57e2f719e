/* resample.cu: down2 and up2. A thread gathers one pack of output channels, four
 * loads in flight; neighbours find the same inputs in the caches. */
#include "cuda/launch.cuh"

namespace otp_resample
{

/* tap[k] meets sample 2 i + k - 1 of the large image; gain is of each product, scale of their sum. */
struct taps {
	float tap[4], gain, scale;
};

taps taps_of(const otp_attr &attr)
{
	float gain = attr.resample.gain, scale = attr.resample.scale;
	return attr.resample.filter == OTP_FILTER_BOX ? taps{{0, 0.5f, 0.5f, 0}, gain, scale}
						      : taps{{0.125f, 0.375f, 0.375f, 0.125f}, gain, scale};
}

/* Of images: h x w pixels that lie `step` elements apart. */
struct image {
	int h, w;
	int64_t step;
};

/* How output elements are numbered: packs of a pixel, pixels of a row, rows of an image; pixels lie `step`
 * apart. */
struct numbering {
	divisor packs, w, h;
	unsigned count;
	int64_t step;
};

/* An output element: its place, and its pack in pixel number `at`. */
struct place {
	int n, h, w;
	unsigned pack;
	int64_t at;
};

__device__ place place_of(unsigned item, const numbering &out)
{
	unsigned pixel = item / out.packs, row = pixel / out.w, n = row / out.h;
	unsigned pack = item - pixel * out.packs.value;
	return place{(int)n, (int)(row - n * out.h.value), (int)(pixel - row * out.w.value), pack, pixel};
}

/* ROWS x COLUMNS pixels of an image, fetched together: from (h, w) on, `down` and `right` apart; zero
 * outside. */
template <class V, int W, int ROWS, int COLUMNS> struct patch {
	decltype(fetch<W>(V{}, 0)) held[ROWS][COLUMNS];

	__device__ patch(V x, const image &in, const place &p, int h, int w, int down, int right)
	{
		for (int i = 0; i < ROWS; i++)
			for (int j = 0; j < COLUMNS; j++) {
				int row = h + i * down, column = w + j * right;
				bool inside = row >= 0 && row < in.h && column >= 0 && column < in.w;
				int64_t pixel = ((int64_t)p.n * in.h + row) * in.w + column;
				held[i][j] = {};
				if (inside)
					held[i][j] = fetch<W>(x, pixel * in.step + (int64_t)p.pack * W);
			}
	}

	__device__ void add_to(pack<W> &sum, float gain, const float *tap_h, const float *tap_w) const
	{
		for (int i = 0; i < ROWS; i++)
			for (int j = 0; j < COLUMNS; j++) {
				pack<W> x = widen(held[i][j]);
				float weight = gain * tap_h[i] * tap_w[j];
				for (int k = 0; k < W; k++)
					sum.v[k] += weight * x.v[k];
			}
	}
};

template <int W> __device__ pack<W> times(float factor, pack<W> p)
{
	for (int k = 0; k < W; k++)
		p.v[k] = factor * p.v[k];
	return p;
}

/* FIRST, TAPS: which of the four are not zero. */
template <class V, int W, int FIRST, int TAPS>
OTP_GLOBAL resample_down(V y, V x, image in, numbering out, taps t)
{
	constexpr int ROWS = 4 / TAPS;
	for (unsigned item = (unsigned)otp_first_item(); item < out.count;
	     item += (unsigned)otp_item_step()) {
		place p = place_of(item, out);
		pack<W> sum = {};
		OTP_NOT_UNROLLED
		for (int i = FIRST; i < FIRST + TAPS; i += ROWS)
			patch<V, W, ROWS, TAPS>(x, in, p, 2 * p.h + i - 1, 2 * p.w + FIRST - 1, 1, 1)
			    .add_to(sum, t.gain, t.tap + i, t.tap + FIRST);
		store(y, p.at * out.step + (int64_t)p.pack * W, times(t.scale, sum));
	}
}

/* What is added to each pixel of y, those of a merge: they lie `step` apart. */
template <class V> struct addend {
	V r;
	int64_t step;
};

/* Large sample i gets tap 1 or 2 of small sample i / 2, and, of TAPS 2, tap 3 or 0 of the one beside it. */
template <class V, int W, int TAPS, bool MERGE>
OTP_GLOBAL resample_up(V y, V x, addend<V> other, image in, numbering out, taps t)
{
	for (unsigned item = (unsigned)otp_first_item(); item < out.count;
	     item += (unsigned)otp_item_step()) {
		place p = place_of(item, out);
		bool odd_h = p.h % 2, odd_w = p.w % 2;
		const float tap_h[2] = {odd_h ? t.tap[2] : t.tap[1], odd_h ? t.tap[0] : t.tap[3]};
		const float tap_w[2] = {odd_w ? t.tap[2] : t.tap[1], odd_w ? t.tap[0] : t.tap[3]};
		pack<W> sum = {};
		patch<V, W, TAPS, TAPS>(x, in, p, p.h / 2, p.w / 2, odd_h ? 1 : -1, odd_w ? 1 : -1)
		    .add_to(sum, t.gain, tap_h, tap_w);
		if (MERGE) {
			pack<W> r = load<W>(other.r, p.at * other.step + (int64_t)p.pack * W);
			for (int k = 0; k < W; k++)
				sum.v[k] = sum.v[k] + r.v[k];
		}
		store(y, p.at * out.step + (int64_t)p.pack * W, times(t.scale, sum));
	}
}

otp_packs packs_of(const otp_call *call)
{
	const otp_tensor &x = call->in[0], &r = call->op == OTP_OP_up2_merge ? call->in[1] : x;
	unsigned row = otp_packs_row((unsigned)x.shape.c, x, call->out) | (unsigned)r.step;
	return otp_packs_of(row, {view_of(x), view_of(r), view_of(call->out)});
}

image image_of(const otp_tensor &x) { return image{x.shape.h, x.shape.w, otp_row_step(&x)}; }

numbering numbering_of(const otp_tensor &y, int width)
{
	otp_shape s = y.shape;
	return numbering{divisor_of((unsigned)(s.c / width)), divisor_of((unsigned)s.w),
			 divisor_of((unsigned)s.h), otp_index_count(s) / (unsigned)width, otp_row_step(&y)};
}

bool is_box(const otp_call *call) { return call->attr.resample.filter == OTP_FILTER_BOX; }

} // namespace otp_resample

using namespace otp_resample;

template <class V, int W> static void down_as(const otp_call *call)
{
	numbering n = numbering_of(call->out, W);
	V y = as<V>(view_of(call->out)), x = as<V>(view_of(call->in[0]));
	image in = image_of(call->in[0]);
	taps t = taps_of(call->attr);
	if (is_box(call))
		OTP_LAUNCH(call, (resample_down<V, W, 1, 2>), otp_blocks(n.count), OTP_THREADS, 0, y, x, in,
			   n, t);
	else
		OTP_LAUNCH(call, (resample_down<V, W, 0, 4>), otp_blocks(n.count), OTP_THREADS, 0, y, x, in,
			   n, t);
}

template <class V, int W, bool MERGE> static void up_as(const otp_call *call)
{
	numbering n = numbering_of(call->out, W);
	V y = as<V>(view_of(call->out)), x = as<V>(view_of(call->in[0]));
	const otp_tensor &r = call->in[MERGE ? 1 : 0];
	addend<V> other = {as<V>(view_of(r)), otp_row_step(&r)};
	image in = image_of(call->in[0]);
	taps t = taps_of(call->attr);
	if (is_box(call))
		OTP_LAUNCH(call, (resample_up<V, W, 1, MERGE>), otp_blocks(n.count), OTP_THREADS, 0, y, x,
			   other, in, n, t);
	else
		OTP_LAUNCH(call, (resample_up<V, W, 2, MERGE>), otp_blocks(n.count), OTP_THREADS, 0, y, x,
			   other, in, n, t);
}

OTP_CUDA_KERNEL(down2) { OTP_WITH_PACKS(packs_of(call), down_as<V, W>(call)); }
OTP_CUDA_KERNEL(up2) { OTP_WITH_PACKS(packs_of(call), up_as<V, W, false>(call)); }
OTP_CUDA_KERNEL(up2_merge) { OTP_WITH_PACKS(packs_of(call), up_as<V, W, true>(call)); }
