/* bench: the speed of a whole outer step and of its parts, on inputs that are
 * already in memory, by the options that train takes. */
#include "cli/bench_calls.h"
#include "cli/bench_floor.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/options.h"
#include "config/rules.h"
#include "core/words.h"
#include "train/game.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 7, SHOWN_OPS = 6 };

typedef struct timing {
	double median, least, most; /* seconds */
} timing;

/* What bench takes beside the options of train. */
typedef struct bench_options {
	bool json, repeat, processor_time, calls;
	double seconds, peak_gbs, peak_tflops;
} bench_options;

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

typedef struct bench {
	otp_engine *engine;
	const otp_config *config;
	const bench_options *options;
	const otp_arch *arch;
	const char *device;
	otp_peaks peaks;
	float *x, *y;
	otp_update update;
	double (*clock)(void); /* seconds */
} bench;

/* What this process has computed, whatever else the machine does. */
static double processor_seconds(void)
{
	struct timespec used;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}

/* By kind of step. */
static const char *const KIND_KEYS[OTP_STEP_KINDS] = {"transport", "potential", "potential_r1"};
static const char *const KIND_NAMES[OTP_STEP_KINDS] = {"transport", "potential", "potential + R1"};

static void run_step(bench *b, otp_step_kind kind)
{
	b->update.draw++;
	b->update.count++;
	b->update.r1 = kind == OTP_STEP_POTENTIAL_R1 ? 1e-3 : 0;
	if (kind == OTP_STEP_TRANSPORT)
		otp_engine_transport_step(b->engine, (otp_batch){.values = b->x}, &b->update);
	else
		otp_engine_potential_step(b->engine, (otp_batch){.values = b->x}, (otp_batch){.values = b->y},
					  &b->update);
}

/* The median over rounds, each of as many runs as fill its share of the time; slow steps get fewer rounds. */
static timing time_step(bench *b, otp_step_kind kind)
{
	double seconds[ROUNDS], share = b->options->seconds / ROUNDS;
	run_step(b, kind);
	run_step(b, kind); /* a captured form is made here */
	otp_engine_wait(b->engine);
	double start = b->clock();
	run_step(b, kind);
	otp_engine_wait(b->engine);
	double once = b->clock() - start;
	int runs = once < share ? (int)(share / once) + 1 : 1, rounds = once < 5 * share ? ROUNDS : 3;
	for (int r = 0; r < rounds; r++) {
		start = b->clock();
		for (int i = 0; i < runs; i++)
			run_step(b, kind);
		otp_engine_wait(b->engine);
		seconds[r] = (b->clock() - start) / runs;
	}
	qsort(seconds, (size_t)rounds, sizeof *seconds, by_value);
	return (timing){seconds[rounds / 2], seconds[0], seconds[rounds - 1]};
}

static void fill(float *values, size_t count, uint32_t which)
{
	otp_stream stream = otp_stream_make(1, which, 0);
	for (size_t i = 0; i < count; i++)
		values[i] = 2 * otp_random_uniform(stream, OTP_PURPOSE_SYNTH, (uint32_t)i) - 1;
}

static void print_ops(bench *b)
{
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++) {
		double seconds[OTP_OP_COUNT], total = 0;
		if (!otp_engine_profile(b->engine, kind, 3, seconds))
			continue;
		for (int op = 0; op < OTP_OP_COUNT; op++)
			total += seconds[op];
		printf("%s step, one part's share by op:\n", KIND_NAMES[kind]);
		for (int shown = 0; shown < SHOWN_OPS; shown++) {
			int most = 0;
			for (int op = 0; op < OTP_OP_COUNT; op++)
				if (seconds[op] > seconds[most])
					most = op;
			if (seconds[most] <= 0)
				break;
			printf("  %-14s %5.1f %%\n", otp_op_name((otp_op)most), 100 * seconds[most] / total);
			seconds[most] = 0;
		}
	}
}

