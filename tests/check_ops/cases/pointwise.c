/* pointwise: elementwise functions; add and mul with every broadcast. */
#include "check_ops/harness.h"

#include <math.h>

/* Every way in which two operands can broadcast, either or both, in any dimension. */
static void check_broadcast(otp_op op)
{
	test_case t = {.op = op, .count = 2, .bound = BY_ABS, .roundings = 1, .order = 2};
	const otp_shape whole[] = {{2, 3, 5, 17}, {2, 2, 3, 24}}, large = shapes[LARGE];
	for (int k = 0; k < 2; k++)
		for (int mask = 0; mask < 256; mask++) {
			t.in[0] = shrunk(whole[k], mask & 15);
			t.in[1] = shrunk(whole[k], mask >> 4);
			t.one_mixture = 1 + mask % 7;
			run_case(t);
		}
	t.bench_only = true;
	for (int mask = 0; mask < 16; mask++) {
		t.in[0] = large;
		t.in[1] = shrunk(large, mask);
		if (bench_mask(mask))
			run_case(t);
	}
}

/* Of operands of one shape whose rows lie apart: some of whole packs, aligned and not. */
static void over_rows(test_case t, unsigned apart)
{
	for (int k = 0; k < 4; k++) {
		otp_shape narrow = {2, 3, 5, k == 0 ? 32 : k == 1 ? 64 : k == 2 ? 16 : 5};
		t.apart = apart;
		for (int i = 0; i < t.count; i++) {
			t.in[i] = narrow;
			t.in[i].c *= apart >> i & 1 ? 3 : 1;
		}
		run_case(t);
	}
}

void check_add(void)
{
	check_broadcast(OTP_OP_add);
	for (unsigned apart = 1; apart < 4; apart++)
		over_rows((test_case){.op = OTP_OP_add, .count = 2, .bound = BY_ABS, .roundings = 1}, apart);
}
void check_mul(void) { check_broadcast(OTP_OP_mul); }

void check_affine(void)
{
	test_case t = {.op = OTP_OP_affine, .count = 1, .bound = BY_ABS, .roundings = 2, .order = 2};
	t.attr.affine.scale = 1.7f;
	t.attr.affine.offset = 0.3f;
	over_shapes(t);
	over_rows(t, 1);
}

void check_lrelu(void)
{
	test_case t = {
	    .op = OTP_OP_lrelu, .count = 1, .fill = {AWAY}, .bound = BY_OUT, .roundings = 1, .order = 2};
	t.attr.slope.slope = 0.2f;
	over_shapes(t);
}

void check_lrelu_gate(void)
{
	test_case t = {
	    .op = OTP_OP_lrelu_gate, .count = 2, .fill = {AWAY}, .bound = BY_OUT, .roundings = 1, .order = 2};
	t.attr.slope.slope = 0.2f;
	over_shapes(t);
}

void check_lrelu_gate_merge(void)
{
	test_case t = {.op = OTP_OP_lrelu_gate_merge,
		       .count = 3,
		       .fill = {AWAY},
		       .bound = BY_ABS,
		       .roundings = 3,
		       .order = 2};
	t.attr.gate.slope = 0.2f;
	t.attr.gate.scale = 0.7f;
	over_shapes(t);
}

/* The host's float exponential is within 2e-7, 3.4 u, of the true one; an addition, a division and a product
 * follow. The slope of log(1 + e) never amplifies. `device`: with a sigmoid's 7 + 2.35 |x| of the GPU's own,
 * without the quotient 4 + 2.35 |x| (harness.h). */
static void check_pointwise(otp_op op, double roundings, double device)
{
	test_case t = {.op = op,
		       .count = 1,
		       .fill = {NORMALISH},
		       .bound = BY_OUT,
		       .roundings = roundings,
		       .device_roundings = device,
		       .device_slope = 2.35,
		       .order = 2};
	over_shapes(t);
	t.in[0] = otp_shape4(2, 6, 5, 100);
	t.fill[0] = WIDE;
	t.order = 0;
	run_case(t);
}

void check_silu(void) { check_pointwise(OTP_OP_silu, 8, 7); }
void check_sigmoid(void) { check_pointwise(OTP_OP_sigmoid, 7, 7); }
void check_softplus(void) { check_pointwise(OTP_OP_softplus, 8, 4); }
void check_exp(void) { check_pointwise(OTP_OP_exp, 4, 4); }

/* The GPU's own is 4 u off. */
void check_rsqrt(void)
{
	over_shapes((test_case){.op = OTP_OP_rsqrt,
				.count = 1,
				.fill = {POSITIVE},
				.bound = BY_OUT,
				.roundings = 3,
				.device_roundings = 1,
				.order = 2});
}

/* g s (1 + x (1 - s)): s is off by 6 u s, so 1 - s by 6 u + u. Its slope in s is at most 1 + |x|: on the
 * device 2 u (1 + |x|) more. */
static void silu_gate_magnitude(const test_case *t, double *const *in, double *magnitude)
{
	for (int64_t i = 0; i < otp_shape_count(t->in[0]); i++)
		magnitude[i] = fabs(in[1][i]) * (1 + fabs(in[0][i]));
}

void check_silu_gate(void)
{
	over_shapes((test_case){.op = OTP_OP_silu_gate,
				.count = 2,
				.bound = BY_RULE,
				.roundings = 12,
				.device_roundings = 2,
				.rule = silu_gate_magnitude,
				.order = 2});
}

/* g d c with d = s (1 - s), c = 2 + x (1 - 2 s): d is off by 8 u s, c by (15 |x| + 2) u, and two products;
 * |c| <= 2 + |x|, d <= 1/4: in all at most (17.5 + 12.25 |x|) u |g|. Its slope in s is at most 2 + 1.5 |x|:
 * on the device (4 + 3 |x|) u |g| more. */
void check_silu_curve(void)
{
	over_shapes((test_case){.op = OTP_OP_silu_curve,
				.count = 2,
				.bound = BY_RULE,
				.roundings = 18,
				.device_roundings = 4,
				.rule = silu_gate_magnitude,
				.order = 2});
}
