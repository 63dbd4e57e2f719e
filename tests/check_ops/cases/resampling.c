/* resampling: by two, either way. */
#include "check_ops/harness.h"

/* Behind what is copied into a concat of channels, and out of there again. */
static otp_node *build_as_part(const test_case *t, otp_node *const *in)
{
	otp_node *y = otp_node_new(t->op, t->attr, in, 1);
	otp_node *other = otp_node_new(t->op, t->attr, &(otp_node *){otp_affine(in[0], 2, 1)}, 1);
	otp_node *both = otp_concat(otp_affine(other, 1, 1), y, OTP_AXIS_C);
	return otp_slice(both, OTP_AXIS_C, y->shape.c, y->shape.c);
}

/* At most sixteen products of a weight that took two roundings to make, and a scale. */
static void check_resample(otp_op op)
{
	static const otp_shape small[] = {
	    {1, 1, 1, 1}, {2, 3, 5, 3}, {3, 4, 2, 20}, {1, 3, 2, 16}, {16, 32, 32, 64}};
	for (int k = 0; k < 5; k++)
		for (int filter = 0; filter < 2; filter++) {
			test_case t = {.op = op,
				       .count = 1,
				       .in = {small[k]},
				       .bound = BY_ABS,
				       .roundings = 19,
				       .order = 2,
				       .bench_only = k == 4};
			if (op == OTP_OP_down2) {
				t.in[0].h *= 2;
				t.in[0].w *= 2;
			}
			t.attr.resample.filter = filter ? OTP_FILTER_FIR : OTP_FILTER_BOX;
			t.attr.resample.gain = filter ? 0.7f : 1;
			t.attr.resample.scale = k % 2 ? 0.6f : 1;
			run_case(t);
			t.build = build_as_part;
			run_case(t);
			t.build = NULL;
			t.apart = 1;
			t.in[0].c *= 3;
			run_case(t);
		}
}

void check_down2(void) { check_resample(OTP_OP_down2); }
void check_up2(void) { check_resample(OTP_OP_up2); }

/* A sum more. What is added may lie in wider rows, and so may x. */
void check_up2_merge(void)
{
	static const otp_shape small[] = {
	    {1, 1, 1, 1}, {2, 3, 5, 3}, {3, 4, 2, 20}, {1, 3, 2, 16}, {16, 32, 32, 64}};
	for (int k = 0; k < 5; k++)
		for (int filter = 0; filter < 2; filter++) {
			otp_shape x = small[k], r = {x.n, 2 * x.h, 2 * x.w, x.c};
			test_case t = {.op = OTP_OP_up2_merge,
				       .count = 2,
				       .in = {x, r},
				       .bound = BY_ABS,
				       .roundings = 20,
				       .bench_only = k == 4};
			t.attr.resample.filter = filter ? OTP_FILTER_FIR : OTP_FILTER_BOX;
			t.attr.resample.gain = filter ? 0.7f : 1;
			t.attr.resample.scale = 0.6f;
			run_case(t);
			for (int i = 1; i >= 0; i--) {
				t.apart |= 1u << i;
				t.in[i].c *= 3;
				run_case(t);
			}
		}
}
