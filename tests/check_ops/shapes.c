/* shapes: those that several families try. */
#include "check_ops/harness.h"

const otp_shape shapes[] = {{1, 1, 1, 1},   {3, 1, 1, 5},   {2, 3, 5, 7},    {1, 4, 4, 33},
			    {2, 6, 5, 100}, {1, 2, 5, 328}, {16, 64, 64, 32}};

void over_shapes(test_case t)
{
	for (int k = 0; k < SHAPE_COUNT; k++) {
		for (int i = 0; i < t.count; i++)
			t.in[i] = shapes[k];
		t.bench_only = k == LARGE;
		run_case(t);
	}
}

otp_shape shrunk(otp_shape s, int mask)
{
	return otp_shape4(mask & 1 ? 1 : s.n, mask & 2 ? 1 : s.h, mask & 4 ? 1 : s.w, mask & 8 ? 1 : s.c);
}

bool bench_mask(int mask)
{
	return mask == 0 || mask == 7 || mask == 6 || mask == 8 || mask == 14 || mask == 15 || mask == 1;
}
