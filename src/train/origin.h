/* origin: the networks that a new run starts from (--from): of a run (its newest checkpoint that is whole, or
 * its model), of a checkpoint, or of a model, which has the generator alone.
 */
#ifndef OTP_ORIGIN_H
#define OTP_ORIGIN_H

#include "train/game.h"

/* The settings below a new run's own. `preset` "": all that `from` was trained with, over its preset; else
 * that preset, with the data and the architecture of `from`. Schedules and parts are the new run's in any
 * case. */
bool otp_origin_settings(const char *from, const char *preset, otp_config *base, otp_error *err);
/* Refuses an architecture other than that of those settings. */
bool otp_origin_check(const otp_config *base, const otp_config *c, otp_error *err);

/* The networks of c->from into a game that was opened: the generator's moving average, which is what its
 * model does, and the potential. Adam's moments start anew. Says on the log what was taken. */
bool otp_origin_load(const otp_config *c, otp_game *g, otp_error *err);

#endif
