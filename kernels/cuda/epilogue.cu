/* epilogue.cu: what follows a convolution in the networks, in one pass over its
 * result, for where cuDNN does not do it in the convolution. */
#include "cuda/launch.cuh"
#include "scalar.h"

namespace
{

/* out = lrelu(scale (y + b + r), slope); r may be missing. */
struct epilogue {
	view out, y, b, r;
	bool residual;
	unsigned channels;
	float scale, slope;
};

template <int W> __global__ void finish(epilogue e, int64_t packs)
{
	for (int64_t item = otp_first_item(); item < packs; item += otp_item_step()) {
		pack<W> p = load<W>(e.y, item * W), b = load<W>(e.b, item * W % e.channels), r = {};
		if (e.residual)
			r = load<W>(e.r, item * W);
		for (int k = 0; k < W; k++)
			p.v[k] = otp_lrelu_f(e.scale * (p.v[k] + b.v[k] + r.v[k]), e.slope);
		store(e.out, item * W, p);
	}
}

} // namespace

void otp_cuda_epilogue(const otp_call *call, const otp_tensor *out, const otp_tensor *y, const otp_tensor *b,
		       const otp_tensor *r, float scale, float slope)
{
	view none = {nullptr, false};
	unsigned channels = (unsigned)y->shape.c;
	epilogue e = {view_of(*out), view_of(*y), view_of(*b), r ? view_of(*r) : none,
		      r != nullptr,  channels,	  scale,       slope};
	int width = otp_width(channels, {e.out, e.y, e.b, e.r});
	int64_t packs = otp_index_count(y->shape) / (unsigned)width;
	OTP_WITH_WIDTH(width, OTP_LAUNCH(call, finish<W>, otp_blocks(packs), OTP_THREADS, 0, e, packs));
}
