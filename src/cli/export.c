/* export: a model for programs that are not otplan (export_model.c), or evaluation samples as FID tools want
 * them. Generated and reference side each as a flat folder of 3-channel PNGs and as arr_0 of an npz. */
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/export.h"
#include "cli/json.h"
#include "cli/opened.h"
#include "cli/together.h"
#include "core/file.h"
#include "core/log.h"
#include "core/words.h"
#include "pictures/image.h"
#include "data/outputs.h"
#include "data/write.h"
#include "model/translator.h"
#include "train/evaluate.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { BLOCK = 32, FID_LEAST = 2048 };

typedef struct options {
	const char *purpose, *target, *device;
	int count, samples, threads;
	uint64_t seed;
	bool overwrite;
} options;

/* One side being written: pictures by their makers, array and digest by process 0. */
typedef struct side {
	const char *name; /* generated, reference */
	const otp_dataset *set;
	int64_t inputs, count; /* of the set; pictures made of them */
	otp_outputs *outputs;
	size_t first; /* its outputs: `count` pictures, then the array */
	otp_array_file *array;
	otp_together *together;
	int64_t written;
	int h, w, c;
	XXH3_state_t *digest;
} side;

/* `at`: how many outputs were planned before. */
static size_t plan_side(side *s, size_t at)
{
	s->first = at;
	char *series = otp_format("%s/*.png", s->name);
	for (int64_t i = 0; i <= s->count; i++) {
		char *name = i < s->count ? otp_format("%s/%06lld.png", s->name, (long long)i)
					  : otp_format("%s.npz", s->name);
		otp_outputs_plan(s->outputs, name, i < s->count ? series : name);
		otp_free(name);
	}
	otp_free(series);
	/* FID tools take every picture of a folder. */
	otp_outputs_plan_alone(s->outputs, s->name);
	return at + (size_t)s->count + 1;
}

static bool open_side(side *s, otp_error *err)
{
	s->digest = XXH3_createState();
	XXH3_64bits_reset(s->digest);
	char *array = otp_outputs_begin(s->outputs, s->first + (size_t)s->count, err);
	int64_t dims[4] = {s->count, s->h, s->w, 3};
	s->array = array ? otp_array_file_new(array, true, 4, dims, err) : NULL;
	otp_free(array);
	return s->array != NULL;
}

static bool finish_side(side *s, bool ok, otp_error *err)
{
	if (s->array && ok)
		ok = otp_array_file_finish(s->array, err) &&
		     otp_outputs_end(s->outputs, s->first + (size_t)s->count, err);
	else if (s->array)
		otp_array_file_abandon(s->array);
	s->array = NULL;
	return ok;
}

/* What process 0 gets of a picture. */
typedef struct picture {
	otp_written written;
	uint8_t pixels[]; /* (h, w, 3) */
} picture;

static size_t picture_bytes(const side *s) { return sizeof(picture) + 3 * (size_t)s->h * (size_t)s->w; }

/* Picture `number` as bytes, grey as three equal channels. `made` has room for it. */
static bool put(side *s, int64_t number, const float *sample, picture *made, otp_error *err)
{
	size_t count = (size_t)s->h * (size_t)s->w, at = s->first + (size_t)number;
	for (size_t p = 0; p < count; p++)
		for (size_t c = 0; c < 3; c++)
			made->pixels[3 * p + c] =
			    otp_image_byte(sample[p * (size_t)s->c + (s->c == 3 ? c : 0)]);
	char *path = otp_outputs_begin(s->outputs, at, err);
	bool ok = path && otp_image_write_png(path, made->pixels, s->h, s->w, 3, err) &&
		  otp_outputs_read_back(s->outputs, at, &made->written, err);
	if (ok)
		otp_together_give(s->together, number, made, picture_bytes(s));
	otp_free(path);
	return ok;
}

