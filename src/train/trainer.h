/* trainer: time, data and files around the engine. One call trains a run from
 * its start or its last checkpoint to its end.
 */
#ifndef OTP_TRAINER_H
#define OTP_TRAINER_H

#include "engine/engine.h"
#include "train/session.h"

#include <signal.h>

typedef enum otp_train_outcome { OTP_TRAIN_DONE, OTP_TRAIN_INTERRUPTED, OTP_TRAIN_FAILED } otp_train_outcome;

/* Trains in config.out. The session's config has been checked; with
 * config.resume the folder's newest checkpoint is where it starts. A set
 * *stop ends it after the step in hand, with a checkpoint. */
otp_train_outcome otp_train(otp_session *s, otp_runtime *runtime, const volatile sig_atomic_t *stop,
			    otp_error *err);

/* Bytes of memory that a picture of a run's samples takes while it is made. */
size_t otp_train_picture_bytes(const otp_arch *arch);

/* The settings text that travels in checkpoints and models: without what names only this machine's places. */
char *otp_train_settings_text(const otp_config *c);

#endif
