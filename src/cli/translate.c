#include "cli/args.h"
#include "cli/commands.h"
#include "core/file.h"
#include "core/log.h"
#include "data/image.h"
#include "data/outputs.h"
#include "data/write.h"
#include "model/translator.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK_OUTPUTS = 256, NAME_BYTES = 4096 };

typedef struct options {
	int samples, threads;
	uint64_t seed;
	const char *device, *precision;
	bool overwrite;
} options;

/* Where outputs go: one array file, or pictures, input by input. */
typedef struct sink {
	otp_outputs *outputs;
	otp_array_file *array; /* NULL: pictures */
	bool to_array, vectors;
	int samples, h, w, c;
} sink;

/* ---- planning ---------------------------------------------------------------- */

/* The folder in which a file lies; *base: its name there. */
static char *folder_of(const char *path, const char **base)
{
	const char *slash = strrchr(path, '/');
	*base = slash ? slash + 1 : path;
	if (!slash)
		return otp_strdup(".");
	return slash == path ? otp_strdup("/") : otp_format("%.*s", (int)(slash - path), path);
}

/* NAME.png, or NAME_0.png ... These are two series: NAME_*.png of an earlier run go where they are not made
 * again, and NAME.png may stay beside them. */
static void plan_samples(sink *k, const char *name)
{
	char *single = otp_format("%s.png", name), *numbered = otp_format("%s_*.png", name);
	if (k->samples == 1) {
		otp_outputs_plan(k->outputs, single, single);
		otp_outputs_plan_none(k->outputs, numbered);
	}
	for (int i = 0; k->samples > 1 && i < k->samples; i++) {
		char *sample = otp_format("%s_%d.png", name, i);
		otp_outputs_plan(k->outputs, sample, numbered);
		otp_free(sample);
	}
	otp_free(single);
	otp_free(numbered);
}

static void plan_no_samples(sink *k, const char *name)
{
	char *single = otp_format("%s.png", name), *numbered = otp_format("%s_*.png", name);
	otp_outputs_plan_none(k->outputs, single);
	otp_outputs_plan_none(k->outputs, numbered);
	otp_free(single);
	otp_free(numbered);
}

static void plan_pictures(sink *k, const otp_dataset *d)
{
	char buffer[NAME_BYTES];
	otp_dataset_info info = otp_dataset_describe(d);
	for (int64_t i = 0; i < info.count; i++)
		plan_samples(k, otp_dataset_name(d, (uint64_t)i, buffer, sizeof buffer));
	for (int64_t i = 0; i < info.undecoded; i++)
		plan_no_samples(k, otp_dataset_undecoded(d, i));
}

/* OUTPUT names an array file, one picture, or a folder of pictures. */
static bool plan(sink *k, const otp_dataset *d, const char *output, const options *o, otp_error *err)
{
	otp_dataset_info info = otp_dataset_describe(d);
	int64_t inputs = info.count + info.undecoded;
	const char *base;
	char *folder = folder_of(output, &base);
	bool ok = true, names_picture = otp_image_name_fits(output) && !otp_file_is_folder(output);
	k->to_array = otp_array_file_fits(output);
	if (!k->to_array && k->vectors) {
		ok =
		    otp_fail(err, output, "cannot hold vectors, expected a name ending in .npy, .npz or .h5");
	} else if (!k->to_array && names_picture && (inputs > 1 || strcmp(info.format, "folder") == 0)) {
		ok = otp_fail(err, output, "names one picture for %lld inputs, expected a folder",
			      (long long)inputs);
	} else if (k->to_array) {
		k->outputs = otp_outputs_new(folder, o->overwrite);
		otp_outputs_plan(k->outputs, base, base);
	} else if (names_picture) {
		const char *dot = strrchr(base, '.');
		char *stem = otp_format("%.*s", (int)(dot - base), base);
		k->outputs = otp_outputs_new(folder, o->overwrite);
		ok = strcmp(dot, ".png") == 0 ||
		     otp_fail(err, output, "pictures are written as PNG, expected a name ending in .png");
		plan_samples(k, stem);
		otp_free(stem);
	} else {
		k->outputs = otp_outputs_new(output, o->overwrite);
		plan_pictures(k, d);
	}
	otp_free(folder);
	return ok;
}

