/* summary: what a run is and what it learned, for a person: RUN/summary.json,
 * lines on the terminal, and the pages (report.html, curves.svg), which can be
 * made from the run's folder alone at any time.
 */
#ifndef OTP_SUMMARY_H
#define OTP_SUMMARY_H

#include "report/figures.h"
#include "report/metrics.h"
#include "train/evaluate.h"
#include "train/session.h"

/* How many inputs are measured, and samples of one of them: 512, fewer after a run so short that drawing them
 * would take longer than the run did. */
int otp_summary_inputs(const otp_config *c);
/* How many of these the measured data have. */
int64_t otp_summary_count(const otp_session *s);

/* RUN/summary.json of a training that begins or goes on: what is trained with what. parameters: of both
 * networks. */
bool otp_summary_begin(const otp_session *s, const otp_runtime *runtime,
		       const int64_t parameters[OTP_NETWORKS], otp_error *err);

/* Of a finished run: evaluates RUN/model.h5 on the session's data, adds the figures to RUN/summary.json,
 * writes the pages and prints all of it on stdout. */
bool otp_summary_write(const otp_session *s, otp_runtime *runtime, otp_error *err);

/* RUN/report.html and RUN/curves.svg from what lies in the folder: of a run that is in training (live),
 * interrupted or finished. Fails where the folder holds no run. */
bool otp_summary_pages(const char *run, bool live, otp_error *err);
/* The last step that was trained: of the newest checkpoint, or of a later record of metrics.jsonl. rows: what
 * otp_metrics_read made of that. */
int64_t otp_summary_step(const char *run, const otp_metrics *rows, size_t count);
/* Says on stdout where the page is. */
void otp_summary_point(const char *run);

/* Against known images: added to the figures. */
void otp_map_error_figures(const otp_map_error *e, otp_figures *figures);
/* An evaluation's figures. */
void otp_evaluation_figures(const otp_evaluation *e, otp_figures *figures);

#endif
