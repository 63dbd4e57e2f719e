/* text: a configuration as lines of `key = value`: files, presets, and what is written.
 *
 * Files are read by hand: the packaged inih cuts lines at 200 bytes, which is
 * less than a data set's path may have, and takes an indented setting for the
 * tail of the value above it.
 */
#include "config/table.h"
#include "core/file.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ------------------------------------------------------------- */

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

/* ---- presets ------------------------------------------------------------- */

enum { IMAGES = false, VECTORS = true, CPU = false, GPU = true };

const otp_preset otp_presets[] = {
#define PRESET(name, data, device, meaning, lines) {name, data, device, meaning, lines},
#include "config/presets.def"
#undef PRESET
};
const int otp_preset_count = sizeof otp_presets / sizeof *otp_presets;

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

/* ---- writing ------------------------------------------------------------- */

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
	const void *value = otp_option_field(c, o);
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
		bool empty = o->kind == OTP_OPTION_TEXT && *(const char *)otp_option_field(c, o) == '\0';
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
	const otp_option *o = otp_option_find(key);
	OTP_ASSERT(o, "no option %s", key);
	FILE *f = otp_option_text(&text, &bytes);
	otp_option_print_value(f, c, o);
	fclose(f);
	return text;
}
