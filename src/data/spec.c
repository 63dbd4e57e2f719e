/* spec: parsing of data-set specifications. One table of modifiers says what
 * each may hold; an unknown one is answered with the nearest known. */
#include "data/spec.h"

#include "core/file.h"
#include "core/words.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct modifier {
	const char *name;
	bool synth_only;
	bool (*set)(otp_spec *spec, const char *value);
	const char *expected;
} modifier;

static bool to_real(const char *text, double low, double high, double *out)
{
	char *end;
	errno = 0;
	double value = strtod(text, &end);
	if (end == text || *end || errno || !(value >= low && value <= high))
		return false;
	*out = value;
	return true;
}

static bool to_count(const char *text, int64_t low, int64_t high, int64_t *out)
{
	char *end;
	errno = 0;
	long long value = strtoll(text, &end, 10);
	if (end == text || *end || errno || value < low || value > high)
		return false;
	*out = value;
	return true;
}

static bool to_int(const char *text, int low, int high, int *out)
{
	int64_t value;
	if (!to_count(text, low, high, &value))
		return false;
	*out = (int)value;
	return true;
}

/* "a<separator>b" into two texts. */
static bool split(const char *value, const char *separator, char first[32], char second[32])
{
	const char *mark = strstr(value, separator), *rest = mark ? mark + strlen(separator) : NULL;
	if (!mark || mark - value >= 32 || strlen(rest) >= 32)
		return false;
	memcpy(first, value, (size_t)(mark - value));
	first[mark - value] = 0;
	strcpy(second, rest);
	return true;
}

static bool set_grey(otp_spec *s, const char *value)
{
	s->grey = true;
	return *value == 0;
}

static bool set_colorize(otp_spec *s, const char *value)
{
	s->colour = strcmp(value, "hsv") == 0		? OTP_COLOUR_HSV
		    : strcmp(value, "isoluminant") == 0 ? OTP_COLOUR_ISOLUMINANT
							: OTP_COLOUR_NONE;
	return s->colour != OTP_COLOUR_NONE;
}

static bool set_hue(otp_spec *s, const char *value) { return to_real(value, 0, 1, &s->hue); }

static bool set_brightness(otp_spec *s, const char *value) { return to_real(value, 0, 1, &s->brightness); }

static bool set_part(otp_spec *s, const char *value)
{
	char part[32], parts[32];
	return split(value, "/", part, parts) && to_count(parts, 1, INT64_C(1) << 31, &s->parts) &&
	       to_count(part, 1, s->parts, &s->part);
}

static bool set_limit(otp_spec *s, const char *value) { return to_count(value, 1, INT64_MAX, &s->limit); }

static bool set_range(otp_spec *s, const char *value)
{
	char low[32], high[32];
	return (split(value, "..", low, high) || split(value, ":", low, high)) &&
	       to_real(low, -1e30, 1e30, &s->low) && to_real(high, -1e30, 1e30, &s->high) && s->low < s->high;
}

static bool set_layout(otp_spec *s, const char *value)
{
	s->layout = strcmp(value, "nchw") == 0	 ? OTP_LAYOUT_NCHW
		    : strcmp(value, "nhwc") == 0 ? OTP_LAYOUT_NHWC
						 : OTP_LAYOUT_GUESSED;
	return s->layout != OTP_LAYOUT_GUESSED;
}

static bool set_keep(otp_spec *s, const char *value)
{
	s->keep = strcmp(value, "on") == 0;
	return s->keep || strcmp(value, "off") == 0;
}

static bool set_max_pixels(otp_spec *s, const char *value)
{
	return to_count(value, 1, INT32_MAX, &s->most_pixels);
}

static bool set_size(otp_spec *s, const char *value) { return to_int(value, 4, 4096, &s->size); }
static bool set_d(otp_spec *s, const char *value) { return to_int(value, 1, 4096, &s->d); }
static bool set_m(otp_spec *s, const char *value) { return to_int(value, 1, 4096, &s->m); }
static bool set_strata(otp_spec *s, const char *value) { return to_int(value, 1, 1 << 20, &s->strata); }
static bool set_cond(otp_spec *s, const char *value) { return to_real(value, 1, 1e12, &s->cond); }
static bool set_noise(otp_spec *s, const char *value) { return to_real(value, 0, 1e6, &s->noise); }

