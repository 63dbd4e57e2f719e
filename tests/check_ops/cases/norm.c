/* norm: group normalisation; first order only, no potential contains it. */
#include "check_ops/harness.h"

#include <math.h>

static const float SCALE = 0.70710678f; /* of norm_dgrad, its merges and their totals */

static bool is_total(const test_case *t)
{
	return t->op == OTP_OP_norm_total || t->op == OTP_OP_norm_total_merge;
}

/* Inputs of these cases are x, scale, shift[, g[, r[, s]]]; the statistics are nodes, so
 * that finite differences see them move with x. */
static otp_node *build_norm(const test_case *t, otp_node *const *in)
{
	otp_node *stats = otp_norm_stats(in[0], t->attr);
	if (t->op == OTP_OP_norm_stats)
		return stats;
	if (t->op == OTP_OP_norm_apply)
		return otp_norm(in[0], in[1], in[2], t->attr.norm.groups, t->attr.norm.eps,
				t->attr.norm.silu);
	otp_node *sums = otp_norm_sums(in[0], stats, in[1], in[2], in[3], t->attr);
	if (t->op == OTP_OP_norm_sums)
		return sums;
	if (is_total(t))
		return otp_node_new(t->op, t->attr, (otp_node *[]){stats, in[1], sums, in[4]}, t->count - 1);
	otp_node *all[OTP_MAX_INPUTS] = {in[0], stats, in[1], in[2], in[3], sums};
	for (int i = 4; i < t->count; i++)
		all[2 + i] = in[i];
	return otp_node_new(t->op, t->attr, all, 2 + t->count);
}

/* The same where sums are made, and read, as a part of a concat, behind those of another gradient. */
static otp_node *build_with_parts(const test_case *t, otp_node *const *in)
{
	otp_node *stats = otp_norm_stats(in[0], t->attr);
	otp_node *sums = otp_norm_sums(in[0], stats, in[1], in[2], in[3], t->attr);
	otp_node *other = otp_norm_sums(in[0], stats, in[1], in[2], in[0], t->attr);
	otp_node *both = otp_concat(other, sums, OTP_AXIS_C);
	int columns = sums->shape.c;
	if (t->op == OTP_OP_norm_sums)
		return otp_slice(both, OTP_AXIS_C, columns, columns);
	otp_node *nothing = otp_affine(otp_sum(both, otp_shape4(1, 1, 1, 1)), 0, 0);
	if (is_total(t))
		return otp_add(otp_node_new(t->op, t->attr, (otp_node *[]){stats, in[1], sums}, 3), nothing);
	return otp_add(otp_norm_dgrad(in[0], stats, in[1], in[2], in[3], sums, t->attr), nothing);
}

static otp_shape image_of(const test_case *t)
{
	otp_shape s = t->in[0];
	s.c /= t->apart & 1 ? 3 : 1;
	return s;
}

/* Of one sample and group: mean, mean of |x|, 1/sqrt(var + eps). */
typedef struct moments {
	double mean, size, rstd;
} moments;

static moments group_moments(const test_case *t, const double *x, int n, int group)
{
	otp_shape s = image_of(t);
	int width = s.c / t->attr.norm.groups;
	int64_t pixels = (int64_t)s.h * s.w;
	double sum = 0, size = 0, square = 0, m = (double)(pixels * width);
	for (int64_t p = 0; p < pixels; p++)
		for (int c = group * width; c < (group + 1) * width; c++) {
			double value = x[apart_at(t, 0, (n * pixels + p) * s.c + c)];
			sum += value / m;
			size += fabs(value) / m;
			square += value * value / m;
		}
	return (moments){sum, size, 1 / sqrt(square - sum * sum + t->attr.norm.eps)};
}

/* Over a sample's positions. */
static double mean_distance(const test_case *t, const double *x, int n, int c, double from)
{
	otp_shape s = image_of(t);
	int64_t pixels = (int64_t)s.h * s.w;
	double sum = 0;
	for (int64_t p = 0; p < pixels; p++)
		sum += fabs(x[apart_at(t, 0, (n * pixels + p) * s.c + c)] - from);
	return sum / (double)pixels;
}

static void stats_magnitude(const test_case *t, double *const *in, double *magnitude)
{
	int groups = t->attr.norm.groups, c = image_of(t).c, width = c / groups;
	for (int n = 0; n < t->in[0].n; n++, magnitude += 2 * groups + c)
		for (int group = 0; group < groups; group++) {
			moments m = group_moments(t, in[0], n, group);
			magnitude[group] = m.size;
			magnitude[groups + group] = m.rstd;
			for (int k = group * width; k < (group + 1) * width; k++)
				magnitude[2 * groups + k] =
				    (mean_distance(t, in[0], n, k, 0) + m.size) * m.rstd;
		}
}

