/* dnn_plan.c: which of cuDNN's candidates computes a convolution. The first
 * time on a machine they are timed; the choice is kept (choices.c). Every plan
 * must agree with probe.cu before it is used; a choice that does not, or that
 * cannot be built any more, is made again. */
#include "cuda/dnn.h"
#include "cuda/probe.h"
#include "cuda/timing.h"

#include "scalar.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Timed at most, of engines that are there and of those that take seconds to compile. */
enum { MOST_READY = 16, MOST_COMPILED = OTP_DNN_COMPILED_CONV };
static const int64_t MOST_WORKSPACE = (int64_t)512 << 20;

/* Of one convolution: at most a quarter of what is free, so that what a run still has to allocate finds room.
 */
static int64_t workspace_room(void)
{
	size_t left = 0, whole = 0;
	CUDA_CHECK(cudaMemGetInfo(&left, &whole));
	return (int64_t)(left / 4) < MOST_WORKSPACE ? (int64_t)(left / 4) : MOST_WORKSPACE;
}

/* ---- building and running ---- */

/* Of a candidate's configuration or of a plan's text. */
static cudnnBackendDescriptor_t build(cudnnHandle_t handle, cudnnBackendAttributeName_t name,
				      cudnnBackendAttributeType_t type, int64_t count, const void *values,
				      int64_t *workspace_bytes)
{
	cudnnBackendDescriptor_t plan = NULL;
	int64_t found = 0;
	CUDNN_CHECK(cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan));
	if (!plan)
		return NULL;
	if (cudnnBackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle) ==
		CUDNN_STATUS_SUCCESS &&
	    cudnnBackendSetAttribute(plan, name, type, count, values) == CUDNN_STATUS_SUCCESS &&
	    cudnnBackendFinalize(plan) == CUDNN_STATUS_SUCCESS &&
	    cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1,
				     &found, workspace_bytes) == CUDNN_STATUS_SUCCESS &&
	    *workspace_bytes <= MOST_WORKSPACE)
		return plan;
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(plan));
	return NULL;
}

cudnnBackendDescriptor_t otp_dnn_build_with(cudnnHandle_t handle, const otp_dnn_candidate *c,
					    int64_t *workspace_bytes)
{
	return build(handle, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
		     &c->config, workspace_bytes);
}

cudnnBackendDescriptor_t otp_dnn_rebuild(otp_device *d, const char *key, otp_dnn_choice choice,
					 int64_t *workspace_bytes)
{
	size_t bytes;
	const char *text = choice.mode < 0 ? NULL : otp_dnn_find_text(d, key, choice, &bytes);
	if (!text)
		return NULL;
	cudnnBackendDescriptor_t plan = build(d->dnn, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
					      CUDNN_TYPE_CHAR, (int64_t)bytes, text, workspace_bytes);
	if (!plan)
		otp_dnn_refuse_text(d, key, choice);
	return plan;
}

cudnnBackendDescriptor_t otp_dnn_build(otp_device *d, const char *key, const otp_dnn_candidate *c,
				       int64_t *workspace_bytes)
{
	cudnnBackendDescriptor_t plan = otp_dnn_rebuild(d, key, c->choice, workspace_bytes);
	if (plan)
		return plan;
	otp_cuda_building(&d->builds, c->compiled);
	return otp_dnn_build_with(d->dnn, c, workspace_bytes);
}

cudnnStatus_t otp_dnn_execute(otp_device *d, cudnnBackendDescriptor_t plan, int count, const int64_t *ids,
			      const void *const *data, void *workspace)
{
	cudnnBackendDescriptor_t pack = NULL;
	CUDNN_CHECK(cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack));
	if (!pack)
		return CUDNN_STATUS_ALLOC_FAILED;
	CUDNN_CHECK(cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
					     count, data));
	CUDNN_CHECK(
	    cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids));
	CUDNN_CHECK(cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
					     &workspace));
	CUDNN_CHECK(cudnnBackendFinalize(pack));
	cudnnStatus_t status = cudnnBackendExecute(d->dnn, plan, pack);
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(pack));
	return status;
}