/* One outer step's worth of `values`, one a kind of step. */
static double outer_step(const otp_config *c, const double *values)
{
	double lazy = c->r1 > 0 ? 1.0 / c->r1_every : 0;
	return c->k_transport * values[OTP_STEP_TRANSPORT] +
	       c->k_potential *
		   (lazy * values[OTP_STEP_POTENTIAL_R1] + (1 - lazy) * values[OTP_STEP_POTENTIAL]);
}

static double peak_bytes(const bench *b)
{
	otp_engine_size size = otp_engine_measure(b->engine);
	return (double)otp_engine_bytes(&size);
}

static void add_kinds(cJSON *o, const char *suffix, const double *values, double factor)
{
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++) {
		char *key = otp_format("%s_%s", KIND_KEYS[kind], suffix);
		cJSON_AddNumberToObject(o, key, factor * values[kind]);
		otp_free(key);
	}
}

static void add_floor(cJSON *o, const bench *b)
{
	double floor_ms[OTP_STEP_KINDS];
	cJSON *by_op = cJSON_CreateObject();
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++) {
		floor_ms[kind] = otp_bench_floor_ms(b->engine, kind, b->peaks);
		cJSON_AddItemToObject(by_op, KIND_KEYS[kind],
				      otp_bench_floor_json(b->engine, kind, b->peaks));
	}
	cJSON_AddNumberToObject(o, "peak_gbs", 1e-9 * b->peaks.bytes_per_s[OTP_PEAK_SIZES - 1]);
	cJSON_AddNumberToObject(o, "peak_gbs_small", 1e-9 * b->peaks.bytes_per_s[0]);
	cJSON_AddNumberToObject(o, "peak_tflops", 1e-12 * b->peaks.flops_per_s);
	cJSON_AddNumberToObject(o, "floor_ms", outer_step(b->config, floor_ms));
	add_kinds(o, "floor_ms", floor_ms, 1);
	cJSON_AddItemToObject(o, "floor_by_op", by_op);
}

static void print_json(const bench *b, const timing *time, const double *median)
{
	const otp_config *c = b->config;
	double step = outer_step(c, median);
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "device", b->device);
	cJSON_AddStringToObject(o, "preset", c->preset);
	cJSON_AddStringToObject(o, "precision", OTP_CHOICE_NAME(otp_precision, c->precision));
	cJSON_AddNumberToObject(o, "batch", c->batch);
	cJSON_AddNumberToObject(o, "image", b->arch->h);
	cJSON_AddNumberToObject(o, "threads", c->threads);
	cJSON_AddNumberToObject(o, "parts", c->parts);
	cJSON_AddNumberToObject(o, "step_ms", 1e3 * step);
	cJSON_AddNumberToObject(o, "images_per_s", c->batch / step);
	add_kinds(o, "ms", median, 1e3);
	cJSON_AddNumberToObject(o, "peak_bytes", peak_bytes(b));
	cJSON_AddNumberToObject(o, "spread", (time->most - time->least) / time->median);
	add_floor(o, b);
	otp_json_print(o);
}

static void print_table(bench *b, const timing *time, const double *median)
{
	const otp_config *c = b->config;
	double step = outer_step(c, median), floor_ms[OTP_STEP_KINDS];
	printf("%s, %s, %d thread%s, batch %d, --parts %d, %dx%dx%d\n", b->device,
	       OTP_CHOICE_NAME(otp_precision, c->precision), c->threads, otp_plural(c->threads), c->batch,
	       c->parts, b->arch->h, b->arch->w, b->arch->c);
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++) {
		floor_ms[kind] = otp_bench_floor_ms(b->engine, kind, b->peaks);
		printf("%-14s step   %9.2f ms  (%.2f to %.2f), floor %.2f\n", KIND_NAMES[kind],
		       1e3 * median[kind], 1e3 * time[kind].least, 1e3 * time[kind].most, floor_ms[kind]);
	}
	printf("outer step            %9.2f ms  %.1f images/s, floor %.2f\n", 1e3 * step, c->batch / step,
	       outer_step(c, floor_ms));
	printf("memory                %9.1f MiB\n", peak_bytes(b) / 1048576);
	printf("floor: each call's bytes at %.0f GB/s (in a cache at up to %.0f) or operations at %.2f "
	       "TFLOP/s\n",
	       1e-9 * b->peaks.bytes_per_s[OTP_PEAK_SIZES - 1], 1e-9 * b->peaks.bytes_per_s[0],
	       1e-12 * b->peaks.flops_per_s);
	if (step < 1e-3 * outer_step(c, floor_ms))
		puts("       too high: a rate is higher than was measured or given; measure again with "
		     "nothing else running");
	print_ops(b);
}

