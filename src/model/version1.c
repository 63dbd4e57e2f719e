#include "model/version1.h"
#include "model/schema.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- settings: lines of `key = value`, a text with special characters in double quotes ---- */

/* otp_free it; NULL where the text has no such key. */
static char *setting(const char *text, const char *key)
{
	size_t length = strlen(key);
	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		if (strncmp(line, key, length) != 0)
			continue;
		const char *at = line + length + strspn(line + length, " ");
		if (*at != '=')
			continue;
		at += 1 + strspn(at + 1, " ");
		size_t bytes = strcspn(at, "\n");
		while (bytes > 0 && isspace((unsigned char)at[bytes - 1]))
			bytes--;
		bool quoted = bytes >= 2 && at[0] == '"' && at[bytes - 1] == '"';
		return otp_format("%.*s", (int)(quoted ? bytes - 2 : bytes), quoted ? at + 1 : at);
	}
	return NULL;
}

static bool refuse(const otp_fields *f, const char *key, const char *value, const char *expected)
{
	return otp_fail(f->err, f->path, "its settings say %s = %s, expected %s", key, value, expected);
}

/* A number; `otherwise` where the key is younger than the file. */
static double number(const otp_fields *f, const char *text, const char *key, double otherwise)
{
	char *value = setting(text, key), *end = value;
	double result = otherwise;
	if (value) {
		errno = 0;
		result = strtod(value, &end);
		if (end == value || *end || errno || !(fabs(result) <= 1e15))
			result = refuse(f, key, value, "a number");
	}
	otp_free(value);
	return result;
}

static int integer(const otp_fields *f, const char *text, const char *key, int otherwise)
{
	double value = number(f, text, key, otherwise);
	/* Out of every range of the schema where it fits no int. */
	return fabs(value) <= 1e9 ? (int)value : -1;
}

/* The place of the key's value among `words`, which NULL ends. */
static int word(const otp_fields *f, const char *text, const char *key, const char *const *words)
{
	char *value = setting(text, key);
	int found = -1;
	for (int i = 0; value && words[i]; i++)
		if (strcmp(value, words[i]) == 0)
			found = i;
	if (value && found < 0)
		refuse(f, key, value, "one of the words of version 1");
	otp_free(value);
	return found < 0 ? 0 : found;
}
#define WORD(key, ...) word(f, text, key, (const char *const[]){__VA_ARGS__, NULL})

/* "1,2,2"; none: an empty list. */
static void list(const otp_fields *f, const char *text, const char *key, const char *otherwise, int *values,
		 int *count)
{
	char *stored = setting(text, key);
	const char *value = stored ? stored : otherwise;
	*count = 0;
	for (const char *at = value; strcmp(value, "none") != 0;) {
		char *end;
		long each = strtol(at, &end, 10);
		if (end == at || each < 1 || each > 4096 || (*end && *end != ',') ||
		    *count == OTP_MAX_LEVELS) {
			refuse(f, key, value, "up to 8 numbers from 1 to 4096");
			break;
		}
		values[(*count)++] = (int)each;
		if (!*end)
			break;
		at = end + 1;
	}
	otp_free(stored);
}

static uint64_t seed(const otp_fields *f, const char *text)
{
	char *value = setting(text, "seed"), *end = value;
	errno = 0;
	uint64_t result = value ? strtoull(value, &end, 10) : 1;
	if (value && (end == value || *end || errno))
		refuse(f, "seed", value, "a number");
	otp_free(value);
	return result;
}

static bool read_settings(const otp_fields *f, otp_stored *s)
{
	const char *text = s->settings;
	otp_arch *a = &s->arch;
	bool plain = WORD("formulation", "otp", "otm", "uotm") == 1;
	a->condition_noise = WORD("condition-noise", "on", "off") == 0 && !plain;
	a->noise_features = integer(f, text, "noise-features", 16);
	a->latent = integer(f, text, "latent", 0);
	a->embedding = integer(f, text, "embedding", 256);
	a->residual = WORD("residual", "on", "off") == 0;
	a->patch = integer(f, text, "patch", 1);
	a->width = integer(f, text, "width", 128);
	a->blocks = integer(f, text, "blocks", 2);
	a->scale = 1;
	a->sharpness = (float)number(f, text, "sharpness", 1);
	a->filter = WORD("resample", "fir", "box") == 0 ? OTP_FILTER_FIR : OTP_FILTER_BOX;
	list(f, text, "multipliers", "1,2,2,2", a->multipliers, &a->levels);
	list(f, text, "attention", "16", a->attention, &a->attention_count);
	s->smoothing = WORD("smoothing", "additive", "vp") == 0 ? OTP_SMOOTHING_ADDITIVE : OTP_SMOOTHING_VP;
	s->seed = seed(f, text);
	char *source = setting(text, "source"), *target = setting(text, "target");
	s->source.spec = source ? source : otp_strdup("");
	s->target.spec = target ? target : otp_strdup("");
	if (!f->err->exit_code && a->levels == 0)
		refuse(f, "multipliers", "none", "up to 8 numbers from 1 to 4096");
	return !f->err->exit_code;
}

/* ---- attributes, all at the root ---- */

static bool read_digest(const otp_fields *f, const char *name, otp_data_facts *side)
{
	int64_t bits = 0; /* of an unsigned number */
	side->count = -1;
	if (!otp_fields_integer(f, name, INT64_MIN, INT64_MAX, &bits))
		return false;
	side->digest = (uint64_t)bits;
	return true;
}

bool otp_version1_read(const otp_fields *f, otp_stored_kind kind, otp_stored *s)
{
	int64_t vectors = 0, h = 0, w = 0, c = 0;
	s->sigma = NAN;
	bool ok = otp_fields_integer(f, "step", 0, INT64_MAX, &s->step) &&
		  otp_fields_integer(f, "vectors", 0, 1, &vectors) &&
		  otp_fields_integer(f, "height", 1, INT32_MAX, &h) &&
		  otp_fields_integer(f, "width", 1, INT32_MAX, &w) &&
		  otp_fields_integer(f, "channels", 1, INT32_MAX, &c) &&
		  read_digest(f, "source_digest", &s->source) &&
		  read_digest(f, "target_digest", &s->target) &&
		  (s->settings = otp_fields_long_text(f, "settings"));
	if (ok && kind == OTP_STORED_MODEL)
		ok = otp_fields_real(f, "sigma", 0, 1e6, &s->sigma);
	s->arch.vectors = vectors != 0;
	s->arch.h = (int)h;
	s->arch.w = (int)w;
	s->arch.c = (int)c;
	return ok && read_settings(f, s) && otp_schema_check(f->path, s, f->err);
}
