/* dnn_attention.c: attention and its adjoint by cuDNN's flash kernels. The
 * adjoint is given neither result nor statistics: it runs the forward pass again,
 * into scratch. The first time on a machine the candidates are timed on made-up
 * data beside the composition of attention.c, both out of captured graphs, as
 * programs launch them; which is faster goes to the file of choices (choices.c).
 * A plan must agree with the composition at every start before it is used. */
#include "cuda/compile.h"
#include "cuda/flash.h"
#include "cuda/probe.h"
#include "cuda/timing.h"

#include "bf16.h"
#include "launches.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Made-up queries and keys are uniform in (-1, 1), so that a score, a sum of c products of variance 1/9, has
 * a deviation of CONTRAST / 3: a look falls on few tokens, and one that is wrong on others. */
static const float CONTRAST = 6;

static bool is_adjoint(const otp_call *call) { return call->op == OTP_OP_attention_grad; }

static otp_dnn_attention attention_of(const otp_call *call)
{
	otp_shape s = call->in[0].shape;
	otp_dnn_attention_pass pass =
	    is_adjoint(call) ? OTP_DNN_ATTENTION_ADJOINT : OTP_DNN_ATTENTION_FORWARD;
	return (otp_dnn_attention){pass, (int64_t)s.n * s.h, s.w, s.c / 3};
}

/* Where things are in scratch. The adjoint keeps what its forward pass makes. */
typedef struct places {
	size_t mix, statistics, inner, workspace;
} places;

static size_t take(size_t *at, int64_t bytes)
{
	size_t here = *at;
	*at += otp_round_up((size_t)bytes, 256);
	return here;
}

static places places_in(const otp_call *call)
{
	otp_dnn_attention a = attention_of(call);
	int64_t tokens = a.batch * a.tokens;
	places p = {0};
	if (is_adjoint(call)) {
		p.mix = take(&p.workspace, tokens * a.channels * (int64_t)sizeof(uint16_t));
		p.statistics = take(&p.workspace, tokens * (int64_t)sizeof(float));
		p.inner = take(&p.workspace, tokens * (int64_t)sizeof(float));
	}
	return p;
}

/* Of plans with so much workspace, of which the first may be missing. */
static size_t scratch_for(const otp_call *call, const otp_dnn_plan *first, size_t workspace)
{
	size_t before = first ? first->workspace_bytes : 0;
	return places_in(call).workspace + (before > workspace ? before : workspace);
}

static cudnnStatus_t execute(const otp_call *call, otp_dnn_attention_pass pass, cudnnBackendDescriptor_t plan)
{
	static const float one = 1;
	places at = places_in(call);
	char *scratch = call->scratch;
	const uint16_t *qkv = call->in[0].data, *out = call->out.data;
	int c = call->in[0].shape.c / 3, count = 0;
	const void *data[OTP_DNN_ATTENTION_ROLES] = {[OTP_DNN_QUERY] = qkv,
						     [OTP_DNN_KEY] = qkv + c,
						     [OTP_DNN_VALUE] = qkv + 2 * c,
						     [OTP_DNN_MIX] =
							 is_adjoint(call) ? scratch + at.mix : call->out.data,
						     [OTP_DNN_SCORE_SCALE] = &call->attr.attention.scale,
						     [OTP_DNN_STATISTICS] = scratch + at.statistics,
						     [OTP_DNN_ONE] = &one,
						     [OTP_DNN_INNER] = scratch + at.inner,
						     [OTP_DNN_MIX_GRAD] = call->in[1].data,
						     [OTP_DNN_QUERY_GRAD] = out,
						     [OTP_DNN_KEY_GRAD] = out + c,
						     [OTP_DNN_VALUE_GRAD] = out + 2 * c};
	int64_t ids[OTP_DNN_ATTENTION_ROLES];
	for (int role = 0; role < OTP_DNN_ATTENTION_ROLES; role++)
		if (otp_dnn_attention_takes(pass, (otp_dnn_attention_role)role)) {
			data[count] = data[role];
			ids[count++] = role;
		}
	return otp_dnn_execute(call->device, plan, count, ids, data, scratch + at.workspace);
}