static bool take(void *context, int64_t number, const void *made, size_t bytes, otp_error *err)
{
	side *s = context;
	const picture *p = made;
	(void)number;
	OTP_ASSERT(bytes == picture_bytes(s), "a picture of %zu bytes", bytes);
	XXH3_64bits_update(s->digest, p->pixels, 3 * (size_t)s->h * (size_t)s->w);
	s->written++;
	return otp_outputs_note(s->outputs, &p->written, err) &&
	       otp_array_file_append(s->array, p->pixels, 1, err);
}

/* Inputs are read, and their outputs made, block by block. Where there are few, every process has some. */
static int64_t block_of(const otp_group *g, int64_t inputs)
{
	int64_t each = (inputs - 1) / otp_group_size(g) + 1;
	return each < BLOCK ? each : BLOCK;
}

/* One block of a side: `t` where they are generated, else NULL, and y is what is read. */
typedef struct desk {
	otp_translator *t;
	const options *o;
	float *x, *y;
	picture *made;
} desk;

static bool write_block(side *s, const desk *d, int64_t number, int64_t block, otp_error *err)
{
	size_t floats = (size_t)s->h * (size_t)s->w * (size_t)s->c;
	int64_t first = number * block, n = s->inputs - first < block ? s->inputs - first : block;
	int64_t k = d->t ? d->o->samples : 1;
	float *read = d->t ? d->x : d->y;
	bool ok = true;
	for (int64_t i = 0; ok && i < n; i++)
		ok = otp_dataset_get(s->set,
				     otp_evaluate_index(s->set, d->t ? OTP_SOURCE : OTP_TARGET, first + i), 0,
				     read + (size_t)i * floats, err);
	if (ok && d->t)
		otp_translator_run(d->t, d->x, n, d->o->samples, d->o->seed, d->y);
	for (int64_t i = 0; ok && i < n * k; i++)
		ok = put(s, first * k + i, d->y + (size_t)i * floats, d->made, err);
	return ok;
}

static bool write_pictures(side *s, otp_group *g, otp_translator *t, const options *o, otp_error *err)
{
	size_t floats = (size_t)s->h * (size_t)s->w * (size_t)s->c, k = t ? (size_t)o->samples : 1;
	int64_t block = block_of(g, s->inputs), share = otp_together_share(g, (s->inputs - 1) / block + 1);
	desk d = {t, o};
	d.x = otp_calloc((size_t)block * floats, sizeof *d.x);
	d.y = otp_calloc((size_t)block * k * floats, sizeof *d.y);
	d.made = otp_calloc(picture_bytes(s), 1);
	bool ok = true;
	for (int64_t j = 0; ok && j < share; j++)
		ok = otp_together_meet(s->together, (double)j / (double)share, err) &&
		     write_block(s, &d, otp_together_item(g, j), block, err);
	otp_free(d.x);
	otp_free(d.y);
	otp_free(d.made);
	return ok;
}

/* t: whose outputs they are; NULL: the set's own pictures. */
static bool write_side(side *s, otp_group *g, otp_translator *t, const options *o, otp_error *err)
{
	char items[32];
	snprintf(items, sizeof items, "%s pictures", s->name);
	bool ok = !otp_group_leads(g) || open_side(s, err);
	const otp_shared_work work = {.group = g,
				      .command = "export",
				      .done = "exported",
				      .items = items,
				      .count = (s->inputs - 1) / block_of(g, s->inputs) + 1,
				      .take = take,
				      .in_order = true,
				      .context = s};
	s->together = otp_together_begin(&work);
	ok = ok && write_pictures(s, g, t, o, err);
	ok = otp_together_end(s->together, ok, err);
	return otp_group_agree(g, finish_side(s, ok, err), err);
}

