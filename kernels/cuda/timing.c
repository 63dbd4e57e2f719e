#include "cuda/timing.h"
#include "cuda/capture.h"

#include <math.h>

enum { RUNS_TOGETHER = 4, TIMED_LAUNCHES = 4 };

/* A GPU raises its clocks under load and keeps them for a while: seconds of work that raise them, and of rest
 * after which they have to be raised again. Guesses. What takes long is launched no more after ENOUGH. */
static const double WARM_UP = 0.1, COOL_DOWN = 1, ENOUGH = 0.1;

typedef struct runs {
	bool (*issue)(const void *context);
	const void *context;
	cudaGraphExec_t graph; /* or NULL: issued one by one */
} runs;

static bool issue_several(const void *context)
{
	const runs *r = context;
	for (int i = 0; i < RUNS_TOGETHER; i++)
		if (!r->issue(r->context))
			return false;
	return true;
}

static bool launch(otp_device *d, const runs *r)
{
	if (!r->graph)
		return issue_several(r);
	CUDA_CHECK(cudaGraphLaunch(r->graph, d->stream));
	return true;
}

static float time_launch(otp_device *d, const runs *r, cudaEvent_t start, cudaEvent_t end)
{
	float taken = INFINITY;
	CUDA_CHECK(cudaEventRecord(start, d->stream));
	if (!launch(d, r))
		return INFINITY;
	CUDA_CHECK(cudaEventRecord(end, d->stream));
	CUDA_CHECK(cudaEventSynchronize(end));
	CUDA_CHECK(cudaEventElapsedTime(&taken, start, end));
	return taken / RUNS_TOGETHER;
}

/* The least of the launches that end after the warm-up. */
static float least_of_launches(otp_device *d, const runs *r, cudaEvent_t start, cudaEvent_t end)
{
	float best = INFINITY, taken = 0;
	double begun = otp_seconds(), now = begun;
	double warm = d->worked && begun - d->worked < COOL_DOWN ? begun : begun + WARM_UP;
	for (int timed = 0; timed < TIMED_LAUNCHES && taken < INFINITY && now - warm < ENOUGH;) {
		taken = time_launch(d, r, start, end);
		now = otp_seconds();
		if (now < warm)
			continue;
		best = fminf(best, taken);
		timed++;
	}
	d->worked = now;
	return best;
}

static float time_launches(otp_device *d, const runs *r)
{
	cudaEvent_t start = NULL, end = NULL;
	float taken = INFINITY;
	CUDA_CHECK(cudaEventCreate(&start));
	CUDA_CHECK(cudaEventCreate(&end));
	if (start && end)
		taken = least_of_launches(d, r, start, end);
	if (start)
		CUDA_CHECK(cudaEventDestroy(start));
	if (end)
		CUDA_CHECK(cudaEventDestroy(end));
	return taken;
}

/* The first run loads modules, which capture forbids. */
float otp_cuda_time(otp_device *d, bool (*issue)(const void *context), const void *context, bool one_by_one)
{
	char why[OTP_CAPTURE_WHY];
	runs r = {issue, context, NULL};
	float taken = INFINITY;
	if (!issue(context))
		return INFINITY;
	if (!one_by_one)
		r.graph = otp_cuda_capture(d->stream, issue_several, &r, why);
	if (r.graph || one_by_one)
		taken = time_launches(d, &r);
	CUDA_CHECK(cudaStreamSynchronize(d->stream));
	if (r.graph)
		CUDA_CHECK(cudaGraphExecDestroy(r.graph));
	return taken;
}
