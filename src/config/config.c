/* config: one row of `options` for each line of config.def; everything else
 * (parsing, writing, help, messages) loops over the rows.
 *
 * Files are read by hand: the packaged inih cuts lines at 200 bytes, which is
 * less than a data set's path may have, and takes an indented setting for the
 * tail of the value above it.
 */
#include "config/config.h"
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

typedef enum kind {
	KIND_GROUP,
	KIND_INT,
	KIND_REAL,
	KIND_AUTO,
	KIND_SEED,
	KIND_PICK,
	KIND_FLAG,
	KIND_TEXT
} kind;

typedef struct option {
	kind kind;
	const char *key; /* or the group's title */
	size_t at;	 /* offset of the field in otp_config */
	double least, most;
	const char *choices, *help;
} option;

static const option options[] = {
#define GROUP(k) {KIND_GROUP, k, 0, 0, 0, NULL, NULL},
#define INT(k, f, v, lo, hi, h) {KIND_INT, k, offsetof(otp_config, f), lo, hi, NULL, h},
#define REAL(k, f, v, lo, hi, h) {KIND_REAL, k, offsetof(otp_config, f), lo, hi, NULL, h},
#define AUTO(k, f, v, lo, hi, h) {KIND_AUTO, k, offsetof(otp_config, f), lo, hi, NULL, h},
#define SEED(k, f, v, h) {KIND_SEED, k, offsetof(otp_config, f), 0, 0, NULL, h},
#define PICK(k, f, v, c, h) {KIND_PICK, k, offsetof(otp_config, f), 0, 0, c, h},
#define FLAG(k, f, v, h) {KIND_FLAG, k, offsetof(otp_config, f), 0, 0, NULL, h},
#define TEXT(k, f, v, h) {KIND_TEXT, k, offsetof(otp_config, f), 0, 0, NULL, h},
#include "config/config.def"
};
enum { OPTION_COUNT = sizeof options / sizeof *options };

/* Names under which other trainers' users know an option; '_' and '-' are equal anyway. */
static const struct {
	const char *alias, *key;
} aliases[] = {
    {"batch-size", "batch"}, {"max-steps", "steps"}, {"num-workers", "workers"}, {"z-dim", "latent"},
    {"lr-t", "lr_g"},	     {"lr-v", "lr_d"},	     {"ema-decay", "ema"},
};
enum { ALIAS_COUNT = sizeof aliases / sizeof *aliases };

static const struct {
	const char *name, *meaning, *lines;
} presets[] = {
#define PRESET(name, meaning, lines) {name, meaning, lines},
#include "config/presets.def"
#undef PRESET
};
enum { PRESET_COUNT = sizeof presets / sizeof *presets };

/* ---- finding ------------------------------------------------------------- */

static bool same_key(const char *a, const char *b) { return otp_word_same(a, b, strlen(b)); }

static const option *find(const char *key)
{
	for (int i = 0; i < ALIAS_COUNT; i++)
		if (same_key(key, aliases[i].alias))
			key = aliases[i].key;
	for (int i = 0; i < OPTION_COUNT; i++)
		if (options[i].kind != KIND_GROUP && same_key(key, options[i].key))
			return &options[i];
	return NULL;
}

const char *otp_config_nearest(const char *key)
{
	otp_word_search search = otp_word_search_for(key);
	for (int i = 0; i < OPTION_COUNT; i++)
		if (options[i].kind != KIND_GROUP)
			otp_word_consider(&search, options[i].key);
	for (int i = 0; i < ALIAS_COUNT; i++)
		otp_word_consider(&search, aliases[i].alias);
	return search.nearest;
}

bool otp_config_knows(const char *key) { return find(key) != NULL; }

bool otp_config_is_flag(const char *key)
{
	const option *o = find(key);
	return o && o->kind == KIND_FLAG;
}

/* ---- single values ------------------------------------------------------- */

static void *field(otp_config *c, const option *o) { return (char *)c + o->at; }

static const void *field_const(const otp_config *c, const option *o) { return (const char *)c + o->at; }

