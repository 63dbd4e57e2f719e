/* refine: the best answers to a potential V as it stands, from near ones.
 *
 * An answer to x' is a y with little tau |x' - y|^2 - V(y). T's outputs are answers, but T follows V slowly,
 * and a potential that learns from answers which lag behind it learns something else: fine-tuned conjugates
 * (Amos 2023). Newton steps, because the objective bends many times as much across the target as along it.
 */
#ifndef OTP_REFINE_H
#define OTP_REFINE_H

#include "nn/networks.h"

typedef struct otp_refinement {
	otp_builder *potential; /* V, held fixed */
	const otp_arch *arch;
	float tau;
	otp_node *from; /* (n, h, w, c): x' */
	int steps;	/* of Newton's method, 1 or more */
} otp_refinement;

/* For each sample the best of what the steps reach from `count` starts, all like r->from, as graph: (n, h, w,
 * c). A step that makes a sample's answer worse is not taken there, and the next is a quarter of its own.
 * Costs 1 + 3 * steps gradients of V for each start. */
otp_node *otp_refine(const otp_refinement *r, otp_node *const *starts, int count);

#endif
