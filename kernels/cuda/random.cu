/* random.cu: normal draws, one Philox block of four elements a thread. */
#include "cuda/launch.cuh"
#include "scalar.h"

namespace otp_random
{

/* A sample has `row` words, `count` elements and `blocks` Philox blocks, the last perhaps cut short. */
OTP_GLOBAL random_normal(float *y, const uint32_t *words, int row, int samples, unsigned blocks,
			 int64_t count, uint32_t purpose, bool wide)
{
	int64_t items = (int64_t)samples * blocks;
	for (int64_t item = otp_first_item(); item < items; item += otp_item_step()) {
		int64_t sample = item / blocks;
		uint32_t block = (uint32_t)(item - sample * blocks);
		const uint32_t *w = words + row * sample;
		otp_stream stream = {{w[0], w[1], w[2], w[3]}};
		otp_normals normals = otp_normal_block(stream, purpose, block);
		int64_t first = 4 * (int64_t)block;
		float *to = y + sample * count + first;
		if (wide) {
			pack<4> p = {{normals.v[0], normals.v[1], normals.v[2], normals.v[3]}};
			store(to, p);
			continue;
		}
		for (int k = 0; k < 4; k++)
			if (first + k < count)
				to[k] = normals.v[k];
	}
}

} // namespace otp_random

using namespace otp_random;

OTP_CUDA_KERNEL(normal)
{
	otp_shape s = call->out.shape;
	int64_t count = (int64_t)s.h * s.w * s.c, blocks = (count + 3) / 4;
	bool wide = count % 4 == 0 && otp_aligned(call->out.data);
	OTP_LAUNCH(call, random_normal, otp_blocks(s.n * blocks), OTP_THREADS, 0, floats(call->out),
		   static_cast<const uint32_t *>(call->in[0].data), call->in[0].shape.c, s.n,
		   (unsigned)blocks, count, call->attr.noise.purpose, wide);
}
