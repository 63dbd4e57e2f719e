#include "train/forecast.h"
#include "train/evaluate.h"
#include "train/monitor.h"
#include "train/summary.h"
#include "train/trainer.h"

#include <stdio.h>

/* How often what is due every so many steps, and at the last one, happens. */
static int64_t times(int64_t steps, int every) { return (steps + every - 1) / every; }

double otp_forecast_steps(const otp_forecast *f, const otp_config *c) { return f->step * c->steps; }

double otp_forecast_run(const otp_forecast *f, const otp_session *s)
{
	const otp_config *c = &s->config;
	/* The monitor measures after the first step too. */
	int64_t measured = 1 + times(c->steps, otp_monitor_every(c, s->arch.vectors)),
		drawn = times(c->steps, c->sample_every) * otp_train_picture_samples(&s->arch);
	int inputs = otp_summary_inputs(c);
	drawn += otp_evaluate_draws(otp_summary_count(s), inputs);
	return otp_forecast_steps(f, c) + (double)measured * f->measure + (double)drawn * f->sample;
}

const char *otp_duration_text(double seconds, char text[OTP_DURATION_TEXT])
{
	const double minute = 60, hour = 3600, day = 86400;
	if (seconds < 2 * minute)
		snprintf(text, OTP_DURATION_TEXT, "%.0f s", seconds);
	else if (seconds < 2 * hour)
		snprintf(text, OTP_DURATION_TEXT, "%.0f min", seconds / minute);
	else if (seconds < 2 * day)
		snprintf(text, OTP_DURATION_TEXT, "%.1f h", seconds / hour);
	else
		snprintf(text, OTP_DURATION_TEXT, "%.1f days", seconds / day);
	return text;
}
