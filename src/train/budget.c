#include "train/budget.h"
#include "core/memory.h"
#include "core/words.h"
#include "train/evaluate.h"
#include "train/game.h"
#include "train/monitor.h"
#include "train/summary.h"
#include "train/trainer.h"

#include <stdio.h>

/* Estimates: what HDF5 keeps for itself, of which 3.8 MiB were seen; pages of code and libraries that
 * training, its pictures and its files are the first to touch, of which 3.8 MiB were seen too. */
enum { HDF5_BYTES = 4 << 20, TOUCHED_BYTES = 4 << 20 };

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static size_t state_bytes(const otp_engine_size *e, otp_network n)
{
	return (size_t)e->elements[n] * (size_t)otp_engine_rows(n) * sizeof(float);
}

/* The largest of three moments: a picture or the checkpoint after a step, and the evaluation at the end,
 * which has a translator in place of the engine. */
static void find_peaks(otp_budget *b, bool on_host)
{
	size_t host = b->itself + b->data, end_device = b->drawing + b->model;
	size_t training = b->engine.host_bytes + b->batches + b->measuring + larger(b->saving, b->picture);
	size_t device = otp_engine_bytes(&b->engine) + b->drawing;
	if (on_host) {
		b->host_peak = host + larger(training + device, b->ending + end_device);
	} else {
		b->host_peak = host + larger(training, b->ending);
		b->device_peak = device;
	}
	b->host_peak = larger(b->host_peak, otp_memory_peak()); /* a look at the data may have been dearer */
}

static size_t ending_bytes(const otp_session *s)
{
	return otp_evaluate_bytes(otp_summary_count(s), otp_summary_inputs(&s->config), &s->arch);
}

static otp_budget budget_at(const otp_session *given, otp_runtime *runtime, int batch, int parts)
{
	otp_session s = *given;
	s.config.batch = batch;
	s.config.parts = parts < batch ? parts : batch;
	const otp_dataset *sets[] = {s.source, s.target, s.test[OTP_SOURCE], s.test[OTP_TARGET]};
	size_t held = 0;
	otp_engine_settings settings = otp_game_engine_settings(&s, runtime);
	otp_budget b = {.engine = otp_engine_plan(runtime, &settings)};
	b.drawing = otp_sampler_plan(runtime, &s.arch);
	b.batches = otp_game_batch_bytes(&s, &settings) / (size_t)otp_group_size(runtime->group);
	for (otp_side side = 0; side < OTP_SIDES; side++)
		b.resident[side] = settings.objective.resident[side];
	b.measuring = otp_monitor_bytes(&s);
	size_t transport = state_bytes(&b.engine, OTP_TRANSPORT),
	       potential = state_bytes(&b.engine, OTP_POTENTIAL);
	b.checkpoint = transport + potential;
	/* What is read back is digested in pieces. */
	b.saving = b.checkpoint + HDF5_BYTES;
	b.model = (size_t)b.engine.elements[OTP_TRANSPORT] * sizeof(float);
	b.picture = otp_train_picture_bytes(&s.arch);
	b.ending = ending_bytes(&s);
	for (int i = 0; i < 4; i++) {
		otp_dataset_info info = sets[i] ? otp_dataset_describe(sets[i]) : (otp_dataset_info){0};
		b.data += info.memory_bytes;
		held += info.memory_bytes - info.unloaded_bytes;
	}
	size_t resident = otp_memory_resident();
	b.itself = (resident > held ? resident - held : 0) + TOUCHED_BYTES;
	b.most_elements = runtime->backend->most_elements;
	b.device_free = runtime->backend->memory_free(runtime->device);
	b.host_free = otp_memory_available() + b.itself + held;
	find_peaks(&b, b.device_free == 0);
	return b;
}

otp_budget otp_budget_of(const otp_session *s, otp_runtime *runtime)
{
	return budget_at(s, runtime, s->config.batch, s->config.parts);
}

static bool countable(const otp_budget *b)
{
	return !b->most_elements || b->engine.largest <= b->most_elements;
}

bool otp_budget_fits(const otp_budget *b)
{
	return b->host_peak <= b->host_free && b->device_peak <= b->device_free && countable(b);
}

/* ---- refusing ---- */

/* 0: none does. Memory grows with the batch, so halving finds it. */
static int largest_batch(const otp_session *s, otp_runtime *runtime)
{
	int unit = s->config.noise_pairs ? 2 : 1, fits = 0, fails = s->config.batch / unit;
	while (fits + 1 < fails) {
		int middle = fits + (fails - fits) / 2;
		otp_budget b = budget_at(s, runtime, middle * unit, s->config.parts);
		*(otp_budget_fits(&b) ? &fits : &fails) = middle;
	}
	return fits * unit;
}

/* Whether the batch, so many samples at a time, takes at most `bytes` where it computes, and fits. `least`
 * falls to what it takes. */
