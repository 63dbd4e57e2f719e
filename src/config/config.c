/* config: one row of a table for each line of config.def; everything else
 * (parsing, writing, help, messages) loops over the rows.
 *
 * Files are read by hand: the packaged inih cuts lines at 200 bytes, which is
 * less than a data set's path may have, and takes an indented setting for the
 * tail of the value above it.
 */
#include "config/table.h"
#include "core/file.h"
#include "core/words.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCOPED(kind, k, f, s, t, lo, hi, words, h)                                                           \
	{                                                                                                    \
	    kind,                                                                                            \
	    k,                                                                                               \
	    offsetof(otp_config, f),                                                                         \
	    sizeof(((otp_config *)0)->f),                                                                    \
	    OTP_SCOPE_##s,                                                                                   \
	    OTP_TIER_##t,                                                                                    \
	    lo,                                                                                              \
	    hi,                                                                                              \
	    words,                                                                                           \
	    h},

const otp_option otp_option_rows[] = {
#define GROUP(k) {OTP_OPTION_GROUP, k, 0, 0, OTP_SCOPE_KEPT, OTP_TIER_USER, 0, 0, NULL, NULL},
#define INT(k, f, s, t, v, lo, hi, h) SCOPED(OTP_OPTION_INT, k, f, s, t, lo, hi, NULL, h)
#define OPEN(k, f, s, t, lo, hi, h) SCOPED(OTP_OPTION_OPEN, k, f, s, t, lo, hi, NULL, h)
#define SIZE(k, f, s, t, hi, h) SCOPED(OTP_OPTION_SIZE, k, f, s, t, 1, hi, NULL, h)
#define REAL(k, f, s, t, v, lo, hi, h) SCOPED(OTP_OPTION_REAL, k, f, s, t, lo, hi, NULL, h)
#define AUTO(k, f, s, t, v, lo, hi, h) SCOPED(OTP_OPTION_AUTO, k, f, s, t, lo, hi, NULL, h)
#define SEED(k, f, s, t, v, h) SCOPED(OTP_OPTION_SEED, k, f, s, t, 0, 0, NULL, h)
#define PICK(k, f, s, t, v, type, h)                                                                         \
	SCOPED(OTP_OPTION_PICK, k, f, s, t, 0, 0, ((const char *const[])OTP_CHOICE_NAMES(type)), h)
#define FLAG(k, f, s, t, v, h) SCOPED(OTP_OPTION_FLAG, k, f, s, t, 0, 0, NULL, h)
#define TEXT(k, f, s, t, v, h) SCOPED(OTP_OPTION_TEXT, k, f, s, t, 0, 0, NULL, h)
#include "config/config.def"
};
const int otp_option_count = OTP_OPTION_ROWS;
_Static_assert(sizeof otp_option_rows / sizeof *otp_option_rows == OTP_OPTION_ROWS, "rows");

/* Names under which other trainers' users know an option; '_' and '-' are equal anyway. */
static const struct {
	const char *alias, *key;
} aliases[] = {
    {"batch-size", "batch"}, {"max-steps", "steps"}, {"num-workers", "workers"}, {"z-dim", "latent"},
    {"lr-t", "lr_g"},	     {"lr-v", "lr_d"},	     {"ema-decay", "ema"},
};
enum { ALIAS_COUNT = sizeof aliases / sizeof *aliases };

/* Names of earlier versions, which old files and scripts hold: what a value of theirs means now. */
static const struct {
	const char *key, *value; /* NULL: any other value */
	const char *now;	 /* NULL: nothing */
	const char *becomes;	 /* NULL: the same value */
	bool if_auto;		 /* only where the option is still left open */
} retired[] = {
    {"aim", "on", "start", "aimed", false},
    {"aim", "off", "start", "plain", false},
    {"g", "linear", NULL, NULL, false}, /* formulation has said it */
    {"g", "softplus", "formulation", "uotm", false},
    {"g", "kl", "formulation", "uotm-kl", false},
    {"sigma-auto", "0", NULL, NULL, false},
    {"sigma-auto", NULL, "sigma-end", NULL, true},
};
enum { RETIRED_COUNT = sizeof retired / sizeof *retired };

