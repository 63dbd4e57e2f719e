/* forecast: how long a run takes, from what each of its parts took once.
 */
#ifndef OTP_FORECAST_H
#define OTP_FORECAST_H

#include "train/session.h"

/* Seconds of one outer step, of one measurement of the monitor, and of drawing one sample of the plan. */
typedef struct otp_forecast {
	double step, measure, sample;
} otp_forecast;

/* Seconds of the run's steps alone, and of all that it does until its report is written, but for writing
 * files. */
double otp_forecast_steps(const otp_forecast *f, const otp_config *c);
double otp_forecast_run(const otp_forecast *f, const otp_session *s);

enum { OTP_DURATION_TEXT = 32 };
/* "45 s", "12 min", "3.5 h", "2.1 days". */
const char *otp_duration_text(double seconds, char text[OTP_DURATION_TEXT]);

#endif
