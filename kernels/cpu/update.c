/* update.c (cpu): random draws, stored data, the ring of losses and the optimiser's step. */
#include "cpu/cpu.h"
#include "guard.h"
#include "scalar.h"
#include "tree.h"

#include <math.h>
#include <string.h>

enum { CHUNK = 64 }; /* Philox blocks drawn together, four elements each */

OTP_SIMD static void draw_chunk(float *y, otp_stream stream, uint32_t purpose, uint32_t first)
{
	float lane[4][CHUNK];
#pragma omp simd
	for (uint32_t b = 0; b < CHUNK; b++) {
		otp_normals draw = otp_normal_block(stream, purpose, first + b);
		lane[0][b] = draw.v[0];
		lane[1][b] = draw.v[1];
		lane[2][b] = draw.v[2];
		lane[3][b] = draw.v[3];
	}
	for (int b = 0; b < CHUNK; b++)
		for (int k = 0; k < 4; k++)
			y[4 * b + k] = lane[k][b];
}

/* The same for blocks of several samples: lane b has its own stream and block of it. */
typedef struct lanes {
	uint32_t word[4][CHUNK], block[CHUNK];
} lanes;

OTP_SIMD static void draw_lanes(float y[4 * CHUNK], const lanes *from, uint32_t purpose)
{
	float lane[4][CHUNK];
#pragma omp simd
	for (int b = 0; b < CHUNK; b++) {
		otp_stream stream = {
		    {from->word[0][b], from->word[1][b], from->word[2][b], from->word[3][b]}};
		otp_normals draw = otp_normal_block(stream, purpose, from->block[b]);
		lane[0][b] = draw.v[0];
		lane[1][b] = draw.v[1];
		lane[2][b] = draw.v[2];
		lane[3][b] = draw.v[3];
	}
	for (int b = 0; b < CHUNK; b++)
		for (int k = 0; k < 4; k++)
			y[4 * b + k] = lane[k][b];
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Samples smaller than a chunk, as points are: `blocks` blocks of each, the last perhaps in part. */
static void draw_small(float *y, const otp_tensor *streams, int64_t count, uint32_t purpose)
{
	const uint32_t *words = streams->data;
	int64_t blocks = (count + 3) / 4, total = streams->shape.n * blocks;
	lanes from = {0};
	float drawn[4 * CHUNK];
	for (int64_t first = 0; first < total; first += CHUNK) {
		int here = (int)least(total - first, CHUNK);
		for (int b = 0; b < here; b++) {
			const uint32_t *stream = words + (first + b) / blocks * streams->shape.c;
			for (int k = 0; k < 4; k++)
				from.word[k][b] = stream[k];
			from.block[b] = (uint32_t)((first + b) % blocks);
		}
		draw_lanes(drawn, &from, purpose);
		for (int b = 0; b < here; b++) {
			int64_t begin = 4 * (int64_t)from.block[b];
			memcpy(y + (first + b) / blocks * count + begin, drawn + 4 * b,
			       (size_t)least(count - begin, 4) * sizeof *y);
		}
	}
}

OTP_CPU_KERNEL(normal)
{
	otp_shape s = call->out.shape;
	int64_t count = (int64_t)s.h * s.w * s.c;
	const uint32_t *words = call->in[0].data;
	uint32_t purpose = call->attr.noise.purpose;
	float *y = call->out.data;
	if (count < 4 * CHUNK) {
		draw_small(y, &call->in[0], count, purpose);
		return;
	}
	for (int n = 0; n < s.n; n++, words += call->in[0].shape.c, y += count) {
		otp_stream stream = {{words[0], words[1], words[2], words[3]}};
		for (int64_t i = 0; i < count; i += 4 * CHUNK) {
			if (count - i >= 4 * CHUNK) {
				draw_chunk(y + i, stream, purpose, (uint32_t)(i / 4));
				continue;
			}
			float tail[4 * CHUNK];
			draw_chunk(tail, stream, purpose, (uint32_t)(i / 4));
			memcpy(y + i, tail, (size_t)(count - i) * sizeof *y);
		}
	}
}

static unsigned byte_at(const uint32_t *words, int64_t at) { return words[at / 4] >> 8 * (at % 4) & 255; }

/* One picture; stored: its channels in bytes, c of them or one for all. */
static void gather_picture(float *y, otp_shape s, const uint32_t *words, int stored, bool mirrored)
{
	for (int h = 0; h < s.h; h++)
		for (int w = 0; w < s.w; w++) {
			int64_t at = ((int64_t)h * s.w + (mirrored ? s.w - 1 - w : w)) * stored;
			for (int c = 0; c < s.c; c++)
				*y++ = otp_byte_value(byte_at(words, stored == 1 ? at : at + c));
		}
}

OTP_CPU_KERNEL(gather)
{
	otp_shape s = call->out.shape;
	const otp_tensor *bytes = &call->in[0], *picks = &call->in[1];
	int64_t values = (int64_t)s.h * s.w * s.c;
	for (int n = 0; n < s.n; n++) {
		uint32_t pick =
		    ((const uint32_t *)picks->data)[(int64_t)n * picks->shape.c + call->attr.gather.column];
		OTP_ASSERT(pick / 2 < (uint32_t)bytes->shape.n, "gather: row %u of %d", pick / 2,
			   bytes->shape.n);
		const uint32_t *row = (const uint32_t *)bytes->data + (int64_t)(pick / 2) * bytes->shape.c;
		gather_picture((float *)call->out.data + n * values, s, row, call->attr.gather.stored,
			       pick % 2);
	}
}

OTP_CPU_KERNEL(record)
{
	otp_shape s = call->in[0].shape;
	uint32_t slot = ((const uint32_t *)call->in[2].data)[call->attr.record.column] % (uint32_t)s.w;
	if (call->out.data != call->in[0].data)
		memcpy(call->out.data, call->in[0].data, (size_t)otp_shape_count(s) * sizeof(float));
	memcpy((float *)call->out.data + (int64_t)slot * s.c, call->in[1].data, (size_t)s.c * sizeof(float));
}

/* One block of columns: rows of the state are `stride` apart, in and out. */
typedef struct adam_block {
	const float *in;
	float *out;
	int64_t stride;
	int count;
	bool ema;
	float rate, beta1, beta2, correct1, correct2, eps, decay;
} adam_block;

OTP_SIMD static void step_block(const adam_block *a, const float *g)
{
	const float *p = a->in, *m = p + a->stride, *v = m + a->stride;
	float *new_p = a->out, *new_m = new_p + a->stride, *new_v = new_m + a->stride;
	float rate = a->rate, b1 = a->beta1, b2 = a->beta2, c1 = a->correct1, c2 = a->correct2, eps = a->eps;
#pragma omp simd
	for (int i = 0; i < a->count; i++) {
		float mi = m[i], vi = v[i];
		float pi = otp_adam_step_f(p[i], g[i], &mi, &vi, rate, b1, b2, c1, c2, eps);
		new_p[i] = pi;
		new_m[i] = mi;
		new_v[i] = vi;
	}
	if (!a->ema)
		return;
	const float *ema = v + a->stride;
	float *new_ema = new_v + a->stride, decay = a->decay;
#pragma omp simd
	for (int i = 0; i < a->count; i++)
		new_ema[i] = otp_ema_f(ema[i], new_p[i], decay);
}

/* A block of state and gradients stays in the first cache. */
enum { ADAM_COLUMNS = OTP_NORM_COLUMNS };

OTP_SIMD static void add_to(float *sum, const float *more, int count)
{
#pragma omp simd
	for (int i = 0; i < count; i++)
		sum[i] += more[i];
}

/* The parts' gradients, rows that are `stride` apart, into stack[0]. */
static void add_parts(float stack[OTP_TREE_LEVELS][ADAM_COLUMNS], const float *grads, int64_t stride,
		      int parts, int count)
{
	int depth = 0;
	for (int part = 0; part < parts; part++, depth++) {
		const float *sum = grads + part * stride;
		for (int merges = otp_tree_merges(part, parts); merges > 0; merges--) {
			add_to(stack[--depth], sum, count);
			sum = stack[depth];
		}
		if (sum != stack[depth])
			memcpy(stack[depth], sum, (size_t)count * sizeof *sum);
	}
}

/* Where a worker's columns begin: whole blocks, of which squares are sums too. */
static int64_t first_column(const otp_call *call, int64_t columns, int worker)
{
	int64_t begin = (int64_t)otp_call_block(call, columns, worker) * OTP_NORM_COLUMNS;
	return begin < columns ? begin : columns;
}

/* In lanes of their own: the same sum whatever a vector's width. */
OTP_SIMD static float sum_squares(const float *g, int count)
{
	enum { LANES = 16 };
	float lane[LANES] = {0}, sum = 0;
	int whole = count / LANES * LANES;
	for (int i = 0; i < whole; i += LANES) {
#pragma omp simd
		for (int k = 0; k < LANES; k++)
			lane[k] += g[i + k] * g[i + k];
	}
	for (int i = whole; i < count; i++)
		lane[i - whole] += g[i] * g[i];
	for (int k = 0; k < LANES; k++)
		sum += lane[k];
	return sum;
}

OTP_CPU_KERNEL(squares)
{
	const float *grads = call->in[0].data;
	float *squares = call->out.data;
	int64_t columns = call->in[0].shape.c;
	int parts = call->in[0].shape.w;
	int64_t end = otp_call_block(call, columns, call->worker + 1);
	float stack[OTP_TREE_LEVELS][ADAM_COLUMNS];
	for (int64_t block = otp_call_block(call, columns, call->worker); block < end; block++) {
		const float *g = grads + block * OTP_NORM_COLUMNS;
		int count = (int)least(columns - block * OTP_NORM_COLUMNS, OTP_NORM_COLUMNS);
		if (parts > 1)
			add_parts(stack, g, columns, parts, count);
		squares[block] = sum_squares(parts > 1 ? stack[0] : g, count);
	}
}

OTP_CPU_KERNEL(guard)
{
	const float *squares = call->in[1].data, *hyper = call->in[2].data;
	float *guard = call->out.data, median = 0;
	float *row = guard + OTP_GUARD_HEAD + call->attr.guard.kind * OTP_GUARD_ROW;
	double sum = 0;
	if (guard != call->in[0].data)
		memcpy(guard, call->in[0].data, (size_t)call->out.shape.c * sizeof *guard);
	for (int block = 0; block < call->in[1].shape.c; block++)
		sum += (double)squares[block];
	for (int i = 1; i <= OTP_GUARD_KEPT; i++)
		median = otp_guard_is_median_f(row, i) ? row[i] : median;
	otp_guard_next_f(guard, row, (float)sqrt(sum), median, call->attr.guard.times, hyper[OTP_HYPER_CLIP],
			 hyper[OTP_HYPER_SLOT]);
}

OTP_SIMD static void scale_to(float *y, const float *x, float factor, int count)
{
#pragma omp simd
	for (int i = 0; i < count; i++)
		y[i] = factor * x[i];
}

/* The state that a guard that stopped leaves as it was. */
static void keep_state(const otp_call *call, int64_t begin, int64_t end)
{
	const float *state = call->in[0].data;
	float *out = call->out.data;
	for (int row = 0; row < call->in[0].shape.w && out != state; row++) {
		int64_t at = row * (int64_t)call->in[0].shape.c + begin;
		memcpy(out + at, state + at, (size_t)(end - begin) * sizeof *out);
	}
}

OTP_CPU_KERNEL(adam)
{
	const float *state = call->in[0].data, *grads = call->in[1].data, *hyper = call->in[2].data;
	const float *guard = call->in[3].data;
	int64_t columns = call->in[0].shape.c;
	int parts = call->in[1].shape.w;
	int64_t begin = first_column(call, columns, call->worker);
	int64_t end = first_column(call, columns, call->worker + 1);
	float factor = guard[OTP_GUARD_FACTOR];
	float stack[OTP_TREE_LEVELS][ADAM_COLUMNS];
	adam_block a = {.stride = columns,
			.ema = call->attr.adam.ema,
			.rate = hyper[OTP_HYPER_RATE],
			.beta1 = call->attr.adam.beta1,
			.beta2 = call->attr.adam.beta2,
			.correct1 = hyper[OTP_HYPER_CORRECT1],
			.correct2 = hyper[OTP_HYPER_CORRECT2],
			.eps = call->attr.adam.eps,
			.decay = hyper[OTP_HYPER_EMA]};
	if (guard[OTP_GUARD_STOPPED] != 0) {
		keep_state(call, begin, end);
		return;
	}
	for (int64_t i = begin; i < end; i += ADAM_COLUMNS) {
		const float *g = grads + i;
		a.in = state + i;
		a.out = (float *)call->out.data + i;
		a.count = (int)least(end - i, ADAM_COLUMNS);
		if (parts > 1) {
			add_parts(stack, g, columns, parts, a.count);
			g = stack[0];
		}
		if (factor != 1) {
			scale_to(stack[0], g, factor, a.count);
			g = stack[0];
		}
		step_block(&a, g);
	}
}

/* Of one process; several exchange rows themselves, between programs. */
static void keep_columns(const otp_call *call)
{
	size_t bytes = (size_t)otp_shape_count(call->out.shape) * sizeof(float);
	OTP_ASSERT(call->processes == 1, "columns of %d processes on one", call->processes);
	if (call->attr.deal.empty)
		memset(call->out.data, 0, bytes);
	else if (call->out.data != call->in[0].data)
		memcpy(call->out.data, call->in[0].data, bytes);
}

OTP_CPU_KERNEL(reduce_scatter) { keep_columns(call); }
OTP_CPU_KERNEL(all_gather) { keep_columns(call); }
