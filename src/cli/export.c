/* export: evaluation samples as FID tools want them. Generated and reference
 * side each as a flat folder of 3-channel PNGs and as arr_0 of an npz. */
#include "cli/args.h"
#include "cli/commands.h"
#include "core/file.h"
#include "core/log.h"
#include "data/image.h"
#include "data/write.h"
#include "model/translator.h"
#include "train/evaluate.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { BLOCK = 32, FID_LEAST = 2048 };

typedef struct options {
	const char *purpose, *target, *device;
	int count, samples, threads;
	uint64_t seed;
} options;

/* One side being written: pictures and array grow together. */
typedef struct side {
	const char *name; /* generated, reference */
	char *folder;
	otp_array_file *array;
	int64_t written;
	int h, w, c;
	XXH3_state_t *digest;
} side;

static bool open_side(side *s, const char *out, const char *name, const otp_arch *a, int64_t count,
		      otp_error *err)
{
	*s = (side){.name = name, .h = a->h, .w = a->w, .c = a->c, .digest = XXH3_createState()};
	XXH3_64bits_reset(s->digest);
	s->folder = otp_format("%s/%s", out, name);
	char *array = otp_format("%s/%s.npz", out, name);
	int64_t dims[4] = {count, a->h, a->w, 3};
	bool ok = otp_file_make_folder(s->folder, err) &&
		  (s->array = otp_array_file_new(array, true, 4, dims, err));
	otp_free(array);
	return ok;
}

static bool finish_array(side *s, bool ok, otp_error *err)
{
	if (s->array && ok)
		ok = otp_array_file_finish(s->array, err);
	else if (s->array)
		otp_array_file_abandon(s->array);
	s->array = NULL;
	return ok;
}

static void free_side(side *s)
{
	otp_free(s->folder);
	XXH3_freeState(s->digest);
}

/* One sample as bytes, grey as three equal channels. */
static bool put(side *s, const float *sample, uint8_t *pixels, otp_error *err)
{
	size_t count = (size_t)s->h * (size_t)s->w;
	for (size_t p = 0; p < count; p++)
		for (size_t c = 0; c < 3; c++)
			pixels[3 * p + c] = otp_image_byte(sample[p * (size_t)s->c + (s->c == 3 ? c : 0)]);
	char *path = otp_format("%s/%06lld.png", s->folder, (long long)s->written++);
	bool ok = otp_image_write_png(path, pixels, s->h, s->w, 3, err) &&
		  otp_array_file_append(s->array, pixels, 1, err);
	XXH3_64bits_update(s->digest, pixels, 3 * count);
	otp_free(path);
	return ok;
}

static bool write_generated(side *s, otp_translator *t, const otp_dataset *d, int64_t inputs,
			    const options *o, otp_error *err)
{
	size_t floats = (size_t)t->sample_floats, k = (size_t)o->samples;
	float *x = otp_calloc(BLOCK * floats, sizeof *x), *y = otp_calloc(BLOCK * k * floats, sizeof *y);
	uint8_t *pixels = otp_calloc(3 * floats, 1);
	bool ok = true;
	for (int64_t first = 0; ok && first < inputs; first += BLOCK) {
		int64_t n = inputs - first < BLOCK ? inputs - first : BLOCK;
		for (int64_t i = 0; ok && i < n; i++)
			ok = otp_dataset_get(d, otp_evaluate_index(d, OTP_SOURCE, first + i), 0,
					     x + (size_t)i * floats, err);
		if (!ok)
			break;
		otp_translator_run(t, x, n, o->samples, o->seed, y);
		for (size_t i = 0; ok && i < (size_t)n * k; i++)
			ok = put(s, y + i * floats, pixels, err);
	}
	otp_free(x);
	otp_free(y);
	otp_free(pixels);
	return ok;
}

static bool write_reference(side *s, const otp_translator *t, const otp_dataset *d, int64_t count,
			    otp_error *err)
{
	float *y = otp_calloc((size_t)t->sample_floats, sizeof *y);
	uint8_t *pixels = otp_calloc(3 * (size_t)t->sample_floats, 1);
	bool ok = true;
	for (int64_t i = 0; ok && i < count; i++)
		ok = otp_dataset_get(d, otp_evaluate_index(d, OTP_TARGET, i), 0, y, err) &&
		     put(s, y, pixels, err);
	otp_free(y);
	otp_free(pixels);
	return ok;
}

static void add_side(cJSON *manifest, const side *s, const char *spec, uint64_t data_digest)
{
	char text[24];
	cJSON *object = cJSON_AddObjectToObject(manifest, s->name);
	cJSON_AddStringToObject(object, "data", spec);
	snprintf(text, sizeof text, "%016llx", (unsigned long long)data_digest);
	cJSON_AddStringToObject(object, "data_digest_xxh3", text);
	cJSON_AddNumberToObject(object, "count", (double)s->written);
	snprintf(text, sizeof text, "%016llx", (unsigned long long)XXH3_64bits_digest(s->digest));
	cJSON_AddStringToObject(object, "pixels_digest_xxh3", text);
}

typedef struct job {
	const char *model, *input, *out;
	const options *o;
	otp_translator *t;
	otp_dataset *source, *target;
} job;

