/* session: a configuration met with its data. Opens both sides, settles size
 * and channels, and says what will be trained.
 */
#ifndef OTP_SESSION_H
#define OTP_SESSION_H

#include "config/points.h"
#include "config/sigma_end.h"
#include "config/settings.h"
#include "data/dataset.h"
#include "engine/runtime.h"
#include "nn/roles.h"

typedef struct otp_session {
	otp_config config;
	otp_dataset *source, *target; /* trained on; some samples may be withheld from that */
	otp_dataset *test[OTP_SIDES]; /* measured with instead, where such a set was given; else NULL */
	int64_t withheld[OTP_SIDES];  /* samples that were taken from training */
	otp_dataset_info source_info, target_info;
	otp_preprocessing preprocessing; /* of images */
	otp_arch arch;
	otp_objective objective;
	otp_smoothing smoothing;
	otp_points points;	 /* what --preset vector took from the data */
	otp_sigma_end sigma_end; /* why config.sigma_end is what it is, where it was auto */
} otp_session;

/* --task colorize --data D becomes --source and --target, D's grey half and its half in colour.
 * --dataroot ROOT becomes --source and --target, --test-source and --test-target, by --direction
 * (data/root.h).
 */
bool otp_session_resolve_data(otp_config *c, otp_error *err);
/* Where both sides are missing, both are named; one that is missing is named as it is opened. */
bool otp_session_find_data(const otp_config *c, otp_error *err);

/* Paths of data sets and --from as they are named from any folder, so that a run goes on from
 * wherever it is resumed. */
bool otp_session_absolute_paths(otp_config *c, otp_error *err);

/* Kind and larger side of a data set, for the choice of a preset. */
bool otp_session_look(const char *spec, bool *vectors, int *size, otp_error *err);

/* Opens the device, precision and threads that c asks for, and writes into c what these are where it says
 * auto; and into how many parts the batch is cut. */
bool otp_session_open_runtime(otp_config *c, bool vectors, otp_group *group, otp_runtime *runtime,
			      otp_error *err);

/* Opens both data sets and settles what the configuration leaves to them, from headers and, for points, a
 * sample of the source: enough to say what will be trained and what it takes. Samples can be had after
 * otp_session_load, which reads what is to lie in memory and settles --sigma-end auto. On failure nothing
 * stays open. */
bool otp_session_plan(const otp_config *c, otp_session *s, otp_error *err);
bool otp_session_load(otp_session *s, otp_error *err);
/* Both. */
bool otp_session_open(const otp_config *c, otp_session *s, otp_error *err);
void otp_session_close(otp_session *s);

/* ---- held-out samples ---- */

/* What the figures of a run are of. */
typedef enum otp_held {
	OTP_HELD_NOTHING,  /* samples that training draws too: too few to withhold any, or --withhold 0 */
	OTP_HELD_WITHHELD, /* samples that training never draws */
	OTP_HELD_TEST,	   /* a set of its own */
	OTP_HELD_FRESH,	   /* generated anew */
} otp_held;

/* The set that figures of this side are of; otp_evaluate_index numbers its samples. */
const otp_dataset *otp_session_measured(const otp_session *s, otp_side side);
otp_held otp_session_held(const otp_session *s, otp_side side);
/* Whether both sides' figures are of samples that training never draws. */
bool otp_session_holds_out(const otp_session *s);
/* "held-out samples", or which side's are trained on. */
const char *otp_session_measured_on(const otp_session *s);
/* "source 1024 of 60000 samples, withheld; target 120 samples of ROOT/testB". otp_free it. */
char *otp_session_held_text(const otp_session *s);

/* "60000 samples", or "generated". */
enum { OTP_COUNT_TEXT = 40 };
const char *otp_session_count(const otp_dataset_info *info, char text[OTP_COUNT_TEXT]);

/* Says on the log what is allowed but seldom meant: vectors of a scale that sigma and tau were not made for,
 * one set on both sides. */
bool otp_session_hint(const otp_session *s, otp_error *err);

#endif
