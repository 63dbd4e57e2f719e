/* synth: sets made by formula, without end: sample `index` is a function of
 * (seed, name, index). Vectors come from laws.c, stroke digits from here:
 *
 *   synth:digits              grey v/2: the brightness at which the isoluminant law's
 *                             truth, W2^2 = b^2 E||v||^2, holds to the digit
 *   synth:digits-isoluminant  v (1 + cos(h - h_c))/2
 *   synth:digits-hsv          hue h, saturation 1, value v
 *
 * The three draw shapes v from one law, each by its own stream, so that a source
 * and a target of one seed share no picture. The ground is -1 in every channel.
 */
#include "data/source.h"

#include "laws/digits.h"
#include "laws/laws.h"

#include <string.h>
#include <xxhash.h>

typedef struct synth {
	otp_source base;
	uint64_t key; /* of the samples' streams: seed and name */
	int size;     /* digits */
	int own_size; /* as the spec says */
	otp_law *law; /* vectors */
	otp_side side;
} synth;

static bool synth_read(const otp_source *base, uint64_t index, otp_image *out, otp_error *err)
{
	(void)err;
	const synth *s = (const synth *)base;
	*out = (otp_image){.h = base->h, .w = base->w, .c = base->c};
	size_t values = otp_image_values(out);
	float *v = otp_calloc(values, sizeof *v);
	out->f32 = out->owned = v;
	if (s->law) {
		otp_law_sample(s->law, s->side, index, v);
		return true;
	}
	otp_digit_draw(otp_stream_make(s->key, (uint32_t)index, (uint32_t)(index >> 32)), s->size, v);
	for (size_t i = 0; i < values; i++)
		v[i] = 2 * v[i] - 1;
	return true;
}

static void synth_close(otp_source *base)
{
	otp_law_free(((synth *)base)->law);
	otp_source_free(base);
}

/* Digits are drawn at the size asked for instead of being resized. */
static bool synth_prepare(otp_source *base, int size, otp_error *err)
{
	(void)err;
	synth *s = (synth *)base;
	if (!s->law)
		base->h = base->w = s->size = size ? size : s->own_size;
	return true;
}

static const otp_source_ops synth_ops = {.read = synth_read, .close = synth_close, .prepare = synth_prepare};

static const struct {
	const char *name;
	double brightness;
	otp_colour_law colour;
} digit_sets[] = {
    {"digits", 0.5, OTP_COLOUR_NONE},
    {"digits-isoluminant", 1, OTP_COLOUR_ISOLUMINANT},
    {"digits-hsv", 1, OTP_COLOUR_HSV},
};

static bool open_digits(synth *s, const char *name, const otp_spec *spec)
{
	for (size_t i = 0; i < sizeof digit_sets / sizeof *digit_sets; i++) {
		if (strcmp(name, digit_sets[i].name) != 0)
			continue;
		/* Coloured by a modifier, the shapes are whole: half brightness is for the grey set alone. */
		s->base.brightness = spec->colour == OTP_COLOUR_NONE ? digit_sets[i].brightness : 1;
		s->base.colour = digit_sets[i].colour;
		s->base.kind = OTP_DATA_IMAGES;
		s->own_size = s->size = spec->size ? spec->size : 16;
		s->base.h = s->base.w = s->size;
		s->base.c = 1;
		return true;
	}
	return false;
}

static bool open_law(synth *s, const char *name, const otp_spec *spec, uint64_t seed, otp_error *err)
{
	otp_law_params params = {
	    .d = spec->d, .m = spec->m, .strata = spec->strata, .cond = spec->cond, .noise = spec->noise};
	s->law = otp_law_new(name, params, seed, &s->side, err);
	if (!s->law)
		return false;
	s->base.kind = OTP_DATA_VECTORS;
	s->base.h = s->base.w = 1;
	s->base.c = s->law->d;
	return true;
}

otp_source *otp_synth_open(const otp_spec *spec, uint64_t seed, otp_error *err)
{
	const char *name = spec->place + strlen("synth:");
	synth *s = otp_calloc(1, sizeof *s);
	s->base.ops = &synth_ops;
	s->base.brightness = 1;
	s->key = XXH3_64bits_withSeed(name, strlen(name), seed);
	s->base.digest = s->key;
	s->base.digest_kind = OTP_DIGEST_GENERATED;
	bool ok = open_digits(s, name, spec);
	bool vector_keys = spec->d || spec->m || spec->strata || spec->cond > 0 || spec->noise >= 0;
	if (ok && vector_keys)
		ok = otp_fail(err, spec->text,
			      "d, m, k, strata, cond and noise are for vectors, this set holds images");
	else if (!ok && !otp_law_exists(name))
		otp_fail(err, spec->text, "no such set, expected digits, digits-isoluminant, digits-hsv, %s",
			 otp_law_names());
	else if (!ok)
		ok = open_law(s, name, spec, seed, err);
	if (ok)
		return &s->base;
	synth_close(&s->base);
	return NULL;
}
