/* convert.cu: float32 to bfloat16 and back, for the operands of tensor cores. */
#include "cuda/launch.cuh"

namespace otp_convert
{

template <class To, class From, int W> OTP_GLOBAL convert(To y, From x, unsigned count)
{
	walk w = walk_over<W>(count);
	each_pack<W>(x, w, [&](unsigned at, const pack<W> &p) { store(y, at, p); });
	for (unsigned i = w.end + (unsigned)otp_first_item(); i < count; i += (unsigned)otp_item_step())
		put(y, i, get(x, i));
}

template <class To, class From, int W> void convert_as(const otp_call *call, view y, view x, unsigned count)
{
	OTP_LAUNCH(call, (convert<To, From, W>), otp_blocks_for(count, W, IN_FLIGHT<From>), OTP_THREADS, 0,
		   as<To>(y), as<From>(x), count);
}

} // namespace otp_convert

using namespace otp_convert;

void otp_cuda_convert(const otp_call *call, const otp_tensor *dst, const otp_tensor *src)
{
	view y = view_of(*dst), x = view_of(*src);
	unsigned count = otp_index_count(src->shape);
	if (!otp_aligned(y.data) || !otp_aligned(x.data))
		convert_as<view, view, 1>(call, y, x, count);
	else if (x.narrow)
		(y.narrow ? convert_as<bf16, bf16, 8> : convert_as<f32, bf16, 8>)(call, y, x, count);
	else
		(y.narrow ? convert_as<bf16, f32, 4> : convert_as<f32, f32, 4>)(call, y, x, count);
}
