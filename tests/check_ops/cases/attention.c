/* attention: first order only, no potential contains it. */
#include "check_ops/harness.h"

#include <math.h>
#include <string.h>

enum { QUERY, KEY, VALUE };

/* An element of a token's query, key or value. */
static double part(const test_case *t, double *const *in, int plane, int token, int which, int channel)
{
	int c = t->in[0].c / 3;
	return in[0][((int64_t)plane * t->in[0].w + token) * 3 * c + which * c + channel];
}

/* What share p of a token's look falls on each token; returns 1 + S, S the largest sum of |scale q k| in the
 * row, with which p's relative error grows. */
static double find_shares(const test_case *t, double *const *in, int plane, int token, double *p)
{
	double scale = (double)t->attr.attention.scale, largest = -HUGE_VAL, size = 0, total = 0;
	for (int k = 0; k < t->in[0].w; k++) {
		double terms = 0;
		p[k] = 0;
		for (int c = 0; c < t->in[0].c / 3; c++) {
			double term =
			    scale * part(t, in, plane, token, QUERY, c) * part(t, in, plane, k, KEY, c);
			p[k] += term;
			terms += fabs(term);
		}
		largest = p[k] > largest ? p[k] : largest;
		size = terms > size ? terms : size;
	}
	for (int k = 0; k < t->in[0].w; k++)
		total += p[k] = exp(p[k] - largest);
	for (int k = 0; k < t->in[0].w; k++)
		p[k] /= total;
	return 1 + size;
}

/* y = sum p v */
static void add_row_of_attention(const test_case *t, double *const *in, int plane, int i, double *room,
				 double *magnitude)
{
	int tokens = t->in[0].w, channels = t->in[0].c / 3;
	double rough = find_shares(t, in, plane, i, room);
	for (int c = 0; c < channels; c++)
		for (int k = 0; k < tokens; k++)
			magnitude[((int64_t)plane * tokens + i) * channels + c] +=
			    rough * room[k] * fabs(part(t, in, plane, k, VALUE, c));
}

/* dv = sum p g, dq = sum ds k, dk = sum ds q, ds = scale p (dp - <p, dp>), dp = <g, v>: with absolute values
 * and a plus sign. */
static void add_row_of_attention_grad(const test_case *t, double *const *in, int plane, int i, double *room,
				      double *magnitude)
{
	int tokens = t->in[0].w, channels = t->in[0].c / 3;
	double *p = room, *dp = room + tokens, mean = 0, rough = find_shares(t, in, plane, i, p);
	const double *g = in[1] + ((int64_t)plane * tokens + i) * channels;
	for (int k = 0; k < tokens; k++) {
		dp[k] = 0;
		for (int c = 0; c < channels; c++)
			dp[k] += fabs(g[c] * part(t, in, plane, k, VALUE, c));
		mean += p[k] * dp[k];
	}
	for (int k = 0; k < tokens; k++)
		for (int c = 0; c < channels; c++) {
			double ds = rough * (double)t->attr.attention.scale * p[k] * (dp[k] + mean);
			double *of_i = magnitude + ((int64_t)plane * tokens + i) * 3 * channels + c;
			double *of_k = magnitude + ((int64_t)plane * tokens + k) * 3 * channels + c;
			of_i[QUERY * channels] += ds * fabs(part(t, in, plane, k, KEY, c));
			of_k[KEY * channels] += ds * fabs(part(t, in, plane, i, QUERY, c));
			of_k[VALUE * channels] += rough * p[k] * fabs(g[c]);
		}
}

static void attention_magnitude(const test_case *t, double *const *in, double *magnitude)
{
	bool grad = t->op == OTP_OP_attention_grad;
	int tokens = t->in[0].w;
	int64_t count = otp_shape_count(t->in[0]) / (grad ? 1 : 3);
	double *room = otp_calloc(2 * (size_t)tokens, sizeof *room);
	memset(magnitude, 0, (size_t)count * sizeof *magnitude);
	for (int plane = 0; plane < t->in[0].n * t->in[0].h; plane++)
		for (int i = 0; i < tokens; i++)
			(grad ? add_row_of_attention_grad : add_row_of_attention)(t, in, plane, i, room,
										  magnitude);
	otp_free(room);
}

/* Of c channels and t tokens. A score is off by D = (c + 2) u S, and by 4 u S when the row's largest has been
 * taken off and it is scaled; p, in which such errors count twice, by 2 D and, of exponentials, their sum and
 * the quotient, by (t + 9) u; y by t + 1 more. In the adjoint dp is off by c, <p, dp> by c + t and as p is,
 * ds by both and as p is, by 3 for its own operations, and what it is summed into by t. Exponentials on the
 * device are of -2 S at least, so p is off by 2 (4 + 2.35 2 S) u < 10 (1 + S) u more there, and ds by twice
 * that. */
static void check_attention_op(otp_op op)
{
	static const struct {
		int n, h, tokens, channels;
	} sizes[] = {{1, 1, 1, 1},  {2, 1, 5, 3},    {1, 2, 16, 8},   {2, 1, 20, 24},	{3, 1, 33, 7},
		     {1, 3, 4, 40}, {1, 1, 128, 64}, {1, 2, 256, 64}, {16, 1, 64, 128}, {16, 1, 256, 64}};
	for (int k = 0; k < 10; k++) { /* from the eighth on large enough for a flash kernel */
		int n = sizes[k].n, h = sizes[k].h, t = sizes[k].tokens, c = sizes[k].channels;
		bool grad = op == OTP_OP_attention_grad;
		test_case test = {.op = op,
				  .count = grad ? 2 : 1,
				  .in = {{n, h, t, 3 * c}, {n, h, t, c}},
				  .bound = BY_RULE,
				  .roundings = grad ? 6 * c + 4 * t + 45 : 2 * c + 2 * t + 22,
				  .device_roundings = grad ? 20 : 10,
				  .rule = attention_magnitude,
				  .order = grad || k >= 6 ? 0 : 1,
				  .bf16 = true,
				  .one_mixture = k == 6 || k == 7,
				  .bench_only = k >= 8,
				  .flops = (grad ? 10.0 : 4.0) * n * h * t * t * c};
		test.attr.attention.scale = 1 / sqrtf((float)c);
		run_case(test);
	}
}

void check_attention(void) { check_attention_op(OTP_OP_attention); }
void check_attention_grad(void) { check_attention_op(OTP_OP_attention_grad); }
