/* reduce.c (cpu): sum and its adjoint spread. Sums are kept in double: the
 * result is as good as its rounding whatever the length, and the loops still
 * run at memory speed. The order is fixed, so that a sum is equal bit for bit
 * from run to run. */
#include "cpu/cpu.h"
#include "fold.h"

#include <string.h>

enum { BLOCK = 32, HALF = 16 }; /* columns summed in registers at once */

OTP_SIMD static double sum_row(const float *x, int64_t count)
{
	double total = 0;
#pragma omp simd reduction(+ : total)
	for (int64_t i = 0; i < count; i++)
		total += (double)x[i];
	return total;
}

OTP_INLINE void add_columns_of(double *total, const float *x, int64_t rows, int64_t stride, int columns)
{
	double sum[BLOCK];
	memcpy(sum, total, sizeof sum);
	for (int64_t r = 0; r < rows; r++, x += stride) {
#pragma omp simd
		for (int j = 0; j < columns; j++)
			sum[j] += (double)x[j];
	}
	memcpy(total, sum, sizeof sum);
}

/* total[j] += sum over rows of x[row][j]; constant widths keep the sums in registers. */
OTP_SIMD static void add_columns(double total[BLOCK], const float *x, int64_t rows, int64_t stride,
				 int columns)
{
	if (columns == BLOCK)
		add_columns_of(total, x, rows, stride, BLOCK);
	else if (columns == HALF)
		add_columns_of(total, x, rows, stride, HALF);
	else
		add_columns_of(total, x, rows, stride, columns);
}

/* The kept columns of one (outer, middle) position, rows of them `step` apart: out[j] = sum over both reduced
 * dimensions. */
static void sum_columns(float *out, const float *x, const int64_t *count, int64_t outer_step, int64_t step)
{
	int64_t columns = count[4];
	for (int64_t j = 0, width; j < columns; j += width) {
		double total[BLOCK] = {0};
		width = columns - j >= BLOCK ? BLOCK : columns - j >= HALF ? HALF : columns - j;
		for (int64_t r = 0; r < count[1]; r++)
			add_columns(total, x + r * outer_step + j, count[3], step, (int)width);
		for (int64_t i = 0; i < width; i++)
			out[j + i] = (float)total[i];
	}
}

OTP_CPU_KERNEL(sum)
{
	otp_lanes lanes = otp_lanes_make(call->out.shape, call->in[0].shape);
	const int64_t *count = lanes.count;
	const float *x = call->in[0].data;
	float *out = call->out.data;
	int64_t plane = count[3] * count[4], outer_step = count[2] * plane;
	int64_t step = call->in[0].step ? call->in[0].step : count[4]; /* apart: rows of one plane */
	for (int64_t outer = 0; outer < count[0]; outer++)
		for (int64_t middle = 0; middle < count[2]; middle++) {
			const float *from = x + outer * count[1] * outer_step + middle * plane;
			if (count[4] > 1) {
				sum_columns(out, from, count, outer_step, step);
			} else {
				double total = 0;
				for (int64_t r = 0; r < count[1]; r++)
					total += sum_row(from + r * outer_step, count[3]);
				*out = (float)total;
			}
			out += count[4];
		}
}

/* One plane of spread: `rows` copies of `columns` elements. */
OTP_SIMD static void spread_plane(float *y, const float *x, int64_t rows, int64_t columns)
{
	if (columns == 1) {
		float value = x[0];
		for (int64_t r = 0; r < rows; r++)
			y[r] = value;
		return;
	}
	for (int64_t r = 0; r < rows; r++)
		for (int64_t j = 0; j < columns; j++)
			y[r * columns + j] = x[j];
}

OTP_CPU_KERNEL(spread)
{
	otp_lanes lanes = otp_lanes_make(call->in[0].shape, call->out.shape);
	const int64_t *count = lanes.count;
	const float *x = call->in[0].data;
	float *y = call->out.data;
	for (int64_t outer = 0; outer < count[0]; outer++)
		for (int64_t r = 0; r < count[1]; r++)
			for (int64_t middle = 0; middle < count[2]; middle++) {
				spread_plane(y, x + (outer * count[2] + middle) * count[4], count[3],
					     count[4]);
				y += count[3] * count[4];
			}
}
