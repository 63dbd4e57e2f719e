/* resampling: by two, either way. */
#include "check_ops/harness.h"

/* At most sixteen products of a weight that took two roundings to make. */
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
				       .roundings = 18,
				       .order = 2,
				       .bench_only = k == 4};
			if (op == OTP_OP_down2) {
				t.in[0].h *= 2;
				t.in[0].w *= 2;
			}
			t.attr.resample.filter = filter ? OTP_FILTER_FIR : OTP_FILTER_BOX;
			t.attr.resample.gain = filter ? 0.7f : 1;
			run_case(t);
			t.apart = 1;
			t.in[0].c *= 3;
			run_case(t);
		}
}

void check_down2(void) { check_resample(OTP_OP_down2); }
void check_up2(void) { check_resample(OTP_OP_up2); }
