/* run: a run's folder on disk, and which checkpoint it goes on from. */
#ifndef OTP_RUN_H
#define OTP_RUN_H

#include "model/store.h"

/* RUN/<kind>/step-0000500.<ext>. otp_free it. */
char *otp_run_step_path(const char *run, const char *kind, int64_t step, const char *extension);
char *otp_run_path(const char *run, const char *name);

/* A folder for a new run: made where missing, refused where it holds one. */
bool otp_run_create(const char *run, otp_error *err);
/* Whether a new run may begin in the folder, which need not be there: it would replace nothing but what a run
 * left that was ended before it had begun. */
bool otp_run_may_begin(const char *run, otp_error *err);
/* Whether the folder holds a run (has a config.ini). */
bool otp_run_exists(const char *run);

/* Steps of all checkpoints, rising; how many, or -1 where the folder cannot be listed. otp_free *steps. */
int otp_run_checkpoints(const char *run, int64_t **steps, otp_error *err);
/* The newest checkpoint of step `most` at most that is whole, read. *path (otp_free it) is NULL where the run
 * has none. Damaged ones are passed over, and the log names them and says why. It fails where all are
 * damaged, and where the system refuses to read one (EIO, EACCES, ENOLCK, ...): that may pass, and is no
 * damage. */
bool otp_run_newest(const char *run, int64_t most, otp_stored *s, char **path, otp_error *err);
/* Delete all checkpoints before `step` but the newest `keep` - 1: that step's own is good and counts as one.
 * That of step 0 was to show that the disk takes one; any other replaces it. */
void otp_run_prune(const char *run, int64_t step, int keep);
/* Delete temporaries that a killed process left; nobody else may be writing into the run. */
void otp_run_sweep(const char *run);

#endif
