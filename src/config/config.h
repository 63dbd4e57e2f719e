/* config: the settings of a run, expanded from config.def.
 *
 * Owns parsing of single values, --config files, presets, the nearest-key
 * message and RUN/config.ini. Rank, low to high: defaults, preset, --config,
 * command line. A resumed run reads RUN/config.ini instead of defaults and preset,
 * and refuses a --config or a command line that would change the result.
 */
#ifndef OTP_CONFIG_H
#define OTP_CONFIG_H

#include "core/base.h"
#include "core/choice.h"
#include "core/size.h"
#include "core/words.h"
#include "pictures/preprocessing.h"
#include "ot/objective.h"
#include "ot/smoothing.h"

enum { OTP_TEXT_BYTES = 1024 };

/* What an AUTO option holds while its value is left to the data or to other options. */
#define OTP_AUTO (-1.0)

/* ---- choices that mean something here alone ------------------------------ */

#define OTP_CHOICES_otp_direction(X) X(OTP_DIRECTION_A_TO_B, "AtoB") X(OTP_DIRECTION_B_TO_A, "BtoA")
OTP_CHOICE(otp_direction);

#define OTP_CHOICES_otp_task(X) X(OTP_TASK_NONE, "none") X(OTP_TASK_COLORIZE, "colorize")
OTP_CHOICE(otp_task);

#define OTP_CHOICES_otp_data_on_device(X)                                                                    \
	X(OTP_DATA_ON_DEVICE_AUTO, "auto") X(OTP_DATA_ON_DEVICE_ON, "on") X(OTP_DATA_ON_DEVICE_OFF, "off")
OTP_CHOICE(otp_data_on_device);

#define OTP_CHOICES_otp_where(X)                                                                             \
	X(OTP_WHERE_AUTO, "auto")                                                                            \
	X(OTP_WHERE_CPU, "cpu")                                                                              \
	X(OTP_WHERE_CUDA, "cuda")                                                                            \
	X(OTP_WHERE_CUDA_0, "cuda:0")                                                                        \
	X(OTP_WHERE_CUDA_1, "cuda:1")                                                                        \
	X(OTP_WHERE_CUDA_2, "cuda:2")                                                                        \
	X(OTP_WHERE_CUDA_3, "cuda:3")                                                                        \
	X(OTP_WHERE_CUDA_4, "cuda:4")                                                                        \
	X(OTP_WHERE_CUDA_5, "cuda:5")                                                                        \
	X(OTP_WHERE_CUDA_6, "cuda:6")                                                                        \
	X(OTP_WHERE_CUDA_7, "cuda:7")
OTP_CHOICE(otp_where);

#define OTP_CHOICES_otp_cost_from(X) X(OTP_COST_FROM_SMOOTHED, "smoothed") X(OTP_COST_FROM_CLEAN, "clean")
OTP_CHOICE(otp_cost_from);

#define OTP_CHOICES_otp_decay(X)                                                                             \
	X(OTP_DECAY_CONSTANT, "constant") X(OTP_DECAY_LINEAR, "linear") X(OTP_DECAY_COSINE, "cosine")
OTP_CHOICE(otp_decay);

#define OTP_CHOICES_otp_start(X) X(OTP_START_PLAIN, "plain") X(OTP_START_AIMED, "aimed")
OTP_CHOICE(otp_start);

/* ---- settings ------------------------------------------------------------ */

/* Rows of config.def, groups included. */
enum {
	OTP_OPTION_ROWS = 0
#define GROUP(title) +1
#define OPEN(key, field, scope, tier, min, max, help) +1
#define SIZE(key, field, scope, tier, max, help) +1
#define INT(key, field, scope, tier, value, min, max, help) +1
#define REAL(key, field, scope, tier, value, min, max, help) +1
#define AUTO(key, field, scope, tier, value, min, max, help) +1
#define SEED(key, field, scope, tier, value, help) +1
#define PICK(key, field, scope, tier, value, type, help) +1
#define FLAG(key, field, scope, tier, value, help) +1
#define TEXT(key, field, scope, tier, value, help) +1
#include "config/config.def"
};