static cudnnStatus_t execute(otp_device *d, cudnnBackendDescriptor_t plan, const otp_dnn_conv *conv,
			     void *const data[OTP_DNN_ROLES], void *workspace)
{
	int64_t ids[OTP_DNN_ROLES];
	const void *pointers[OTP_DNN_ROLES];
	int count = 0;
	for (int role = 0; role < OTP_DNN_ROLES; role++)
		if (otp_dnn_takes(conv, (otp_dnn_role)role)) {
			pointers[count] = role == OTP_DNN_SCALE ? &conv->after.scale : data[role];
			ids[count++] = role;
		}
	return otp_dnn_execute(d, plan, count, ids, pointers, workspace);
}

void otp_dnn_convolve(otp_device *d, const otp_dnn_plan *p, void *const data[OTP_DNN_ROLES], void *workspace)
{
	CUDNN_CHECK(execute(d, p->plan, &p->conv, data, workspace));
}

/* ---- trying a plan on made-up data ---- */

enum { PROBES = 4096 };

typedef struct bench {
	otp_device *device;
	const otp_dnn_conv *conv;
	otp_shape shape[OTP_DNN_ROLES];
	otp_type type[OTP_DNN_ROLES];
	float *data[OTP_DNN_ROLES]; /* float32 */
	void *given[OTP_DNN_ROLES]; /* what the probe is handed: the same, or bfloat16 */
	void *apart[OTP_DNN_ROLES]; /* what plans are handed where its rows lie apart: the same in those */
	float *value, *size;	    /* of the probes */
	int64_t room;		    /* for a plan\'s workspace */
	bool crowded;		    /* the device had no room for some of it, or for a workspace */
} bench;

static void *bench_alloc(bench *b, size_t bytes)
{
	void *memory = otp_cuda_try_alloc(bytes);
	b->crowded |= !memory;
	return memory;
}

static otp_tensor given_of(const bench *b, int role)
{
	return (otp_tensor){b->given[role], b->shape[role], b->type[role], NULL};
}

static bool stores_bf16(const otp_dnn_conv *conv, otp_dnn_role role)
{
	if (role > OTP_DNN_Y)
		return role == OTP_DNN_RESIDUAL && conv->after.bf16_residual;
	return role == otp_dnn_result(conv) ? conv->bf16_out : conv->bf16_in;
}

static int step_of(const otp_dnn_conv *conv, int role)
{
	return role == OTP_DNN_Y ? conv->y_step : role == OTP_DNN_RESIDUAL ? conv->r_step : 0;
}

/* An operand's rows to where they lie apart, or back; between them come zeros. */
static void copy_rows(const bench *b, int role, bool back)
{
	int c = b->shape[role].c, step = step_of(b->conv, role);
	int rows = (int)(otp_shape_count(b->shape[role]) / c);
	otp_tensor dense = {b->given[role], otp_shape4(rows, 1, 1, c), b->type[role], NULL};
	otp_tensor apart = {b->apart[role], otp_shape4(rows, 1, 1, step), b->type[role], NULL};
	otp_call call = {.op = back ? OTP_OP_slice : OTP_OP_pad, .device = b->device};
	call.attr.slice.axis = OTP_AXIS_C;
	call.attr.slice.count = back ? c : step;
	call.in[0] = back ? apart : dense;
	call.out = back ? dense : apart;
	(back ? otp_cuda_slice : otp_cuda_pad).run(&call);
}

static void spread_operand(bench *b, int role)
{
	int64_t rows = otp_shape_count(b->shape[role]) / b->shape[role].c;
	if (!step_of(b->conv, role))
		return;
	b->apart[role] = bench_alloc(b, (size_t)rows * (size_t)step_of(b->conv, role) * sizeof(float));
	if (!b->crowded)
		copy_rows(b, role, false);
}

/* Memory for one operand, and made-up values in it. */
static void fill_operand(bench *b, int role)
{
	otp_call call = {.device = b->device};
	int64_t count = otp_shape_count(b->shape[role]);
	b->given[role] = b->data[role] = bench_alloc(b, (size_t)count * sizeof(float));
	if (b->crowded)
		return;
	otp_cuda_fill(&call, b->data[role], count, (uint32_t)role);
	if (!stores_bf16(b->conv, (otp_dnn_role)role))
		return;
	b->type[role] = OTP_BF16;
	b->given[role] = bench_alloc(b, (size_t)count * sizeof(uint16_t));
	if (b->crowded)
		return;
	otp_tensor wide = {b->data[role], b->shape[role], OTP_F32, NULL}, narrow = given_of(b, role);
	otp_cuda_convert(&call, &narrow, &wide);
	otp_cuda_convert(&call, &wide, &narrow); /* now both hold the same */
}