static bool micro_fits(const otp_session *s, otp_runtime *runtime, int micro, size_t bytes, size_t *least)
{
	otp_budget b = budget_at(s, runtime, s->config.batch, otp_config_pieces(s->config.batch, micro));
	size_t takes = b.device_free ? b.device_peak : b.host_peak;
	*least = takes < *least ? takes : *least;
	return otp_budget_fits(&b) && takes <= bytes;
}

static int all_workers(const otp_runtime *runtime)
{
	const otp_group *g = runtime->group;
	return g ? otp_group_workers_before(g, otp_group_size(g)) : otp_pool_workers(runtime->pool);
}

/* The most samples at a time, at most an even share of the workers; 0: not even one. By halves down to some
 * that fit, then back up: the sums of very many parts may take more than their samples save. `takes` becomes
 * the least that any of those tried takes. */
static int largest_micro(const otp_session *s, otp_runtime *runtime, size_t bytes, size_t *takes)
{
	int batch = s->config.batch, fails = otp_config_pieces(batch, all_workers(runtime)) + 1;
	int least = otp_config_pieces(batch, OTP_CONFIG_MOST_PARTS), fits = fails - 1;
	while (fits >= least && !micro_fits(s, runtime, fits, bytes, takes)) {
		fails = fits;
		fits /= 2;
	}
	while (fits >= least && fits + 1 < fails) {
		int middle = fits + (fails - fits) / 2;
		*(micro_fits(s, runtime, middle, bytes, takes) ? &fits : &fails) = middle;
	}
	return fits < least ? 0 : fits;
}

bool otp_budget_choose(otp_session *s, otp_runtime *runtime, otp_error *err)
{
	otp_config *c = &s->config;
	size_t bytes;
	if (!otp_config_bytes(c->memory, "--memory", &bytes, err))
		return false;
	/* Of several processes, that of process 0, which takes most. */
	size_t takes = SIZE_MAX;
	int micro = largest_micro(s, runtime, bytes, &takes);
	if (!micro) {
		char least[OTP_BYTES_TEXT];
		otp_bytes_text(takes, least);
		otp_fail(err, "--memory",
			 "%s is too little: the run takes %s, however few samples are computed at a time",
			 c->memory, least);
	}
	bool agreed = otp_group_agree(runtime->group, micro > 0, err);
	if (!agreed || !micro)
		return false;
	c->parts = otp_config_pieces(c->batch, micro);
	c->micro_batch = otp_config_pieces(c->batch, c->parts); /* of parts of equal size */
	otp_group_broadcast(runtime->group, &c->parts, sizeof c->parts);
	otp_group_broadcast(runtime->group, &c->micro_batch, sizeof c->micro_batch);
	return true;
}

static void say_way_out(const otp_session *s, otp_runtime *runtime, char *text, size_t bytes)
{
	int most = largest_batch(s, runtime);
	const char *size = s->arch.vectors ? "a smaller --width" : "a smaller --image-size or --width";
	size_t takes = SIZE_MAX;
	int micro = s->config.resume ? 0 : largest_micro(s, runtime, SIZE_MAX, &takes);
	char pieces[80] = "";
	if (micro)
		snprintf(pieces, sizeof pieces, ", and --micro-batch %d computes this one in pieces", micro);
	if (most || micro)
		snprintf(text, bytes, "the largest batch that fits is --batch %d%s", most, pieces);
	else
		snprintf(text, bytes, "no batch fits: %s takes less", size);
}

bool otp_budget_check(const otp_session *s, otp_runtime *runtime, const otp_budget *b, otp_error *err)
{
	char way[200], wanted[OTP_BYTES_TEXT], left[OTP_BYTES_TEXT];
	if (otp_budget_fits(b))
		return true;
	say_way_out(s, runtime, way, sizeof way);
	if (!countable(b))
		return otp_fail(err, "--batch",
				"%d makes a tensor of %lld elements, at most %lld can be counted on %s; %s",
				s->config.batch, (long long)b->engine.largest, (long long)b->most_elements,
				runtime->backend->name, way);
	bool device = b->device_peak > b->device_free;
	bool resident = device && s->config.data_on_device == OTP_DATA_ON_DEVICE_ON;
	return otp_fail(err, device ? "device memory" : "memory",
			"the run takes %s, %s are free; %s%s (--plan shows what takes how much)",
			otp_bytes_text(device ? b->device_peak : b->host_peak, wanted),
			otp_bytes_text(device ? b->device_free : b->host_free, left), way,
			resident ? ", and --data-on-device off leaves the data with the host" : "");
}

/* ---- printing ---- */

static void print_bytes(const char *name, size_t bytes, const char *meaning)
{
	char text[OTP_BYTES_TEXT];
	printf("  %-11s %12s  %s\n", name, otp_bytes_text(bytes, text), meaning);
}

