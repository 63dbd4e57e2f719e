#include "cli/args.h"
#include "cli/commands.h"
#include "cli/opened.h"
#include "cli/together.h"
#include "core/file.h"
#include "core/log.h"
#include "core/words.h"
#include "pictures/encode.h"
#include "data/outputs.h"
#include "data/write.h"
#include "model/pictures.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK_OUTPUTS = 256, NAME_BYTES = 4096 };

typedef struct options {
	int samples, threads, quality;
	uint64_t seed;
	double sigma; /* 0: the model's */
	const char *device, *precision, *fit, *format;
	bool overwrite, keep_luminance;
} options;

/* Where outputs go: one array file, which process 0 writes, or pictures, which their makers write, input by
 * input.
 */
typedef struct sink {
	otp_outputs *outputs;
	otp_together *together;
	otp_array_file *array; /* in process 0, to_array */
	bool to_array, vectors;
	otp_picture_format format;
	int samples, quality, h, w, c; /* sizes: of an array's rows */
	uint8_t *row;		       /* of an array: the samples of one input, as they come */
	size_t row_bytes;
	bool flattened; /* alpha was laid over white */
} sink;

/* What process 0 hears of a picture. */
typedef struct note {
	otp_written written;
	uint64_t flattened;
} note;

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
 * again, and NAME.png may stay beside them. So may outputs of other formats. */
static void plan_samples(sink *k, const char *name, const char *ending)
{
	char *single = otp_format("%s%s", name, ending), *numbered = otp_format("%s_*%s", name, ending);
	if (k->samples == 1) {
		otp_outputs_plan(k->outputs, single, single);
		otp_outputs_plan_none(k->outputs, numbered);
	}
	for (int i = 0; k->samples > 1 && i < k->samples; i++) {
		char *sample = otp_format("%s_%d%s", name, i, ending);
		otp_outputs_plan(k->outputs, sample, numbered);
		otp_free(sample);
	}
	otp_free(single);
	otp_free(numbered);
}

static void plan_no_samples(sink *k, const char *name, const char *ending)
{
	char *single = otp_format("%s%s", name, ending), *numbered = otp_format("%s_*%s", name, ending);
	otp_outputs_plan_none(k->outputs, single);
	otp_outputs_plan_none(k->outputs, numbered);
	otp_free(single);
	otp_free(numbered);
}

static void plan_pictures(sink *k, const otp_dataset *d)
{
	char buffer[NAME_BYTES];
	const char *ending = otp_picture_ending(k->format);
	otp_dataset_info info = otp_dataset_describe(d);
	for (int64_t i = 0; i < info.count; i++)
		plan_samples(k, otp_dataset_name(d, (uint64_t)i, buffer, sizeof buffer), ending);
	for (int64_t i = 0; i < info.skipped; i++)
		plan_no_samples(k, otp_dataset_skipped_picture(d, i), ending);
}

/* What the name of OUTPUT says, and --format, which may not say otherwise. Known before anything is read. */
typedef struct form {
	otp_picture_format format;
	bool to_array, names_picture;
} form;

static bool choose_form(form *k, const char *output, const char *format, otp_error *err)
{
	otp_picture_format named = OTP_PICTURE_PNG;
	bool names_picture = otp_image_name_is_picture(output) && !otp_file_is_folder(output);
	*k = (form){OTP_PICTURE_PNG, otp_array_file_fits(output), names_picture};
	if (names_picture && !otp_picture_format_of(output, &named))
		return otp_fail(
		    err, output,
		    "pictures are written as PNG, JPEG or WebP, expected a name ending in .png, .jpg or "
		    ".webp");
	k->format = named;
	if (strcmp(format, "auto") == 0)
		return true;
	if (strcmp(format, "npy") == 0 || strcmp(format, "npz") == 0 || strcmp(format, "h5") == 0) {
		const char *dot = strrchr(output, '.');
		return (k->to_array && strcmp(dot + 1, format) == 0) ||
		       otp_fail(err, output, "expected a name ending in .%s with --format %s", format,
				format);
	}
	for (int i = 0; i < 3; i++)
		if (strcmp(format, OTP_CHOICE_NAME(otp_picture_format, i)) == 0) {
			k->format = (otp_picture_format)i;
			return (!k->to_array && (!names_picture || k->format == named)) ||
			       otp_fail(err, output, "has another ending than --format %s", format);
		}
	return otp_fail(err, "--format", "is '%s', expected png, jpeg, webp, npy, npz or h5", format);
}

