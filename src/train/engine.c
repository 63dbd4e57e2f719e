#include "train/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KIND_TRANSPORT, KIND_POTENTIAL, KIND_POTENTIAL_R1, KIND_COUNT };

/* One worker's programs and its share [first, first + shard) of the batch. */
typedef struct replica {
	int first, shard;
	otp_step_graph step[KIND_COUNT];
	otp_program *program[KIND_COUNT];
	otp_graph *update_graph[2];
	otp_node *hyper[2];
	otp_program *update[2];
	uint32_t *streams;
	float *signs; /* +1 and -1 in turn, by the place in the whole batch */
} replica;

struct otp_engine {
	otp_place_of_work *place;
	otp_engine_settings settings;
	otp_params *params[2];
	void *spans[OTP_MAX_SPANS];
	int replica_count;
	replica *replicas;
};

int otp_engine_rows(int span) { return span == OTP_SPAN_TRANSPORT ? 4 : 3; }
otp_params *otp_engine_params(const otp_engine *e, int span) { return e->params[span]; }
void *otp_engine_span(otp_engine *e, int span) { return e->spans[span]; }

/* ---- where ---- */

static bool parse_precision(const char *text, otp_precision *precision, otp_error *err)
{
	static const char *const NAMES[] = {"f32", "tf32", "bf16"};
	for (int i = 0; i < 3; i++)
		if (strcmp(text, NAMES[i]) == 0) {
			*precision = (otp_precision)i;
			return true;
		}
	return otp_fail(err, "--precision", "'%s', expected f32, tf32 or bf16", text);
}

bool otp_place_open(const char *device, const char *precision, int threads, otp_place_of_work *place,
		    otp_error *err)
{
	memset(place, 0, sizeof *place);
	const char *colon = strchr(device, ':');
	char name[16];
	snprintf(name, sizeof name, "%.*s", (int)(colon ? colon - device : (long)strlen(device)), device);
	if (!parse_precision(precision, &place->precision, err))
		return false;
	place->backend = otp_backend_find(name, err);
	if (!place->backend || !place->backend->open(colon ? atoi(colon + 1) : 0, &place->device, err))
		return false;
	place->pool = otp_pool_new(place->backend->workers(place->device, threads));
	return true;
}

void otp_place_close(otp_place_of_work *place)
{
	if (place->pool)
		otp_pool_free(place->pool);
	if (place->device)
		place->backend->close(place->device);
	memset(place, 0, sizeof *place);
}

/* ---- building ---- */

static int64_t grads_elements(const otp_engine *e, int span) { return e->params[span]->elements; }

static void build_steps(otp_engine *e, replica *r, int index)
{
	const otp_objective *o = &e->settings.objective;
	otp_params *t = e->params[OTP_SPAN_TRANSPORT], *v = e->params[OTP_SPAN_POTENTIAL];
	int batch = e->settings.batch;
	r->step[KIND_TRANSPORT] =
		otp_transport_step(o, t, v, r->shard, batch, index * grads_elements(e, OTP_SPAN_TRANSPORT));
	for (int with_r1 = 0; with_r1 < 2; with_r1++)
		if (with_r1 ? e->settings.r1_used : e->settings.plain_used)
			r->step[KIND_POTENTIAL + with_r1] = otp_potential_step(
				o, t, v, r->shard, batch, index * grads_elements(e, OTP_SPAN_POTENTIAL), with_r1);
}

/* state' = adam(state, all replicas' gradients, hyper), in place. */
static void build_update(otp_engine *e, replica *r, int span)
{
	int elements = (int)e->params[span]->elements;
	otp_attr attr = {.adam = {.ema = span == OTP_SPAN_TRANSPORT, .beta1 = (float)e->settings.beta1,
				  .beta2 = (float)e->settings.beta2, .eps = 1e-8f}};
	otp_graph *g = r->update_graph[span] = otp_graph_new();
	otp_node *state = otp_view(g, "state", span, 0, otp_shape4(1, 1, otp_engine_rows(span), elements));
	otp_node *grads = otp_view(g, "grads", OTP_SPAN_TRANSPORT_GRADS + span, 0,
				   otp_shape4(1, 1, e->replica_count, elements));
	r->hyper[span] = otp_input(g, "hyper", OTP_F32, otp_shape4(1, 1, 1, OTP_HYPER_COUNT));
	otp_output(otp_adam(state, grads, r->hyper[span], attr), span, 0);
}

/* Parameters are discovered by building the steps once, before any memory exists. */
static void discover_params(otp_engine *e)
{
	for (int span = 0; span < 2; span++)
		e->params[span] = otp_params_new();
	otp_step_graph probe = otp_transport_step(&e->settings.objective, e->params[OTP_SPAN_TRANSPORT],
						  e->params[OTP_SPAN_POTENTIAL], 1, 1, 0);
	otp_graph_free(probe.graph);
}

