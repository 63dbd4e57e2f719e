/* summary: what a finished run learned, in figures for a person and as a page. */
#ifndef OTP_SUMMARY_H
#define OTP_SUMMARY_H

#include "report/figures.h"
#include "train/evaluate.h"
#include "train/session.h"

/* How many inputs are measured, and samples of one of them: 512, fewer after a run so short that drawing them
 * would take longer than the run did. */
int otp_summary_inputs(const otp_config *c);
/* How many of these the measured data have. */
int64_t otp_summary_count(const otp_session *s);

/* Evaluates RUN/model.h5 on the session's data, prints the figures on stdout,
 * and writes RUN/report.html and RUN/curves.svg. */
bool otp_summary_write(const otp_session *s, otp_runtime *runtime, otp_error *err);

/* Against known images: added to the figures. */
void otp_map_error_figures(const otp_map_error *e, otp_figures *figures);

/* An evaluation's figures; returns how many. */
int otp_evaluation_figures(const otp_evaluation *e, otp_figure figures[OTP_MAX_FIGURES]);

#endif
