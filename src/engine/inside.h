/* inside: what the files of this folder share of an engine: its parts and what they are made of. */
#ifndef OTP_ENGINE_INSIDE_H
#define OTP_ENGINE_INSIDE_H

#include "engine/cut.h"
#include "engine/engine.h"
#include "engine/sharing.h"
#include "tree.h"

/* Losses of so many steps stay on the device; then they are fetched, whether anybody asks or not. */
enum { LOSS_SLOTS = 1024, SPAN_LOSSES = OTP_SPANS_OF_STEPS, SPAN_GUARD };

/* A gradient's norm so many times the median of the last ones of its kind of step is an explosion. */
#define EXPLOSION 100.0F

/* The programs of a step over `shard` samples: parts of one size take turns in them. */
typedef struct part_steps {
	int shard; /* 0: there are none */
	otp_step_graph step[OTP_STEP_KINDS];
	otp_program *program[OTP_STEP_KINDS];
	uint32_t *words;	       /* (shard, OTP_WORD_COUNT) */
	float *signs;		       /* (shard) */
	bool signs_of[OTP_STEP_KINDS]; /* that stand in the program for good */
} part_steps;

/* One row of gradients out of two, or a copy of one. */
typedef struct row_sum {
	otp_graph *graph;
	otp_program *program;
} row_sum;

/* What a worker computes its parts with. A part's gradients come to the worker's own row, its `desk`. Where a
 * block has several parts, sums that wait for others lie in rows below it, one a level of the tree. */
typedef struct maker {
	part_steps sizes[2];			     /* parts differ by one sample at most */
	int blocks, parts;			     /* that it computes in a step */
	int desk;				     /* its block's own row, if it has but one */
	row_sum add[OTP_NETWORKS][OTP_TREE_LEVELS];  /* desk += a level's row */
	row_sum keep[OTP_NETWORKS][OTP_TREE_LEVELS]; /* a level's row = desk */
	row_sum *deliver[OTP_NETWORKS]; /* by block: its row = desk; NULL where that is the desk */
	otp_shared shared;		/* by all its programs, of which one runs at a time */
} maker;

/* Of several parts, an update waits for all gradients, then takes three stages: each worker squares its share
 * of the columns, one worker judges the norm, each updates its share. One part alone updates in its step. */
typedef enum stage { STAGE_SQUARES, STAGE_GUARD, STAGE_ADAM, STAGES } stage;
typedef struct update {
	otp_graph *graph[STAGES];
	otp_node *hyper[STAGES];       /* NULL where a stage does not read it */
	otp_program **program[STAGES]; /* by worker */
} update;

struct otp_engine {
	otp_runtime *runtime;
	otp_engine_settings settings;
	otp_params *params[OTP_NETWORKS];
	void *spans[OTP_MAX_SPANS];
	otp_rounded rounded[OTP_MAX_SPANS]; /* the networks' weights, where programs round operands */
	otp_cut cut;
	int first_block, last_block; /* of the cut that this process computes */
	int workers, rows; /* of gradients: a row for each block, then those that makers need beside */
	maker *makers;	   /* by worker */
	update updates[OTP_STEP_KINDS];
	otp_losses losses; /* of steps before those in the ring */
	int recorded;	   /* steps in the ring */
	otp_step_kind kinds[LOSS_SLOTS];
	int64_t counts[LOSS_SLOTS];
	void *average;	/* where devices are linked: the whole of it, in process 0 */
	float *fetched; /* (parts, LOSS_SLOTS, OTP_REPORT_COUNT): the rings on the host */
	otp_refusal refusal;
	bool refused;
};

static inline otp_group *group_of(const otp_engine *e) { return e->runtime->group; }

/* Whether this process's device adds its gradients to those of the others'. */
static inline bool is_linked(const otp_engine *e) { return group_of(e) && e->runtime->backend->connect; }

/* Parts that this process computes. */
static inline int own_parts(const otp_engine *e)
{
	return otp_cut_part(&e->cut, e->last_block) - otp_cut_part(&e->cut, e->first_block);
}

static inline bool updates_in_step(const otp_engine *e)
{
	return own_parts(e) == 1 && (!group_of(e) || is_linked(e));
}

