#include "engine/engine.h"
#include "core/memory.h"
#include "engine/cut.h"
#include "engine/sharing.h"
#include "tree.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

/* Losses of so many steps stay on the device; then they are fetched, whether anybody asks or not. */
enum { LOSS_SLOTS = 1024, SPAN_LOSSES = OTP_SPANS_OF_STEPS, SPAN_GUARD };

/* A gradient's norm so many times the median of the last ones of its kind of step is an explosion. */
static const float EXPLOSION = 100;

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
	float *fetched; /* (parts, LOSS_SLOTS, OTP_REPORT_COUNT): the rings on the host */
	otp_refusal refusal;
	bool refused;
};

int otp_engine_rows(otp_network network) { return network == OTP_TRANSPORT ? 4 : 3; }
otp_params *otp_engine_params(const otp_engine *e, otp_network network) { return e->params[network]; }
void *otp_engine_state(otp_engine *e, otp_network network) { return e->spans[otp_state_span(network)]; }

/* ---- building ---- */

/* The guard's span: the guard, then the squares of each network. */
static int64_t squares_base(const otp_engine *e, otp_network n)
{
	return n == 0 ? OTP_GUARD_VALUES : OTP_GUARD_VALUES + otp_norm_blocks(e->params[0]->elements);
}

static otp_node *view_guard(otp_graph *g)
{
	return otp_view(g, "guard", SPAN_GUARD, 0, otp_shape4(1, 1, 1, OTP_GUARD_VALUES));
}

static otp_node *view_grads(const otp_engine *e, otp_graph *g, otp_network n)
{
	int elements = (int)e->params[n]->elements;
	return otp_view(g, "grads", otp_grads_span(n), 0, otp_shape4(1, 1, e->cut.blocks, elements));
}

static void add_squares(const otp_engine *e, otp_graph *g, otp_network n)
{
	otp_output(otp_squares(view_grads(e, g, n)), SPAN_GUARD, squares_base(e, n));
}

/* guard' = guard(guard, squares, hyper), in place. */
static void add_guard(const otp_engine *e, otp_graph *g, otp_step_kind kind, otp_node *hyper)
{
	otp_network n = otp_step_network(kind);
	otp_node *squares = otp_view(g, "squares", SPAN_GUARD, squares_base(e, n),
				     otp_shape4(1, 1, 1, otp_norm_blocks(e->params[n]->elements)));
	otp_output(otp_guard(view_guard(g), squares, hyper, (int)kind, EXPLOSION), SPAN_GUARD, 0);
}

/* state' = adam(state, all blocks' gradients, hyper, guard), in place. */
static void add_adam(const otp_engine *e, otp_graph *g, otp_network n, otp_node *hyper)
{
	int elements = (int)e->params[n]->elements, span = otp_state_span(n);
	otp_attr attr = {.adam = {.ema = n == OTP_TRANSPORT,
				  .beta1 = (float)e->settings.beta1,
				  .beta2 = (float)e->settings.beta2,
				  .eps = 1e-8f}};
	otp_node *state = otp_view(g, "state", span, 0, otp_shape4(1, 1, otp_engine_rows(n), elements));
	otp_output(otp_adam(state, view_grads(e, g, n), hyper, view_guard(g), attr), span, 0);
}

/* The report goes into the slot that the first sample's words name: each part has LOSS_SLOTS of them. */
static void add_record(const otp_engine *e, otp_step_graph *step)
{
	otp_node *ring = otp_view(step->graph, "losses", SPAN_LOSSES, 0,
				  otp_shape4(1, 1, e->cut.parts * LOSS_SLOTS, OTP_REPORT_COUNT));
	otp_output(otp_record(ring, step->report, step->in.words, OTP_WORD_SLOT), SPAN_LOSSES, 0);
}

static bool used(const otp_engine_settings *s, otp_step_kind kind)
{
	return kind == OTP_STEP_TRANSPORT || (kind == OTP_STEP_POTENTIAL_R1 ? s->r1_used : s->plain_used);
}

static otp_group *group_of(const otp_engine *e) { return e->runtime->group; }

static bool updates_in_step(const otp_engine *e) { return e->cut.parts == 1 && !group_of(e); }

static void build_steps(otp_engine *e, const maker *m, part_steps *part)
{
	const otp_objective *o = &e->settings.objective;
	otp_params *t = e->params[OTP_TRANSPORT], *v = e->params[OTP_POTENTIAL];
	int batch = e->settings.batch;
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++) {
		if (!used(&e->settings, kind))
			continue;
		otp_network n = otp_step_network(kind);
		int64_t base = m->desk * e->params[n]->elements;
		otp_step_graph *step = &part->step[kind];
		*step = kind == OTP_STEP_TRANSPORT ? otp_transport_step(o, t, v, part->shard, batch, base)
						   : otp_potential_step(o, t, v, part->shard, batch, base,
									kind == OTP_STEP_POTENTIAL_R1);
		add_record(e, step);
		if (!updates_in_step(e))
			continue;
		add_squares(e, step->graph, n);
		add_guard(e, step->graph, kind, step->in.numbers);
		add_adam(e, step->graph, n, step->in.numbers);
	}
}

/* ---- a worker's parts ---- */

/* The blocks of a worker are its number and every e->workers-th after it. */
static int block_of(const otp_engine *e, int worker, int which)
{
	return e->first_block + worker + which * e->workers;
}

static otp_node *view_row(const otp_engine *e, otp_graph *g, otp_network n, int row)
{
	int64_t elements = e->params[n]->elements;
	return otp_view(g, "row", otp_grads_span(n), row * elements, otp_shape4(1, 1, 1, (int)elements));
}

