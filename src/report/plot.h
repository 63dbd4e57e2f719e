/* plot: curves as SVG, to stand in a page or as a file of their own. Text stays
 * text and lines stay sharp at every size.
 */
#ifndef OTP_PLOT_H
#define OTP_PLOT_H

#include "report/metrics.h"

typedef struct otp_panel {
	const char *title;
	const double *x, *y; /* x rising; y not finite: a gap */
	size_t count;
	bool log_y;  /* where all of y is above 0 */
	bool smooth; /* noisy: a moving average over the pale curve */
} otp_panel;

/* Panels side by side in `columns`, then below; a whole <svg> element. otp_free it. */
char *otp_plot_svg(const otp_panel *panels, int count, int columns);
/* The curves of a run: losses, cost, sigma, and what else was measured. otp_free it. */
char *otp_plot_training(const otp_metrics *rows, size_t count);

/* Round numbers within [low, high], at most `most` of them. Returns how many. */
int otp_plot_ticks(double low, double high, int most, double *ticks);

#endif
