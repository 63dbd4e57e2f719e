/* config: one row of a table for each line of config.def; everything else
 * (parsing, writing, help, messages) loops over the rows.
 */
#include "config/table.h"
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

/* Names of theirs whose values mean something else here: no aliases, but what to ask after. */
static const struct {
	const char *theirs, *ours;
} kindred[] = {
    {"epochs", "steps"},	  {"n-epochs", "steps"},  {"iterations", "steps"}, {"lr", "lr_g"},
    {"learning-rate", "lr_g"},	  {"name", "out"},	  {"results-dir", "out"},  {"checkpoints-dir", "out"},
    {"load-size", "image-size"},  {"size", "image-size"}, {"crop-size", "crop"},   {"gpu-ids", "device"},
    {"resolution", "image-size"}, {"fp16", "precision"},  {"amp", "precision"},
};
enum { KINDRED_COUNT = sizeof kindred / sizeof *kindred };

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

/* ---- finding ------------------------------------------------------------- */

static bool same_key(const char *a, const char *b) { return otp_word_same(a, b, strlen(b)); }

const otp_option *otp_option_find(const char *key)
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
	for (int i = 0; i < KINDRED_COUNT; i++)
		if (same_key(search->word, kindred[i].theirs))
			search->nearest = kindred[i].ours;
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
	const otp_option *o = otp_option_find(key);
	OTP_ASSERT(o, "no option %s", key);
	return c->said[o - otp_option_rows];
}

bool otp_config_knows(const char *key) { return otp_option_find(key) || otp_config_is_retired(key); }

bool otp_config_is_flag(const char *key)
{
	const otp_option *o = otp_option_find(key);
	return o ? o->kind == OTP_OPTION_FLAG : same_key(key, "aim");
}

/* ---- single values ------------------------------------------------------- */

static void *field(otp_config *c, const otp_option *o) { return (char *)c + o->at; }

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
		const otp_option *o = retired[i].now ? otp_option_find(retired[i].now) : NULL;
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
	const otp_option *o = otp_option_find(key);
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
		const void *x = otp_option_field(a, o), *y = otp_option_field(b, o);
		if (o->kind != OTP_OPTION_GROUP && o->scope & scopes &&
		    (o->kind == OTP_OPTION_TEXT ? strcmp(x, y) : memcmp(x, y, o->bytes)) != 0)
			return o->key;
	}
	return NULL;
}

bool otp_option_is_open(const otp_config *c, const otp_option *o)
{
	const void *value = otp_option_field(c, o);
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
			memcpy(field(c, o), otp_option_field(from, o), o->bytes);
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
