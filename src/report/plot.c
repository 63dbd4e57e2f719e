/* plot: scales, ticks and paths of line plots. */
#include "report/plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PANEL_W = 420, PANEL_H = 240, LEFT = 58, RIGHT = 14, TOP = 30, BOTTOM = 32 };
enum { PLOT_W = PANEL_W - LEFT - RIGHT, PLOT_H = PANEL_H - TOP - BOTTOM };
enum { MOST_POINTS = 2 * PLOT_W, MOST_TICKS = 16 };

/* Blue, orange, green, purple of Okabe and Ito: told apart by colour-blind eyes too. */
static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73", "#b0388f"};

/* Data to pixels on one axis; logarithmic scales hold log10 of the data. */
typedef struct scale {
	double low, high;
	bool log;
} scale;

static double place(const scale *s, double value)
{
	value = s->log ? log10(value) : value;
	return (value - s->low) / (s->high - s->low);
}

int otp_plot_ticks(double low, double high, int most, double *ticks)
{
	if (!(high > low) || !isfinite(high - low) || most < 1)
		return 0;
	double step = pow(10, floor(log10((high - low) / most)));
	static const double grow[] = {2, 2.5, 2}; /* 1, 2, 5, 10 */
	for (int i = 0; floor(high / step) - ceil(low / step) + 1 > most; i = (i + 1) % 3)
		step *= grow[i];
	int count = 0;
	for (double k = ceil(low / step); k <= floor(high / step) && count < most; k++)
		ticks[count++] = k == 0 ? 0 : k * step; /* no -0 */
	return count;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Between the 1st and 99th per cent, so that one spike does not flatten the rest. */
static scale scale_values(const otp_panel *p)
{
	double *sorted = otp_calloc(p->count, sizeof *sorted);
	size_t n = 0;
	bool positive = true;
	for (size_t i = 0; i < p->count; i++)
		if (isfinite(p->y[i])) {
			sorted[n++] = p->y[i];
			positive = positive && p->y[i] > 0;
		}
	scale s = {0, 1, p->log_y && positive && n > 0};
	if (n > 0) {
		qsort(sorted, n, sizeof *sorted, by_value);
		s.low = sorted[n / 100];
		s.high = sorted[n - 1 - n / 100];
		if (s.log) {
			s.low = log10(s.low);
			s.high = log10(s.high);
		}
		double room = 0.06 * (s.high - s.low), least = 1e-3 * fmax(fabs(s.high), 1e-6);
		room = fmax(room, least);
		s.low -= room;
		s.high += room;
	}
	otp_free(sorted);
	return s;
}

/* Steps as 500, 20k, 1.5M. */
static void print_step(FILE *f, double value)
{
	if (fabs(value) >= 1e6)
		fprintf(f, "%gM", value / 1e6);
	else if (fabs(value) >= 1e4)
		fprintf(f, "%gk", value / 1e3);
	else
		fprintf(f, "%g", value);
}

/* Round numbers, or powers of ten with 2 and 5 between where few powers fit. */
static int value_ticks(const scale *s, double *ticks)
{
	if (!s->log)
		return otp_plot_ticks(s->low, s->high, 5, ticks);
	int count = 0, every = (int)fmax(1, ceil((s->high - s->low) / 5));
	for (int power = (int)floor(s->low); power <= s->high; power++)
		for (int digit = 1; digit <= 5; digit += digit == 1 ? 1 : 3) {
			double exact = power + log10(digit);
			bool wanted = digit == 1 ? power % every == 0 : s->high - s->low < 2;
			if (wanted && exact >= s->low && exact <= s->high && count < MOST_TICKS)
				ticks[count++] = digit * pow(10, power);
		}
	return count;
}

static void print_axes(FILE *f, const scale *x, const scale *y)
{
	double ticks[MOST_TICKS];
	int count = value_ticks(y, ticks);
	fputs("<g font-size=\"11\" fill=\"#666\" stroke=\"none\">\n", f);
	for (int i = 0; i < count; i++) {
		double at = TOP + PLOT_H * (1 - place(y, ticks[i]));
		fprintf(f, "<path d=\"M%d %.1fh%d\" stroke=\"#e6e6e6\"/>", LEFT, at, PLOT_W);
		fprintf(f, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n", LEFT - 6, at + 4,
			ticks[i]);
	}
	count = otp_plot_ticks(x->low, x->high, 5, ticks);
	for (int i = 0; i < count; i++) {
		double at = LEFT + PLOT_W * place(x, ticks[i]);
		fprintf(f, "<path d=\"M%.1f %dv4\" stroke=\"#999\"/>", at, TOP + PLOT_H);
		fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", at, TOP + PLOT_H + 17);
		print_step(f, ticks[i]);
		fputs("</text>\n", f);
	}
	fprintf(f, "<path d=\"M%d %dh%d\" stroke=\"#999\"/></g>\n", LEFT, TOP + PLOT_H, PLOT_W);
}

/* A path through every stride-th point, interrupted at gaps. Coordinates are those of the nested svg. */
static void print_curve(FILE *f, const otp_panel *p, const double *y, const scale *sx, const scale *sy,
			const char *style)
{
	size_t stride = p->count / MOST_POINTS + 1;
	bool drawing = false;
	fputs("<path fill=\"none\" stroke-linejoin=\"round\" d=\"", f);
	for (size_t i = 0; i < p->count; i += stride) {
		double u = PLOT_W * place(sx, p->x[i]), v = PLOT_H * (1 - place(sy, y[i]));
		if (isfinite(v)) {
			v = fmin(fmax(v, -1e4), 1e4);
			fprintf(f, "%c%.1f %.1f", drawing ? 'L' : 'M', u, v);
		}
		drawing = isfinite(v);
	}
	fprintf(f, "\" %s/>\n", style);
}

/* The mean of what is finite within `reach` points to both sides, each first brought into the visible
 * range: a spike shows in the pale curve and leaves this one alone. */
static double *moving_average(const double *y, size_t count, size_t reach, const scale *visible)
{
	double *mean = otp_calloc(count, sizeof *mean);
	double low = visible->log ? pow(10, visible->low) : visible->low;
	double high = visible->log ? pow(10, visible->high) : visible->high;
	for (size_t i = 0; i < count; i++) {
		size_t from = i > reach ? i - reach : 0, end = i + reach < count ? i + reach + 1 : count;
		double sum = 0, known = 0;
		for (size_t k = from; k < end; k++)
			if (isfinite(y[k])) {
				sum += fmin(fmax(y[k], low), high);
				known++;
			}
		mean[i] = isfinite(y[i]) ? sum / known : NAN;
	}
	return mean;
}

static void print_panel(FILE *f, const otp_panel *p, int left, int top, const char *colour)
{
	scale x = {0, 1, false}, y = scale_values(p);
	if (p->count > 1)
		x = (scale){p->x[0], p->x[p->count - 1], false};
	if (x.low > 0 && x.low < 0.1 * x.high)
		x.low = 0;
	fprintf(f, "<g transform=\"translate(%d %d)\">\n", left, top);
	fprintf(f, "<text x=\"%d\" y=\"18\" font-size=\"13\" font-weight=\"600\" fill=\"#222\">%s</text>\n",
		LEFT, p->title);
	print_axes(f, &x, &y);
	/* A nested svg cuts off what leaves it. */
	fprintf(f, "<svg x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\">\n", LEFT, TOP, PLOT_W, PLOT_H);
	bool smooth = p->smooth && p->count >= 40;
	char style[96];
	snprintf(style, sizeof style, "stroke=\"%s\" stroke-width=\"%s\" opacity=\"%s\"", colour,
		 smooth ? "1" : "1.8", smooth ? "0.3" : "1");
	print_curve(f, p, p->y, &x, &y, style);
	if (smooth) {
		double *mean = moving_average(p->y, p->count, p->count / 50 + 1, &y);
		snprintf(style, sizeof style, "stroke=\"%s\" stroke-width=\"2\"", colour);
		print_curve(f, p, mean, &x, &y, style);
		otp_free(mean);
	}
	fputs("</svg></g>\n", f);
}

char *otp_plot_svg(const otp_panel *panels, int count, int columns)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *f = open_memstream(&text, &bytes);
	OTP_ASSERT(f, "no memory for a plot");
	int rows = (count + columns - 1) / columns;
	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" ",
		columns * PANEL_W, rows * PANEL_H, columns * PANEL_W, rows * PANEL_H);
	fputs("font-family=\"system-ui, 'DejaVu Sans', Arial, sans-serif\">\n", f);
	fputs("<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n", f);
	for (int i = 0; i < count; i++)
		print_panel(f, &panels[i], i % columns * PANEL_W, i / columns * PANEL_H,
			    colours[(size_t)i % (sizeof colours / sizeof *colours)]);
	fputs("</svg>\n", f);
	fclose(f);
	return text;
}