static void allocate_spans(otp_engine *e)
{
	const otp_backend *b = e->place->backend;
	for (int span = 0; span < 2; span++) {
		size_t row = (size_t)e->params[span]->elements * b->element_bytes;
		e->spans[span] = b->alloc(e->place->device, row * (size_t)otp_engine_rows(span));
		e->spans[OTP_SPAN_TRANSPORT_GRADS + span] =
			b->alloc(e->place->device, row * (size_t)e->replica_count);
	}
}

/* Runs on the replica's own worker, so that its memory is near it. */
static void build_replica(void *argument, int worker)
{
	otp_engine *e = argument;
	if (worker >= e->replica_count)
		return;
	replica *r = &e->replicas[worker];
	const otp_place_of_work *at = e->place;
	otp_program_options options = {.precision = at->precision, .part = worker, .parts = e->replica_count};
	for (int kind = 0; kind < KIND_COUNT; kind++)
		if (r->step[kind].graph)
			r->program[kind] = otp_program_new(at->backend, at->device, r->step[kind].graph, e->spans,
							   options);
	for (int span = 0; span < 2; span++)
		r->update[span] = otp_program_new(at->backend, at->device, r->update_graph[span], e->spans, options);
}

otp_engine *otp_engine_new(otp_place_of_work *place, const otp_engine_settings *settings)
{
	otp_engine *e = otp_calloc(1, sizeof *e);
	e->place = place;
	e->settings = *settings;
	int workers = otp_pool_workers(place->pool);
	e->replica_count = workers < settings->batch ? workers : settings->batch;
	e->replicas = otp_calloc((size_t)e->replica_count, sizeof *e->replicas);
	discover_params(e);
	allocate_spans(e);
	for (int i = 0; i < e->replica_count; i++) {
		replica *r = &e->replicas[i];
		r->first = (int)((int64_t)settings->batch * i / e->replica_count);
		r->shard = (int)((int64_t)settings->batch * (i + 1) / e->replica_count) - r->first;
		r->streams = otp_calloc((size_t)r->shard * 4, sizeof *r->streams);
		r->signs = otp_calloc((size_t)r->shard, sizeof *r->signs);
		for (int k = 0; k < r->shard; k++)
			r->signs[k] = (r->first + k) % 2 ? -1 : 1;
		build_steps(e, r, i);
		for (int span = 0; span < 2; span++)
			build_update(e, r, span);
	}
	otp_pool_run(place->pool, build_replica, e);
	return e;
}

void otp_engine_free(otp_engine *e)
{
	if (!e)
		return;
	for (int i = 0; i < e->replica_count; i++) {
		replica *r = &e->replicas[i];
		for (int kind = 0; kind < KIND_COUNT; kind++) {
			otp_program_free(r->program[kind]);
			otp_graph_free(r->step[kind].graph);
		}
		for (int span = 0; span < 2; span++) {
			otp_program_free(r->update[span]);
			otp_graph_free(r->update_graph[span]);
		}
		otp_free(r->streams);
		otp_free(r->signs);
	}
	for (int span = 0; span < OTP_MAX_SPANS; span++)
		if (e->spans[span])
			e->place->backend->release(e->place->device, e->spans[span]);
	for (int span = 0; span < 2; span++)
		otp_params_free(e->params[span]);
	otp_free(e->replicas);
	otp_free(e);
}

/* ---- state ---- */

void otp_engine_init(otp_engine *e, uint64_t seed)
{
	for (int span = 0; span < 2; span++) {
		int64_t elements = e->params[span]->elements;
		float *state = otp_calloc((size_t)(elements * otp_engine_rows(span)), sizeof *state);
		otp_params_init(e->params[span], seed, (uint32_t)span, state + OTP_ROW_PARAM * elements);
		if (otp_engine_rows(span) > OTP_ROW_EMA)
			memcpy(state + OTP_ROW_EMA * elements, state, (size_t)elements * sizeof *state);
		otp_engine_write(e, span, state);
		otp_free(state);
	}
}

void otp_engine_read(otp_engine *e, int span, float *state)
{
	const otp_place_of_work *at = e->place;
	at->backend->wait(at->device);
	at->backend->download(at->device, state, OTP_F32, e->spans[span],
			      e->params[span]->elements * otp_engine_rows(span));
}

void otp_engine_write(otp_engine *e, int span, const float *state)
{
	const otp_place_of_work *at = e->place;
	at->backend->upload(at->device, e->spans[span], OTP_F32, state,
			    e->params[span]->elements * otp_engine_rows(span));
	at->backend->wait(at->device);
}

/* ---- steps ---- */

typedef struct step_task {
	otp_engine *e;
	int kind, span;
	const float *x, *y;
	const otp_update *u;
} step_task;

static void write_scalar(otp_program *p, const otp_node *node, double value)
{
	float v = (float)value;
	if (node)
		otp_program_write(p, node, &v);
}