typedef struct otp_config {
#define GROUP(title)
#define INT(key, field, scope, tier, value, min, max, help) int field;
#define OPEN(key, field, scope, tier, min, max, help) int field;
#define SIZE(key, field, scope, tier, max, help) otp_size field;
#define REAL(key, field, scope, tier, value, min, max, help) double field;
#define AUTO(key, field, scope, tier, value, min, max, help) double field;
#define SEED(key, field, scope, tier, value, help) uint64_t field;
#define PICK(key, field, scope, tier, value, type, help) type field;
#define FLAG(key, field, scope, tier, value, help) bool field;
#define TEXT(key, field, scope, tier, value, help) char field[OTP_TEXT_BYTES];
#include "config/config.def"
	/* Rows of config.def that a file or a command line has set; what a preset sets is open to better
	 * knowledge. */
	bool said[OTP_OPTION_ROWS];
} otp_config;

/* How far an option reaches (config.def); a set of scopes is their sum. */
typedef enum otp_scope {
	OTP_SCOPE_COMMAND = 1,
	OTP_SCOPE_MACHINE = 2,
	OTP_SCOPE_RUN = 4,
	OTP_SCOPE_KEPT = OTP_SCOPE_MACHINE | OTP_SCOPE_RUN, /* what config.ini holds */
} otp_scope;

void otp_config_defaults(otp_config *c);
/* What settings that were stored some time ago mean where they lack an option: what was done before it. */
void otp_config_defaults_stored(otp_config *c);
/* Set one option by key ("batch", "batch_size" and other aliases too; names of earlier versions become what
 * they mean now). `where` names the origin for the error ("--batch", "run.ini:7"). */
bool otp_config_set(otp_config *c, const char *key, const char *value, const char *where, otp_error *err);
bool otp_config_knows(const char *key);
/* Whether a file or the command line has set the option, be it to its default; a preset's lines do not count.
 */
bool otp_config_said(const otp_config *c, const char *key);
/* Whether key is a name of earlier versions: it adds to what others say, so it is set after them. */
bool otp_config_is_retired(const char *key);
/* Whether key is a FLAG (its value may be left out on the command line); false for unknown keys. */
bool otp_config_is_flag(const char *key);
bool otp_config_read(otp_config *c, const char *path, otp_error *err);
/* The options of these scopes as `key = value`, in groups; numbers round-trip exactly. otp_free it. */
char *otp_config_text(const otp_config *c, otp_scope scopes);
/* One option's value as such a text has it. otp_free it. */
char *otp_config_value(const otp_config *c, const char *key);
/* Parse such a text, e.g. the one stored in a checkpoint. */
bool otp_config_parse(otp_config *c, const char *text, const char *where, otp_error *err);
/* The first option of these scopes in which a and b differ, or NULL. */
const char *otp_config_difference(const otp_config *a, const otp_config *b, otp_scope scopes);
/* Every option of these scopes that c leaves open (0 or auto where these mean that a run settles it when it
 * starts; an empty text) takes the value of `from`. */
void otp_config_settle(otp_config *c, const otp_config *from, otp_scope scopes);

/* "11h50m", "1d", "90s", "90" (seconds) into seconds; "" is 0. */
bool otp_config_duration(const char *text, const char *key, double *seconds, otp_error *err);

/* "8G", "500M", "1.5GiB", "4096" (bytes) into bytes; "" is 0. */
bool otp_config_bytes(const char *text, const char *key, size_t *bytes, otp_error *err);

/* Into how many parts a batch is cut that is computed `most` samples at a time; and the most there can be. */
enum { OTP_CONFIG_MOST_PARTS = 1024 };
static inline int otp_config_pieces(int batch, int most) { return (batch + most - 1) / most; }

/* Checks between options: tau 0, geometric annealing to 0, and the like. */
bool otp_config_check(const otp_config *c, otp_error *err);
/* "1,2,2" into numbers; returns the count, or 0 with err set. */
int otp_config_list(const char *text, const char *key, int *values, int max, otp_error *err);
/* --attention: such a list, or "none" for 0 sizes; the count, or -1 with err set. */
int otp_config_attention(const otp_config *c, int *values, int max, otp_error *err);

/* The help text of the options: of the USER tier, or of all. otp_free it. */
char *otp_config_help(bool all);
/* Offers every key to a search for the nearest name; the nearest to a mistyped one, or NULL. */
void otp_config_consider(otp_word_search *search);
const char *otp_config_nearest(const char *key);

/* ---- presets ------------------------------------------------------------- */

typedef struct otp_preset {
	const char *name;
	bool vectors, for_gpu;
	const char *meaning, *lines;
} otp_preset;

/* NULL with err set where there is none of that name. */
const otp_preset *otp_preset_find(const char *name, otp_error *err);
/* A preset's lines and its name into c. */
bool otp_config_preset(otp_config *c, const char *name, otp_error *err);

#endif