static cudnnStatus_t run_plan(const otp_call *call, const otp_dnn_plan *first, cudnnBackendDescriptor_t plan)
{
	cudnnStatus_t status =
	    first ? execute(call, OTP_DNN_ATTENTION_KEEPING, first->plan) : CUDNN_STATUS_SUCCESS;
	return status == CUDNN_STATUS_SUCCESS ? execute(call, attention_of(call).pass, plan) : status;
}

size_t otp_flash_scratch(const otp_call *call, const otp_dnn_plan *plan)
{
	return scratch_for(call, plan->first, plan->workspace_bytes);
}

void otp_flash_run(const otp_call *call, const otp_dnn_plan *plan)
{
	CUDNN_CHECK(run_plan(call, plan->first, plan->plan));
}

/* ---- trying a plan on made-up data ---- */

typedef struct bench {
	otp_call call; /* the bound one, with other data and another scale */
	void (*composed)(const otp_call *call);
	const otp_dnn_plan *first; /* before every candidate, or NULL */
	uint16_t *want;		   /* the composition's result, and */
	uint16_t *got, *again;	   /* the plan's, twice, in the host's memory */
} bench;

/* False where the device has no room. */
static bool make_up(const otp_call *call, otp_tensor *t, uint32_t which)
{
	int64_t count = otp_shape_count(t->shape);
	t->data = otp_cuda_try_alloc((size_t)count * sizeof(uint16_t));
	otp_tensor wide = {otp_cuda_try_alloc((size_t)count * sizeof(float)), t->shape, OTP_F32, NULL};
	bool good = t->data && wide.data;
	if (good) {
		otp_cuda_fill(call, wide.data, count, which);
		otp_cuda_convert(call, t, &wide);
		CUDA_CHECK(cudaStreamSynchronize(call->device->stream));
	}
	CUDA_CHECK(cudaFree(wide.data));
	return good;
}

typedef struct ready_run {
	const bench *bench;
	const otp_call *call;
	cudnnBackendDescriptor_t plan; /* NULL: the composition */
} ready_run;

static bool run_once(const void *context)
{
	const ready_run *r = context;
	if (r->plan)
		return run_plan(r->call, r->bench->first, r->plan) == CUDNN_STATUS_SUCCESS;
	r->bench->composed(r->call);
	return true;
}

/* Milliseconds of a run of the plan, or of the composition where it is NULL, out of a captured graph, as
 * programs launch it; 0 of one that is not timed. INFINITY where it does not run or the device has no room
 * for its scratch. The result goes to `result`. */
static float run(const bench *b, cudnnBackendDescriptor_t plan, size_t scratch_bytes, uint16_t *result,
		 bool timed)
{
	otp_call call = b->call;
	cudaStream_t stream = call.device->stream;
	ready_run r = {b, &call, plan};
	size_t result_bytes = (size_t)otp_shape_count(call.out.shape) * sizeof *result;
	CUDA_CHECK(
	    cudaMemsetAsync(call.out.data, 0xff, result_bytes, stream)); /* NaN, where nothing is written */
	call.scratch = otp_cuda_try_alloc(scratch_bytes);
	if (!call.scratch)
		return INFINITY;
	float taken = timed ? otp_cuda_time(call.device, run_once, &r, false) : run_once(&r) ? 0 : INFINITY;
	CUDA_CHECK(cudaStreamSynchronize(stream));
	CUDA_CHECK(cudaMemcpy(result, call.out.data, result_bytes, cudaMemcpyDeviceToHost));
	CUDA_CHECK(cudaFree(call.scratch));
	return taken;
}