/* OUTPUT names an array file, one picture, or a folder of pictures. */
static bool plan(sink *k, const otp_dataset *d, const char *output, bool names_picture, const options *o,
		 otp_error *err)
{
	otp_dataset_info info = otp_dataset_describe(d);
	int64_t inputs = info.count + info.skipped;
	const char *base;
	if (!k->to_array && k->vectors)
		return otp_fail(err, output,
				"cannot hold vectors, expected a name ending in .npy, .npz or .h5");
	if (!k->to_array && names_picture && (inputs > 1 || strcmp(info.format, "folder") == 0))
		return otp_fail(err, output, "names one picture for %lld inputs, expected a folder",
				(long long)inputs);
	const char *slash = strrchr(output, '/');
	if (!k->to_array && !names_picture && strcmp(info.format, "picture") == 0 &&
	    !otp_file_is_folder(output) && strchr(slash ? slash + 1 : output, '.'))
		return otp_fail(err, output,
				"has an ending that is not known, expected .png, .jpg or .webp, or a folder "
				"that is there or ends with /");
	if (k->to_array && k->h == 0)
		return otp_fail(
		    err, output,
		    "an array cannot hold pictures of several sizes, from %d x %d to %d x %d (height x "
		    "width): write a folder, or cut out the middle by --fit crop",
		    info.survey.h_min, info.survey.w_min, info.survey.h_max, info.survey.w_max);
	char *folder = folder_of(output, &base);
	if (k->to_array) {
		k->outputs = otp_outputs_new(folder, o->overwrite);
		otp_outputs_plan(k->outputs, base, base);
	} else if (names_picture) {
		const char *dot = strrchr(base, '.');
		char *stem = otp_format("%.*s", (int)(dot - base), base);
		k->outputs = otp_outputs_new(folder, o->overwrite);
		plan_samples(k, stem, dot);
		otp_free(stem);
	} else {
		k->outputs = otp_outputs_new(output, o->overwrite);
		plan_pictures(k, d);
	}
	otp_free(folder);
	return true;
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
	k->array = otp_file_make_folder_of(path, err) ? otp_array_file_new(path, !k->vectors, rank, dims, err)
						      : NULL;
	otp_free(path);
	return k->array && name_rows(k, d, count, err);
}

static bool put_picture(sink *k, int64_t index, int sample, const otp_image *made, otp_error *err)
{
	size_t i = (size_t)index * (size_t)k->samples + (size_t)sample;
	char *path = otp_outputs_begin(k->outputs, i, err);
	note told = {.flattened = k->format == OTP_PICTURE_JPEG && made->c % 2 == 0};
	bool ok = path &&
		  otp_picture_write(path, k->format, k->quality, made->u8, made->h, made->w, made->c, err) &&
		  otp_outputs_read_back(k->outputs, i, &told.written, err);
	if (ok)
		otp_together_give(k->together, index, &told, sizeof told);
	otp_free(path);
	return ok;
}

/* One sample into its place of an array's row; where other pictures have alpha, one without is opaque. */
static bool put_in_row(sink *k, int64_t index, int sample, const otp_image *made, otp_error *err)
{
	size_t pixels = (size_t)k->h * (size_t)k->w, c = (size_t)k->c, from = (size_t)made->c;
	uint8_t *to = k->row + (size_t)sample * pixels * c;
	if (made->h != k->h || made->w != k->w || from > c)
		return otp_fail(err, "translate", "a picture has another size than when it was opened");
	for (size_t i = 0; i < pixels; i++)
		for (size_t j = 0; j < c; j++)
			to[i * c + j] = j < from ? made->u8[i * from + j] : 255;
	if (sample + 1 == k->samples)
		otp_together_give(k->together, index, k->row, k->row_bytes);
	return true;
}

static bool put(void *context, int64_t index, int sample, const otp_image *made, otp_error *err)
{
	sink *k = context;
	return (k->to_array ? put_in_row : put_picture)(k, index, sample, made, err);
}

static bool take_rows(void *context, int64_t i, const void *made, size_t bytes, otp_error *err)
{
	sink *k = context;
	(void)i;
	return otp_array_file_append(k->array, made, (int64_t)(bytes / k->row_bytes), err);
}

