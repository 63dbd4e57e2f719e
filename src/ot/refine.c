#include "ot/refine.h"
#include "nn/layers.h"

/* An answer, what it costs, and that cost's gradient. */
typedef struct answer {
	otp_node *y, *cost, *slope; /* slope like y; cost (n, 1, 1, 1) */
} answer;

static otp_node *inner(otp_node *a, otp_node *b)
{
	return otp_sum(otp_mul(a, b), otp_shape4(a->shape.n, 1, 1, 1));
}

/* a + share (b - a) */
static otp_node *between(otp_node *a, otp_node *b, otp_node *share)
{
	return otp_add(a, otp_mul(otp_layer_difference(b, a), share));
}

/* a / b for b >= 0, and 0 where both are. */
static otp_node *ratio(otp_node *a, otp_node *b)
{
	otp_node *root = otp_rsqrt(otp_affine(b, 1, 1e-20f));
	return otp_mul(a, otp_mul(root, root));
}

static answer answer_at(const otp_refinement *r, otp_node *y)
{
	otp_node *way = otp_layer_difference(y, r->from),
		 *value = otp_potential_build(r->potential, r->arch, y), *rise;
	otp_grad(otp_layer_total(value, 1), &y, 1, &rise);
	return (answer){y, otp_layer_difference(otp_affine(inner(way, way), r->tau, 0), value),
			otp_layer_difference(otp_affine(way, 2 * r->tau, 0), rise)};
}

/* 1 for a sample whose cost is less in `next` than in `now`, else 0. */
static otp_node *improves(const answer *now, const answer *next)
{
	otp_node *one = otp_affine(now->cost, 0, 1);
	return otp_lrelu_gate(otp_layer_difference(now->cost, next->cost), one, 0);
}

static answer better_of(otp_node *better, const answer *now, const answer *next)
{
	return (answer){between(now->y, next->y, better), between(now->cost, next->cost, better),
			between(now->slope, next->slope, better)};
}

/* Newton's way from an answer by two conjugate gradients, the Hessian's products from differences of slopes
 * (Nocedal, Wright 2006, section 7.1): two, for along and across the target. Where the cost bends less than
 * half as much as the square in it, or the wrong way, it counts as half. */
static otp_node *newton_way(const otp_refinement *r, const answer *at)
{
	const float ahead = 0.02f / r->tau; /* of a gradient: a twenty-fifth of the step where V is flat */
	otp_node *slope = at->slope, *direction = otp_affine(slope, -1, 0), *way = NULL;
	for (int k = 0; k < 2; k++) {
		otp_node *y = way ? otp_add(at->y, way) : at->y;
		answer there = answer_at(r, otp_add(y, otp_affine(direction, ahead, 0)));
		otp_node *bend = otp_affine(otp_layer_difference(there.slope, slope), 1 / ahead, 0);
		otp_node *least = otp_affine(inner(direction, direction), r->tau, 0);
		otp_node *curvature =
		    otp_add(least, otp_lrelu(otp_layer_difference(inner(direction, bend), least), 0));
		otp_node *length = ratio(otp_affine(inner(slope, direction), -1, 0), curvature);
		otp_node *step = otp_mul(direction, length);
		way = way ? otp_add(way, step) : step;
		otp_node *next = otp_add(slope, otp_mul(bend, length));
		otp_node *keep = ratio(inner(next, next), inner(slope, slope));
		direction = otp_layer_difference(otp_mul(direction, keep), next);
		slope = next;
	}
	return way;
}

static answer refine_from(const otp_refinement *r, otp_node *start)
{
	answer now = answer_at(r, start);
	otp_node *share = otp_affine(now.cost, 0, 1);
	for (int k = 0; k < r->steps; k++) {
		otp_node *way = newton_way(r, &now);
		answer next = answer_at(r, otp_add(now.y, otp_mul(way, share)));
		otp_node *better = improves(&now, &next);
		now = better_of(better, &now, &next);
		share = otp_mul(share, otp_affine(better, 0.75f, 0.25f));
	}
	return now;
}

otp_node *otp_refine(const otp_refinement *r, otp_node *const *starts, int count)
{
	answer best = refine_from(r, starts[0]);
	for (int i = 1; i < count; i++) {
		answer other = refine_from(r, starts[i]);
		best = better_of(improves(&best, &other), &best, &other);
	}
	return best.y;
}
