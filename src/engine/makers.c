/* makers: the graphs of steps and updates, and in which order a worker runs them. */
#include "engine/inside.h"

bool otp_engine_uses(const otp_engine_settings *s, otp_step_kind kind)
{
	return kind == OTP_STEP_TRANSPORT || (kind == OTP_STEP_POTENTIAL_R1 ? s->r1_used : s->plain_used);
}

static otp_node *view_guard(otp_graph *g)
{
	return otp_view(g, "guard", SPAN_GUARD, 0, otp_shape4(1, 1, 1, OTP_GUARD_VALUES));
}

static otp_node *view_grads(const otp_engine *e, otp_graph *g, otp_network n)
{
	int elements = (int)e->params[n]->elements;
	return otp_view(g, "grads", otp_grads_span(n), 0, otp_shape4(1, 1, summed_rows(e), elements));
}

/* A process's, but for the last one. */
static int own_blocks(const otp_engine *e, otp_network n)
{
	return otp_process_block(e->params[n]->elements, 1, otp_group_size(group_of(e)));
}

/* Whether every process computes one part, and all parts are as large. */
static bool are_alike(const otp_engine *e)
{
	return e->cut.parts == e->cut.blocks && e->cut.batch % e->cut.parts == 0;
}

/* The gradient's own columns, of all processes', and the squares of all columns. */
static void add_squares(const otp_engine *e, otp_graph *g, otp_network n)
{
	int blocks = otp_norm_blocks(e->params[n]->elements), each = own_blocks(e, n);
	int64_t base = squares_base(e, n);
	if (is_linked(e))
		otp_output(otp_reduce_scatter(view_grads(e, g, n), (int64_t)each * OTP_NORM_COLUMNS,
					      own_parts(e) == 0, are_alike(e)),
			   otp_grads_span(n), 0);
	otp_output(otp_squares(view_grads(e, g, n)), SPAN_GUARD, base);
	if (is_linked(e))
		otp_output(otp_all_gather(
			       otp_view(g, "squares", SPAN_GUARD, base, otp_shape4(1, 1, 1, blocks)), each),
			   SPAN_GUARD, base);
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
	if (is_linked(e))
		otp_output(otp_all_gather(otp_view(g, "weights", span, 0, otp_shape4(1, 1, 1, elements)),
					  (int64_t)own_blocks(e, n) * OTP_NORM_COLUMNS),
			   span, 0);
}

/* The report goes into the slot that the first sample's words name: each part has LOSS_SLOTS of them. */
static void add_record(const otp_engine *e, otp_step_graph *step)
{
	otp_node *ring = otp_view(step->graph, "losses", SPAN_LOSSES, 0,
				  otp_shape4(1, 1, e->cut.parts * LOSS_SLOTS, OTP_REPORT_COUNT));
	otp_output(otp_record(ring, step->report, step->in.words, OTP_WORD_SLOT), SPAN_LOSSES, 0);
}

static void build_steps(otp_engine *e, const maker *m, part_steps *part)
{
	const otp_objective *o = &e->settings.objective;
	otp_params *t = e->params[OTP_TRANSPORT], *v = e->params[OTP_POTENTIAL];
	int batch = e->settings.batch;
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++) {
		if (!otp_engine_uses(&e->settings, kind))
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
	m->desk = is_linked(e) ? 0 : m->blocks == 1 ? block_of(e, worker, 0) : e->rows++;
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

void otp_makers_describe(otp_engine *e, int worker)
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

void otp_makers_visit_sums(maker *m, program_visit *visit, void *context)
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

void otp_makers_visit(maker *m, program_visit *visit, void *context)
{
	visit_steps(&m->sizes[0], visit, context);
	visit_steps(&m->sizes[1], visit, context);
	otp_makers_visit_sums(m, visit, context);
}

void otp_makers_walk_block(const otp_engine *e, int worker, int which, otp_step_kind kind,
			   const block_work *work)
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

void otp_makers_walk(const otp_engine *e, otp_step_kind kind, const block_work *work)
{
	for (int worker = 0; worker < e->workers; worker++)
		for (int k = 0; k < e->makers[worker].blocks; k++)
			otp_makers_walk_block(e, worker, k, kind, work);
}

/* ---- updates ---- */

void otp_makers_describe_update(otp_engine *e, otp_step_kind kind)
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
