/* gif: by giflib; of an animation its first frame, on the whole canvas. */
#include "pictures/decode.h"

#include <gif_lib.h>
#include <string.h>

typedef struct cursor {
	const otp_encoded *in;
	size_t at;
} cursor;

/* Called by giflib for its next bytes. */
static int give(GifFileType *gif, GifByteType *to, int count)
{
	cursor *c = gif->UserData;
	size_t left = c->in->count - c->at, bytes = (size_t)count < left ? (size_t)count : left;
	memcpy(to, c->in->bytes + c->at, bytes);
	c->at += bytes;
	return (int)bytes;
}

static bool is_gif(const uint8_t *b, size_t count)
{
	return count >= 6 && (memcmp(b, "GIF87a", 6) == 0 || memcmp(b, "GIF89a", 6) == 0);
}

static bool failed(const otp_encoded *in, int code, otp_error *err)
{
	if (code == D_GIF_ERR_NOT_ENOUGH_MEM)
		return otp_fail_memory(err, in->where, 0, "decoding a GIF", 0);
	if (code == D_GIF_ERR_READ_FAILED || code == D_GIF_ERR_EOF_TOO_SOON || !GifErrorString(code))
		return otp_decode_cut(in, err);
	return otp_fail(err, in->where, "damaged: %s", GifErrorString(code));
}

/* Up to the first frame's data; `transparent`: the colour that nothing is drawn in, or -1. */
static bool to_frame(GifFileType *gif, int *transparent)
{
	GifRecordType type;
	*transparent = -1;
	while (DGifGetRecordType(gif, &type) == GIF_OK) {
		if (type == IMAGE_DESC_RECORD_TYPE)
			return DGifGetImageDesc(gif) == GIF_OK;
		if (type != EXTENSION_RECORD_TYPE)
			return false;
		int code;
		GifByteType *block;
		GraphicsControlBlock control;
		if (DGifGetExtension(gif, &code, &block) != GIF_OK)
			return false;
		if (code == GRAPHICS_EXT_FUNC_CODE && block &&
		    DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK)
			*transparent = control.TransparentColor;
		while (block)
			if (DGifGetExtensionNext(gif, &block) != GIF_OK)
				return false;
	}
	return false;
}

static GifFileType *open_at_frame(cursor *at, int *transparent, otp_error *err)
{
	int code = 0;
	GifFileType *gif = DGifOpen(at, give, &code);
	if (gif && to_frame(gif, transparent))
		return gif;
	failed(at->in, gif ? gif->Error : code, err);
	if (gif)
		DGifCloseFile(gif, NULL);
	return NULL;
}

static bool look(const otp_encoded *in, otp_head *head, otp_error *err)
{
	cursor at = {in, 0};
	int transparent;
	GifFileType *gif = open_at_frame(&at, &transparent, err);
	if (!gif)
		return false;
	const GifImageDesc *frame = &gif->Image;
	bool empty = gif->SWidth < 1 || gif->SHeight < 1 || frame->Width < 1 || frame->Height < 1;
	int w = frame->Left + frame->Width,
	    h = frame->Top + frame->Height; /* what juts out widens the canvas */
	bool ok = otp_decode_size(in,
				  empty		     ? 0
				  : h > gif->SHeight ? h
						     : gif->SHeight,
				  empty		    ? 0
				  : w > gif->SWidth ? w
						    : gif->SWidth,
				  head, err);
	/* A code of 12 bits stands for 4096 pixels at most. */
	ok = ok && otp_decode_holds(in, (uint64_t)head->h * (uint64_t)head->w / 2731, err);
	head->c = transparent >= 0 ? 4 : 3;
	DGifCloseFile(gif, NULL);
	return ok;
}

/* The frame's indices, in rows from top to bottom: interlaced frames hold every eighth row first. */
static bool read_rows(GifFileType *gif, uint8_t *indices)
{
	static const int first[] = {0, 4, 2, 1}, step[] = {8, 8, 4, 2};
	int h = gif->Image.Height, w = gif->Image.Width, passes = gif->Image.Interlace ? 4 : 1;
	for (int pass = 0; pass < passes; pass++)
		for (int y = passes > 1 ? first[pass] : 0; y<h; y += passes> 1 ? step[pass] : 1)
			if (DGifGetLine(gif, indices + (size_t)y * (size_t)w, w) != GIF_OK)
				return false;
	return true;
}

/* The rest is not looked at, but has to be there: a cut file is a damaged one. A file
 * without its last byte, the trailer, passes. */
static bool rest_is_there(GifFileType *gif)
{
	GifRecordType type;
	while (DGifGetRecordType(gif, &type) == GIF_OK) {
		int code;
		GifByteType *block = NULL;
		if (type == TERMINATE_RECORD_TYPE)
			return true;
		bool frame = type == IMAGE_DESC_RECORD_TYPE;
		if (frame ? DGifGetImageDesc(gif) != GIF_OK || DGifGetCode(gif, &code, &block) != GIF_OK
			  : DGifGetExtension(gif, &code, &block) != GIF_OK)
			return false;
		while (block)
			if ((frame ? DGifGetCodeNext(gif, &block) : DGifGetExtensionNext(gif, &block)) !=
			    GIF_OK)
				return false;
	}
	return gif->Error == D_GIF_ERR_READ_FAILED || gif->Error == D_GIF_ERR_WRONG_RECORD;
}

static void colour(const ColorMapObject *map, int index, int transparent, int c, uint8_t *to)
{
	static const GifColorType black;
	GifColorType grey = {(GifByteType)index, (GifByteType)index, (GifByteType)index};
	GifColorType at = !map ? grey : index < map->ColorCount ? map->Colors[index] : black;
	to[0] = at.Red;
	to[1] = at.Green;
	to[2] = at.Blue;
	if (c == 4)
		to[3] = index == transparent ? 0 : 255;
}

static bool decode(const otp_encoded *in, const otp_head *head, uint8_t *pixels, otp_error *err)
{
	cursor at = {in, 0};
	int transparent, c = head->c;
	GifFileType *gif = open_at_frame(&at, &transparent, err);
	if (!gif)
		return false;
	const GifImageDesc *f = &gif->Image;
	const ColorMapObject *map = f->ColorMap ? f->ColorMap : gif->SColorMap;
	size_t bytes = (size_t)f->Width * (size_t)f->Height;
	uint8_t *indices = otp_try_calloc(bytes, 1);
	bool ok = indices ? (read_rows(gif, indices) && rest_is_there(gif)) || failed(in, gif->Error, err)
			  : otp_fail_memory(err, in->where, bytes, "decoding a GIF", 0);
	for (int y = 0; ok && y < head->h; y++)
		for (int x = 0; x < head->w; x++, pixels += c) {
			int u = x - f->Left, v = y - f->Top;
			bool within = u >= 0 && v >= 0 && u < f->Width && v < f->Height;
			colour(map,
			       within		  ? indices[(size_t)v * (size_t)f->Width + (size_t)u]
			       : transparent >= 0 ? transparent
						  : 0,
			       transparent, c, pixels);
		}
	otp_free(indices);
	DGifCloseFile(gif, NULL);
	return ok;
}

const otp_codec otp_codec_gif = {"GIF", is_gif, look, decode};
