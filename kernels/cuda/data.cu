/* data.cu: what a training step reads and leaves without the host: samples of a
 * set that lies on the device, and its losses, into a ring. */
#include "cuda/launch.cuh"
#include "scalar.h"

namespace otp_data
{

/* A set of pictures, `words` each, bytes four a word; a sample's pick is 2 row + mirrored. */
struct pictures {
	const uint32_t *bytes, *picks;
	int words, stored, pick_step;
	unsigned w, c, values; /* of the output: values = h w c */
};

OTP_GLOBAL data_gather(float *y, pictures p, unsigned count)
{
	for (int64_t item = otp_first_item(); item < count; item += otp_item_step()) {
		unsigned n = (unsigned)item / p.values, at = (unsigned)item - n * p.values;
		uint32_t pick = p.picks[(int64_t)n * p.pick_step];
		unsigned pixel = at / p.c, c = at - pixel * p.c, column = pixel % p.w;
		if (pick % 2)
			pixel += p.w - 1 - 2 * column;
		unsigned from = p.stored == 1 ? pixel : pixel * p.c + c;
		uint32_t word = p.bytes[(int64_t)(pick / 2) * p.words + from / 4];
		y[item] = otp_byte_value(word >> 8 * (from % 4) & 255);
	}
}

/* out and ring may be the same. */
OTP_GLOBAL data_record(float *out, const float *ring, const float *row, const uint32_t *slot, unsigned slots,
		       unsigned columns)
{
	unsigned first = *slot % slots * columns;
	for (int64_t item = otp_first_item(); item < (int64_t)slots * columns; item += otp_item_step()) {
		unsigned at = (unsigned)item - first; /* before the row it wraps around, past all columns */
		if (at < columns)
			out[item] = row[at];
		else if (out != ring)
			out[item] = ring[item];
	}
}

const uint32_t *words_of(const otp_tensor &t, int column)
{
	return static_cast<const uint32_t *>(t.data) + column;
}

} // namespace otp_data

using namespace otp_data;

OTP_CUDA_KERNEL(gather)
{
	const otp_attr &attr = call->attr;
	otp_shape s = call->out.shape;
	unsigned count = otp_index_count(s);
	pictures p = {words_of(call->in[0], 0),
		      words_of(call->in[1], attr.gather.column),
		      call->in[0].shape.c,
		      attr.gather.stored,
		      call->in[1].shape.c,
		      (unsigned)s.w,
		      (unsigned)s.c,
		      (unsigned)(s.h * s.w * s.c)};
	OTP_LAUNCH(call, data_gather, otp_blocks(count), OTP_THREADS, 0, floats(call->out), p, count);
}

OTP_CUDA_KERNEL(record)
{
	otp_shape s = call->in[0].shape;
	unsigned count = otp_index_count(s);
	OTP_LAUNCH(call, data_record, otp_blocks(count), OTP_THREADS, 0, floats(call->out),
		   floats(call->in[0]), floats(call->in[1]), words_of(call->in[2], call->attr.record.column),
		   (unsigned)s.w, (unsigned)s.c);
}
