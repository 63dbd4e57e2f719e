#include "engine/sampler.h"
#include "core/memory.h"

#include <pthread.h>
#include <string.h>

enum { CHUNK_IMAGES = 16, CHUNK_VECTORS = 256 };

typedef struct worker_program {
	otp_sample_graph sample;
	otp_program *program;
	float *x; /* one chunk, filled up where the last is short */
	uint32_t *words;
	float *y;
	otp_error err; /* of making the program */
} worker_program;

struct otp_sampler {
	otp_runtime *runtime;
	otp_arch arch;
	otp_smoothing smoothing;
	int chunk, workers;
	worker_program *each;
	void *spans[OTP_MAX_SPANS];
};

static size_t sample_floats(const otp_sampler *s)
{
	return (size_t)s->arch.h * (size_t)s->arch.w * (size_t)s->arch.c;
}

static otp_program_options sampler_options(const otp_runtime *runtime)
{
	return (otp_program_options){.precision = runtime->precision,
				     .purpose = "samples of the plan (a smaller --image-size takes less)"};
}

static int chunk_of(const otp_arch *arch) { return arch->vectors ? CHUNK_VECTORS : CHUNK_IMAGES; }

static void build_alone(otp_sampler *s, worker_program *w)
{
	const otp_runtime *at = s->runtime;
	size_t values = (size_t)s->chunk * sample_floats(s);
	w->x = otp_try_calloc(values, sizeof *w->x);
	w->y = otp_try_calloc(values, sizeof *w->y);
	if (!w->x || !w->y)
		otp_fail_memory(&w->err, "memory", 2 * values * sizeof *w->x, "a worker's samples",
				otp_memory_available());
	else
		w->program = otp_program_try(at->backend, at->device, w->sample.graph, s->spans,
					     sampler_options(at), &w->err);
}

/* Runs on the worker itself, so that its memory is near it; one worker after
 * another, so that none takes what another has just found free: a thread's first
 * block alone takes 64 MiB of address space. */
static void build(void *argument, int worker)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	otp_sampler *s = argument;
	pthread_mutex_lock(&one);
	build_alone(s, &s->each[worker]);
	pthread_mutex_unlock(&one);
}

otp_sampler *otp_sampler_new(otp_runtime *runtime, const otp_arch *arch, otp_params *params, void *span,
			     int64_t base, otp_smoothing smoothing, bool given_noise, otp_error *err)
{
	if (!otp_pool_start(runtime->pool)) {
		otp_fail_machine(err, "--threads", "%d threads cannot be started",
				 otp_pool_workers(runtime->pool));
		err->out_of_memory = true; /* a thread takes a stack */
		return NULL;
	}
	otp_sampler *s = otp_calloc(1, sizeof *s);
	s->runtime = runtime;
	s->arch = *arch;
	s->smoothing = smoothing;
	s->chunk = chunk_of(arch);
	s->spans[otp_state_span(OTP_TRANSPORT)] = span;
	s->workers = otp_pool_workers(runtime->pool);
	s->each = otp_calloc((size_t)s->workers, sizeof *s->each);
	for (int i = 0; i < s->workers; i++) {
		worker_program *w = &s->each[i];
		w->sample = otp_sample_build(arch, params, base, s->chunk, given_noise);
		w->words = otp_calloc((size_t)s->chunk * OTP_WORD_COUNT, sizeof *w->words);
	}
	otp_pool_run(runtime->pool, build, s);
	for (int i = 0; i < s->workers; i++)
		if (s->each[i].err.exit_code) {
			*err = s->each[i].err;
			otp_sampler_free(s);
			return NULL;
		}
	return s;
}

size_t otp_sampler_plan(otp_runtime *runtime, const otp_arch *arch)
{
	otp_params *params = otp_sample_params(arch);
	otp_sample_graph sample = otp_sample_build(arch, params, 0, chunk_of(arch), false);
	otp_program_size program =
	    otp_program_plan(runtime->backend, runtime->device, sample.graph, sampler_options(runtime));
	otp_graph_free(sample.graph);
	otp_params_free(params);
	size_t values = (size_t)chunk_of(arch) * (size_t)arch->h * (size_t)arch->w * (size_t)arch->c;
	return (size_t)otp_pool_workers(runtime->pool) *
	       (program.arena_bytes + program.scratch_bytes + 2 * values * sizeof(float));
}
int64_t otp_sampler_round(const otp_sampler *s) { return (int64_t)s->chunk * s->workers; }

void otp_sampler_free(otp_sampler *s)
{
	if (!s)
		return;
	for (int i = 0; i < s->workers; i++) {
		otp_program_free(s->each[i].program);
		otp_graph_free(s->each[i].sample.graph);
		otp_free(s->each[i].x);
		otp_free(s->each[i].y);
		otp_free(s->each[i].words);
	}
	otp_free(s->each);
	otp_free(s);
}

typedef struct sample_task {
	otp_sampler *s;
	const float *x;
	const otp_stream *streams;
	int64_t count;
	double sigma;
	float *y, *eps;
} sample_task;

static void run_chunk(const sample_task *task, worker_program *w, int64_t first)
{
	otp_sampler *s = task->s;
	size_t floats = sample_floats(s);
	size_t n = (size_t)(task->count - first < s->chunk ? task->count - first : s->chunk);
	memcpy(w->x, task->x + (size_t)first * floats, n * floats * sizeof *w->x);
	for (size_t i = 0; i < n; i++)
		memcpy(w->words + i * OTP_WORD_COUNT + OTP_WORD_STREAM, task->streams + (size_t)first + i,
		       sizeof *task->streams);
	if (w->sample.in.eps) {
		memcpy(w->y, task->eps + (size_t)first * floats, n * floats * sizeof *w->y);
		otp_program_write(w->program, w->sample.in.eps, w->y);
	}
	float numbers[OTP_HYPER_COUNT] = {0};
	numbers[OTP_NUMBER_KEEP] = (float)otp_smoothing_keep(s->smoothing, task->sigma);
	numbers[OTP_NUMBER_SIGMA] = (float)task->sigma;
	otp_program_write(w->program, w->sample.in.x, w->x);
	otp_program_write(w->program, w->sample.in.words, w->words);
	otp_program_write(w->program, w->sample.in.numbers, numbers);
	otp_program_run(w->program);
	otp_program_read(w->program, w->sample.y, w->y);
	memcpy(task->y + (size_t)first * floats, w->y, n * floats * sizeof *w->y);
	if (task->eps && !w->sample.in.eps) {
		otp_program_read(w->program, w->sample.eps, w->y);
		memcpy(task->eps + (size_t)first * floats, w->y, n * floats * sizeof *w->y);
	}
}

static void run_worker(void *argument, int worker)
{
	const sample_task *task = argument;
	int64_t stride = (int64_t)task->s->chunk * task->s->workers;
	for (int64_t first = (int64_t)task->s->chunk * worker; first < task->count; first += stride)
		run_chunk(task, &task->s->each[worker], first);
}

void otp_sampler_run(otp_sampler *s, const float *x, const otp_stream *streams, int64_t count, double sigma,
		     float *y, float *eps)
{
	sample_task task = {s, x, streams, count, sigma, y, eps};
	otp_pool_run(s->runtime->pool, run_worker, &task);
}
