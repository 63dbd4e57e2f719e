/* resample.c (cpu): down2 and up2, one row at a time: first across rows into a
 * buffer (long contiguous loops), then along the row. The buffer has a zero
 * pixel at either end, so that borders need no test. */
#include "cpu/cpu.h"

#include <string.h>

/* tap[k] meets sample 2 i + k - 1 of the large image. */
static const float taps[][4] = {
    [OTP_FILTER_BOX] = {0, 0.5f, 0.5f, 0},
    [OTP_FILTER_FIR] = {0.125f, 0.375f, 0.375f, 0.125f},
};

static size_t row_scratch(const otp_call *call)
{
	return (size_t)(call->in[0].shape.w + 2) * (size_t)call->in[0].shape.c * sizeof(float);
}

/* y = or += weight * x */
OTP_SIMD static void weigh(float *y, const float *x, float weight, int64_t count, bool first)
{
	if (first)
		for (int64_t i = 0; i < count; i++)
			y[i] = weight * x[i];
	else
#pragma omp simd
		for (int64_t i = 0; i < count; i++)
			y[i] += weight * x[i];
}

/* The weighted sum of up to `count` rows of an image whose pixels lie `step` apart; rows outside it are zero.
 */
static void blend_rows(float *y, const float *image, otp_shape s, int step, const int *row,
		       const float *weight, int count)
{
	int64_t length = (int64_t)s.w * s.c, run = step == s.c ? length : s.c;
	bool first = true;
	for (int k = 0; k < count; k++) {
		if (weight[k] == 0 || row[k] < 0 || row[k] >= s.h)
			continue;
		const float *x = image + (int64_t)row[k] * s.w * step;
		for (int64_t at = 0; at < length; at += run, x += step)
			weigh(y + at, x, weight[k], run, first);
		first = false;
	}
	if (first)
		memset(y, 0, (size_t)length * sizeof *y);
}

/* `x` has a zero pixel before it and one behind. */
OTP_SIMD static void down_row(float *y, const float *x, int w, int c, const float *tap, float scale)
{
	float t0 = tap[0], t1 = tap[1], t2 = tap[2], t3 = tap[3];
	for (int i = 0; i < w; i++, x += 2 * c, y += c) {
#pragma omp simd
		for (int j = 0; j < c; j++)
			y[j] = scale * ((t0 * x[j - c] + t1 * x[j]) + (t2 * x[j + c] + t3 * x[j + 2 * c]));
	}
}

/* A row of the large image: `scale` times what there is of it, after r is added where there is one; pixels
 * lie so far apart. */
typedef struct large_row {
	float *y, scale;
	const float *r;
	int step, r_step;
} large_row;

OTP_INLINE void up_row_with(const large_row *l, const float *x, int w, int c, const float *tap, bool merge)
{
	float t0 = tap[0], t1 = tap[1], t2 = tap[2], t3 = tap[3], scale = l->scale;
	float *y = l->y;
	const float *r = l->r;
	int step = l->step, r_step = l->r_step;
	for (int i = 0; i < w; i++, x += c, y += 2 * step) {
#pragma omp simd
		for (int j = 0; j < c; j++) {
			float even = t1 * x[j] + t3 * x[j - c], odd = t2 * x[j] + t0 * x[j + c];
			y[j] = scale * (merge ? even + r[j] : even);
			y[j + step] = scale * (merge ? odd + r[j + r_step] : odd);
		}
		r += merge ? 2 * r_step : 0;
	}
}

OTP_SIMD static void up_row(const large_row *l, const float *x, int w, int c, const float *tap)
{
	up_row_with(l, x, w, c, tap, false);
}

OTP_SIMD static void up_row_merge(const large_row *l, const float *x, int w, int c, const float *tap)
{
	up_row_with(l, x, w, c, tap, true);
}

/* The buffer's first inner pixel, the pixels around it zeroed. */
static float *open_row(const otp_call *call)
{
	size_t w = (size_t)call->in[0].shape.w, c = (size_t)call->in[0].shape.c;
	float *buffer = call->scratch;
	memset(buffer, 0, c * sizeof *buffer);
	memset(buffer + (w + 1) * c, 0, c * sizeof *buffer);
	return buffer + c;
}

static void run_down2(const otp_call *call)
{
	otp_shape in = call->in[0].shape, out = call->out.shape;
	const float *tap = taps[call->attr.resample.filter], *x = call->in[0].data;
	float *y = call->out.data, *row = open_row(call), weight[4];
	for (int k = 0; k < 4; k++)
		weight[k] = call->attr.resample.gain * tap[k];
	int step = otp_row_step(&call->in[0]);
	for (int n = 0; n < in.n; n++, x += (int64_t)in.h * in.w * step)
		for (int h = 0; h < out.h; h++, y += (int64_t)out.w * out.c) {
			const int from[4] = {2 * h - 1, 2 * h, 2 * h + 1, 2 * h + 2};
			blend_rows(row, x, in, step, from, weight, 4);
			down_row(y, row, out.w, out.c, tap, call->attr.resample.scale);
		}
}

static void run_up2(const otp_call *call)
{
	otp_shape in = call->in[0].shape, out = call->out.shape;
	const float *tap = taps[call->attr.resample.filter], *x = call->in[0].data;
	float gain = call->attr.resample.gain;
	bool merge = call->op == OTP_OP_up2_merge;
	large_row l = {
	    .y = call->out.data, .scale = call->attr.resample.scale, .step = otp_row_step(&call->out)};
	l.r = merge ? call->in[1].data : NULL;
	l.r_step = merge ? otp_row_step(&call->in[1]) : 0;
	float *row = open_row(call);
	const float even[2] = {gain * tap[1], gain * tap[3]}, odd[2] = {gain * tap[2], gain * tap[0]};
	int step = otp_row_step(&call->in[0]);
	for (int n = 0; n < in.n; n++, x += (int64_t)in.h * in.w * step)
		for (int h = 0; h < out.h; h++) {
			const int from[2] = {h / 2, h % 2 == 0 ? h / 2 - 1 : h / 2 + 1};
			blend_rows(row, x, in, step, from, h % 2 == 0 ? even : odd, 2);
			(merge ? up_row_merge : up_row)(&l, row, in.w, in.c, tap);
			l.y += (int64_t)out.w * l.step;
			l.r += merge ? (int64_t)out.w * l.r_step : 0;
		}
}

const otp_kernel otp_cpu_down2 = {.run = run_down2, .scratch_bytes = row_scratch};
const otp_kernel otp_cpu_up2 = {.run = run_up2, .scratch_bytes = row_scratch};
const otp_kernel otp_cpu_up2_merge = {.run = run_up2, .scratch_bytes = row_scratch};