/* Columns of a network that this process updates. Where devices are linked, the rows of its state behind the
 * weights have no others. */
static inline int64_t first_column(const otp_engine *e, otp_network n)
{
	return otp_sharing_column(group_of(e), e->params[n]->elements, otp_group_rank(group_of(e)));
}

static inline int64_t own_columns(const otp_engine *e, otp_network n)
{
	int64_t end =
	    otp_sharing_column(group_of(e), e->params[n]->elements, otp_group_rank(group_of(e)) + 1);
	return end - first_column(e, n);
}

/* Rows of gradients that an update adds up. */
static inline int summed_rows(const otp_engine *e) { return is_linked(e) ? 1 : e->cut.blocks; }

/* Spans of gradients that are held in bfloat16: where a step makes those of pictures' networks in one part
 * and uses them up itself. Most are convolutions' weights', which cuDNN writes so anyway; others are rounded,
 * by at most 2^-9 of each, once. Parts' gradients are added up, in float32. */
unsigned otp_engine_narrow_spans(const otp_engine *e);
/* As which a span is stored. */
static inline otp_type otp_engine_span_type(const otp_engine *e, int span)
{
	return otp_engine_narrow_spans(e) >> span & 1 ? OTP_BF16 : OTP_F32;
}

/* The guard's span: the guard, then the squares of each network. */
static inline int64_t squares_base(const otp_engine *e, otp_network n)
{
	return n == 0 ? OTP_GUARD_VALUES : OTP_GUARD_VALUES + otp_norm_blocks(e->params[0]->elements);
}

/* How many workers take part. */
static inline int workers_of(const otp_engine *e, stage s) { return s == STAGE_GUARD ? 1 : e->workers; }

static inline part_steps *steps_of(maker *m, int shard)
{
	part_steps *size = &m->sizes[0];
	return size->shard == shard || !size->shard ? size : &m->sizes[1];
}

/* ---- makers.c: graphs of steps and updates ---- */

bool otp_engine_uses(const otp_engine_settings *s, otp_step_kind kind);
void otp_makers_describe(otp_engine *e, int worker);
void otp_makers_describe_update(otp_engine *e, otp_step_kind kind);

/* Calls visit(context, graph, program's place) for every program that a maker has. */
typedef void program_visit(void *context, otp_graph **graph, otp_program **program);

void otp_makers_visit(maker *m, program_visit *visit, void *context);
void otp_makers_visit_sums(maker *m, program_visit *visit, void *context);

/* What a block takes in a step: its parts one after another, each met by the sums that it completes. */
typedef struct block_work {
	void (*part)(void *context, maker *m, otp_step_kind kind, int index);
	void (*sum)(void *context, const row_sum *sum);
	void *context;
} block_work;

/* One block of a worker's, or all of all. */
void otp_makers_walk_block(const otp_engine *e, int worker, int which, otp_step_kind kind,
			   const block_work *work);
void otp_makers_walk(const otp_engine *e, otp_step_kind kind, const block_work *work);

/* ---- engine.c: an engine without and with memory ---- */

/* Parameters, shares of the batch and graphs: all that is known before there is memory. */
otp_engine *otp_engine_describe(otp_runtime *runtime, const otp_engine_settings *settings);
otp_program_options otp_engine_options(const otp_engine *e);
int otp_engine_picture_words(const otp_engine *e, otp_side side);
size_t otp_engine_data_elements(const otp_engine *e, otp_side side);
/* Whether the networks' weights are kept in bfloat16 too. */
bool otp_engine_keeps_rounded(const otp_engine *e);
size_t otp_engine_rounded_bytes(const otp_engine *e, otp_network n);
/* Where a process is not alone and its memory is the host's: a span's, as floats. */
float *otp_engine_floats(const otp_engine *e, int span);

/* ---- state.c ---- */

/* After weights came from elsewhere than adam. */
void otp_engine_round_weights(otp_engine *e, otp_network network);
/* Reports in the ring into sums, and what a step was refused for. */
void otp_engine_fetch_losses(otp_engine *e);

#endif