/* No picture is decoded for a plan: of files it tells how many there are, not how many can be read. */
static void print_side(const char *name, const otp_dataset_info *info)
{
	char count[OTP_COUNT_TEXT];
	bool files = info->count && !info->stored;
	printf("%-11s %s (%s, %s%s)\n", name, info->spec, info->format, otp_session_count(info, count),
	       files ? " as listed" : "");
}

static void print_run(const otp_session *s, otp_runtime *runtime, const otp_budget *b)
{
	print_side("source", &s->source_info);
	print_side("target", &s->target_info);
	if (s->config.task == OTP_TASK_COLORIZE)
		printf("task        colorize: grey pictures of one half, colours of the other\n");
	char *held = otp_session_held_text(s);
	printf("measured    %s%s\n", otp_session_holds_out(s) ? "held out: " : "", held);
	otp_free(held);
	if (!s->arch.vectors) {
		char *how = otp_preprocessing_text(&s->preprocessing);
		printf("pictures    %s\n", how);
		otp_free(how);
	}
	printf("sample      %dx%dx%d, batch %d in %d part%s of at most %d on %d worker%s (%s, %s)\n",
	       s->arch.w, s->arch.h, s->arch.c, s->config.batch, s->config.parts, otp_plural(s->config.parts),
	       otp_config_pieces(s->config.batch, s->config.parts), otp_pool_workers(runtime->pool),
	       otp_plural(otp_pool_workers(runtime->pool)), runtime->backend->name,
	       OTP_CHOICE_NAME(otp_precision, runtime->precision));
	printf("batches     source %s, target %s\n", otp_resident_text(b->resident[OTP_SOURCE]),
	       otp_resident_text(b->resident[OTP_TARGET]));
	printf("generator   %lld parameters\n", (long long)b->engine.parameters[OTP_TRANSPORT]);
	printf("potential   %lld parameters\n", (long long)b->engine.parameters[OTP_POTENTIAL]);
}

static void print_training(const otp_budget *b)
{
	const otp_engine_size *e = &b->engine;
	char text[160], unshared[OTP_BYTES_TEXT];
	print_bytes("weights", e->weight_bytes, "of both networks, and the generator's average");
	print_bytes("moments", e->moment_bytes, "Adam's two");
	print_bytes("gradients", e->gradient_bytes, "sums of parts that wait for others");
	snprintf(text, sizeof text,
		 "of each worker's largest of %d programs, %d calls (%s if no two values shared memory)",
		 e->programs, e->calls, otp_bytes_text(e->unshared_bytes, unshared));
	print_bytes("activations", e->arena_bytes, text);
	print_bytes("scratch", e->scratch_bytes,
		    e->scratch_expected ? "an estimate: the device's library decides when the run starts"
					: "of single calls, library workspaces included");
	print_bytes("drawing", b->drawing, "samples of the plan while it is learned");
	if (e->data_bytes)
		print_bytes("resident", e->data_bytes, "data sets that lie on the device");
}

static void print_host(const otp_budget *b)
{
	print_bytes("data", b->data, "held of the data sets");
	print_bytes("batches", b->batches, "on their way to the device");
	print_bytes("measuring", b->measuring, "samples of both sides, and the plan's");
	print_bytes("programs", b->engine.host_bytes, "graphs and bound calls");
	print_bytes("saving", b->saving,
		    "the copy that a checkpoint is written from, and HDF5 (an estimate)");
	print_bytes("picture", b->picture, "of samples, while it is made");
	print_bytes("ending", b->ending, "the last evaluation, when training's memory is free again");
	print_bytes("program", b->itself, "code and libraries (in part an estimate)");
}

static void print_total(const char *name, size_t peak, size_t left)
{
	char taken[OTP_BYTES_TEXT], free_text[OTP_BYTES_TEXT];
	printf("%-11s %s at most, %s are free\n", name, otp_bytes_text(peak, taken),
	       otp_bytes_text(left, free_text));
}

void otp_budget_print(const otp_session *s, otp_runtime *runtime, const otp_budget *b)
{
	char text[80];
	print_run(s, runtime, b);
	printf("%s\n", b->device_free ? "device memory" : "memory");
	print_training(b);
	if (b->device_free)
		printf("host memory\n");
	print_host(b);
	printf("disk\n");
	snprintf(text, sizeof text, "%d of them (--keep)", s->config.keep);
	print_bytes("checkpoints", b->checkpoint * (size_t)s->config.keep, text);
	bool best = otp_session_holds_out(s);
	print_bytes(best ? "models" : "model", (best ? 2 : 1) * b->model,
		    best ? "model.h5 and model-best.h5" : "");
	if (b->device_free)
		print_total("device", b->device_peak, b->device_free);
	print_total("memory", b->host_peak, b->host_free);
	otp_error why = {0};
	if (!otp_budget_check(s, runtime, b, &why))
		printf("does not fit: %s\n", why.text);
}
