/* grid: layout of sample pictures: images in rows, points as a scatter plot. */
#include "report/grid.h"
#include "report/canvas.h"
#include "report/plot.h"

#include <math.h>
#include <stdio.h>

enum {
	CELL = 64,	 /* pixels that a small image is enlarged to, about */
	GAP = 2,	 /* between cells */
	SOURCE_GAP = 10, /* between the sources and what became of them */
	MARGIN = 8
};

/* Size of the whole picture, and of one cell with the gap after it. */
typedef struct grid_size {
	int w, h, zoom, step_x, step_y;
} grid_size;

static grid_size size_of(int rows, int samples, int h, int w)
{
	int size = h > w ? h : w, zoom = (CELL + size / 2) / size;
	grid_size g = {.zoom = zoom > 1 ? zoom : 1};
	g.step_x = g.zoom * w + GAP;
	g.step_y = g.zoom * h + GAP;
	g.w = 2 * MARGIN + (samples + 1) * g.step_x - GAP + SOURCE_GAP;
	g.h = 2 * MARGIN + rows * g.step_y - GAP;
	return g;
}

size_t otp_grid_bytes(int rows, int samples, int h, int w)
{
	grid_size g = size_of(rows, samples, h, w);
	return otp_canvas_bytes(g.w, g.h);
}

bool otp_grid_write(const char *path, const float *sources, const float *outputs, int rows, int samples,
		    int h, int w, int c, otp_error *err)
{
	grid_size g = size_of(rows, samples, h, w);
	size_t values = (size_t)h * (size_t)w * (size_t)c;
	otp_canvas *canvas = otp_canvas_new(g.w, g.h, otp_colour_of(0xf0f0f0));
	for (int row = 0; row < rows; row++) {
		int y = MARGIN + row * g.step_y;
		otp_canvas_image(canvas, MARGIN, y, sources + (size_t)row * values, h, w, c, g.zoom);
		for (int k = 0; k < samples; k++) {
			size_t at = (size_t)row * (size_t)samples + (size_t)k;
			otp_canvas_image(canvas, MARGIN + SOURCE_GAP + (k + 1) * g.step_x, y,
					 outputs + at * values, h, w, c, g.zoom);
		}
	}
	bool ok = otp_canvas_write_png(canvas, path, err);
	otp_canvas_free(canvas);
	return ok;
}

bool otp_grid_write_images(const char *path, const float *images, int count, int columns, int h, int w, int c,
			   otp_error *err)
{
	grid_size g = size_of((count + columns - 1) / columns, columns - 1, h, w);
	size_t values = (size_t)h * (size_t)w * (size_t)c;
	otp_canvas *canvas = otp_canvas_new(g.w - SOURCE_GAP, g.h, otp_colour_of(0xf0f0f0));
	for (int i = 0; i < count; i++)
		otp_canvas_image(canvas, MARGIN + i % columns * g.step_x, MARGIN + i / columns * g.step_y,
				 images + (size_t)i * values, h, w, c, g.zoom);
	bool ok = otp_canvas_write_png(canvas, path, err);
	otp_canvas_free(canvas);
	return ok;
}

/* ---- points -------------------------------------------------------------- */

enum { PLOT = 640, LEFT = 64, TOP = 44, RIGHT = 20, BOTTOM = 40, TEXT = 2 };

/* From data to pixels: equal scales, y upwards. */
typedef struct frame {
	double x, y, half, scale; /* centre and half width in data units, pixels a unit */
} frame;

static double first(const float *points, int64_t i, int d) { return points[i * d]; }

static double second(const float *points, int64_t i, int d) { return d > 1 ? points[i * d + 1] : 0; }

static double across(const frame *f, double x) { return LEFT + PLOT / 2.0 + (x - f->x) * f->scale; }

static double down(const frame *f, double y) { return TOP + PLOT / 2.0 - (y - f->y) * f->scale; }

typedef struct range {
	double low, high;
} range;

static void widen(range *r, double value)
{
	if (!isfinite(value))
		return;
	r->low = fmin(r->low, value);
	r->high = fmax(r->high, value);
}

/* Around the two laws: outputs that ran away may leave the picture, not shrink it. */
static frame frame_points(const float *sources, int rows, const float *target, int targets, int d)
{
	range x = {INFINITY, -INFINITY}, y = x;
	for (int i = 0; i < rows; i++) {
		widen(&x, first(sources, i, d));
		widen(&y, second(sources, i, d));
	}
	for (int i = 0; i < targets; i++) {
		widen(&x, first(target, i, d));
		widen(&y, second(target, i, d));
	}
	if (!(x.low <= x.high && y.low <= y.high))
		x = y = (range){-1, 1};
	double half = 0.575 * fmax(fmax(x.high - x.low, y.high - y.low), 1e-6);
	return (frame){(x.low + x.high) / 2, (y.low + y.high) / 2, half, PLOT / (2 * half)};
}

static void draw_axes(otp_canvas *c, const frame *f)
{
	otp_colour line = otp_colour_of(0xe4e4e4), ink = otp_colour_of(0x606060);
	double ticks[16];
	char label[32];
	int count = otp_plot_ticks(f->x - f->half, f->x + f->half, 7, ticks);
	for (int i = 0; i < count; i++) {
		int x = (int)lround(across(f, ticks[i]));
		snprintf(label, sizeof label, "%g", ticks[i]);
		otp_canvas_rect(c, x, TOP, 1, PLOT, line);
		otp_canvas_text(c, x - otp_canvas_text_width(label, TEXT) / 2, TOP + PLOT + 10, TEXT, label,
				ink);
	}
	count = otp_plot_ticks(f->y - f->half, f->y + f->half, 7, ticks);
	for (int i = 0; i < count; i++) {
		int y = (int)lround(down(f, ticks[i]));
		snprintf(label, sizeof label, "%g", ticks[i]);
		otp_canvas_rect(c, LEFT, y, PLOT, 1, line);
		otp_canvas_text(c, LEFT - 10 - otp_canvas_text_width(label, TEXT), y - 7, TEXT, label, ink);
	}
}