/* ---- writing ----------------------------------------------------------------- */

static bool name_rows(const sink *k, const otp_dataset *d, int64_t count, otp_error *err)
{
	char buffer[NAME_BYTES], **names = otp_calloc((size_t)count, sizeof *names);
	for (int64_t i = 0; i < count; i++) {
		const char *file = otp_dataset_file(d, (uint64_t)i);
		names[i] = otp_strdup(file ? file : otp_dataset_name(d, (uint64_t)i, buffer, sizeof buffer));
	}
	bool ok = otp_array_file_name_rows(k->array, (const char *const *)names, err);
	for (int64_t i = 0; i < count; i++)
		otp_free(names[i]);
	otp_free(names);
	return ok;
}

static bool open_array(sink *k, const otp_dataset *d, otp_error *err)
{
	int64_t count = otp_dataset_describe(d).count, dims[5] = {count};
	int rank = 1;
	if (k->samples > 1)
		dims[rank++] = k->samples;
	if (!k->vectors) {
		dims[rank++] = k->h;
		dims[rank++] = k->w;
	}
	dims[rank++] = k->c;
	char *path = otp_outputs_path(k->outputs, 0);
	k->array = otp_array_file_new(path, !k->vectors, rank, dims, err);
	otp_free(path);
	return k->array && name_rows(k, d, count, err);
}

static bool put_picture(const sink *k, size_t i, const uint8_t *pixels, otp_error *err)
{
	char *path = otp_outputs_begin(k->outputs, i, err);
	bool ok = path && otp_image_write_png(path, pixels, k->h, k->w, k->c, err) &&
		  otp_outputs_end(k->outputs, i, err);
	otp_free(path);
	return ok;
}

/* All samples of n inputs from `first` on. */
static bool put(const sink *k, int64_t first, int64_t n, const float *y, otp_error *err)
{
	size_t floats = (size_t)k->h * (size_t)k->w * (size_t)k->c, all = (size_t)n * (size_t)k->samples;
	if (k->vectors)
		return otp_array_file_append(k->array, y, n, err);
	uint8_t *pixels = otp_calloc(all * floats, 1);
	for (size_t i = 0; i < all * floats; i++)
		pixels[i] = otp_image_byte(y[i]);
	bool ok = true;
	if (k->array)
		ok = otp_array_file_append(k->array, pixels, n, err);
	for (size_t i = 0; ok && !k->array && i < all; i++)
		ok = put_picture(k, (size_t)first * (size_t)k->samples + i, pixels + i * floats, err);
	otp_free(pixels);
	return ok;
}

static volatile sig_atomic_t stopped_by;

/* The first signal asks for an orderly end, in which the manifest is written; the second gets the default
 * one. */
static void on_signal(int number)
{
	stopped_by = number;
	signal(number, SIG_DFL);
}

static bool go_on(int64_t done, int64_t count, otp_error *err)
{
	int number = stopped_by;
	if (!number)
		return true;
	otp_fail_machine(err, "translate", "stopped by signal %d after %lld of %lld inputs", number,
			 (long long)done, (long long)count);
	err->exit_code = 128 + number;
	return false;
}

static bool translate_all(otp_translator *t, const otp_dataset *d, const options *o, const sink *k,
			  otp_error *err)
{
	size_t floats = (size_t)t->sample_floats;
	int64_t count = otp_dataset_describe(d).count;
	int64_t block = o->samples < BLOCK_OUTPUTS ? BLOCK_OUTPUTS / o->samples : 1;
	float *x = otp_calloc((size_t)block * floats, sizeof *x);
	float *y = otp_calloc((size_t)block * floats * (size_t)o->samples, sizeof *y);
	bool ok = true;
	for (int64_t first = 0; ok && first < count; first += block) {
		int64_t n = count - first < block ? count - first : block;
		ok = go_on(first, count, err);
		for (int64_t i = 0; ok && i < n; i++)
			ok = otp_dataset_get(d, (uint64_t)(first + i), 0, x + (size_t)i * floats, err);
		if (ok) {
			otp_translator_run(t, x, n, o->samples, o->seed, y);
			ok = put(k, first, n, y, err);
		}
		if (otp_log_is_live()) {
			char line[96];
			snprintf(line, sizeof line, "translated %lld of %lld", (long long)(first + n),
				 (long long)count);
			otp_log_status(line);
		}
	}
	otp_log_status(NULL);
	otp_free(x);
	otp_free(y);
	return ok;
}