/* False where the device has no room for it; to be closed in either case. */
static bool open_bench(bench *b, otp_device *d, const otp_dnn_conv *conv)
{
	*b = (bench){
	    .device = d, .conv = conv, .shape = {conv->x, conv->w, conv->y, {1, 1, 1, conv->y.c}, conv->y}};
	b->room = workspace_room();
	for (int role = 0; role < OTP_DNN_SCALE && !b->crowded; role++)
		if (otp_dnn_takes(conv, (otp_dnn_role)role)) {
			fill_operand(b, role);
			spread_operand(b, role);
		}
	b->value = bench_alloc(b, PROBES * sizeof *b->value);
	b->size = bench_alloc(b, PROBES * sizeof *b->size);
	return !b->crowded;
}

static void close_bench(bench *b)
{
	CUDA_CHECK(cudaStreamSynchronize(b->device->stream));
	for (int role = 0; role < OTP_DNN_ROLES; role++) {
		if (b->given[role] != b->data[role])
			CUDA_CHECK(cudaFree(b->given[role]));
		CUDA_CHECK(cudaFree(b->data[role]));
		CUDA_CHECK(cudaFree(b->apart[role]));
	}
	CUDA_CHECK(cudaFree(b->value));
	CUDA_CHECK(cudaFree(b->size));
}

/* A plan on trial. */
typedef struct trial {
	cudnnBackendDescriptor_t plan;
	int64_t workspace_bytes;
	float taken; /* milliseconds; INFINITY where it does not run */
	otp_dnn_choice choice;
} trial;

typedef struct ready_run {
	const bench *bench;
	const trial *trial;
	void *workspace;
} ready_run;

static bool run_once(const void *context)
{
	const ready_run *r = context;
	const bench *b = r->bench;
	void *data[OTP_DNN_ROLES];
	for (int role = 0; role < OTP_DNN_ROLES; role++)
		data[role] = b->apart[role] ? b->apart[role] : b->given[role];
	return execute(b->device, r->trial->plan, b->conv, data, r->workspace) == CUDNN_STATUS_SUCCESS;
}

/* Of one run alone that it took no time. */
typedef enum effort { ONCE, CAPTURED, ONE_BY_ONE } effort;

static void run_trial(bench *b, trial *t, effort how)
{
	ready_run r = {b, t, NULL};
	bool fits = t->workspace_bytes <= b->room;
	t->taken = INFINITY;
	b->crowded |= !fits;
	if (!fits || !(r.workspace = bench_alloc(b, (size_t)t->workspace_bytes)))
		return;
	if (how != ONCE)
		t->taken = otp_cuda_time(b->device, run_once, &r, how == ONE_BY_ONE);
	else if (run_once(&r))
		t->taken = 0;
	CUDA_CHECK(cudaStreamSynchronize(b->device->stream));
	CUDA_CHECK(cudaFree(r.workspace));
}

/* Products that one element of the result adds up. */
static double terms_of(const otp_dnn_conv *c)
{
	double taps = (double)c->w.h * c->w.w;
	return c->direction == OTP_DNN_FORWARD ? taps * c->x.c
	       : c->direction == OTP_DNN_DGRAD ? taps * c->y.c
					       : (double)c->y.n * c->y.h * c->y.w;
}

/* What an error may be, in units of the sum of absolute products. Float32 sums: their roundings differ in
 * sign and so add up like a square root. TF32: either operand's rounding is 2^-11. Bfloat16 operands are the
 * probe's own, so their products are exact, but tensor cores cut sums off instead of rounding them, by 2^-23
 * for at least eight products at a time, always the same way. A bfloat16 result is rounded by 2^-8. */
static double tolerance_of(const otp_dnn_conv *c)
{
	double sums = 0x1p-24 * (8 + sqrt(terms_of(c)));
	return sums +
	       (c->bf16_in ? 0x1p-23 * terms_of(c) / 8
		: c->tf32  ? 0x1p-10
			   : 0) +
	       (c->bf16_out ? 0x1p-8 : 0);
}

