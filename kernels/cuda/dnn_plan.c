/* dnn_plan.c: which of cuDNN's candidates computes a convolution. The first
 * time on a machine they are timed; the choice goes to a file, one line a
 * convolution, "MODE RANK KEY", the last of a key counting. A choice that
 * cannot be built any more is made again. */
#include "cuda/dnn.h"

#include "core/file.h"

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
	int length = snprintf(key, bytes, "%s x %dx%dx%dx%d w %dx%dx%dx%d stride %d pad %d%s %s to %s%s",
			      names[c->direction], c->x.n, c->x.h, c->x.w, c->x.c, c->w.n, c->w.h, c->w.w,
			      c->w.c, c->stride, c->pad, c->bias ? " bias" : "",
			      c->bf16_in ? "bf16"
			      : c->tf32	 ? "tf32"
					 : "f32",
			      c->bf16_out ? "bf16" : "f32", c->compiled ? " compiled" : "");
	OTP_ASSERT(length > 0 && (size_t)length < bytes, "cudnn: the key '%s' is too long", key);
}

/* ---- the file of choices ---- */

void otp_dnn_open_choices(otp_device *d, const char *gpu)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	char folder[256];
	if (cache && *cache)
		snprintf(folder, sizeof folder, "%s/otplan", cache);
	else if (home && *home)
		snprintf(folder, sizeof folder, "%s/.cache/otplan", home);
	else
		return; /* nowhere to keep them: timed anew each time */
	otp_error ignored = {0};
	if (!otp_file_make_folder(folder, &ignored))
		return;
	snprintf(d->choices_path, sizeof d->choices_path, "%s/cudnn-%zu-%s.txt", folder, cudnnGetVersion(),
		 gpu);
	for (char *c = d->choices_path + strlen(folder) + 1; *c; c++)
		if (*c == ' ' || *c == '/')
			*c = '-';
	size_t bytes;
	if (otp_file_exists(d->choices_path))
		d->choices = otp_file_read(d->choices_path, &bytes, &ignored);
}

static bool find_choice(const otp_device *d, const char *key, int *mode, int *rank)
{
	bool found = false;
	for (const char *line = d->choices; line && *line;) {
		int m, r, at = 0;
		const char *end = strchr(line, '\n');
		size_t length = end ? (size_t)(end - line) : strlen(line);
		if (sscanf(line, "%d %d %n", &m, &r, &at) == 2 && at > 0 &&
		    strlen(key) + (size_t)at == length && strncmp(line + at, key, strlen(key)) == 0) {
			*mode = m;
			*rank = r;
			found = true;
		}
		line = end ? end + 1 : NULL;
	}
	return found;
}

/* One short line appended by one write: programs side by side do not tear it. */
static void keep_choice(const otp_device *d, const char *key, const otp_dnn_candidate *c)
{
	FILE *file = *d->choices_path ? fopen(d->choices_path, "a") : NULL;
	if (!file)
		return; /* a cache: without it the next start is slower */
	fprintf(file, "%d %d %s\n", (int)c->mode, c->rank, key);
	fclose(file);
}

/* ---- building and running ---- */

static cudnnBackendDescriptor_t build_plan(otp_device *d, const otp_dnn_candidate *c,
					   int64_t *workspace_bytes)
{
	cudnnBackendDescriptor_t plan = NULL;
	int64_t found = 0;
	CUDNN_CHECK(cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan));
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

static cudnnStatus_t execute(otp_device *d, cudnnBackendDescriptor_t plan, bool bias,
			     void *const data[OTP_DNN_ROLES], void *workspace)
{
	const int64_t ids[OTP_DNN_ROLES] = {OTP_DNN_X, OTP_DNN_W, OTP_DNN_Y, OTP_DNN_BIAS};
	int count = bias ? 4 : 3;
	cudnnBackendDescriptor_t pack = NULL;
	CUDNN_CHECK(cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack));
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

void otp_dnn_run(otp_device *d, const otp_dnn_plan *p, void *const data[OTP_DNN_ROLES], void *workspace)
{
	CUDNN_CHECK(execute(d, p->plan, p->conv.bias, data, workspace));
}

/* ---- timing ---- */

typedef struct bench {
	void *data[OTP_DNN_ROLES], *workspace;
	cudaEvent_t start, end;
} bench;

static void open_bench(bench *b, const otp_dnn_conv *conv)
{
	const otp_shape shape[] = {conv->x, conv->w, conv->y, otp_shape4(1, 1, 1, conv->y.c)};
	for (int role = 0; role < OTP_DNN_ROLES; role++) {
		size_t bytes = (size_t)otp_shape_count(shape[role]) * sizeof(float);
		CUDA_CHECK(cudaMalloc(&b->data[role], bytes));
		CUDA_CHECK(
		    cudaMemset(b->data[role], 0x3c, bytes)); /* small positive numbers in either type */
	}
	CUDA_CHECK(cudaEventCreate(&b->start));
	CUDA_CHECK(cudaEventCreate(&b->end));
}