enum { IMAGES = false, VECTORS = true, CPU = false, GPU = true };

const otp_preset otp_presets[] = {
#define PRESET(name, data, device, meaning, lines) {name, data, device, meaning, lines},
#include "config/presets.def"
#undef PRESET
};
const int otp_preset_count = sizeof otp_presets / sizeof *otp_presets;

/* ---- finding ------------------------------------------------------------- */

static bool same_key(const char *a, const char *b) { return otp_word_same(a, b, strlen(b)); }

static const otp_option *find(const char *key)
{
	for (int i = 0; i < ALIAS_COUNT; i++)
		if (same_key(key, aliases[i].alias))
			key = aliases[i].key;
	for (int i = 0; i < otp_option_count; i++)
		if (otp_option_rows[i].kind != OTP_OPTION_GROUP && same_key(key, otp_option_rows[i].key))
			return &otp_option_rows[i];
	return NULL;
}

void otp_config_consider(otp_word_search *search)
{
	for (int i = 0; i < otp_option_count; i++)
		if (otp_option_rows[i].kind != OTP_OPTION_GROUP)
			otp_word_consider(search, otp_option_rows[i].key);
	for (int i = 0; i < ALIAS_COUNT; i++)
		otp_word_consider(search, aliases[i].alias);
}

const char *otp_config_nearest(const char *key)
{
	otp_word_search search = otp_word_search_for(key);
	otp_config_consider(&search);
	return search.nearest;
}

bool otp_config_is_retired(const char *key)
{
	for (int i = 0; i < RETIRED_COUNT; i++)
		if (same_key(key, retired[i].key))
			return true;
	return false;
}

bool otp_config_said(const otp_config *c, const char *key)
{
	const otp_option *o = find(key);
	OTP_ASSERT(o, "no option %s", key);
	return c->said[o - otp_option_rows];
}

bool otp_config_knows(const char *key) { return find(key) || otp_config_is_retired(key); }

bool otp_config_is_flag(const char *key)
{
	const otp_option *o = find(key);
	return o ? o->kind == OTP_OPTION_FLAG : same_key(key, "aim");
}

/* ---- single values ------------------------------------------------------- */

static void *field(otp_config *c, const otp_option *o) { return (char *)c + o->at; }

static const void *field_const(const otp_config *c, const otp_option *o) { return (const char *)c + o->at; }

static bool set_number(void *to, const otp_option *o, const char *value, const char *where, otp_error *err)
{
	bool whole = o->kind == OTP_OPTION_INT || o->kind == OTP_OPTION_OPEN;
	const char *what = whole ? "whole number" : "number",
		   *word = o->kind == OTP_OPTION_AUTO ? " or auto" : "";
	char *end = NULL;
	errno = 0;
	if (o->kind == OTP_OPTION_AUTO && strcmp(value, "auto") == 0) {
		*(double *)to = OTP_AUTO;
		return true;
	}
	double number = whole ? (double)strtol(value, &end, 10) : strtod(value, &end);
	if (end == value || *end || isnan(number))
		return otp_fail(err, where, "%s = %s is not a %s, expected %g to %.10g%s", o->key, value,
				what, o->least, o->most, word);
	if (number < o->least || number > o->most)
		return otp_fail(err, where, "%s = %s is out of range, expected %g to %.10g%s", o->key, value,
				o->least, o->most, word);
	if (whole)
		*(int *)to = (int)number;
	else
		*(double *)to = number;
	return true;
}

static bool set_size(otp_size *to, const otp_option *o, const char *value, const char *where, otp_error *err)
{
	return otp_size_parse(value, (int)o->most, to) ||
	       otp_fail(
		   err, where,
		   "%s = %s is no size, expected pixels like 64 or 96x64 (width x height), %g at most, or 0",
		   o->key, value, o->most);
}

