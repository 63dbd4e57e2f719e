/* args: one parser of a command line, for all commands: options of the command's
 * own, from a table; words; and, where a command takes them, the options of
 * config.def, kept as they were said for whoever knows their rank (options.h). */
#ifndef OTP_ARGS_H
#define OTP_ARGS_H

#include "core/base.h"
#include "core/size.h"

typedef enum otp_arg_kind {
	OTP_ARG_INT,
	OTP_ARG_SEED,
	OTP_ARG_REAL, /* above 0 */
	OTP_ARG_TEXT,
	OTP_ARG_SIZE, /* N or WIDTHxHEIGHT */
	OTP_ARG_PICK,
	OTP_ARG_FLAG
} otp_arg_kind;

/* One of a choice's words. */
typedef struct otp_pick {
	int chosen;		  /* its place among them, or a value below 0 as long as none is said */
	const char *const *words; /* NULL after the last */
} otp_pick;

typedef struct otp_arg {
	const char *name; /* without dashes */
	otp_arg_kind kind;
	void *value;  /* int *, uint64_t *, double *, const char **, otp_size *, otp_pick *, bool *; holds the
			 default */
	int min, max; /* INT; SIZE: max of a side */
	const char *help;
} otp_arg;

enum { OTP_MAX_SETTINGS = 256, OTP_MAX_WORDS = 128 };

/* An option of config.def as it stands on a command line. */
typedef struct otp_setting {
	char where[72]; /* "--key" */
	const char *value;
} otp_setting;

/* In order: the last of a key wins. */
typedef struct otp_settings_said {
	otp_setting each[OTP_MAX_SETTINGS];
	int count;
} otp_settings_said;

typedef struct otp_command_line {
	/* what the command takes */
	const otp_arg *args;
	int arg_count;
	const char *usage; /* names the words */
	int least_words, most_words;
	otp_settings_said *settings; /* NULL: no option of config.def */
	/* what was read */
	const char *words[OTP_MAX_WORDS];
	int word_count;
} otp_command_line;

/* After it all are words, whatever they begin with: POSIX, guideline 10. */
#define OTP_END_OF_OPTIONS "--"

/* Own options into their values, the rest into words and settings. False with err set, or because --help was
 * asked for: then the command's own options are on stdout and err is clear. */
bool otp_args_read(int argc, char **argv, otp_command_line *line, otp_error *err);

/* The same for commands with exactly `most` words and no option of config.def. */
bool otp_args_parse(int argc, char **argv, const otp_arg *args, int arg_count, const char **words, int most,
		    const char *usage, otp_error *err);

#endif
