/* norm.c (cpu): group normalisation fused with scale, shift and SiLU, in NHWC.
 * Each kernel reads x once. A sample's coefficients are laid out per channel
 * first; sums over positions are kept in double, which makes the one-pass
 * variance safe (E x^2 - mean^2 loses nothing that float could hold). */
#include "cpu/cpu.h"
#include "scalar.h"

#include <string.h>

enum { BLOCK = 32, HALF = 16 }; /* channels summed in registers at once */

/* One sample of a call, its coefficients per channel. With d = x - mean:
 * u = gain d + shift. */
typedef struct sample {
	int64_t rows; /* h w */
	int c;
	const float *x, *g;
	int x_apart;		    /* x's rows */
	float *mean, *gain, *shift; /* gain = scale rstd */
	float *rest, *tilt;	    /* gx = gain du - rest - tilt d */
	int first, count;	    /* channels that a gradient is made of */
	float factor;		    /* and what it is multiplied by */
	const float *elsewhere[2];  /* what the merges add, rows so far apart */
	int apart[2];
} sample;

enum { COEFFICIENTS = 5 };

static size_t coefficient_bytes(const otp_call *call)
{
	return COEFFICIENTS * (size_t)call->in[0].shape.c * sizeof(float);
}

/* The tensor's data for sample n; tensors of one sample serve all. */
static const float *sample_data(const otp_tensor *t, int n)
{
	otp_shape s = t->shape;
	return (const float *)t->data + (s.n == 1 ? 0 : n * (int64_t)s.h * s.w * otp_row_step(t));
}

static sample open_sample(const otp_call *call, int n)
{
	otp_shape shape = call->in[0].shape;
	int c = shape.c, groups = call->attr.norm.groups, size = c / groups;
	float *room = call->scratch;
	const float *stats = sample_data(&call->in[1], n), *scale = sample_data(&call->in[2], n);
	sample s = {.rows = (int64_t)shape.h * shape.w,
		    .c = c,
		    .x = sample_data(&call->in[0], n),
		    .x_apart = otp_row_step(&call->in[0]),
		    .mean = room,
		    .gain = room + c,
		    .shift = room + 2 * c,
		    .rest = room + 3 * c,
		    .tilt = room + 4 * c};
	memcpy(s.shift, sample_data(&call->in[3], n), (size_t)c * sizeof(float));
	for (int j = 0; j < c; j++) {
		s.mean[j] = stats[j / size];
		s.gain[j] = scale[j] * stats[groups + j / size];
	}
	return s;
}

/* ---- statistics ---- */

OTP_INLINE void add_moments(double *sum, double *square, const float *x, int64_t rows, int64_t stride,
			    int columns)
{
	for (int64_t r = 0; r < rows; r++, x += stride) {
#pragma omp simd
		for (int j = 0; j < columns; j++) {
			double v = x[j];
			sum[j] += v;
			square[j] += v * v;
		}
	}
}

OTP_INLINE void moments_of(double *sum, double *square, const float *x, int64_t rows, int64_t stride,
			   int columns)
{
	double s[BLOCK] = {0}, q[BLOCK] = {0};
	add_moments(s, q, x, rows, stride, columns);
	for (int j = 0; j < columns; j++) {
		sum[j] = s[j];
		square[j] = q[j];
	}
}

/* Constant widths keep the sums in registers. */
OTP_SIMD static void moments(double *sum, double *square, const float *x, int64_t rows, int64_t stride,
			     int columns)
{
	if (columns == BLOCK)
		moments_of(sum, square, x, rows, stride, BLOCK);
	else if (columns == HALF)
		moments_of(sum, square, x, rows, stride, HALF);
	else
		moments_of(sum, square, x, rows, stride, columns);
}

/* How many of the channels left are summed next. */
static int next_width(int left) { return left >= BLOCK ? BLOCK : left >= HALF ? HALF : left; }

static size_t stats_scratch(const otp_call *call) { return 2 * (size_t)call->in[0].shape.c * sizeof(double); }