static bool take_note(void *context, int64_t i, const void *made, size_t bytes, otp_error *err)
{
	sink *k = context;
	note told;
	(void)i;
	OTP_ASSERT(bytes == sizeof told, "a note of %zu bytes", bytes);
	memcpy(&told, made, sizeof told);
	k->flattened = k->flattened || told.flattened;
	return otp_outputs_note(k->outputs, &told.written, err);
}

/* ---- the work ---------------------------------------------------------------- */

static bool go_on(void *context, double done, otp_error *err)
{
	sink *k = context;
	return otp_together_meet(k->together, done, err);
}

/* Vectors are made block by block. Where there are few, every process has some. */
static int64_t block_of(const otp_group *g, int64_t count, int samples)
{
	int64_t most = samples < BLOCK_OUTPUTS ? BLOCK_OUTPUTS / samples : 1;
	int64_t each = (count - 1) / otp_group_size(g) + 1;
	return each < most ? each : most;
}

static bool translate_vectors(otp_translator *t, const otp_dataset *d, const options *o, sink *k,
			      otp_error *err)
{
	const otp_group *g = t->runtime->group;
	size_t floats = (size_t)t->sample_floats;
	int64_t count = otp_dataset_describe(d).count, block = block_of(g, count, o->samples);
	int64_t blocks = otp_together_share(g, (count - 1) / block + 1);
	float *x = otp_calloc((size_t)block * floats, sizeof *x);
	float *y = otp_calloc((size_t)block * floats * (size_t)o->samples, sizeof *y);
	bool ok = true;
	for (int64_t j = 0; ok && j < blocks; j++) {
		int64_t b = otp_together_item(g, j), first = b * block;
		int64_t n = count - first < block ? count - first : block;
		ok = go_on(k, (double)j / (double)blocks, err);
		for (int64_t i = 0; ok && i < n; i++)
			ok = otp_dataset_get(d, (uint64_t)(first + i), 0, x + (size_t)i * floats, err);
		if (ok) {
			otp_translator_run(t, x, n, o->samples, o->seed, y);
			otp_together_give(k->together, b, y, (size_t)n * k->row_bytes);
		}
	}
	otp_free(x);
	otp_free(y);
	return ok;
}

static bool translate_pictures(otp_translator *t, const otp_dataset *d, otp_fit fit, const options *o,
			       sink *k, otp_error *err)
{
	const otp_group *g = t->runtime->group;
	otp_pictures job = {.set = d,
			    .first = otp_group_rank(g),
			    .step = otp_group_size(g),
			    .fit = fit,
			    .samples = o->samples,
			    .keep_luminance = o->keep_luminance,
			    .seed = o->seed,
			    .put = put,
			    .go_on = go_on,
			    .context = k};
	if (k->to_array)
		k->row = otp_calloc(k->row_bytes, 1);
	bool ok = otp_pictures_translate(t, &job, err);
	otp_free(k->row);
	return ok;
}

static bool write_all(otp_translator *t, const otp_dataset *d, otp_fit fit, const options *o, sink *k,
		      otp_error *err)
{
	otp_group *g = t->runtime->group;
	int64_t count = otp_dataset_describe(d).count;
	bool leads = otp_group_leads(g), ok = !leads || !k->to_array || open_array(k, d, err);
	int64_t block = k->vectors ? block_of(g, count, o->samples) : 1;
	const otp_shared_work work = {.group = g,
				      .command = "translate",
				      .done = "translated",
				      .items = "inputs",
				      .count = (count - 1) / block + 1,
				      .take = k->to_array ? take_rows : take_note,
				      .in_order = k->to_array,
				      .context = k};
	k->together = otp_together_begin(&work);
	ok = ok &&
	     (k->vectors ? translate_vectors(t, d, o, k, err) : translate_pictures(t, d, fit, o, k, err));
	ok = otp_together_end(k->together, ok, err);
	if (k->array && ok)
		ok = otp_array_file_finish(k->array, err) && otp_outputs_end(k->outputs, 0, err);
	else if (k->array)
		otp_array_file_abandon(k->array);
	if (k->flattened)
		otp_log("JPEG holds no alpha: pictures that have it were laid over white");
	return otp_group_agree(g, leads ? otp_outputs_finish(k->outputs, ok, err) : ok, err);
}

/* ---- the command ------------------------------------------------------------- */

typedef struct job {
	const char *model, *input, *output;
	const options *o;
	form form;
} job;