static bool set_seed(uint64_t *to, const otp_option *o, const char *value, const char *where, otp_error *err)
{
	char *end = NULL;
	errno = 0;
	unsigned long long number = strtoull(value, &end, 10);
	/* strtoull takes "-1" for 2^64 - 1 */
	if (!isdigit((unsigned char)*value) || *end || errno == ERANGE)
		return otp_fail(err, where, "%s = %s is out of range, expected 0 to %" PRIu64, o->key, value,
				UINT64_MAX);
	*to = number;
	return true;
}

/* A choice is stored as its enumeration, which has the size of an int. */
static bool set_pick(void *to, const otp_option *o, const char *value, const char *where, otp_error *err)
{
	_Static_assert(sizeof(otp_anneal) == sizeof(int), "enumerations of another size");
	for (int i = 0; o->words[i]; i++)
		if (strcmp(o->words[i], value) == 0) {
			memcpy(to, &i, sizeof i);
			return true;
		}
	char *words = NULL;
	size_t bytes = 0;
	FILE *f = otp_option_text(&words, &bytes);
	otp_option_print_words(f, o);
	fclose(f);
	otp_fail(err, where, "%s = %s is unknown, expected %s", o->key, value, words);
	otp_free(words);
	return false;
}

static bool set_flag(bool *to, const otp_option *o, const char *value, const char *where, otp_error *err)
{
	static const char *const words[][2] = {{"off", "on"}, {"false", "true"}, {"no", "yes"}, {"0", "1"}};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		for (int on = 0; on < 2; on++)
			if (strcmp(value, words[i][on]) == 0) {
				*to = on;
				return true;
			}
	return otp_fail(err, where, "%s = %s is unknown, expected on or off", o->key, value);
}

static bool set_text(char *to, const otp_option *o, const char *value, const char *where, otp_error *err)
{
	size_t length = strlen(value);
	if (length >= OTP_TEXT_BYTES)
		return otp_fail(err, where, "%s has %zu bytes, expected less than %d", o->key, length,
				OTP_TEXT_BYTES);
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c < ' ')
			return otp_fail(err, where, "%s holds a control character, expected one line of text",
					o->key);
	memset(to, 0, OTP_TEXT_BYTES);
	memcpy(to, value, length);
	return true;
}

static bool set_retired(otp_config *c, const char *key, const char *value, const char *where, otp_error *err)
{
	for (int i = 0; i < RETIRED_COUNT; i++) {
		if (!same_key(key, retired[i].key) ||
		    (retired[i].value && strcmp(value, retired[i].value) != 0))
			continue;
		const otp_option *o = retired[i].now ? find(retired[i].now) : NULL;
		if (!o || (retired[i].if_auto && *(double *)field(c, o) != OTP_AUTO))
			return true;
		return otp_config_set(c, o->key, retired[i].becomes ? retired[i].becomes : value, where, err);
	}
	return otp_fail(err, where, "%s = %s is unknown; %s is no longer an option", key, value, key);
}

static bool fail_unknown(const char *key, const char *where, otp_error *err)
{
	const char *nearest = otp_config_nearest(key);
	return nearest ? otp_fail(err, where, "unknown option \"%s\", did you mean \"%s\"?", key, nearest)
		       : otp_fail(err, where, "unknown option \"%s\", see `otplan help train`", key);
}

static bool set(otp_config *c, const otp_option *o, const char *value, const char *where, otp_error *err)
{
	switch (o->kind) {
	case OTP_OPTION_GROUP:
		break;
	case OTP_OPTION_INT:
	case OTP_OPTION_OPEN:
	case OTP_OPTION_REAL:
	case OTP_OPTION_AUTO:
		return set_number(field(c, o), o, value, where, err);
	case OTP_OPTION_SIZE:
		return set_size(field(c, o), o, value, where, err);
	case OTP_OPTION_SEED:
		return set_seed(field(c, o), o, value, where, err);
	case OTP_OPTION_PICK:
		return set_pick(field(c, o), o, value, where, err);
	case OTP_OPTION_FLAG:
		return set_flag(field(c, o), o, value, where, err);
	case OTP_OPTION_TEXT:
		return set_text(field(c, o), o, value, where, err);
	}
	OTP_ASSERT(false, "option %s of no kind", o->key);
	return false;
}

