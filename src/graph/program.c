/* Binding a planned graph to a backend: one call a node, pointers fixed for good. */
#include "graph/program.h"
#include "core/memory.h"
#include "graph/plan.h"
#include "graph/storage.h"
#include "graph/work.h"

#include <math.h>
#include <string.h>

struct otp_program {
	const otp_backend *backend;
	otp_device *device;
	const otp_graph *graph;
	otp_plan *plan;
	otp_call *calls;
	int *call_node; /* id of the node a call computes */
	int call_count;
	char *kept, *arena; /* what outlasts a run, and the rest: one block, or the rest is shared */
	otp_shared *shared; /* NULL: nothing is */
	void *scratch;
	size_t scratch_bytes;
	bool scratch_expected;
	bool planned; /* measured alone: no node has memory */
	bool listed;  /* and addresses made up for what lies in spans, by which it can be told apart */
	void *spans[OTP_MAX_SPANS];
	otp_rounded rounded[OTP_MAX_SPANS];
	void *token;	   /* the backend's captured form of the calls */
	float *nan_values; /* checking mode: as many NaNs as the largest tensor or the scratch holds */
};

/* Spans are far apart. */
static void *made_up(int span, size_t offset)
{
	uintptr_t number = (((uintptr_t)span + 1) << 40) + offset;
	void *address;
	memcpy(&address, &number, sizeof address);
	return address;
}

static void *node_data(const otp_program *p, const otp_node *node)
{
	const otp_node *owner = otp_graph_node(p->graph, p->plan->place[node->id].root);
	if (p->listed && owner->span != OTP_SPAN_NONE)
		return made_up(owner->span, (size_t)owner->span_offset *
						p->backend->element_bytes[p->plan->place[owner->id].type]);
	if (p->planned)
		return NULL;
	if (owner->span != OTP_SPAN_NONE) {
		OTP_ASSERT(p->spans[owner->span], "span %d has no memory", owner->span);
		return (char *)p->spans[owner->span] +
		       (size_t)owner->span_offset * p->backend->element_bytes[p->plan->place[owner->id].type];
	}
	int64_t offset = p->plan->place[node->id].offset;
	return offset < p->plan->kept_bytes ? p->kept + offset : p->arena + (offset - p->plan->kept_bytes);
}

/* The copy of what begins among a span's first elements. */
static void *rounded_data(const otp_program *p, const otp_node *node)
{
	const otp_node *owner = otp_graph_node(p->graph, p->plan->place[node->id].root);
	if (owner->span == OTP_SPAN_NONE || owner->span_offset >= p->rounded[owner->span].elements)
		return NULL;
	if (p->planned) /* that there is a copy decides what scratch a call needs */
		return p->rounded[owner->span].memory;
	return (char *)p->rounded[owner->span].memory +
	       (size_t)owner->span_offset * p->backend->element_bytes[OTP_BF16];
}

static otp_tensor tensor_of(const otp_program *p, const otp_node *node)
{
	const otp_place *place = &p->plan->place[node->id];
	otp_tensor t = {node_data(p, node), node->shape, place->type, rounded_data(p, node), place->step};
	return t;
}

static bool computed(const otp_program *p, const otp_node *node)
{
	return p->plan->place[node->id].live && node->op != OTP_OP_LEAF && !p->plan->place[node->id].view;
}

/* The call of a computed node, but for scratch and what the kernel binds to it. */
static void add_call(otp_program *p, const otp_node *node, otp_program_options options)
{
	otp_call *call = &p->calls[p->call_count];
	p->call_node[p->call_count++] = node->id;
	call->op = node->op;
	call->attr = node->attr;
	call->precision = options.precision;
	call->device = p->device;
	call->planned = p->planned;
	call->process = options.process;
	call->processes = options.processes ? options.processes : 1;
	call->worker = options.worker;
	call->workers = options.workers ? options.workers : 1;
	for (int i = 0; i < node->input_count; i++)
		call->in[i] = tensor_of(p, node->in[i]);
	call->out = tensor_of(p, node);
}

static void add_calls(otp_program *p, otp_program_options options)
{
	int node_count = otp_graph_size(p->graph), calls = 0;
	for (int id = 0; id < node_count; id++)
		calls += computed(p, otp_graph_node(p->graph, id));
	p->calls = otp_calloc((size_t)calls, sizeof *p->calls);
	p->call_node = otp_calloc((size_t)calls, sizeof *p->call_node);
	for (int id = 0; id < node_count; id++)
		if (computed(p, otp_graph_node(p->graph, id)))
			add_call(p, otp_graph_node(p->graph, id), options);
}

static void need_scratch(otp_program *p, size_t bytes)
{
	if (bytes > p->scratch_bytes)
		p->scratch_bytes = bytes;
}

