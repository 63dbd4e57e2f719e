/* dnn_attention.c: attention by one of cuDNN's flash kernels. The first time on
 * a machine the candidates are timed on made-up data beside the composition of
 * attention.c, both out of captured graphs, as programs launch them; which is
 * faster goes to the file of choices (dnn_plan.c). A plan must agree with the
 * composition at every start before it is used. */
#include "cuda/dnn.h"
#include "cuda/flash.h"
#include "cuda/probe.h"

#include "bf16.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Each candidate takes up to a second to compile. */
enum { MOST_TRIED = 2, RUNS_CAPTURED = 8, TIMED_LAUNCHES = 4 };

/* Every start compiles the plan again: worth it where so many scores stay out of memory. A guess. */
static const int64_t LEAST_SCORES = (int64_t)1 << 16;
/* Made-up queries and keys are uniform in (-1, 1), so that a score, a sum of c products of variance 1/9, has
 * a deviation of CONTRAST / 3: a look falls on few tokens, and one that is wrong on others. */
static const float CONTRAST = 9;

static otp_dnn_attention attention_of(const otp_call *call)
{
	otp_shape s = call->in[0].shape;
	return (otp_dnn_attention){(int64_t)s.n * s.h, s.w, s.c / 3};
}

static cudnnStatus_t run_plan(const otp_call *call, cudnnBackendDescriptor_t plan)
{
	static const int64_t ids[] = {OTP_DNN_QUERY, OTP_DNN_KEY, OTP_DNN_VALUE, OTP_DNN_MIX,
				      OTP_DNN_SCORE_SCALE};
	const uint16_t *q = call->in[0].data;
	int c = call->in[0].shape.c / 3;
	const void *data[] = {q, q + c, q + 2 * c, call->out.data, &call->attr.attention.scale};
	return otp_dnn_execute(call->device, plan, OTP_DNN_ATTENTION_ROLES, ids, data, call->scratch);
}

size_t otp_flash_scratch(const otp_dnn_plan *plan) { return plan->workspace_bytes; }

void otp_flash_run(const otp_call *call, const otp_dnn_plan *plan)
{
	CUDNN_CHECK(run_plan(call, plan->plan));
}

/* ---- trying a plan on made-up data ---- */

typedef struct bench {
	otp_call call; /* the bound one, with other data and another scale */
	void (*composed)(const otp_call *call);
	uint16_t *want, *got,
	    *again; /* the composition's result and the plan's, twice, in the host's memory */
	cudaEvent_t start, end;
} bench;

static void *bench_alloc(size_t bytes)
{
	void *memory = NULL;
	CUDA_CHECK(cudaMalloc(&memory, bytes ? bytes : 1));
	return memory;
}

static void make_up(const otp_call *call, const otp_tensor *t)
{
	int64_t count = otp_shape_count(t->shape);
	otp_tensor wide = {bench_alloc((size_t)count * sizeof(float)), t->shape, OTP_F32, NULL};
	otp_cuda_fill(call, wide.data, count, 0);
	otp_cuda_convert(call, t, &wide);
	CUDA_CHECK(cudaStreamSynchronize(call->device->stream));
	CUDA_CHECK(cudaFree(wide.data));
}

static bool run_once(const bench *b, const otp_call *call, cudnnBackendDescriptor_t plan)
{
	if (plan)
		return run_plan(call, plan) == CUDNN_STATUS_SUCCESS;
	b->composed(call);
	return true;
}

/* Several runs as one launch; NULL where cuDNN cannot be captured. */
static cudaGraphExec_t capture(const bench *b, const otp_call *call, cudnnBackendDescriptor_t plan)
{
	cudaGraph_t graph = NULL;
	cudaGraphExec_t executable = NULL;
	bool good = true;
	CUDA_CHECK(cudaStreamBeginCapture(call->device->stream, cudaStreamCaptureModeThreadLocal));
	for (int i = 0; i < RUNS_CAPTURED; i++)
		good = good && run_once(b, call, plan);
	good = cudaStreamEndCapture(call->device->stream, &graph) == cudaSuccess && good;
	if (good)
		CUDA_CHECK(cudaGraphInstantiate(&executable, graph, 0));
	if (graph)
		CUDA_CHECK(cudaGraphDestroy(graph));
	cudaGetLastError(); /* what a refusal left */
	return executable;
}

/* Milliseconds of a run of the plan, or of the composition where it is NULL; INFINITY where it does not run.
 * The result goes to `result`. */