/* A sample's statistics from the sums of its channels. */
static void finish_stats(float *out, const otp_call *call, const double *sum, const double *square)
{
	otp_shape shape = call->in[0].shape;
	int groups = call->attr.norm.groups, size = shape.c / groups;
	double rows = (double)shape.h * shape.w, count = rows * size;
	for (int group = 0; group < groups; group++) {
		double s = 0, q = 0;
		for (int k = group * size; k < (group + 1) * size; k++) {
			s += sum[k];
			q += square[k];
		}
		double mean = s / count, variance = q / count - mean * mean;
		double rstd = otp_rsqrt_d((variance > 0 ? variance : 0) + call->attr.norm.eps);
		out[group] = (float)mean;
		out[groups + group] = (float)rstd;
		for (int k = group * size; k < (group + 1) * size; k++)
			out[2 * groups + k] = (float)((sum[k] / rows - mean) * rstd);
	}
}

static void run_norm_stats(const otp_call *call)
{
	otp_shape shape = call->in[0].shape;
	int c = shape.c;
	int64_t rows = (int64_t)shape.h * shape.w;
	double *sum = call->scratch, *square = sum + c;
	float *out = call->out.data;
	for (int n = 0; n < shape.n; n++, out += call->out.shape.c) {
		const float *x = sample_data(&call->in[0], n);
		for (int j = 0, width; j < c; j += width) {
			width = next_width(c - j);
			moments(sum + j, square + j, x + j, rows, otp_row_step(&call->in[0]), width);
		}
		finish_stats(out, call, sum, square);
	}
}

const otp_kernel otp_cpu_norm_stats = {.run = run_norm_stats, .scratch_bytes = stats_scratch};

/* ---- y ---- */

OTP_INLINE void apply_rows(float *y, const sample *s, bool silu)
{
	const float *x = s->x, *mean = s->mean, *gain = s->gain, *shift = s->shift;
	int c = s->c;
	for (int64_t r = 0; r < s->rows; r++, x += s->x_apart, y += c) {
#pragma omp simd
		for (int j = 0; j < c; j++) {
			float u = gain[j] * (x[j] - mean[j]) + shift[j];
			y[j] = silu ? otp_silu_f(u) : u;
		}
	}
}

OTP_SIMD static void apply_plain(float *y, const sample *s) { apply_rows(y, s, false); }
OTP_SIMD static void apply_silu(float *y, const sample *s) { apply_rows(y, s, true); }

static void run_norm_apply(const otp_call *call)
{
	otp_shape shape = call->in[0].shape;
	float *y = call->out.data;
	for (int n = 0; n < shape.n; n++) {
		sample s = open_sample(call, n);
		(call->attr.norm.silu ? apply_silu : apply_plain)(y + (int64_t)n * s.rows * s.c, &s);
	}
}

const otp_kernel otp_cpu_norm_apply = {.run = run_norm_apply, .scratch_bytes = coefficient_bytes};

/* ---- gradients ---- */

/* dL/du of one element at distance d from the mean */
OTP_INLINE float inside_grad(float d, float g, float gain, float shift, bool silu)
{
	return silu ? g * otp_silu_slope_f(gain * d + shift) : g;
}

/* Over positions: sums of du d and of du, for `columns` channels from `first` on. */
OTP_INLINE void add_products(double *product, double *plain, const sample *s, int first, int columns,
			     bool silu)
{
	const float *x = s->x + first, *g = s->g + first;
	const float *mean = s->mean + first, *gain = s->gain + first, *shift = s->shift + first;
	for (int64_t r = 0; r < s->rows; r++, x += s->x_apart, g += s->c) {
#pragma omp simd
		for (int j = 0; j < columns; j++) {
			float d = x[j] - mean[j], du = inside_grad(d, g[j], gain[j], shift[j], silu);
			product[j] += (double)du * (double)d;
			plain[j] += (double)du;
		}
	}
}