/* Every step-th element from the device. */
static void sample(float *host, const float *from, int64_t count, int64_t step)
{
	CUDA_CHECK(cudaMemcpy2D(host, sizeof *host, from, (size_t)step * sizeof *host, sizeof *host,
				(size_t)count, cudaMemcpyDeviceToHost));
}

/* Some elements of the last run's result against the probe's, whose step is odd so that it meets all
 * channels. */
static bool agrees(bench *b, const char *key)
{
	static const otp_probe_into into[] = {OTP_PROBE_Y, OTP_PROBE_X, OTP_PROBE_W}; /* by direction */
	const otp_dnn_conv *c = b->conv;
	int result = (int)otp_dnn_result(c);
	int64_t all = otp_shape_count(b->shape[result]), count = all < PROBES ? all : PROBES;
	int64_t step = all / count > 1 ? (all / count - 1) | 1 : 1;
	otp_call call = {.device = b->device};
	otp_probe probe = {into[c->direction],
			   given_of(b, OTP_DNN_X),
			   given_of(b, OTP_DNN_W),
			   given_of(b, OTP_DNN_Y),
			   c->stride,
			   c->pad};
	otp_tensor value = {b->value, {1, 1, 1, (int)count}, OTP_F32, NULL}, from = given_of(b, result),
		   to = {b->data[result], b->shape[result], OTP_F32};
	float *host = otp_calloc(4 * PROBES + (size_t)c->y.c, sizeof *host);
	float *got = host, *want = host + PROBES, *size = host + 2 * PROBES, *residual = host + 3 * PROBES;
	float *bias = host + 4 * PROBES; /* zeros, as the residual, where there is none */
	otp_cuda_probe(&call, &probe, count, step, &value, b->size);
	if (b->apart[result])
		copy_rows(b, result, true);
	if (c->bf16_out)
		otp_cuda_convert(&call, &to, &from);
	CUDA_CHECK(cudaStreamSynchronize(b->device->stream));
	sample(got, b->data[result], count, step);
	sample(want, b->value, count, 1);
	sample(size, b->size, count, 1);
	if (c->after.residual)
		sample(residual, b->data[OTP_DNN_RESIDUAL], count, step);
	if (c->after.bias)
		sample(bias, b->data[OTP_DNN_BIAS], c->y.c, 1);
	double worst = 0, allowed = tolerance_of(c);
	double scale = c->after.bias ? (double)c->after.scale : 1;
	double slope = c->after.bias ? (double)c->after.slope : 1;
	for (int64_t i = 0; i < count; i++) {
		double first = (double)bias[i * step % c->y.c], second = (double)residual[i];
		double exact = otp_lrelu_d(scale * ((double)want[i] + first + second), slope);
		double error = fabs((double)got[i] - exact) /
			       (scale * ((double)size[i] + fabs(first) + fabs(second)) + 1e-30);
		worst = otp_dnn_worst(worst, error);
	}
	otp_free(host);
	if (!(worst <= allowed))
		otp_cuda_say("an engine is off by %.3g, at most %.3g is allowed, and is not used: %s", worst,
			     allowed, key);
	return worst <= allowed;
}

/* ---- choosing ---- */

static void take(otp_dnn_plan *p, const trial *t)
{
	p->plan = t->plan;
	p->workspace_bytes = (size_t)t->workspace_bytes;
	p->taken = t->taken;
	p->choice = t->choice;
	p->verdict = OTP_WAY_TIMED;
}

/* Into p where a run of it agrees; else it is gone. */
static bool accept(bench *b, otp_dnn_plan *p, trial *t)
{
	float taken = t->taken;
	run_trial(b, t, ONCE);
	if (t->taken < INFINITY && agrees(b, p->key)) {
		t->taken = taken;
		take(p, t);
		return true;
	}
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(t->plan));
	t->plan = NULL;
	return false;
}

static int by_time(const void *a, const void *b)
{
	const trial *x = a, *y = b;
	return (x->taken > y->taken) - (x->taken < y->taken);
}

