/* image: PNG writing by stb, channel arithmetic.
 * All arithmetic is on floats in [-1, 1]; bytes come back by one rounding. */
#include "pictures/image.h"

#include "core/file.h"
#include "scalar.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#include <stb_image_write.h>

void otp_image_free(otp_image *image)
{
	otp_free(image->owned);
	*image = (otp_image){0};
}

size_t otp_image_values(const otp_image *image)
{
	return otp_mul_size(otp_mul_size((size_t)image->h, (size_t)image->w), (size_t)image->c);
}

/* ---- names --------------------------------------------------------------- */

static bool ends_in_one_of(const char *name, const char *extensions)
{
	const char *dot = strrchr(name, '.');
	if (!dot || !dot[1])
		return false;
	for (const char *at = extensions; *at;) {
		size_t length = strcspn(at, " ");
		if (strlen(dot + 1) == length && strncasecmp(dot + 1, at, length) == 0)
			return true;
		at += length + (at[length] == ' ');
	}
	return false;
}

bool otp_image_name_fits(const char *name) { return ends_in_one_of(name, OTP_IMAGE_EXTENSIONS); }

bool otp_image_name_is_picture(const char *name)
{
	return otp_image_name_fits(name) ||
	       ends_in_one_of(name, "tif tiff avif heic heif jp2 jxl exr psd svg pdf");
}

/* ---- bytes and floats ------------------------------------------------------ */

uint8_t otp_image_byte(float value)
{
	if (!(value > -1))
		return 0;
	/* Exact in double, so that halves are true halves; nearbyint rounds them to even. */
	return value >= 1 ? 255 : (uint8_t)nearbyint(((double)value + 1) * 127.5);
}

void otp_image_floats(const uint8_t *restrict bytes, size_t count, float *restrict out)
{
	for (size_t i = 0; i < count; i++)
		out[i] = otp_byte_value(bytes[i]);
}

static void replace_by_floats(otp_image *image, float *values, int h, int w, int c)
{
	otp_image_free(image);
	*image = (otp_image){.h = h, .w = w, .c = c, .f32 = values, .owned = values};
}

void otp_image_to_float(otp_image *image)
{
	if (image->f32)
		return;
	size_t count = otp_image_values(image);
	float *values = otp_calloc(count, sizeof *values);
	otp_image_floats(image->u8, count, values);
	replace_by_floats(image, values, image->h, image->w, image->c);
}

void otp_image_to_bytes(otp_image *image)
{
	if (image->u8)
		return;
	otp_image made = {.h = image->h, .w = image->w, .c = image->c};
	size_t count = otp_image_values(image);
	uint8_t *bytes = otp_calloc(count, 1);
	for (size_t i = 0; i < count; i++)
		bytes[i] = otp_image_byte(image->f32[i]);
	made.u8 = made.owned = bytes;
	otp_image_free(image);
	*image = made;
}

/* ---- channels ---------------------------------------------------------------- */

void otp_image_convert_pixel(const float *in, int c_in, float *out, int c_out)
{
	bool grey = c_in <= 2;
	float alpha = c_in % 2 == 0 ? (in[c_in - 1] + 1) / 2 : 1;
	float rgb[3] = {in[0], in[grey ? 0 : 1], in[grey ? 0 : 2]};
	if (c_out == 4) {
		memcpy(out, rgb, sizeof rgb);
		out[3] = 2 * alpha - 1;
		return;
	}
	for (int i = 0; i < 3; i++)
		rgb[i] = 1 + alpha * (rgb[i] - 1); /* over white */
	if (c_out == 3)
		memcpy(out, rgb, sizeof rgb);
	else
		out[0] = grey ? rgb[0] : 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
}

void otp_image_to_channels(otp_image *image, int channels)
{
	OTP_ASSERT(image->c >= 1 && image->c <= 4 && (channels == 1 || channels == 3 || channels == 4),
		   "from %d to %d channels", image->c, channels);
	if (image->c == channels)
		return;
	otp_image_to_float(image);
	size_t pixels = otp_mul_size((size_t)image->h, (size_t)image->w);
	float *out = otp_calloc(otp_mul_size(pixels, (size_t)channels), sizeof *out);
	for (size_t i = 0; i < pixels; i++)
		otp_image_convert_pixel(image->f32 + i * (size_t)image->c, image->c,
					out + i * (size_t)channels, channels);
	replace_by_floats(image, out, image->h, image->w, channels);
}

/* ---- parts -------------------------------------------------------------------- */

otp_image otp_image_cut(const otp_image *image, int top, int left, int h, int w)
{
	OTP_ASSERT(top >= 0 && left >= 0 && top + h <= image->h && left + w <= image->w,
		   "%dx%d at %d, %d of %dx%d", w, h, left, top, image->w, image->h);
	otp_image out = {.h = h, .w = w, .c = image->c};
	size_t pixel = (size_t)image->c * (image->u8 ? 1 : sizeof(float)), row = (size_t)w * pixel;
	const char *from = image->u8 ? (const char *)image->u8 : (const char *)image->f32;
	char *to = otp_calloc(otp_image_values(&out), image->u8 ? 1 : sizeof(float));
	for (int y = 0; y < h; y++)
		memcpy(to + (size_t)y * row,
		       from + ((size_t)(top + y) * (size_t)image->w + (size_t)left) * pixel, row);
	out.owned = to;
	out.u8 = image->u8 ? out.owned : NULL;
	out.f32 = image->u8 ? NULL : out.owned;
	return out;
}

/* ---- writing ------------------------------------------------------------------- */

typedef struct sink {
	uint8_t *bytes;
	size_t used, room;
} sink;

static void sink_write(void *context, void *data, int count)
{
	sink *s = context;
	if (count <= 0)
		return;
	if (s->used + (size_t)count > s->room) {
		size_t room = (s->used + (size_t)count) * 2;
		s->bytes = otp_realloc(s->bytes, s->used, room);
		s->room = room;
	}
	memcpy(s->bytes + s->used, data, (size_t)count);
	s->used += (size_t)count;
}

uint8_t *otp_image_png(const uint8_t *pixels, int h, int w, int c, size_t *bytes)
{
	sink s = {0};
	if (stbi_write_png_to_func(sink_write, &s, w, h, c, pixels, w * c) == 0) {
		otp_free(s.bytes);
		return NULL;
	}
	*bytes = s.used;
	return s.bytes;
}

bool otp_image_write_png(const char *path, const uint8_t *pixels, int h, int w, int c, otp_error *err)
{
	size_t bytes = 0;
	uint8_t *png = otp_image_png(pixels, h, w, c, &bytes);
	bool ok = png ? otp_file_write(path, png, bytes, err)
		      : otp_fail_machine(err, path, "a PNG of %d x %d x %d could not be made", h, w, c);
	otp_free(png);
	return ok;
}
