#include "cli/args.h"
#include "cli/commands.h"
#include "core/file.h"
#include "core/log.h"
#include "data/image.h"
#include "data/write.h"
#include "model/translator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { BLOCK_OUTPUTS = 256, NAME_BYTES = 4096 };

typedef struct options {
	int samples, threads;
	uint64_t seed;
	const char *device, *precision;
} options;

/* Where outputs go: one picture, a folder of pictures, or one array file. */
typedef struct sink {
	const char *output;
	bool single; /* OUTPUT names the one picture itself */
	otp_array_file *array;
	int samples, h, w, c;
	bool vectors;
} sink;

static char *picture_path(const sink *k, const char *name, int sample)
{
	if (k->single && k->samples == 1)
		return otp_strdup(k->output);
	if (k->single) { /* OUTPUT.png with K samples: OUTPUT_0.png ... */
		const char *dot = strrchr(k->output, '.');
		return otp_format("%.*s_%d.png", (int)(dot - k->output), k->output, sample);
	}
	return k->samples == 1 ? otp_format("%s/%s.png", k->output, name)
			       : otp_format("%s/%s_%d.png", k->output, name, sample);
}

/* The folder of a path that may hold sub-folders of its own. */
static bool make_folder_of(const char *path, otp_error *err)
{
	const char *slash = strrchr(path, '/');
	if (!slash || slash == path)
		return true;
	char *folder = otp_format("%.*s", (int)(slash - path), path);
	bool ok = otp_file_make_folder(folder, err);
	otp_free(folder);
	return ok;
}

static bool put_picture(const sink *k, const char *name, int sample, const uint8_t *pixels, otp_error *err)
{
	char *path = picture_path(k, name, sample);
	bool ok = make_folder_of(path, err) && otp_image_write_png(path, pixels, k->h, k->w, k->c, err);
	otp_free(path);
	return ok;
}

/* All samples of n inputs from `first` on. */
static bool put(const sink *k, const otp_dataset *d, int64_t first, int64_t n, const float *y, otp_error *err)
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
	for (size_t i = 0; ok && !k->array && i < all; i++) {
		char buffer[NAME_BYTES];
		const char *name =
		    otp_dataset_name(d, (uint64_t)first + i / (size_t)k->samples, buffer, sizeof buffer);
		ok = put_picture(k, name, (int)(i % (size_t)k->samples), pixels + i * floats, err);
	}
	otp_free(pixels);
	return ok;
}