static bool set_number(void *to, const option *o, const char *value, const char *where, otp_error *err)
{
	const char *what = o->kind == KIND_INT ? "whole number" : "number",
		   *word = o->kind == KIND_AUTO ? " or auto" : "";
	char *end = NULL;
	errno = 0;
	if (o->kind == KIND_AUTO && strcmp(value, "auto") == 0) {
		*(double *)to = OTP_AUTO;
		return true;
	}
	double number = o->kind == KIND_INT ? (double)strtol(value, &end, 10) : strtod(value, &end);
	if (end == value || *end || isnan(number))
		return otp_fail(err, where, "%s = %s is not a %s, expected %g to %.10g%s", o->key, value,
				what, o->least, o->most, word);
	if (number < o->least || number > o->most)
		return otp_fail(err, where, "%s = %s is out of range, expected %g to %.10g%s", o->key, value,
				o->least, o->most, word);
	if (o->kind == KIND_INT)
		*(int *)to = (int)number;
	else
		*(double *)to = number;
	return true;
}

static bool set_seed(uint64_t *to, const option *o, const char *value, const char *where, otp_error *err)
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

static bool set_pick(char *to, const option *o, const char *value, const char *where, otp_error *err)
{
	size_t length = strlen(value);
	for (const char *choice = o->choices; choice; choice = strchr(choice, '|')) {
		choice += *choice == '|';
		size_t bytes = strcspn(choice, "|");
		if (bytes == length && memcmp(choice, value, bytes) == 0) {
			memcpy(to, value, length + 1);
			return true;
		}
	}
	return otp_fail(err, where, "%s = %s is unknown, expected %s", o->key, value, o->choices);
}

static bool set_flag(bool *to, const option *o, const char *value, const char *where, otp_error *err)
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

static bool set_text(char *to, const option *o, const char *value, const char *where, otp_error *err)
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

bool otp_config_set(otp_config *c, const char *key, const char *value, const char *where, otp_error *err)
{
	const option *o = find(key);
	if (!o) {
		const char *nearest = otp_config_nearest(key);
		return nearest
			   ? otp_fail(err, where, "unknown option \"%s\", did you mean \"%s\"?", key, nearest)
			   : otp_fail(err, where, "unknown option \"%s\", see `otplan help train`", key);
	}
	switch (o->kind) {
	case KIND_GROUP:
		break;
	case KIND_INT:
	case KIND_REAL:
	case KIND_AUTO:
		return set_number(field(c, o), o, value, where, err);
	case KIND_SEED:
		return set_seed(field(c, o), o, value, where, err);
	case KIND_PICK:
		return set_pick(field(c, o), o, value, where, err);
	case KIND_FLAG:
		return set_flag(field(c, o), o, value, where, err);
	case KIND_TEXT:
		return set_text(field(c, o), o, value, where, err);
	}
	OTP_ASSERT(false, "option %s of no kind", o->key);
	return false;
}

