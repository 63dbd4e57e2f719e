/* dnn_plan.c: which of cuDNN's candidates computes a convolution. The first
 * time on a machine they are timed; the choice goes to a file, one line a
 * convolution, "MODE RANK KEY", the last of a key counting. Every plan must
 * agree with probe.cu before it is used; a choice that does not, or that cannot
 * be built any more, is made again. */
#include "cuda/dnn.h"
#include "cuda/probe.h"

#include "core/file.h"
#include "scalar.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Timed at most, of engines that are there and of those that take seconds to compile. */
enum { MOST_READY = 12, MOST_COMPILED = 1, TIMED_RUNS = 4 };
static const int64_t MOST_WORKSPACE = (int64_t)512 << 20;

static void describe(const otp_dnn_conv *c, char *key, size_t bytes)
{
	static const char *const names[] = {"forward", "dgrad", "wgrad"};
	char after[64] = "";
	if (c->after.bias)
		snprintf(after, sizeof after, " bias%s scale %g slope %g",
			 !c->after.residual	  ? ""
			 : c->after.bf16_residual ? " bf16 residual"
						  : " residual",
			 (double)c->after.scale, (double)c->after.slope);
	int length = snprintf(key, bytes, "%s x %dx%dx%dx%d w %dx%dx%dx%d stride %d pad %d%s %s to %s%s",
			      names[c->direction], c->x.n, c->x.h, c->x.w, c->x.c, c->w.n, c->w.h, c->w.w,
			      c->w.c, c->stride, c->pad, after,
			      c->bf16_in ? "bf16"
			      : c->tf32	 ? "tf32"
					 : "f32",
			      c->bf16_out ? "bf16" : "f32", c->compiled ? " compiled" : "");
	OTP_ASSERT(length > 0 && (size_t)length < bytes, "cudnn: the key '%s' is too long", key);
}

/* ---- the file of choices ---- */

/* OTPLAN_CUDA_CACHE, or else a folder of the user's for such things; false where there is none. */
static bool choices_folder(char *folder, size_t bytes)
{
	const char *named = getenv("OTPLAN_CUDA_CACHE"), *cache = getenv("XDG_CACHE_HOME"),
		   *home = getenv("HOME");
	int length = -1;
	if (named && *named)
		length = snprintf(folder, bytes, "%s", named);
	else if (cache && *cache)
		length = snprintf(folder, bytes, "%s/otplan", cache);
	else if (home && *home)
		length = snprintf(folder, bytes, "%s/.cache/otplan", home);
	return length >= 0 && (size_t)length < bytes;
}

/* Where they cannot be kept, plans are timed anew each time. */
void otp_dnn_open_choices(otp_device *d, const char *gpu)
{
	char folder[sizeof d->choices_path - 128];
	otp_error err = {0};
	if (!choices_folder(folder, sizeof folder))
		return;
	if (!otp_file_make_folder(folder, &err)) {
		otp_cuda_say("choices between plans are not kept: %s", err.text);
		return;
	}
	snprintf(d->choices_path, sizeof d->choices_path, "%s/cudnn-%zu-%.64s%s.txt", folder,
		 cudnnGetVersion(), gpu, otp_dnn_bits_may_vary() ? "-nondeterministic" : "");
	for (char *c = d->choices_path + strlen(folder) + 1; *c; c++)
		if (*c == ' ' || *c == '/')
			*c = '-';
	size_t bytes;
	if (otp_file_exists(d->choices_path))
		d->choices = otp_file_read(d->choices_path, &bytes, &err);
}

void otp_dnn_find_choice(const otp_device *d, const char *key, int *mode, int *rank)
{
	for (const char *line = d->choices; line && *line;) {
		int m, r, at = 0;
		const char *end = strchr(line, '\n');
		size_t length = end ? (size_t)(end - line) : strlen(line);
		if (sscanf(line, "%d %d %n", &m, &r, &at) == 2 && at > 0 &&
		    strlen(key) + (size_t)at == length && strncmp(line + at, key, strlen(key)) == 0) {
			*mode = m;
			*rank = r;
		}
		line = end ? end + 1 : NULL;
	}
}