/* The fastest that agrees is taken into p. */
static void time_candidates(bench *b, otp_dnn_plan *p, const otp_dnn_candidate *list, int count, effort how)
{
	trial trials[MOST_READY];
	int tried = 0, most = p->conv.compiled ? MOST_COMPILED : MOST_READY;
	for (int i = 0; i < count && tried < most; i++) {
		trial *t = &trials[tried];
		*t = (trial){.choice = list[i].choice};
		t->plan = otp_dnn_build(b->device, p->key, &list[i], &t->workspace_bytes);
		if (!t->plan)
			continue;
		run_trial(b, t, how);
		tried++;
	}
	qsort(trials, (size_t)tried, sizeof *trials, by_time);
	for (int i = 0; i < tried; i++)
		if (p->plan || trials[i].taken == INFINITY)
			CUDNN_CHECK(cudnnBackendDestroyDescriptor(trials[i].plan));
		else
			accept(b, p, &trials[i]);
}

typedef struct epilogue_run {
	otp_call call;
	otp_tensor out, y, bias, residual;
	const otp_dnn_epilogue *after;
} epilogue_run;

static bool run_epilogue(const void *context)
{
	const epilogue_run *r = context;
	otp_cuda_epilogue(&r->call, &r->out, &r->y, &r->bias, r->after->residual ? &r->residual : NULL,
			  r->after->scale, r->after->slope);
	return true;
}

float otp_dnn_time_epilogue(otp_device *d, const otp_dnn_conv *conv, otp_type stored)
{
	bench b;
	bool good = open_bench(&b, d, conv);
	epilogue_run r = {.call = {.device = d},
			  .y = given_of(&b, OTP_DNN_Y),
			  .bias = given_of(&b, OTP_DNN_BIAS),
			  .residual = given_of(&b, OTP_DNN_RESIDUAL),
			  .after = &conv->after};
	r.out = r.y;
	r.out.type = stored;
	if (stored != r.y.type)
		r.out.data = bench_alloc(&b, (size_t)otp_shape_count(r.y.shape) * sizeof(float));
	float taken = good && r.out.data ? otp_cuda_time(d, run_epilogue, &r, false) : INFINITY;
	if (r.out.data != r.y.data)
		CUDA_CHECK(cudaFree(r.out.data));
	close_bench(&b);
	return taken;
}

float otp_dnn_time(otp_device *d, otp_dnn_plan *p)
{
	bench b;
	trial t = {.plan = p->plan, .workspace_bytes = (int64_t)p->workspace_bytes};
	if (p->taken)
		return p->taken;
	t.taken = INFINITY;
	if (open_bench(&b, d, &p->conv))
		run_trial(&b, &t, CAPTURED);
	close_bench(&b);
	return p->taken = t.taken;
}

static void keep(otp_device *d, const otp_dnn_plan *p)
{
	otp_dnn_keep_choice(d, p->key, p->choice);
	otp_dnn_keep_plan(d, p->key, p->choice, p->plan);
}

void otp_dnn_settle(otp_device *d, otp_dnn_plan *p, bool wanted)
{
	p->verdict = wanted ? OTP_WAY_WANTED : OTP_WAY_UNWANTED;
	if (wanted) {
		keep(d, p);
		return;
	}
	otp_dnn_keep_choice(d, p->key, (otp_dnn_choice){OTP_DNN_NONE_WANTED, p->choice.rank});
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(p->plan));
	p->plan = NULL;
}

/* Chosen anew, and kept; of a plan with an epilogue when it is settled whether it is wanted. */
static void choose_by_time(bench *b, otp_dnn_plan *p, const otp_dnn_candidate *list, int count)
{
	time_candidates(b, p, list, count, CAPTURED);
	if (!p->plan) /* a library that cannot be captured is better than none */
		time_candidates(b, p, list, count, ONE_BY_ONE);
	if (p->plan && !p->conv.after.bias && !b->crowded) /* with more room another may be faster */
		keep(b->device, p);
}

static void drop_plan(const trial *t)
{
	if (t->plan)
		CUDNN_CHECK(cudnnBackendDestroyDescriptor(t->plan));
}

/* The first that can be built with as much workspace as there is room for, on the heuristics' word; else that
 * with the least: a trial needs room of its own, and a run that has just enough must not end for it. Not kept
 * in the file. */
