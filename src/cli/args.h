/* args: the options of commands that do not train, one table a command. */
#ifndef OTP_ARGS_H
#define OTP_ARGS_H

#include "core/base.h"

typedef enum otp_arg_kind { OTP_ARG_INT, OTP_ARG_SEED, OTP_ARG_TEXT, OTP_ARG_FLAG } otp_arg_kind;

typedef struct otp_arg {
	const char *name; /* without dashes */
	otp_arg_kind kind;
	void *value;  /* int *, uint64_t *, const char **, bool *; holds the default */
	int min, max; /* INT */
	const char *help;
} otp_arg;

/* Options into their values, the rest into `words` (exactly `most` of them);
 * false with err set, or because *help was asked for: then the options are on
 * stdout and err is clear. `usage` names the words. */
bool otp_args_parse(int argc, char **argv, const otp_arg *args, int arg_count, const char **words, int most,
		    const char *usage, otp_error *err);

/* One whole number from min to max; `name` without dashes. */
bool otp_args_int(const char *name, const char *text, int min, int max, int *value, otp_error *err);

#endif
