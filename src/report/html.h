/* html: a run as one page that needs nothing else: no network, no other file.
 * Curves stand in it as SVG, pictures as base64. It is arranged for a desk and
 * for a phone.
 */
#ifndef OTP_HTML_H
#define OTP_HTML_H

#include "report/metrics.h"

typedef enum otp_mood { OTP_MOOD_PLAIN, OTP_MOOD_GOOD, OTP_MOOD_BAD } otp_mood;

/* A fact or figure: a name, its value in words, and what to read with it (a unit, a floor), which may be "".
 */
typedef struct otp_report_row {
	const char *name, *value, *note;
} otp_report_row;

typedef struct otp_report_picture {
	const char *path; /* a PNG file */
	const char *caption;
} otp_report_picture;

/* A verdict that stood for some time: its name, which steps, why, and what to try. */
typedef struct otp_report_finding {
	const char *name, *when, *figures, *advice;
} otp_report_finding;

/* What is said of a run; what its folder shows (curves, pictures) comes from there. */
typedef struct otp_report {
	const char *state;	     /* how far it came, a sentence */
	const otp_report_row *facts; /* what was trained with what: they stand at the top */
	int fact_count;
	const char *verdict; /* a sentence, in its mood */
	otp_mood mood;
	const otp_report_finding *findings;
	int finding_count;
	const char *figures_of; /* what the figures are of: a heading */
	const otp_report_row *figures;
	int figure_count;
	const char *pictures_note; /* what is to be seen in the pictures */
	const char *settings;	   /* text of config.ini; may be NULL */
} otp_report;

/* RUN/report.html from what lies in the run's folder (metrics.jsonl, samples/) and from what is said of it.
 * What is not there yet is left out. */
bool otp_report_write(const char *run, const otp_report *report, otp_error *err);

/* Text with & < > " ' made harmless; standard base64. otp_free them. */
char *otp_html_escape(const char *text);
char *otp_base64(const void *data, size_t bytes);

#endif