char *otp_plot_training(const otp_metrics *rows, size_t count)
{
	static const struct {
		const char *title;
		size_t at;
		bool log_y, smooth;
	} curves[] = {
	    {"transport loss", offsetof(otp_metrics, loss_transport), false, true},
	    {"potential loss", offsetof(otp_metrics, loss_potential), false, true},
	    {"transport cost", offsetof(otp_metrics, cost), false, true},
	    {"sigma", offsetof(otp_metrics, sigma), false, false},
	    {"target distance", offsetof(otp_metrics, target_distance), true, false},
	    {"patch distance to the target", offsetof(otp_metrics, patch_distance), true, false},
	    {"distance to identity", offsetof(otp_metrics, to_identity), false, false},
	    {"spread of outputs", offsetof(otp_metrics, output_spread), false, false},
	    {"spread over noise", offsetof(otp_metrics, noise_spread), false, false},
	    {"R1: |grad V|\xc2\xb2 on targets", offsetof(otp_metrics, r1), true, true},
	    {"images per second", offsetof(otp_metrics, images_per_s), false, true},
	};
	enum { CURVES = sizeof curves / sizeof *curves };
	double *values = otp_calloc(count * (CURVES + 1), sizeof *values), *steps = values + CURVES * count;
	otp_panel panels[CURVES];
	int shown = 0;
	for (size_t i = 0; i < count; i++)
		steps[i] = (double)rows[i].step;
	for (int k = 0; k < CURVES; k++) {
		double *y = values + (size_t)k * count;
		bool measured = false;
		for (size_t i = 0; i < count; i++) {
			y[i] = *(const double *)((const char *)&rows[i] + curves[k].at);
			measured = measured || isfinite(y[i]);
		}
		if (measured)
			panels[shown++] =
			    (otp_panel){curves[k].title, steps, y, count, curves[k].log_y, curves[k].smooth};
	}
	char *svg = otp_plot_svg(panels, shown, 2);
	otp_free(values);
	return svg;
}