static void close_bench(bench *b)
{
	for (int role = 0; role < OTP_DNN_ROLES; role++)
		CUDA_CHECK(cudaFree(b->data[role]));
	CUDA_CHECK(cudaEventDestroy(b->start));
	CUDA_CHECK(cudaEventDestroy(b->end));
}

/* Milliseconds of the fastest run after the first; INFINITY where it does not run. */
static float time_plan(otp_device *d, bench *b, cudnnBackendDescriptor_t plan, bool bias,
		       int64_t workspace_bytes)
{
	float best = INFINITY;
	CUDA_CHECK(cudaMalloc(&b->workspace, workspace_bytes ? (size_t)workspace_bytes : 1));
	for (int run = 0; run < TIMED_RUNS; run++) {
		float taken;
		CUDA_CHECK(cudaEventRecord(b->start, d->stream));
		if (execute(d, plan, bias, b->data, b->workspace) != CUDNN_STATUS_SUCCESS)
			break;
		CUDA_CHECK(cudaEventRecord(b->end, d->stream));
		CUDA_CHECK(cudaEventSynchronize(b->end));
		CUDA_CHECK(cudaEventElapsedTime(&taken, b->start, b->end));
		if (run > 0 && taken < best)
			best = taken;
	}
	CUDA_CHECK(cudaStreamSynchronize(d->stream));
	CUDA_CHECK(cudaFree(b->workspace));
	return best;
}

static void take(otp_dnn_plan *p, cudnnBackendDescriptor_t plan, int64_t workspace_bytes)
{
	if (p->plan)
		CUDNN_CHECK(cudnnBackendDestroyDescriptor(p->plan));
	p->plan = plan;
	p->workspace_bytes = (size_t)workspace_bytes;
}

/* Tries candidates within the limits; returns the fastest's index, or -1, its plan taken into p. */
static int time_candidates(otp_device *d, otp_dnn_plan *p, const otp_dnn_candidate *list, int count)
{
	bench b;
	int fastest = -1, tried = 0, most = p->conv.compiled ? MOST_COMPILED : MOST_READY;
	float least = INFINITY;
	open_bench(&b, &p->conv);
	for (int i = 0; i < count && tried < most; i++) {
		int64_t workspace_bytes = 0;
		cudnnBackendDescriptor_t plan = build_plan(d, &list[i], &workspace_bytes);
		if (!plan)
			continue;
		tried++;
		float taken = time_plan(d, &b, plan, p->conv.bias, workspace_bytes);
		if (taken < least) {
			take(p, plan, workspace_bytes);
			least = taken;
			fastest = i;
		} else {
			CUDNN_CHECK(cudnnBackendDestroyDescriptor(plan));
		}
	}
	close_bench(&b);
	return fastest;
}

static bool build_chosen(otp_device *d, otp_dnn_plan *p, const otp_dnn_candidate *list, int count)
{
	int mode, rank;
	int64_t workspace_bytes = 0;
	if (!find_choice(d, p->key, &mode, &rank))
		return false;
	for (int i = 0; i < count; i++)
		if ((int)list[i].mode == mode && list[i].rank == rank) {
			cudnnBackendDescriptor_t plan = build_plan(d, &list[i], &workspace_bytes);
			if (plan)
				take(p, plan, workspace_bytes);
			return plan != NULL;
		}
	return false;
}

static bool choose(otp_device *d, otp_dnn_plan *p)
{
	otp_dnn_candidate list[OTP_DNN_MOST_CANDIDATES];
	int count = otp_dnn_candidates(&p->graph, &p->conv, list);
	bool good = build_chosen(d, p, list, count);
	if (!good) {
		int fastest = time_candidates(d, p, list, count);
		good = fastest >= 0;
		if (good)
			keep_choice(d, p->key, &list[fastest]);
	}
	for (int i = 0; i < count; i++)
		CUDNN_CHECK(cudnnBackendDestroyDescriptor(list[i].config));
	return good;
}

/* Convolutions without an engine are remembered too, as plans without a plan. */
const otp_dnn_plan *otp_dnn_plan_for(otp_device *d, const otp_dnn_conv *conv)
{
	char key[sizeof d->plans->key];
	describe(conv, key, sizeof key);
	otp_dnn_plan *p = d->plans;
	while (p && strcmp(p->key, key) != 0)
		p = p->next;
	if (p)
		return p->plan ? p : NULL;
	p = otp_calloc(1, sizeof *p);
	memcpy(p->key, key, sizeof key);
	p->conv = *conv;
	p->next = d->plans;
	d->plans = p;
	return otp_dnn_graph_init(&p->graph, conv, d->dnn) && choose(d, p) ? p : NULL;
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
