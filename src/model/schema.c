#include "model/schema.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef enum field_kind {
	FIELD_FLAG,    /* bool, stored as 0 or 1 */
	FIELD_INT,     /* int */
	FIELD_COUNT,   /* int64_t */
	FIELD_SEED,    /* uint64_t */
	FIELD_DIGEST,  /* uint64_t */
	FIELD_FLOAT,   /* float */
	FIELD_REAL,    /* double */
	FIELD_TEXT,    /* char * */
	FIELD_SAMPLES, /* bool vectors, stored as a word */
	FIELD_NETWORK, /* the word of the network for these samples */
	FIELD_WORD,    /* an enumeration, stored as the word of its value */
	FIELD_LIST,    /* int[], with its count in another int; absent where the count is 0 */
	FIELD_FIXED,   /* a word that says how something is done; there is one way so far */
	FIELD_RESIZE,  /* for readers from before --resize: whether it was done as they know it */
} field_kind;

/* UNUSUAL: left out where it is 0. */
typedef enum need { ALWAYS, IMAGES, VECTORS, NOT_NEEDED, UNUSUAL } need;

typedef struct field {
	const char *name;
	field_kind kind;
	need need;
	size_t at;	    /* in otp_stored */
	double least, most; /* of numbers */
	const char *words;  /* "a|b": of words, by value */
	size_t count_at;    /* of a list's count */
} field;

#define AT(member) offsetof(otp_stored, member)
enum { MOST_VALUES = 1 << 20, MOST_SIDE = 4096, MOST_TEXT = 1 << 14 };

