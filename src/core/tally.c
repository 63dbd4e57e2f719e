#include "core/tally.h"
#include "core/log.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

struct otp_tally {
	char *what;
	int64_t first, total;
	atomic_int_fast64_t done;
	double started;
	atomic_int_fast64_t look_ms; /* since the start: when the clock is to be acted on again */
	pthread_mutex_t lock;	     /* of what follows */
	double written, patience;    /* seconds: the last plain line, and until the next */
	bool any_written;
};

const char *otp_eta_text(double seconds, char text[OTP_ETA_TEXT])
{
	text[0] = 0;
	if (!(seconds >= 0 && seconds < 1e9))
		return text;
	long s = lround(seconds);
	if (s >= 48 * 3600)
		snprintf(text, OTP_ETA_TEXT, "ETA %ld days", lround(seconds / 86400));
	else if (s >= 3600)
		snprintf(text, OTP_ETA_TEXT, "ETA %ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
	else
		snprintf(text, OTP_ETA_TEXT, "ETA %ld:%02ld", s / 60, s % 60);
	return text;
}

otp_tally *otp_tally_new(const char *what, int64_t done, int64_t total)
{
	const double first_s = 5;
	otp_tally *t = otp_calloc(1, sizeof *t);
	t->what = otp_strdup(what);
	t->first = done;
	t->total = total;
	t->started = t->written = otp_seconds();
	t->patience = first_s;
	atomic_init(&t->done, done);
	pthread_mutex_init(&t->lock, NULL);
	return t;
}

static void show(otp_tally *t, double now)
{
	const double most_s = 120;
	char line[256], eta[OTP_ETA_TEXT];
	int64_t done = atomic_load(&t->done);
	double took = now - t->started, rate = took > 0 ? (double)(done - t->first) / took : 0;
	bool write = now - t->written >= t->patience;
	if (!otp_log_is_live() && !write)
		return;
	otp_eta_text(rate > 0 ? (double)(t->total - done) / rate : -1, eta);
	/* Floored: 100 % means done. */
	snprintf(line, sizeof line, "%s %" PRId64 "/%" PRId64 " %3.0f%%  %s  %.*f/s", t->what, done, t->total,
		 t->total ? floor(100.0 * (double)done / (double)t->total) : 100, eta, rate < 10, rate);
	otp_log_status(line);
	if (!write)
		return;
	(otp_log_is_live() ? otp_log_quietly : otp_log)("%s", line);
	t->any_written = true;
	t->written = now;
	t->patience = fmin(t->patience * 1.3, most_s);
}

void otp_tally_add(otp_tally *t, int64_t count)
{
	enum { LOOK_MS = 100 };
	double now = otp_seconds();
	int_fast64_t at = (int_fast64_t)((now - t->started) * 1000), due = atomic_load(&t->look_ms);
	atomic_fetch_add(&t->done, count);
	/* One thread of those that come at the same time. */
	if (at < due || !atomic_compare_exchange_strong(&t->look_ms, &due, at + LOOK_MS))
		return;
	pthread_mutex_lock(&t->lock);
	show(t, now);
	pthread_mutex_unlock(&t->lock);
}

void otp_tally_free(otp_tally *t)
{
	if (!t)
		return;
	int64_t done = atomic_load(&t->done);
	double took = otp_seconds() - t->started;
	otp_log_status(NULL);
	if (t->any_written)
		otp_log("%s %" PRId64 "/%" PRId64 " in %.0f s", t->what, done, t->total, took);
	pthread_mutex_destroy(&t->lock);
	otp_free(t->what);
	otp_free(t);
}
