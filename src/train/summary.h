/* summary: what a finished run learned, in figures for a person and as a page. */
#ifndef OTP_SUMMARY_H
#define OTP_SUMMARY_H

#include "train/evaluate.h"
#include "train/session.h"

/* Evaluates RUN/model.h5 on the session's data, prints the figures on stdout,
 * and writes RUN/report.html and RUN/curves.svg. */
bool otp_summary_print(const otp_session *s, otp_place_of_work *place, otp_error *err);

/* One row of figures: name, value and what it should be. */
typedef struct otp_figure {
	const char *key;  /* as in --json */
	const char *name; /* for a person */
	double value;
	char truth[48]; /* what would be right, or "" */
} otp_figure;
enum { OTP_MAX_FIGURES = 16 };
int otp_evaluation_figures(const otp_evaluation *e, otp_figure figures[OTP_MAX_FIGURES]);

#endif