/* What runs out of the frame is painted over, then the frame's edge is drawn. */
static void draw_border(otp_canvas *c)
{
	otp_colour edge = otp_colour_of(0xb0b0b0);
	otp_canvas_rect(c, LEFT, TOP, PLOT, 1, edge);
	otp_canvas_rect(c, LEFT, TOP + PLOT, PLOT + 1, 1, edge);
	otp_canvas_rect(c, LEFT, TOP, 1, PLOT, edge);
	otp_canvas_rect(c, LEFT + PLOT, TOP, 1, PLOT, edge);
}

static void draw_legend(otp_canvas *c, const char *const names[3], const otp_colour inks[3])
{
	int x = LEFT + 4;
	for (int i = 0; i < 3; i++) {
		otp_canvas_disc(c, x + 5, TOP - 20, 5, inks[i], 1);
		otp_canvas_text(c, x + 18, TOP - 27, TEXT, names[i], otp_colour_of(0x303030));
		x += 18 + otp_canvas_text_width(names[i], TEXT) + 28;
	}
}

static bool inside(const frame *f, double x, double y)
{
	return fabs(x - f->x) < f->half && fabs(y - f->y) < f->half;
}

size_t otp_grid_points_bytes(void) { return otp_canvas_bytes(LEFT + PLOT + RIGHT, TOP + PLOT + BOTTOM); }

bool otp_grid_write_points(const char *path, const float *sources, const float *outputs, int rows,
			   int samples, const float *target, int targets, int d, otp_error *err)
{
	static const char *const names[3] = {"source", "target", "transported"};
	const otp_colour inks[3] = {otp_colour_of(0x0072b2), otp_colour_of(0xe69f00),
				    otp_colour_of(0xb0388f)};
	frame f = frame_points(sources, rows, target, targets, d);
	otp_canvas *c = otp_canvas_new(LEFT + PLOT + RIGHT, TOP + PLOT + BOTTOM, otp_colour_of(0xffffff));
	draw_axes(c, &f);
	for (int i = 0; i < targets; i++)
		if (inside(&f, first(target, i, d), second(target, i, d)))
			otp_canvas_disc(c, across(&f, first(target, i, d)), down(&f, second(target, i, d)),
					3.2, inks[1], 0.45);
	/* All lines lie under all points. */
	for (int pass = 0; pass < 2; pass++) {
		for (int i = 0; i < rows; i++) {
			double x = across(&f, first(sources, i, d)), y = down(&f, second(sources, i, d));
			for (int k = 0; k < samples; k++) {
				int64_t at = (int64_t)i * samples + k;
				double u = first(outputs, at, d), v = second(outputs, at, d);
				if (!inside(&f, u, v))
					continue;
				if (pass == 0)
					otp_canvas_line(c, x, y, across(&f, u), down(&f, v), 1,
							otp_colour_of(0x707070), 0.35);
				else
					otp_canvas_disc(c, across(&f, u), down(&f, v), 2.4, inks[2], 0.9);
			}
			if (pass == 1)
				otp_canvas_disc(c, x, y, 3, inks[0], 0.95);
		}
	}
	draw_border(c);
	draw_legend(c, names, inks);
	bool ok = otp_canvas_write_png(c, path, err);
	otp_canvas_free(c);
	return ok;
}

/* ---- hues ---------------------------------------------------------------- */

/* The isoluminant colour of a hue: R, G and B in turn by (1 + cos(h - 2 pi k / 3)) / 2. */
static otp_colour colour_of_hue(double hue)
{
	const double third = 2.0943951023931953;
	return (otp_colour){(float)(0.5 + 0.5 * cos(hue)), (float)(0.5 + 0.5 * cos(hue - third)),
			    (float)(0.5 + 0.5 * cos(hue + third))};
}

bool otp_grid_write_wheel(const char *path, const double *exact, const double *learned, int count,
			  otp_error *err)
{
	enum { SIZE = 480, INNER = 110, OUTER = 200 };
	const double centre = SIZE / 2.0;
	const otp_colour ink = otp_colour_of(0x303030);
	otp_canvas *c = otp_canvas_new(SIZE, SIZE, otp_colour_of(0xffffff));
	for (int i = 0; i < count; i++) {
		double x0 = centre + INNER * cos(exact[i]), y0 = centre - INNER * sin(exact[i]);
		double x1 = centre + OUTER * cos(learned[i]), y1 = centre - OUTER * sin(learned[i]);
		otp_canvas_line(c, x0, y0, x1, y1, 1.5, colour_of_hue(learned[i]), 0.8);
		otp_canvas_disc(c, x0, y0, 3, colour_of_hue(exact[i]), 1);
		otp_canvas_disc(c, x1, y1, 3, colour_of_hue(learned[i]), 1);
	}
	otp_canvas_text(c, (SIZE - otp_canvas_text_width("exact", TEXT)) / 2, SIZE / 2 - 7, TEXT, "exact",
			ink);
	otp_canvas_text(c, (SIZE - otp_canvas_text_width("learned", TEXT)) / 2, 8, TEXT, "learned", ink);
	bool ok = otp_canvas_write_png(c, path, err);
	otp_canvas_free(c);
	return ok;
}
