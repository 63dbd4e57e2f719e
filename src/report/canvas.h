/* canvas: a small raster to draw pictures of results on: antialiased lines and
 * discs, blocks of text, images put down pixel by pixel. Coordinates are in
 * pixels, (0, 0) is the top left corner; what lies outside is cut off.
 */
#ifndef OTP_CANVAS_H
#define OTP_CANVAS_H

#include "core/base.h"

typedef struct otp_colour {
	float r, g, b; /* in [0, 1], sRGB */
} otp_colour;

/* 0xRRGGBB */
otp_colour otp_colour_of(uint32_t hex);

typedef struct otp_canvas {
	int w, h;
	float *rgb; /* (h, w, 3) in [0, 1] */
} otp_canvas;

otp_canvas *otp_canvas_new(int w, int h, otp_colour paper);
/* Bytes of memory that such a canvas takes until it is written: itself, its bytes, and as many encoded. */
size_t otp_canvas_bytes(int w, int h);
void otp_canvas_free(otp_canvas *c);

void otp_canvas_rect(otp_canvas *c, int x, int y, int w, int h, otp_colour ink);
void otp_canvas_disc(otp_canvas *c, double x, double y, double radius, otp_colour ink, double opacity);
void otp_canvas_line(otp_canvas *c, double x0, double y0, double x1, double y1, double width, otp_colour ink,
		     double opacity);
/* Capitals are 7 * scale pixels high, from y down. */
void otp_canvas_text(otp_canvas *c, int x, int y, int scale, const char *text, otp_colour ink);
int otp_canvas_text_width(const char *text, int scale);
/* An image (h, w, channels) of values in [-1, 1], every pixel zoom x zoom. Channels: 1 grey, 3 RGB. */
void otp_canvas_image(otp_canvas *c, int x, int y, const float *image, int h, int w, int channels, int zoom);

bool otp_canvas_write_png(const otp_canvas *c, const char *path, otp_error *err);

#endif
