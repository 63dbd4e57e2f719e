/* measure: what an engine takes, of memory and of work, with programs or before there are any. */
#include "engine/inside.h"

#include "core/memory.h"

#include <string.h>

/* What a worker's programs share: the most that one takes. */
typedef struct most {
	size_t arena_bytes, scratch_bytes;
} most;

/* Of programs that share nothing `shared` is NULL. */
static void add_program(otp_engine_size *size, otp_program_size p, most *shared)
{
	most alone = {p.arena_bytes - p.kept_bytes, p.scratch_bytes}, none = {0},
	     *m = shared ? shared : &none;
	size->arena_bytes += p.kept_bytes;
	if (alone.arena_bytes > m->arena_bytes) {
		size->arena_bytes += alone.arena_bytes - m->arena_bytes;
		m->arena_bytes = alone.arena_bytes;
	}
	if (alone.scratch_bytes > m->scratch_bytes) {
		size->scratch_bytes += alone.scratch_bytes - m->scratch_bytes;
		m->scratch_bytes = alone.scratch_bytes;
	}
	size->unshared_bytes += p.unshared_bytes;
	size->host_bytes += p.host_bytes;
	size->largest = p.largest > size->largest ? p.largest : size->largest;
	size->scratch_expected |= p.scratch_expected;
	size->programs++;
	size->calls += p.calls;
}

static otp_engine_size measure_spans(const otp_engine *e)
{
	otp_engine_size size = {0};
	size_t element = e->runtime->backend->element_bytes[OTP_F32];
	for (otp_network n = 0; n < OTP_NETWORKS; n++) {
		size_t row = (size_t)e->params[n]->elements * element;
		size.elements[n] = e->params[n]->elements;
		size.parameters[n] = e->params[n]->trainable;
		size_t own = (size_t)own_columns(e, n) * element;
		bool draws = otp_group_leads(group_of(e)); /* from the average */
		size.moment_bytes += 2 * own;
		size.weight_bytes += row + (n == OTP_TRANSPORT ? (draws ? row : own) : 0);
		size.weight_bytes += is_linked(e) && draws && n == OTP_TRANSPORT ? own : 0;
		size.weight_bytes += otp_engine_keeps_rounded(e) ? otp_engine_rounded_bytes(e, n) : 0;
		int made = is_linked(e) ? e->rows : e->last_block - e->first_block + e->rows - e->cut.blocks;
		size_t others =
		    is_linked(e) ? 0 : own * (size_t)(e->cut.blocks - e->last_block + e->first_block);
		size_t grads = row * (size_t)made + others;
		otp_type type = otp_engine_span_type(e, otp_grads_span(n));
		size.gradient_bytes += grads / element * e->runtime->backend->element_bytes[type];
	}
	for (otp_side side = 0; side < OTP_SIDES; side++)
		size.data_bytes += otp_engine_data_elements(e, side) * element;
	return size;
}

typedef struct measuring {
	otp_engine_size *size;
	most shared;
} measuring;

static void measure_program(void *context, otp_graph **graph, otp_program **program)
{
	measuring *m = context;
	(void)graph;
	add_program(m->size, otp_program_measure(*program), &m->shared);
}

otp_engine_size otp_engine_measure(const otp_engine *e)
{
	otp_engine_size size = measure_spans(e);
	for (int i = 0; i < e->workers; i++) {
		measuring m = {.size = &size};
		otp_makers_visit(&e->makers[i], measure_program, &m);
	}
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++)
		for (stage s = 0; s < STAGES && e->updates[kind].graph[s]; s++)
			for (int i = 0; i < workers_of(e, s); i++)
				add_program(&size, otp_program_measure(e->updates[kind].program[s][i]), NULL);
	return size;
}

size_t otp_engine_bytes(const otp_engine_size *s)
{
	return s->weight_bytes + s->moment_bytes + s->gradient_bytes + s->data_bytes + s->arena_bytes +
	       s->scratch_bytes;
}

static otp_program_size plan_program(const otp_engine *e, const otp_graph *g)
{
	return otp_program_plan(e->runtime->backend, e->runtime->device, g, otp_engine_options(e));
}

/* Programs of steps over as many samples are of one size, and so are all sums of rows: measured once. */
typedef struct planner {
	const otp_engine *e;
	otp_engine_size *size;
	most *shared; /* by worker */
	int worker;
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
					add_program(p->size, one, &p->shared[i]);
	}
}

static void plan_sum(void *context, otp_graph **graph, otp_program **program)
{
	planner *p = context;
	(void)program;
	if (!p->summed)
		p->sum = plan_program(p->e, *graph);
	p->summed = true;
	add_program(p->size, p->sum, &p->shared[p->worker]);
}

static void plan_programs(const otp_engine *e, otp_engine_size *size)
{
	planner p = {.e = e, .size = size};
	p.shared = otp_calloc((size_t)e->workers, sizeof *p.shared);
	int least = e->settings.batch / e->cut.parts;
	for (int shard = least; shard <= least + 1; shard++)
		plan_steps(&p, find_steps(e, shard));
	for (p.worker = 0; p.worker < e->workers; p.worker++)
		otp_makers_visit_sums(&e->makers[p.worker], plan_sum, &p);
	otp_free(p.shared);
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++)
		for (stage s = 0; s < STAGES && e->updates[kind].graph[s]; s++) {
			otp_program_size one = plan_program(e, e->updates[kind].graph[s]);
			for (int i = 0; i < workers_of(e, s); i++)
				add_program(size, one, NULL);
		}
}

/* That there will be copies of the weights, for programs that are not made. */
static void promise_rounded(otp_engine *e, bool promised)
{
	for (otp_network n = 0; n < OTP_NETWORKS && otp_engine_keeps_rounded(e); n++)
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
	otp_program_list(l->e->runtime->backend, g, otp_engine_options(l->e), see_call, l);
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
	otp_engine *e = otp_engine_describe(runtime, settings);
	promise_rounded(e, true);
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++) {
		if (!otp_engine_uses(settings, kind))
			continue;
		listing l = {e, see, context, kind};
		const block_work work = {list_part, list_sum, &l};
		otp_makers_walk(e, kind, &work);
		for (stage s = 0; s < STAGES && e->updates[kind].graph[s]; s++)
			list_program(&l, e->updates[kind].graph[s]);
	}
	promise_rounded(e, false);
	otp_engine_free(e);
}

otp_engine_size otp_engine_plan(otp_runtime *runtime, const otp_engine_settings *settings)
{
	size_t before = otp_memory_in_use();
	otp_engine *e = otp_engine_describe(runtime, settings);
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
	otp_makers_walk(e, kind, &work);
	const update *u = &e->updates[kind];
	for (stage s = 0; s < STAGES && u->graph[s]; s++)
		for (int i = 0; i < workers_of(e, s); i++)
			otp_program_add_work(u->program[s][i], peaks, by_op);
}