/* One short line appended by one write: programs side by side do not tear it. What was chosen amid failures
 * is not worth keeping. */
void otp_dnn_keep_choice(const otp_device *d, const char *key, int mode, int rank)
{
	FILE *file = *d->choices_path && !otp_cuda_noted() ? fopen(d->choices_path, "a") : NULL;
	if (!file)
		return; /* a cache: without it the next start is slower */
	fprintf(file, "%d %d %s\n", mode, rank, key);
	fclose(file);
}

/* ---- building and running ---- */

cudnnBackendDescriptor_t otp_dnn_build(otp_device *d, const otp_dnn_candidate *c, int64_t *workspace_bytes)
{
	cudnnBackendDescriptor_t plan = NULL;
	int64_t found = 0;
	otp_cuda_building(&d->builds, c->compiled);
	CUDNN_CHECK(cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan));
	if (!plan)
		return NULL;
	if (cudnnBackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &d->dnn) ==
		CUDNN_STATUS_SUCCESS &&
	    cudnnBackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
				     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &c->config) == CUDNN_STATUS_SUCCESS &&
	    cudnnBackendFinalize(plan) == CUDNN_STATUS_SUCCESS &&
	    cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1,
				     &found, workspace_bytes) == CUDNN_STATUS_SUCCESS &&
	    *workspace_bytes <= MOST_WORKSPACE)
		return plan;
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(plan));
	return NULL;
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

void otp_dnn_run(otp_device *d, const otp_dnn_plan *p, void *const data[OTP_DNN_ROLES], void *workspace)
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
	void *given[OTP_DNN_ROLES]; /* what plans and the probe are handed: the same, or bfloat16 */
	float *value, *size;	    /* of the probes */
	cudaEvent_t start, end;
	bool crowded; /* the device had no room for some of it, or for a workspace */
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
	for (int role = 0; role < OTP_DNN_SCALE && !b->crowded; role++)
		if (otp_dnn_takes(conv, (otp_dnn_role)role))
			fill_operand(b, role);
	b->value = bench_alloc(b, PROBES * sizeof *b->value);
	b->size = bench_alloc(b, PROBES * sizeof *b->size);
	CUDA_CHECK(cudaEventCreate(&b->start));
	CUDA_CHECK(cudaEventCreate(&b->end));
	return !b->crowded;
}

static void close_bench(bench *b)
{
	CUDA_CHECK(cudaStreamSynchronize(b->device->stream));
	for (int role = 0; role < OTP_DNN_ROLES; role++) {
		if (b->given[role] != b->data[role])
			CUDA_CHECK(cudaFree(b->given[role]));
		CUDA_CHECK(cudaFree(b->data[role]));
	}
	CUDA_CHECK(cudaFree(b->value));
	CUDA_CHECK(cudaFree(b->size));
	CUDA_CHECK(cudaEventDestroy(b->start));
	CUDA_CHECK(cudaEventDestroy(b->end));
}

/* A plan on trial. */
typedef struct trial {
	cudnnBackendDescriptor_t plan;
	int64_t workspace_bytes;
	float taken; /* milliseconds of the fastest run after the first; INFINITY where it does not run */
	int candidate;
} trial;