static const modifier modifiers[] = {
    {"grey", false, set_grey, "no value"},
    {"colorize", false, set_colorize, "hsv or isoluminant"},
    {"hue", false, set_hue, "a number from 0 to 1, a share of the full turn"},
    {"brightness", false, set_brightness, "a number from 0 to 1"},
    {"level", false, set_brightness, "a number from 0 to 1"}, /* its name in earlier versions */
    {"part", false, set_part, "K/M, the K-th of M parts, K from 1"},
    {"limit", false, set_limit, "a count from 1"},
    {"range", false, set_range, "LOW..HIGH, the stored values of black and white"},
    {"layout", false, set_layout, "nhwc or nchw, the order of an array's axes"},
    {"keep", false, set_keep, "on or off"},
    {"max-pixels", false, set_max_pixels, "a count from 1 to 2147483647"},
    {"size", true, set_size, "pixels from 4 to 4096"},
    {"d", true, set_d, "a dimension from 1 to 4096"},
    {"m", true, set_m, "a dimension from 1 to 4096"},
    {"k", true, set_m, "a dimension from 1 to 4096"},
    {"strata", true, set_strata, "a count from 1"},
    {"cond", true, set_cond, "a condition number from 1"},
    {"noise", true, set_noise, "a standard deviation from 0"},
};
enum { MODIFIERS = sizeof modifiers / sizeof *modifiers };

/* ---- parsing --------------------------------------------------------------------- */

static bool apply(otp_spec *spec, char *item, otp_error *err)
{
	bool synth = strncmp(spec->place, "synth:", 6) == 0;
	char *value = strchr(item, '=');
	if (value)
		*value++ = 0;
	for (int i = 0; i < MODIFIERS; i++) {
		const modifier *m = &modifiers[i];
		if (strcmp(item, m->name) != 0)
			continue;
		if (m->synth_only && !synth)
			return otp_fail(err, spec->text, "modifier `%s' belongs to synth: sets only", item);
		if (!m->set(spec, value ? value : ""))
			return otp_fail(err, spec->text, "modifier `%s' has the value `%s', expected %s",
					item, value ? value : "", m->expected);
		return true;
	}
	otp_word_search search = otp_word_search_for(item);
	for (int i = 0; i < MODIFIERS; i++)
		if (synth || !modifiers[i].synth_only)
			otp_word_consider(&search, modifiers[i].name);
	return otp_fail(err, spec->text, "unknown modifier `%s'%s%s%s", item,
			search.nearest ? ", did you mean `" : "", search.nearest ? search.nearest : "",
			search.nearest ? "'?" : "");
}

bool otp_spec_parse(const char *text, otp_spec *spec, otp_error *err)
{
	*spec = (otp_spec){.text = otp_strdup(text),
			   .place = otp_strdup(text),
			   .hue = -1,
			   .brightness = -1,
			   .part = 1,
			   .parts = 1,
			   .keep = true,
			   .noise = -1};
	bool ok = true;
	/* A name with a question mark in it is a name, where such a file exists. */
	char *mark = otp_file_exists(text) ? NULL : strrchr(spec->place, '?');
	if (mark) {
		*mark = 0;
		char *rest = NULL;
		for (char *item = strtok_r(mark + 1, "&", &rest); item && ok;
		     item = strtok_r(NULL, "&", &rest))
			ok = apply(spec, item, err);
	}
	if (ok && !*spec->place)
		ok = otp_fail(err, text, "is empty, expected a folder, a file or synth:NAME");
	if (ok && spec->hue >= 0 && spec->colour == OTP_COLOUR_NONE)
		ok = otp_fail(err, text, "modifier `hue' needs colorize=hsv or colorize=isoluminant with it");
	if (!ok)
		otp_spec_free(spec);
	return ok;
}

char *otp_spec_absolute(const char *text)
{
	char *folder = getcwd(NULL, 0);
	while (strncmp(text, "./", 2) == 0)
		text += 2;
	/* A question mark in the folder's name would be read as the start of modifiers. */
	bool stays =
	    !*text || *text == '/' || strncmp(text, "synth:", 6) == 0 || !folder || strchr(folder, '?');
	char *path = stays ? otp_strdup(text) : otp_format("%s/%s", folder[1] ? folder : "", text);
	free(folder);
	return path;
}

void otp_spec_free(otp_spec *spec)
{
	otp_free(spec->text);
	otp_free(spec->place);
	*spec = (otp_spec){0};
}

char *otp_spec_with(const otp_spec *spec, const char *more)
{
	bool first = strlen(spec->text) == strlen(spec->place);
	return otp_format("%s%c%s", spec->text, first ? '?' : '&', more);
}

/* Digests are made of this text, so its words stay as they were (level: brightness). */
char *otp_spec_modifiers(const otp_spec *s)
{
	/* What came later is named only where it is said, so that digests of other sets stay. */
	static const char *const layouts[] = {"", " layout=nhwc", " layout=nchw"};
	return otp_format("grey=%d colour=%d hue=%.9g level=%.9g part=%lld/%lld limit=%lld range=%.9g:%.9g "
			  "size=%d d=%d m=%d strata=%d cond=%.9g noise=%.9g%s",
			  s->grey, (int)s->colour, s->hue, s->brightness, (long long)s->part,
			  (long long)s->parts, (long long)s->limit, s->low, s->high, s->size, s->d, s->m,
			  s->strata, s->cond, s->noise, layouts[s->layout]);
}
