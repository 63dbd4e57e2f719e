#include "engine/inside.h"

#include <string.h>

int otp_engine_rows(otp_network network) { return network == OTP_TRANSPORT ? 4 : 3; }
otp_params *otp_engine_params(const otp_engine *e, otp_network network) { return e->params[network]; }
void *otp_engine_state(otp_engine *e, otp_network network) { return e->spans[otp_state_span(network)]; }

void *otp_engine_average(otp_engine *e, int64_t *base)
{
	*base = e->average ? 0 : OTP_ROW_EMA * e->params[OTP_TRANSPORT]->elements;
	return e->average ? e->average : otp_engine_state(e, OTP_TRANSPORT);
}

/* ---- memory ---- */

int otp_engine_picture_words(const otp_engine *e, otp_side side)
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

size_t otp_engine_data_elements(const otp_engine *e, otp_side side)
{
	int rows = e->settings.objective.resident[side].rows;
	return rows ? (size_t)rows * (size_t)otp_engine_picture_words(e, side) : 0;
}

bool otp_engine_keeps_rounded(const otp_engine *e)
{
	return e->runtime->precision == OTP_PRECISION_BF16 && e->runtime->backend->element_bytes[OTP_BF16];
}

unsigned otp_engine_narrow_spans(const otp_engine *e)
{
	const otp_arch *arch = &e->settings.objective.arch;
	bool pictures = arch->h * arch->w > 1;
	if (!otp_engine_keeps_rounded(e) || !updates_in_step(e) || is_linked(e) || !pictures)
		return 0;
	return 1U << otp_grads_span(OTP_TRANSPORT) | 1U << otp_grads_span(OTP_POTENTIAL);
}

size_t otp_engine_rounded_bytes(const otp_engine *e, otp_network n)
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
		size_t kept = is_linked(e) ? (size_t)own_columns(e, n) : row;
		elements[otp_state_span(n)] = row + kept * (size_t)(otp_engine_rows(n) - 1);
		elements[otp_grads_span(n)] = row * (size_t)e->rows;
	}
	for (otp_side side = 0; side < OTP_SIDES; side++)
		elements[otp_data_span(side)] = otp_engine_data_elements(e, side);
	for (otp_network n = 0; n < OTP_NETWORKS; n++)
		if (otp_engine_keeps_rounded(e))
			e->rounded[otp_state_span(n)] = (otp_rounded){
			    take(e, "weights rounded to bfloat16", otp_engine_rounded_bytes(e, n)),
			    e->params[n]->elements};
	elements[SPAN_LOSSES] = (size_t)e->cut.parts * LOSS_SLOTS * OTP_REPORT_COUNT;
	elements[SPAN_GUARD] = (size_t)squares_base(e, OTP_NETWORKS - 1) +
			       (size_t)otp_norm_blocks(e->params[OTP_NETWORKS - 1]->elements);
	for (int span = 0; span < OTP_MAX_SPANS; span++)
		if (elements[span])
			e->spans[span] =
			    take(e, span_purpose(span),
				 elements[span] * b->element_bytes[otp_engine_span_type(e, span)]);
	if (is_linked(e) && otp_group_leads(group_of(e)))
		e->average = take(e, "the average of the weights",
				  (size_t)e->params[OTP_TRANSPORT]->elements * b->element_bytes[OTP_F32]);
	e->fetched = otp_calloc(elements[SPAN_LOSSES], sizeof *e->fetched);
}

/* ---- programs ---- */

otp_program_options otp_engine_options(const otp_engine *e)
{
	return (otp_program_options){
	    .process = otp_group_rank(group_of(e)),
	    .processes = otp_group_size(group_of(e)),
	    .precision = e->runtime->precision,
	    .rounded = e->rounded,
	    .narrow_spans = otp_engine_narrow_spans(e),
	    .purpose = "a training step's values (a smaller --batch or --image-size takes less)",
	};
}

typedef struct building {
	const otp_engine *e;
	otp_shared *shared;
} building;

static void see_need(void *context, otp_graph **graph, otp_program **program)
{
	const building *b = context;
	(void)program;
	size_t bytes = otp_program_shared_bytes(b->e->runtime->backend, *graph, otp_engine_options(b->e));
	b->shared->arena_bytes = bytes > b->shared->arena_bytes ? bytes : b->shared->arena_bytes;
}

