/* fold: broadcasting and reduction with as few dimensions as they need.
 * Neighbouring dimensions that behave alike become one, so that (n, h, w, c)
 * against (1, 1, 1, c) is two dimensions and equal shapes are one. */
#ifndef OTP_FOLD_H
#define OTP_FOLD_H

#include "graph/op.h"

/* Two operands over an output. Dimensions are right-aligned; unused ones have
 * count 1. Steps are in elements, 0 where an operand is repeated. */
typedef struct otp_fold {
	int64_t count[4], step_a[4], step_b[4];
} otp_fold;

static inline otp_fold otp_fold_make(otp_shape a, otp_shape b, otp_shape out)
{
	const int from[3][4] = {{a.n, a.h, a.w, a.c}, {b.n, b.h, b.w, b.c}, {out.n, out.h, out.w, out.c}};
	otp_fold f = {{1, 1, 1, 1}, {0}, {0}};
	int64_t stride_a = 1, stride_b = 1;
	int at = 4; /* the outermost dimension made so far */
	bool last_a = false, last_b = false;
	for (int d = 3; d >= 0; d--) {
		if (from[2][d] == 1)
			continue;
		bool has_a = from[0][d] > 1, has_b = from[1][d] > 1;
		if (at == 4 || has_a != last_a || has_b != last_b) {
			at--;
			f.step_a[at] = has_a ? stride_a : 0;
			f.step_b[at] = has_b ? stride_b : 0;
		}
		f.count[at] *= from[2][d];
		stride_a *= from[0][d];
		stride_b *= from[1][d];
		last_a = has_a;
		last_b = has_b;
	}
	return f;
}

/* The same of two tensors; where rows of either lie apart, both are of the output's shape. */
static inline otp_fold otp_fold_of(const otp_tensor *a, const otp_tensor *b, otp_shape out)
{
	if (!a->step && !b->step)
		return otp_fold_make(a->shape, b->shape, out);
	otp_fold f = {{1, 1, otp_shape_count(out) / out.c, out.c},
		      {0, 0, otp_row_step(a), 1},
		      {0, 0, otp_row_step(b), 1}};
	return f;
}

/* A small shape within a big one: dimensions alternate between kept (even
 * entries) and reduced (odd entries), the innermost kept one last. */
typedef struct otp_lanes {
	int64_t count[5];
} otp_lanes;

static inline otp_lanes otp_lanes_make(otp_shape small, otp_shape big)
{
	const int kept[4] = {small.n, small.h, small.w, small.c}, all[4] = {big.n, big.h, big.w, big.c};
	otp_lanes lanes = {{1, 1, 1, 1, 1}};
	int at = 4;
	for (int d = 3; d >= 0; d--) {
		if (all[d] == 1)
			continue;
		bool reduced = kept[d] == 1;
		if (reduced != (at % 2 == 1))
			at--;
		lanes.count[at] *= all[d];
	}
	return lanes;
}

#endif
