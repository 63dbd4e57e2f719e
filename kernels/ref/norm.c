/* norm.c (ref): group normalisation. With xhat = (x - mean) rstd and
 * u = scale xhat + shift, y = u or silu(u); a group has m = h w c / groups
 * elements. Means are taken first and variances around them. */
#include "ref/ref.h"
#include "scalar.h"

typedef struct norm {
	otp_attr attr;
	otp_tensor x, stats, scale, shift, g, sums;
	int group_size; /* channels */
	double count;	/* elements of a group */
} norm;

static norm norm_of(const otp_call *call)
{
	const otp_tensor *in = call->in;
	norm f = {call->attr, in[0], in[1], in[2], in[3], in[4], in[5], 0, 0};
	f.group_size = f.x.shape.c / f.attr.norm.groups;
	f.count = (double)f.x.shape.h * f.x.shape.w * f.group_size;
	return f;
}

static double *stat(const norm *f, otp_shape i, bool rstd)
{
	int column = i.c / f->group_size + (rstd ? f->attr.norm.groups : 0);
	return otp_ref_at(&f->stats, otp_shape4(i.n, 0, 0, column));
}

static double xhat(const norm *f, otp_shape i)
{
	return (*otp_ref_at(&f->x, i) - *stat(f, i, false)) * *stat(f, i, true);
}

static double inside(const norm *f, otp_shape i)
{
	return *otp_ref_at(&f->scale, i) * xhat(f, i) + *otp_ref_at(&f->shift, i);
}

/* dL/du */
static double inside_grad(const norm *f, otp_shape i)
{
	double g = *otp_ref_at(&f->g, i);
	return f->attr.norm.silu ? g * otp_silu_slope_d(inside(f, i)) : g;
}

/* Of a channel: the mean of xhat over its positions. */
static double *centre(const norm *f, otp_shape i)
{
	return otp_ref_at(&f->stats, otp_shape4(i.n, 0, 0, 2 * f->attr.norm.groups + i.c));
}

OTP_REF_KERNEL(norm_stats)
{
	norm f = norm_of(call);
	f.stats = call->out;
	otp_ref_zero(&f.stats);
	OTP_REF_EACH (i, f.x.shape)
		*stat(&f, i, false) += *otp_ref_at(&f.x, i) / f.count;
	OTP_REF_EACH (i, f.x.shape) {
		double away = *otp_ref_at(&f.x, i) - *stat(&f, i, false);
		*stat(&f, i, true) += away * away / f.count;
	}
	for (int n = 0; n < f.x.shape.n; n++)
		for (int c = 0; c < f.x.shape.c; c += f.group_size) {
			double *s = stat(&f, otp_shape4(n, 0, 0, c), true);
			*s = otp_rsqrt_d(*s + f.attr.norm.eps);
		}
	OTP_REF_EACH (i, f.x.shape)
		*centre(&f, i) += xhat(&f, i) / ((double)f.x.shape.h * f.x.shape.w);
}

OTP_REF_KERNEL(norm_apply)
{
	norm f = norm_of(call);
	OTP_REF_EACH (i, f.x.shape) {
		double u = inside(&f, i);
		*otp_ref_at(&call->out, i) = f.attr.norm.silu ? otp_silu_d(u) : u;
	}
}

OTP_REF_KERNEL(norm_sums)
{
	norm f = norm_of(call);
	otp_ref_zero(&call->out);
	OTP_REF_EACH (i, f.x.shape) {
		double gu = inside_grad(&f, i);
		*otp_ref_at(&call->out, otp_shape4(i.n, 0, 0, i.c)) += gu * xhat(&f, i);
		*otp_ref_at(&call->out, otp_shape4(i.n, 0, 0, f.x.shape.c + i.c)) += gu;
	}
}

/* gx = rstd (s gu - mean(s gu) - xhat mean(s gu xhat)), s = scale, means over
 * the group; the sums over h and w are already in `sums`. */
static double dgrad(const norm *f, otp_shape i)
{
	double mean_g = 0, mean_gx = 0;
	int first = i.c / f->group_size * f->group_size;
	for (int c = first; c < first + f->group_size; c++) {
		double scale = *otp_ref_at(&f->scale, otp_shape4(i.n, 0, 0, c));
		mean_gx += scale * *otp_ref_at(&f->sums, otp_shape4(i.n, 0, 0, c)) / f->count;
		mean_g += scale * *otp_ref_at(&f->sums, otp_shape4(i.n, 0, 0, f->x.shape.c + c)) / f->count;
	}
	double direct = *otp_ref_at(&f->scale, i) * inside_grad(f, i);
	return *stat(f, i, true) * (direct - mean_g - xhat(f, i) * mean_gx);
}

/* With `merges` tensors of what reaches x elsewhere. */
static void run_dgrad(const otp_call *call, int merges)
{
	norm f = norm_of(call);
	OTP_REF_EACH (i, call->out.shape) {
		otp_shape at = i;
		at.c += f.attr.norm.begin;
		double sum = dgrad(&f, at);
		for (int k = 0; k < merges; k++)
			sum += *otp_ref_at(&call->in[6 + k], at);
		*otp_ref_at(&call->out, i) = (double)f.attr.norm.scale * sum;
	}
}

OTP_REF_KERNEL(norm_dgrad) { run_dgrad(call, 0); }
OTP_REF_KERNEL(norm_dgrad_merge) { run_dgrad(call, 1); }
OTP_REF_KERNEL(norm_dgrad_merge_two) { run_dgrad(call, 2); }

/* gx summed over h and w: there only s gu and xhat vary. */
static double total(const norm *f, otp_shape i)
{
	double share_g = 0, share_gx = 0;
	int first = i.c / f->group_size * f->group_size, c = f->sums.shape.c / 2;
	for (int k = first; k < first + f->group_size; k++) {
		double share = *otp_ref_at(&f->scale, otp_shape4(i.n, 0, 0, k)) / f->group_size;
		share_gx += share * *otp_ref_at(&f->sums, otp_shape4(i.n, 0, 0, k));
		share_g += share * *otp_ref_at(&f->sums, otp_shape4(i.n, 0, 0, c + k));
	}
	double direct = *otp_ref_at(&f->scale, i) * *otp_ref_at(&f->sums, otp_shape4(i.n, 0, 0, c + i.c));
	return *stat(f, i, true) * (direct - share_g - *centre(f, i) * share_gx);
}

static void run_total(const otp_call *call, const otp_tensor *r)
{
	const otp_tensor *in = call->in;
	int c = call->out.shape.c;
	norm f = {.attr = call->attr, .stats = in[0], .scale = in[1], .sums = in[2]};
	f.group_size = c / f.attr.norm.groups;
	OTP_REF_EACH (i, call->out.shape)
		*otp_ref_at(&call->out, i) = r ? *otp_ref_at(r, i) : 0;
	OTP_REF_EACH (i, otp_shape4(f.stats.shape.n, 1, 1, c))
		*otp_ref_at(&call->out, i) += total(&f, i);
	OTP_REF_EACH (i, call->out.shape)
		*otp_ref_at(&call->out, i) *= (double)f.attr.norm.scale;
}

OTP_REF_KERNEL(norm_total) { run_total(call, NULL); }
OTP_REF_KERNEL(norm_total_merge) { run_total(call, &call->in[3]); }