static void print_results(bench *b)
{
	timing time[OTP_STEP_KINDS];
	double median[OTP_STEP_KINDS];
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++) {
		time[kind] = time_step(b, kind);
		median[kind] = time[kind].median;
	}
	if (b->options->json)
		print_json(b, time, median);
	else
		print_table(b, time, median);
}

/* Whoever compares lets two programs take turns: again for each line of stdin. */
static bool asked_again(void)
{
	int c = getchar();
	while (c != EOF && c != '\n')
		c = getchar();
	return c != EOF;
}

/* Networks and numbers of a training by these options, on data that needs none. */
static bool settle(const otp_config *c, otp_session *s, otp_error *err)
{
	const otp_preset *preset = otp_preset_find(c->preset, err);
	if (!preset)
		return false;
	if (c->memory[0])
		return otp_fail(err, "--memory", "chooses the micro-batch of a run; give --micro-batch here");
	bool vectors = preset->vectors;
	otp_size size = vectors ? (otp_size){1, 1} : c->image_size.h ? c->image_size : (otp_size){32, 32};
	int channels = c->channels ? c->channels : vectors ? 2 : 3;
	s->config = *c;
	if (!otp_settings_arch(c, vectors, size.h, size.w, channels, &s->arch, err) ||
	    !otp_rules_settle(&s->config, vectors, otp_arch_values(&s->arch), err))
		return false;
	s->objective = otp_settings_objective(&s->config, &s->arch);
	return true;
}

/* As an engine on a GPU would have them, without one. */
static void print_calls(const otp_session *s, bool json)
{
	const otp_config *c = &s->config;
	otp_bench_count count[OTP_STEP_KINDS];
	otp_engine_settings settings = {.objective = s->objective,
					.batch = c->batch,
					.parts = otp_settings_parts(c, 1),
					.r1_used = true,
					.plain_used = true,
					.beta1 = c->beta1,
					.beta2 = c->beta2,
					.clip_norm = c->clip_norm};
	otp_precision wanted = otp_precision_settled(c->precision, s->arch.vectors, true);
	const char *precision = OTP_CHOICE_NAME(otp_precision, wanted);
	otp_bench_count_calls(&settings, wanted, count);
	if (!json) {
		printf("preset %s, %s, batch %d, --parts %d, %dx%dx%d: what each step would ask of a GPU; "
		       "nothing was run\n",
		       c->preset, precision, c->batch, settings.parts, s->arch.h, s->arch.w, s->arch.c);
		otp_bench_print_calls(count, KIND_NAMES);
		return;
	}
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "preset", c->preset);
	cJSON_AddStringToObject(o, "precision", precision);
	cJSON_AddNumberToObject(o, "batch", c->batch);
	cJSON_AddNumberToObject(o, "image", s->arch.h);
	cJSON_AddNumberToObject(o, "parts", settings.parts);
	cJSON_AddNumberToObject(o, "k_transport", c->k_transport);
	cJSON_AddNumberToObject(o, "k_potential", c->k_potential);
	cJSON_AddNumberToObject(o, "r1_every", c->r1_every);
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++)
		cJSON_AddItemToObject(o, KIND_KEYS[kind], otp_bench_calls_json(&count[kind]));
	otp_json_print(o);
}

