#include "train/forecast.h"
#include "train/evaluate.h"
#include "train/monitor.h"
#include "train/summary.h"
#include "train/trainer.h"

#include <stdio.h>

double otp_forecast_time_sample(const otp_session *s, otp_sampler *sampler)
{
	int64_t count = otp_train_picture_samples(&s->arch);
	size_t floats = (size_t)count * (size_t)s->arch.h * (size_t)s->arch.w * (size_t)s->arch.c;
	float *x = otp_calloc(floats, sizeof *x), *y = otp_calloc(floats, sizeof *y);
	otp_stream *streams = otp_calloc((size_t)count, sizeof *streams);
	double start = otp_seconds();
	otp_sampler_run(sampler, x, streams, count, otp_settings_sigma(&s->config, 1), y, NULL);
	double seconds = otp_seconds() - start;
	otp_free(x);
	otp_free(y);
	otp_free(streams);
	return seconds / (double)count;
}

/* How often what is due every so many steps, and at the last one, happens after `done` of them. */
static int64_t times(int64_t steps, int64_t done, int every)
{
	return (steps + every - 1) / every - done / every;
}

double otp_forecast_steps(const otp_forecast *f, const otp_config *c, int64_t done)
{
	return f->step * (double)(c->steps - done);
}

double otp_forecast_run(const otp_forecast *f, const otp_session *s, int64_t done)
{
	const otp_config *c = &s->config;
	/* The monitor measures after the first step too. */
	int64_t measured = (done == 0) + times(c->steps, done, otp_monitor_every(c, s->arch.vectors)),
		drawn = times(c->steps, done, c->sample_every) * otp_train_picture_samples(&s->arch);
	int inputs = otp_summary_inputs(c);
	int models = otp_session_holds_out(s) ? 2 : 1; /* the last, and where there is one the best */
	drawn += models * otp_evaluate_draws(otp_summary_count(s), inputs);
	return otp_forecast_steps(f, c, done) + (double)measured * f->measure + (double)drawn * f->sample;
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
