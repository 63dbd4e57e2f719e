/* jpeg: by libjpeg. Whatever it warns of is a refusal: it goes on after damage,
 * with grey or with noise in place of the picture. */
#include "pictures/decode.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

typedef struct reader {
	struct jpeg_decompress_struct info;
	struct jpeg_error_mgr errors;
	struct jpeg_progress_mgr progress;
	jmp_buf out;
	const otp_encoded *in;
	otp_head *head;
	uint8_t *pixels; /* decode only */
	uint8_t *row;	 /* (w, 4), of CMYK only */
	otp_error *err;
} reader;

static bool is_jpeg(const uint8_t *b, size_t count) { return count > 2 && b[0] == 0xff && b[1] == 0xd8; }

static void refuse(j_common_ptr info)
{
	reader *r = info->client_data;
	char text[JMSG_LENGTH_MAX];
	info->err->format_message(info, text);
	if (info->err->msg_code == JERR_OUT_OF_MEMORY)
		otp_fail_memory(r->err, r->in->where, 0, "decoding a JPEG", 0);
	else if (info->err->msg_code == JWRN_JPEG_EOF || info->err->msg_code == JERR_INPUT_EOF)
		otp_decode_cut(r->in, r->err);
	else
		otp_fail(r->err, r->in->where, "damaged: %s", text);
	longjmp(r->out, 1);
}

static void on_message(j_common_ptr info, int level)
{
	int code = info->err->msg_code;
	if (level < 0 && code != JWRN_JFIF_MAJOR && code != JWRN_ADOBE_XFORM)
		refuse(info);
}

/* Each scan passes over the whole picture: thousands of them in a small file are an attack. */
static void on_progress(j_common_ptr info)
{
	enum { MOST_SCANS = 1000 };
	reader *r = info->client_data;
	if (r->info.input_scan_number > MOST_SCANS) {
		otp_fail(r->err, r->in->where, "damaged: a JPEG of more than %d scans", MOST_SCANS);
		longjmp(r->out, 1);
	}
}

/* libjpeg leaves by longjmp; what work needs lies in the reader, so nothing is lost. */
static bool run(reader *r, void (*work)(reader *r))
{
	r->info.err = jpeg_std_error(&r->errors);
	r->info.client_data = r;
	r->errors.error_exit = refuse;
	r->errors.emit_message = on_message;
	r->progress.progress_monitor = on_progress;
	bool ok = setjmp(r->out) == 0;
	if (ok)
		work(r);
	jpeg_destroy_decompress(&r->info);
	otp_free(r->row);
	return ok;
}

static void read_head(reader *r)
{
	enum { EXIF = JPEG_APP0 + 1 };
	jpeg_create_decompress(&r->info);
	r->info.progress = &r->progress;
	jpeg_mem_src(&r->info, r->in->bytes, (unsigned long)r->in->count);
	jpeg_save_markers(&r->info, EXIF, 0xffff);
	jpeg_read_header(&r->info, TRUE);
}

/* A block takes a bit at least, unless arithmetic coding packs it. */
static bool holds_blocks(const reader *r)
{
	uint64_t blocks = 0;
	for (int i = 0; i < r->info.num_components; i++)
		blocks +=
		    (uint64_t)r->info.comp_info[i].width_in_blocks * r->info.comp_info[i].height_in_blocks;
	return r->info.arith_code || otp_decode_holds(r->in, blocks / 8, r->err);
}

static void look_at(reader *r)
{
	read_head(r);
	const struct jpeg_decompress_struct *info = &r->info;
	int parts = info->num_components;
	if (parts != 1 && parts != 3 && parts != 4) {
		otp_fail(r->err, r->in->where, "is a JPEG of %d channels, expected 1, 3 or 4", parts);
		longjmp(r->out, 1);
	}
	if (!otp_decode_size(r->in, info->image_height, info->image_width, r->head, r->err) ||
	    !holds_blocks(r))
		longjmp(r->out, 1);
	r->head->c = parts == 1 ? 1 : 3;
	for (jpeg_saved_marker_ptr m = info->marker_list; m; m = m->next)
		if (m->data_length > 6 && memcmp(m->data, "Exif\0", 6) == 0) {
			r->head->orientation = otp_exif_orientation(m->data, m->data_length);
			break;
		}
}

static bool look(const otp_encoded *in, otp_head *head, otp_error *err)
{
	reader r = {.in = in, .head = head, .err = err};
	return run(&r, look_at);
}

/* As every program that writes them: CMYK is stored inverted, and laid together without a profile. */
static void from_cmyk(const uint8_t *row, uint8_t *out, int count)
{
	for (int x = 0; x < count; x++, row += 4, out += 3)
		for (int k = 0; k < 3; k++)
			out[k] = (uint8_t)((row[k] * row[3] + 127) / 255);
}

/* A file may lack a scan and be in order otherwise: libjpeg takes what was never sent for zeros. */
static void check_all_came(reader *r)
{
	for (int i = 0; i < r->info.num_components; i++)
		if (!r->info.comp_info[i].quant_table ||
		    (r->info.progressive_mode && r->info.coef_bits && r->info.coef_bits[i][0] != 0)) {
			otp_decode_cut(r->in, r->err);
			longjmp(r->out, 1);
		}
}

static void decode_all(reader *r)
{
	read_head(r);
	struct jpeg_decompress_struct *info = &r->info;
	bool cmyk = info->num_components == 4;
	info->out_color_space = cmyk ? JCS_CMYK : r->head->c == 1 ? JCS_GRAYSCALE : JCS_RGB;
	info->dct_method = JDCT_ISLOW;
	jpeg_start_decompress(info);
	if (cmyk)
		r->row = otp_calloc((size_t)r->head->w, 4);
	for (size_t stride = (size_t)r->head->w * (size_t)r->head->c;
	     info->output_scanline < info->output_height;) {
		uint8_t *to = r->pixels + info->output_scanline * stride;
		JSAMPROW row = cmyk ? r->row : to;
		jpeg_read_scanlines(info, &row, 1);
		if (cmyk)
			from_cmyk(r->row, to, r->head->w);
	}
	check_all_came(r);
	jpeg_finish_decompress(info);
}

static bool decode(const otp_encoded *in, const otp_head *head, uint8_t *pixels, otp_error *err)
{
	otp_head same = *head;
	reader r = {.in = in, .head = &same, .pixels = pixels, .err = err};
	return run(&r, decode_all);
}

const otp_codec otp_codec_jpeg = {"JPEG", is_jpeg, look, decode};
