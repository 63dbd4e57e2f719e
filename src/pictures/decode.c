/* decode: which format a picture's bytes are of, what is refused before memory is
 * taken, and the way up. */
#include "pictures/decode.h"

#include "core/file.h"
#include "pictures/image.h"
#include "pictures/kinds.h"

#include <limits.h>
#include <string.h>

/* A TGA has no mark of its own: it is asked last. */
static const otp_codec *const codecs[] = {&otp_codec_jpeg, &otp_codec_png, &otp_codec_webp, &otp_codec_gif,
					  &otp_codec_bmp,  &otp_codec_pnm, &otp_codec_tga};

#undef otp_decode_cut
bool otp_decode_cut(const otp_encoded *in, otp_error *err)
{
	return otp_fail(err, in->where, "damaged: ends before its picture does");
}

bool otp_decode_holds(const otp_encoded *in, uint64_t needed, otp_error *err)
{
	return needed <= in->total ||
	       otp_fail(err, in->where,
			"damaged: ends before its picture does (%llu bytes needed, it has %zu)",
			(unsigned long long)needed, in->total);
}

bool otp_decode_size(const otp_encoded *in, int64_t h, int64_t w, otp_head *head, otp_error *err)
{
	if (h < 1 || w < 1 || h > INT_MAX || w > INT_MAX)
		return otp_fail(err, in->where,
				"damaged: says that it is %lld x %lld pixels (width x height)", (long long)w,
				(long long)h);
	head->h = (int)h;
	head->w = (int)w;
	return true;
}

static const otp_codec *codec_of(const otp_encoded *in, otp_error *err)
{
	bool picture;
	for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
		if (codecs[i]->is(in->bytes, in->count))
			return codecs[i];
	const char *kind = otp_kind_of(in->bytes, in->count, &picture);
	otp_fail(err, in->where, "is %s, expected %s", strcmp(kind, "other") == 0 ? "of no known kind" : kind,
		 OTP_IMAGE_FORMATS);
	return NULL;
}

/* Formats have checked what they can against the file's length. This is for what
 * may be as large as it says: a WebP of one colour takes a few bytes at any size. */
static bool check_limit(const otp_encoded *in, const otp_head *head, int64_t most_pixels, otp_error *err)
{
	int64_t pixels = (int64_t)head->h * head->w;
	return pixels <= most_pixels ||
	       otp_fail(
		   err, in->where,
		   "is %d x %d (width x height), %lld pixels; pictures of up to %lld are read (max-pixels)",
		   head->w, head->h, (long long)pixels, (long long)most_pixels);
}

static const otp_codec *look(const otp_encoded *in, int64_t most_pixels, otp_head *head, otp_error *err)
{
	const otp_codec *codec = codec_of(in, err);
	*head = (otp_head){.orientation = 1};
	return codec && codec->look(in, head, err) && check_limit(in, head, most_pixels, err) ? codec : NULL;
}

bool otp_image_look(const void *bytes, size_t count, size_t total, const char *where, int64_t most_pixels,
		    otp_image_facts *out, otp_error *err)
{
	otp_head head;
	otp_encoded in = {bytes, count, total, where};
	if (!look(&in, most_pixels, &head, err))
		return false;
	bool lies = head.orientation >= 5;
	*out = (otp_image_facts){
	    .h = lies ? head.w : head.h, .w = lies ? head.h : head.w, .c = head.c, .deep = head.deep};
	return true;
}

static uint8_t *pixels_for(const otp_encoded *in, size_t bytes, otp_error *err)
{
	uint8_t *pixels = otp_try_calloc(bytes, 1);
	if (!pixels)
		otp_fail_memory(err, in->where, bytes, "a decoded picture", 0);
	return pixels;
}

/* Turn what was decoded the way that the file asks for; `pixels` are replaced. */
static bool turn(const otp_encoded *in, const otp_head *head, uint8_t **pixels, size_t bytes, otp_error *err)
{
	if (head->orientation == 1)
		return true;
	uint8_t *turned = pixels_for(in, bytes, err);
	if (turned)
		otp_orientation_apply(head, *pixels, turned);
	otp_free(*pixels);
	*pixels = turned;
	return turned != NULL;
}

bool otp_image_decode(const void *bytes, size_t count, const char *where, int64_t most_pixels, otp_image *out,
		      otp_error *err)
{
	otp_head head;
	otp_encoded in = {bytes, count, count, where};
	const otp_codec *codec = look(&in, most_pixels, &head, err);
	if (!codec)
		return false;
	size_t size = otp_mul_size(otp_mul_size((size_t)head.h, (size_t)head.w), (size_t)head.c);
	uint8_t *pixels = pixels_for(&in, size, err);
	if (!pixels)
		return false;
	if (!codec->decode(&in, &head, pixels, err)) {
		otp_free(pixels);
		return false;
	}
	if (!turn(&in, &head, &pixels, size, err))
		return false;
	bool lies = head.orientation >= 5;
	*out = (otp_image){.h = lies ? head.w : head.h,
			   .w = lies ? head.h : head.w,
			   .c = head.c,
			   .u8 = pixels,
			   .owned = pixels,
			   .deep = head.deep,
			   .turned = head.orientation != 1};
	return true;
}

bool otp_image_read(const char *path, otp_image *out, otp_error *err)
{
	size_t count;
	void *bytes = otp_file_read(path, &count, err);
	bool ok = bytes && otp_image_decode(bytes, count, path, OTP_IMAGE_MOST_PIXELS, out, err);
	otp_free(bytes);
	return ok;
}
