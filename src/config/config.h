/* config: the settings of a run, expanded from config.def.
 *
 * Owns parsing of single values, --config files, presets, the nearest-key
 * message and RUN/config.ini. Rank, low to high: defaults, preset, --config,
 * command line; a resumed run reads RUN/config.ini and lets only options that
 * cannot change the result stand beside it.
 */
#ifndef OTP_CONFIG_H
#define OTP_CONFIG_H

#include "core/base.h"

enum { OTP_TEXT_BYTES = 1024 };

/* What an AUTO option holds while its value is left to the data. */
#define OTP_AUTO (-1.0)

typedef struct otp_config {
#define GROUP(title)
#define INT(key, field, value, min, max, help) int field;
#define REAL(key, field, value, min, max, help) double field;
#define AUTO(key, field, value, min, max, help) double field;
#define SEED(key, field, value, help) uint64_t field;
#define PICK(key, field, value, choices, help) char field[16];
#define FLAG(key, field, value, help) bool field;
#define TEXT(key, field, value, help) char field[OTP_TEXT_BYTES];
#include "config/config.def"
} otp_config;

void otp_config_defaults(otp_config *c);
/* Set one option by key ("batch", "batch_size" and other aliases too). `where`
 * names the origin for the error ("--batch", "run.ini:7"). */
bool otp_config_set(otp_config *c, const char *key, const char *value, const char *where, otp_error *err);
bool otp_config_knows(const char *key);
/* Whether key is a FLAG (its value may be left out on the command line); false for unknown keys. */
bool otp_config_is_flag(const char *key);
bool otp_config_preset(otp_config *c, const char *name, otp_error *err);
bool otp_config_read(otp_config *c, const char *path, otp_error *err);
/* Every option as `key = value`, in groups; numbers round-trip exactly. otp_free it. */
char *otp_config_text(const otp_config *c);
/* Parse such a text, e.g. the one stored in a checkpoint. */
bool otp_config_parse(otp_config *c, const char *text, const char *where, otp_error *err);
/* Checks between options: tau 0, geometric annealing to 0, and the like. */
bool otp_config_check(const otp_config *c, otp_error *err);
/* "1,2,2" into numbers; returns the count, or 0 with err set. */
int otp_config_list(const char *text, const char *key, int *values, int max, otp_error *err);
/* The help text of all options. otp_free it. */
char *otp_config_help(void);
/* The known key or word nearest to a mistyped one, or NULL (edit distance). */
const char *otp_config_nearest(const char *key);

#endif
