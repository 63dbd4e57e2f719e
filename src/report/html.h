/* html: a run as one page that needs nothing else: no network, no other file.
 * Curves stand in it as SVG, pictures as base64.
 */
#ifndef OTP_HTML_H
#define OTP_HTML_H

#include "report/metrics.h"

typedef enum otp_mood { OTP_MOOD_PLAIN, OTP_MOOD_GOOD, OTP_MOOD_BAD } otp_mood;

/* A finding or figure: a name and its value in words. */
typedef struct otp_report_row {
	const char *name, *value;
	otp_mood mood;
} otp_report_row;

typedef struct otp_report_picture {
	const char *path; /* a PNG file */
	const char *caption;
} otp_report_picture;

/* A verdict that stood for some time: its name, which steps, why, and what to try. */
typedef struct otp_report_finding {
	const char *name, *when, *figures, *advice;
} otp_report_finding;

typedef struct otp_report_findings {
	const otp_report_finding *each;
	int count;
	const char *note; /* what was looked for */
} otp_report_findings;

typedef struct otp_report {
	const char *title, *subtitle; /* subtitle may be NULL */
	const otp_report_row *rows;
	int row_count;
	const otp_report_findings *findings; /* may be NULL: not looked for */
	const otp_metrics *metrics;
	size_t metric_count;
	const otp_report_picture *pictures; /* over time; the last one is shown first */
	int picture_count;
	const char *pictures_note; /* what is to be seen in them; may be NULL */
	const char *settings;	   /* text of config.ini; may be NULL */
} otp_report;

bool otp_report_write(const char *path, const otp_report *report, otp_error *err);

/* RUN/report.html from what lies in the run's folder (metrics.jsonl, samples/)
 * and the rows and findings given. What is not there yet is left out. */
bool otp_report_run(const char *run, const char *settings, const otp_report_row *rows, int row_count,
		    const otp_report_findings *findings, otp_error *err);

/* Text with & < > " ' made harmless; standard base64. otp_free them. */
char *otp_html_escape(const char *text);
char *otp_base64(const void *data, size_t bytes);

#endif