bool otp_config_set(otp_config *c, const char *key, const char *value, const char *where, otp_error *err)
{
	const otp_option *o = find(key);
	if (!o)
		return otp_config_is_retired(key) ? set_retired(c, key, value, where, err)
						  : fail_unknown(key, where, err);
	if (!set(c, o, value, where, err))
		return false;
	c->said[o - otp_option_rows] = true;
	return true;
}

void otp_config_defaults(otp_config *c)
{
	memset(c, 0, sizeof *c);
#define GROUP(k)
#define INT(k, f, s, t, v, lo, hi, h) c->f = v;
#define OPEN(k, f, s, t, lo, hi, h) c->f = 0;
#define SIZE(k, f, s, t, hi, h) c->f = (otp_size){0};
#define REAL(k, f, s, t, v, lo, hi, h) c->f = v;
#define AUTO(k, f, s, t, v, lo, hi, h) c->f = v;
#define SEED(k, f, s, t, v, h) c->f = v;
#define PICK(k, f, s, t, v, type, h) c->f = v;
#define FLAG(k, f, s, t, v, h) c->f = v;
#define TEXT(k, f, s, t, v, h) memcpy(c->f, v, sizeof v);
#include "config/config.def"
}

void otp_config_defaults_stored(otp_config *c)
{
	otp_config_defaults(c);
	c->withhold = 0;
	c->precision = OTP_PRECISION_F32;
}

const char *otp_config_difference(const otp_config *a, const otp_config *b, otp_scope scopes)
{
	for (int i = 0; i < otp_option_count; i++) {
		const otp_option *o = &otp_option_rows[i];
		const void *x = field_const(a, o), *y = field_const(b, o);
		if (o->kind != OTP_OPTION_GROUP && o->scope & scopes &&
		    (o->kind == OTP_OPTION_TEXT ? strcmp(x, y) : memcmp(x, y, o->bytes)) != 0)
			return o->key;
	}
	return NULL;
}

bool otp_option_is_open(const otp_config *c, const otp_option *o)
{
	const void *value = field_const(c, o);
	switch (o->kind) {
	case OTP_OPTION_OPEN:
		return *(const int *)value == 0;
	case OTP_OPTION_SIZE:
		return ((const otp_size *)value)->h == 0;
	case OTP_OPTION_AUTO:
		return *(const double *)value == OTP_AUTO;
	case OTP_OPTION_PICK:
		return strcmp(o->words[*(const unsigned *)value], "auto") == 0;
	case OTP_OPTION_TEXT:
		return *(const char *)value == '\0';
	default:
		return false;
	}
}

void otp_config_settle(otp_config *c, const otp_config *from, otp_scope scopes)
{
	for (int i = 0; i < otp_option_count; i++) {
		const otp_option *o = &otp_option_rows[i];
		if (o->scope & scopes && otp_option_is_open(c, o))
			memcpy(field(c, o), field_const(from, o), o->bytes);
	}
}

int otp_config_list(const char *text, const char *key, int *values, int max, otp_error *err)
{
	int count = 0;
	for (const char *at = text;; at++) {
		char *end = NULL;
		long value = strtol(at, &end, 10);
		if (end == at || value < 1 || value > 4096 || (*end && *end != ',')) {
			otp_fail(err, key, "`%s' is not a list, expected numbers from 1 to 4096 like 1,2,2",
				 text);
			return 0;
		}
		if (count == max) {
			otp_fail(err, key, "`%s' is too long, expected at most %d numbers", text, max);
			return 0;
		}
		values[count++] = (int)value;
		at = end;
		if (!*at)
			return count;
	}
}

bool otp_config_duration(const char *text, const char *key, double *seconds, otp_error *err)
{
	static const struct {
		char unit;
		double seconds;
	} units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
	bool ok = true;
	*seconds = 0;
	for (const char *at = text; ok && *at;) {
		char *stop = NULL;
		double number = isdigit((unsigned char)*at) ? strtod(at, &stop) : -1, unit = 0;
		const char *end = stop ? stop : at;
		for (int i = 0; number >= 0 && i < 4; i++)
			if (*end == units[i].unit)
				unit = units[i].seconds;
		ok = number >= 0 && (unit > 0 || (at == text && !*end));
		*seconds += number * (unit > 0 ? unit : 1);
		at = ok ? end + (unit > 0) : at;
	}
	return (ok && (*seconds > 0 || !*text) && *seconds < 1e9) ||
	       otp_fail(err, key, "`%s' is no time, expected one like 11h50m, 2d or 90s", text);
}