static void run_trial(bench *b, trial *t)
{
	void *workspace = bench_alloc(b, (size_t)t->workspace_bytes);
	t->taken = INFINITY;
	if (!workspace)
		return;
	for (int run = 0; run < TIMED_RUNS; run++) {
		float taken = INFINITY;
		CUDA_CHECK(cudaEventRecord(b->start, b->device->stream));
		if (execute(b->device, t->plan, b->conv, b->given, workspace) != CUDNN_STATUS_SUCCESS)
			break;
		CUDA_CHECK(cudaEventRecord(b->end, b->device->stream));
		CUDA_CHECK(cudaEventSynchronize(b->end));
		CUDA_CHECK(cudaEventElapsedTime(&taken, b->start, b->end));
		if (run > 0 && taken < t->taken)
			t->taken = taken;
	}
	CUDA_CHECK(cudaStreamSynchronize(b->device->stream));
	CUDA_CHECK(cudaFree(workspace));
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

static void take(otp_dnn_plan *p, const trial *t, const otp_dnn_candidate *list)
{
	p->plan = t->plan;
	p->workspace_bytes = (size_t)t->workspace_bytes;
	p->taken = t->taken;
	p->mode = (int)list[t->candidate].mode;
	p->rank = list[t->candidate].rank;
	p->verdict = OTP_WAY_TIMED;
}

static int by_time(const void *a, const void *b)
{
	const trial *x = a, *y = b;
	return (x->taken > y->taken) - (x->taken < y->taken);
}

/* The fastest that agrees is taken into p. */
static void time_candidates(bench *b, otp_dnn_plan *p, const otp_dnn_candidate *list, int count)
{
	trial trials[MOST_READY];
	int tried = 0, most = p->conv.compiled ? MOST_COMPILED : MOST_READY;
	for (int i = 0; i < count && tried < most; i++) {
		trial *t = &trials[tried];
		*t = (trial){.candidate = i};
		t->plan = otp_dnn_build(b->device, &list[i], &t->workspace_bytes);
		if (!t->plan)
			continue;
		run_trial(b, t);
		tried++;
	}
	qsort(trials, (size_t)tried, sizeof *trials, by_time);
	for (int i = 0; i < tried; i++) {
		if (!p->plan && trials[i].taken < INFINITY) {
			run_trial(b, &trials[i]);
			if (agrees(b, p->key)) {
				take(p, &trials[i], list);
				continue;
			}
		}
		CUDNN_CHECK(cudnnBackendDestroyDescriptor(trials[i].plan));
	}
}

static bool build_chosen(bench *b, otp_dnn_plan *p, const otp_dnn_candidate *list, int count, int mode,
			 int rank)
{
	for (int i = 0; i < count; i++) {
		if ((int)list[i].mode != mode || list[i].rank != rank)
			continue;
		trial t = {.candidate = i};
		t.plan = otp_dnn_build(b->device, &list[i], &t.workspace_bytes);
		if (!t.plan)
			return false;
		run_trial(b, &t);
		if (t.taken < INFINITY && agrees(b, p->key)) {
			take(p, &t, list);
			return true;
		}
		CUDNN_CHECK(cudnnBackendDestroyDescriptor(t.plan));
	}
	return false;
}

float otp_dnn_time_epilogue(otp_device *d, const otp_dnn_conv *conv, otp_type stored)
{
	bench b;
	otp_call call = {.device = d};
	bool good = open_bench(&b, d, conv);
	otp_tensor y = given_of(&b, OTP_DNN_Y), bias = given_of(&b, OTP_DNN_BIAS);
	otp_tensor residual = given_of(&b, OTP_DNN_RESIDUAL), out = y;
	out.type = stored;
	if (stored != y.type)
		out.data = bench_alloc(&b, (size_t)otp_shape_count(y.shape) * sizeof(float));
	good = good && out.data;
	float best = INFINITY;
	for (int run = 0; run < TIMED_RUNS && good; run++) {
		float taken = INFINITY;
		CUDA_CHECK(cudaEventRecord(b.start, d->stream));
		otp_cuda_epilogue(&call, &out, &y, &bias, conv->after.residual ? &residual : NULL,
				  conv->after.scale, conv->after.slope);
		CUDA_CHECK(cudaEventRecord(b.end, d->stream));
		CUDA_CHECK(cudaEventSynchronize(b.end));
		CUDA_CHECK(cudaEventElapsedTime(&taken, b.start, b.end));
		if (run > 0 && taken < best)
			best = taken;
	}
	if (out.data != y.data)
		CUDA_CHECK(cudaFree(out.data));
	close_bench(&b);
	return best;
}

void otp_dnn_settle(otp_device *d, otp_dnn_plan *p, bool wanted)
{
	otp_dnn_keep_choice(d, p->key, wanted ? p->mode : OTP_DNN_NONE_WANTED, p->rank);
	p->verdict = wanted ? OTP_WAY_WANTED : OTP_WAY_UNWANTED;
	if (wanted)
		return;
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(p->plan));
	p->plan = NULL;
}