/* With X = (|x| + |mean|) rstd, which is rounded four times to xhat, and
 * U = |scale| X + |shift|, the size of what becomes u:
 *   y    is off by 4 u U inside and 8 u U in the SiLU, whose slope is below 1.1;
 *   du   by |g| times (1/2, which bounds silu'', times 4 u U, plus 12 u (1 + U) of its own);
 *   sums add up du, off by 14 u |g| (1 + U), and du xhat, off by 19 u |g| (1 + U) X;
 *   gx   takes rstd times scale du, mean(scale du) and xhat mean(scale du xhat). */
typedef struct element_size {
	double x, u, du;
} element_size;

static element_size size_of_element(const test_case *t, double *const *in, moments m, int64_t at, int n,
				    int c)
{
	int64_t channel = (t->in[1].n == 1 ? 0 : n * t->in[1].c) + c;
	element_size z = {.x = (fabs(in[0][apart_at(t, 0, at)]) + fabs(m.mean)) * m.rstd};
	z.u = fabs(in[1][channel]) * z.x + fabs(in[2][channel]);
	z.du = t->count > 3 ? fabs(in[3][at]) * (1 + z.u) : 0;
	return z;
}

static bool is_dgrad(const test_case *t)
{
	return t->op == OTP_OP_norm_dgrad || t->op == OTP_OP_norm_dgrad_merge ||
	       t->op == OTP_OP_norm_dgrad_merge_two;
}

/* Where a gradient has pixel `pixel` of channel c, if it has that channel; else what is overwritten. */
static double *in_gradient(const test_case *t, double *gradient, int64_t pixel, int c)
{
	static double nowhere;
	int at = c - t->attr.norm.begin, count = t->attr.norm.count;
	return at >= 0 && at < count ? &gradient[pixel * count + at] : &nowhere;
}

/* What merges add, in size. */
static double size_elsewhere(const test_case *t, double *const *in, int64_t at)
{
	double size = 0;
	for (int i = 4; i < t->count; i++)
		size += fabs(in[i][apart_at(t, i, at)]);
	return size;
}

static void group_magnitude(const test_case *t, double *const *in, double *magnitude, int n, int group)
{
	otp_shape s = image_of(t);
	int width = s.c / t->attr.norm.groups;
	int64_t pixels = (int64_t)s.h * s.w;
	moments m = group_moments(t, in[0], n, group);
	double mean_du = 0, mean_product = 0;
	for (int pass = 0; pass < 2; pass++)
		for (int64_t p = 0; p < pixels; p++)
			for (int c = group * width; c < (group + 1) * width; c++) {
				int64_t at = (n * pixels + p) * s.c + c;
				double scale = fabs(in[1][(t->in[1].n == 1 ? 0 : n * s.c) + c]);
				element_size z = size_of_element(t, in, m, at, n, c);
				if (t->op == OTP_OP_norm_apply) {
					magnitude[at] = z.u;
				} else if (t->op == OTP_OP_norm_sums && pass == 0) {
					magnitude[2 * n * s.c + c] += z.du * z.x;
					magnitude[2 * n * s.c + s.c + c] += z.du;
				} else if ((is_dgrad(t) || is_total(t)) && pass == 0) {
					mean_du += scale * z.du / (double)(pixels * width);
					mean_product += scale * z.du * z.x / (double)(pixels * width);
				} else if (is_dgrad(t)) {
					double own = m.rstd * (scale * z.du + mean_du + z.x * mean_product);
					*in_gradient(t, magnitude, n * pixels + p, c) =
					    (double)t->attr.norm.scale * (own + size_elsewhere(t, in, at));
				} else if (is_total(t)) {
					double x = z.x + m.size * m.rstd; /* what xhat's mean is made of */
					magnitude[c] += (double)SCALE * m.rstd *
							(scale * z.du + mean_du + x * mean_product);
				}
			}
}

static void norm_magnitude(const test_case *t, double *const *in, double *magnitude)
{
	for (int c = 0; t->op == OTP_OP_norm_total_merge && c < t->in[4].c; c++)
		magnitude[c] = (double)SCALE * fabs(in[4][c]);
	for (int n = 0; n < t->in[0].n; n++)
		for (int group = 0; group < t->attr.norm.groups; group++)
			group_magnitude(t, in, magnitude, n, group);
}

/* ---- what sums in float add on a GPU, in units of u ---- */

/* A thread adds k rows, at most 65, of away = x - p, p the group's first element, and of their squares: sums
 * are off by k of |away| and k + 3 of away^2 in the mean. */
typedef struct drift {
	double mean, rstd, rows; /* of the mean; of 1/sqrt(var + eps), relative; k */
	double pivot;
} drift;

