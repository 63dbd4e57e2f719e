/* plot: scales, ticks and paths of line plots. */
#include "report/plot.h"
#include "report/figures.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PANEL_W = 420, PANEL_H = 250, LEFT = 58, RIGHT = 14, TOP = 32, BOTTOM = 40 };
enum { PLOT_W = PANEL_W - LEFT - RIGHT, PLOT_H = PANEL_H - TOP - BOTTOM };
enum { MOST_POINTS = 2 * PLOT_W, MOST_TICKS = 16, MOST_DOTS = 40, LEAST_RATIO = 5 };

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

/* Adds what is finite; says whether all of that is above 0. */
static bool gather(const double *y, size_t count, double *to, size_t *n)
{
	bool positive = true;
	for (size_t i = 0; i < count; i++)
		if (isfinite(y[i])) {
			to[(*n)++] = y[i];
			positive = positive && y[i] > 0;
		}
	return positive;
}

static void widen(scale *s, double value)
{
	s->low = fmin(s->low, value);
	s->high = fmax(s->high, value);
}

/* References are seen where they end. */
static double last_of(const otp_reference *r, size_t count)
{
	for (size_t i = count; i > 0; i--)
		if (isfinite(r->y[i - 1]))
			return r->y[i - 1];
	return NAN;
}

/* Between the 1st and 99th per cent, so that one spike does not flatten the rest, and the references. */
static scale scale_values(const otp_panel *p)
{
	double *sorted = otp_calloc(p->count + OTP_REFERENCES, sizeof *sorted);
	double held[OTP_REFERENCES];
	size_t n = 0, references = 0;
	bool positive = gather(p->y, p->count, sorted, &n);
	for (int k = 0; k < OTP_REFERENCES; k++)
		if (p->references[k].name) {
			double last = last_of(&p->references[k], p->count);
			positive = gather(&last, 1, held, &references) && positive;
		}
	scale s = {0, 1, p->log_y && positive && n > 0};
	if (n > 0) {
		qsort(sorted, n, sizeof *sorted, by_value);
		s.low = sorted[n / 100];
		s.high = sorted[n - 1 - n / 100];
		for (size_t k = 0; k < references; k++)
			widen(&s, held[k]);
		s.log = s.log &&
			s.high > LEAST_RATIO * s.low; /* what varies less has more ticks on a plain scale */
		if (s.log) {
			s.low = log10(s.low);
			s.high = log10(s.high);
		}
		double room = 0.06 * (s.high - s.low), least = 0.02 * fmax(fabs(s.high), 1e-6);
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
	fputs("<g font-size=\"12\" fill=\"#666\" stroke=\"none\">\n", f);
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
	fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">step</text>\n", LEFT + PLOT_W / 2,
		TOP + PLOT_H + 33);
	fprintf(f, "<path d=\"M%d %dh%d\" stroke=\"#999\"/></g>\n", LEFT, TOP + PLOT_H, PLOT_W);
}

/* Text of ours: of what SVG would misread it has < and & at most; ^2 becomes a raised 2. */
static void print_text(FILE *f, const char *text)
{
	for (; *text; text++)
		if (strncmp(text, "^2", 2) == 0) {
			fputs("\xc2\xb2", f);
			text++;
		} else if (*text == '<' || *text == '&') {
			fputs(*text == '<' ? "&lt;" : "&amp;", f);
		} else {
			putc(*text, f);
		}
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

/* Single points where there are few: a path through one shows nothing. */
static void print_dots(FILE *f, const otp_panel *p, const scale *sx, const scale *sy, const char *colour)
{
	for (size_t i = 0; p->count <= MOST_DOTS && i < p->count; i++) {
		double u = PLOT_W * place(sx, p->x[i]), v = PLOT_H * (1 - place(sy, p->y[i]));
		if (v >= 0 && v <= PLOT_H)
			fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.4\" fill=\"%s\"/>\n", LEFT + u,
				TOP + v, colour);
	}
}

/* ---- the names of references ---- */

