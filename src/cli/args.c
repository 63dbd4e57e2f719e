#include "cli/args.h"
#include "config/config.h"
#include "core/words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- values ------------------------------------------------------------------ */

static bool set_int(const otp_arg *arg, const char *where, const char *text, otp_error *err)
{
	char *end;
	errno = 0;
	long number = strtol(text, &end, 10);
	if (end == text || *end || errno || number < arg->min || number > arg->max)
		return otp_fail(err, where, "is '%s', expected a whole number from %d to %d", text, arg->min,
				arg->max);
	*(int *)arg->value = (int)number;
	return true;
}

static bool set_seed(const otp_arg *arg, const char *where, const char *text, otp_error *err)
{
	char *end;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	if (end == text || *end || errno || text[0] == '-')
		return otp_fail(err, where, "is '%s', expected a whole number from 0", text);
	*(uint64_t *)arg->value = value;
	return true;
}

static bool set_real(const otp_arg *arg, const char *where, const char *text, otp_error *err)
{
	char *end;
	double value = strtod(text, &end);
	if (end == text || *end || !(value > 0))
		return otp_fail(err, where, "is '%s', expected a number above 0", text);
	*(double *)arg->value = value;
	return true;
}

static bool set_pick(otp_pick *pick, const char *where, const char *text, otp_error *err)
{
	char words[128] = "";
	for (int i = 0; pick->words[i]; i++) {
		size_t used = strlen(words);
		snprintf(words + used, sizeof words - used, "%s%s", i ? "|" : "", pick->words[i]);
		if (strcmp(pick->words[i], text) == 0) {
			pick->chosen = i;
			return true;
		}
	}
	return otp_fail(err, where, "is '%s', expected %s", text, words);
}

static bool set(const otp_arg *arg, const char *where, const char *text, otp_error *err)
{
	switch (arg->kind) {
	case OTP_ARG_INT:
		return set_int(arg, where, text, err);
	case OTP_ARG_SEED:
		return set_seed(arg, where, text, err);
	case OTP_ARG_REAL:
		return set_real(arg, where, text, err);
	case OTP_ARG_SIZE:
		return otp_size_parse(text, arg->max, arg->value) ||
		       otp_fail(err, where,
				"is '%s', expected pixels like 64 or 96x64 (width x height), %d at most",
				text, arg->max);
	case OTP_ARG_PICK:
		return set_pick(arg->value, where, text, err);
	case OTP_ARG_TEXT:
		*(const char **)arg->value = text;
		return true;
	case OTP_ARG_FLAG:
		break;
	}
	*(bool *)arg->value = true;
	return true;
}

/* ---- options ----------------------------------------------------------------- */

static const otp_arg *find(const otp_command_line *line, const char *name)
{
	for (int i = 0; i < line->arg_count; i++)
		if (otp_word_same(line->args[i].name, name, strlen(name)))
			return &line->args[i];
	return NULL;
}

static bool fail_unknown(const otp_command_line *line, const char *where, otp_error *err)
{
	otp_word_search search = otp_word_search_for(where + 2);
	for (int i = 0; i < line->arg_count; i++)
		otp_word_consider(&search, line->args[i].name);
	if (line->settings)
		otp_config_consider(&search);
	return search.nearest ? otp_fail(err, where, "unknown option, did you mean --%s?", search.nearest)
			      : otp_fail(err, where, "unknown option");
}

static bool is_switch(const char *word) { return strcmp(word, "on") == 0 || strcmp(word, "off") == 0; }

/* "--name=value", or a value in the next word, unless that is an option; a flag of config.def takes no word
 * but on or off. NULL where there is none. *i is left on the last word used. */
static const char *value_of(int argc, char **argv, int *i, bool flag)
{
	const char *equals = strchr(argv[*i], '=');
	if (equals)
		return equals + 1;
	bool follows = *i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0;
	if (flag)
		return follows && is_switch(argv[*i + 1]) ? argv[++*i] : "on";
	return follows ? argv[++*i] : NULL;
}

static bool take_own(int argc, char **argv, int *i, const otp_arg *arg, const char *where, otp_error *err)
{
	if (arg->kind == OTP_ARG_FLAG && strchr(argv[*i], '='))
		return otp_fail(err, where, "takes no value");
	const char *value = arg->kind == OTP_ARG_FLAG ? "" : value_of(argc, argv, i, false);
	return value ? set(arg, where, value, err) : otp_fail(err, where, "needs a value");
}

static bool take_setting(int argc, char **argv, int *i, otp_settings_said *said, const char *where,
			 otp_error *err)
{
	if (said->count == OTP_MAX_SETTINGS)
		return otp_fail(err, where, "exceeds the number of options that one command line may hold");
	const char *value = value_of(argc, argv, i, otp_config_is_flag(where + 2));
	if (!value)
		return otp_fail(err, where, "needs a value");
	otp_setting *s = &said->each[said->count++];
	snprintf(s->where, sizeof s->where, "%s", where);
	s->value = value;
	return true;
}

static bool take(int argc, char **argv, int *i, otp_command_line *line, otp_error *err)
{
	char where[sizeof line->settings->each[0].where];
	snprintf(where, sizeof where, "%.*s", (int)strcspn(argv[*i], "="), argv[*i]);
	const otp_arg *arg = find(line, where + 2);
	if (arg)
		return take_own(argc, argv, i, arg, where, err);
	if (line->settings && otp_config_knows(where + 2))
		return take_setting(argc, argv, i, line->settings, where, err);
	return fail_unknown(line, where, err);
}

/* ---- the whole line ---------------------------------------------------------- */

static void print_help(const otp_command_line *line)
{
	for (int i = 0; i < line->arg_count; i++)
		printf("  --%-14s %s\n", line->args[i].name, line->args[i].help);
	if (line->settings)
		puts("  and the options of `otplan help train`");
}

bool otp_args_read(int argc, char **argv, otp_command_line *line, otp_error *err)
{
	bool options = true;
	for (int i = 0; i < argc; i++) {
		if (options && strcmp(argv[i], OTP_END_OF_OPTIONS) == 0) {
			options = false;
		} else if (options && strcmp(argv[i], "--help") == 0) {
			print_help(line);
			return false;
		} else if (options && strncmp(argv[i], "--", 2) == 0) {
			if (!take(argc, argv, &i, line, err))
				return false;
		} else if (line->word_count < line->most_words) {
			line->words[line->word_count++] = argv[i];
		} else {
			return otp_fail(err, argv[i], "is one argument too many, usage: %s", line->usage);
		}
	}
	return line->word_count >= line->least_words || otp_fail(err, "usage", "%s", line->usage);
}

bool otp_args_parse(int argc, char **argv, const otp_arg *args, int arg_count, const char **words, int most,
		    const char *usage, otp_error *err)
{
	otp_command_line line = {
	    .args = args, .arg_count = arg_count, .usage = usage, .least_words = most, .most_words = most};
	if (!otp_args_read(argc, argv, &line, err))
		return false;
	memcpy(words, line.words, (size_t)most * sizeof *words);
	return true;
}