static bool bind_calls(otp_program *p, otp_error *err)
{
	if (p->backend->prepare)
		p->backend->prepare(p->device, p->calls, p->call_count);
	for (int i = 0; i < p->call_count; i++) {
		const otp_kernel *kernel = p->backend->kernels[p->calls[i].op];
		if (kernel->bind && !kernel->bind(&p->calls[i], err))
			return false;
		need_scratch(p, kernel->scratch_bytes ? kernel->scratch_bytes(&p->calls[i]) : 0);
	}
	return true;
}

/* As bind_calls, where binding tries nothing out. */
static void expect_scratch(otp_program *p)
{
	for (int i = 0; i < p->call_count; i++) {
		otp_call *call = &p->calls[i];
		const otp_kernel *kernel = p->backend->kernels[call->op];
		if (kernel->expected_scratch) {
			need_scratch(p, kernel->expected_scratch(call));
			p->scratch_expected = true;
			continue;
		}
		otp_error err = {0};
		if (kernel->bind && !kernel->bind(call, &err))
			otp_end(&err);
		need_scratch(p, kernel->scratch_bytes ? kernel->scratch_bytes(call) : 0);
	}
}

/* Of the calls that are bound. */
static void unbind_calls(otp_program *p)
{
	for (int i = 0; i < p->call_count; i++) {
		const otp_kernel *kernel = p->backend->kernels[p->calls[i].op];
		if (kernel->unbind && p->calls[i].bound)
			kernel->unbind(&p->calls[i]);
	}
}

static void fill_constants(otp_program *p)
{
	for (int id = 0; id < otp_graph_size(p->graph); id++) {
		const otp_node *node = otp_graph_node(p->graph, id);
		if (node->constant && p->plan->place[id].live)
			otp_program_write(p, node, &node->value);
	}
}

static void make_poison(otp_program *p)
{
	int64_t most = (int64_t)(p->scratch_bytes / sizeof(float)) + 1;
	for (int id = 0; id < otp_graph_size(p->graph); id++)
		if (otp_shape_count(otp_graph_node(p->graph, id)->shape) > most)
			most = otp_shape_count(otp_graph_node(p->graph, id)->shape);
	p->nan_values = otp_calloc((size_t)most, sizeof(float));
	for (int64_t i = 0; i < most; i++)
		p->nan_values[i] = NAN;
}

static otp_plan *make_plan(const otp_backend *backend, const otp_graph *g, otp_program_options options)
{
	bool narrow = options.precision == OTP_PRECISION_BF16 && backend->element_bytes[OTP_BF16];
	otp_type *types = otp_storage_types(g, narrow, options.narrow_spans);
	otp_plan *plan = otp_plan_new(g, options.types ? options.types : types, backend->element_bytes,
				      backend->rows_apart);
	otp_free(types);
	return plan;
}

static otp_program *begin(const otp_backend *backend, otp_device *device, const otp_graph *g,
			  void *const spans[OTP_MAX_SPANS], otp_program_options options)
{
	otp_program *p = otp_calloc(1, sizeof *p);
	p->backend = backend;
	p->device = device;
	p->graph = g;
	p->plan = make_plan(backend, g, options);
	if (spans)
		memcpy(p->spans, spans, sizeof p->spans);
	p->shared = options.shared;
	if (options.rounded)
		memcpy(p->rounded, options.rounded, sizeof p->rounded);
	return p;
}

static const char *purpose_of(otp_program_options options)
{
	return options.purpose ? options.purpose : "a program's values";
}

/* NULL and an error where memory is out. */
static void *take(const otp_program *p, size_t bytes, const char *what, otp_error *err)
{
	void *memory = p->backend->alloc(p->device, bytes);
	if (!memory)
		otp_backend_fail_memory(p->backend, p->device, bytes, what, err);
	return memory;
}

static size_t shared_bytes(const otp_plan *plan) { return (size_t)(plan->arena_bytes - plan->kept_bytes); }

size_t otp_program_shared_bytes(const otp_backend *backend, const otp_graph *g, otp_program_options options)
{
	otp_plan *plan = make_plan(backend, g, options);
	size_t bytes = shared_bytes(plan);
	otp_plan_free(plan);
	return bytes;
}

static bool take_arena(otp_program *p, otp_program_options options, otp_error *err)
{
	size_t own = (size_t)(p->shared ? p->plan->kept_bytes : p->plan->arena_bytes);
	OTP_ASSERT(!p->shared || p->shared->arena_bytes >= shared_bytes(p->plan),
		   "a program's arena of %zu bytes in one of %zu", shared_bytes(p->plan),
		   p->shared->arena_bytes);
	p->kept = take(p, own, purpose_of(options), err);
	p->arena = p->shared ? p->shared->arena : p->kept + p->plan->kept_bytes;
	return p->kept != NULL;
}