static row_sum describe_sum(const otp_engine *e, otp_network n, int to, int from, bool adds)
{
	row_sum s = {.graph = otp_graph_new()};
	otp_node *x = view_row(e, s.graph, n, from);
	otp_output(adds ? otp_add(view_row(e, s.graph, n, to), x) : otp_copy(x), otp_grads_span(n),
		   to * e->params[n]->elements);
	return s;
}

/* The rows that a maker needs beside its blocks' follow those; sets its desk. */
static void lay_out_rows(otp_engine *e, maker *m, int worker)
{
	int begin = e->rows;
	m->desk = m->blocks == 1 ? block_of(e, worker, 0) : e->rows++;
	e->rows += e->cut.levels;
	for (otp_network n = 0; n < OTP_NETWORKS; n++) {
		for (int level = 0; level < e->cut.levels; level++) {
			int row = begin + (m->blocks > 1) + level;
			m->add[n][level] = describe_sum(e, n, m->desk, row, true);
			m->keep[n][level] = describe_sum(e, n, row, m->desk, false);
		}
		if (m->blocks == 1)
			continue;
		m->deliver[n] = otp_calloc((size_t)m->blocks, sizeof *m->deliver[n]);
		for (int k = 0; k < m->blocks; k++)
			m->deliver[n][k] = describe_sum(e, n, block_of(e, worker, k), m->desk, false);
	}
}

static part_steps *steps_of(maker *m, int shard)
{
	part_steps *size = &m->sizes[0];
	return size->shard == shard || !size->shard ? size : &m->sizes[1];
}

static void describe_maker(otp_engine *e, int worker)
{
	maker *m = &e->makers[worker];
	while (block_of(e, worker, m->blocks) < e->last_block)
		m->blocks++;
	if (!m->blocks)
		return;
	lay_out_rows(e, m, worker);
	for (int k = 0; k < m->blocks; k++) {
		int block = block_of(e, worker, k);
		for (int i = otp_cut_part(&e->cut, block); i < otp_cut_part(&e->cut, block + 1); i++) {
			int shard = otp_cut_shard(&e->cut, i);
			part_steps *size = steps_of(m, shard);
			m->parts++;
			if (size->shard)
				continue;
			size->shard = shard;
			size->signs = otp_calloc((size_t)shard, sizeof *size->signs);
			size->words = otp_calloc((size_t)shard * OTP_WORD_COUNT, sizeof *size->words);
			build_steps(e, m, size);
		}
	}
}

/* Calls visit(context, graph, program's place) for every program that a maker has. */
typedef void program_visit(void *context, otp_graph **graph, otp_program **program);

static void visit_sums(maker *m, program_visit *visit, void *context)
{
	for (otp_network n = 0; n < OTP_NETWORKS; n++) {
		for (int level = 0; level < OTP_TREE_LEVELS && m->add[n][level].graph; level++) {
			visit(context, &m->add[n][level].graph, &m->add[n][level].program);
			visit(context, &m->keep[n][level].graph, &m->keep[n][level].program);
		}
		for (int k = 0; k < m->blocks && m->deliver[n]; k++)
			visit(context, &m->deliver[n][k].graph, &m->deliver[n][k].program);
	}
}

static void visit_steps(part_steps *size, program_visit *visit, void *context)
{
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++)
		if (size->step[kind].graph)
			visit(context, &size->step[kind].graph, &size->program[kind]);
}

static void visit_maker(maker *m, program_visit *visit, void *context)
{
	visit_steps(&m->sizes[0], visit, context);
	visit_steps(&m->sizes[1], visit, context);
	visit_sums(m, visit, context);
}

/* What a block takes in a step: its parts one after another, each met by the sums that it completes. */
typedef struct block_work {
	void (*part)(void *context, maker *m, otp_step_kind kind, int index);
	void (*sum)(void *context, const row_sum *sum);
	void *context;
} block_work;

static void walk_block(const otp_engine *e, int worker, int which, otp_step_kind kind, const block_work *work)
{
	maker *m = &e->makers[worker];
	otp_network n = otp_step_network(kind);
	int block = block_of(e, worker, which), depth = 0;
	int first = otp_cut_part(&e->cut, block), parts = otp_cut_part(&e->cut, block + 1) - first;
	for (int i = 0; i < parts; i++) {
		work->part(work->context, m, kind, first + i);
		for (int merges = otp_tree_merges(i, parts); merges > 0; merges--)
			work->sum(work->context, &m->add[n][--depth]);
		if (i + 1 < parts)
			work->sum(work->context, &m->keep[n][depth++]);
	}
	if (m->deliver[n])
		work->sum(work->context, &m->deliver[n][which]);
}

static void walk_parts(const otp_engine *e, otp_step_kind kind, const block_work *work)
{
	for (int worker = 0; worker < e->workers; worker++)
		for (int k = 0; k < e->makers[worker].blocks; k++)
			walk_block(e, worker, k, kind, work);
}

/* ---- updates ---- */

static void build_update(otp_engine *e, otp_step_kind kind)
{
	update *u = &e->updates[kind];
	for (stage s = 0; s < STAGES; s++) {
		u->graph[s] = otp_graph_new();
		u->program[s] = otp_calloc((size_t)e->workers, sizeof *u->program[s]);
		if (s != STAGE_SQUARES)
			u->hyper[s] =
			    otp_input(u->graph[s], "hyper", OTP_F32, otp_shape4(1, 1, 1, OTP_HYPER_COUNT));
	}
	add_squares(e, u->graph[STAGE_SQUARES], otp_step_network(kind));
	add_guard(e, u->graph[STAGE_GUARD], kind, u->hyper[STAGE_GUARD]);
	add_adam(e, u->graph[STAGE_ADAM], otp_step_network(kind), u->hyper[STAGE_ADAM]);
}