static void build_program(void *context, otp_graph **graph, otp_program **program)
{
	const building *b = context;
	const otp_runtime *at = b->e->runtime;
	otp_program_options options = otp_engine_options(b->e);
	options.shared = b->shared;
	*program = otp_program_new(at->backend, at->device, *graph, b->e->spans, options);
}

static void finish_program(void *context, otp_graph **graph, otp_program **program)
{
	(void)context;
	(void)graph;
	otp_program_take_scratch(*program);
}

/* A maker's programs share an arena of the largest's size, and scratch. */
static void build_maker(const otp_engine *e, maker *m)
{
	const char *purpose = otp_engine_options(e).purpose;
	building b = {e, &m->shared};
	otp_makers_visit(m, see_need, &b);
	m->shared.arena = take(e, purpose, m->shared.arena_bytes);
	otp_makers_visit(m, build_program, &b);
	m->shared.scratch = take(e, purpose, m->shared.scratch_bytes);
	otp_makers_visit(m, finish_program, &b);
}

/* Every worker builds what it will run, so that its memory is near it. */
static void build_work(void *argument, int worker)
{
	otp_engine *e = argument;
	const otp_runtime *at = e->runtime;
	if (e->makers[worker].parts)
		build_maker(e, &e->makers[worker]);
	otp_program_options options = otp_engine_options(e);
	options.worker = worker;
	options.workers = e->workers;
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++)
		for (stage s = 0; s < STAGES; s++) {
			const update *u = &e->updates[kind];
			if (u->graph[s] && worker < workers_of(e, s))
				u->program[s][worker] =
				    otp_program_new(at->backend, at->device, u->graph[s], e->spans, options);
		}
}

otp_engine *otp_engine_describe(otp_runtime *runtime, const otp_engine_settings *settings)
{
	otp_engine *e = otp_calloc(1, sizeof *e);
	e->runtime = runtime;
	e->settings = *settings;
	e->workers = otp_pool_workers(runtime->pool);
	otp_group *group = runtime->group;
	int all = group ? otp_group_workers_before(group, otp_group_size(group)) : e->workers;
	e->cut = is_linked(e) ? otp_cut_deal(settings->batch, settings->parts, otp_group_size(group))
			      : otp_cut_make(settings->batch, settings->parts, all);
	e->first_block = otp_sharing_block(group, &e->cut, otp_group_rank(group));
	e->last_block = otp_sharing_block(group, &e->cut, otp_group_rank(group) + 1);
	e->rows = summed_rows(e);
	e->makers = otp_calloc((size_t)e->workers, sizeof *e->makers);
	discover_params(e);
	for (int worker = 0; worker < e->workers; worker++)
		otp_makers_describe(e, worker);
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS && !updates_in_step(e); kind++)
		if (otp_engine_uses(settings, kind))
			otp_makers_describe_update(e, kind);
	return e;
}

float *otp_engine_floats(const otp_engine *e, int span)
{
	OTP_ASSERT(e->runtime->backend->memory_free(e->runtime->device) == 0,
		   "processes share the host's memory alone");
	return e->spans[span];
}

otp_engine *otp_engine_new(otp_runtime *runtime, const otp_engine_settings *settings)
{
	otp_engine *e = otp_engine_describe(runtime, settings);
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

static void free_maker(const otp_engine *e, maker *m)
{
	const otp_runtime *at = e->runtime;
	otp_makers_visit(m, free_program, NULL);
	at->backend->release(at->device, m->shared.arena);
	at->backend->release(at->device, m->shared.scratch);
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
		free_maker(e, &e->makers[i]);
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++)
		free_update(&e->updates[kind], e->workers);
	for (int span = 0; span < OTP_MAX_SPANS; span++) {
		e->runtime->backend->release(e->runtime->device, e->spans[span]);
		e->runtime->backend->release(e->runtime->device, e->rounded[span].memory);
	}
	e->runtime->backend->release(e->runtime->device, e->average);
	for (otp_network n = 0; n < OTP_NETWORKS; n++)
		otp_params_free(e->params[n]);
	otp_free(e->makers);
	otp_free(e->fetched);
	otp_free(e);
}
