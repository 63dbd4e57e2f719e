#include "cli/args.h"
#include "core/words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const otp_arg *find(const otp_arg *args, int count, const char *name, size_t length)
{
	for (int i = 0; i < count; i++)
		if (otp_word_same(args[i].name, name, length))
			return &args[i];
	return NULL;
}

static bool unknown(const otp_arg *args, int count, const char *text, size_t length, otp_error *err)
{
	char word[64];
	snprintf(word, sizeof word, "%.*s", (int)length, text);
	otp_word_search search = otp_word_search_for(word);
	for (int i = 0; i < count; i++)
		otp_word_consider(&search, args[i].name);
	char *where = otp_format("--%s", word);
	if (search.nearest)
		otp_fail(err, where, "unknown option, did you mean --%s?", search.nearest);
	else
		otp_fail(err, where, "unknown option");
	otp_free(where);
	return false;
}

bool otp_args_int(const char *name, const char *text, int min, int max, int *value, otp_error *err)
{
	char *end, where[64];
	snprintf(where, sizeof where, "--%s", name);
	errno = 0;
	long number = strtol(text, &end, 10);
	if (end == text || *end || errno || number < min || number > max)
		return otp_fail(err, where, "'%s', expected a whole number from %d to %d", text, min, max);
	*value = (int)number;
	return true;
}

static bool set_seed(const otp_arg *arg, const char *text, otp_error *err)
{
	char *end;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	if (end == text || *end || errno || text[0] == '-')
		return otp_fail(err, "--seed", "'%s', expected a whole number from 0", text);
	*(uint64_t *)arg->value = value;
	return true;
}

/* One option and its value; *i is left on the last word used. */
static bool take(int argc, char **argv, int *i, const otp_arg *args, int count, otp_error *err)
{
	const char *word = argv[*i] + 2, *equals = strchr(word, '=');
	size_t length = equals ? (size_t)(equals - word) : strlen(word);
	const otp_arg *arg = find(args, count, word, length);
	if (!arg)
		return unknown(args, count, word, length, err);
	if (arg->kind == OTP_ARG_FLAG) {
		if (equals)
			return otp_fail(err, argv[*i], "takes no value");
		return *(bool *)arg->value = true;
	}
	const char *value = equals ? equals + 1 : *i + 1 < argc ? argv[++*i] : NULL;
	if (!value)
		return otp_fail(err, argv[*i], "needs a value");
	if (arg->kind == OTP_ARG_INT)
		return otp_args_int(arg->name, value, arg->min, arg->max, arg->value, err);
	if (arg->kind == OTP_ARG_SEED)
		return set_seed(arg, value, err);
	*(const char **)arg->value = value;
	return true;
}

static void print_help(const otp_arg *args, int count)
{
	for (int i = 0; i < count; i++)
		printf("  --%-14s %s\n", args[i].name, args[i].help);
}

bool otp_args_parse(int argc, char **argv, const otp_arg *args, int arg_count, const char **words, int most,
		    const char *usage, otp_error *err)
{
	int count = 0;
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			print_help(args, arg_count);
			return false;
		}
		if (strncmp(argv[i], "--", 2) == 0) {
			if (!take(argc, argv, &i, args, arg_count, err))
				return false;
		} else if (count < most) {
			words[count++] = argv[i];
		} else {
			return otp_fail(err, argv[i], "is one word too many, usage: %s", usage);
		}
	}
	return count == most || otp_fail(err, "usage", "%s", usage);
}