/* What happens to pictures without having been asked for. */
static void say_choices(const otp_translator *t, const otp_dataset *d, otp_fit fit, const options *o)
{
	otp_dataset_info info = otp_dataset_describe(d);
	otp_size size = t->preprocessing.size;
	bool fits = info.h == t->arch.h && info.w == t->arch.w;
	static const char *const HOW[] = {
	    [OTP_ASPECT_CROP] = "to cover", [OTP_ASPECT_PAD] = "into", [OTP_ASPECT_STRETCH] = "to"};
	if (!*o->fit && !fits && fit == OTP_FIT_RESIZE)
		otp_log("pictures are resized %s %dx%d for the model, as in training, and then back (--fit "
			"resize); "
			"--fit tile keeps their pixels, --fit crop gives out %dx%d",
			HOW[t->preprocessing.aspect], size.w, size.h, t->arch.w, t->arch.h);
	if (!*o->fit && !fits && fit == OTP_FIT_TILE)
		otp_log("pictures are translated at their own size in tiles of %dx%d, as in training (--fit "
			"tile)",
			t->arch.w, t->arch.h);
	if (info.greyed && info.survey.colour)
		otp_log("inputs in colour are made grey: the model learned from grey pictures");
	if (o->keep_luminance)
		otp_log("outputs keep the luminance of inputs (Rec. 601), colours are the model's");
	if (info.survey.deep)
		otp_log("inputs of more than 8 bits a channel: %lld; outputs have 8",
			(long long)info.survey.deep);
}

static bool can_read(const job *j, const otp_dataset_info *input, otp_error *err)
{
	if (j->o->keep_luminance && input->colour != OTP_COLOUR_NONE)
		return otp_fail(err, "--keep-luminance",
				"is for pictures as stored, %s is coloured as it is read", j->input);
	return input->count || otp_fail(err, j->input, "is generated without end, expected ?limit=N with it");
}

static bool translate(const job *j, otp_translator *t, const otp_dataset *d, otp_fit fit, otp_error *err)
{
	otp_dataset_info info = otp_dataset_describe(d);
	bool crop = fit == OTP_FIT_CROP, vectors = t->arch.vectors;
	sink k = {.samples = j->o->samples,
		  .quality = j->o->quality,
		  .h = crop ? t->arch.h : info.h,
		  .w = crop ? t->arch.w : info.w,
		  .c = t->arch.c + (!vectors && !crop && otp_dataset_alpha(d) > 0),
		  .to_array = j->form.to_array,
		  .format = j->form.format,
		  .vectors = vectors};
	k.row_bytes = otp_mul_size(otp_mul_size((size_t)k.samples, (size_t)k.h * (size_t)k.w),
				   (size_t)k.c * (vectors ? sizeof(float) : 1));
	otp_group *g = t->runtime->group;
	bool ok = can_read(j, &info, err) && plan(&k, d, j->output, j->form.names_picture, j->o, err);
	if (ok && otp_group_leads(g)) {
		otp_outputs_protect_file(k.outputs, t->path);
		otp_outputs_protect_set(k.outputs, d);
		ok = otp_outputs_check(k.outputs, err);
	}
	ok = otp_group_agree(g, ok, err);
	if (ok) {
		if (!vectors)
			say_choices(t, d, fit, j->o);
		ok = write_all(t, d, fit, j->o, &k, err);
	}
	otp_outputs_free(k.outputs);
	if (ok)
		printf("translated %lld input%s, %d sample%s each, sigma %g: %s\n", (long long)info.count,
		       otp_plural(info.count), j->o->samples, otp_plural(j->o->samples), t->facts.sigma,
		       j->output);
	return ok;
}

static bool choose_fit(const char *word, otp_fit *fit, otp_error *err)
{
	for (int i = 0; i < 3; i++)
		if (strcmp(word, OTP_CHOICE_NAME(otp_fit, i)) == 0) {
			*fit = (otp_fit)i;
			return true;
		}
	return !*word || otp_fail(err, "--fit", "is '%s', expected resize, tile or crop", word);
}