static drift group_drift(const test_case *t, const double *x, int n, int group, moments m)
{
	otp_shape s = image_of(t);
	int width = s.c / t->attr.norm.groups;
	int64_t pixels = (int64_t)s.h * s.w;
	double pivot = x[apart_at(t, 0, n * pixels * s.c + group * width)], away = 0, square = 0;
	for (int64_t p = 0; p < pixels; p++)
		for (int c = group * width; c < (group + 1) * width; c++) {
			double d = x[apart_at(t, 0, (n * pixels + p) * s.c + c)] - pivot;
			away += fabs(d) / (double)(pixels * width);
			square += d * d / (double)(pixels * width);
		}
	drift d = {.rows = pixels < 65 ? (double)pixels : 65, .pivot = pivot};
	d.mean = (d.rows + 1) * away;
	d.rstd = ((d.rows + 3) * square + 2 * fabs(m.mean - pivot) * d.mean) * m.rstd * m.rstd / 2;
	return d;
}

static void stats_drift(const test_case *t, double *const *in, double *gpu)
{
	int groups = t->attr.norm.groups, c = image_of(t).c, width = c / groups;
	for (int n = 0; n < t->in[0].n; n++, gpu += 2 * groups + c)
		for (int group = 0; group < groups; group++) {
			moments m = group_moments(t, in[0], n, group);
			drift d = group_drift(t, in[0], n, group, m);
			gpu[group] = d.mean;
			gpu[groups + group] = m.rstd * d.rstd;
			for (int k = group * width; k < (group + 1) * width; k++) {
				double own = (d.rows + 1) * mean_distance(t, in[0], n, k, d.pivot);
				double away = mean_distance(t, in[0], n, k, m.mean);
				gpu[2 * groups + k] = m.rstd * (own + d.mean + away * d.rstd);
			}
		}
}

/* xhat is off by rstd mean + X rstd', so u by |scale| times that, du by |g| / 2 (a bound of silu'') times
 * that; sums add k of what they add, and so does gx's of a group's channels, at most 8 more. */
typedef struct element_drift {
	double xhat, u, du;
} element_drift;

static element_drift drift_of_element(const test_case *t, double *const *in, moments m, drift d,
				      element_size z, int64_t at, double scale)
{
	element_drift e = {.xhat = m.rstd * d.mean + z.x * d.rstd};
	e.u = scale * e.xhat;
	e.du = t->count > 3 && t->attr.norm.silu ? fabs(in[3][at]) * e.u / 2 : 0;
	return e;
}

static void add_group_drift(const test_case *t, double *const *in, double *gpu, int n, int group)
{
	otp_shape s = image_of(t);
	int width = s.c / t->attr.norm.groups;
	int64_t pixels = (int64_t)s.h * s.w;
	moments m = group_moments(t, in[0], n, group);
	drift d = group_drift(t, in[0], n, group, m);
	double du = 0, product = 0, du_off = 0, product_off = 0, share = 1 / (double)(pixels * width);
	for (int pass = 0; pass < 2; pass++)
		for (int64_t p = 0; p < pixels; p++)
			for (int c = group * width; c < (group + 1) * width; c++) {
				int64_t at = (n * pixels + p) * s.c + c;
				double scale = fabs(in[1][(t->in[1].n == 1 ? 0 : n * s.c) + c]);
				element_size z = size_of_element(t, in, m, at, n, c);
				element_drift e = drift_of_element(t, in, m, d, z, at, scale);
				double sum_off = e.du + d.rows * z.du;
				double xhat_off = sum_off * z.x + z.du * e.xhat;
				if (t->op == OTP_OP_norm_apply) {
					gpu[at] = 1.1 * e.u;
				} else if (t->op == OTP_OP_norm_sums && pass == 0) {
					gpu[2 * n * s.c + c] += xhat_off;
					gpu[2 * n * s.c + s.c + c] += sum_off;
				} else if ((is_dgrad(t) || is_total(t)) && pass == 0) {
					du += share * scale * z.du;
					product += share * scale * z.du * z.x;
					du_off += share * scale * (sum_off + 8 * z.du);
					product_off += share * scale * (xhat_off + 8 * z.du * z.x);
				} else if (is_dgrad(t)) {
					*in_gradient(t, gpu, n * pixels + p, c) =
					    m.rstd * (scale * e.du + du_off + z.x * product_off +
						      e.xhat * product) +
					    d.rstd * m.rstd * (scale * z.du + du + z.x * product);
				} else if (is_total(t)) {
					double x = in[0][apart_at(t, 0, at)] - d.pivot;
					double mean_off = e.xhat + m.rstd * (d.rows + 1) * fabs(x);
					gpu[c] += m.rstd * (scale * sum_off + du_off + z.x * product_off +
							    mean_off * product) +
						  d.rstd * m.rstd * (scale * z.du + du + z.x * product);
				}
			}
}