static bool write_all(otp_translator *t, const otp_dataset *d, const options *o, sink *k, otp_error *err)
{
	static const int SIGNALS[] = {SIGINT, SIGTERM, SIGHUP};
	for (int i = 0; i < 3; i++)
		signal(SIGNALS[i], on_signal);
	bool ok = (!k->to_array || open_array(k, d, err)) && translate_all(t, d, o, k, err);
	if (k->array && ok)
		ok = otp_array_file_finish(k->array, err) && otp_outputs_end(k->outputs, 0, err);
	else if (k->array)
		otp_array_file_abandon(k->array);
	return otp_outputs_finish(k->outputs, ok, err);
}

/* ---- the command ------------------------------------------------------------- */

typedef struct job {
	const char *model, *input, *output;
	const options *o;
} job;

static bool translate(const job *j, otp_translator *t, const otp_dataset *d, otp_error *err)
{
	otp_dataset_info info = otp_dataset_describe(d);
	sink k = {.samples = j->o->samples,
		  .h = t->arch.h,
		  .w = t->arch.w,
		  .c = t->arch.c,
		  .vectors = t->arch.vectors};
	if (info.count == 0)
		return otp_fail(err, j->input, "is generated without end, expected ?limit=N with it");
	bool ok = plan(&k, d, j->output, j->o, err);
	if (ok) {
		otp_outputs_protect_file(k.outputs, t->path);
		otp_outputs_protect_set(k.outputs, d);
		ok = otp_outputs_check(k.outputs, err) && write_all(t, d, j->o, &k, err);
	}
	otp_outputs_free(k.outputs);
	if (ok)
		printf("translated %lld inputs, %d samples each, sigma %g: %s\n", (long long)info.count,
		       j->o->samples, t->facts.sigma, j->output);
	return ok;
}

/* Pictures that could not be decoded are counted in *undecoded. */
static void run(const job *j, int64_t *undecoded, otp_error *err)
{
	otp_runtime runtime;
	otp_translator t;
	if (!otp_runtime_open(j->o->device, j->o->precision, j->o->threads, &runtime, err))
		return;
	if (otp_translator_open(j->model, &runtime, &t, err)) {
		otp_dataset *d = otp_translator_open_data(&t, j->input, err);
		if (d && translate(j, &t, d, err))
			*undecoded = otp_dataset_describe(d).undecoded;
		if (d)
			otp_dataset_close(d);
		otp_translator_close(&t);
	}
	otp_runtime_close(&runtime);
}

int otp_command_translate(int argc, char **argv, otp_error *err)
{
	options o = {.samples = 1, .seed = 1, .device = "auto", .precision = "f32"};
	const otp_arg args[] = {
	    {"samples", OTP_ARG_INT, &o.samples, 1, 100000, "outputs for each input"},
	    {"seed", OTP_ARG_SEED, &o.seed, 0, 0, "of the noise; another seed, other samples"},
	    {"device", OTP_ARG_TEXT, &o.device, 0, 0, "auto, cpu or cuda[:i]"},
	    {"precision", OTP_ARG_TEXT, &o.precision, 0, 0, "f32, tf32 or bf16"},
	    {"threads", OTP_ARG_INT, &o.threads, 0, 1024, "CPU threads, 0: one a core"},
	    {"overwrite", OTP_ARG_FLAG, &o.overwrite, 0, 0,
	     "replace files that are there, also such as otplan did not make"},
	};
	const char *words[3];
	int64_t undecoded = 0;
	if (otp_args_parse(argc, argv, args, sizeof args / sizeof *args, words, 3,
			   "otplan translate MODEL INPUT OUTPUT [--samples K] [--seed S] [--overwrite]",
			   err)) {
		job j = {.model = words[0], .input = words[1], .output = words[2], .o = &o};
		run(&j, &undecoded, err);
	}
	return otp_exit_undecoded(undecoded, err);
}
