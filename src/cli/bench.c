/* bench: the speed of a whole outer step and of its parts, on inputs that are
 * already in memory, by the options that train takes. */
#include "cli/commands.h"
#include "cli/options.h"
#include "train/game.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 7, PART_OPS = 6 };

typedef struct timing {
	double median, least, most; /* seconds */
} timing;

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

typedef struct bench {
	otp_engine *engine;
	const otp_config *config;
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

enum part { PART_TRANSPORT, PART_POTENTIAL, PART_POTENTIAL_R1 };

static void run_part(bench *b, enum part part)
{
	b->update.draw++;
	b->update.count++;
	b->update.r1 = part == PART_POTENTIAL_R1 ? 1e-3 : 0;
	if (part == PART_TRANSPORT)
		otp_engine_transport_step(b->engine, (otp_batch){.values = b->x}, &b->update);
	else
		otp_engine_potential_step(b->engine, (otp_batch){.values = b->x}, (otp_batch){.values = b->y},
					  &b->update);
}

/* The median over rounds, each of as many runs as fill a fifth of a second; slow steps get fewer rounds. */
static timing time_part(bench *b, enum part part)
{
	double seconds[ROUNDS];
	run_part(b, part);
	run_part(b, part); /* a captured form is made here */
	otp_engine_wait(b->engine);
	double start = b->clock();
	run_part(b, part);
	otp_engine_wait(b->engine);
	double once = b->clock() - start;
	int runs = once < 0.2 ? (int)(0.2 / once) + 1 : 1, rounds = once < 1 ? ROUNDS : 3;
	for (int r = 0; r < rounds; r++) {
		start = b->clock();
		for (int i = 0; i < runs; i++)
			run_part(b, part);
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
	static const char *const NAMES[] = {"transport", "potential", "potential + R1"};
	for (int part = 0; part < 3; part++) {
		double seconds[OTP_OP_COUNT], total = 0;
		if (!otp_engine_profile(b->engine, part, 3, seconds))
			continue;
		for (int op = 0; op < OTP_OP_COUNT; op++)
			total += seconds[op];
		printf("%s step, one worker's share by op:\n", NAMES[part]);
		for (int shown = 0; shown < PART_OPS; shown++) {
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

static void print_results(bench *b, const otp_arch *a, const char *device, bool json)
{
	const otp_config *c = b->config;
	timing transport = time_part(b, PART_TRANSPORT), plain = time_part(b, PART_POTENTIAL);
	timing with_r1 = time_part(b, PART_POTENTIAL_R1);
	double lazy = c->r1 > 0 ? 1.0 / c->r1_every : 0;
	double step = c->k_transport * transport.median +
		      c->k_potential * (lazy * with_r1.median + (1 - lazy) * plain.median);
	double spread = (transport.most - transport.least) / transport.median;
	otp_engine_size size = otp_engine_measure(b->engine);
	double peak = (double)(size.state_bytes + size.gradient_bytes + size.program_bytes);
	if (json) {
		cJSON *o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "device", device);
		cJSON_AddStringToObject(o, "preset", c->preset);
		cJSON_AddStringToObject(o, "precision", c->precision);
		cJSON_AddNumberToObject(o, "batch", c->batch);
		cJSON_AddNumberToObject(o, "image", a->h);
		cJSON_AddNumberToObject(o, "threads", c->threads);
		cJSON_AddNumberToObject(o, "step_ms", 1e3 * step);
		cJSON_AddNumberToObject(o, "images_per_s", c->batch / step);
		cJSON_AddNumberToObject(o, "transport_ms", 1e3 * transport.median);
		cJSON_AddNumberToObject(o, "potential_ms", 1e3 * plain.median);
		cJSON_AddNumberToObject(o, "potential_r1_ms", 1e3 * with_r1.median);
		cJSON_AddNumberToObject(o, "peak_bytes", peak);
		cJSON_AddNumberToObject(o, "spread", spread);
		char *text = cJSON_PrintUnformatted(o);
		puts(text);
		cJSON_free(text);
		cJSON_Delete(o);
		return;
	}
	printf("%s, %s, %d threads, batch %d, %dx%dx%d\n", device, c->precision, c->threads, c->batch, a->h,
	       a->w, a->c);
	printf("transport step        %9.2f ms  (%.2f to %.2f)\n", 1e3 * transport.median,
	       1e3 * transport.least, 1e3 * transport.most);
	printf("potential step        %9.2f ms  (%.2f to %.2f)\n", 1e3 * plain.median, 1e3 * plain.least,
	       1e3 * plain.most);
	printf("potential step, R1    %9.2f ms  (%.2f to %.2f)\n", 1e3 * with_r1.median, 1e3 * with_r1.least,
	       1e3 * with_r1.most);
	printf("outer step            %9.2f ms  %.1f images/s\n", 1e3 * step, c->batch / step);
	printf("memory                %9.1f MiB\n", peak / 1048576);
	print_ops(b);
}

static bool run(const otp_config *c, bool json, bool processor_time, otp_error *err)
{
	bool vectors = strcmp(c->preset, "vector") == 0;
	int size = vectors ? 1 : c->image_size ? c->image_size : 32;
	int channels = c->channels ? c->channels : vectors ? 2 : 3;
	otp_session s = {.config = *c};
	otp_place_of_work place;
	if (!otp_settings_arch(c, vectors, size, size, channels, &s.arch, err) ||
	    !otp_place_open(c->device, c->precision, c->threads, &place, err))
		return false;
	s.config.threads = otp_pool_workers(place.pool);
	s.objective = otp_settings_objective(c, &s.arch);
	otp_engine_settings settings = otp_game_engine_settings(&s, &place);
	settings.plain_used = settings.r1_used = true;
	bench b = {.engine = otp_engine_new(&place, &settings), .config = &s.config,
		   .clock = processor_time ? processor_seconds : otp_seconds};
	otp_engine_init(b.engine, c->seed);
	size_t floats = (size_t)c->batch * (size_t)size * (size_t)size * (size_t)channels;
	b.x = otp_calloc(floats, sizeof *b.x);
	b.y = otp_calloc(floats, sizeof *b.y);
	fill(b.x, floats, 0);
	fill(b.y, floats, 1);
	b.update = (otp_update){.seed = c->seed, .keep = 1, .sigma = 0.1, .rate = 1e-5, .ema = 0.99};
	print_results(&b, &s.arch, place.backend->name, json);
	otp_free(b.x);
	otp_free(b.y);
	otp_engine_free(b.engine);
	otp_place_close(&place);
	return true;
}

int otp_command_bench(int argc, char **argv, otp_error *err)
{
	bool json = false, processor_time = false;
	int kept = 0;
	char **words = otp_calloc((size_t)argc + 2, sizeof *words);
	for (int i = 0; i < argc; i++)
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (strcmp(argv[i], "--processor-time") == 0)
			processor_time = true;
		else if (strcmp(argv[i], "--help") == 0)
			puts("  --json         one object instead of a table\n"
			     "  --processor-time  of the process instead of wall clock; with --threads 1\n"
			     "  and the options of train");
		else
			words[kept++] = argv[i];
	otp_config c;
	if ((kept || json || processor_time || argc == 0) && otp_options_parse(kept, words, &c, err) &&
	    otp_config_check(&c, err))
		run(&c, json, processor_time, err);
	otp_free(words);
	return err->exit_code;
}