/* How many workers take part. */
static int workers_of(const otp_engine *e, stage s) { return s == STAGE_GUARD ? 1 : e->workers; }

static int words_per_picture(const otp_engine *e, otp_side side)
{
	const otp_objective *o = &e->settings.objective;
	return otp_gather_words((int64_t)o->arch.h * o->arch.w * o->resident[side].stored);
}

/* Parameters are discovered by building the steps once, before any memory exists. */
static void discover_params(otp_engine *e)
{
	for (otp_network n = 0; n < OTP_NETWORKS; n++)
		e->params[n] = otp_params_new();
	otp_step_graph probe = otp_transport_step(&e->settings.objective, e->params[OTP_TRANSPORT],
						  e->params[OTP_POTENTIAL], 1, 1, 0);
	otp_graph_free(probe.graph);
	for (otp_network n = 0; n < OTP_NETWORKS; n++)
		otp_params_arrange(e->params[n]);
}

static size_t data_elements(const otp_engine *e, otp_side side)
{
	int rows = e->settings.objective.resident[side].rows;
	return rows ? (size_t)rows * (size_t)words_per_picture(e, side) : 0;
}

static bool keeps_rounded(const otp_engine *e)
{
	return e->runtime->precision == OTP_PRECISION_BF16 && e->runtime->backend->element_bytes[OTP_BF16];
}

static size_t rounded_bytes(const otp_engine *e, otp_network n)
{
	return (size_t)e->params[n]->elements * e->runtime->backend->element_bytes[OTP_BF16];
}

static const char *span_purpose(int span)
{
	if (span == SPAN_LOSSES || span == SPAN_GUARD)
		return "losses and norms";
	if (span >= otp_data_span(0) && span < otp_data_span(OTP_SIDES))
		return "the data set (--data-on-device off takes nothing)";
	if (span >= otp_grads_span(0) && span < otp_grads_span(OTP_NETWORKS))
		return "gradients (a smaller --width or --potential-width takes less)";
	return "weights and moments (a smaller --width or --potential-width takes less)";
}

static void *take(const otp_engine *e, const char *what, size_t bytes)
{
	otp_error err = {0};
	const otp_runtime *at = e->runtime;
	void *memory = at->backend->alloc(at->device, bytes);
	if (!memory) {
		otp_backend_fail_memory(at->backend, at->device, bytes, what, &err);
		otp_end(&err);
	}
	return memory;
}

static void allocate_spans(otp_engine *e)
{
	const otp_backend *b = e->runtime->backend;
	size_t elements[OTP_MAX_SPANS] = {0};
	for (otp_network n = 0; n < OTP_NETWORKS; n++) {
		size_t row = (size_t)e->params[n]->elements;
		elements[otp_state_span(n)] = row * (size_t)otp_engine_rows(n);
		elements[otp_grads_span(n)] = row * (size_t)e->rows;
	}
	for (otp_side side = 0; side < OTP_SIDES; side++)
		elements[otp_data_span(side)] = data_elements(e, side);
	for (otp_network n = 0; n < OTP_NETWORKS; n++)
		if (keeps_rounded(e))
			e->rounded[otp_state_span(n)] =
			    (otp_rounded){take(e, "weights rounded to bfloat16", rounded_bytes(e, n)),
					  e->params[n]->elements};
	elements[SPAN_LOSSES] = (size_t)e->cut.parts * LOSS_SLOTS * OTP_REPORT_COUNT;
	elements[SPAN_GUARD] = (size_t)squares_base(e, OTP_NETWORKS - 1) +
			       (size_t)otp_norm_blocks(e->params[OTP_NETWORKS - 1]->elements);
	for (int span = 0; span < OTP_MAX_SPANS; span++)
		if (elements[span])
			e->spans[span] =
			    take(e, span_purpose(span), elements[span] * b->element_bytes[OTP_F32]);
	e->fetched = otp_calloc(elements[SPAN_LOSSES], sizeof *e->fetched);
}

/* +1 and -1 in turn, by the place in the whole batch, of the part whose first sample is `first`. */
static void write_signs(part_steps *part, otp_step_kind kind, int first)
{
	const otp_node *leaf = part->step[kind].in.signs;
	if (!leaf)
		return;
	for (int i = 0; i < part->shard; i++)
		part->signs[i] = (first + i) % 2 ? -1 : 1;
	otp_program_write(part->program[kind], leaf, part->signs);
}

static otp_program_options program_options(const otp_engine *e)
{
	return (otp_program_options){
	    .precision = e->runtime->precision,
	    .rounded = e->rounded,
	    .purpose = "a training step's values (a smaller --batch or --image-size takes less)",
	};
}

static void build_program(void *context, otp_graph **graph, otp_program **program)
{
	const otp_engine *e = context;
	const otp_runtime *at = e->runtime;
	*program = otp_program_new(at->backend, at->device, *graph, e->spans, program_options(e));
}

/* Every worker builds what it will run, so that its memory is near it. */
static void build_work(void *argument, int worker)
{
	otp_engine *e = argument;
	const otp_runtime *at = e->runtime;
	visit_maker(&e->makers[worker], build_program, e);
	otp_program_options options = program_options(e);
	options.share = otp_group_rank(group_of(e)) * e->workers + worker;
	options.shares = otp_group_size(group_of(e)) * e->workers;
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++)
		for (stage s = 0; s < STAGES; s++) {
			const update *u = &e->updates[kind];
			if (u->graph[s] && worker < workers_of(e, s))
				u->program[s][worker] =
				    otp_program_new(at->backend, at->device, u->graph[s], e->spans, options);
		}
}