static bool translate_all(otp_translator *t, const otp_dataset *d, int64_t count, const options *o,
			  const sink *k, otp_error *err)
{
	size_t floats = (size_t)t->sample_floats;
	int64_t block = o->samples < BLOCK_OUTPUTS ? BLOCK_OUTPUTS / o->samples : 1;
	float *x = otp_calloc((size_t)block * floats, sizeof *x);
	float *y = otp_calloc((size_t)block * floats * (size_t)o->samples, sizeof *y);
	bool ok = true;
	for (int64_t first = 0; ok && first < count; first += block) {
		int64_t n = count - first < block ? count - first : block;
		for (int64_t i = 0; ok && i < n; i++)
			ok = otp_dataset_get(d, (uint64_t)(first + i), 0, x + (size_t)i * floats, err);
		if (ok) {
			otp_translator_run(t, x, n, o->samples, o->seed, y);
			ok = put(k, d, first, n, y, err);
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

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static bool leads_out(const char *name)
{
	size_t length = strlen(name);
	return name[0] == '/' || strcmp(name, "..") == 0 || strncmp(name, "../", 3) == 0 ||
	       strstr(name, "/../") || (length > 3 && strcmp(name + length - 3, "/..") == 0);
}

/* Every output has a place of its own, inside the folder that was named: a zip may hold "../x". */
static bool check_names(const otp_dataset *d, int64_t count, const char *input, otp_error *err)
{
	char buffer[NAME_BYTES], **names = otp_calloc((size_t)count, sizeof *names);
	for (int64_t i = 0; i < count; i++)
		names[i] = otp_strdup(otp_dataset_name(d, (uint64_t)i, buffer, sizeof buffer));
	qsort(names, (size_t)count, sizeof *names, by_text);
	bool ok = true;
	for (int64_t i = 0; ok && i < count; i++) {
		if (leads_out(names[i]))
			ok = otp_fail(err, input, "holds %s, which leads out of the folder of outputs",
				      names[i]);
		else if (i && strcmp(names[i - 1], names[i]) == 0)
			ok = otp_fail(err, input, "holds two pictures whose outputs would be named %s",
				      names[i]);
	}
	for (int64_t i = 0; i < count; i++)
		otp_free(names[i]);
	otp_free(names);
	return ok;
}

/* Inputs are never written over. */
static bool is_input(const char *input, const char *output)
{
	struct stat a, b;
	char *input_file = otp_format("%.*s", (int)strcspn(input, "?"), input);
	bool same = stat(input_file, &a) == 0 && stat(output, &b) == 0 && a.st_dev == b.st_dev &&
		    a.st_ino == b.st_ino;
	otp_free(input_file);
	return same;
}

static bool open_sink(sink *k, const otp_translator *t, const char *output, const options *o, int64_t count,
		      bool one_picture, otp_error *err)
{
	*k = (sink){.output = output,
		    .samples = o->samples,
		    .h = t->arch.h,
		    .w = t->arch.w,
		    .c = t->arch.c,
		    .vectors = t->arch.vectors};
	if (otp_array_file_fits(output)) {
		int64_t dims[5] = {count};
		int rank = 1;
		if (o->samples > 1)
			dims[rank++] = o->samples;
		if (!k->vectors) {
			dims[rank++] = k->h;
			dims[rank++] = k->w;
		}
		dims[rank++] = k->c;
		k->array = otp_array_file_new(output, !k->vectors, rank, dims, err);
		return k->array != NULL;
	}
	if (k->vectors)
		return otp_fail(err, output,
				"cannot hold vectors, expected a name ending in .npy, .npz or .h5");
	if (!one_picture && !otp_file_is_folder(output) && otp_image_name_fits(output))
		return otp_fail(err, output, "names one picture for %lld inputs, expected a folder",
				(long long)count);
	k->single = one_picture && otp_image_name_fits(output);
	if (k->single) {
		const char *dot = strrchr(output, '.');
		if (strcmp(dot, ".png") != 0)
			return otp_fail(err, output,
					"pictures are written as PNG, expected a name ending in .png");
		return true;
	}
	return otp_file_make_folder(output, err);
}

static bool run(const char *model, const char *input, const char *output, const options *o, otp_error *err)
{
	otp_runtime runtime;
	otp_translator t;
	if (!otp_runtime_open(o->device, o->precision, o->threads, &runtime, err))
		return false;
	bool ok = otp_translator_open(model, &runtime, &t, err);
	if (ok) {
		otp_dataset *d = otp_translator_open_data(&t, input, err);
		otp_dataset_info info = d ? otp_dataset_describe(d) : (otp_dataset_info){.count = 0};
		sink k;
		if (d && info.count == 0)
			otp_fail(err, input, "is generated without end, expected ?limit=N with it");
		if (d && is_input(input, output))
			otp_fail(err, output, "is the input itself, choose another place for the outputs");
		ok = d && info.count && !err->exit_code &&
		     (otp_array_file_fits(output) || check_names(d, info.count, input, err)) &&
		     open_sink(&k, &t, output, o, info.count, !otp_file_is_folder(input) && info.count == 1,
			       err);
		if (ok) {
			ok = translate_all(&t, d, info.count, o, &k, err);
			if (k.array && ok)
				ok = otp_array_file_finish(k.array, err);
			else if (k.array)
				otp_array_file_abandon(k.array);
		}
		if (ok)
			printf("translated %lld inputs, %d samples each, sigma %g: %s\n",
			       (long long)info.count, o->samples, t.facts.sigma, output);
		if (d)
			otp_dataset_close(d);
		otp_translator_close(&t);
	}
	otp_runtime_close(&runtime);
	return ok;
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
	};
	const char *words[3];
	if (otp_args_parse(argc, argv, args, sizeof args / sizeof *args, words, 3,
			   "otplan translate MODEL INPUT OUTPUT [--samples K] [--seed S]", err))
		run(words[0], words[1], words[2], &o, err);
	return err->exit_code;
}