bool otp_config_bytes(const char *text, const char *key, size_t *bytes, otp_error *err)
{
	static const char UNITS[] = "KMGT";
	char *end;
	double number = strtod(text, &end);
	*bytes = 0;
	if (!*text)
		return true;
	const char *unit = *end ? strchr(UNITS, toupper((unsigned char)*end)) : NULL;
	if (unit) {
		number *= ldexp(1, 10 * (int)(unit - UNITS + 1));
		end++;
		end += *end == 'i';
	}
	bool ok = isdigit((unsigned char)*text) && number >= 1 && number < 0x1p62 &&
		  (!*end || (toupper((unsigned char)*end) == 'B' && !end[1]));
	if (!ok)
		return otp_fail(err, key, "`%s' is no size, expected one like 8G or 500M", text);
	*bytes = (size_t)number;
	return true;
}

int otp_config_attention(const otp_config *c, int *values, int max, otp_error *err)
{
	if (same_key(c->attention, "none"))
		return 0;
	int count = otp_config_list(c->attention, "--attention", values, max, err);
	return count ? count : -1;
}

/* ---- whole texts --------------------------------------------------------- */

static char *trim(char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	size_t length = strlen(text);
	while (length > 0 && isspace((unsigned char)text[length - 1]))
		length--;
	text[length] = '\0';
	return text;
}

/* A value ends before " #" or " ;"; one in double quotes is taken as it stands. */
static char *unquote(char *value)
{
	size_t length = strlen(value);
	if (length >= 2 && value[0] == '"' && value[length - 1] == '"') {
		value[length - 1] = '\0';
		return value + 1;
	}
	for (char *c = value; *c; c++)
		if ((*c == '#' || *c == ';') && (c == value || isspace((unsigned char)c[-1]))) {
			*c = '\0';
			break;
		}
	return trim(value);
}

/* Names of earlier versions qualify what others say, so they are set in a pass of their own. */
static bool parse_line(otp_config *c, char *line, bool retired_names, const char *where, otp_error *err)
{
	line = trim(line);
	if (*line == '\0' || *line == '#' || *line == ';' || *line == '[')
		return true;
	char *equals = strchr(line, '=');
	if (!equals)
		return otp_fail(err, where, "`%s' is not a setting, expected key = value", line);
	*equals = '\0';
	char *key = trim(line);
	return otp_config_is_retired(key) != retired_names ||
	       otp_config_set(c, key, unquote(trim(equals + 1)), where, err);
}

static bool parse_lines(otp_config *c, const char *text, bool retired_names, const char *where,
			otp_error *err)
{
	bool ok = true;
	for (int number = 1; ok && *text; number++) {
		size_t length = strcspn(text, "\n");
		char *line = otp_format("%.*s", (int)length, text);
		char *origin = otp_format("%s:%d", where, number);
		ok = parse_line(c, line, retired_names, origin, err);
		otp_free(origin);
		otp_free(line);
		text += length + (text[length] == '\n');
	}
	return ok;
}