static int input_count(const otp_call *call) { return is_adjoint(call) ? 2 : 1; }

/* False where the device has no room for it; to be closed in either case. */
static bool open_bench(bench *b, const otp_call *call, const otp_dnn_plan *first,
		       void (*composed)(const otp_call *call))
{
	size_t results = (size_t)otp_shape_count(call->out.shape);
	*b = (bench){.call = *call, .composed = composed, .first = first};
	b->call.attr.attention.scale = CONTRAST / sqrtf((float)attention_of(call).channels);
	b->call.out.data = otp_cuda_try_alloc(results * sizeof(uint16_t));
	bool good = b->call.out.data;
	for (int i = 0; i < input_count(call); i++) {
		b->call.in[i].data = NULL; /* the bound call's own is not the bench's to free */
		good = good && make_up(&b->call, &b->call.in[i], (uint32_t)i);
	}
	b->want = otp_calloc(3 * results, sizeof *b->want);
	b->got = b->want + results;
	b->again = b->got + results;
	return good;
}

static void close_bench(bench *b)
{
	for (int i = 0; i < input_count(&b->call); i++)
		CUDA_CHECK(cudaFree(b->call.in[i].data));
	CUDA_CHECK(cudaFree(b->call.out.data));
	otp_free(b->want);
}

/* How far a part of the result may be off, by distance(). Roundings to bfloat16, by 2^-8 at most, are
 * independent of the data, whose signs are random: what they do to a sum is to the sum as what they do to a
 * term is to the term. They are counted at their largest, and as if they added up.
 * Mix and dv: shares and the result are rounded on either side, and a flash kernel may add up rounded shares
 * to divide by: 5. dq and dk: so is ds = scale p (dp - <p, dp>), 7; and in <p, dp> the composition's shares
 * and the flash kernel's shares, their sum and its mix, 4, which count twice since with these data <p, dp>
 * may be twice as large as what it leaves of dp. One more for what float32 sums of values lose. Scores: on
 * either side tensor cores cut sums off by 2^-23 for at least eight products at a time, in units of the sum
 * of absolute products, which is below CONTRAST sqrt(c); scaling and what goes into the exponential are off
 * by 4 such units of 2^-24. An error of scores counts twice in a share. */
static double tolerance_of(const otp_dnn_attention *a, bool of_scores)
{
	double c = a->channels, largest = (double)CONTRAST * sqrt(c);
	double score = largest * (0x1p-23 * (c / 8 + 1) + 4 * 0x1p-24), shares = 2 * 2 * score;
	return of_scores ? (7 + 2 * 4 + 1) * 0x1p-8 + (1 + 2) * shares : (5 + 1) * 0x1p-8 + shares;
}

/* The largest distance of so many rows, some columns of them, relative to their size: few enough to find a
 * wrong row. */
enum { ROWS_TOGETHER = 64 };

static double distance(const bench *b, int first, int columns)
{
	int step = b->call.out.shape.c;
	int64_t rows = otp_shape_count(b->call.out.shape) / step;
	double worst = 0, error = 0, size = 0;
	for (int64_t row = 0; row < rows; row++) {
		for (int64_t i = row * step + first; i < row * step + first + columns; i++) {
			double want = (double)otp_bf16_widen(b->want[i]);
			double off = (double)otp_bf16_widen(b->got[i]) - want;
			error += off * off;
			size += want * want;
		}
		if ((row + 1) % ROWS_TOGETHER == 0 || row + 1 == rows) {
			worst = otp_dnn_worst(worst, sqrt(error / size));
			error = size = 0;
		}
	}
	return worst;
}

static bool agrees(const bench *b, const char *key)
{
	otp_dnn_attention a = attention_of(&b->call);
	for (int first = 0; first < b->call.out.shape.c; first += a.channels) {
		bool of_scores = is_adjoint(&b->call) && first < 2 * a.channels;
		double worst = distance(b, first, a.channels), allowed = tolerance_of(&a, of_scores);
		if (worst <= allowed)
			continue;
		otp_cuda_say("an engine is off by %.3g, at most %.3g is allowed, and is not used: %s", worst,
			     allowed, key);
		return false;
	}
	return true;
}

