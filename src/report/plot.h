/* plot: curves as SVG, to stand in a page or as a file of their own. Text stays
 * text and lines stay sharp at every size.
 */
#ifndef OTP_PLOT_H
#define OTP_PLOT_H

#include "report/metrics.h"

/* What a curve is to be held against: dashed, under its name. */
typedef struct otp_reference {
	const char *name;
	const double *y; /* as long as the panel's; not finite: not known there */
} otp_reference;

enum { OTP_REFERENCES = 2 };

typedef struct otp_panel {
	const char *title, *unit; /* unit may be "" */
	const double *x, *y;	  /* x rising; y not finite: a gap */
	size_t count;
	double x_low, x_high;			  /* what the axis spans; equal: what x does */
	bool log_y;				  /* where all of y is above 0 */
	bool smooth;				  /* noisy: a moving average over the pale curve */
	otp_reference references[OTP_REFERENCES]; /* those with a name */
} otp_panel;

typedef enum otp_plot_layout {
	OTP_PLOT_SHEET, /* one <svg>, panels in two columns: a file */
	OTP_PLOT_TILES	/* an <svg> a panel: for a page that arranges them by its width */
} otp_plot_layout;

/* otp_free it. */
char *otp_plot_svg(const otp_panel *panels, int count, otp_plot_layout layout);
/* The curves of a run: distances and figures of the measurements, then losses, cost, sigma, and what else was
 * logged; names and units as in figures.def. otp_free it. */
char *otp_plot_training(const otp_metrics *rows, size_t count, otp_plot_layout layout);

/* Round numbers within [low, high], at most `most` of them. Returns how many. */
int otp_plot_ticks(double low, double high, int most, double *ticks);

#endif