/* Ranges are at least those of the options (config.def), and keep every product of sizes within 63 bits. */
static const field FIELDS[] = {
    {"step", FIELD_COUNT, ALWAYS, AT(step), 0, 1e15},
    {"seed", FIELD_SEED, ALWAYS, AT(seed)},
    {"preprocessing/samples", FIELD_SAMPLES, ALWAYS, AT(arch.vectors), .words = "images|vectors"},
    {"preprocessing/height", FIELD_INT, ALWAYS, AT(arch.h), 1, MOST_SIDE},
    {"preprocessing/width", FIELD_INT, ALWAYS, AT(arch.w), 1, MOST_SIDE},
    {"preprocessing/channels", FIELD_INT, ALWAYS, AT(arch.c), 1, MOST_VALUES},
    {"preprocessing/resize", FIELD_RESIZE, IMAGES,
     .words = "shorter-side-triangle-centre-crop|by-filter-and-aspect"},
    {"preprocessing/filter", FIELD_WORD, UNUSUAL, AT(filter), .words = "bilinear|area|bicubic|lanczos"},
    {"preprocessing/aspect", FIELD_WORD, UNUSUAL, AT(aspect), .words = "crop|pad-white|stretch"},
    {"preprocessing/grey_source", FIELD_FLAG, UNUSUAL, AT(grey)},
    {"preprocessing/random_crop", FIELD_FLAG, UNUSUAL, AT(crops)},
    {"preprocessing/load_height", FIELD_INT, UNUSUAL, AT(load.h), 0, MOST_SIDE},
    {"preprocessing/load_width", FIELD_INT, UNUSUAL, AT(load.w), 0, MOST_SIDE},
    {"preprocessing/grey", FIELD_FIXED, IMAGES, .words = "rec601-luminance"},
    {"preprocessing/alpha", FIELD_FIXED, IMAGES, .words = "over-white"},
    {"preprocessing/values", FIELD_FIXED, IMAGES, .words = "black -1, white 1"},
    {"architecture/network", FIELD_NETWORK, ALWAYS, AT(arch.vectors), .words = "unet|residual-mlp"},
    {"architecture/width", FIELD_INT, ALWAYS, AT(arch.width), 1, 4096},
    {"architecture/blocks", FIELD_INT, ALWAYS, AT(arch.blocks), 1, 16},
    {"architecture/residual", FIELD_FLAG, ALWAYS, AT(arch.residual)},
    {"architecture/multipliers", FIELD_LIST, IMAGES, AT(arch.multipliers), 1, 4096,
     .count_at = AT(arch.levels)},
    {"architecture/attention", FIELD_LIST, NOT_NEEDED, AT(arch.attention), 1, 4096,
     .count_at = AT(arch.attention_count)},
    {"architecture/resample", FIELD_WORD, IMAGES, AT(arch.filter), .words = "box|fir"},
    {"architecture/patch", FIELD_INT, IMAGES, AT(arch.patch), 1, 16},
    {"architecture/embedding", FIELD_INT, IMAGES, AT(arch.embedding), 1, 4096},
    {"architecture/sharpness", FIELD_FLOAT, VECTORS, AT(arch.sharpness), 1e-6, 1e6},
    {"architecture/scale", FIELD_FLOAT, NOT_NEEDED, AT(arch.scale), 0, 1e6},
    {"noise/condition", FIELD_FLAG, ALWAYS, AT(arch.condition_noise)},
    {"noise/features", FIELD_INT, IMAGES, AT(arch.noise_features), 0, 1024},
    {"noise/halvings", FIELD_INT, NOT_NEEDED, AT(arch.noise_halvings), 0, 8},
    {"noise/latent", FIELD_INT, ALWAYS, AT(arch.latent), 0, 4096},
    {"smoothing/kind", FIELD_WORD, ALWAYS, AT(smoothing), .words = "additive|vp"},
    {"smoothing/sigma", FIELD_REAL, ALWAYS, AT(sigma), 0, 1e8},
    {"smoothing/sigma_by", FIELD_WORD, NOT_NEEDED, AT(sigma_by), .words = "unknown|hand|auto"},
#define SIDE(side)                                                                                           \
	{#side "/spec", FIELD_TEXT, ALWAYS, AT(side.spec)},                                                  \
	    {#side "/format", FIELD_TEXT, ALWAYS, AT(side.format)},                                          \
	    {#side "/count", FIELD_COUNT, ALWAYS, AT(side.count), 0, 1e15},                                  \
	    {#side "/test", FIELD_TEXT, NOT_NEEDED, AT(side.test)},                                          \
	    {#side "/withheld", FIELD_COUNT, NOT_NEEDED, AT(side.withheld), 0, 1e15},                        \
	    {#side "/withheld_of", FIELD_COUNT, NOT_NEEDED, AT(side.withheld_of), 0, 1e15},                  \
	    {#side "/digest_kind", FIELD_TEXT, ALWAYS, AT(side.digest_kind)},                                \
	{                                                                                                    \
#side "/digest", FIELD_DIGEST, ALWAYS, AT(side.digest)                                       \
	}
    SIDE(source),
    SIDE(target),
    {"training/rate_factor", FIELD_REAL, NOT_NEEDED, AT(rate_factor), 1e-10, 1},
    {"training/rollbacks", FIELD_INT, NOT_NEEDED, AT(rollbacks), 0, 30},
};
enum { FIELDS_COUNT = sizeof FIELDS / sizeof *FIELDS };
static const char *const GROUPS[] = {"preprocessing", "architecture", "noise",	 "smoothing",
				     "source",	      "target",	      "training"};

static void *place(otp_stored *s, size_t at) { return (char *)s + at; }
static const void *look(const otp_stored *s, size_t at) { return (const char *)s + at; }

static bool applies(const field *d, const otp_stored *s)
{
	return d->need == ALWAYS || d->need >= NOT_NEEDED || (d->need == VECTORS) == s->arch.vectors;
}

/* ---- words ---- */

/* The word of a value; it ends at the next bar. */
static const char *word_of(const char *words, int value, int *length)
{
	for (; value > 0; value--)
		words = strchr(words, '|') + 1;
	*length = (int)strcspn(words, "|");
	return words;
}

/* -1 where no value has this word. */
static int value_of(const char *words, const char *word)
{
	size_t length = strlen(word);
	for (int value = 0;; value++, words++) {
		size_t each = strcspn(words, "|");
		if (each == length && memcmp(words, word, length) == 0)
			return value;
		words += each;
		if (!*words)
			return -1;
	}
}

static int word_value(const field *d, const otp_stored *s)
{
	const void *v = look(s, d->at);
	if (d->kind == FIELD_FIXED)
		return 0;
	if (d->kind == FIELD_RESIZE)
		return s->filter || s->aspect || s->crops || s->arch.h != s->arch.w;
	return d->kind == FIELD_WORD ? *(const int *)v : *(const bool *)v;
}

/* A number of the table, or NAN. */
static double number_of(const field *d, const otp_stored *s)
{
	const void *v = look(s, d->at);
	switch (d->kind) {
	case FIELD_FLAG:
		return *(const bool *)v;
	case FIELD_INT:
		return *(const int *)v;
	case FIELD_COUNT:
		return (double)*(const int64_t *)v;
	case FIELD_FLOAT:
		return (double)*(const float *)v;
	case FIELD_REAL:
		return *(const double *)v;
	default:
		return NAN;
	}
}

/* What is not needed and would say that it is unknown, or that there is none, is left out. */
static bool told(const field *d, const otp_stored *s)
{
	bool none = (d->kind == FIELD_WORD && word_value(d, s) == 0) ||
		    (d->kind == FIELD_TEXT && !*(char *const *)look(s, d->at)) ||
		    (d->kind == FIELD_COUNT && *(const int64_t *)look(s, d->at) == 0);
	bool usual = d->need == UNUSUAL && (number_of(d, s) == 0 || none);
	return applies(d, s) && !(d->need == NOT_NEEDED && none) && !usual;
}

_Static_assert(sizeof(otp_sigma_by) == sizeof(int) && sizeof(otp_smoothing) == sizeof(int) &&
		   sizeof(otp_filter) == sizeof(int) && sizeof(otp_resize) == sizeof(int) &&
		   sizeof(otp_aspect) == sizeof(int),
	       "enumerations are read and written as int");

/* ---- writing ---- */

static bool write_field(hid_t file, const field *d, const otp_stored *s)
{
	const void *v = look(s, d->at);
	switch (d->kind) {
	case FIELD_FLAG:
		return otp_fields_write_integer(file, d->name, *(const bool *)v);
	case FIELD_INT:
		return otp_fields_write_integer(file, d->name, *(const int *)v);
	case FIELD_COUNT:
		return otp_fields_write_integer(file, d->name, *(const int64_t *)v);
	case FIELD_SEED:
	case FIELD_DIGEST:
		return otp_fields_write_unsigned(file, d->name, *(const uint64_t *)v);
	case FIELD_FLOAT:
		return otp_fields_write_real(file, d->name, (double)*(const float *)v);
	case FIELD_REAL:
		return otp_fields_write_real(file, d->name, *(const double *)v);
	case FIELD_TEXT:
		return otp_fields_write_text(file, d->name, *(char *const *)v);
	case FIELD_LIST: {
		int count = *(const int *)look(s, d->count_at);
		return count == 0 || otp_fields_write_list(file, d->name, v, count);
	}
	default: {
		int length;
		const char *word = word_of(d->words, word_value(d, s), &length);
		char *text = otp_format("%.*s", length, word);
		bool ok = otp_fields_write_text(file, d->name, text);
		otp_free(text);
		return ok;
	}
	}
}

bool otp_schema_write(hid_t file, const otp_stored *s)
{
	bool ok = true;
	for (size_t i = 0; ok && i < sizeof GROUPS / sizeof *GROUPS; i++)
		ok = otp_fields_make_group(file, GROUPS[i]);
	for (int i = 0; ok && i < FIELDS_COUNT; i++)
		if (told(&FIELDS[i], s))
			ok = write_field(file, &FIELDS[i], s);
	return ok;
}

/* ---- reading ---- */

static bool read_word(const otp_fields *f, const field *d, otp_stored *s)
{
	char *word = otp_fields_text(f, d->name, MOST_TEXT);
	if (!word)
		return false;
	int value = value_of(d->words, word);
	if (value < 0)
		otp_fail(f->err, f->path, "attribute %s is `%s', this program knows %s", d->name, word,
			 d->words);
	else if (d->kind == FIELD_NETWORK && value != s->arch.vectors)
		otp_fail(f->err, f->path, "attribute %s is `%s', expected a network for %s", d->name, word,
			 s->arch.vectors ? "vectors" : "images");
	else if (d->kind == FIELD_SAMPLES)
		*(bool *)place(s, d->at) = value == 1;
	else if (d->kind == FIELD_WORD)
		*(int *)place(s, d->at) = value;
	otp_free(word);
	return !f->err->exit_code;
}

static bool read_integer(const otp_fields *f, const field *d, otp_stored *s)
{
	int64_t value = 0;
	bool flag = d->kind == FIELD_FLAG;
	if (!otp_fields_integer(f, d->name, flag ? 0 : (int64_t)d->least, flag ? 1 : (int64_t)d->most,
				&value))
		return false;
	if (flag)
		*(bool *)place(s, d->at) = value == 1;
	else if (d->kind == FIELD_INT)
		*(int *)place(s, d->at) = (int)value;
	else
		*(int64_t *)place(s, d->at) = value;
	return true;
}

static bool read_real(const otp_fields *f, const field *d, otp_stored *s)
{
	double value = 0;
	if (!otp_fields_real(f, d->name, d->least, d->most, &value))
		return false;
	if (d->kind == FIELD_FLOAT)
		*(float *)place(s, d->at) = (float)value;
	else
		*(double *)place(s, d->at) = value;
	return true;
}

static bool read_field(const otp_fields *f, const field *d, otp_stored *s)
{
	switch (d->kind) {
	case FIELD_FLAG:
	case FIELD_INT:
	case FIELD_COUNT:
		return read_integer(f, d, s);
	case FIELD_SEED:
	case FIELD_DIGEST:
		return otp_fields_unsigned(f, d->name, place(s, d->at));
	case FIELD_FLOAT:
	case FIELD_REAL:
		return read_real(f, d, s);
	case FIELD_TEXT:
		return (*(char **)place(s, d->at) = otp_fields_text(f, d->name, MOST_TEXT)) != NULL;
	case FIELD_LIST:
		return otp_fields_list(f, d->name, (int)d->least, (int)d->most, place(s, d->at),
				       OTP_MAX_LEVELS, place(s, d->count_at));
	default:
		return read_word(f, d, s);
	}
}

bool otp_schema_read(const otp_fields *f, otp_stored *s)
{
	for (int i = 0; i < FIELDS_COUNT; i++) {
		const field *d = &FIELDS[i];
		if (!applies(d, s) || (d->need >= NOT_NEEDED && !otp_fields_has(f, d->name)))
			continue;
		if (!read_field(f, d, s))
			return false;
	}
	return otp_schema_check(f->path, s, f->err);
}

/* ---- checking ---- */

/* What version 1 did not say (a count of -1, a sigma that is NAN) is in no range and not used. */
static bool check_ranges(const char *path, const otp_stored *s, otp_error *err)
{
	for (int i = 0; i < FIELDS_COUNT; i++) {
		const field *d = &FIELDS[i];
		double value = number_of(d, s);
		bool unsaid = isnan(value) || (d->kind == FIELD_COUNT && value == -1);
		if (d->kind == FIELD_FLAG || unsaid || !applies(d, s))
			continue;
		if (!(value >= d->least && value <= d->most))
			return otp_fail(err, path, "%s is %g, expected %g to %g", d->name, value, d->least,
					d->most);
	}
	return true;
}

bool otp_schema_check(const char *path, const otp_stored *s, otp_error *err)
{
	const otp_arch *a = &s->arch;
	if (!check_ranges(path, s, err))
		return false;
	if (s->smoothing == OTP_SMOOTHING_VP && s->sigma > 1)
		return otp_fail(err, path, "smoothing/sigma is %g, expected at most 1 with vp", s->sigma);
	if (a->vectors)
		return (a->h == 1 && a->w == 1) ||
		       otp_fail(err, path,
				"preprocessing/height and width are %d and %d, vectors have 1 and 1", a->h,
				a->w);
	if (a->c > 4)
		return otp_fail(err, path, "preprocessing/channels is %d, expected 1 to 4", a->c);
	if (s->load.h ? s->load.h < a->h || s->load.w < a->w : s->load.w)
		return otp_fail(err, path,
				"preprocessing/load_width and load_height are %d and %d, samples have %dx%d",
				s->load.w, s->load.h, a->w, a->h);
	int step = a->patch << (a->levels - 1);
	return (a->h % step == 0 && a->w % step == 0) ||
	       otp_fail(err, path,
			"architecture/multipliers has %d levels, of patches of %d: the size would be a "
			"multiple of %d, not %dx%d",
			a->levels, a->patch, step, a->w, a->h);
}

/* ---- printing ---- */

bool otp_schema_fact(const otp_stored *s, int i, otp_fact *out)
{
	if (i >= FIELDS_COUNT)
		return false;
	const field *d = &FIELDS[i];
	*out = (otp_fact){.name = told(d, s) ? d->name : NULL};
	if (d->kind == FIELD_SEED) {
		out->kind = OTP_FACT_TEXT;
		snprintf(out->word, sizeof out->word, "%" PRIu64, *(const uint64_t *)look(s, d->at));
		out->text = out->word;
	} else if (d->kind == FIELD_DIGEST) {
		out->kind = OTP_FACT_DIGEST;
		out->bits = *(const uint64_t *)look(s, d->at);
	} else if (d->kind == FIELD_TEXT) {
		out->kind = OTP_FACT_TEXT;
		out->text = *(char *const *)look(s, d->at);
	} else if (d->kind == FIELD_LIST) {
		out->kind = OTP_FACT_LIST;
		out->list = look(s, d->at);
		out->count = *(const int *)look(s, d->count_at);
	} else if (d->words) {
		out->kind = OTP_FACT_TEXT;
		int length;
		const char *word = word_of(d->words, word_value(d, s), &length);
		snprintf(out->word, sizeof out->word, "%.*s", length, word);
		out->text = out->word;
	} else {
		out->number = number_of(d, s);
	}
	bool unsaid = (out->kind == OTP_FACT_NUMBER && isnan(out->number)) ||
		      (d->kind == FIELD_COUNT && out->number == -1) ||
		      (out->kind == OTP_FACT_TEXT && !out->text) || (d->kind == FIELD_LIST && !out->count);
	if (unsaid)
		out->name = NULL;
	return true;
}
