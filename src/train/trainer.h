/* trainer: time, data and files around the engine. One call trains a run from
 * its start or its last checkpoint to its end.
 */
#ifndef OTP_TRAINER_H
#define OTP_TRAINER_H

#include "engine/engine.h"
#include "train/session.h"

typedef enum otp_train_outcome {
	OTP_TRAIN_DONE,
	OTP_TRAIN_STOPPED, /* by a signal, with a checkpoint */
	OTP_TRAIN_TIME_UP, /* by --max-time, with a checkpoint */
	OTP_TRAIN_FAILED
} otp_train_outcome;

/* Trains in config.out, which nobody else may be writing to. The session's config has been checked; with
 * config.resume the folder's newest whole checkpoint is where it starts, else fresh weights or those of
 * config.from. stop.h says what ends it early. */
otp_train_outcome otp_train(otp_session *s, otp_runtime *runtime, otp_error *err);

/* How many samples a picture of a run shows. */
int64_t otp_train_picture_samples(const otp_arch *arch);
/* Bytes of memory that a picture of a run's samples takes while it is made. */
size_t otp_train_picture_bytes(const otp_arch *arch);

/* The settings text that travels in checkpoints and models: without what names only this machine's places. */
char *otp_train_settings_text(const otp_config *c);

#endif
