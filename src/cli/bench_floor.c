#include "cli/bench_floor.h"

#include <string.h>
#include <time.h>

/* Where the workers are the device, each one's own processor time counts: what it waits for other work on the
 * machine is not the machine's rate. A GPU is timed by the clock.
 * A timing is of as many runs as take LONG_ENOUGH seconds; the best of TIMINGS of them counts, since other
 * work on the machine only ever adds to one. */
enum { TIMINGS = 5, LEAST_SIDE = 256, MOST_SIDE = 8192, DRAWN = 65521 /* then again */ };
static const double LONG_ENOUGH = 0.015;

/* The same small program on every worker, its inputs filled alike: zeros would be multiplied faster. */
typedef struct probe {
	otp_runtime *runtime;
	otp_graph *graph;
	otp_node *leaf[2];
	float *values; /* of the larger leaf */
	otp_program **program;
	int runs;	 /* in a timing */
	double *seconds; /* each worker's own */
} probe;

static void build(void *argument, int worker)
{
	probe *p = argument;
	otp_program_options options = {.precision = p->runtime->precision};
	p->program[worker] =
	    otp_program_new(p->runtime->backend, p->runtime->device, p->graph, NULL, options);
	for (int i = 0; i < 2 && p->leaf[i]; i++)
		otp_program_write(p->program[worker], p->leaf[i], p->values);
}

static double own_seconds(void)
{
	struct timespec used;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}

static void run(void *argument, int worker)
{
	const probe *p = argument;
	double start = own_seconds();
	for (int i = 0; i < p->runs; i++)
		otp_program_run(p->program[worker]);
	p->seconds[worker] = own_seconds() - start;
}

static double time_runs(probe *p, int runs)
{
	p->runs = runs;
	double start = otp_seconds(), runs_per_s = 0;
	otp_pool_run(p->runtime->pool, run, p);
	p->runtime->backend->wait(p->runtime->device);
	double seconds = otp_seconds() - start;
	if (strcmp(p->runtime->backend->name, "cpu") != 0)
		return seconds;
	int workers = otp_pool_workers(p->runtime->pool);
	for (int i = 0; i < workers; i++)
		runs_per_s += 1 / p->seconds[i];
	return workers / runs_per_s;
}

/* Seconds of a run, for all workers at once. */
static double best_run(probe *p)
{
	int runs = 1;
	time_runs(p, 2); /* a captured form is made here */
	double seconds = time_runs(p, runs);
	while (seconds < LONG_ENOUGH) {
		runs *= seconds > LONG_ENOUGH / 8 ? 2 : 8;
		seconds = time_runs(p, runs);
	}
	double best = seconds, spent = seconds;
	for (int i = 1; i < 2 || (i < TIMINGS && spent < TIMINGS * LONG_ENOUGH); i++) {
		seconds = time_runs(p, runs);
		spent += seconds;
		best = seconds < best ? seconds : best;
	}
	return best / runs;
}

static double time_graph(otp_runtime *runtime, otp_node *a, otp_node *b)
{
	int workers = otp_pool_workers(runtime->pool);
	probe p = {.runtime = runtime, .graph = a->graph, .leaf = {a, b}};
	int64_t count = otp_shape_count(a->shape), other = b ? otp_shape_count(b->shape) : 0;
	count = count > other ? count : other;
	p.program = otp_calloc((size_t)workers, sizeof *p.program);
	p.values = otp_calloc((size_t)count, sizeof *p.values);
	p.seconds = otp_calloc((size_t)workers, sizeof *p.seconds);
	otp_stream stream = otp_stream_make(1, 0, 0);
	for (int64_t i = 0; i < count; i++)
		p.values[i] = i < DRAWN ? 2 * otp_random_uniform(stream, OTP_PURPOSE_SYNTH, (uint32_t)i) - 1
					: p.values[i - DRAWN];
	otp_pool_run(runtime->pool, build, &p);
	double seconds = best_run(&p);
	for (int i = 0; i < workers; i++)
		otp_program_free(p.program[i]);
	otp_free(p.program);
	otp_free(p.values);
	otp_free(p.seconds);
	return seconds;
}

/* ---- bandwidth ---- */

/* From one memory into another, in runtime, and read alone: programs do all three. */
enum mover { COPY, IN_PLACE, READ, MOVERS };

static otp_node *move(enum mover how, otp_node *x)
{
	return how == COPY ? otp_copy(x) : otp_affine(x, 1, 0.5f);
}

/* A call moves so many bytes. Several follow each other, each on what the one before has written, or all on
 * the same, so that what fits into a cache is there. */
static double time_mover(otp_runtime *runtime, enum mover how, double bytes)
{
	enum { MOST_CALLS = 32 };
	int calls = bytes < 0x1p22 ? MOST_CALLS : 2;
	int floats = (int)(bytes / (how == READ ? 1 : 2) / sizeof(float));
	otp_graph *g = otp_graph_new();
	otp_graph_keep_equals(g);
	otp_node *x = otp_input(g, "x", OTP_F32, otp_shape4(1, 1, floats / 64, 64)), *y = x;
	for (int i = 0; i < calls; i++)
		if (how == READ)
			otp_output(otp_sum(x, otp_shape4(1, 1, 1, 1)), OTP_SPAN_NONE, 0);
		else
			y = move(how, y);
	if (y != x) /* a row of it: what is kept whole is in no memory that calls pass on */
		otp_output(otp_copy(otp_slice(y, OTP_AXIS_W, 0, 1)), OTP_SPAN_NONE, 0);
	double seconds = time_graph(runtime, x, NULL) / calls;
	otp_graph_free(g);
	return seconds;
}

