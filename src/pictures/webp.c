/* webp: by libwebp; of an animation its first frame. */
#include "pictures/decode.h"

#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>

static bool is_webp(const uint8_t *b, size_t count)
{
	return count >= 16 && memcmp(b, "RIFF", 4) == 0 && memcmp(b + 8, "WEBP", 4) == 0;
}

static int orientation(const otp_encoded *in)
{
	WebPData data = {in->bytes, in->count};
	WebPDemuxer *demuxer = WebPDemux(&data);
	WebPChunkIterator found;
	int number = 1;
	if (demuxer && WebPDemuxGetChunk(demuxer, "EXIF", 1, &found)) {
		number = otp_exif_orientation(found.chunk.bytes, found.chunk.size);
		WebPDemuxReleaseChunkIterator(&found);
	}
	WebPDemuxDelete(demuxer);
	return number;
}

static bool look(const otp_encoded *in, otp_head *head, otp_error *err)
{
	enum { FLAGS = 20, HAS_EXIF = 8 };
	WebPBitstreamFeatures f;
	uint64_t length = (uint64_t)otp_le32(in->bytes + 4) + 8;
	bool whole = in->count == in->total;
	if (!otp_decode_holds(in, length, err))
		return false;
	VP8StatusCode code = WebPGetFeatures(in->bytes, in->count, &f);
	if (code == VP8_STATUS_NOT_ENOUGH_DATA)
		return otp_decode_cut(in, err);
	if (code != VP8_STATUS_OK)
		return otp_fail(err, in->where, "damaged: no WebP that libwebp can read");
	head->c = f.has_alpha || f.has_animation ? 4 : 3;
	if (!otp_decode_size(in, f.height, f.width, head, err))
		return false;
	if (memcmp(in->bytes + 12, "VP8X", 4) != 0 || in->count <= FLAGS || !(in->bytes[FLAGS] & HAS_EXIF))
		return true;
	if (whole)
		head->orientation = orientation(in);
	/* EXIF stands at the end; it does not change the size of a square. */
	return whole || f.width == f.height || otp_decode_cut(in, err);
}

static bool first_frame(const otp_encoded *in, const otp_head *head, uint8_t *pixels, otp_error *err)
{
	WebPData data = {in->bytes, in->count};
	WebPAnimDecoderOptions options;
	WebPAnimDecoderOptionsInit(&options);
	options.color_mode = MODE_RGBA;
	WebPAnimDecoder *decoder = WebPAnimDecoderNew(&data, &options);
	uint8_t *frame = NULL;
	int time_ms;
	bool ok = decoder && WebPAnimDecoderGetNext(decoder, &frame, &time_ms);
	if (ok)
		memcpy(pixels, frame, (size_t)head->h * (size_t)head->w * 4);
	WebPAnimDecoderDelete(decoder);
	return ok || otp_fail(err, in->where, "damaged: the first frame of a WebP cannot be decoded");
}

static bool decode(const otp_encoded *in, const otp_head *head, uint8_t *pixels, otp_error *err)
{
	WebPDecoderConfig config;
	if (!WebPInitDecoderConfig(&config))
		return otp_fail_machine(err, in->where, "libwebp is older than what otplan was built with");
	if (WebPGetFeatures(in->bytes, in->count, &config.input) == VP8_STATUS_OK &&
	    config.input.has_animation)
		return first_frame(in, head, pixels, err);
	size_t stride = (size_t)head->w * (size_t)head->c;
	config.output.colorspace = head->c == 4 ? MODE_RGBA : MODE_RGB;
	config.output.is_external_memory = 1;
	config.output.u.RGBA =
	    (WebPRGBABuffer){.rgba = pixels, .stride = (int)stride, .size = stride * (size_t)head->h};
	VP8StatusCode code = WebPDecode(in->bytes, in->count, &config);
	WebPFreeDecBuffer(&config.output);
	if (code == VP8_STATUS_OK)
		return true;
	if (code == VP8_STATUS_OUT_OF_MEMORY)
		return otp_fail_memory(err, in->where, 0, "decoding a WebP", 0);
	if (code == VP8_STATUS_NOT_ENOUGH_DATA || code == VP8_STATUS_SUSPENDED)
		return otp_decode_cut(in, err);
	return otp_fail(err, in->where, "damaged: the data of a WebP are wrong");
}

const otp_codec otp_codec_webp = {"WebP", is_webp, look, decode};