/* Parameters, shares of the batch and graphs: all that is known before there is memory. */
static otp_engine *describe(otp_runtime *runtime, const otp_engine_settings *settings)
{
	otp_engine *e = otp_calloc(1, sizeof *e);
	e->runtime = runtime;
	e->settings = *settings;
	e->workers = otp_pool_workers(runtime->pool);
	otp_group *group = runtime->group;
	int all = group ? otp_group_workers_before(group, otp_group_size(group)) : e->workers;
	e->cut = otp_cut_make(settings->batch, settings->parts, all);
	e->first_block = otp_sharing_block(group, &e->cut, otp_group_rank(group));
	e->last_block = otp_sharing_block(group, &e->cut, otp_group_rank(group) + 1);
	e->rows = e->cut.blocks;
	e->makers = otp_calloc((size_t)e->workers, sizeof *e->makers);
	discover_params(e);
	for (int worker = 0; worker < e->workers; worker++)
		describe_maker(e, worker);
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS && !updates_in_step(e); kind++)
		if (used(settings, kind))
			build_update(e, kind);
	return e;
}

/* Where a process is not alone: the memory of a span as floats. */
static float *floats(const otp_engine *e, int span)
{
	OTP_ASSERT(e->runtime->backend->memory_free(e->runtime->device) == 0,
		   "processes share the host's memory alone");
	return e->spans[span];
}

otp_engine *otp_engine_new(otp_runtime *runtime, const otp_engine_settings *settings)
{
	otp_engine *e = describe(runtime, settings);
	allocate_spans(e);
	otp_pool_run(runtime->pool, build_work, e);
	return e;
}

static void free_program(void *context, otp_graph **graph, otp_program **program)
{
	(void)context;
	otp_program_free(*program);
	otp_graph_free(*graph);
}

static void free_maker(maker *m)
{
	visit_maker(m, free_program, NULL);
	for (int i = 0; i < 2; i++) {
		otp_free(m->sizes[i].words);
		otp_free(m->sizes[i].signs);
	}
	for (otp_network n = 0; n < OTP_NETWORKS; n++)
		otp_free(m->deliver[n]);
}

static void free_update(update *u, int workers)
{
	for (stage s = 0; s < STAGES && u->graph[s]; s++) {
		for (int i = 0; i < workers; i++)
			otp_program_free(u->program[s][i]);
		otp_free(u->program[s]);
		otp_graph_free(u->graph[s]);
	}
}

void otp_engine_free(otp_engine *e)
{
	if (!e)
		return;
	for (int i = 0; i < e->workers; i++)
		free_maker(&e->makers[i]);
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++)
		free_update(&e->updates[kind], e->workers);
	for (int span = 0; span < OTP_MAX_SPANS; span++) {
		e->runtime->backend->release(e->runtime->device, e->spans[span]);
		e->runtime->backend->release(e->runtime->device, e->rounded[span].memory);
	}
	for (otp_network n = 0; n < OTP_NETWORKS; n++)
		otp_params_free(e->params[n]);
	otp_free(e->makers);
	otp_free(e->fetched);
	otp_free(e);
}

/* ---- state ---- */

void otp_engine_init(otp_engine *e, uint64_t seed)
{
	for (otp_network n = 0; n < OTP_NETWORKS; n++) {
		int64_t elements = e->params[n]->elements;
		float *state = otp_calloc((size_t)(elements * otp_engine_rows(n)), sizeof *state);
		otp_params_init(e->params[n], seed, n, state + OTP_ROW_PARAM * elements);
		if (otp_engine_rows(n) > OTP_ROW_EMA)
			memcpy(state + OTP_ROW_EMA * elements, state, (size_t)elements * sizeof *state);
		otp_engine_write(e, n, state);
		otp_free(state);
	}
	otp_engine_set_guard(e, NULL);
}

void otp_engine_read(otp_engine *e, otp_network network, float *state)
{
	const otp_runtime *at = e->runtime;
	at->backend->wait(at->device);
	at->backend->download(at->device, state, OTP_F32, otp_engine_state(e, network),
			      e->params[network]->elements * otp_engine_rows(network));
}

/* After weights came from elsewhere than adam. */
static void round_weights(otp_engine *e, otp_network network)
{
	const otp_runtime *at = e->runtime;
	otp_rounded rounded = e->rounded[otp_state_span(network)];
	if (rounded.memory)
		at->backend->upload(at->device, rounded.memory, OTP_BF16, floats(e, otp_state_span(network)),
				    rounded.elements);
}

/* All weights, and the own columns of what is kept beside them. */
static void write_own(otp_engine *e, otp_network network, const float *state)
{
	const otp_group *g = group_of(e);
	int64_t columns = e->params[network]->elements,
		at = otp_sharing_column(g, columns, otp_group_rank(g));
	int64_t count = otp_sharing_column(g, columns, otp_group_rank(g) + 1) - at;
	float *own = floats(e, otp_state_span(network));
	memcpy(own, state, (size_t)columns * sizeof *own);
	for (int row = 1; row < otp_engine_rows(network); row++)
		memcpy(own + row * columns + at, state + row * columns + at, (size_t)count * sizeof *own);
	round_weights(e, network);
}