/* Chosen anew, and kept; of a plan with an epilogue when it is settled whether it is wanted. */
static void choose_by_time(bench *b, otp_dnn_plan *p, const otp_dnn_candidate *list, int count)
{
	time_candidates(b, p, list, count);
	if (p->plan && !p->conv.after.bias)
		otp_dnn_keep_choice(b->device, p->key, p->mode, p->rank);
}

/* The first that can be built, on the heuristics' word: a trial needs room of its own, and a run that has
 * just enough must not end for it. Not kept in the file. */
static bool take_untried(otp_device *d, otp_dnn_plan *p, const otp_dnn_candidate *list, int count)
{
	trial t = {.taken = INFINITY};
	for (int i = 0; i < count && !t.plan; i++) {
		t.candidate = i;
		t.plan = otp_dnn_build(d, &list[i], &t.workspace_bytes);
	}
	if (!t.plan)
		return false;
	take(p, &t, list);
	if (p->conv.after.bias)
		p->verdict = OTP_WAY_WANTED; /* nothing to compare it by */
	return true;
}

static int find_candidates(const otp_dnn_plan *p, otp_dnn_candidate list[OTP_DNN_MOST_CANDIDATES])
{
	return otp_dnn_candidates(&p->graph, otp_dnn_rounds(&p->conv), p->conv.compiled, list);
}

static void drop_candidates(const otp_dnn_candidate *list, int count)
{
	for (int i = 0; i < count; i++)
		CUDNN_CHECK(cudnnBackendDestroyDescriptor(list[i].config));
}

static void choose(otp_device *d, otp_dnn_plan *p)
{
	otp_dnn_candidate list[OTP_DNN_MOST_CANDIDATES];
	int mode = -1, rank = -1; /* no candidate's */
	otp_dnn_find_choice(d, p->key, &mode, &rank);
	if (mode == OTP_DNN_NONE_WANTED) {
		p->verdict = OTP_WAY_UNWANTED;
		return;
	}
	int count = find_candidates(p, list);
	if (!count)
		return;
	bench b;
	if (open_bench(&b, d, &p->conv)) {
		if (build_chosen(&b, p, list, count, mode, rank))
			p->verdict = OTP_WAY_WANTED;
		else
			choose_by_time(&b, p, list, count);
	}
	close_bench(&b);
	if (!p->plan && b.crowded)
		take_untried(d, p, list, count);
	drop_candidates(list, count);
}

otp_dnn_plan *otp_dnn_plan_of(otp_device *d, const char *key, bool *found)
{
	otp_dnn_plan *p = d->plans;
	while (p && strcmp(p->key, key) != 0)
		p = p->next;
	*found = p;
	if (p)
		return p;
	p = otp_calloc(1, sizeof *p);
	snprintf(p->key, sizeof p->key, "%s", key);
	p->next = d->plans;
	return d->plans = p;
}

/* Convolutions without an engine are remembered too, as plans without a plan. */
otp_dnn_plan *otp_dnn_plan_for(otp_device *d, const otp_dnn_conv *conv)
{
	char key[sizeof d->plans->key];
	describe(conv, key, sizeof key);
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
	drop_candidates(list, count);
	otp_dnn_graph_free(&p.graph);
	return good;
}

void otp_dnn_forget_plans(otp_device *d)
{
	while (d->plans) {
		otp_dnn_plan *p = d->plans;
		d->plans = p->next;
		if (p->plan)
			CUDNN_CHECK(cudnnBackendDestroyDescriptor(p->plan));
		otp_dnn_graph_free(&p->graph);
		otp_free(p);
	}
}