static void give_scratch(otp_program *p, void *scratch)
{
	p->scratch = scratch;
	for (int i = 0; i < p->call_count; i++)
		p->calls[i].scratch = scratch;
}

void otp_program_take_scratch(otp_program *p)
{
	OTP_ASSERT(p->shared && p->shared->scratch, "a program takes scratch that there is not");
	give_scratch(p, p->shared->scratch);
}

static bool take_scratch(otp_program *p, otp_program_options options, otp_error *err)
{
	if (p->shared) {
		if (p->shared->scratch_bytes < p->scratch_bytes)
			p->shared->scratch_bytes = p->scratch_bytes;
		return true;
	}
	void *scratch = take(p, p->scratch_bytes, purpose_of(options), err);
	give_scratch(p, scratch);
	return scratch != NULL;
}

/* bind_bytes: what binding needs beside our own memory; 0: not asked. */
static bool build(otp_program *p, otp_program_options options, size_t bind_bytes, otp_error *err)
{
	if (!take_arena(p, options, err))
		return false;
	if (bind_bytes && !otp_memory_can_have(bind_bytes))
		return otp_fail_memory(err, p->backend->name, bind_bytes, "a program's kernels",
				       otp_memory_available());
	add_calls(p, options);
	if (!bind_calls(p, err))
		return false;
	if (!take_scratch(p, options, err))
		return false;
	fill_constants(p);
	if (options.poison)
		make_poison(p);
	return true;
}

otp_program *otp_program_new(const otp_backend *backend, otp_device *device, const otp_graph *g,
			     void *const spans[OTP_MAX_SPANS], otp_program_options options)
{
	otp_error err = {0};
	otp_program *p = begin(backend, device, g, spans, options);
	if (!build(p, options, 0, &err))
		otp_end(&err);
	return p;
}

/* What oneDNN takes while it makes a program's primitives, most of it generated
 * code, with room to spare: it crashes where it cannot have it. Half is address
 * space that a thread's first call of malloc sets aside (64 MiB in glibc). */
enum { BIND_BYTES = 128 << 20 };

otp_program *otp_program_try(const otp_backend *backend, otp_device *device, const otp_graph *g,
			     void *const spans[OTP_MAX_SPANS], otp_program_options options, otp_error *err)
{
	otp_program *p = begin(backend, device, g, spans, options);
	if (build(p, options, BIND_BYTES, err))
		return p;
	otp_program_free(p);
	return NULL;
}

void otp_program_free(otp_program *p)
{
	if (!p)
		return;
	p->backend->forget(p->device, p->token);
	unbind_calls(p);
	p->backend->release(p->device, p->kept);
	if (!p->shared)
		p->backend->release(p->device, p->scratch);
	otp_free(p->calls);
	otp_free(p->call_node);
	otp_free(p->nan_values);
	otp_plan_free(p->plan);
	otp_free(p);
}

static void poison_tensor(otp_program *p, otp_tensor t)
{
	int64_t count = otp_shape_count(t.shape), row = t.step ? t.shape.c : count;
	size_t apart = (size_t)t.step * p->backend->element_bytes[t.type];
	char *at = t.data;
	for (int64_t i = 0; i < count; i += row, at += apart)
		p->backend->upload(p->device, at, t.type, p->nan_values, row);
}

/* Whether some of a node is there before it is computed. */
static bool has_parts(const otp_program *p, const otp_node *node)
{
	for (int i = 0; i < node->input_count; i++)
		if (p->plan->place[node->in[i]->id].part && p->plan->place[node->in[i]->id].root == node->id)
			return true;
	return false;
}

/* One call with every byte that the plan calls free, or not yet written, made NaN. */
static void run_poisoned(otp_program *p, int index)
{
	const otp_call *call = &p->calls[index];
	int id = p->call_node[index];
	if (call->out.data != call->in[0].data && !has_parts(p, otp_graph_node(p->graph, id)))
		poison_tensor(p, call->out);
	if (p->scratch_bytes)
		p->backend->upload(p->device, p->scratch, OTP_F32, p->nan_values,
				   (int64_t)(p->scratch_bytes / p->backend->element_bytes[OTP_F32]));
	void *token = NULL;
	p->backend->launch(p->device, call, 1, &token);
	p->backend->wait(p->device);
	p->backend->forget(p->device, token);

	const otp_node *node = otp_graph_node(p->graph, id);
	for (int i = 0; i < node->input_count; i++) {
		const otp_node *root = otp_graph_node(p->graph, p->plan->place[node->in[i]->id].root);
		bool passed_on = i == 0 && p->plan->place[id].in_place;
		if (p->plan->place[root->id].dies_at == id && root->span == OTP_SPAN_NONE && !passed_on)
			poison_tensor(p, tensor_of(p, root));
	}
}

