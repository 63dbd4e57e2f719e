/* update.c (ref): random draws, stored data, the ring of losses and the optimiser's step. */
#include "ref/ref.h"
#include "guard.h"
#include "scalar.h"
#include "tree.h"

OTP_REF_KERNEL(normal)
{
	otp_shape s = call->out.shape;
	OTP_REF_EACH (i, s) {
		otp_stream stream;
		for (int k = 0; k < 4; k++)
			stream.word[k] = (uint32_t)*otp_ref_at(&call->in[0], otp_shape4(i.n, 0, 0, k));
		uint32_t element = (uint32_t)(((int64_t)i.h * s.w + i.w) * s.c + i.c);
		otp_normals draw = otp_normal_block(stream, call->attr.noise.purpose, element / 4);
		*otp_ref_at(&call->out, i) = draw.v[element % 4];
	}
}

static uint32_t word_at(const otp_tensor *words, int n, int column)
{
	return (uint32_t)*otp_ref_at(words, otp_shape4(n, 0, 0, column));
}

OTP_REF_KERNEL(gather)
{
	const otp_tensor *bytes = &call->in[0], *picks = &call->in[1];
	otp_shape s = call->out.shape;
	int stored = call->attr.gather.stored;
	OTP_REF_EACH (i, s) {
		uint32_t pick = word_at(picks, i.n, call->attr.gather.column);
		OTP_ASSERT(pick / 2 < (uint32_t)bytes->shape.n, "gather: row %u of %d", pick / 2,
			   bytes->shape.n);
		int w = pick % 2 ? s.w - 1 - i.w : i.w;
		int at = (i.h * s.w + w) * stored + (stored == 1 ? 0 : i.c);
		uint32_t word = word_at(bytes, (int)(pick / 2), at / 4);
		*otp_ref_at(&call->out, i) = otp_byte_value(word >> 8 * (at % 4) & 255);
	}
}

OTP_REF_KERNEL(record)
{
	const otp_tensor *ring = &call->in[0];
	int slot = (int)(word_at(&call->in[2], 0, call->attr.record.column) % (uint32_t)ring->shape.w);
	OTP_REF_EACH (i, ring->shape)
		*otp_ref_at(&call->out, i) = *otp_ref_at(i.w == slot ? &call->in[1] : ring, i);
}

/* Column c of every part, added as kernels/tree.h says: level by level, neighbours pairwise. */
static double sum_parts(const otp_tensor *grads, int c)
{
	double sum[OTP_MOST_PARTS] = {0};
	int count = grads->shape.w;
	for (int part = 0; part < count; part++)
		sum[part] = *otp_ref_at(grads, otp_shape4(0, 0, part, c));
	for (; count > 1; count = (count + 1) / 2)
		for (int pair = 0; 2 * pair < count; pair++) {
			bool odd_one_out = 2 * pair + 1 == count;
			sum[pair] = odd_one_out ? sum[2 * pair] : sum[2 * pair] + sum[2 * pair + 1];
		}
	return sum[0];
}

/* The first share does all columns, here and below: shares are a matter of speed. */
OTP_REF_KERNEL(squares)
{
	const otp_tensor *grads = &call->in[0];
	for (int block = 0; block < call->out.shape.c && call->process + call->worker == 0; block++) {
		int begin = block * OTP_NORM_COLUMNS, end = begin + OTP_NORM_COLUMNS;
		double sum = 0;
		for (int c = begin; c < end && c < grads->shape.c; c++)
			sum += sum_parts(grads, c) * sum_parts(grads, c);
		*otp_ref_at(&call->out, otp_shape4(0, 0, 0, block)) = sum;
	}
}

OTP_REF_KERNEL(guard)
{
	const double *before = call->in[0].data, *squares = call->in[1].data, *hyper = call->in[2].data;
	double *after = call->out.data, sum = 0, median = 0;
	double *row = after + OTP_GUARD_HEAD + call->attr.guard.kind * OTP_GUARD_ROW;
	for (int k = 0; k < call->out.shape.c; k++)
		after[k] = before[k];
	for (int block = 0; block < call->in[1].shape.c; block++)
		sum += squares[block];
	for (int i = 1; i <= OTP_GUARD_KEPT; i++)
		median = otp_guard_is_median_d(row, i) ? row[i] : median;
	otp_guard_next_d(after, row, sqrt(sum), median, call->attr.guard.times, hyper[OTP_HYPER_CLIP],
			 hyper[OTP_HYPER_SLOT]);
}

OTP_REF_KERNEL(adam)
{
	const otp_tensor *state = &call->in[0], *grads = &call->in[1];
	const double *hyper = call->in[2].data, *guard = call->in[3].data;
	if (call->process + call->worker != 0)
		return;
	if (guard[OTP_GUARD_STOPPED] != 0) {
		OTP_REF_EACH (i, state->shape)
			*otp_ref_at(&call->out, i) = *otp_ref_at(state, i);
		return;
	}
	for (int c = 0; c < state->shape.c; c++) {
		double g = guard[OTP_GUARD_FACTOR] * sum_parts(grads, c);
		double row[4] = {0};
		for (int k = 0; k < state->shape.w; k++)
			row[k] = *otp_ref_at(state, otp_shape4(0, 0, k, c));
		row[OTP_ROW_PARAM] = otp_adam_step_d(row[OTP_ROW_PARAM], g, &row[OTP_ROW_M], &row[OTP_ROW_V],
						     hyper[OTP_HYPER_RATE], call->attr.adam.beta1,
						     call->attr.adam.beta2, hyper[OTP_HYPER_CORRECT1],
						     hyper[OTP_HYPER_CORRECT2], call->attr.adam.eps);
		row[OTP_ROW_EMA] = otp_ema_d(row[OTP_ROW_EMA], row[OTP_ROW_PARAM], hyper[OTP_HYPER_EMA]);
		for (int k = 0; k < state->shape.w; k++)
			*otp_ref_at(&call->out, otp_shape4(0, 0, k, c)) = row[k];
	}
}

/* Of one process. */
static void keep_columns(const otp_call *call)
{
	OTP_ASSERT(call->processes == 1, "columns of %d processes on one", call->processes);
	OTP_REF_EACH (i, call->out.shape)
		*otp_ref_at(&call->out, i) = call->attr.deal.empty ? 0 : *otp_ref_at(&call->in[0], i);
}

OTP_REF_KERNEL(reduce_scatter) { keep_columns(call); }
OTP_REF_KERNEL(all_gather) { keep_columns(call); }