OTP_INLINE void sums_of(float *product, float *plain, const sample *s, int first, int columns, bool silu)
{
	double p[BLOCK] = {0}, q[BLOCK] = {0};
	add_products(p, q, s, first, columns, silu);
	for (int j = 0; j < columns; j++) {
		product[j] = (float)p[j];
		plain[j] = (float)q[j];
	}
}

OTP_INLINE void sums_by_width(float *product, float *plain, const sample *s, int first, int columns,
			      bool silu)
{
	if (columns == BLOCK)
		sums_of(product, plain, s, first, BLOCK, silu);
	else if (columns == HALF)
		sums_of(product, plain, s, first, HALF, silu);
	else
		sums_of(product, plain, s, first, columns, silu);
}

OTP_SIMD static void sums_plain(float *product, float *plain, const sample *s, int first, int columns)
{
	sums_by_width(product, plain, s, first, columns, false);
}

OTP_SIMD static void sums_silu(float *product, float *plain, const sample *s, int first, int columns)
{
	sums_by_width(product, plain, s, first, columns, true);
}

static void run_norm_sums(const otp_call *call)
{
	otp_shape shape = call->in[0].shape;
	int c = shape.c, groups = call->attr.norm.groups, size = c / groups;
	bool silu = call->attr.norm.silu;
	float *out = call->out.data;
	for (int n = 0; n < shape.n; n++, out += otp_row_step(&call->out)) {
		sample s = open_sample(call, n);
		s.g = sample_data(&call->in[4], n);
		for (int j = 0, width; j < c; j += width) {
			width = next_width(c - j);
			(silu ? sums_silu : sums_plain)(out + j, out + c + j, &s, j, width);
		}
		const float *rstd = sample_data(&call->in[1], n) + groups;
		for (int k = 0; k < c; k++)
			out[k] *= rstd[k / size]; /* d rstd = xhat */
	}
}

const otp_kernel otp_cpu_norm_sums = {.run = run_norm_sums, .scratch_bytes = coefficient_bytes};

/* gx = rstd (s du - mean(s du) - xhat mean(s du xhat)), s = scale, means over the group. */
static void prepare_dgrad(const otp_call *call, sample *s, int n)
{
	int groups = call->attr.norm.groups, size = s->c / groups;
	const float *rstd = sample_data(&call->in[1], n) + groups, *scale = sample_data(&call->in[2], n);
	const float *sums = sample_data(&call->in[5], n);
	double count = (double)s->rows * size;
	for (int group = 0; group < groups; group++) {
		double product = 0, plain = 0, r = rstd[group];
		for (int j = group * size; j < (group + 1) * size; j++) {
			product += (double)scale[j] * (double)sums[j];
			plain += (double)scale[j] * (double)sums[s->c + j];
		}
		for (int j = group * size; j < (group + 1) * size; j++) {
			s->rest[j] = (float)(r * plain / count);
			s->tilt[j] = (float)(r * r * product / count);
		}
	}
}

/* merges: how many tensors of what reaches x elsewhere are added. */
OTP_INLINE void dgrad_rows(float *gx, const sample *s, bool silu, int merges)
{
	int first = s->first, count = s->count;
	const float *x = s->x + first, *g = s->g + first, *a = s->elsewhere[0], *b = s->elsewhere[1];
	const float *mean = s->mean + first, *gain = s->gain + first, *shift = s->shift + first;
	const float *rest = s->rest + first, *tilt = s->tilt + first;
	float factor = s->factor;
	for (int64_t r = 0; r < s->rows; r++, x += s->x_apart, g += s->c, gx += count) {
#pragma omp simd
		for (int j = 0; j < count; j++) {
			float d = x[j] - mean[j], du = inside_grad(d, g[j], gain[j], shift[j], silu);
			float sum = gain[j] * du - rest[j] - tilt[j] * d;
			if (merges)
				sum = sum + (merges == 1 ? a[j] : a[j] + b[j]);
			gx[j] = factor * sum;
		}
		a += merges ? s->apart[0] : 0;
		b += merges == 2 ? s->apart[1] : 0;
	}
}