static bool take_untried(otp_device *d, otp_dnn_plan *p, const otp_dnn_candidate *list, int count)
{
	trial best = {.plan = NULL};
	int64_t room = workspace_room();
	for (int i = 0; i < count && !(best.plan && best.workspace_bytes <= room); i++) {
		trial t = {.taken = INFINITY, .choice = list[i].choice};
		t.plan = otp_dnn_build(d, p->key, &list[i], &t.workspace_bytes);
		bool better = t.plan && (!best.plan || t.workspace_bytes < best.workspace_bytes);
		drop_plan(better ? &best : &t);
		best = better ? t : best;
	}
	if (!best.plan)
		return false;
	take(p, &best);
	if (p->conv.after.bias)
		p->verdict = OTP_WAY_WANTED; /* nothing to compare it by */
	return true;
}

static int find_candidates(const otp_dnn_plan *p, otp_dnn_candidate list[OTP_DNN_MOST_CANDIDATES])
{
	return otp_dnn_candidates(&p->graph, otp_dnn_rounds(&p->conv), p->conv.compiled, list);
}

/* What was chosen before, if it can be built and agrees. */
static bool choose_kept(bench *b, otp_dnn_plan *p, trial *t, const otp_dnn_candidate *list, int count)
{
	for (int i = 0; i < count && !t->plan; i++)
		if (list[i].choice.mode == t->choice.mode && list[i].choice.rank == t->choice.rank)
			t->plan = otp_dnn_build(b->device, p->key, &list[i], &t->workspace_bytes);
	if (!t->plan || !accept(b, p, t))
		return false;
	p->verdict = OTP_WAY_WANTED;
	otp_dnn_keep_plan(b->device, p->key, p->choice, p->plan);
	return true;
}

/* Heuristics are asked where there is no text of the plan that was chosen before. */
static void choose(otp_device *d, otp_dnn_plan *p)
{
	otp_dnn_candidate list[OTP_DNN_MOST_CANDIDATES];
	trial kept = {.choice = otp_dnn_find_choice(d, p->key)};
	if (kept.choice.mode == OTP_DNN_NONE_WANTED) {
		p->verdict = OTP_WAY_UNWANTED;
		return;
	}
	kept.plan = otp_dnn_rebuild(d, p->key, kept.choice, &kept.workspace_bytes);
	int count = kept.plan ? 0 : find_candidates(p, list);
	if (!kept.plan && !count)
		return;
	bench b;
	bool room = open_bench(&b, d, &p->conv);
	if (!room && kept.plan) {
		take(p, &kept);
		p->verdict = OTP_WAY_WANTED;
	} else if (room && !choose_kept(&b, p, &kept, list, count)) {
		count = count ? count : find_candidates(p, list);
		choose_by_time(&b, p, list, count);
	}
	close_bench(&b);
	if (!p->plan && b.crowded)
		take_untried(d, p, list, count);
	otp_dnn_drop_candidates(list, count);
}

/* Convolutions without an engine are remembered too, as plans without a plan. */
otp_dnn_plan *otp_dnn_plan_for(otp_device *d, const otp_dnn_conv *conv)
{
	char key[OTP_DNN_NAME];
	otp_dnn_name(conv, key);
	bool found;
	otp_dnn_plan *p = otp_dnn_plan_of(d, key, &found);
	if (found)
		return p;
	p->conv = *conv;
	if (otp_dnn_graph_init(&p->graph, conv, d->dnn))
		choose(d, p);
	return p;
}

bool otp_dnn_expect_workspace(otp_device *d, const otp_dnn_conv *conv, size_t *bytes)
{
	otp_dnn_plan p = {.conv = *conv};
	otp_dnn_candidate list[OTP_DNN_MOST_CANDIDATES];
	int count = otp_dnn_graph_init(&p.graph, conv, d->dnn) ? find_candidates(&p, list) : 0;
	bool good = take_untried(d, &p, list, count);
	*bytes = p.workspace_bytes;
	if (good)
		CUDNN_CHECK(cudnnBackendDestroyDescriptor(p.plan));
	otp_dnn_drop_candidates(list, count);
	otp_dnn_graph_free(&p.graph);
	return good;
}