static float time_runs(const bench *b, cudnnBackendDescriptor_t plan, size_t scratch_bytes, uint16_t *result)
{
	otp_call call = b->call;
	cudaStream_t stream = call.device->stream;
	float best = INFINITY, taken;
	size_t result_bytes = (size_t)otp_shape_count(call.out.shape) * sizeof *result;
	CUDA_CHECK(
	    cudaMemsetAsync(call.out.data, 0xff, result_bytes, stream)); /* NaN, where nothing is written */
	call.scratch = bench_alloc(scratch_bytes);
	/* The first run loads modules, which capture forbids. */
	cudaGraphExec_t launch = run_once(b, &call, plan) ? capture(b, &call, plan) : NULL;
	for (int i = 0; launch && i < TIMED_LAUNCHES; i++) {
		CUDA_CHECK(cudaEventRecord(b->start, stream));
		CUDA_CHECK(cudaGraphLaunch(launch, stream));
		CUDA_CHECK(cudaEventRecord(b->end, stream));
		CUDA_CHECK(cudaEventSynchronize(b->end));
		CUDA_CHECK(cudaEventElapsedTime(&taken, b->start, b->end));
		best = taken / RUNS_CAPTURED < best ? taken / RUNS_CAPTURED : best;
	}
	CUDA_CHECK(cudaStreamSynchronize(stream));
	CUDA_CHECK(cudaMemcpy(result, call.out.data, result_bytes, cudaMemcpyDeviceToHost));
	if (launch)
		CUDA_CHECK(cudaGraphExecDestroy(launch));
	CUDA_CHECK(cudaFree(call.scratch));
	return best;
}

static void open_bench(bench *b, const otp_call *call, void (*composed)(const otp_call *call))
{
	size_t results = (size_t)otp_shape_count(call->out.shape);
	*b = (bench){.call = *call, .composed = composed};
	b->call.attr.attention.scale = CONTRAST / sqrtf((float)attention_of(call).channels);
	b->call.in[0].data = bench_alloc((size_t)otp_shape_count(call->in[0].shape) * sizeof(uint16_t));
	b->call.out.data = bench_alloc(results * sizeof(uint16_t));
	make_up(&b->call, &b->call.in[0]);
	b->want = otp_calloc(3 * results, sizeof *b->want);
	b->got = b->want + results;
	b->again = b->got + results;
	CUDA_CHECK(cudaEventCreate(&b->start));
	CUDA_CHECK(cudaEventCreate(&b->end));
}

static void close_bench(bench *b)
{
	CUDA_CHECK(cudaFree(b->call.in[0].data));
	CUDA_CHECK(cudaFree(b->call.out.data));
	CUDA_CHECK(cudaEventDestroy(b->start));
	CUDA_CHECK(cudaEventDestroy(b->end));
	otp_free(b->want);
}

/* How far the two may be apart. Values lie in (-1, 1) and shares add up to 1, so relative errors of shares
 * are absolute ones of the result. Either side rounds its shares and its result to bfloat16, by 2^-8, and the
 * flash kernel may add up rounded ones to divide by: 5 of them. On either side tensor cores cut sums off by
 * 2^-23 for at least eight products at a time, those of scores in units of S, the sum of absolute products,
 * which is below CONTRAST sqrt(c), and an error of scores counts twice in a share; scaling and what goes into
 * the exponential are off by 4 S 2^-24. */
static double tolerance_of(const otp_dnn_attention *a)
{
	double c = a->channels, largest = (double)CONTRAST * sqrt(c);
	double score = largest * (0x1p-23 * (c / 8 + 1) + 4 * 0x1p-24);
	return 5 * 0x1p-8 + 2 * (2 * score + 0x1p-23 * (a->tokens / 8.0 + 8));
}

static bool agrees(const bench *b, const char *key)
{
	otp_dnn_attention a = attention_of(&b->call);
	double worst = 0, allowed = tolerance_of(&a);
	for (int64_t i = 0; i < otp_shape_count(b->call.out.shape); i++) {
		double error = fabs((double)otp_bf16_widen(b->got[i]) - (double)otp_bf16_widen(b->want[i]));
		worst = otp_dnn_worst(worst, error);
	}
	if (!(worst <= allowed))
		fprintf(
		    stderr,
		    "otplan: cudnn: an engine is off by %.3g, at most %.3g is allowed, and is not used: %s\n",
		    worst, allowed, key);
	return worst <= allowed;
}

