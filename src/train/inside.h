/* inside: a run under way, as trainer.c (its steps), state.c (what checkpoints keep of it) and samples.c (its
 * pictures) share it. Nobody else looks inside.
 */
#ifndef OTP_TRAIN_INSIDE_H
#define OTP_TRAIN_INSIDE_H

#include "model/store.h"
#include "report/progress.h"
#include "train/game.h"
#include "train/monitor.h"
#include "train/rollback.h"
#include "train/trainer.h"

/* A run under way. */
typedef struct otp_trainer {
	otp_session *session;
	const otp_config *config;
	otp_game game;
	otp_sampler *sampler;
	otp_monitor *monitor;
	otp_metrics_log *metrics;
	otp_progress *progress;
	int64_t first_step; /* so that steps done here count since then */
	double time_before, started;
	otp_sigma_by sigma_by;
	int64_t paced_from; /* step from which the first steps are timed; -1 once the time was told */
	double paced_since;
	double looked_s;     /* what the last measurement took */
	double sample_s;     /* what drawing one sample takes */
	int rollbacks;	     /* of the run so far */
	otp_trouble trouble; /* found, and not yet dealt with */
	otp_metrics row;     /* the last that was measured */
	float *picture_x, *picture_targets;
	int picture_rows, picture_samples, picture_target_count;
	otp_error *err;
} otp_trainer;

/* The processes that train together; NULL: one alone. */
otp_group *otp_trainer_group(const otp_trainer *t);
bool otp_trainer_leads(const otp_trainer *t);
/* What process 0 does for all, files above all: it fails for all, too. */
bool otp_trainer_by_lead(otp_trainer *t, bool (*act)(otp_trainer *t));

/* Seconds that the run has trained, pauses left out. */
double otp_trainer_time(const otp_trainer *t);
/* Model and checkpoint of this step. False with t->trouble where the state is not finite, else with t->err.
 */
bool otp_trainer_save(otp_trainer *t);
/* RUN/model-best.h5, whose sigma is this step's. */
bool otp_trainer_save_best(otp_trainer *t);
/* Goes on from the newest checkpoint, if one is `found`. */
bool otp_trainer_restore(otp_trainer *t, bool *found);

/* The fixed inputs and targets that pictures show. */
bool otp_trainer_read_pictures(otp_trainer *t);
/* Real targets, which a page shows beside the samples; of points the samples' own picture has them. */
bool otp_trainer_save_targets(otp_trainer *t);
bool otp_trainer_save_picture(otp_trainer *t);

#endif
