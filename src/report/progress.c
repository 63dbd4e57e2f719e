/* progress: timing of the line and its wording; core/log.h does the drawing. */
#include "report/progress.h"
#include "core/log.h"
#include "report/figures.h"
#include "core/tally.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

struct otp_progress {
	int64_t steps,
	    paced_from; /* the first step that was shown, which loads code and measures; -1: none yet */
	double paced_since, shown, written; /* seconds on the monotonic clock */
	double patience;		    /* seconds until the next plain line */
};

otp_progress *otp_progress_new(int64_t steps)
{
	otp_progress *p = otp_calloc(1, sizeof *p);
	double now = otp_seconds();
	*p = (otp_progress){steps, -1, 0, now - 1, now - 60, 5};
	return p;
}

/* Append "  text" when it fits as a whole. */
static void add(char *line, size_t room, const char *text)
{
	size_t used = strlen(line), gap = used > 0 ? 2 : 0;
	if (used + gap + strlen(text) < room)
		snprintf(line + used, room - used, "%s%s", gap ? "  " : "", text);
}

static void add_figure(char *line, size_t room, const char *key, const char *fmt, double value)
{
	char figure[80], text[128];
	if (isnan(value))
		return;
	snprintf(figure, sizeof figure, fmt, value);
	snprintf(text, sizeof text, "%s %s", otp_figure_find(key)->name, figure);
	add(line, room, text);
}

/* Of pictures what their patches show: whole ones hardly move. */
static void add_distance(char *line, size_t room, const otp_metrics *m)
{
	bool patches = isfinite(m->patch_distance);
	double floor = patches ? m->patch_floor : m->target_floor;
	char fmt[80], when[32] = "", least[32] = "";
	if (isfinite(m->measured_at) && (int64_t)m->measured_at != m->step)
		snprintf(when, sizeof when, " at step %.0f", m->measured_at);
	if (isfinite(floor))
		snprintf(least, sizeof least, " (floor %.3g)", floor);
	snprintf(fmt, sizeof fmt, "%%.3g%s%s", when, least);
	add_figure(line, room, patches ? "patch_distance" : "target_distance", fmt, otp_metrics_distance(m));
}

void otp_progress_line(const otp_metrics *m, int64_t steps, double seconds_left, int columns, char *line,
		       size_t bytes)
{
	size_t room = (size_t)(columns > 0 ? columns : 0) + 1;
	room = room < bytes ? room : bytes;
	char text[128], eta[OTP_ETA_TEXT];
	int digits = snprintf(NULL, 0, "%" PRId64, steps);
	double share = steps > 0 ? 100.0 * (double)m->step / (double)steps : 100;
	line[0] = '\0';
	/* Floored: 100 % means done. */
	snprintf(text, sizeof text, "step %*" PRId64 "/%" PRId64 " %3.0f%%", digits, m->step, steps,
		 floor(share));
	add(line, room, text);
	otp_eta_text(seconds_left, eta);
	if (*eta)
		add(line, room, eta);
	if (m->verdicts) {
		otp_verdicts_text(m->verdicts, text, sizeof text);
		add(line, room, text);
	}
	add_distance(line, room, m);
	add_figure(line, room, "sigma", "%.3f", m->sigma);
	add_figure(line, room, "cost", "%.4g", m->cost);
	add_figure(line, room, "loss_transport", "%+.4g", m->loss_transport);
	add_figure(line, room, "loss_potential", "%+.4g", m->loss_potential);
	add_figure(line, room, "images_per_s", "%.3g", m->images_per_s);
}

void otp_progress_show(otp_progress *p, const otp_metrics *m)
{
	double now = otp_seconds();
	bool last = m->step >= p->steps;
	if (p->paced_from < 0) {
		p->paced_from = m->step;
		p->paced_since = now;
	}
	bool show = otp_log_is_live() && now - p->shown >= 0.1;
	bool write = last || now - p->written >= p->patience;
	if (!show && !write)
		return;
	int64_t done = m->step - p->paced_from;
	double left = done > 0 ? (now - p->paced_since) / (double)done * (double)(p->steps - m->step) : -1;
	char line[256];
	if (write) {
		otp_progress_line(m, p->steps, last ? -1 : left, 200, line, sizeof line);
		(otp_log_is_live() ? otp_log_quietly : otp_log)("%s", line);
		p->written = now;
		p->patience = fmin(p->patience * 1.3, 120);
	}
	if (show) {
		otp_progress_line(m, p->steps, left, otp_log_columns() - 1, line, sizeof line);
		otp_log_status(line);
		p->shown = now;
	}
}

void otp_progress_free(otp_progress *p)
{
	if (p)
		otp_log_status(NULL);
	otp_free(p);
}