/* Pixels of the nested svg. */
typedef struct box {
	double left, right, top, bottom;
	bool from_left; /* the text begins at left, else it ends at right */
} box;

enum {
	LETTER = 7,
	RISE = 10,
	FALL = 3,
	GAP = 3
}; /* of its letters, at most: width, and about the baseline */

static bool meet(box a, box b)
{
	return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

/* Whether a curve passes through. */
static bool passes(const otp_panel *p, const double *y, const scale *sx, const scale *sy, box b)
{
	for (size_t i = 0; i + 1 < p->count; i++) {
		double u = PLOT_W * place(sx, p->x[i]), next_u = PLOT_W * place(sx, p->x[i + 1]);
		double v = PLOT_H * (1 - place(sy, y[i])), next_v = PLOT_H * (1 - place(sy, y[i + 1]));
		if (next_u < b.left || u > b.right || !isfinite(v) || !isfinite(next_v))
			continue;
		double slope = next_u > u ? (next_v - v) / (next_u - u) : 0;
		double enters = v + slope * (fmax(b.left, u) - u),
		       leaves = v + slope * (fmin(b.right, next_u) - u);
		if (fmin(enters, leaves) < b.bottom && fmax(enters, leaves) > b.top)
			return true;
	}
	return false;
}

static double first_of(const otp_reference *r, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (isfinite(r->y[i]))
			return r->y[i];
	return NAN;
}

/* Where a name may stand: at either end of its line, below or above it. */
static box box_at(const otp_panel *p, int k, bool from_left, bool below, const scale *sy)
{
	const otp_reference *r = &p->references[k];
	double width = LETTER * (double)strlen(r->name), left = from_left ? 4 : PLOT_W - 4 - width;
	double v = PLOT_H * (1 - place(sy, from_left ? first_of(r, p->count) : last_of(r, p->count)));
	double top = below ? v + GAP : v - GAP - RISE - FALL;
	return (box){left, left + width, top, top + RISE + FALL, from_left};
}

/* What a name would stand on: curves, and names that stand already; out of sight is worst. */
static int count_hits(const otp_panel *p, box b, const box *names, int k, const scale *sx, const scale *sy)
{
	int hits = b.top < 0 || b.bottom > PLOT_H ? 100 : 0;
	hits += passes(p, p->y, sx, sy, b);
	for (int i = 0; i < OTP_REFERENCES; i++)
		hits += p->references[i].name &&
			(passes(p, p->references[i].y, sx, sy, b) || (i < k && meet(b, names[i])));
	return hits;
}

/* The place that is freest; of equal ones the right end, where the first of two is named below its line, as a
 * floor, and the second above. */
static box choose_box(const otp_panel *p, int k, const box *names, const scale *sx, const scale *sy)
{
	box best = {0};
	int fewest = INT_MAX;
	for (int way = 0; way < 4; way++) {
		box b = box_at(p, k, way >= 2, (way + k) % 2 == 0, sy);
		int hits = count_hits(p, b, names, k, sx, sy);
		if (hits < fewest) {
			fewest = hits;
			best = b;
		}
	}
	return best;
}

static void print_name(FILE *f, const char *name, box b)
{
	fprintf(f,
		"<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"12\" fill=\"#555\" "
		"stroke=\"#fff\" stroke-width=\"3\" paint-order=\"stroke\">",
		b.from_left ? b.left : b.right, b.bottom - FALL, b.from_left ? "start" : "end");
	print_text(f, name);
	fputs("</text>\n", f);
}

/* Whether there is a line to name. */
static bool is_drawn(const otp_panel *p, int k)
{
	return p->references[k].name && isfinite(last_of(&p->references[k], p->count));
}

/* Lines first: a name's white edge hides no name. */
static void print_references(FILE *f, const otp_panel *p, const scale *sx, const scale *sy)
{
	box names[OTP_REFERENCES] = {{0}};
	for (int k = 0; k < OTP_REFERENCES; k++)
		if (is_drawn(p, k))
			print_curve(f, p, p->references[k].y, sx, sy,
				    "stroke=\"#777\" stroke-width=\"1.2\" stroke-dasharray=\"5 4\"");
	for (int k = 0; k < OTP_REFERENCES; k++)
		if (is_drawn(p, k)) {
			names[k] = choose_box(p, k, names, sx, sy);
			print_name(f, p->references[k].name, names[k]);
		}
}

static void print_curves(FILE *f, const otp_panel *p, const scale *x, const scale *y, const char *colour)
{
	bool smooth = p->smooth && p->count >= 40;
	char style[96];
	print_references(f, p, x, y);
	snprintf(style, sizeof style, "stroke=\"%s\" stroke-width=\"%s\" opacity=\"%s\"", colour,
		 smooth ? "1" : "1.8", smooth ? "0.3" : "1");
	print_curve(f, p, p->y, x, y, style);
	if (smooth) {
		double *mean = moving_average(p->y, p->count, p->count / 50 + 1, y);
		snprintf(style, sizeof style, "stroke=\"%s\" stroke-width=\"2\"", colour);
		print_curve(f, p, mean, x, y, style);
		otp_free(mean);
	}
}

static scale scale_steps(const otp_panel *p)
{
	scale x = {p->x_low, p->x_high, false};
	if (!(x.high > x.low) && p->count > 1)
		x = (scale){p->x[0], p->x[p->count - 1], false};
	if (x.low > 0 && x.low < 0.1 * x.high)
		x.low = 0;
	if (!(x.high > x.low)) /* a single step stands in the middle */
		x = (scale){0, fmax(2 * x.high, 1), false};
	return x;
}

static void print_panel(FILE *f, const otp_panel *p, int left, int top, const char *colour)
{
	scale x = scale_steps(p), y = scale_values(p);
	fprintf(f, "<g transform=\"translate(%d %d)\">\n", left, top);
	fprintf(f, "<text x=\"%d\" y=\"19\" font-size=\"14\" fill=\"#222\"><tspan font-weight=\"600\">",
		LEFT);
	print_text(f, p->title);
	fputs("</tspan><tspan dx=\"8\" font-size=\"12\" fill=\"#666\">", f);
	print_text(f, p->unit);
	fputs("</tspan></text>\n", f);
	print_axes(f, &x, &y);
	/* A nested svg cuts off what leaves it. */
	fprintf(f, "<svg x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\">\n", LEFT, TOP, PLOT_W, PLOT_H);
	print_curves(f, p, &x, &y, colour);
	fputs("</svg>\n", f);
	print_dots(f, p, &x, &y, colour);
	fputs("</g>\n", f);
}

static void print_head(FILE *f, int w, int h)
{
	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" ",
		w, h, w, h);
	fputs("font-family=\"system-ui, 'DejaVu Sans', Arial, sans-serif\">\n", f);
	fputs("<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n", f);
}