void otp_engine_collect(otp_engine *e, otp_network network, float *state)
{
	if (!group_of(e)) {
		otp_engine_read(e, network, state);
		return;
	}
	int64_t columns = e->params[network]->elements;
	const float *own = floats(e, otp_state_span(network));
	if (state)
		memcpy(state, own, (size_t)columns * sizeof *own);
	otp_sharing_collect(group_of(e), own + columns, state ? state + columns : NULL,
			    otp_engine_rows(network) - 1, columns);
}

void otp_engine_deal(otp_engine *e, otp_network network, const float *state)
{
	if (!group_of(e)) {
		otp_engine_write(e, network, state);
		return;
	}
	int64_t columns = e->params[network]->elements;
	float *own = floats(e, otp_state_span(network));
	if (state)
		memcpy(own, state, (size_t)columns * sizeof *own);
	otp_group_broadcast(group_of(e), own, (size_t)columns * sizeof *own);
	otp_sharing_deal(group_of(e), state ? state + columns : NULL, own + columns,
			 otp_engine_rows(network) - 1, columns);
	round_weights(e, network);
}

void otp_engine_collect_average(otp_engine *e)
{
	if (!group_of(e))
		return;
	int64_t columns = e->params[OTP_TRANSPORT]->elements;
	float *average = floats(e, otp_state_span(OTP_TRANSPORT)) + OTP_ROW_EMA * columns;
	otp_sharing_collect(group_of(e), average, average, 1, columns);
}

void otp_engine_slice(const otp_engine *e, int *first, int *count)
{
	*first = otp_cut_sample(&e->cut, otp_cut_part(&e->cut, e->first_block));
	*count = otp_cut_sample(&e->cut, otp_cut_part(&e->cut, e->last_block)) - *first;
}

void otp_engine_write(otp_engine *e, otp_network network, const float *state)
{
	if (group_of(e)) {
		write_own(e, network, state);
		return;
	}
	const otp_runtime *at = e->runtime;
	otp_rounded rounded = e->rounded[otp_state_span(network)];
	at->backend->upload(at->device, otp_engine_state(e, network), OTP_F32, state,
			    e->params[network]->elements * otp_engine_rows(network));
	if (rounded.memory)
		at->backend->upload(at->device, rounded.memory, OTP_BF16,
				    state + OTP_ROW_PARAM * e->params[network]->elements, rounded.elements);
	at->backend->wait(at->device);
}

void otp_engine_load(otp_engine *e, otp_side side, int64_t first, int64_t count, const uint32_t *words)
{
	const otp_runtime *at = e->runtime;
	int64_t each = words_per_picture(e, side);
	char *data = e->spans[otp_data_span(side)];
	at->backend->upload(at->device, data + (size_t)(first * each) * at->backend->element_bytes[OTP_F32],
			    OTP_U32, words, count * each);
}

void otp_engine_wait(otp_engine *e) { e->runtime->backend->wait(e->runtime->device); }

/* ---- losses ---- */

static void download_guard(otp_engine *e, float *guard, int values)
{
	const otp_runtime *at = e->runtime;
	at->backend->download(at->device, guard, OTP_F32, e->spans[SPAN_GUARD], values);
}

/* Steps in the ring that were updates: all but the first that was refused, and those after it. */
static int find_refused(otp_engine *e)
{
	float guard[OTP_GUARD_HEAD];
	if (e->refused)
		return 0;
	download_guard(e, guard, OTP_GUARD_HEAD);
	int slot = (int)guard[OTP_GUARD_STOPPED] - 1;
	if (slot < 0)
		return e->recorded;
	e->refused = true;
	float bound = guard[OTP_GUARD_BOUND];
	e->refusal = (otp_refusal){e->kinds[slot], e->counts[slot], (double)guard[OTP_GUARD_NORM],
				   bound < FLT_MAX ? (double)(bound / EXPLOSION) : 0};
	return slot;
}

static void fetch_losses(otp_engine *e)
{
	const otp_runtime *at = e->runtime;
	const int64_t ring = (int64_t)LOSS_SLOTS * OTP_REPORT_COUNT;
	at->backend->wait(at->device);
	int first = otp_cut_part(&e->cut, e->first_block), last = otp_cut_part(&e->cut, e->last_block);
	for (int i = first; i < last; i++)
		at->backend->download(at->device, e->fetched + i * ring, OTP_F32,
				      (char *)e->spans[SPAN_LOSSES] +
					  (size_t)(i * ring) * at->backend->element_bytes[OTP_F32],
				      (int64_t)e->recorded * OTP_REPORT_COUNT);
	otp_sharing_reports(group_of(e), &e->cut, e->fetched, ring);
	int updates = find_refused(e);
	for (int slot = 0; slot < updates; slot++) {
		otp_step_kind kind = e->kinds[slot];
		e->losses.count[kind]++;
		for (int k = 0; k < OTP_REPORT_COUNT; k++) {
			double mean = 0;
			for (int i = 0; i < e->cut.parts; i++)
				mean += (double)e->fetched[i * ring + slot * OTP_REPORT_COUNT + k];
			e->losses.sum[kind][k] += mean;
		}
	}
	e->recorded = 0;
}

otp_losses otp_engine_losses(otp_engine *e)
{
	if (e->recorded)
		fetch_losses(e);
	return e->losses;
}

void otp_engine_set_losses(otp_engine *e, const otp_losses *losses)
{
	e->recorded = 0;
	e->losses = losses ? *losses : (otp_losses){0};
}

const otp_refusal *otp_engine_refusal(const otp_engine *e) { return e->refused ? &e->refusal : NULL; }