/* Bit for bit, which cuDNN's notes promise of its engines, and of the adjoint how it is described. */
static bool repeats(const bench *b, const char *key)
{
	bool same =
	    memcmp(b->got, b->again, (size_t)otp_shape_count(b->call.out.shape) * sizeof *b->got) == 0;
	if (!same)
		otp_cuda_say("an engine does not repeat its result, and is not used: %s", key);
	return same;
}

/* ---- choosing ---- */

/* The plan into p, if it runs, agrees, repeats and is faster than the one that p has; else it is gone. */
static bool try_plan(const bench *b, otp_dnn_plan *p, cudnnBackendDescriptor_t plan, int64_t workspace_bytes,
		     otp_dnn_choice choice, bool timed)
{
	size_t scratch = scratch_for(&b->call, b->first, (size_t)workspace_bytes);
	float taken = run(b, plan, scratch, b->got, timed);
	bool better = taken < (p->plan ? p->taken : INFINITY) &&
		      run(b, plan, scratch, b->again, false) < INFINITY && agrees(b, p->key) &&
		      repeats(b, p->key);
	cudnnBackendDescriptor_t worse = better ? p->plan : plan;
	if (worse)
		CUDNN_CHECK(cudnnBackendDestroyDescriptor(worse));
	if (better) {
		p->plan = plan;
		p->workspace_bytes = (size_t)workspace_bytes;
		p->taken = taken;
		p->choice = choice;
	}
	return better;
}

/* What was chosen before, if it can be built, agrees and repeats. */
static bool choose_kept(const bench *b, otp_dnn_plan *p, otp_dnn_choice kept)
{
	otp_device *d = b->call.device;
	otp_dnn_candidate list[OTP_DNN_MOST_CANDIDATES];
	int64_t bytes;
	if (kept.mode < 0)
		return false;
	cudnnBackendDescriptor_t plan = otp_dnn_rebuild(d, p->key, kept, &bytes);
	int count = plan ? 0 : otp_dnn_candidates(&p->graph, true, true, list);
	for (int i = 0; i < count && !plan; i++)
		if (list[i].choice.mode == kept.mode && list[i].choice.rank == kept.rank)
			plan = otp_dnn_build(d, p->key, &list[i], &bytes);
	otp_dnn_drop_candidates(list, count);
	if (!plan || !try_plan(b, p, plan, bytes, kept, false))
		return false;
	otp_dnn_keep_plan(d, p->key, kept, p->plan);
	return true;
}

/* The fastest of the first few into p, if it is faster than the composition; kept in either case. */
static void choose_by_time(const bench *b, otp_dnn_plan *p, float composed)
{
	otp_device *d = b->call.device;
	otp_dnn_candidate list[OTP_DNN_MOST_CANDIDATES];
	int tried = 0, count = otp_dnn_candidates(&p->graph, true, true, list);
	for (int i = 0; i < count && tried < OTP_DNN_COMPILED_ATTENTION; i++) {
		int64_t bytes;
		cudnnBackendDescriptor_t plan = otp_dnn_build(d, p->key, &list[i], &bytes);
		tried += plan != NULL;
		if (plan)
			try_plan(b, p, plan, bytes, list[i].choice, true);
	}
	otp_dnn_drop_candidates(list, count);
	if (!p->plan)
		return;
	if (p->taken < composed) {
		otp_dnn_keep_choice(d, p->key, p->choice);
		otp_dnn_keep_plan(d, p->key, p->choice, p->plan);
		return;
	}
	otp_dnn_keep_choice(d, p->key, (otp_dnn_choice){OTP_DNN_NONE_WANTED, p->choice.rank});
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(p->plan));
	p->plan = NULL;
}

