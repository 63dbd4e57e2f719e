/* canvas: shapes are drawn by their distance: a pixel whose centre lies d
 * outside a shape's edge is covered by 1/2 - d, between 0 and 1. */
#include "report/canvas.h"
#include "pictures/image.h"

#include <math.h>
#include <stb_easy_font.h>
#include <string.h>

otp_colour otp_colour_of(uint32_t hex)
{
	return (otp_colour){(float)(hex >> 16 & 255) / 255, (float)(hex >> 8 & 255) / 255,
			    (float)(hex & 255) / 255};
}

otp_canvas *otp_canvas_new(int w, int h, otp_colour paper)
{
	otp_canvas *c = otp_calloc(1, sizeof *c);
	size_t pixels = otp_mul_size((size_t)w, (size_t)h);
	*c = (otp_canvas){w, h, otp_calloc(pixels, 3 * sizeof(float))};
	otp_canvas_rect(c, 0, 0, w, h, paper);
	return c;
}

size_t otp_canvas_bytes(int w, int h) { return (size_t)w * (size_t)h * 3 * (sizeof(float) + 1 + 1); }

void otp_canvas_free(otp_canvas *c)
{
	if (!c)
		return;
	otp_free(c->rgb);
	otp_free(c);
}

static void blend(otp_canvas *c, int x, int y, otp_colour ink, double opacity)
{
	float *p = c->rgb + 3 * ((size_t)y * (size_t)c->w + (size_t)x), a = (float)opacity;
	p[0] += a * (ink.r - p[0]);
	p[1] += a * (ink.g - p[1]);
	p[2] += a * (ink.b - p[2]);
}

static double coverage(double distance) { return fmin(fmax(0.5 - distance, 0), 1); }

/* The pixels that a shape between low and high may touch, cut to [0, size). */
static void reach(double low, double high, int size, int *first, int *end)
{
	*first = (int)fmax(floor(fmin(low, size) - 1), 0);
	*end = (int)fmin(ceil(fmax(high, 0) + 1), size);
}

void otp_canvas_rect(otp_canvas *c, int x, int y, int w, int h, otp_colour ink)
{
	int x0, x1, y0, y1;
	reach(x + 1, x + w - 1, c->w, &x0, &x1);
	reach(y + 1, y + h - 1, c->h, &y0, &y1);
	for (int row = y0; row < y1; row++)
		for (int column = x0; column < x1; column++)
			blend(c, column, row, ink, 1);
}

void otp_canvas_disc(otp_canvas *c, double x, double y, double radius, otp_colour ink, double opacity)
{
	int x0, x1, y0, y1;
	if (!isfinite(x) || !isfinite(y))
		return;
	reach(x - radius, x + radius, c->w, &x0, &x1);
	reach(y - radius, y + radius, c->h, &y0, &y1);
	for (int row = y0; row < y1; row++)
		for (int column = x0; column < x1; column++) {
			double away = hypot(column + 0.5 - x, row + 0.5 - y) - radius;
			blend(c, column, row, ink, opacity * coverage(away));
		}
}

void otp_canvas_line(otp_canvas *c, double x0, double y0, double x1, double y1, double width, otp_colour ink,
		     double opacity)
{
	int left, right, top, bottom;
	double dx = x1 - x0, dy = y1 - y0, length2 = dx * dx + dy * dy;
	if (!isfinite(length2))
		return;
	reach(fmin(x0, x1) - width, fmax(x0, x1) + width, c->w, &left, &right);
	reach(fmin(y0, y1) - width, fmax(y0, y1) + width, c->h, &top, &bottom);
	for (int row = top; row < bottom; row++)
		for (int column = left; column < right; column++) {
			double px = column + 0.5 - x0, py = row + 0.5 - y0;
			double along = length2 > 0 ? fmin(fmax((px * dx + py * dy) / length2, 0), 1) : 0;
			double away = hypot(px - along * dx, py - along * dy) - width / 2;
			blend(c, column, row, ink, opacity * coverage(away));
		}
}

void otp_canvas_text(otp_canvas *c, int x, int y, int scale, const char *text, otp_colour ink)
{
	/* stb_easy_font makes quads of four such corners; 270 bytes a letter on average. */
	struct corner {
		float x, y, z;
		unsigned char colour[4];
	} corners[4 * 512];
	char *copy = otp_strdup(text);
	int quads = stb_easy_font_print(0, 0, copy, NULL, corners, sizeof corners);
	for (int i = 0; i < quads; i++) {
		const struct corner *a = &corners[4 * i], *b = a + 2; /* opposite */
		otp_canvas_rect(c, x + scale * (int)a->x, y + scale * (int)a->y, scale * (int)(b->x - a->x),
				scale * (int)(b->y - a->y), ink);
	}
	otp_free(copy);
}

int otp_canvas_text_width(const char *text, int scale)
{
	char *copy = otp_strdup(text);
	int width = stb_easy_font_width(copy);
	otp_free(copy);
	return scale * width;
}

void otp_canvas_image(otp_canvas *c, int x, int y, const float *image, int h, int w, int channels, int zoom)
{
	OTP_ASSERT(channels == 1 || channels == 3, "an image of %d channels", channels);
	for (int row = 0; row < h; row++)
		for (int column = 0; column < w; column++) {
			const float *p =
			    image + ((size_t)row * (size_t)w + (size_t)column) * (size_t)channels;
			otp_colour ink = {p[0], p[channels / 2], p[channels - 1]};
			ink = (otp_colour){(ink.r + 1) / 2, (ink.g + 1) / 2, (ink.b + 1) / 2};
			otp_canvas_rect(c, x + zoom * column, y + zoom * row, zoom, zoom, ink);
		}
}

bool otp_canvas_write_png(const otp_canvas *c, const char *path, otp_error *err)
{
	size_t values = 3 * (size_t)c->w * (size_t)c->h;
	uint8_t *bytes = otp_calloc(values, 1);
	for (size_t i = 0; i < values; i++)
		bytes[i] = otp_image_byte(2 * c->rgb[i] - 1);
	bool ok = otp_image_write_png(path, bytes, c->h, c->w, 3, err);
	otp_free(bytes);
	return ok;
}