void otp_engine_read_guard(otp_engine *e, float *guard)
{
	otp_engine_wait(e);
	download_guard(e, guard, OTP_GUARD_VALUES);
}

void otp_engine_set_guard(otp_engine *e, const float *guard)
{
	const otp_runtime *at = e->runtime;
	const float fresh[OTP_GUARD_VALUES] = {0};
	e->refused = false;
	at->backend->upload(at->device, e->spans[SPAN_GUARD], OTP_F32, guard ? guard : fresh,
			    OTP_GUARD_VALUES);
}

/* One value of every block, `stride` apart, added as adam adds them. */
static float sum_column(const float *values, int64_t stride, int blocks)
{
	float stack[OTP_TREE_LEVELS], sum = values[0];
	int depth = 0;
	for (int i = 1; i < blocks; i++) {
		stack[depth++] = sum;
		sum = values[i * stride];
		for (int merges = otp_tree_merges(i, blocks); merges > 0; merges--)
			sum = stack[--depth] + sum;
	}
	return sum;
}

void otp_engine_read_grads(otp_engine *e, otp_network network, float *grads)
{
	const otp_runtime *at = e->runtime;
	int64_t elements = e->params[network]->elements;
	int blocks = e->cut.blocks;
	float *rows = otp_calloc((size_t)(elements * blocks), sizeof *rows);
	at->backend->wait(at->device);
	at->backend->download(at->device, rows, OTP_F32, e->spans[otp_grads_span(network)],
			      elements * blocks);
	for (int64_t k = 0; k < elements; k++)
		grads[k] = sum_column(rows + k, elements, blocks);
	otp_free(rows);
}

/* ---- steps ---- */

typedef struct step_task {
	otp_engine *e;
	otp_step_kind kind;
	otp_batch x, y;
	const otp_update *u;
	int slice; /* the first sample that is this process's */
	float numbers[OTP_HYPER_COUNT];
} step_task;

static void fill_words(const step_task *task, part_steps *part, int index)
{
	const otp_update *u = task->u;
	int noises_apart = task->e->settings.objective.noise_pairs ? 2 : 1;
	for (int i = 0; i < part->shard; i++) {
		uint32_t *words = part->words + (size_t)i * OTP_WORD_COUNT;
		int place = otp_cut_sample(&task->e->cut, index) + i;
		otp_stream s = otp_stream_make(u->seed, (uint32_t)(place / noises_apart), u->draw);
		memcpy(words + OTP_WORD_STREAM, s.word, sizeof s.word);
		words[OTP_WORD_SOURCE] = task->x.picks ? task->x.picks[place] : 0;
		words[OTP_WORD_TARGET] = task->y.picks ? task->y.picks[place] : 0;
		words[OTP_WORD_SLOT] = (uint32_t)(index * LOSS_SLOTS + task->e->recorded);
	}
}

static void write_samples(const step_task *task, otp_program *p, const otp_node *leaf, otp_batch b, int first)
{
	if (!leaf)
		return;
	OTP_ASSERT(b.values, "a step's samples %s are on the host, but none were given", leaf->name);
	first -= task->slice; /* what is on the host are this process's samples alone */
	otp_program_write(p, leaf, b.values + first * (otp_shape_count(leaf->shape) / leaf->shape.n));
}

/* Part `index` of the batch, its gradients to the maker's desk. */
static void run_part(void *context, maker *m, otp_step_kind kind, int index)
{
	const step_task *task = context;
	const otp_cut *cut = &task->e->cut;
	part_steps *part = steps_of(m, otp_cut_shard(cut, index));
	const otp_step_inputs *in = &part->step[kind].in;
	otp_program *p = part->program[kind];
	int first = otp_cut_sample(cut, index);
	fill_words(task, part, index);
	otp_program_write(p, in->words, part->words);
	otp_program_write(p, in->numbers, task->numbers);
	write_samples(task, p, in->x, task->x, first);
	write_samples(task, p, in->y, task->y, first);
	if (!part->signs_of[kind])
		write_signs(part, kind, first);
	part->signs_of[kind] = m->parts == 1; /* of one part they stay */
	otp_program_run(p);
}

static void run_sum(void *context, const row_sum *sum)
{
	(void)context;
	otp_program_run(sum->program);
}

static void run_step(void *argument, int worker)
{
	step_task task = *(const step_task *)argument;
	const block_work work = {run_part, run_sum, &task};
	for (int k = 0; k < task.e->makers[worker].blocks; k++)
		walk_block(task.e, worker, k, task.kind, &work);
}

static double power(double base, int64_t exponent)
{
	double result = 1;
	for (; exponent; exponent >>= 1, base *= base)
		if (exponent & 1)
			result *= base;
	return result;
}

static void fill_numbers(const otp_engine_settings *s, const otp_update *u, int slot, float *numbers)
{
	numbers[OTP_HYPER_CLIP] = (float)s->clip_norm;
	numbers[OTP_HYPER_SLOT] = (float)slot;
	numbers[OTP_HYPER_RATE] = (float)u->rate;
	numbers[OTP_HYPER_CORRECT1] = (float)(1 / (1 - power(s->beta1, u->count)));
	numbers[OTP_HYPER_CORRECT2] = (float)(1 / (1 - power(s->beta2, u->count)));
	numbers[OTP_HYPER_EMA] = (float)u->ema;
	numbers[OTP_NUMBER_KEEP] = (float)u->keep;
	numbers[OTP_NUMBER_SIGMA] = (float)u->sigma;
	numbers[OTP_NUMBER_R1] = (float)u->r1;
}

