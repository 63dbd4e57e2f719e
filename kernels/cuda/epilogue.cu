/* epilogue.cu: what follows a convolution in the networks, in one pass over its
 * result, for where cuDNN does not do it in the convolution. */
#include "cuda/launch.cuh"
#include "scalar.h"

namespace otp_epilogue
{

/* out = lrelu(scale (y + b + r), slope); r may be missing. */
struct terms {
	view b;
	divisor channels; /* in packs */
	float scale, slope;
};

template <int W> __device__ pack<W> finished(pack<W> p, const pack<W> &b, const terms &e)
{
	for (int k = 0; k < W; k++)
		p.v[k] = otp_lrelu_f(e.scale * (p.v[k] + b.v[k]), e.slope);
	return p;
}

template <class V, class X, int W> OTP_GLOBAL epilogue_bias(X out, V y, terms e, unsigned count)
{
	each_pack<W>(y, walk_over<W>(count), [&](unsigned at, const pack<W> &p) {
		store(out, at, finished(p, load<W>(e.b, at / W % e.channels * W), e));
	});
}

template <class V, class X, int W> OTP_GLOBAL epilogue_residual(X out, V y, X r, terms e, unsigned count)
{
	each_pair<W>(y, r, walk_over<W>(count), [&](unsigned at, pack<W> p, const pack<W> &q) {
		pack<W> b = load<W>(e.b, at / W % e.channels * W);
		for (int k = 0; k < W; k++)
			p.v[k] = p.v[k] + b.v[k] + q.v[k];
		store(out, at, finished(p, pack<W>{}, e));
	});
}

} // namespace otp_epilogue

using namespace otp_epilogue;

void otp_cuda_epilogue(const otp_call *call, const otp_tensor *out, const otp_tensor *y, const otp_tensor *b,
		       const otp_tensor *r, float scale, float slope)
{
	unsigned channels = (unsigned)y->shape.c, count = otp_index_count(y->shape);
	view to = view_of(*out), from = view_of(*y), rest = r ? view_of(*r) : from;
	unsigned row = otp_packs_row(channels, *out, r ? *r : *y);
	otp_packs packs = otp_aligned(b->data) ? otp_packs_of(row, {to, from, rest}) : OTP_PACKS_SINGLE;
	terms e = {view_of(*b), divisor_of(channels / (unsigned)otp_packs_width(packs)), scale, slope};
	if (r && (out->step || r->step))
		OTP_WITH_PACKS(packs,
			       OTP_LAUNCH(call, (epilogue_residual<V, apart<V>, W>),
					  otp_blocks_for(count, W, PAIRS_IN_FLIGHT<V>), OTP_THREADS, 0,
					  as<V>(apart_of(*out)), as<V>(from), as<V>(apart_of(*r)), e, count));
	else if (r)
		OTP_WITH_PACKS(packs, OTP_LAUNCH(call, (epilogue_residual<V, V, W>),
						 otp_blocks_for(count, W, PAIRS_IN_FLIGHT<V>), OTP_THREADS, 0,
						 as<V>(to), as<V>(from), as<V>(rest), e, count));
	else if (out->step)
		OTP_WITH_PACKS(packs, OTP_LAUNCH(call, (epilogue_bias<V, apart<V>, W>),
						 otp_blocks_for(count, W, IN_FLIGHT<V>), OTP_THREADS, 0,
						 as<V>(apart_of(*out)), as<V>(from), e, count));
	else
		OTP_WITH_PACKS(packs, OTP_LAUNCH(call, (epilogue_bias<V, V, W>),
						 otp_blocks_for(count, W, IN_FLIGHT<V>), OTP_THREADS, 0,
						 as<V>(to), as<V>(from), e, count));
}
