/* convert.cu: float32 to bfloat16 and back, for the operands of tensor cores. */
#include "cuda/launch.cuh"

namespace
{

template <int W> __global__ void convert(view y, view x, int64_t count)
{
	for (int64_t i = otp_first_item(); i < count / W; i += otp_item_step())
		store(y, W * i, load<W>(x, W * i));
	for (int64_t i = count / W * W + otp_first_item(); i < count; i += otp_item_step())
		put(y, i, get(x, i));
}

} // namespace

void otp_cuda_convert(const otp_call *call, const otp_tensor *dst, const otp_tensor *src)
{
	view y = view_of(*dst), x = view_of(*src);
	int64_t count = otp_shape_count(src->shape);
	OTP_WITH_WIDTH(otp_width(OTP_ANY_ROW, {y, x}),
		       OTP_LAUNCH(call, convert<W>, otp_blocks(count / W), OTP_THREADS, 0, y, x, count));
}
