/* resample.cu: down2 and up2. A thread gathers one pack of output channels;
 * neighbours find the same inputs in the caches. */
#include "cuda/launch.cuh"

namespace otp_resample
{

/* tap[k] meets sample 2 i + k - 1 of the large image. */
struct taps {
	float tap[4];
};

taps taps_of(const otp_attr &attr)
{
	return attr.resample.filter == OTP_FILTER_BOX ? taps{{0, 0.5f, 0.5f, 0}}
						      : taps{{0.125f, 0.375f, 0.375f, 0.125f}};
}

/* An output element: its place, and its pack's offset in a pixel. */
struct place {
	int n, h, w;
	unsigned c;
};

__device__ place place_of(unsigned item, otp_shape out, unsigned packs)
{
	place p;
	p.c = item % packs;
	item /= packs;
	p.w = (int)(item % (unsigned)out.w);
	item /= (unsigned)out.w;
	p.h = (int)(item % (unsigned)out.h);
	p.n = (int)(item / (unsigned)out.h);
	return p;
}

/* sum += weight * pixel (h, w), which is zero outside the image */
template <int W>
__device__ void add_pixel(pack<W> &sum, view x, otp_shape s, int n, int h, int w, unsigned c, float weight)
{
	if (weight == 0 || h < 0 || h >= s.h || w < 0 || w >= s.w)
		return;
	pack<W> p = load<W>(x, (((int64_t)n * s.h + h) * s.w + w) * s.c + (int64_t)c * W);
	for (int k = 0; k < W; k++)
		sum.v[k] += weight * p.v[k];
}

template <int W> OTP_GLOBAL resample_down(view y, view x, otp_shape in, otp_shape out, taps t, float gain)
{
	unsigned packs = (unsigned)out.c / W;
	int64_t items = (int64_t)out.n * out.h * out.w * packs;
	for (int64_t item = otp_first_item(); item < items; item += otp_item_step()) {
		place p = place_of((unsigned)item, out, packs);
		pack<W> sum = {};
		for (int i = 0; i < 4; i++)
			for (int j = 0; j < 4; j++)
				add_pixel<W>(sum, x, in, p.n, 2 * p.h + i - 1, 2 * p.w + j - 1, p.c,
					     gain * t.tap[i] * t.tap[j]);
		store(y, item * W, sum);
	}
}

/* Large sample i gets tap 1 or 2 of small sample i / 2, and tap 3 or 0 of the one beside it. */
template <int W> OTP_GLOBAL resample_up(view y, view x, otp_shape in, otp_shape out, taps t, float gain)
{
	unsigned packs = (unsigned)out.c / W;
	int64_t items = (int64_t)out.n * out.h * out.w * packs;
	for (int64_t item = otp_first_item(); item < items; item += otp_item_step()) {
		place p = place_of((unsigned)item, out, packs);
		bool odd_h = p.h % 2, odd_w = p.w % 2;
		const int h[2] = {p.h / 2, p.h / 2 + (odd_h ? 1 : -1)};
		const int w[2] = {p.w / 2, p.w / 2 + (odd_w ? 1 : -1)};
		const float tap_h[2] = {t.tap[odd_h ? 2 : 1], t.tap[odd_h ? 0 : 3]};
		const float tap_w[2] = {t.tap[odd_w ? 2 : 1], t.tap[odd_w ? 0 : 3]};
		pack<W> sum = {};
		for (int i = 0; i < 2; i++)
			for (int j = 0; j < 2; j++)
				add_pixel<W>(sum, x, in, p.n, h[i], w[j], p.c, gain * tap_h[i] * tap_w[j]);
		store(y, item * W, sum);
	}
}

/* Output channels a thread. */
int width_of(const otp_call *call)
{
	return otp_width((unsigned)call->out.shape.c, {view_of(call->in[0]), view_of(call->out)});
}

} // namespace otp_resample

using namespace otp_resample;

#define RESAMPLE(name, kernel)                                                                               \
	OTP_CUDA_KERNEL(name)                                                                                \
	{                                                                                                    \
		unsigned count = otp_index_count(call->out.shape);                                           \
		OTP_WITH_WIDTH(width_of(call),                                                               \
			       OTP_LAUNCH(call, kernel<W>, otp_blocks(count / W), OTP_THREADS, 0,            \
					  view_of(call->out), view_of(call->in[0]), call->in[0].shape,       \
					  call->out.shape, taps_of(call->attr), call->attr.resample.gain));  \
	}

RESAMPLE(down2, resample_down)
RESAMPLE(up2, resample_up)
