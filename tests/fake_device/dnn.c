/* dnn.c: cuDNN's descriptors, as bags of attributes, and the engines that cuDNN
 * 9.19 proposes for a described H100 (tests/cuda_graphs.c asks the real one):
 * - a convolution alone, of float32 or of bfloat16 to bfloat16: engines that are
 *   ready, most of them with tensor cores, which round float32; some vary
 * - of bfloat16 to float32: none
 * - float32 and a bias: ready; any other epilogue: one that is compiled, with
 *   tensor cores
 * - attention and its adjoint: two that are compiled
 * A plan's text holds its engine and its operations, so that another process builds it without compiling. */
#include "fake_device/fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct attribute {
	struct attribute *next;
	cudnnBackendAttributeName_t name;
	size_t bytes;
	max_align_t values[];
} attribute;

typedef struct descriptor {
	cudnnBackendDescriptorType_t type;
	bool lives, finished;
	attribute *attributes;
	otp_fake_program *program; /* of a graph, and of what is made for it */
	otp_fake_engine engine;
	bool loaded; /* a plan: it ran before */
} descriptor;

struct cudnnContext {
	cudaStream_t stream;
};

enum { MOST_PROPOSED = 8, WORKSPACE_BYTES = 5000 };

static descriptor *given(cudnnBackendDescriptor_t d)
{
	descriptor *x = d;
	if (!x || !x->lives)
		otp_fake_forbid("cuDNN is given a descriptor that does not live");
	return x;
}

/* ---- attributes ---- */

static size_t size_of(cudnnBackendAttributeType_t type)
{
	switch (type) {
	case CUDNN_TYPE_BOOLEAN:
	case CUDNN_TYPE_CHAR:
		return 1;
	case CUDNN_TYPE_INT64:
	case CUDNN_TYPE_DOUBLE:
	case CUDNN_TYPE_VOID_PTR:
	case CUDNN_TYPE_HANDLE:
	case CUDNN_TYPE_BACKEND_DESCRIPTOR:
		return 8;
	default:
		return 4;
	}
}

static const attribute *find(const descriptor *d, cudnnBackendAttributeName_t name)
{
	const attribute *a = d->attributes;
	while (a && a->name != name)
		a = a->next;
	return a;
}

/* The first `bytes` of an attribute; false where it has fewer. */
static bool get(const descriptor *d, cudnnBackendAttributeName_t name, size_t bytes, void *values)
{
	const attribute *a = find(d, name);
	if (!a || a->bytes < bytes)
		return false;
	memcpy(values, a->values, bytes);
	return true;
}

/* A finished descriptor, NULL where there is none. */
static descriptor *get_descriptor(const descriptor *d, cudnnBackendAttributeName_t name)
{
	cudnnBackendDescriptor_t value;
	if (!get(d, name, sizeof value, (void *)&value))
		return NULL;
	descriptor *x = given(value);
	return x->finished ? x : NULL;
}

static void empty(descriptor *d)
{
	while (d->attributes) {
		attribute *a = d->attributes;
		d->attributes = a->next;
		otp_free(a);
	}
	if (d->program)
		otp_fake_program_release(d->program);
	d->program = NULL;
}

static void share_program(descriptor *to, const descriptor *from)
{
	empty(to);
	to->program = from->program;
	to->program->users++;
	to->engine = from->engine;
}

/* ---- graphs ---- */

/* How operations name what they read and write. */
static const struct {
	cudnnBackendDescriptorType_t type;
	int names[OTP_FAKE_SLOTS];
} forms[] = {
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
     {[OTP_FAKE_X] = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
      [OTP_FAKE_SECOND] = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
      [OTP_FAKE_Y] = CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y}},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
     {[OTP_FAKE_X] = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
      [OTP_FAKE_SECOND] = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
      [OTP_FAKE_Y] = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX}},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
     {[OTP_FAKE_X] = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
      [OTP_FAKE_SECOND] = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
      [OTP_FAKE_Y] = CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW}},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR,
     {[OTP_FAKE_X] = CUDNN_ATTR_OPERATION_POINTWISE_XDESC,
      [OTP_FAKE_SECOND] = CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
      [OTP_FAKE_Y] = CUDNN_ATTR_OPERATION_POINTWISE_YDESC}},
    {CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR,
     {[OTP_FAKE_X] = CUDNN_ATTR_OPERATION_REDUCTION_XDESC,
      [OTP_FAKE_Y] = CUDNN_ATTR_OPERATION_REDUCTION_YDESC}},
    {CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR,
     {[OTP_FAKE_X] = CUDNN_ATTR_OPERATION_MATMUL_ADESC,
      [OTP_FAKE_SECOND] = CUDNN_ATTR_OPERATION_MATMUL_BDESC,
      [OTP_FAKE_Y] = CUDNN_ATTR_OPERATION_MATMUL_CDESC}},
    {CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR,
     {[OTP_FAKE_X] = CUDNN_ATTR_OPERATION_RESHAPE_XDESC, [OTP_FAKE_Y] = CUDNN_ATTR_OPERATION_RESHAPE_YDESC}},
    {CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR,
     {[OTP_FAKE_X] = CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC,
      [OTP_FAKE_SECOND] = CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC,
      [OTP_FAKE_THIRD] = CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC,
      [OTP_FAKE_SCALE] = CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC,
      [OTP_FAKE_Y] = CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC,
      [OTP_FAKE_KEPT] = CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC}},
};
enum { FORMS = sizeof forms / sizeof *forms };

