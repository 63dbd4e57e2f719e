/* monitor: what the plan learned so far does to a batch, held out where any samples are
 * (otp_session_held), and what that says about the run. The batch and its noise are fixed for the whole run;
 * outputs are the moving average's, at the step's own sigma. It reads the
 * training and never touches it.
 */
#ifndef OTP_MONITOR_H
#define OTP_MONITOR_H

#include "engine/sampler.h"
#include "report/metrics.h"
#include "train/session.h"

typedef struct otp_monitor otp_monitor;

/* `sampler` follows the training and draws its own noise. NULL with err set where data cannot be read. */
otp_monitor *otp_monitor_new(const otp_session *s, otp_sampler *sampler, otp_error *err);
/* Bytes of memory that it takes. */
size_t otp_monitor_bytes(const otp_session *s);
void otp_monitor_free(otp_monitor *m);

/* The run so far, of one that is continued; rows by rising step. */
void otp_monitor_recall(otp_monitor *m, const otp_metrics *rows, size_t count);

/* Forgets what was measured after that step. */
void otp_monitor_forget(otp_monitor *m, int64_t step);

/* Completes a logged step's row, whose potential_gap is still E V(y) - E V(T):
 * brings that and the slope to their scale, measures where the step is due,
 * else repeats the last figures, and says which verdicts appear or clear. */
void otp_monitor_look(otp_monitor *m, otp_metrics *row);

/* Whether the last look measured, and found the least distance of the run so far: of patches where there are
 * pictures, else of the law. */
bool otp_monitor_found_best(const otp_monitor *m, int64_t step);

/* Steps between measurements: a function of the settings alone. */
int otp_monitor_every(const otp_config *c, bool vectors);

#endif
