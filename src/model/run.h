/* run: a run's folder on disk, and which checkpoint it goes on from. */
#ifndef OTP_RUN_H
#define OTP_RUN_H

#include "core/base.h"

/* RUN/<kind>/step-0000500.<ext>. otp_free it. */
char *otp_run_step_path(const char *run, const char *kind, int64_t step, const char *extension);
char *otp_run_path(const char *run, const char *name);

/* A folder for a new run: made where missing, refused where it holds one. */
bool otp_run_create(const char *run, otp_error *err);
/* Whether the folder holds a run (has a config.ini). */
bool otp_run_exists(const char *run);

/* Steps of all checkpoints, rising; returns how many. otp_free *steps. */
int otp_run_checkpoints(const char *run, int64_t **steps);
/* Delete all checkpoints but the newest `keep`. */
void otp_run_prune(const char *run, int keep);
/* Delete temporaries that a killed process left; nobody else may be writing into the run. */
void otp_run_sweep(const char *run);

#endif