static void run_stage(const step_task *task, stage s, int worker)
{
	const update *u = &task->e->updates[task->kind];
	otp_program *p = u->program[s][worker];
	if (u->hyper[s])
		otp_program_write(p, u->hyper[s], task->numbers);
	otp_program_run(p);
}

static void run_squares(void *argument, int worker) { run_stage(argument, STAGE_SQUARES, worker); }
static void run_adam(void *argument, int worker) { run_stage(argument, STAGE_ADAM, worker); }

static void update_by_all(const step_task *task)
{
	otp_pool *pool = task->e->runtime->pool;
	step_task shared = *task;
	otp_engine *e = task->e;
	otp_network n = otp_step_network(task->kind);
	int64_t columns = e->params[n]->elements;
	if (group_of(e))
		otp_sharing_rows(group_of(e), &e->cut, floats(e, otp_grads_span(n)), columns);
	otp_pool_run(pool, run_squares, &shared);
	if (group_of(e))
		otp_sharing_squares(group_of(e), floats(e, SPAN_GUARD) + squares_base(e, n), columns);
	run_stage(task, STAGE_GUARD, 0);
	otp_pool_run(pool, run_adam, &shared);
	if (group_of(e)) {
		otp_sharing_columns(group_of(e), floats(e, otp_state_span(n)), columns);
		round_weights(e, n);
	}
}

static void step(step_task task)
{
	otp_engine *e = task.e;
	OTP_ASSERT(used(&e->settings, task.kind), "a potential step of a kind that was not announced");
	if (e->recorded == LOSS_SLOTS)
		fetch_losses(e);
	fill_numbers(&e->settings, task.u, e->recorded, task.numbers);
	int count;
	otp_engine_slice(e, &task.slice, &count);
	otp_pool_run(e->runtime->pool, run_step, &task);
	if (!updates_in_step(e))
		update_by_all(&task);
	e->kinds[e->recorded] = task.kind;
	e->counts[e->recorded++] = task.u->count;
}

void otp_engine_transport_step(otp_engine *e, otp_batch x, const otp_update *u)
{
	step((step_task){.e = e, .kind = OTP_STEP_TRANSPORT, .x = x, .u = u});
}

void otp_engine_potential_step(otp_engine *e, otp_batch x, otp_batch y, const otp_update *u)
{
	otp_step_kind kind = u->r1 > 0 ? OTP_STEP_POTENTIAL_R1 : OTP_STEP_POTENTIAL;
	step((step_task){.e = e, .kind = kind, .x = x, .y = y, .u = u});
}

/* ---- measuring ---- */

static void add_program(otp_engine_size *size, otp_program_size p)
{
	size->arena_bytes += p.arena_bytes;
	size->scratch_bytes += p.scratch_bytes;
	size->unshared_bytes += p.unshared_bytes;
	size->host_bytes += p.host_bytes;
	size->largest = p.largest > size->largest ? p.largest : size->largest;
	size->scratch_expected |= p.scratch_expected;
	size->programs++;
	size->calls += p.calls;
}

/* Columns of a network that this process updates. */
static size_t own_columns(const otp_engine *e, otp_network n)
{
	const otp_group *g = group_of(e);
	int rank = otp_group_rank(g);
	int64_t columns = e->params[n]->elements;
	return (size_t)(otp_sharing_column(g, columns, rank + 1) - otp_sharing_column(g, columns, rank));
}

static otp_engine_size measure_spans(const otp_engine *e)
{
	otp_engine_size size = {0};
	size_t element = e->runtime->backend->element_bytes[OTP_F32];
	for (otp_network n = 0; n < OTP_NETWORKS; n++) {
		size_t row = (size_t)e->params[n]->elements * element;
		size.elements[n] = e->params[n]->elements;
		size.parameters[n] = e->params[n]->trainable;
		size_t own = own_columns(e, n) * element;
		bool draws = otp_group_leads(group_of(e)); /* from the average */
		size.moment_bytes += 2 * own;
		size.weight_bytes += row + (n == OTP_TRANSPORT ? (draws ? row : own) : 0);
		size.weight_bytes += keeps_rounded(e) ? rounded_bytes(e, n) : 0;
		int made = e->last_block - e->first_block + e->rows - e->cut.blocks;
		size.gradient_bytes +=
		    row * (size_t)made + own * (size_t)(e->cut.blocks - e->last_block + e->first_block);
	}
	for (otp_side side = 0; side < OTP_SIDES; side++)
		size.data_bytes += data_elements(e, side) * element;
	return size;
}

static void measure_program(void *context, otp_graph **graph, otp_program **program)
{
	(void)graph;
	add_program(context, otp_program_measure(*program));
}

otp_engine_size otp_engine_measure(const otp_engine *e)
{
	otp_engine_size size = measure_spans(e);
	for (int i = 0; i < e->workers; i++)
		visit_maker(&e->makers[i], measure_program, &size);
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++)
		for (stage s = 0; s < STAGES && e->updates[kind].graph[s]; s++)
			for (int i = 0; i < workers_of(e, s); i++)
				add_program(&size, otp_program_measure(e->updates[kind].program[s][i]));
	return size;
}

size_t otp_engine_bytes(const otp_engine_size *s)
{
	return s->weight_bytes + s->moment_bytes + s->gradient_bytes + s->data_bytes + s->arena_bytes +
	       s->scratch_bytes;
}

static otp_program_size plan_program(const otp_engine *e, const otp_graph *g)
{
	return otp_program_plan(e->runtime->backend, e->runtime->device, g, program_options(e));
}