void otp_config_defaults(otp_config *c)
{
	memset(c, 0, sizeof *c);
#define GROUP(k)
#define INT(k, f, v, lo, hi, h) c->f = v;
#define REAL(k, f, v, lo, hi, h) c->f = v;
#define AUTO(k, f, v, lo, hi, h) c->f = v;
#define SEED(k, f, v, h) c->f = v;
#define PICK(k, f, v, ch, h) memcpy(c->f, v, sizeof v);
#define FLAG(k, f, v, h) c->f = v;
#define TEXT(k, f, v, h) memcpy(c->f, v, sizeof v);
#include "config/config.def"
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

static bool parse_line(otp_config *c, char *line, const char *where, otp_error *err)
{
	line = trim(line);
	if (*line == '\0' || *line == '#' || *line == ';' || *line == '[')
		return true;
	char *equals = strchr(line, '=');
	if (!equals)
		return otp_fail(err, where, "`%s' is no setting, expected key = value", line);
	*equals = '\0';
	return otp_config_set(c, trim(line), unquote(trim(equals + 1)), where, err);
}

bool otp_config_parse(otp_config *c, const char *text, const char *where, otp_error *err)
{
	bool ok = true;
	if (strncmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3;
	for (int number = 1; ok && *text; number++) {
		size_t length = strcspn(text, "\n");
		char *line = otp_format("%.*s", (int)length, text);
		char *origin = otp_format("%s:%d", where, number);
		ok = parse_line(c, line, origin, err);
		otp_free(origin);
		otp_free(line);
		text += length + (text[length] == '\n');
	}
	return ok;
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

bool otp_config_preset(otp_config *c, const char *name, otp_error *err)
{
	char names[256] = "";
	for (int i = 0; i < PRESET_COUNT; i++) {
		if (strcmp(name, presets[i].name) == 0) {
			char *where = otp_format("preset %s", name);
			bool ok = otp_config_parse(c, presets[i].lines, where, err) &&
				  otp_config_set(c, "preset", name, where, err);
			otp_free(where);
			return ok;
		}
		size_t used = strlen(names);
		snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", presets[i].name);
	}
	return otp_fail(err, "--preset", "%s is unknown, expected one of %s", name, names);
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

static void print_value(FILE *f, const otp_config *c, const option *o)
{
	const void *value = field_const(c, o);
	switch (o->kind) {
	case KIND_GROUP:
		break;
	case KIND_INT:
		fprintf(f, "%d", *(const int *)value);
		break;
	case KIND_REAL:
		print_real(f, *(const double *)value);
		break;
	case KIND_AUTO:
		if (*(const double *)value == OTP_AUTO)
			fputs("auto", f);
		else
			print_real(f, *(const double *)value);
		break;
	case KIND_SEED:
		fprintf(f, "%" PRIu64, *(const uint64_t *)value);
		break;
	case KIND_PICK:
		fputs(value, f);
		break;
	case KIND_FLAG:
		fputs(*(const bool *)value ? "on" : "off", f);
		break;
	case KIND_TEXT:
		print_text(f, value);
		break;
	}
}

static FILE *open_text(char **text, size_t *bytes)
{
	FILE *f = open_memstream(text, bytes);
	OTP_ASSERT(f, "no memory for a text");
	return f;
}

char *otp_config_text(const otp_config *c)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *f = open_text(&text, &bytes);
	for (int i = 0; i < OPTION_COUNT; i++) {
		const option *o = &options[i];
		if (o->kind == KIND_GROUP) {
			fprintf(f, "%s# %s\n", i ? "\n" : "", o->key);
			continue;
		}
		bool empty = o->kind == KIND_TEXT && *(const char *)field_const(c, o) == '\0';
		fprintf(f, empty ? "%s =" : "%s = ", o->key);
		print_value(f, c, o);
		fputc('\n', f);
	}
	fclose(f);
	return text;
}

/* ---- help ---------------------------------------------------------------- */

enum { HELP_INDENT = 30, HELP_COLUMNS = 100 };

/* One word, or something else that is not to be broken, on this line or the next. Returns the column. */
static int print_word(FILE *f, const char *text, size_t bytes, int column)
{
	if (column > HELP_INDENT && column + 1 + (int)bytes > HELP_COLUMNS) {
		fprintf(f, "\n%*s", HELP_INDENT, "");
		column = HELP_INDENT;
	}
	bool space = column > HELP_INDENT;
	fprintf(f, "%s%.*s", space ? " " : "", (int)bytes, text);
	return column + space + (int)bytes;
}

static void print_option(FILE *f, const otp_config *defaults, const option *o)
{
	static const char *const operand[] = {"", " N", " X", " X|auto", " N", " WORD", "[=on|off]", " TEXT"};
	int column = fprintf(f, "  --%s%s", o->key, operand[o->kind]);
	if (column >= HELP_INDENT - 1) {
		fputc('\n', f);
		column = 0;
	}
	fprintf(f, "%*s", HELP_INDENT - column, "");
	column = HELP_INDENT;
	for (const char *word = o->help; *word; word += strspn(word, " ")) {
		size_t bytes = strcspn(word, " ");
		column = print_word(f, word, bytes, column);
		word += bytes;
	}

	char *remark = NULL;
	size_t bytes = 0;
	FILE *r = open_text(&remark, &bytes);
	fputc('[', r);
	print_value(r, defaults, o);
	if (o->kind == KIND_INT || o->kind == KIND_REAL || o->kind == KIND_AUTO)
		fprintf(r, o->most < 1e9 ? "; %g..%g" : "; from %g", o->least, o->most);
	if (o->kind == KIND_PICK)
		fprintf(r, "; %s", o->choices);
	fputc(']', r);
	fclose(r);
	if (strcmp(remark, "[]") != 0)
		print_word(f, remark, bytes, column);
	fputc('\n', f);
	otp_free(remark);
}

char *otp_config_help(void)
{
	otp_config defaults;
	otp_config_defaults(&defaults);
	char *text = NULL;
	size_t bytes = 0;
	FILE *f = open_text(&text, &bytes);
	for (int i = 0; i < OPTION_COUNT; i++) {
		if (options[i].kind == KIND_GROUP)
			fprintf(f, "%s%s\n", i ? "\n" : "", options[i].key);
		else
			print_option(f, &defaults, &options[i]);
	}
	fprintf(f, "\npresets\n");
	for (int i = 0; i < PRESET_COUNT; i++)
		fprintf(f, "  %-*s%s\n", HELP_INDENT - 2, presets[i].name, presets[i].meaning);
	fclose(f);
	return text;
}

/* ---- settings that depend on each other ---------------------------------- */

static bool is(const char *field, const char *word) { return strcmp(field, word) == 0; }

static bool check_data(const otp_config *c, otp_error *err)
{
	if (*c->dataroot && (*c->source || *c->target))
		return otp_fail(err, "--dataroot",
				"stands beside --source or --target, expected one or the other");
	if (!*c->source != !*c->target)
		return otp_fail(err, *c->source ? "--source" : "--target", "stands alone, expected %s too",
				*c->source ? "--target" : "--source");
	return true;
}

/* Plain semi-dual maps (otm) run at sigma = 0 whatever the schedule says. */
static bool check_smoothing(const otp_config *c, otp_error *err)
{
	if (is(c->formulation, "otm"))
		return true;
	bool from_start = !is(c->anneal, "none"), to_end = !is(c->anneal, "constant");
	double end = c->sigma_end;
	if (end == OTP_AUTO) /* where the data has not spoken yet: it will keep to these bounds */
		end = c->sigma_auto > 0 ? c->sigma_auto : fmin(c->sigma_start, 1);
	if (is(c->anneal, "geometric") && (c->sigma_start <= 0 || end <= 0))
		return otp_fail(err, "--anneal",
				"geometric never reaches 0, expected --sigma-start and --sigma-end "
				"above 0 or another shape");
	if (from_start && to_end && end > c->sigma_start)
		return otp_fail(err, "--sigma-end", "%g is above --sigma-start %g, expected sigma to fall",
				end, c->sigma_start);
	if (is(c->smoothing, "vp") && ((from_start && c->sigma_start > 1) || (to_end && end > 1)))
		return otp_fail(err, "--smoothing",
				"vp takes sqrt(1 - sigma^2), expected sigma of at most 1");
	/* From x and with eps in sight the generator is free to ignore the smoothing: plain OTM again. */
	if (is(c->cost_from, "clean") && c->condition_noise)
		return otp_fail(err, "--cost-from",
				"clean with --condition-noise is the plain semi-dual map under "
				"another name, expected --condition-noise=off or --formulation otm");
	return true;
}

static bool check_schedule(const otp_config *c, otp_error *err)
{
	if (!is(c->formulation, "uotm") && !is(c->g, "linear"))
		return otp_fail(err, "--g", "%s is unbalanced transport, expected --formulation uotm", c->g);
	if (c->parts > c->batch)
		return otp_fail(err, "--parts", "%d of a batch of %d, expected at most that many", c->parts,
				c->batch);
	if (c->r1_end < 0 && c->r1_end != -1)
		return otp_fail(err, "--r1-end", "%g is no weight, expected 0 or more, or -1 for --r1",
				c->r1_end);
	return true;
}

static bool check_networks(const otp_config *c, otp_error *err)
{
	int values[16];
	return otp_config_list(c->multipliers, "--multipliers", values, 16, err) &&
	       otp_config_list(c->potential_multipliers, "--potential-multipliers", values, 16, err) &&
	       (!*c->attention || is(c->attention, "none") ||
		otp_config_list(c->attention, "--attention", values, 16, err));
}

bool otp_config_check(const otp_config *c, otp_error *err)
{
	return check_data(c, err) && check_smoothing(c, err) && check_schedule(c, err) &&
	       check_networks(c, err);
}
