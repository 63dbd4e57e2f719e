/* PNG by stb, JPEG by libjpeg, WebP by libwebp. */
#include "pictures/encode.h"

#include "core/file.h"
#include "pictures/image.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jpeglib.h>
#include <webp/encode.h>

static const char *const ENDINGS[] = {".png", ".jpg", ".webp"};

const char *otp_picture_ending(otp_picture_format format) { return ENDINGS[format]; }

bool otp_picture_format_of(const char *name, otp_picture_format *format)
{
	const char *dot = strrchr(name, '.');
	for (int i = 0; dot && i < 3; i++)
		if (strcasecmp(dot, ENDINGS[i]) == 0 ||
		    (i == OTP_PICTURE_JPEG && strcasecmp(dot, ".jpeg") == 0)) {
			*format = (otp_picture_format)i;
			return true;
		}
	return false;
}

typedef struct picture {
	const char *path;
	const uint8_t *pixels;
	int h, w, c, quality;
	otp_error *err;
} picture;

/* Row y with `channels` 1 or 3 and no alpha, over white. */
static void plain_row(const picture *p, int y, int channels, uint8_t *out)
{
	const uint8_t *in = p->pixels + (size_t)y * (size_t)p->w * (size_t)p->c;
	for (int x = 0; x < p->w; x++, in += p->c)
		for (int k = 0; k < channels; k++) {
			int alpha = p->c % 2 ? 255 : in[p->c - 1];
			*out++ = (uint8_t)((in[p->c < 3 ? 0 : k] * alpha + 255 * (255 - alpha) + 127) / 255);
		}
}

static bool write_file(const picture *p, const void *bytes, size_t count)
{
	return otp_file_write(p->path, bytes, count, p->err);
}

/* ---- JPEG -------------------------------------------------------------------- */

typedef struct jpeg_writer {
	struct jpeg_compress_struct info;
	struct jpeg_error_mgr errors;
	jmp_buf out;
	const picture *picture;
	uint8_t *row, *bytes; /* libjpeg's own: free() */
	unsigned long count;
} jpeg_writer;

static void refuse(j_common_ptr info)
{
	jpeg_writer *w = info->client_data;
	char text[JMSG_LENGTH_MAX];
	info->err->format_message(info, text);
	otp_fail_machine(w->picture->err, w->picture->path, "a JPEG could not be made: %s", text);
	longjmp(w->out, 1);
}

static void compress(jpeg_writer *w)
{
	enum { FULL_COLOUR = 90 }; /* from this quality on colours keep the resolution of light */
	struct jpeg_compress_struct *info = &w->info;
	const picture *p = w->picture;
	int channels = p->c < 3 ? 1 : 3;
	jpeg_create_compress(info);
	jpeg_mem_dest(info, &w->bytes, &w->count);
	info->image_width = (JDIMENSION)p->w;
	info->image_height = (JDIMENSION)p->h;
	info->input_components = channels;
	info->in_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
	jpeg_set_defaults(info);
	jpeg_set_quality(info, p->quality, TRUE);
	info->optimize_coding = TRUE;
	info->dct_method = JDCT_ISLOW;
	if (p->quality >= FULL_COLOUR)
		info->comp_info[0].h_samp_factor = info->comp_info[0].v_samp_factor = 1;
	jpeg_start_compress(info, TRUE);
	w->row = otp_calloc((size_t)p->w, (size_t)channels);
	for (int y = 0; y < p->h; y++) {
		JSAMPROW row = w->row;
		plain_row(p, y, channels, w->row);
		jpeg_write_scanlines(info, &row, 1);
	}
	jpeg_finish_compress(info);
}

static bool write_jpeg(const picture *p)
{
	/* What work needs lies in the writer: libjpeg leaves by longjmp. */
	jpeg_writer w = {.picture = p};
	w.info.err = jpeg_std_error(&w.errors);
	w.info.client_data = &w;
	w.errors.error_exit = refuse;
	if (setjmp(w.out) == 0)
		compress(&w);
	jpeg_destroy_compress(&w.info);
	bool ok = !p->err->exit_code && write_file(p, w.bytes, w.count);
	otp_free(w.row);
	free(w.bytes);
	return ok;
}

/* ---- WebP -------------------------------------------------------------------- */

static bool fill_webp(const picture *p, WebPPicture *to)
{
	bool alpha = p->c % 2 == 0;
	size_t channels = alpha ? 4 : 3, count = otp_mul_size((size_t)p->h, (size_t)p->w);
	uint8_t *spread = p->c > 2 ? NULL : otp_calloc(count, channels);
	for (size_t i = 0; spread && i < count; i++) {
		memset(spread + i * channels, p->pixels[i * (size_t)p->c], 3);
		if (alpha)
			spread[i * channels + 3] = p->pixels[i * (size_t)p->c + 1];
	}
	bool ok = (alpha ? WebPPictureImportRGBA : WebPPictureImportRGB)(to, spread ? spread : p->pixels,
									 p->w * (int)channels);
	otp_free(spread);
	return ok;
}

static bool write_webp(const picture *p)
{
	enum { LOSSLESS_EFFORT = 6 };
	WebPConfig config;
	WebPPicture in;
	WebPMemoryWriter out;
	if (!WebPConfigInit(&config) || !WebPPictureInit(&in))
		return otp_fail_machine(p->err, p->path, "libwebp is older than what otplan was built with");
	WebPMemoryWriterInit(&out);
	config.quality = (float)p->quality;
	if (p->quality == 100)
		WebPConfigLosslessPreset(&config, LOSSLESS_EFFORT);
	config.exact = 1; /* colours where alpha is 0 stay */
	in.use_argb = config.lossless;
	in.width = p->w;
	in.height = p->h;
	in.writer = WebPMemoryWrite;
	in.custom_ptr = &out;
	bool ok = (fill_webp(p, &in) && WebPEncode(&config, &in)) ||
		  otp_fail_machine(p->err, p->path, "a WebP could not be made: libwebp's error %d",
				   (int)in.error_code);
	WebPPictureFree(&in);
	ok = ok && write_file(p, out.mem, out.size);
	WebPMemoryWriterClear(&out);
	return ok;
}

bool otp_picture_write(const char *path, otp_picture_format format, int quality, const uint8_t *pixels, int h,
		       int w, int c, otp_error *err)
{
	static const int MOST[] = {INT32_MAX, JPEG_MAX_DIMENSION, WEBP_MAX_DIMENSION};
	picture p = {path, pixels, h, w, c, quality, err};
	if (h > MOST[format] || w > MOST[format])
		return otp_fail(err, path, "%s holds %d pixels a side at most, the picture is %d x %d",
				OTP_CHOICE_NAME(otp_picture_format, format), MOST[format], h, w);
	switch (format) {
	case OTP_PICTURE_PNG:
		return otp_image_write_png(path, pixels, h, w, c, err);
	case OTP_PICTURE_JPEG:
		return write_jpeg(&p);
	case OTP_PICTURE_WEBP:
		break;
	}
	return write_webp(&p);
}
