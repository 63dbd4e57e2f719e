/* JPEG: grey, colour, CMYK, progressive, turned by EXIF, damaged. */
#include "pictures/pictures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

void put_jpeg(bytes *out, const uint8_t *pixels, int h, int w, jpeg_options o)
{
	struct jpeg_compress_struct info;
	struct jpeg_error_mgr errors;
	unsigned char *made = NULL;
	unsigned long length = 0;
	info.err = jpeg_std_error(&errors);
	jpeg_create_compress(&info);
	jpeg_mem_dest(&info, &made, &length);
	info.image_height = (JDIMENSION)h;
	info.image_width = (JDIMENSION)w;
	info.input_components = o.c;
	info.in_color_space = o.c == 1 ? JCS_GRAYSCALE : o.c == 3 ? JCS_RGB : JCS_CMYK;
	jpeg_set_defaults(&info);
	jpeg_set_quality(&info, 100, TRUE);
	for (int i = 0; i < info.num_components; i++)
		info.comp_info[i].h_samp_factor = info.comp_info[i].v_samp_factor = 1;
	if (o.progressive)
		jpeg_simple_progression(&info);
	jpeg_start_compress(&info, TRUE);
	if (o.orientation) {
		bytes *exif = calloc(1, sizeof *exif);
		add(exif, "Exif\0", 6);
		if (o.orientation > 0)
			add_exif(exif, o.orientation, o.big);
		else
			add(exif, "MM\0*\xff\xff\xff\xff\xff\xff", 10);
		jpeg_write_marker(&info, JPEG_APP0 + 1, exif->b, (unsigned)exif->n);
		free(exif);
	}
	for (int y = 0; y < h; y++) {
		JSAMPROW row = (JSAMPROW)(pixels + y * w * o.c);
		jpeg_write_scanlines(&info, &row, 1);
	}
	jpeg_finish_compress(&info);
	jpeg_destroy_compress(&info);
	out->n = 0;
	add(out, made, length);
	free(made);
}

void jpeg_is_right(void **state)
{
	(void)state;
	bytes *j = calloc(1, sizeof *j);
	uint8_t *grey = ramp(20, 13, 21, 1), *rgb = ramp(20, 13, 21, 3);
	otp_image image;
	for (int progressive = 0; progressive < 2; progressive++) {
		put_jpeg(j, grey, 13, 21, (jpeg_options){.c = 1, .progressive = progressive});
		image = decoded(j);
		holds(&image, 13, 21, 1, grey, 2);
		otp_image_free(&image);
		put_jpeg(j, rgb, 13, 21, (jpeg_options){.c = 3, .progressive = progressive});
		image = decoded(j);
		holds(&image, 13, 21, 3, rgb, 4);
		otp_image_free(&image);
		every_cut_is_refused(j, j->n);
		every_flip_is_survived(j);
	}
	/* CMYK, inverted as all write it: ink where the stored value is small. */
	uint8_t inks[8 * 8 * 4], shown[8 * 8 * 3];
	for (int i = 0; i < 64; i++) {
		uint8_t stored[4] = {200, 100, 50, 230};
		memcpy(inks + 4 * i, stored, 4);
		for (int k = 0; k < 3; k++)
			shown[3 * i + k] = (uint8_t)(stored[k] * 230 / 255);
	}
	put_jpeg(j, inks, 8, 8, (jpeg_options){.c = 4});
	image = decoded(j);
	holds(&image, 8, 8, 3, shown, 2);
	otp_image_free(&image);
	for (int orientation = 1; orientation <= 8; orientation++)
		for (int big = 0; big < 2; big++) {
			put_jpeg(j, rgb, 13, 21,
				 (jpeg_options){.c = 3, .orientation = orientation, .big = big});
			is_turned(j, orientation, 13, 21, rgb, 4);
		}
	for (int broken = -1; broken <= 9; broken += 10) {
		put_jpeg(j, rgb, 13, 21, (jpeg_options){.c = 3, .orientation = broken});
		is_turned(j, 1, 13, 21, rgb, 4);
	}
	otp_free(grey);
	otp_free(rgb);
	free(j);
}

/* The first segment of that marker. */
static size_t segment(const bytes *j, uint8_t marker)
{
	size_t at = 2;
	while (j->b[at + 1] != marker) {
		assert_true(at + 4 < j->n && j->b[at] == 0xff);
		at += 2 + (size_t)(j->b[at + 2] << 8 | j->b[at + 3]);
	}
	return at;
}

void damaged_jpeg_is_refused(void **state)
{
	(void)state;
	enum { HUFFMAN = 0xc4, SCAN = 0xda };
	bytes *j = calloc(1, sizeof *j), *made = calloc(1, sizeof *made);
	uint8_t *rgb = ramp(20, 40, 40, 3);
	put_jpeg(j, rgb, 40, 40, (jpeg_options){.c = 3});
	size_t table = segment(j, HUFFMAN), scan = segment(j, SCAN);

	/* A Huffman table of 257 codes, also behind fill bytes. */
	for (int fill = 0; fill < 3; fill++) {
		made->n = 0;
		add(made, j->b, table);
		for (int i = 0; i < fill; i++)
			add8(made, 0xff);
		add8(made, 0xff);
		add8(made, HUFFMAN);
		add_be(made, 2 + 17 + 257, 2);
		add8(made, 0);
		for (int i = 0; i < 16; i++)
			add8(made, i == 14 ? 2 : i == 15 ? 255 : 0);
		for (int i = 0; i < 257; i++)
			add8(made, i & 255);
		add(made, j->b + table, j->n - table);
		is_refused(made, made->n, "Huffman");
	}
	/* Its picture is cut short, but it has an end. */
	made->n = 0;
	add(made, j->b, (scan + j->n) / 2);
	add(made, "\xff\xd9", 2);
	is_refused(made, made->n, "damaged");
	/* A progressive picture without its later scans. */
	put_jpeg(j, rgb, 40, 40, (jpeg_options){.c = 3, .progressive = true});
	scan = segment(j, SCAN);
	size_t next = scan + 2;
	while (j->b[next] != 0xff || j->b[next + 1] != HUFFMAN)
		next++;
	made->n = 0;
	add(made, j->b, next);
	add(made, "\xff\xd9", 2);
	is_refused(made, made->n, "ends before its picture does");
	/* It says more than it holds. */
	put_jpeg(j, rgb, 40, 40, (jpeg_options){.c = 3});
	size_t frame = segment(j, 0xc0);
	memcpy(j->b + frame + 5, "\x4e\x20\x4e\x20", 4);
	is_refused(j, j->n, "ends before its picture does");
	otp_free(rgb);
	free(j);
	free(made);
}