static void add_side(cJSON *manifest, const side *s, const char *spec)
{
	char text[24];
	otp_dataset_info info = otp_dataset_describe(s->set);
	cJSON *object = cJSON_AddObjectToObject(manifest, s->name);
	cJSON_AddStringToObject(object, "data", spec);
	snprintf(text, sizeof text, "%016llx", (unsigned long long)info.digest);
	cJSON_AddStringToObject(object, "data_digest_xxh3", text);
	cJSON_AddNumberToObject(object, "count", (double)s->written);
	cJSON_AddNumberToObject(object, "undecoded", (double)info.skipped);
	snprintf(text, sizeof text, "%016llx", (unsigned long long)XXH3_64bits_digest(s->digest));
	cJSON_AddStringToObject(object, "pixels_digest_xxh3", text);
	/* Of which file each picture, or each run of samples_per_input pictures, is. */
	cJSON *files =
	    info.count && otp_dataset_file(s->set, 0) ? cJSON_AddArrayToObject(object, "files") : NULL;
	for (int64_t i = 0; files && i < s->inputs; i++)
		cJSON_AddItemToArray(files, cJSON_CreateString(otp_dataset_file(s->set, (uint64_t)i)));
}

typedef struct job {
	const char *model, *input, *out;
	const options *o;
	otp_translator *t;
	otp_dataset *source, *target;
} job;

static bool write_manifest(const job *j, const side sides[2], otp_outputs *outputs, size_t at, otp_error *err)
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
	add_side(m, &sides[0], j->input);
	add_side(m, &sides[1], otp_dataset_describe(j->target).spec);
	otp_json_mend(m);
	char *text = cJSON_Print(m), *path = otp_outputs_begin(outputs, at, err);
	bool ok = path && otp_file_write(path, text, strlen(text), err) && otp_outputs_end(outputs, at, err);
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

/* The manifest is the last file: where it is, the rest is whole. */
static bool write_all(const job *j, side sides[2], otp_outputs *outputs, size_t manifest, otp_error *err)
{
	otp_group *g = j->t->runtime->group;
	bool leads = otp_group_leads(g);
	char *old = leads ? otp_outputs_begin(outputs, manifest, err) : NULL;
	if (old)
		unlink(old);
	bool ok = otp_group_agree(g, old || !leads, err) && write_side(&sides[0], g, j->t, j->o, err) &&
		  write_side(&sides[1], g, NULL, j->o, err);
	otp_free(old);
	return ok && (!leads || write_manifest(j, sides, outputs, manifest, err));
}

static void report(const job *j, const side sides[2])
{
	int64_t fewest = sides[0].written < sides[1].written ? sides[0].written : sides[1].written;
	if (fewest < FID_LEAST)
		otp_log("warning: %lld image%s on a side; FID's covariance needs at least %d",
			(long long)fewest, otp_plural(fewest), FID_LEAST);
	printf("exported %lld generated and %lld reference images of %dx%d: %s\n",
	       (long long)sides[0].written, (long long)sides[1].written, j->t->arch.w, j->t->arch.h, j->out);
}

static bool write_sides(const job *j, otp_error *err)
{
	const otp_arch *a = &j->t->arch;
	otp_outputs *outputs = otp_outputs_new(j->out, j->o->overwrite);
	side sides[2] = {{.name = "generated", .set = j->source}, {.name = "reference", .set = j->target}};
	size_t planned = 0;
	otp_outputs_protect_file(outputs, j->t->path);
	for (int i = 0; i < 2; i++) {
		side *s = &sides[i];
		s->outputs = outputs;
		s->h = a->h;
		s->w = a->w;
		s->c = a->c;
		s->inputs = available(s->set, j->o->count);
		s->count = s->inputs * (i == 0 ? j->o->samples : 1);
		planned = plan_side(s, planned);
		otp_outputs_protect_set(outputs, s->set);
	}
	otp_outputs_plan(outputs, "manifest.json", "manifest.json");
	otp_group *g = j->t->runtime->group;
	bool leads = otp_group_leads(g), ok = !leads || otp_outputs_check(outputs, err);
	if (otp_group_agree(g, ok, err)) {
		ok = write_all(j, sides, outputs, planned, err);
		ok = otp_group_agree(g, leads ? otp_outputs_finish(outputs, ok, err) : ok, err);
	}
	if (ok)
		report(j, sides);
	for (int i = 0; i < 2; i++)
		XXH3_freeState(sides[i].digest);
	otp_outputs_free(outputs);
	return ok;
}