void otp_program_run(otp_program *p)
{
	if (!p->nan_values) {
		p->backend->launch(p->device, p->calls, p->call_count, &p->token);
		return;
	}
	for (int i = 0; i < p->call_count; i++)
		run_poisoned(p, i);
}

void otp_program_write(otp_program *p, const otp_node *node, const void *values)
{
	OTP_ASSERT(node->op == OTP_OP_LEAF, "writing to a computed node (%s)", otp_op_name(node->op));
	if (p->plan->place[node->id].live) /* an input that nothing reads has no memory */
		p->backend->upload(p->device, node_data(p, node), p->plan->place[node->id].type, values,
				   otp_shape_count(node->shape));
}

void otp_program_read(otp_program *p, const otp_node *node, void *values)
{
	p->backend->wait(p->device);
	p->backend->download(p->device, values, p->plan->place[node->id].type, otp_program_data(p, node),
			     otp_shape_count(node->shape));
}

void *otp_program_data(otp_program *p, const otp_node *node)
{
	OTP_ASSERT(node->output || node->op == OTP_OP_LEAF, "%s is not kept after a run",
		   otp_op_name(node->op));
	return node_data(p, node);
}

static int64_t largest_tensor(const otp_program *p)
{
	int64_t most = 0;
	for (int id = 0; id < otp_graph_size(p->graph); id++) {
		const otp_node *node = otp_graph_node(p->graph, id);
		if (p->plan->place[id].live && node->span == OTP_SPAN_NONE &&
		    otp_shape_count(node->shape) > most)
			most = otp_shape_count(node->shape);
	}
	return most;
}

otp_program_size otp_program_measure(const otp_program *p)
{
	otp_program_size size = {
	    .arena_bytes = (size_t)p->plan->arena_bytes,
	    .kept_bytes = (size_t)p->plan->kept_bytes,
	    .unshared_bytes = (size_t)p->plan->unshared_bytes,
	    .scratch_bytes = p->scratch_bytes,
	    .largest = largest_tensor(p),
	    .calls = p->call_count,
	    .scratch_expected = p->scratch_expected,
	};
	return size;
}

/* Of one that was never more than planned. */
static void free_planned(otp_program *p)
{
	otp_plan_free(p->plan);
	otp_free(p->calls);
	otp_free(p->call_node);
	otp_free(p);
}

void otp_program_list(const otp_backend *backend, const otp_graph *g, otp_program_options options,
		      otp_see_call *see, void *context)
{
	otp_program *p = begin(backend, NULL, g, NULL, options);
	p->planned = p->listed = true;
	add_calls(p, options);
	for (int i = 0; i < p->call_count; i++)
		see(context, &p->calls[i]);
	free_planned(p);
}

otp_program_size otp_program_plan(const otp_backend *backend, otp_device *device, const otp_graph *g,
				  otp_program_options options)
{
	size_t before = otp_memory_in_use();
	otp_program *p = begin(backend, device, g, NULL, options);
	p->planned = true;
	add_calls(p, options);
	/* Beyond that size kernels cannot run, and a library need not know what they would take. */
	if (!backend->most_elements || largest_tensor(p) <= backend->most_elements)
		expect_scratch(p);
	otp_program_size size = otp_program_measure(p);
	size_t after = otp_memory_in_use();
	size.host_bytes = after > before ? after - before : 0;
	unbind_calls(p);
	free_planned(p);
	return size;
}

void otp_program_add_work(const otp_program *p, otp_peaks peaks, otp_work *by_op)
{
	for (int i = 0; i < p->call_count; i++) {
		otp_work work = otp_work_of_call(&p->calls[i], p->backend->element_bytes, peaks);
		otp_work *sum = &by_op[p->calls[i].op];
		sum->calls += work.calls;
		sum->bytes += work.bytes;
		sum->flops += work.flops;
		sum->floor_s += work.floor_s;
	}
}

void otp_program_profile(otp_program *p, int runs, double *seconds_by_op)
{
	memset(seconds_by_op, 0, OTP_OP_COUNT * sizeof *seconds_by_op);
	for (int run = 0; run < runs; run++)
		for (int i = 0; i < p->call_count; i++) {
			void *token = NULL;
			double start = otp_seconds();
			p->backend->launch(p->device, &p->calls[i], 1, &token);
			p->backend->wait(p->device);
			seconds_by_op[p->calls[i].op] += otp_seconds() - start;
			p->backend->forget(p->device, token);
		}
}