/* What the options say of this model. */
static bool settle(const options *o, otp_translator *t, otp_fit *fit, otp_error *err)
{
	double most = t->facts.smoothing == OTP_SMOOTHING_VP ? 1 : 100;
	if (o->sigma > most)
		return otp_fail(err, "--sigma", "is %g, expected %g at most", o->sigma, most);
	if (o->sigma > 0 && t->arch.condition_noise && !t->arch.vectors)
		otp_log("--sigma changes nothing: this model takes the picture as it is, and its noise apart "
			"(--condition-noise)");
	else if (o->sigma > 0)
		t->facts.sigma = o->sigma;
	if (o->keep_luminance && (t->arch.vectors || t->arch.c != 3))
		return otp_fail(err, "--keep-luminance", "is for models that make pictures in colour");
	if (*o->fit && t->arch.vectors)
		return otp_fail(err, "--fit", "is for pictures, the model translates vectors");
	*fit = otp_fit_of(t);
	return choose_fit(o->fit, fit, err);
}

static int run(const job *j, otp_group *group, int argc, char **argv, otp_error *err)
{
	otp_opened o;
	otp_dataset *d = NULL;
	otp_fit fit = OTP_FIT_RESIZE;
	if (otp_opened_model(&o, group, j->model, j->o->device, j->o->precision, j->o->threads, err) &&
	    settle(j->o, &o.t, &fit, err))
		d = o.t.arch.vectors || fit == OTP_FIT_CROP ? otp_opened_data(&o, OTP_SOURCE, j->input, err)
							    : otp_opened_pictures(&o, j->input, err);
	if (otp_together_opened(&o.t, d, d != NULL, argc, argv, group, err) && d)
		translate(j, &o.t, d, fit, err);
	return otp_opened_close(&o, err);
}

static int translate_in(otp_group *group, int argc, char **argv, otp_error *err)
{
	options o = {.samples = 1,
		     .seed = 1,
		     .quality = 95,
		     .device = "auto",
		     .precision = "auto",
		     .fit = "",
		     .format = "auto"};
	const otp_arg args[] = {
	    {"samples", OTP_ARG_INT, &o.samples, 1, 100000, "outputs for each input"},
	    {"seed", OTP_ARG_SEED, &o.seed, 0, 0, "of the noise; another seed, other samples"},
	    {"fit", OTP_ARG_TEXT, &o.fit, 0, 0,
	     "pictures of other sizes than the model's: resize (as in training, and back), tile (at their "
	     "own "
	     "scale, in overlapping tiles), crop (out comes the middle, of the model's size, without alpha); "
	     "default: tile where training saw crops of pictures as they are, else resize"},
	    {"keep-luminance", OTP_ARG_FLAG, &o.keep_luminance, 0, 0,
	     "keep each pixel's luminance as the input has it, at the input's own size, and take colours "
	     "alone "
	     "from the model; colours that have no room at that luminance pale"},
	    {"format", OTP_ARG_TEXT, &o.format, 0, 0,
	     "png, jpeg, webp, npy, npz or h5; default: by the ending of OUTPUT, PNG in a folder"},
	    {"quality", OTP_ARG_INT, &o.quality, 1, 100,
	     "of JPEG and WebP, 95; WebP at 100 keeps every byte"},
	    {"sigma", OTP_ARG_REAL, &o.sigma, 0, 0,
	     "smoothing of inputs, where the model sees them smoothed; default: its own"},
	    {"device", OTP_ARG_TEXT, &o.device, 0, 0, "auto, cpu or cuda[:i]"},
	    {"precision", OTP_ARG_TEXT, &o.precision, 0, 0,
	     "auto, f32, tf32 or bf16; auto: bf16 for pictures on a GPU, else f32"},
	    {"threads", OTP_ARG_INT, &o.threads, 0, 1024, "CPU threads, 0: one a core"},
	    {"overwrite", OTP_ARG_FLAG, &o.overwrite, 0, 0,
	     "replace files that are there, also such as otplan did not make"},
	};
	const char *words[3];
	bool ok = otp_args_parse(
	    argc, argv, args, sizeof args / sizeof *args, words, 3,
	    "otplan translate MODEL INPUT OUTPUT [--samples K] [--seed S] [--fit resize|tile|crop] "
	    "[--keep-luminance] [--format F] [--overwrite]",
	    err);
	job j = {.model = words[0], .input = words[1], .output = words[2], .o = &o};
	otp_fit ignored;
	ok = ok && choose_form(&j.form, j.output, o.format, err) && choose_fit(o.fit, &ignored, err);
	return otp_group_agree(group, ok, err) ? run(&j, group, argc, argv, err) : err->exit_code;
}

int otp_command_translate(int argc, char **argv, otp_error *err)
{
	return otp_together_command(translate_in, argc, argv, err);
}