bool otp_config_parse(otp_config *c, const char *text, const char *where, otp_error *err)
{
	if (strncmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3;
	return parse_lines(c, text, false, where, err) && parse_lines(c, text, true, where, err);
}

bool otp_config_read(otp_config *c, const char *path, otp_error *err)
{
	size_t bytes = 0;
	char *text = otp_file_read(path, &bytes, err);
	bool ok = text && (strlen(text) == bytes ||
			   otp_fail(err, path, "holds a zero byte, expected lines of key = value"));
	ok = ok && otp_config_parse(c, text, path, err);
	otp_free(text);
	return ok;
}

const otp_preset *otp_preset_find(const char *name, otp_error *err)
{
	char names[256] = "";
	for (int i = 0; i < otp_preset_count; i++) {
		if (strcmp(name, otp_presets[i].name) == 0)
			return &otp_presets[i];
		size_t used = strlen(names);
		snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", otp_presets[i].name);
	}
	otp_fail(err, "--preset", "%s is unknown, expected one of %s", name, names);
	return NULL;
}

bool otp_config_preset(otp_config *c, const char *name, otp_error *err)
{
	const otp_preset *preset = otp_preset_find(name, err);
	if (!preset)
		return false;
	bool said[OTP_OPTION_ROWS];
	memcpy(said, c->said, sizeof said);
	char *where = otp_format("preset %s", name);
	bool ok =
	    otp_config_parse(c, preset->lines, where, err) && otp_config_set(c, "preset", name, where, err);
	memcpy(c->said, said, sizeof said);
	otp_free(where);
	return ok;
}

/* The shortest decimal that reads back as the same bits. */
static void print_real(FILE *f, double value)
{
	char text[40];
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	fputs(text, f);
}

/* Quoted where unquote would cut something off. */
static void print_text(FILE *f, const char *text)
{
	size_t length = strlen(text);
	bool quote =
	    length > 0 && (strpbrk(text, "#;") || text[0] == '"' || isspace((unsigned char)text[0]) ||
			   isspace((unsigned char)text[length - 1]));
	fprintf(f, quote ? "\"%s\"" : "%s", text);
}

void otp_option_print_value(FILE *f, const otp_config *c, const otp_option *o)
{
	const void *value = field_const(c, o);
	char size[OTP_SIZE_TEXT];
	switch (o->kind) {
	case OTP_OPTION_GROUP:
		break;
	case OTP_OPTION_SIZE:
		fputs(otp_size_text(*(const otp_size *)value, size), f);
		break;
	case OTP_OPTION_INT:
	case OTP_OPTION_OPEN:
		fprintf(f, "%d", *(const int *)value);
		break;
	case OTP_OPTION_REAL:
		print_real(f, *(const double *)value);
		break;
	case OTP_OPTION_AUTO:
		if (*(const double *)value == OTP_AUTO)
			fputs("auto", f);
		else
			print_real(f, *(const double *)value);
		break;
	case OTP_OPTION_SEED:
		fprintf(f, "%" PRIu64, *(const uint64_t *)value);
		break;
	case OTP_OPTION_PICK:
		fputs(o->words[*(const unsigned *)value], f);
		break;
	case OTP_OPTION_FLAG:
		fputs(*(const bool *)value ? "on" : "off", f);
		break;
	case OTP_OPTION_TEXT:
		print_text(f, value);
		break;
	}
}

void otp_option_print_words(FILE *f, const otp_option *o)
{
	for (int i = 0; o->words[i]; i++)
		fprintf(f, "%s%s", i ? "|" : "", o->words[i]);
}

FILE *otp_option_text(char **text, size_t *bytes)
{
	FILE *f = open_memstream(text, bytes);
	OTP_ASSERT(f, "no memory for a text");
	return f;
}

char *otp_config_text(const otp_config *c, otp_scope scopes)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *f = otp_option_text(&text, &bytes);
	for (int i = 0; i < otp_option_count; i++) {
		const otp_option *o = &otp_option_rows[i];
		if (o->kind == OTP_OPTION_GROUP) {
			fprintf(f, "%s# %s\n", i ? "\n" : "", o->key);
			continue;
		}
		if (!(o->scope & scopes))
			continue;
		bool empty = o->kind == OTP_OPTION_TEXT && *(const char *)field_const(c, o) == '\0';
		fprintf(f, empty ? "%s =" : "%s = ", o->key);
		otp_option_print_value(f, c, o);
		fputc('\n', f);
	}
	fclose(f);
	return text;
}

char *otp_config_value(const otp_config *c, const char *key)
{
	char *text = NULL;
	size_t bytes = 0;
	const otp_option *o = find(key);
	OTP_ASSERT(o, "no option %s", key);
	FILE *f = otp_option_text(&text, &bytes);
	otp_option_print_value(f, c, o);
	fclose(f);
	return text;
}