/* Bit for bit, which cuDNN's notes promise of its engines. */
static bool repeats(const bench *b, const char *key)
{
	bool same =
	    memcmp(b->got, b->again, (size_t)otp_shape_count(b->call.out.shape) * sizeof *b->got) == 0;
	if (!same)
		fprintf(stderr, "otplan: cudnn: an engine does not repeat its result, and is not used: %s\n",
			key);
	return same;
}

/* ---- choosing ---- */

/* The candidate's plan into p, if it runs, agrees, repeats and is faster than the one that p has. */
static bool try_candidate(const bench *b, otp_dnn_plan *p, const otp_dnn_candidate *c, int *tried)
{
	otp_device *d = b->call.device;
	int64_t bytes;
	cudnnBackendDescriptor_t plan = otp_dnn_build(d, c, &bytes);
	if (!plan)
		return false;
	++*tried;
	float taken = time_runs(b, plan, (size_t)bytes, b->got);
	bool better = taken < (p->plan ? p->taken : INFINITY) &&
		      time_runs(b, plan, (size_t)bytes, b->again) < INFINITY && agrees(b, p->key) &&
		      repeats(b, p->key);
	cudnnBackendDescriptor_t worse = better ? p->plan : plan;
	if (worse)
		CUDNN_CHECK(cudnnBackendDestroyDescriptor(worse));
	if (better) {
		p->plan = plan;
		p->workspace_bytes = (size_t)bytes;
		p->taken = taken;
	}
	return better;
}

/* The fastest of the first few into p, if it is faster than the composition; kept in the file either way. */
static void choose_by_time(const bench *b, otp_dnn_plan *p, const otp_dnn_candidate *list, int count,
			   float composed)
{
	const otp_dnn_candidate *chosen = NULL;
	int tried = 0;
	for (int i = 0; i < count && tried < MOST_TRIED; i++)
		if (try_candidate(b, p, &list[i], &tried))
			chosen = &list[i];
	if (!chosen)
		return;
	bool faster = p->taken < composed;
	otp_dnn_keep_choice(b->call.device, p->key, faster ? chosen : NULL);
	if (faster)
		return;
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(p->plan));
	p->plan = NULL;
}

static void choose(otp_dnn_plan *p, const otp_call *call, void (*composed)(const otp_call *call),
		   size_t scratch_bytes)
{
	otp_dnn_candidate list[OTP_DNN_MOST_CANDIDATES];
	int mode = -1, rank = -1, tried = 0; /* no candidate's */
	otp_dnn_find_choice(call->device, p->key, &mode, &rank);
	if (mode == OTP_DNN_NONE_WANTED)
		return;
	int count = otp_dnn_candidates(&p->graph, true, true, list);
	if (!count)
		return;
	bench b;
	open_bench(&b, call, composed);
	float taken = time_runs(&b, NULL, scratch_bytes, b.want);
	for (int i = 0; i < count && !tried; i++)
		if ((int)list[i].mode == mode && list[i].rank == rank)
			try_candidate(&b, p, &list[i], &tried);
	if (!p->plan)
		choose_by_time(&b, p, list, count, taken);
	close_bench(&b);
	for (int i = 0; i < count; i++)
		CUDNN_CHECK(cudnnBackendDestroyDescriptor(list[i].config));
}

/* cuDNN reads whole vectors of 16 bytes. */
static bool fits(const otp_call *call)
{
	otp_dnn_attention a = attention_of(call);
	return call->in[0].type == OTP_BF16 && call->out.type == OTP_BF16 && a.channels % 8 == 0 &&
	       a.batch * a.tokens * a.tokens >= LEAST_SCORES && (uintptr_t)call->in[0].data % 16 == 0 &&
	       (uintptr_t)call->out.data % 16 == 0;
}

const otp_dnn_plan *otp_flash_plan_for(const otp_call *call, void (*composed)(const otp_call *call),
				       size_t scratch_bytes)
{
	if (!fits(call))
		return NULL;
	otp_dnn_attention a = attention_of(call);
	char key[64];
	bool found;
	snprintf(key, sizeof key, "attention %lldx%dx%d bf16", (long long)a.batch, a.tokens, a.channels);
	otp_device_enter(call->device);
	otp_dnn_plan *p = otp_dnn_plan_of(call->device, key, &found);
	if (!found && otp_dnn_attention_init(&p->graph, &a, call->device->dnn))
		choose(p, call, composed, scratch_bytes);
	otp_device_leave(call->device);
	return p->plan ? p : NULL;
}
