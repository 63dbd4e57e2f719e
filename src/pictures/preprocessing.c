#include "pictures/preprocessing.h"

#include <limits.h>
#include <math.h>
#include <string.h>

otp_preprocessing otp_preprocessing_square(int size) { return (otp_preprocessing){.size = {size, size}}; }

otp_preprocessing otp_preprocessing_of_target(const otp_preprocessing *p)
{
	otp_preprocessing target = *p;
	target.grey = false;
	return target;
}

/* ---- sizes ---------------------------------------------------------------------- */

static otp_size scaled(otp_size size, otp_size picture, bool by_height)
{
	const double most = INT_MAX / 4; /* of a line of one pixel, which nobody can hold */
	double scale = by_height ? (double)size.h / picture.h : (double)size.w / picture.w;
	return (otp_size){
	    .h = by_height ? size.h : (int)fmin(most, fmax(1, rint(picture.h * scale))),
	    .w = by_height ? (int)fmin(most, fmax(1, rint(picture.w * scale))) : size.w,
	};
}

/* Whether the height needs the larger factor. */
static bool is_wide(otp_size size, otp_size picture)
{
	return (int64_t)size.h * picture.w > (int64_t)size.w * picture.h;
}

otp_size otp_size_covering(otp_size size, otp_size picture)
{
	return scaled(size, picture, is_wide(size, picture));
}

otp_size otp_size_within(otp_size size, otp_size picture)
{
	return scaled(size, picture, !is_wide(size, picture));
}

otp_size otp_preprocessing_size(const otp_preprocessing *p, otp_size picture)
{
	if (p->size.h)
		return p->size;
	bool covers = picture.h >= p->crop.h && picture.w >= p->crop.w;
	return covers ? picture : otp_size_covering(p->crop, picture);
}

/* ---- pixels --------------------------------------------------------------------- */

static void replace(otp_image *image, const otp_frame *frame)
{
	otp_image made = otp_image_resample(image, image->c, frame, false);
	otp_image_free(image);
	*image = made;
}

/* The side that is too long keeps its exact ratio; the window lies at whole pixels of the result. */
static void cover(otp_image *image, otp_size size, otp_resize filter)
{
	otp_size picture = {image->h, image->w};
	bool wide = is_wide(size, picture);
	double ratio = wide ? (double)size.h / picture.h : (double)size.w / picture.w;
	otp_frame frame = {.h = wide ? size.h : picture.h * ratio,
			   .w = wide ? picture.w * ratio : size.w,
			   .rows = size.h,
			   .columns = size.w,
			   .filter = filter};
	/* Rounding may leave the product just below the side. */
	frame.top = fmax(0, floor((frame.h - size.h) / 2));
	frame.left = fmax(0, floor((frame.w - size.w) / 2));
	replace(image, &frame);
}

static void stretch(otp_image *image, otp_size size, otp_resize filter)
{
	otp_frame frame = {.h = size.h, .w = size.w, .rows = size.h, .columns = size.w, .filter = filter};
	replace(image, &frame);
}

void otp_image_pad(otp_image *image, otp_size size)
{
	OTP_ASSERT(image->h <= size.h && image->w <= size.w, "%dx%d on %dx%d", image->w, image->h, size.w,
		   size.h);
	otp_image_to_float(image);
	otp_image made = {.h = size.h, .w = size.w, .c = image->c};
	size_t values = otp_image_values(&made), c = (size_t)image->c, row = (size_t)image->w * c;
	int top = (size.h - image->h) / 2, left = (size.w - image->w) / 2;
	float *to = otp_calloc(values, sizeof *to);
	for (size_t i = 0; i < values; i++)
		to[i] = c % 2 == 0 && i % c == c - 1 ? -1 : 1; /* white; with alpha, transparent */
	for (int y = 0; y < image->h; y++)
		memcpy(to + ((size_t)(top + y) * (size_t)size.w + (size_t)left) * c,
		       image->f32 + (size_t)y * row, row * sizeof *to);
	made.f32 = made.owned = to;
	otp_image_free(image);
	*image = made;
}

void otp_preprocessing_apply(const otp_preprocessing *p, otp_image *image)
{
	otp_size picture = {image->h, image->w}, size = otp_preprocessing_size(p, picture);
	if (otp_size_equal(picture, size))
		return;
	if (!p->size.h || p->aspect == OTP_ASPECT_STRETCH) {
		stretch(image, size, p->filter);
	} else if (p->aspect == OTP_ASPECT_CROP) {
		cover(image, size, p->filter);
	} else {
		stretch(image, otp_size_within(size, picture), p->filter);
		otp_image_pad(image, size);
	}
}

/* ---- words ---------------------------------------------------------------------- */

char *otp_preprocessing_text(const otp_preprocessing *p)
{
	char size[OTP_SIZE_TEXT], crop[OTP_SIZE_TEXT];
	char *brought = p->size.h ? otp_format("brought to %s by %s (%s)", otp_size_text(p->size, size),
					       OTP_CHOICE_NAME(otp_resize, p->filter),
					       OTP_CHOICE_NAME(otp_aspect, p->aspect))
				  : otp_strdup("as they are");
	const char *grey = p->grey ? "; sources in grey" : "";
	char *text =
	    p->crop.h ? otp_format("%s, in random crops of %s%s", brought, otp_size_text(p->crop, crop), grey)
		      : otp_format("%s%s", brought, grey);
	otp_free(brought);
	return text;
}