static void norm_drift(const test_case *t, double *const *in, double *gpu)
{
	for (int n = 0; n < t->in[0].n; n++)
		for (int group = 0; group < t->attr.norm.groups; group++)
			add_group_drift(t, in, gpu, n, group);
}

/* Gradients of the channels of a concat's second part; and where what they add lies in wider rows. */
static void check_parts(test_case t, int variant)
{
	if (t.op == OTP_OP_norm_dgrad && variant == 3) {
		test_case whole = t;
		whole.build = build_with_parts;
		whole.attr.norm.scale = 1;
		run_case(whole);
	}
	t.attr.norm.begin = t.in[0].c / 2;
	t.attr.norm.count = t.in[0].c - t.attr.norm.begin;
	run_case(t);
	for (int i = 4; i < t.count; i++) {
		t.apart |= 1u << i;
		t.in[i].c *= 3;
		run_case(t);
	}
	t.attr.norm.begin = 0;
	t.attr.norm.count = t.in[0].c;
	if (t.apart)
		run_case(t);
}

/* `device`: silu(u) is off by 2 u |u|, silu'(u) by 2 u (1 + |u|), more than on the host (harness.h). */
static void check_norm(otp_op op, int inputs, double roundings, int order, double device)
{
	static const struct {
		otp_shape x;
		int groups;
	} sizes[] = {{{1, 1, 1, 4}, 2},	     {{2, 3, 5, 6}, 3},	    {{3, 4, 4, 40}, 8},
		     {{2, 5, 3, 64}, 1},     {{2, 4, 4, 72}, 4},    {{2, 33, 31, 6}, 3},
		     {{1, 32, 16, 24}, 6},   {{16, 64, 64, 32}, 8}, {{16, 64, 64, 16}, 4},
		     {{16, 16, 16, 128}, 32}};
	enum { SIZE_COUNT = sizeof sizes / sizeof *sizes, FIRST_LARGE = SIZE_COUNT - 3 };
	for (int k = 0; k < SIZE_COUNT; k++)
		for (int variant = 0; variant < 4; variant++) {
			otp_shape x = sizes[k].x, channels = otp_shape4(variant & 2 ? x.n : 1, 1, 1, x.c);
			test_case t = {.op = op,
				       .count = inputs,
				       .in = {x, channels, channels, x, x, x},
				       .bound = BY_RULE,
				       .roundings = roundings,
				       .rule = op == OTP_OP_norm_stats ? stats_magnitude : norm_magnitude,
				       .gpu_rule = op == OTP_OP_norm_stats ? stats_drift : norm_drift,
				       .device_roundings = device,
				       .build = build_norm,
				       .order = order,
				       .bench_only = k >= FIRST_LARGE,
				       .one_mixture = 1 + 4 * k + variant};
			t.attr.norm.groups = sizes[k].groups;
			t.attr.norm.eps = 1e-3f;
			t.attr.norm.silu = variant & 1;
			if (is_dgrad(&t)) {
				t.attr.norm.scale = SCALE;
				t.attr.norm.count = x.c;
			} else if (is_total(&t)) {
				t.attr.norm.scale = SCALE;
				t.in[4] = otp_shape4(1, 1, 1, x.c);
			}
			run_case(t);
			t.apart = 1; /* x in rows of a wider tensor */
			t.in[0].c *= 3;
			run_case(t);
			t.apart = 0;
			t.in[0].c = x.c;
			if (is_dgrad(&t)) {
				check_parts(t, variant);
			} else if ((op == OTP_OP_norm_sums || op == OTP_OP_norm_total) && variant == 3) {
				t.build = build_with_parts;
				run_case(t);
			}
		}
}

/* Statistics keep the accuracy of pairwise summation, at most 2^11 terms here. */
void check_norm_stats(void) { check_norm(OTP_OP_norm_stats, 1, 4 + 11, 0, 0); }
void check_norm_apply(void) { check_norm(OTP_OP_norm_apply, 3, 16, 1, 2); }
void check_norm_sums(void) { check_norm(OTP_OP_norm_sums, 4, 20, 0, 2); }
/* A product more; with every merge a sum. */
void check_norm_dgrad(void) { check_norm(OTP_OP_norm_dgrad, 4, 33, 0, 4); }
void check_norm_dgrad_merge(void) { check_norm(OTP_OP_norm_dgrad_merge, 5, 34, 0, 4); }
void check_norm_dgrad_merge_two(void) { check_norm(OTP_OP_norm_dgrad_merge_two, 6, 35, 0, 4); }
/* 20 of sums, 15 of each statistic; what is made of them is in double, and rounded once. */
void check_norm_total(void) { check_norm(OTP_OP_norm_total, 4, 51, 0, 4); }
void check_norm_total_merge(void) { check_norm(OTP_OP_norm_total_merge, 5, 51, 0, 4); }