static bool run(const otp_config *c, const bench_options *options, otp_error *err)
{
	otp_session s = {0};
	otp_runtime runtime;
	if (!settle(c, &s, err))
		return false;
	if (options->calls) {
		print_calls(&s, options->json);
		return true;
	}
	if (!otp_session_open_runtime(&s.config, s.arch.vectors, NULL, &runtime, err))
		return false;
	otp_engine_settings settings = otp_game_engine_settings(&s, &runtime);
	settings.plain_used = settings.r1_used = true;
	bench b = {.config = &s.config,
		   .clock = options->processor_time ? processor_seconds : otp_seconds,
		   .options = options,
		   .arch = &s.arch,
		   .device = runtime.backend->name,
		   .peaks = {.flops_per_s = 1e12 * options->peak_tflops}};
	otp_bench_set_bandwidth(&b.peaks, 1e9 * options->peak_gbs);
	otp_bench_peaks(&runtime, &b.peaks);
	b.engine = otp_engine_new(&runtime, &settings);
	otp_engine_init(b.engine, c->seed);
	size_t floats = (size_t)c->batch * (size_t)otp_arch_values(&s.arch);
	b.x = otp_calloc(floats, sizeof *b.x);
	b.y = otp_calloc(floats, sizeof *b.y);
	fill(b.x, floats, 0);
	fill(b.y, floats, 1);
	b.update = (otp_update){.seed = c->seed, .keep = 1, .sigma = 0.1, .rate = 1e-5, .ema = 0.99};
	do
		print_results(&b);
	while (options->repeat && asked_again());
	otp_free(b.x);
	otp_free(b.y);
	otp_engine_free(b.engine);
	otp_runtime_close(&runtime);
	return true;
}

static void print_floor_help(void)
{
	puts(
	    "\n"
	    "The floor is the least time for a step's calls: for each the larger of the bytes that it must\n"
	    "move and the operations that it must do, at this machine's highest rates. These are measured\n"
	    "before the steps, with all workers at work: bandwidth by copies, sums and products in place\n"
	    "that move 16 KB to 256 MB a call, so that small calls are held against the caches; operations\n"
	    "by matrix products and a convolution in the same precision.\n"
	    "\n"
	    "With --calls: a launch is one of ours, one of cuDNN's plans or one product of cuBLASLt's, with\n"
	    "conversions. Each operand of a launch counts once; what is left in a cache counts as moved, "
	    "and\n"
	    "partial sums of norms do not. At least: the same calls, were each one launch without "
	    "conversions.\n"
	    "Engines that cuDNN compiles are taken to serve where they are tried.");
}

int otp_command_bench(int argc, char **argv, otp_error *err)
{
	bench_options o = {.seconds = 1.4};
	const otp_arg args[] = {
	    {"json", OTP_ARG_FLAG, &o.json, 0, 0, "one object instead of a table"},
	    {"calls", OTP_ARG_FLAG, &o.calls, 0, 0,
	     "count what each step would ask of a GPU, launches and bytes; runs nothing, needs none"},
	    {"repeat", OTP_ARG_FLAG, &o.repeat, 0, 0, "measure again for each line on stdin"},
	    {"processor-time", OTP_ARG_FLAG, &o.processor_time, 0, 0,
	     "time of the process instead of the wall clock; with --threads 1"},
	    {"seconds", OTP_ARG_REAL, &o.seconds, 0, 0, "seconds for each kind of step; default 1.4"},
	    {"peak-gbs", OTP_ARG_REAL, &o.peak_gbs, 0, 0,
	     "memory bandwidth of the floor in GB/s, for calls of any size; default: measured"},
	    {"peak-tflops", OTP_ARG_REAL, &o.peak_tflops, 0, 0,
	     "rate of the floor in TFLOP/s; default: measured"},
	};
	otp_config c;
	if (!otp_options_parse(argc, argv, args, sizeof args / sizeof *args,
			       "otplan bench [--preset P] [options] [--json]", &c, err)) {
		if (!err->exit_code)
			print_floor_help();
	} else if (otp_config_check(&c, err)) {
		run(&c, &o, err);
	}
	return err->exit_code;
}
