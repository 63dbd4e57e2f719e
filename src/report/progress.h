/* progress: where a long run stands. On a terminal one live line; off it a
 * plain line now and then, rarer as the run gets longer; log.txt gets the plain
 * lines either way.
 */
#ifndef OTP_PROGRESS_H
#define OTP_PROGRESS_H

#include "report/metrics.h"

typedef struct otp_progress otp_progress;

/* The time still needed is judged from what is done after the first step that is shown. */
otp_progress *otp_progress_new(int64_t steps);
/* Call as often as figures are at hand: shows at most ten times a second. */
void otp_progress_show(otp_progress *p, const otp_metrics *m);
/* Takes the live line away. */
void otp_progress_free(otp_progress *p);

/* The line's text, cut to whole figures that fit `columns`; what was not
 * measured is left out. seconds_left < 0: unknown. */
void otp_progress_line(const otp_metrics *m, int64_t steps, double seconds_left, int columns, char *line,
		       size_t bytes);

#endif