/* The device's plan, still empty where it was not found. */
static otp_dnn_plan *find_plan(otp_device *d, const otp_dnn_attention *a, bool *found)
{
	char key[OTP_DNN_NAME];
	otp_dnn_name_attention(a, key);
	return otp_dnn_plan_of(d, key, found);
}

/* What runs before an adjoint: the first plan that can be built. The two are compared and timed as one. */
static const otp_dnn_plan *forward_for(const otp_call *call)
{
	otp_dnn_attention a = attention_of(call);
	otp_dnn_candidate list[OTP_DNN_MOST_CANDIDATES];
	bool found;
	a.pass = OTP_DNN_ATTENTION_KEEPING;
	otp_dnn_plan *p = find_plan(call->device, &a, &found);
	if (!found && otp_dnn_attention_init(&p->graph, &a, call->device->dnn)) {
		int count = otp_dnn_candidates(&p->graph, true, true, list);
		for (int i = 0; i < count && !p->plan; i++) {
			int64_t bytes;
			p->plan = otp_dnn_build(call->device, p->key, &list[i], &bytes);
			if (!p->plan)
				continue;
			p->workspace_bytes = (size_t)bytes;
			otp_dnn_keep_plan(call->device, p->key, list[i].choice, p->plan);
		}
		otp_dnn_drop_candidates(list, count);
	}
	return p->plan ? p : NULL;
}

/* Without room for a trial, and without a composition to compare with, attention stays composed. */
static void choose(otp_dnn_plan *p, const otp_call *call, void (*composed)(const otp_call *call),
		   size_t composed_bytes)
{
	otp_dnn_choice kept = otp_dnn_find_choice(call->device, p->key);
	bench b;
	if (kept.mode == OTP_DNN_NONE_WANTED || (is_adjoint(call) && !(p->first = forward_for(call))))
		return;
	if (open_bench(&b, call, p->first, composed) &&
	    run(&b, NULL, composed_bytes, b.want, false) < INFINITY && !choose_kept(&b, p, kept)) {
		float taken = run(&b, NULL, composed_bytes, b.want, true);
		if (taken < INFINITY)
			choose_by_time(&b, p, taken);
	}
	close_bench(&b);
}

static bool is_narrow(const otp_tensor *t) { return t->type == OTP_BF16 && (uintptr_t)t->data % 16 == 0; }

static bool fits(const otp_call *call)
{
	bool narrow = is_narrow(&call->out);
	for (int i = 0; i < input_count(call); i++)
		narrow = narrow && is_narrow(&call->in[i]);
	return call->device->compiles && narrow && otp_worth_flash(call->in[0].shape);
}

void otp_flash_foresee(otp_compile_list *list, const otp_call *call)
{
	otp_dnn_attention a = attention_of(call), before = a;
	char key[OTP_DNN_NAME];
	if (!fits(call))
		return;
	otp_compile_add_attention(list, &a);
	otp_dnn_name_attention(&a, key);
	before.pass = OTP_DNN_ATTENTION_KEEPING;
	if (is_adjoint(call) && otp_dnn_find_choice(call->device, key).mode != OTP_DNN_NONE_WANTED)
		otp_compile_add_attention(list, &before);
}

const otp_dnn_plan *otp_flash_plan_for(const otp_call *call, void (*composed)(const otp_call *call),
				       size_t composed_bytes)
{
	if (!fits(call))
		return NULL;
	otp_dnn_attention a = attention_of(call);
	bool found;
	otp_device_enter(call->device);
	otp_dnn_plan *p = find_plan(call->device, &a, &found);
	if (!found && otp_dnn_attention_init(&p->graph, &a, call->device->dnn))
		choose(p, call, composed, composed_bytes);
	otp_device_leave(call->device);
	return p->plan ? p : NULL;
}