static void run_step(void *argument, int worker)
{
	const step_task *task = argument;
	if (worker >= task->e->replica_count)
		return;
	replica *r = &task->e->replicas[worker];
	const otp_step_inputs *in = &r->step[task->kind].in;
	otp_program *p = r->program[task->kind];
	const otp_arch *a = &task->e->settings.objective.arch;
	int64_t sample = (int64_t)a->h * a->w * a->c;

	int noises_apart = in->signs ? 2 : 1;
	for (int i = 0; i < r->shard; i++) {
		uint32_t which = (uint32_t)((r->first + i) / noises_apart);
		otp_stream s = otp_stream_make(task->u->seed, which, task->u->draw);
		memcpy(r->streams + 4 * i, s.word, sizeof s.word);
	}
	otp_program_write(p, in->streams, r->streams);
	if (in->signs)
		otp_program_write(p, in->signs, r->signs);
	otp_program_write(p, in->x, task->x + r->first * sample);
	if (in->y)
		otp_program_write(p, in->y, task->y + r->first * sample);
	write_scalar(p, in->keep, task->u->keep);
	write_scalar(p, in->sigma, task->u->sigma);
	write_scalar(p, in->r1, task->u->r1);
	otp_program_run(p);
}

static double power(double base, int64_t exponent)
{
	double result = 1;
	for (; exponent; exponent >>= 1, base *= base)
		if (exponent & 1)
			result *= base;
	return result;
}

static void run_update(void *argument, int worker)
{
	const step_task *task = argument;
	if (worker >= task->e->replica_count)
		return;
	replica *r = &task->e->replicas[worker];
	const otp_engine_settings *s = &task->e->settings;
	float hyper[OTP_HYPER_COUNT] = {0};
	hyper[OTP_HYPER_RATE] = (float)task->u->rate;
	hyper[OTP_HYPER_CORRECT1] = (float)(1 / (1 - power(s->beta1, task->u->count)));
	hyper[OTP_HYPER_CORRECT2] = (float)(1 / (1 - power(s->beta2, task->u->count)));
	hyper[OTP_HYPER_EMA] = (float)task->u->ema;
	otp_program_write(r->update[task->span], r->hyper[task->span], hyper);
	otp_program_run(r->update[task->span]);
}

static void read_report(const otp_engine *e, int kind, double *means)
{
	for (int k = 0; k < OTP_REPORT_COUNT; k++)
		means[k] = 0;
	for (int i = 0; i < e->replica_count; i++) {
		float share[OTP_REPORT_COUNT];
		otp_program_read(e->replicas[i].program[kind], e->replicas[i].step[kind].report, share);
		for (int k = 0; k < OTP_REPORT_COUNT; k++)
			means[k] += (double)share[k];
	}
}

static void step(step_task task, double *report)
{
	otp_pool_run(task.e->place->pool, run_step, &task);
	otp_pool_run(task.e->place->pool, run_update, &task);
	if (report)
		read_report(task.e, task.kind, report);
}

void otp_engine_transport_step(otp_engine *e, const float *x, const otp_update *u, double *report)
{
	step((step_task){.e = e, .kind = KIND_TRANSPORT, .span = OTP_SPAN_TRANSPORT, .x = x, .u = u}, report);
}

void otp_engine_potential_step(otp_engine *e, const float *x, const float *y, const otp_update *u, double *report)
{
	int kind = u->r1 > 0 ? KIND_POTENTIAL_R1 : KIND_POTENTIAL;
	OTP_ASSERT(e->replicas[0].program[kind], "a potential step of a kind that was not announced");
	step((step_task){.e = e, .kind = kind, .span = OTP_SPAN_POTENTIAL, .x = x, .y = y, .u = u}, report);
}

/* ---- measuring ---- */

otp_engine_size otp_engine_measure(const otp_engine *e)
{
	otp_engine_size size = {0};
	for (int span = 0; span < 2; span++) {
		size_t row = (size_t)e->params[span]->elements * e->place->backend->element_bytes;
		size.state_bytes += row * (size_t)otp_engine_rows(span);
		size.gradient_bytes += row * (size_t)e->replica_count;
	}
	for (int i = 0; i < e->replica_count; i++)
		for (int kind = 0; kind < KIND_COUNT; kind++)
			if (e->replicas[i].program[kind]) {
				otp_program_size p = otp_program_measure(e->replicas[i].program[kind]);
				size.program_bytes += p.arena_bytes + p.scratch_bytes;
				size.unshared_bytes += p.unshared_bytes + p.scratch_bytes;
				size.programs++;
				size.calls += p.calls;
			}
	return size;
}

bool otp_engine_profile(otp_engine *e, int which, int runs, double *seconds_by_op)
{
	otp_program *p = e->replicas[0].program[which];
	if (p)
		otp_program_profile(p, runs, seconds_by_op);
	return p != NULL;
}
