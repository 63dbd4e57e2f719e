#include "cli/bench_floor.h"

enum { COPY_SIDE = 4096, LEAST_SIDE = 512, MOST_SIDE = 8192, RUNS = 5 };

/* The same small program on every worker, its inputs filled alike: zeros would be multiplied faster. */
typedef struct probe {
	otp_runtime *runtime;
	otp_graph *graph;
	otp_node *leaf[2];
	float *values; /* of each leaf */
	otp_program **program;
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

static void run(void *argument, int worker) { otp_program_run(((probe *)argument)->program[worker]); }

/* The fastest of a few runs, the first of which warms up; for all workers at once. */
static double time_graph(otp_runtime *runtime, otp_node *a, otp_node *b)
{
	int workers = otp_pool_workers(runtime->pool);
	probe p = {runtime, a->graph, {a, b}, NULL, otp_calloc((size_t)workers, sizeof *p.program)};
	int64_t count = otp_shape_count(a->shape);
	p.values = otp_calloc((size_t)count, sizeof *p.values);
	otp_stream stream = otp_stream_make(1, 0, 0);
	for (int64_t i = 0; i < count; i++)
		p.values[i] = 2 * otp_random_uniform(stream, OTP_PURPOSE_SYNTH, (uint32_t)i) - 1;
	otp_pool_run(runtime->pool, build, &p);
	double least = 1e9;
	for (int i = 0; i <= RUNS; i++) {
		double start = otp_seconds();
		otp_pool_run(runtime->pool, run, &p);
		runtime->backend->wait(runtime->device);
		double seconds = otp_seconds() - start;
		if (i > 0 && seconds < least)
			least = seconds;
	}
	for (int i = 0; i < workers; i++)
		otp_program_free(p.program[i]);
	otp_free(p.program);
	otp_free(p.values);
	return least;
}

static double measure_bandwidth(otp_runtime *runtime)
{
	otp_graph *g = otp_graph_new();
	otp_shape s = otp_shape4(1, 1, COPY_SIDE, COPY_SIDE);
	otp_node *x = otp_input(g, "x", OTP_F32, s);
	otp_output(otp_copy(x), OTP_SPAN_NONE, 0);
	double seconds = time_graph(runtime, x, NULL);
	otp_graph_free(g);
	return 2 * (double)sizeof(float) * (double)otp_shape_count(s) * otp_pool_workers(runtime->pool) /
	       seconds;
}

/* Larger and larger, until a product takes long enough to be timed. */
static double measure_rate(otp_runtime *runtime)
{
	double seconds = 0, best = 0;
	for (int side = LEAST_SIDE; side <= MOST_SIDE && seconds < 0.02; side *= 2) {
		otp_graph *g = otp_graph_new();
		otp_node *a = otp_input(g, "a", OTP_F32, otp_shape4(1, 1, side, side));
		otp_node *b = otp_input(g, "b", OTP_F32, otp_shape4(1, 1, side, side));
		otp_output(otp_matmul(a, b, false, false), OTP_SPAN_NONE, 0);
		seconds = time_graph(runtime, a, b);
		double rate = 2.0 * side * side * side * otp_pool_workers(runtime->pool) / seconds;
		best = rate > best ? rate : best;
		otp_graph_free(g);
	}
	return best;
}

void otp_bench_peaks(otp_runtime *runtime, otp_peaks *peaks)
{
	if (peaks->bytes_per_s <= 0)
		peaks->bytes_per_s = measure_bandwidth(runtime);
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