OTP_SIMD static void dgrad_plain(float *gx, const sample *s) { dgrad_rows(gx, s, false, 0); }
OTP_SIMD static void dgrad_silu(float *gx, const sample *s) { dgrad_rows(gx, s, true, 0); }
OTP_SIMD static void merge_plain(float *gx, const sample *s) { dgrad_rows(gx, s, false, 1); }
OTP_SIMD static void merge_silu(float *gx, const sample *s) { dgrad_rows(gx, s, true, 1); }
OTP_SIMD static void merge_two_plain(float *gx, const sample *s) { dgrad_rows(gx, s, false, 2); }
OTP_SIMD static void merge_two_silu(float *gx, const sample *s) { dgrad_rows(gx, s, true, 2); }

static void run_norm_dgrad(const otp_call *call)
{
	static void (*const rows[3][2])(float *, const sample *) = {
	    {dgrad_plain, dgrad_silu}, {merge_plain, merge_silu}, {merge_two_plain, merge_two_silu}};
	otp_shape shape = call->in[0].shape;
	int merges = otp_op_inputs(call->op) - 6;
	float *gx = call->out.data;
	for (int n = 0; n < shape.n; n++) {
		sample s = open_sample(call, n);
		s.g = sample_data(&call->in[4], n);
		for (int k = 0; k < merges; k++) {
			s.elsewhere[k] = sample_data(&call->in[6 + k], n) + call->attr.norm.begin;
			s.apart[k] = otp_row_step(&call->in[6 + k]);
		}
		s.first = call->attr.norm.begin;
		s.count = call->attr.norm.count;
		s.factor = call->attr.norm.scale;
		prepare_dgrad(call, &s, n);
		rows[merges][call->attr.norm.silu](gx + (int64_t)n * s.rows * s.count, &s);
	}
}

/* total[c] += the gradient of a sample, summed over its positions. */
static void add_total(double *total, const otp_call *call, int n)
{
	int c = call->out.shape.c, groups = call->attr.norm.groups, size = c / groups;
	const float *stats = sample_data(&call->in[0], n), *scale = sample_data(&call->in[1], n);
	const float *sums = sample_data(&call->in[2], n);
	for (int group = 0; group < groups; group++) {
		double product = 0, plain = 0, rstd = (double)stats[groups + group];
		for (int j = group * size; j < (group + 1) * size; j++) {
			product += (double)scale[j] * (double)sums[j];
			plain += (double)scale[j] * (double)sums[c + j];
		}
		for (int j = group * size; j < (group + 1) * size; j++) {
			double rest = (plain + (double)stats[2 * groups + j] * product) / size;
			total[j] += rstd * ((double)scale[j] * (double)sums[c + j] - rest);
		}
	}
}

static size_t total_scratch(const otp_call *call) { return (size_t)call->out.shape.c * sizeof(double); }

static void run_norm_total(const otp_call *call)
{
	int c = call->out.shape.c;
	double *total = call->scratch;
	const float *r = otp_op_inputs(call->op) > 3 ? call->in[3].data : NULL;
	float *out = call->out.data;
	for (int j = 0; j < c; j++)
		total[j] = r ? (double)r[j] : 0;
	for (int n = 0; n < call->in[0].shape.n; n++)
		add_total(total, call, n);
	for (int j = 0; j < c; j++)
		out[j] = (float)((double)call->attr.norm.scale * total[j]);
}

const otp_kernel otp_cpu_norm_total = {.run = run_norm_total, .scratch_bytes = total_scratch};
const otp_kernel otp_cpu_norm_total_merge = {.run = run_norm_total, .scratch_bytes = total_scratch};
const otp_kernel otp_cpu_norm_dgrad = {.run = run_norm_dgrad, .scratch_bytes = coefficient_bytes};
const otp_kernel otp_cpu_norm_dgrad_merge = {.run = run_norm_dgrad, .scratch_bytes = coefficient_bytes};
const otp_kernel otp_cpu_norm_dgrad_merge_two = {.run = run_norm_dgrad, .scratch_bytes = coefficient_bytes};