/* The smallest size's calls are of 16 KB here; the largest, whose memory all workers need at once, of 1 GB
 * together, or of the smallest such call. */
static double probed_bytes(int size, int workers)
{
	if (size == 0)
		return 0x1p14;
	bool last = size == OTP_PEAK_SIZES - 1;
	double together = 0x1p30 / workers, before = otp_peak_bytes[size - 1];
	if (!last || together >= otp_peak_bytes[size])
		return otp_peak_bytes[size];
	return together > before ? together : before;
}

/* What larger calls reach, smaller ones may. */
static void measure_bandwidth(otp_runtime *runtime, otp_peaks *peaks)
{
	int workers = otp_pool_workers(runtime->pool);
	double best = 0;
	for (int size = OTP_PEAK_SIZES - 1; size >= 0; size--) {
		double bytes = probed_bytes(size, workers);
		for (int how = 0; how < MOVERS; how++) {
			double rate = bytes * workers / time_mover(runtime, (enum mover)how, bytes);
			best = rate > best ? rate : best;
		}
		peaks->bytes_per_s[size] = best;
	}
}

/* ---- rate ---- */

/* Operands as programs hold them. */
static otp_node *operand(const otp_runtime *runtime, otp_graph *g, const char *name, otp_shape s)
{
	bool narrow = runtime->precision == OTP_PRECISION_BF16 && runtime->backend->element_bytes[OTP_BF16];
	return otp_input(g, name, narrow ? OTP_BF16 : OTP_F32, s);
}

static double rate_of(otp_runtime *runtime, otp_node *a, otp_node *b, otp_node *y, double *seconds)
{
	const otp_peaks unit = {1, {1, 1, 1, 1, 1, 1}};
	otp_work by_op[OTP_OP_COUNT] = {{0}};
	otp_op op = y->op;
	otp_output(y, OTP_SPAN_NONE, 0);
	otp_program *p = otp_program_new(runtime->backend, runtime->device, a->graph, NULL,
					 (otp_program_options){.precision = runtime->precision});
	otp_program_add_work(p, unit, by_op);
	otp_program_free(p);
	*seconds = time_graph(runtime, a, b);
	return by_op[op].flops * otp_pool_workers(runtime->pool) / *seconds;
}

/* Larger and larger products, until one takes long; and a convolution, which may be the faster. */
static double measure_rate(otp_runtime *runtime)
{
	double seconds = 0, best = 0;
	for (int side = LEAST_SIDE; side <= MOST_SIDE && seconds < 0.02; side *= 2) {
		otp_graph *g = otp_graph_new();
		otp_node *a = operand(runtime, g, "a", otp_shape4(1, 1, side, side));
		otp_node *b = operand(runtime, g, "b", otp_shape4(1, 1, side, side));
		double rate = rate_of(runtime, a, b, otp_matmul(a, b, false, false), &seconds);
		best = rate > best ? rate : best;
		otp_graph_free(g);
	}
	seconds = 0;
	for (int images = 1; images <= 1024 && seconds < 0.02; images *= 8) {
		otp_graph *g = otp_graph_new();
		otp_node *x = operand(runtime, g, "x", otp_shape4(images, 32, 32, 128));
		otp_node *w = operand(runtime, g, "w", otp_shape4(128, 3, 3, 128));
		double rate = rate_of(runtime, x, w, otp_conv2d(x, w, 1, 1), &seconds);
		best = rate > best ? rate : best;
		otp_graph_free(g);
	}
	return best;
}

void otp_bench_set_bandwidth(otp_peaks *peaks, double bytes_per_s)
{
	for (int size = 0; size < OTP_PEAK_SIZES; size++)
		peaks->bytes_per_s[size] = bytes_per_s;
}

void otp_bench_peaks(otp_runtime *runtime, otp_peaks *peaks)
{
	if (peaks->bytes_per_s[0] <= 0)
		measure_bandwidth(runtime, peaks);
	if (peaks->flops_per_s <= 0)
		peaks->flops_per_s = measure_rate(runtime);
}

double otp_bench_floor_ms(const otp_engine *e, otp_step_kind kind, otp_peaks peaks)
{
	otp_work by_op[OTP_OP_COUNT];
	double sum = 0;
	otp_engine_work(e, kind, peaks, by_op);
	for (int op = 0; op < OTP_OP_COUNT; op++)
		sum += by_op[op].floor_s;
	return 1e3 * sum;
}

cJSON *otp_bench_floor_json(const otp_engine *e, otp_step_kind kind, otp_peaks peaks)
{
	otp_work by_op[OTP_OP_COUNT];
	otp_engine_work(e, kind, peaks, by_op);
	cJSON *all = cJSON_CreateObject();
	for (int op = 0; op < OTP_OP_COUNT; op++) {
		if (by_op[op].calls == 0)
			continue;
		cJSON *one = cJSON_AddObjectToObject(all, otp_op_name((otp_op)op));
		cJSON_AddNumberToObject(one, "calls", by_op[op].calls);
		cJSON_AddNumberToObject(one, "gbytes", by_op[op].bytes / 1e9);
		cJSON_AddNumberToObject(one, "gflops", by_op[op].flops / 1e9);
		cJSON_AddNumberToObject(one, "floor_ms", 1e3 * by_op[op].floor_s);
	}
	return all;
}
