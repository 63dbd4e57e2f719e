/* plan: where each node lives. Lifetimes in schedule order give offsets in one
 * arena; a node overwrites its first input where ops.def and lifetimes allow.
 */
#ifndef OTP_PLAN_H
#define OTP_PLAN_H

#include "graph/graph.h"

typedef struct otp_place {
	bool live;        /* reachable from an output */
	int root;         /* id of the node whose memory this one shares (itself, or through reshape / in place) */
	int64_t offset;   /* elements from the arena's start; -1: in a span */
	int dies_at;      /* id after which the memory is free (roots only); INT_MAX: kept */
	bool in_place;    /* overwrites input 0 */
	bool released;    /* the planner's own: memory already passed on */
} otp_place;

typedef struct otp_plan {
	otp_place *place;       /* [graph size] */
	int node_count;
	int64_t arena_elements; /* all activations, inputs and readable outputs */
	int64_t unshared_elements; /* what it would be without reuse: for --plan */
} otp_plan;

/* Offsets are multiples of 16 elements. */
otp_plan *otp_plan_new(const otp_graph *g);
void otp_plan_free(otp_plan *plan);

#endif