static bool open_sets(job *j, otp_opened *o, otp_error *err)
{
	const char *target = j->o->target ? j->o->target : o->t.facts.target.spec;
	if (o->t.arch.vectors)
		return otp_fail(err, j->model, "translates vectors; FID is for images");
	j->t = &o->t;
	j->source = otp_opened_data(o, OTP_SOURCE, j->input, err);
	j->target = j->source ? otp_opened_data(o, OTP_TARGET, target, err) : NULL;
	/* Of the manifest. */
	return j->target && (!otp_group_leads(o->runtime.group) || (otp_dataset_digest(j->source, 1, err) &&
								    otp_dataset_digest(j->target, 1, err)));
}

static int run(job *j, otp_group *group, int argc, char **argv, otp_error *err)
{
	otp_opened o;
	bool ok = otp_opened_model(&o, group, j->model, j->o->device, "auto", j->o->threads, err) &&
		  open_sets(j, &o, err);
	if (otp_together_opened(&o.t, j->source, ok, argc, argv, group, err) && ok)
		write_sides(j, err);
	j->t = NULL; /* it is closed now */
	return otp_opened_close(&o, err);
}

static int export_in(otp_group *group, int argc, char **argv, otp_error *err)
{
	options o = {.purpose = "", .samples = 1, .seed = 1, .device = "auto"};
	const otp_arg args[] = {
	    {"for", OTP_ARG_TEXT, &o.purpose, 0, 0,
	     "fid: evaluation samples, flat PNG folders and arr_0 npz; onnx: what the model computes; "
	     "safetensors: its weights"},
	    {"target", OTP_ARG_TEXT, &o.target, 0, 0,
	     "reference data set; default: what the model was trained towards"},
	    {"count", OTP_ARG_INT, &o.count, 1, 100000000,
	     "inputs and reference images; default: all (generated sets: 2048)"},
	    {"samples", OTP_ARG_INT, &o.samples, 1, 100000, "outputs for each input"},
	    {"seed", OTP_ARG_SEED, &o.seed, 0, 0, "of the noise"},
	    {"device", OTP_ARG_TEXT, &o.device, 0, 0, "auto, cpu or cuda[:i]"},
	    {"threads", OTP_ARG_INT, &o.threads, 0, 1024, "CPU threads, 0: one a core"},
	    {"overwrite", OTP_ARG_FLAG, &o.overwrite, 0, 0,
	     "replace files that are there, also such as otplan did not make"},
	};
	otp_command_line line = {
	    .args = args,
	    .arg_count = sizeof args / sizeof *args,
	    .usage = "otplan export MODEL INPUT OUT --for fid, or MODEL OUT --for onnx|safetensors",
	    .least_words = 2,
	    .most_words = 3};
	job j = {.o = &o};
	bool ok = otp_args_read(argc, argv, &line, err), file = otp_export_takes(o.purpose);
	if (ok && !file && strcmp(o.purpose, "fid") != 0)
		ok = otp_fail(err, "--for", "'%s', expected fid, onnx or safetensors", o.purpose);
	if (ok && line.word_count != (file ? 2 : 3))
		ok = otp_fail(err, "usage", "%s", line.usage);
	if (ok && file && (o.target || o.count || o.samples != 1))
		ok = otp_fail(err, "--for",
			      "%s writes the model: --target, --count and --samples are of --for fid",
			      o.purpose);
	if (!otp_group_agree(group, ok, err))
		return err->exit_code;
	j.model = line.words[0];
	j.out = line.words[line.word_count - 1];
	if (file)
		return otp_group_leads(group) ? otp_export_model(j.model, j.out, o.purpose, o.overwrite, err)
					      : 0;
	j.input = line.words[1];
	return run(&j, group, argc, argv, err);
}

int otp_command_export(int argc, char **argv, otp_error *err)
{
	return otp_together_command(export_in, argc, argv, err);
}