static bool is_convolution(cudnnBackendDescriptorType_t type)
{
	return type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR ||
	       type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR ||
	       type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR;
}

static bool read_tensor(const descriptor *d, otp_fake_tensor *t)
{
	int64_t alignment = 0;
	*t = (otp_fake_tensor){.exists = true};
	return d->type == CUDNN_BACKEND_TENSOR_DESCRIPTOR &&
	       get(d, CUDNN_ATTR_TENSOR_DIMENSIONS, sizeof t->size, t->size) &&
	       get(d, CUDNN_ATTR_TENSOR_STRIDES, sizeof t->step, t->step) &&
	       get(d, CUDNN_ATTR_TENSOR_DATA_TYPE, sizeof t->type, &t->type) &&
	       get(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, sizeof t->id, &t->id) &&
	       get(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, sizeof alignment, &alignment) && alignment == 16 &&
	       get(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, sizeof t->between, &t->between) &&
	       get(d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, sizeof t->by_value, &t->by_value) &&
	       (t->type == CUDNN_DATA_FLOAT || t->type == CUDNN_DATA_BFLOAT16);
}

static bool read_geometry(const descriptor *d, otp_fake_operation *o)
{
	const int names[] = {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
			     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
			     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC};
	const descriptor *geometry = NULL;
	for (int i = 0; i < 3 && !geometry; i++)
		geometry = get_descriptor(d, (cudnnBackendAttributeName_t)names[i]);
	return geometry && get(geometry, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, sizeof o->pad, o->pad) &&
	       get(geometry, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, sizeof o->stride, o->stride);
}