char *otp_plot_svg(const otp_panel *panels, int count, otp_plot_layout layout)
{
	enum { COLUMNS = 2 };
	char *text = NULL;
	size_t bytes = 0;
	FILE *f = open_memstream(&text, &bytes);
	OTP_ASSERT(f, "no memory for a plot");
	bool sheet = layout == OTP_PLOT_SHEET;
	if (sheet)
		print_head(f, COLUMNS * PANEL_W, (count + COLUMNS - 1) / COLUMNS * PANEL_H);
	for (int i = 0; i < count; i++) {
		if (!sheet)
			print_head(f, PANEL_W, PANEL_H);
		print_panel(f, &panels[i], sheet ? i % COLUMNS * PANEL_W : 0,
			    sheet ? i / COLUMNS * PANEL_H : 0,
			    colours[(size_t)i % (sizeof colours / sizeof *colours)]);
		if (!sheet)
			fputs("</svg>\n", f);
	}
	if (sheet)
		fputs("</svg>\n", f);
	fclose(f);
	return text;
}

/* ---- the curves of a run ------------------------------------------------------- */

/* What to hold a curve against: another figure of the same rows, or 1. */
typedef struct held_against {
	const char *name;
	size_t at;
	bool one;
	bool exact; /* where distances are no slices */
} held_against;

