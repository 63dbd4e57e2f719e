/* settings: what a configuration means, as networks, objective and schedule. */
#ifndef OTP_SETTINGS_H
#define OTP_SETTINGS_H

#include "config/config.h"
#include "ot/objective.h"
#include "ot/smoothing.h"

/* The networks for samples of h x w x c (vectors: 1 x 1 x d). */
bool otp_settings_arch(const otp_config *c, bool vectors, int h, int w, int channels, otp_arch *arch,
		       otp_error *err);

otp_objective otp_settings_objective(const otp_config *c, const otp_arch *arch);

/* Numbers for what is still left to other options: the schedule's length and what --start implies. */
void otp_settings_settle(otp_config *c);
/* The same for settings that a run has stored: before --parts it had one part for each of its threads. */
void otp_settings_settle_stored(otp_config *c);

/* Length in steps of annealing, decay and R1's way; beyond it each keeps its last value. */
int otp_settings_schedule(const otp_config *c);
/* sigma in force at step 1..steps; at the last step it is what translation uses. */
double otp_settings_sigma(const otp_config *c, int64_t step);
/* R1's weight at a step, without the lazy factor; it moves geometrically with the annealing's clock. */
double otp_settings_r1(const otp_config *c, int64_t step);
/* Share of the full learning rates at a step: warm-up, then the decay. */
double otp_settings_rate(const otp_config *c, int64_t step);

/* Into how many parts a batch is cut: as asked, by parts or by samples at a time, or one for each worker,
 * at most the batch. */
int otp_settings_parts(const otp_config *c, int workers);

/* The preset for data of this kind and size, on a GPU or on the CPU alone. */
const char *otp_settings_preset_for(bool vectors, int size, bool gpu);

#endif
