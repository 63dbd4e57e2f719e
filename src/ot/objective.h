/* objective: the max-min game of semi-dual neural optimal transport, as graph.
 *
 *   sup_V inf_T  E[tau |x' - T(x', z)|^2 - V(T(x', z))] + E[V(y)]
 *
 * (Choi, Choi, Kwon, ICML 2025: OTP; sigma = 0 is plain OTM; a nonlinear g
 * gives the unbalanced form, Choi, Choi, Kang 2023.) Two steps, each the graph
 * of one update's losses and gradients over a shard of the batch: sums over
 * the shard divided by the whole batch, so that shards add up.
 */
#ifndef OTP_OBJECTIVE_H
#define OTP_OBJECTIVE_H

#include "core/choice.h"
#include "nn/networks.h"

typedef enum otp_g { OTP_G_LINEAR, OTP_G_SOFTPLUS, OTP_G_KL } otp_g;

/* The game as a user names it: smoothed plan, plain map (sigma = 0), unbalanced with a softplus or the
 * exponential of the KL divergence as g. */
#define OTP_CHOICES_otp_formulation(X)                                                                       \
	X(OTP_FORMULATION_OTP, "otp")                                                                        \
	X(OTP_FORMULATION_OTM, "otm")                                                                        \
	X(OTP_FORMULATION_UOTM, "uotm")                                                                      \
	X(OTP_FORMULATION_UOTM_KL, "uotm-kl")
OTP_CHOICE(otp_formulation);

/* Spans of the graphs made here: each network's state and gradients, each side's data. */
enum {
	OTP_SPAN_STATES,
	OTP_SPAN_GRADS = OTP_SPAN_STATES + OTP_NETWORKS,
	OTP_SPAN_DATA = OTP_SPAN_GRADS + OTP_NETWORKS,
	OTP_SPANS_OF_STEPS = OTP_SPAN_DATA + OTP_SIDES
};

static inline int otp_state_span(otp_network network) { return OTP_SPAN_STATES + (int)network; }
static inline int otp_grads_span(otp_network network) { return OTP_SPAN_GRADS + (int)network; }
static inline int otp_data_span(otp_side side) { return OTP_SPAN_DATA + (int)side; }

/* A side's data set that lies in its span, 8-bit pictures, rows of words as op gather takes them. rows 0:
 * the side's samples come from the host instead. */
typedef struct otp_resident {
	int rows, stored; /* stored: channels of the bytes, the samples' or 1 */
} otp_resident;

/* "on the device" or "streamed". */
const char *otp_resident_text(otp_resident data);

typedef struct otp_objective {
	otp_arch arch;
	double tau;
	bool noise_pairs; /* eps comes with a sign for each sample */
	int refine; /* Newton steps from T's outputs to what the potential learns from; 0: T's outputs */
	bool cost_from_clean; /* ablation: the training cost from x, not x' */
	otp_g g;
	bool second_derivative; /* R1's gradient by differentiating twice, even where V is piecewise linear:
				   tests */
	otp_resident resident[OTP_SIDES]; /* steps only */
} otp_objective;

/* A sample's words: its Philox stream; its pick of a set on the device, 2 row + mirrored; and, of the first
 * sample, the slot of the losses. */
enum otp_word { OTP_WORD_STREAM, OTP_WORD_SOURCE = 4, OTP_WORD_TARGET, OTP_WORD_SLOT, OTP_WORD_COUNT = 8 };

static inline int otp_pick_word(otp_side side) { return OTP_WORD_SOURCE + (int)side; }

/* A step's numbers: adam's hyper tensor, and behind it what the graph itself reads. r1: weight of the R1
 * term, lazy factor included. */
enum otp_number { OTP_NUMBER_KEEP = OTP_HYPER_FREE, OTP_NUMBER_SIGMA, OTP_NUMBER_R1 };

/* Leaves that whoever runs a graph writes before the run, everything small in two of them; NULL where
 * unused. */
typedef struct otp_step_inputs {
	otp_node *x, *y;   /* (n, h, w, c): source and target shard, where they come from the host */
	otp_node *words;   /* (n, 1, 1, OTP_WORD_COUNT) u32 */
	otp_node *numbers; /* (1, 1, 1, OTP_HYPER_COUNT) */
	otp_node *eps;	   /* like x; only where noise is given instead of drawn */
	otp_node *signs;   /* (n, 1, 1, 1): factors on the drawn noise; only with noise_pairs */
} otp_step_inputs;

/* Columns of a step's `report` output, (1, 1, 1, OTP_REPORT_COUNT): shares of
 * batch means, so shards add up. */
enum otp_report_column {
	OTP_REPORT_LOSS, /* the minimised loss, without R1 */
	OTP_REPORT_COST, /* transport step: |x - T|^2, from the clean source; potential step: E|grad V|^2 */
	OTP_REPORT_FAKE, /* V(T) */
	OTP_REPORT_REAL, /* V(y), potential step only */
	OTP_REPORT_COUNT
};

/* Reports added up, by kind of step. */
typedef enum otp_step_kind {
	OTP_STEP_TRANSPORT,
	OTP_STEP_POTENTIAL,
	OTP_STEP_POTENTIAL_R1,
	OTP_STEP_KINDS
} otp_step_kind;

/* The network that a step updates. */
static inline otp_network otp_step_network(otp_step_kind kind)
{
	return kind == OTP_STEP_TRANSPORT ? OTP_TRANSPORT : OTP_POTENTIAL;
}

/* Values of a guard of these steps. */
enum { OTP_GUARD_VALUES = OTP_GUARD_HEAD + OTP_STEP_KINDS * OTP_GUARD_ROW };

typedef struct otp_losses {
	double count[OTP_STEP_KINDS], sum[OTP_STEP_KINDS][OTP_REPORT_COUNT];
} otp_losses;

typedef struct otp_step_graph {
	otp_graph *graph;
	otp_step_inputs in;
	otp_node *report;
} otp_step_graph;

/* shard: samples in this part; batch: in all; grads_base: where in the
 * gradient span this part writes. Parameters are discovered or found in t, v. */
otp_step_graph otp_transport_step(const otp_objective *o, otp_params *t, otp_params *v, int shard, int batch,
				  int64_t grads_base);
otp_step_graph otp_potential_step(const otp_objective *o, otp_params *t, otp_params *v, int shard, int batch,
				  int64_t grads_base, bool with_r1);

/* Samples of the plan: T(x', z) from parameters at `base` of the transport's state. */
typedef struct otp_sample_graph {
	otp_graph *graph;
	otp_step_inputs in;
	otp_node *y;
	otp_node *eps; /* the smoothing noise used, readable after the run; for diagnosis */
} otp_sample_graph;
/* given_noise: eps is the leaf in.eps instead of a draw from the streams. */
otp_sample_graph otp_sample_build(const otp_arch *arch, otp_params *t, int64_t base, int n, bool given_noise);
/* The layout of a generator's parameters, which follows from its architecture. otp_params_free it. */
otp_params *otp_sample_params(const otp_arch *arch);

#endif
