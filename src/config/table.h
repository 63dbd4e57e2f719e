/* table: config.def as rows, for the files of this folder. */
#ifndef OTP_CONFIG_TABLE_H
#define OTP_CONFIG_TABLE_H

#include "config/config.h"

#include <stdio.h>

typedef enum otp_option_kind {
	OTP_OPTION_GROUP,
	OTP_OPTION_INT,
	OTP_OPTION_OPEN,
	OTP_OPTION_SIZE,
	OTP_OPTION_REAL,
	OTP_OPTION_AUTO,
	OTP_OPTION_SEED,
	OTP_OPTION_PICK,
	OTP_OPTION_FLAG,
	OTP_OPTION_TEXT
} otp_option_kind;

typedef enum otp_tier { OTP_TIER_USER, OTP_TIER_EXPERT } otp_tier;

typedef struct otp_option {
	otp_option_kind kind;
	const char *key; /* or the group's title */
	size_t at;	 /* offset of the field in otp_config */
	size_t bytes;
	otp_scope scope;
	otp_tier tier;
	double least, most;
	const char *const *words; /* PICK: its names, NULL after the last */
	const char *help;
} otp_option;

extern const otp_option otp_option_rows[];
extern const int otp_option_count;
extern const otp_preset otp_presets[];
extern const int otp_preset_count;

/* By its key or one of its aliases; NULL: there is none. */
const otp_option *otp_option_find(const char *key);
static inline const void *otp_option_field(const otp_config *c, const otp_option *o)
{
	return (const char *)c + o->at;
}
/* Whether c leaves the option to be settled when a run starts. */
bool otp_option_is_open(const otp_config *c, const otp_option *o);
void otp_option_print_value(FILE *f, const otp_config *c, const otp_option *o);
/* A PICK's words: "linear|cosine". */
void otp_option_print_words(FILE *f, const otp_option *o);
/* A stream into a text that grows; fclose, then otp_free the text. */
FILE *otp_option_text(char **text, size_t *bytes);

#endif
