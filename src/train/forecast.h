/* forecast: how long a run takes, from what each of its parts took once.
 */
#ifndef OTP_FORECAST_H
#define OTP_FORECAST_H

#include "engine/sampler.h"
#include "train/session.h"

/* Seconds of one outer step, of one measurement of the monitor, and of drawing one sample of the plan. */
typedef struct otp_forecast {
	double step, measure, sample;
} otp_forecast;

/* Seconds of drawing one sample, tried on as many as a picture shows. */
double otp_forecast_time_sample(const otp_session *s, otp_sampler *sampler);

/* Seconds of the steps after `done`, alone, and of all that a run does from there until its report is
 * written, but for writing files. */
double otp_forecast_steps(const otp_forecast *f, const otp_config *c, int64_t done);
double otp_forecast_run(const otp_forecast *f, const otp_session *s, int64_t done);

enum { OTP_DURATION_TEXT = 32 };
/* "45 s", "12 min", "3.5 h", "2.1 days". */
const char *otp_duration_text(double seconds, char text[OTP_DURATION_TEXT]);

#endif