/* Programs of steps over as many samples are of one size, and so are all sums of rows: measured once. */
typedef struct planner {
	const otp_engine *e;
	otp_engine_size *size;
	otp_program_size sum;
	bool summed;
} planner;

/* Any maker's; NULL: no part is of so many samples. */
static const part_steps *find_steps(const otp_engine *e, int shard)
{
	for (int i = 0; i < e->workers; i++)
		for (int k = 0; k < 2; k++)
			if (e->makers[i].sizes[k].shard == shard)
				return &e->makers[i].sizes[k];
	return NULL;
}

static void plan_steps(planner *p, const part_steps *part)
{
	for (otp_step_kind kind = 0; part && kind < OTP_STEP_KINDS; kind++) {
		if (!part->step[kind].graph)
			continue;
		otp_program_size one = plan_program(p->e, part->step[kind].graph);
		for (int i = 0; i < p->e->workers; i++)
			for (int k = 0; k < 2; k++)
				if (p->e->makers[i].sizes[k].shard == part->shard)
					add_program(p->size, one);
	}
}

static void plan_sum(void *context, otp_graph **graph, otp_program **program)
{
	planner *p = context;
	(void)program;
	if (!p->summed)
		p->sum = plan_program(p->e, *graph);
	p->summed = true;
	add_program(p->size, p->sum);
}

static void plan_programs(const otp_engine *e, otp_engine_size *size)
{
	planner p = {.e = e, .size = size};
	int least = e->settings.batch / e->cut.parts;
	for (int shard = least; shard <= least + 1; shard++)
		plan_steps(&p, find_steps(e, shard));
	for (int i = 0; i < e->workers; i++)
		visit_sums(&e->makers[i], plan_sum, &p);
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++)
		for (stage s = 0; s < STAGES && e->updates[kind].graph[s]; s++) {
			otp_program_size one = plan_program(e, e->updates[kind].graph[s]);
			for (int i = 0; i < workers_of(e, s); i++)
				add_program(size, one);
		}
}

/* That there will be copies of the weights, for programs that are not made. */
static void promise_rounded(otp_engine *e, bool promised)
{
	for (otp_network n = 0; n < OTP_NETWORKS && keeps_rounded(e); n++)
		e->rounded[otp_state_span(n)] =
		    promised ? (otp_rounded){e, e->params[n]->elements} : (otp_rounded){0};
}

typedef struct listing {
	const otp_engine *e;
	otp_see_step_call *see;
	void *context;
	otp_step_kind kind;
} listing;

static void see_call(void *context, const otp_call *call)
{
	const listing *l = context;
	l->see(l->context, l->kind, call);
}

static void list_program(listing *l, const otp_graph *g)
{
	otp_program_list(l->e->runtime->backend, g, program_options(l->e), see_call, l);
}

static void list_part(void *context, maker *m, otp_step_kind kind, int index)
{
	listing *l = context;
	list_program(l, steps_of(m, otp_cut_shard(&l->e->cut, index))->step[kind].graph);
}

static void list_sum(void *context, const row_sum *sum) { list_program(context, sum->graph); }

void otp_engine_list(otp_runtime *runtime, const otp_engine_settings *settings, otp_see_step_call *see,
		     void *context)
{
	otp_engine *e = describe(runtime, settings);
	promise_rounded(e, true);
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++) {
		if (!used(settings, kind))
			continue;
		listing l = {e, see, context, kind};
		const block_work work = {list_part, list_sum, &l};
		walk_parts(e, kind, &work);
		for (stage s = 0; s < STAGES && e->updates[kind].graph[s]; s++)
			list_program(&l, e->updates[kind].graph[s]);
	}
	promise_rounded(e, false);
	otp_engine_free(e);
}

otp_engine_size otp_engine_plan(otp_runtime *runtime, const otp_engine_settings *settings)
{
	size_t before = otp_memory_in_use();
	otp_engine *e = describe(runtime, settings);
	otp_engine_size size = measure_spans(e);
	size_t after = otp_memory_in_use();
	size.host_bytes = after > before ? after - before : 0;
	promise_rounded(e, true);
	plan_programs(e, &size);
	promise_rounded(e, false);
	otp_engine_free(e);
	return size;
}

bool otp_engine_profile(otp_engine *e, otp_step_kind kind, int runs, double *seconds_by_op)
{
	otp_program *p = e->makers[0].sizes[0].program[kind];
	if (p)
		otp_program_profile(p, runs, seconds_by_op);
	return p != NULL;
}

typedef struct work_sum {
	const otp_engine *e;
	otp_peaks peaks;
	otp_work *by_op;
} work_sum;

static void add_part_work(void *context, maker *m, otp_step_kind kind, int index)
{
	const work_sum *w = context;
	const part_steps *part = steps_of(m, otp_cut_shard(&w->e->cut, index));
	otp_program_add_work(part->program[kind], w->peaks, w->by_op);
}

static void add_sum_work(void *context, const row_sum *sum)
{
	const work_sum *w = context;
	otp_program_add_work(sum->program, w->peaks, w->by_op);
}

void otp_engine_work(const otp_engine *e, otp_step_kind kind, otp_peaks peaks, otp_work *by_op)
{
	work_sum w = {e, peaks, by_op};
	const block_work work = {add_part_work, add_sum_work, &w};
	memset(by_op, 0, OTP_OP_COUNT * sizeof *by_op);
	walk_parts(e, kind, &work);
	const update *u = &e->updates[kind];
	for (stage s = 0; s < STAGES && u->graph[s]; s++)
		for (int i = 0; i < workers_of(e, s); i++)
			otp_program_add_work(u->program[s][i], peaks, by_op);
}