typedef struct curve {
	const char *key;
	size_t at;
	bool measured; /* of the moving average, at the steps that were measured */
	bool log_y, smooth;
	held_against against[OTP_REFERENCES];
} curve;

#define AT(name) #name, offsetof(otp_metrics, name)
#define OF(name) offsetof(otp_metrics, name)
static const curve CURVES[] = {
    {AT(patch_distance),
     true,
     true,
     false,
     {{"floor", OF(patch_floor)}, {"doing nothing", OF(source_patch_distance)}}},
    {AT(target_distance),
     true,
     true,
     false,
     {{"floor", OF(target_floor)}, {"doing nothing", OF(source_distance)}}},
    {AT(transport_cost), true, false, false, {{"best plan", OF(source_distance), .exact = true}}},
    {AT(identity_distance), true, false, false, {{NULL}}},
    {AT(to_identity), true, false, false, {{"best plan", .one = true, .exact = true}}},
    {AT(output_spread), true, false, false, {{"targets", .one = true}}},
    {AT(noise_spread), true, false, false, {{"best pairing", OF(noise_needed)}}},
    {AT(cost), false, false, true, {{NULL}}},
    {AT(loss_transport), false, false, true, {{NULL}}},
    {AT(loss_potential), false, false, true, {{NULL}}},
    {AT(r1), false, true, true, {{NULL}}},
    {AT(sigma), false, false, false, {{NULL}}},
    {AT(images_per_s), false, false, true, {{NULL}}},
};
#undef AT
#undef OF
enum { CURVE_COUNT = sizeof CURVES / sizeof *CURVES };

static double value_at(const otp_metrics *row, size_t at)
{
	return *(const double *)((const char *)row + at);
}

/* Of pictures: their patches are measured, and whole ones by slices. */
static bool is_sliced(const otp_metrics *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (isfinite(rows[i].patch_floor))
			return true;
	return false;
}

/* A panel over the rows that a curve is of. Its numbers lie at `values`, 2 + OTP_REFERENCES times `count`;
 * false where nothing was measured. */
static bool fill_panel(const curve *c, const otp_metrics *rows, size_t count, bool sliced, double *values,
		       otp_panel *p)
{
	const otp_figure_kind *kind = otp_figure_find(c->key);
	double *x = values, *y = values + count;
	bool known = false;
	*p = (otp_panel){.title = kind->name,
			 .unit = otp_figure_unit(kind, sliced),
			 .x = x,
			 .y = y,
			 .x_low = (double)rows[0].step,
			 .x_high = (double)rows[count - 1].step,
			 .log_y = c->log_y,
			 .smooth = c->smooth};
	for (size_t i = 0; i < count; i++) {
		if (c->measured && rows[i].measured_at != (double)rows[i].step)
			continue;
		x[p->count] = (double)rows[i].step;
		y[p->count] = value_at(&rows[i], c->at);
		known = known || isfinite(y[p->count]);
		for (int k = 0; k < OTP_REFERENCES; k++)
			values[(size_t)(2 + k) * count + p->count] =
			    c->against[k].one ? 1 : value_at(&rows[i], c->against[k].at);
		p->count++;
	}
	for (int k = 0; k < OTP_REFERENCES; k++)
		if (c->against[k].name && !(c->against[k].exact && sliced))
			p->references[k] =
			    (otp_reference){c->against[k].name, values + (size_t)(2 + k) * count};
	return known;
}

char *otp_plot_training(const otp_metrics *rows, size_t count, otp_plot_layout layout)
{
	size_t each = (2 + OTP_REFERENCES) * count;
	double *values = otp_calloc(each * CURVE_COUNT + 1, sizeof *values);
	otp_panel panels[CURVE_COUNT];
	int shown = 0;
	bool sliced = is_sliced(rows, count);
	for (int k = 0; count > 0 && k < CURVE_COUNT; k++)
		shown +=
		    fill_panel(&CURVES[k], rows, count, sliced, values + (size_t)k * each, &panels[shown]);
	char *svg = otp_plot_svg(panels, shown, layout);
	otp_free(values);
	return svg;
}