static bool read_formula(const descriptor *d, otp_fake_operation *o)
{
	const descriptor *formula = get_descriptor(d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
	if (!formula || !get(formula, CUDNN_ATTR_POINTWISE_MODE, sizeof o->mode, &o->mode))
		return false;
	get(formula, CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, sizeof o->slope, &o->slope);
	return true;
}

static bool read_operation(const descriptor *d, otp_fake_operation *o)
{
	int form = 0;
	while (form < FORMS && forms[form].type != d->type)
		form++;
	if (form == FORMS || !d->finished)
		return false;
	o->type = d->type;
	for (int slot = 0; slot < OTP_FAKE_SLOTS; slot++) {
		cudnnBackendAttributeName_t name = (cudnnBackendAttributeName_t)forms[form].names[slot];
		const descriptor *tensor = find(d, name) ? get_descriptor(d, name) : NULL;
		if (find(d, name) && !(tensor && read_tensor(tensor, &o->slot[slot])))
			return false;
	}
	return o->slot[OTP_FAKE_X].exists && o->slot[OTP_FAKE_Y].exists &&
	       (!is_convolution(d->type) || read_geometry(d, o)) &&
	       (d->type != CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR || read_formula(d, o));
}

static bool finish_graph(descriptor *d)
{
	const attribute *operations = find(d, CUDNN_ATTR_OPERATIONGRAPH_OPS);
	otp_fake_program *p = d->program = otp_calloc(1, sizeof *p);
	p->users = 1;
	p->count = operations ? (int)(operations->bytes / sizeof(void *)) : 0;
	OTP_ASSERT(p->count <= OTP_FAKE_MOST_OPERATIONS, "fake device: a graph of %d operations", p->count);
	for (int i = 0; i < p->count; i++) {
		cudnnBackendDescriptor_t operation;
		memcpy((void *)&operation, (const char *)operations->values + (size_t)i * sizeof operation,
		       sizeof operation);
		if (!read_operation(given(operation), &p->operations[i]))
			return false;
	}
	return p->count > 0;
}

/* ---- engines ---- */

/* By their modes, best first; modes A and B propose much the same. */
static int propose(const otp_fake_program *p, cudnnBackendHeurMode_t mode,
		   otp_fake_engine engines[MOST_PROPOSED])
{
	static const otp_fake_engine rounding = {.tensor_cores = true, .index = 62},
				     varying = {.varies = true, .index = 22}, plain = {.index = 1};
	const otp_fake_operation *first = &p->operations[0], *last = &p->operations[p->count - 1];
	bool narrow = first->slot[OTP_FAKE_X].type == CUDNN_DATA_BFLOAT16;
	bool wide_result = last->slot[OTP_FAKE_Y].type == CUDNN_DATA_FLOAT;
	bool biased = p->count == 2 && last->mode == CUDNN_POINTWISE_ADD && !narrow;
	int count = 0;
	if (!is_convolution(first->type) || (p->count > 1 && !biased)) {
		int compiled = is_convolution(first->type) ? 1 : 2;
		for (; count < compiled && mode == CUDNN_HEUR_MODE_A; count++)
			engines[count] =
			    (otp_fake_engine){.tensor_cores = true, .compiled = true, .index = 7 + count};
	} else if (narrow && wide_result) {
		return 0;
	} else {
		if (mode != CUDNN_HEUR_MODE_FALLBACK)
			engines[count++] = rounding;
		if (mode == CUDNN_HEUR_MODE_A) {
			engines[count] = rounding;
			engines[count++].knob = 1;
		}
		if (mode == CUDNN_HEUR_MODE_B)
			engines[count++] = varying;
		engines[count++] = plain;
	}
	return count;
}

static cudnnStatus_t read_proposals(const descriptor *heuristics, int64_t most, int64_t *count,
				    cudnnBackendDescriptor_t *configs)
{
	otp_fake_engine engines[MOST_PROPOSED];
	cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
	const descriptor *graph = get_descriptor(heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
	get(heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, sizeof mode, &mode);
	int proposed = graph ? propose(graph->program, mode, engines) : 0;
	*count = proposed < most ? proposed : most;
	for (int i = 0; i < *count; i++) {
		descriptor *config = given(configs[i]);
		share_program(config, graph);
		config->engine = engines[i];
		config->finished = true;
	}
	return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t read_notes(const descriptor *d, cudnnBackendAttributeName_t name, int64_t most,
				int64_t *count, void *notes)
{
	cudnnBackendNumericalNote_t *numerical = notes;
	cudnnBackendBehaviorNote_t *behaviour = notes;
	*count = 0;
	if (most < 2)
		return CUDNN_STATUS_BAD_PARAM;
	if (name == CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE) {
		if (d->engine.compiled)
			behaviour[(*count)++] = CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
		return CUDNN_STATUS_SUCCESS;
	}
	if (d->engine.tensor_cores)
		numerical[(*count)++] = CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
	if (d->engine.varies)
		numerical[(*count)++] = CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
	return CUDNN_STATUS_SUCCESS;
}

static int64_t workspace_of(const descriptor *plan)
{
	const char *asked = getenv("OTPLAN_FAKE_WORKSPACE");
	return !plan->engine.tensor_cores ? 0 : asked ? atoll(asked) : WORKSPACE_BYTES;
}

static bool finish_plan_of_config(descriptor *d)
{
	const descriptor *config = get_descriptor(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
	if (!config || !config->program || otp_fake_refuses("plan") ||
	    (config->engine.compiled && otp_fake_refuses("compile")))
		return false;
	share_program(d, config);
	return true;
}

/* ---- plans as text: "fake plan VERSION OPERATIONS BYTES ", then engine and operations in hexadecimal ----
 */

enum { HEAD_BYTES = 64 };

static size_t state_bytes(int operations)
{
	return sizeof(otp_fake_engine) + (size_t)operations * sizeof(otp_fake_operation);
}

static int write_head(char head[HEAD_BYTES], int operations)
{
	return snprintf(head, HEAD_BYTES, "fake plan %zu %d %zu ", cudnnGetVersion(), operations,
			state_bytes(operations));
}

/* As long as it is, or as much as there is room for. */
static cudnnStatus_t describe_plan(const descriptor *d, int64_t most, int64_t *count, char *text)
{
	char head[HEAD_BYTES];
	int operations = d->program->count, length = write_head(head, operations);
	size_t bytes = state_bytes(operations);
	*count = length + 2 * (int64_t)bytes;
	if (!text || most < *count)
		return CUDNN_STATUS_SUCCESS;
	unsigned char *state = otp_calloc(bytes, 1);
	memcpy(state, &d->engine, sizeof d->engine);
	memcpy(state + sizeof d->engine, d->program->operations, bytes - sizeof d->engine);
	memcpy(text, head, (size_t)length);
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < bytes; i++) {
		text[(size_t)length + 2 * i] = digits[state[i] / 16];
		text[(size_t)length + 2 * i + 1] = digits[state[i] % 16];
	}
	otp_free(state);
	return CUDNN_STATUS_SUCCESS;
}

static bool finish_plan_of_text(descriptor *d, const attribute *given_text)
{
	char head[HEAD_BYTES], *text = otp_calloc(given_text->bytes + 1, 1);
	int operations = 0;
	memcpy(text, given_text->values, given_text->bytes);
	bool good = sscanf(text, "fake plan %*u %d", &operations) == 1 && operations > 0 &&
		    operations <= OTP_FAKE_MOST_OPERATIONS;
	size_t length = good ? (size_t)write_head(head, operations) : 0, bytes = state_bytes(operations);
	good = good && given_text->bytes == length + 2 * bytes && memcmp(text, head, length) == 0;
	unsigned char *state = otp_calloc(good ? bytes : 1, 1);
	for (size_t i = 0; i < bytes && good; i++)
		good = sscanf(text + length + 2 * i, "%2hhx", &state[i]) == 1;
	if (good) {
		d->program = otp_calloc(1, sizeof *d->program);
		d->program->users = 1;
		d->program->count = operations;
		memcpy(&d->engine, state, sizeof d->engine);
		memcpy(d->program->operations, state + sizeof d->engine, bytes - sizeof d->engine);
	}
	otp_free(state);
	otp_free(text);
	return good;
}

static bool finish_plan(descriptor *d)
{
	const attribute *text = find(d, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION);
	return text ? !otp_fake_refuses("text") && finish_plan_of_text(d, text) : finish_plan_of_config(d);
}

/* ---- the interface ---- */

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *d)
{
	OTP_FAKE_CALL;
	if (call.refused)
		return CUDNN_STATUS_ALLOC_FAILED;
	if (type == CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR && getenv("OTPLAN_FAKE_OLD"))
		return CUDNN_STATUS_NOT_SUPPORTED;
	descriptor *made = otp_calloc(1, sizeof *made);
	*made = (descriptor){.type = type, .lives = true};
	otp_fake_count(OTP_FAKE_DESCRIPTOR, 1);
	*d = made;
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d)
{
	OTP_FAKE_CALL;
	descriptor *x = given(d);
	empty(x);
	x->lives = false;
	otp_free(x);
	otp_fake_count(OTP_FAKE_DESCRIPTOR, -1);
	return call.refused ? CUDNN_STATUS_INTERNAL_ERROR : CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
				       cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
	OTP_FAKE_CALL;
	descriptor *x = given(d);
	if (call.refused || x->finished || find(x, name))
		return CUDNN_STATUS_BAD_PARAM;
	size_t bytes = size_of(type) * (size_t)count;
	attribute *a = otp_calloc(1, sizeof *a + bytes);
	*a = (attribute){x->attributes, name, bytes};
	memcpy(a->values, values, bytes);
	x->attributes = a;
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t d)
{
	OTP_FAKE_CALL;
	descriptor *x = given(d);
	if (call.refused || x->finished)
		return CUDNN_STATUS_BAD_PARAM;
	if (x->type == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR && !finish_graph(x))
		return CUDNN_STATUS_NOT_SUPPORTED;
	if (x->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR && !finish_plan(x))
		return CUDNN_STATUS_NOT_SUPPORTED;
	x->finished = true;
	return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t give_number(int64_t *count, int64_t *values, int64_t number)
{
	*count = 1;
	*values = number;
	return CUDNN_STATUS_SUCCESS;
}

/* A descriptor that holds the same engine. */
static cudnnStatus_t give_part(const descriptor *x, int64_t *count, const cudnnBackendDescriptor_t *values)
{
	descriptor *part = given(*values);
	if (x->program)
		share_program(part, x);
	part->engine = x->engine;
	part->finished = true;
	*count = 1;
	return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t describe_device(int64_t most, int64_t *count, void *text)
{
	static const char description[] = "{\"deviceName\": \"Fake device, no GPU\"}";
	*count = sizeof description;
	if (text)
		memcpy(text, description, (size_t)(most < *count ? most : *count));
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
				       cudnnBackendAttributeType_t type, int64_t most, int64_t *count,
				       void *values)
{
	OTP_FAKE_CALL;
	(void)type;
	const descriptor *x = given(d);
	if (call.refused || !x->finished)
		return CUDNN_STATUS_NOT_SUPPORTED;
	switch ((int)name) {
	case CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION:
		return describe_device(most, count, values);
	case CUDNN_ATTR_ENGINEHEUR_RESULTS:
		return read_proposals(x, most, count, values);
	case CUDNN_ATTR_ENGINECFG_ENGINE:
	case CUDNN_ATTR_ENGINECFG_KNOB_CHOICES:
		return give_part(x, count, values);
	case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
		return give_number(count, values, x->engine.index);
	case CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE:
		return give_number(count, values, x->engine.knob);
	case CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE:
		*(cudnnBackendKnobType_t *)values = CUDNN_KNOB_TYPE_TILE_SIZE;
		*count = 1;
		return CUDNN_STATUS_SUCCESS;
	case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
	case CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE:
		return read_notes(x, name, most, count, values);
	case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
		return give_number(count, values, workspace_of(x));
	case CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION:
		return describe_plan(x, most, count, values);
	default:
		return CUDNN_STATUS_NOT_SUPPORTED;
	}
}

static bool read_pack(const descriptor *pack, otp_fake_run *run)
{
	const attribute *ids = find(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
	const attribute *data = find(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
	if (!ids || !data || ids->bytes != data->bytes)
		return false;
	run->count = (int)(ids->bytes / sizeof(int64_t));
	OTP_ASSERT(run->count <= OTP_FAKE_MOST_BOUND, "fake device: %d tensors of a plan", run->count);
	for (int i = 0; i < run->count; i++) {
		memcpy(&run->bound[i].id, (const int64_t *)ids->values + i, sizeof run->bound[i].id);
		memcpy(&run->bound[i].memory, (void *const *)data->values + i, sizeof run->bound[i].memory);
	}
	return get(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, sizeof run->workspace, &run->workspace);
}

static void release_run(void *run)
{
	otp_fake_program_release(((otp_fake_run *)run)->program);
	otp_free(run);
}

/* A plan of several operations takes as long as one launch, and a little longer for each; compiled ones a
 * hundred times as long where that is asked for. */
static float time_of(const descriptor *plan)
{
	const char *slow = getenv("OTPLAN_FAKE_SLOW");
	float launch = (float)OTP_FAKE_MICROSECONDS / 1000;
	float taken =
	    launch * (1 + 0.01F * (float)plan->program->count + (plan->engine.tensor_cores ? 0 : 0.5F));
	return slow && plan->engine.compiled ? 100 * taken : taken;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t d,
				  cudnnBackendDescriptor_t pack)
{
	OTP_FAKE_CALL;
	descriptor *plan = given(d);
	if (call.refused || !plan->finished || !plan->program || !given(pack)->finished || !handle->stream)
		return CUDNN_STATUS_BAD_PARAM;
	otp_fake_run *run = otp_calloc(1, sizeof *run);
	*run = (otp_fake_run){
	    .program = plan->program, .engine = plan->engine, .workspace_bytes = (size_t)workspace_of(plan)};
	run->program->users++;
	if (!read_pack(given(pack), run) || !otp_fake_run_bind(run)) {
		release_run(run);
		return CUDNN_STATUS_BAD_PARAM;
	}
	otp_fake_work work = {"a plan of cuDNN's", otp_fake_run_execute, release_run, run, time_of(plan)};
	otp_fake_count_launch();
	return otp_fake_issue(handle->stream, work, &plan->loaded) ? CUDNN_STATUS_SUCCESS
								   : CUDNN_STATUS_EXECUTION_FAILED;
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
	OTP_FAKE_CALL;
	if (call.refused)
		return CUDNN_STATUS_ALLOC_FAILED;
	*handle = otp_calloc(1, sizeof **handle);
	otp_fake_count(OTP_FAKE_DNN, 1);
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
	OTP_FAKE_CALL;
	otp_free(handle);
	otp_fake_count(OTP_FAKE_DNN, -1);
	return call.refused ? CUDNN_STATUS_INTERNAL_ERROR : CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
	OTP_FAKE_CALL;
	handle->stream = stream;
	return call.refused ? CUDNN_STATUS_BAD_PARAM : CUDNN_STATUS_SUCCESS;
}

/* As of its headers. */
size_t cudnnGetVersion(void) { return CUDNN_VERSION; }

const char *cudnnGetErrorString(cudnnStatus_t status)
{
	static _Thread_local char text[64];
	snprintf(text, sizeof text, "status %d of the fake device", (int)status);
	return text;
}
