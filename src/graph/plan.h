/* plan: where each node lives. Lifetimes in schedule order give offsets in one
 * arena; a node overwrites its first input where ops.def, lifetimes and types allow.
 * A reshape, and a slice whose elements lie together in its input, is a view: it
 * shares the memory of what it is of, and nothing computes it. So is a slice of channels
 * where all who read it can read rows that lie apart. And a concat of channels, where
 * both of its parts are written so: they lie in it from the start. Of one part that is
 * written so the other is copied to it.
 */
#ifndef OTP_PLAN_H
#define OTP_PLAN_H

#include "graph/graph.h"

typedef struct otp_place {
	bool live; /* reachable from an output */
	bool view; /* of its input, or a concat of what lies in it: nothing computes it */
	bool part; /* lies in the concat that reads it */
	int root;  /* id of the node whose memory this one shares (itself, what it is a view or part of) */
	int64_t within; /* bytes from the root's start */
	int step;	/* where rows lie apart: otp_tensor's */
	otp_type type;	/* as which it is stored */
	int64_t offset; /* bytes from the arena's start; -1: in a span */
	int64_t bytes;	/* rounded up */
	int dies_at;	/* id after which the memory is free (roots only); INT_MAX: kept */
	bool in_place;	/* overwrites input 0 */
	bool released;	/* the planner's own: memory already passed on */
} otp_place;

typedef struct otp_plan {
	otp_place *place; /* [graph size] */
	int node_count;
	const size_t *element_bytes; /* the backend's */
	bool rows_apart;	     /* the backend's */
	int64_t arena_bytes;	     /* all activations, inputs and readable outputs */
	int64_t kept_bytes;	     /* its first: inputs and readable outputs, which outlast a run */
	int64_t unshared_bytes;	     /* what it would be without reuse: for --plan */
} otp_plan;

/* types: how each node is stored, [graph size] (storage.h); a reshape as its input. element_bytes,
 * rows_apart: the backend's. Offsets are multiples of 64. */
otp_plan *otp_plan_new(const otp_graph *g, const otp_type *types, const size_t element_bytes[OTP_TYPE_COUNT],
		       bool rows_apart);
void otp_plan_free(otp_plan *plan);

#endif