static bool write_manifest(const job *j, const side sides[2], otp_error *err)
{
	cJSON *m = cJSON_CreateObject();
	char seed[24];
	cJSON_AddStringToObject(m, "program", "otplan " OTPLAN_VERSION);
	cJSON_AddStringToObject(m, "model", j->model);
	cJSON_AddNumberToObject(m, "step", (double)j->t->facts.step);
	cJSON_AddNumberToObject(m, "sigma", j->t->facts.sigma);
	snprintf(seed, sizeof seed, "%llu", (unsigned long long)j->o->seed);
	cJSON_AddStringToObject(m, "seed", seed);
	cJSON_AddNumberToObject(m, "samples_per_input", j->o->samples);
	cJSON_AddNumberToObject(m, "height", j->t->arch.h);
	cJSON_AddNumberToObject(m, "width", j->t->arch.w);
	cJSON_AddStringToObject(m, "rounding", "byte = round_half_to_even(127.5 (x + 1)), clamped");
	add_side(m, &sides[0], j->input, otp_dataset_describe(j->source).digest);
	add_side(m, &sides[1], otp_dataset_describe(j->target).spec, otp_dataset_describe(j->target).digest);
	char *text = cJSON_Print(m), *path = otp_format("%s/manifest.json", j->out);
	bool ok = otp_file_write(path, text, strlen(text), err);
	cJSON_free(text);
	cJSON_Delete(m);
	otp_free(path);
	return ok;
}

static int64_t available(const otp_dataset *d, int asked)
{
	int64_t count = otp_dataset_describe(d).count;
	return asked && (count == 0 || asked < count) ? asked : count ? count : FID_LEAST;
}

static bool write_sides(const job *j, otp_error *err)
{
	side sides[2] = {{0}};
	int64_t inputs = available(j->source, j->o->count), references = available(j->target, j->o->count);
	bool ok = open_side(&sides[0], j->out, "generated", &j->t->arch, inputs * j->o->samples, err);
	ok = ok && open_side(&sides[1], j->out, "reference", &j->t->arch, references, err);
	ok = ok && write_generated(&sides[0], j->t, j->source, inputs, j->o, err) &&
	     write_reference(&sides[1], j->t, j->target, references, err);
	int64_t fewest = sides[0].written < sides[1].written ? sides[0].written : sides[1].written;
	for (int i = 0; i < 2; i++)
		ok = finish_array(&sides[i], ok, err);
	/* The last file: where it is, the rest is whole. */
	ok = ok && write_manifest(j, sides, err);
	for (int i = 0; i < 2; i++)
		free_side(&sides[i]);
	if (ok && fewest < FID_LEAST)
		otp_log("warning: %lld images on a side; FID's covariance needs at least %d",
			(long long)fewest, FID_LEAST);
	if (ok)
		printf("exported %lld generated and %lld reference images of %dx%d: %s\n",
		       (long long)inputs * j->o->samples, (long long)references, j->t->arch.w, j->t->arch.h,
		       j->out);
	return ok;
}

/* FID tools take every picture of a folder: none of an earlier export may lie there, finished or not. */
static bool is_taken(const char *out)
{
	static const char *const NAMES[] = {"generated", "reference", "manifest.json"};
	bool taken = false;
	for (int i = 0; i < 3; i++) {
		char *path = otp_format("%s/%s", out, NAMES[i]);
		taken |= otp_file_exists(path);
		otp_free(path);
	}
	return taken;
}

static bool run(job *j, otp_error *err)
{
	otp_runtime runtime;
	otp_translator t;
	if (strcmp(j->o->purpose, "fid") != 0)
		return otp_fail(err, "--for", "'%s', expected fid", j->o->purpose);
	if (is_taken(j->out))
		return otp_fail(err, j->out,
				"holds an export already, perhaps an unfinished one; choose another folder");
	if (!otp_runtime_open(j->o->device, "f32", j->o->threads, &runtime, err))
		return false;
	bool ok = otp_translator_open(j->model, &runtime, &t, err);
	if (ok && t.arch.vectors)
		ok = otp_fail(err, j->model, "translates vectors; FID is for images");
	if (ok) {
		j->t = &t;
		j->source = otp_translator_open_data(&t, j->input, err);
		j->target =
		    j->source
			? otp_translator_open_data(&t, j->o->target ? j->o->target : t.facts.target.spec, err)
			: NULL;
		ok = j->target && write_sides(j, err);
		if (j->source)
			otp_dataset_close(j->source);
		if (j->target)
			otp_dataset_close(j->target);
	}
	j->t = NULL;
	otp_translator_close(&t);
	otp_runtime_close(&runtime);
	return ok;
}

int otp_command_export(int argc, char **argv, otp_error *err)
{
	options o = {.purpose = "", .samples = 1, .seed = 1, .device = "auto"};
	const otp_arg args[] = {
	    {"for", OTP_ARG_TEXT, &o.purpose, 0, 0, "fid: what the samples are for"},
	    {"target", OTP_ARG_TEXT, &o.target, 0, 0,
	     "reference data set; default: what the model was trained towards"},
	    {"count", OTP_ARG_INT, &o.count, 1, 100000000,
	     "inputs and reference images; default: all (generated sets: 2048)"},
	    {"samples", OTP_ARG_INT, &o.samples, 1, 100000, "outputs for each input"},
	    {"seed", OTP_ARG_SEED, &o.seed, 0, 0, "of the noise"},
	    {"device", OTP_ARG_TEXT, &o.device, 0, 0, "auto, cpu or cuda[:i]"},
	    {"threads", OTP_ARG_INT, &o.threads, 0, 1024, "CPU threads, 0: one a core"},
	};
	const char *words[3];
	if (otp_args_parse(argc, argv, args, sizeof args / sizeof *args, words, 3,
			   "otplan export MODEL INPUT OUT --for fid", err)) {
		job j = {.model = words[0], .input = words[1], .out = words[2], .o = &o};
		run(&j, err);
	}
	return err->exit_code;
}
