/* data: every format right and wrong, modifiers, colour laws, synthetic laws,
 * the order and the determinism of the loader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/file.h"
#include "data/colour.h"
#include "data/dataset.h"
#include "data/digits.h"
#include "data/image.h"
#include "data/laws.h"
#include "data/loader.h"
#include "data/permute.h"
#include "data/spec.h"

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>
#include <zlib.h>

static char root[] = "/tmp/otplan-data-XXXXXX";

/* ---- helpers ---------------------------------------------------------------- */

/* A path in the test's folder; a few are alive at a time. */
static const char *at(const char *name)
{
	static char buffers[8][512];
	static int next;
	char *buffer = buffers[next++ % 8];
	snprintf(buffer, sizeof buffers[0], "%s/%s", root, name);
	return buffer;
}

static void folder(const char *name)
{
	otp_error err = {0};
	assert_true(otp_file_make_folder(at(name), &err));
}

static void put(const char *name, const void *data, size_t bytes)
{
	otp_error err = {0};
	if (!otp_file_write(at(name), data, bytes, &err))
		fail_msg("%s", err.text);
}

/* Pixel (y, x, k) is base + y + 2x + 3k. */
static uint8_t *ramp(int base, int h, int w, int c)
{
	uint8_t *p = otp_calloc((size_t)(h * w * c), 1);
	for (int i = 0; i < h * w * c; i++)
		p[i] = (uint8_t)(base + i / (w * c) + 2 * (i / c % w) + 3 * (i % c));
	return p;
}

static void put_png(const char *name, int base, int h, int w, int c)
{
	otp_error err = {0};
	uint8_t *p = ramp(base, h, w, c);
	assert_true(otp_image_write_png(at(name), p, h, w, c, &err));
	otp_free(p);
}

/* Keep so many eighths of a file. */
static void cut(const char *from, const char *to, int eighths)
{
	otp_error err = {0};
	size_t all;
	char *data = otp_file_read(at(from), &all, &err);
	put(to, data, all * (size_t)eighths / 8);
	otp_free(data);
}

static otp_dataset *open_set(const char *spec)
{
	otp_error err = {0};
	otp_dataset *d = otp_dataset_open(spec, 7, &err);
	if (!d)
		fail_msg("%s", err.text);
	return d;
}

static otp_dataset *ready(const char *spec, int size, int channels)
{
	otp_error err = {0};
	otp_dataset *d = open_set(spec);
	if (!otp_dataset_prepare(d, size, channels, 2, &err))
		fail_msg("%s", err.text);
	return d;
}

/* Opening, or else preparing, fails in one line that holds each of the words. */
static void refuses(const char *spec, int size, int channels, const char *word, const char *other)
{
	otp_error err = {0};
	otp_dataset *d = otp_dataset_open(spec, 7, &err);
	bool ok = d && otp_dataset_prepare(d, size, channels, 1, &err);
	otp_dataset_close(d);
	assert_false(ok);
	assert_int_equal(err.exit_code, OTP_EXIT_USAGE);
	if (!strstr(err.text, word) || !strstr(err.text, other))
		fail_msg("`%s' lacks `%s' or `%s'", err.text, word, other);
}

static void get(const otp_dataset *d, uint64_t index, uint32_t draw, float *out)
{
	otp_error err = {0};
	if (!otp_dataset_get(d, index, draw, out, &err))
		fail_msg("%s", err.text);
}

static void assert_close(double a, double b, double bound)
{
	if (!(fabs(a - b) <= bound))
		fail_msg("%.9g is not %.9g within %g", a, b, bound);
}

/* ---- images -------------------------------------------------------------------- */

static void bytes_round_half_to_even(void **state)
{
	(void)state;
	for (int b = 0; b < 256; b++)
		assert_int_equal(otp_image_byte((float)b / 127.5f - 1), b);
	assert_int_equal(otp_image_byte(-1.0f), 0);
	assert_int_equal(otp_image_byte(-7.0f), 0);
	assert_int_equal(otp_image_byte(1.0f), 255);
	assert_int_equal(otp_image_byte(1e30f), 255);
	assert_int_equal(otp_image_byte(NAN), 0);
	assert_int_equal(otp_image_byte(0.0f), 128); /* 127.5 */
	assert_int_equal(otp_image_byte(1.0f / 255 * 1e-6f), 128);
	assert_int_equal(otp_image_byte(-1.0f / 255 * 1e-3f), 127);
}

static void channels_convert(void **state)
{
	(void)state;
	uint8_t rgba[] = {255, 0, 0, 255, 10, 20, 30, 0};
	otp_image image = {.h = 1, .w = 2, .c = 4, .u8 = rgba};
	otp_image_to_channels(&image, 3);
	otp_image_to_bytes(&image);
	const uint8_t over_white[] = {255, 0, 0, 255, 255, 255};
	assert_memory_equal(image.u8, over_white, sizeof over_white);
	otp_image_to_channels(&image, 1);
	otp_image_to_bytes(&image);
	assert_int_equal(image.u8[0], 76); /* 0.299 * 255 */
	assert_int_equal(image.u8[1], 255);
	otp_image_to_channels(&image, 4);
	otp_image_to_bytes(&image);
	const uint8_t opaque[] = {76, 76, 76, 255, 255, 255, 255, 255};
	assert_memory_equal(image.u8, opaque, sizeof opaque);
	otp_image_free(&image);
}

static void resize_keeps_means_and_centre(void **state)
{
	(void)state;
	/* A constant stays constant at any ratio; a wide image loses its two ends alike. */
	static const int shapes[][3] = {{7, 13, 5}, {64, 48, 16}, {3, 3, 8},
					{1, 9, 4},  {33, 32, 32}, {500, 20, 8}};
	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
		int h = shapes[s][0], w = shapes[s][1], size = shapes[s][2];
		uint8_t *flat = otp_calloc((size_t)(h * w * 3), 1);
		memset(flat, 77, (size_t)(h * w * 3));
		otp_image image = {.h = h, .w = w, .c = 3, .u8 = flat};
		otp_image_to_square(&image, size);
		otp_image_to_bytes(&image);
		for (int i = 0; i < size * size * 3; i++)
			assert_int_equal(image.u8[i], 77);
		otp_image_free(&image);
		otp_free(flat);
	}
	uint8_t wide[4 * 12];
	for (int i = 0; i < 48; i++)
		wide[i] = (uint8_t)(20 * (i % 12));
	otp_image image = {.h = 4, .w = 12, .c = 1, .u8 = wide};
	otp_image_to_square(&image, 4);
	otp_image_to_bytes(&image);
	for (int x = 0; x < 4; x++)
		assert_int_equal(image.u8[x], 20 * (x + 4));
	otp_image_free(&image);

	/* Antialiased: a fine checkerboard shrinks to its mean, not to one of its colours. */
	uint8_t board[64 * 64];
	for (int i = 0; i < 64 * 64; i++)
		board[i] = (i + i / 64) % 2 ? 255 : 0;
	image = (otp_image){.h = 64, .w = 64, .c = 1, .u8 = board};
	otp_image_to_square(&image, 8);
	for (int i = 0; i < 64; i++)
		assert_close((double)image.f32[i], 0, 0.02);
	otp_image_free(&image);
}

/* ---- folders --------------------------------------------------------------------- */

static void png_chunk(gzFile out, const char *type, const uint8_t *data, uint32_t bytes)
{
	uint8_t frame[4] = {(uint8_t)(bytes >> 24), (uint8_t)(bytes >> 16), (uint8_t)(bytes >> 8),
			    (uint8_t)bytes};
	gzwrite(out, frame, 4);
	gzwrite(out, type, 4);
	if (bytes)
		gzwrite(out, data, bytes);
	uLong crc = crc32(crc32(0, (const Bytef *)type, 4), data, bytes);
	uint8_t tail[4] = {(uint8_t)(crc >> 24), (uint8_t)(crc >> 16), (uint8_t)(crc >> 8), (uint8_t)crc};
	gzwrite(out, tail, 4);
}

/* A grey PNG of 16 bits, 2 x 2, top bytes 0, 85, 170, 255. */
static void put_png16(const char *name)
{
	const uint8_t head[13] = {0, 0, 0, 2, 0, 0, 0, 2, 16, 0, 0, 0, 0};
	const uint8_t rows[] = {0, 0, 0, 85, 9, 0, 170, 200, 255, 255};
	uint8_t packed[64];
	uLongf bytes = sizeof packed;
	assert_int_equal(compress(packed, &bytes, rows, sizeof rows), Z_OK);
	gzFile out = gzopen(at(name), "wbT"); /* T: no compression, a plain file */
	gzwrite(out, "\x89PNG\r\n\x1a\n", 8);
	png_chunk(out, "IHDR", head, sizeof head);
	png_chunk(out, "IDAT", packed, (uint32_t)bytes);
	png_chunk(out, "IEND", NULL, 0);
	gzclose(out);
}

static void folder_finds_names_and_skips(void **state)
{
	(void)state;
	folder("f/sub/deep");
	put_png("f/b.png", 10, 6, 6, 3);
	put_png("f/a.png", 20, 6, 6, 1);
	put_png("f/sub/c.png", 30, 6, 6, 4);
	put_png("f/sub/deep/d.PNG", 40, 6, 6, 2);
	put("f/notes.txt", "x", 1);
	put("f/.hidden.png", "x", 1);
	put("f/broken.png", "not a picture", 13);
	put_png("f/.whole.png", 50, 40, 40, 3);
	cut("f/.whole.png", "f/cut.png", 6); /* head whole, body not */
	assert_int_equal(symlink("..", at("f/sub/loop")), 0);
	assert_int_equal(symlink("/no/such/place.png", at("f/gone.png")), 0);

	otp_dataset *d = open_set(at("f"));
	otp_dataset_info info = otp_dataset_describe(d);
	assert_int_equal(info.count, 5);
	assert_int_equal(info.skipped, 2);
	assert_int_equal(info.c, 3);
	assert_false(info.one_size);
	assert_int_equal(info.survey.alpha, 2);
	assert_int_equal(info.survey.grey, 2);
	assert_int_equal(info.survey.h_max, 40);
	otp_error err = {0};
	assert_false(otp_dataset_prepare(d, 0, 0, 1, &err));
	assert_non_null(strstr(err.text, "--image-size"));

	err = (otp_error){0};
	assert_true(otp_dataset_prepare(d, 6, 3, 2, &err));
	info = otp_dataset_describe(d);
	assert_int_equal(info.count, 4);
	assert_int_equal(info.skipped, 3);
	assert_non_null(strstr(otp_dataset_skipped(d, 2), "cut.png"));
	static const char *names[] = {"a", "b", "sub/c", "sub/deep/d"};
	char buffer[256];
	float x[6 * 6 * 3];
	for (uint64_t i = 0; i < 4; i++)
		assert_string_equal(otp_dataset_name(d, i, buffer, sizeof buffer), names[i]);
	get(d, 0, 0, x);
	assert_close((double)x[0], 20 / 127.5 - 1, 1e-6);
	assert_close((double)x[1], 20 / 127.5 - 1, 1e-6);
	get(d, 1, 0, x);
	for (int i = 0; i < 108; i++)
		assert_int_equal(otp_image_byte(x[i]), 10 + i / 18 + 2 * (i / 3 % 6) + 3 * (i % 3));
	otp_dataset_close(d);
}

static void folder_on_demand_equals_memory(void **state)
{
	(void)state;
	folder("od");
	for (int i = 0; i < 5; i++) {
		char name[32];
		snprintf(name, sizeof name, "od/%d.png", i);
		put_png(name, 30 * i, 20 + i, 31 - i, i % 2 ? 3 : 1);
	}
	put_png("od-whole.png", 0, 40, 40, 3);
	cut("od-whole.png", "od/2b.png", 6);
	otp_dataset *kept = ready(at("od"), 16, 3), *fresh = ready(at("od?keep=off"), 16, 3);
	assert_true(otp_dataset_describe(kept).memory_bytes > otp_dataset_describe(fresh).memory_bytes);
	assert_int_equal(otp_dataset_describe(kept).count, 5);
	assert_int_equal(otp_dataset_describe(fresh).count, 6);
	float a[16 * 16 * 3], b[16 * 16 * 3];
	for (uint64_t i = 0; i < 6; i++) {
		/* The next good one stands in for the broken fourth. */
		get(kept, i <= 3 ? i : i - 1, 0, a);
		get(fresh, i, 0, b);
		if (i != 3)
			assert_memory_equal(a, b, sizeof a);
	}
	get(kept, 3, 0, a);
	get(fresh, 3, 0, b);
	assert_memory_equal(a, b, sizeof a);
	assert_int_equal(otp_dataset_describe(fresh).skipped, 1);
	otp_dataset_close(kept);
	otp_dataset_close(fresh);
}

static void folder_knows_jpeg_and_16_bits(void **state)
{
	(void)state;
	folder("j");
	uint8_t *p = ramp(60, 32, 32, 3);
	otp_error err = {0};
	size_t bytes;
	char *jpeg = otp_file_read(OTPLAN_SOURCE_DIR "/datasets/samples/ramp.jpg", &bytes, &err);
	assert_non_null(jpeg);
	put("j/whole.jpg", jpeg, bytes);
	put("j/short.jpg", jpeg, bytes * 2 / 3);
	otp_dataset *d = ready(at("j"), 0, 0);
	assert_int_equal(otp_dataset_describe(d).count, 1);
	assert_non_null(strstr(otp_dataset_skipped(d, 0), "short.jpg: JPEG ends early"));
	float x[32 * 32 * 3];
	get(d, 0, 0, x);
	for (int i = 0; i < 32 * 32 * 3; i++)
		assert_close((double)x[i], p[i] / 127.5 - 1, 0.12);
	otp_dataset_close(d);
	otp_free(p);

	folder("deep");
	put_png16("deep/d.png");
	d = ready(at("deep"), 0, 0);
	assert_int_equal(otp_dataset_describe(d).survey.deep, 1);
	assert_int_equal(otp_dataset_describe(d).c, 1);
	get(d, 0, 0, x);
	assert_int_equal(otp_image_byte(x[1]), 85);
	assert_int_equal(otp_image_byte(x[3]), 255);
	otp_dataset_close(d);

	folder("twins");
	put_png("twins/a.png", 1, 4, 4, 1);
	put("twins/a.jpg", jpeg, bytes);
	otp_free(jpeg);
	put_png("twins/a-b.png", 1, 4, 4, 1);
	d = ready(at("twins"), 4, 1);
	char buffer[256];
	assert_string_equal(otp_dataset_name(d, 0, buffer, sizeof buffer), "a.jpg");
	assert_string_equal(otp_dataset_name(d, 1, buffer, sizeof buffer), "a.png");
	assert_string_equal(otp_dataset_name(d, 2, buffer, sizeof buffer), "a-b");
	otp_dataset_close(d);
}

static void folder_refusals(void **state)
{
	(void)state;
	folder("empty");
	folder("text");
	folder("bad");
	put("text/a.txt", "x", 1);
	put("text/b.txt", "x", 1);
	put("text/c.webp", "x", 1);
	put("bad/a.png", "x", 1);
	put("unknown.bin", "x", 1);
	refuses(at("empty"), 0, 0, "holds no files", "png");
	refuses(at("text"), 0, 0, "2 .txt", "1 .webp");
	refuses(at("bad"), 0, 0, "no usable image", "a.png");
	refuses(at("nowhere"), 0, 0, "no such file", "");
	refuses(at("nowhere.npy"), 0, 0, "no such file", "");
	refuses(at("unknown.bin"), 0, 0, "format", "synth:NAME");
	folder("onlycut");
	put_png("onlycut.png", 0, 40, 40, 3);
	cut("onlycut.png", "onlycut/a.png", 6);
	refuses(at("onlycut"), 0, 0, "none of its images can be decoded", "a.png");
}

static void put_zip(const char *name, const char *const *entries, const void *const *data,
		    const size_t *bytes, int count)
{
	int code;
	zip_t *z = zip_open(at(name), ZIP_CREATE | ZIP_TRUNCATE, &code);
	assert_non_null(z);
	for (int i = 0; i < count; i++) {
		zip_int64_t n = zip_file_add(z, entries[i], zip_source_buffer(z, data[i], bytes[i], 0), 0);
		assert_true(n >= 0);
		zip_set_file_compression(z, (zip_uint64_t)n, i % 2 ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
	}
	assert_int_equal(zip_close(z), 0);
}

static void zip_is_a_folder(void **state)
{
	(void)state;
	put_png("z1.png", 5, 8, 8, 3);
	put_png("z2.png", 9, 8, 8, 3);
	otp_error err = {0};
	size_t bytes[3];
	const void *data[3] = {otp_file_read(at("z2.png"), &bytes[0], &err),
			       otp_file_read(at("z1.png"), &bytes[1], &err), "hello"};
	bytes[2] = 5;
	put_zip("s.zip", (const char *const[]){"k/two.png", "k/one.png", "k/read.me"}, data, bytes, 3);
	otp_dataset *d = ready(at("s.zip"), 0, 0);
	assert_int_equal(otp_dataset_describe(d).count, 2);
	assert_string_equal(otp_dataset_describe(d).format, "zip");
	char buffer[64];
	assert_string_equal(otp_dataset_name(d, 0, buffer, sizeof buffer), "k/one");
	float x[8 * 8 * 3];
	get(d, 0, 0, x);
	assert_int_equal(otp_image_byte(x[0]), 5);
	otp_dataset_close(d);
	otp_free((void *)data[0]);
	otp_free((void *)data[1]);
	cut("s.zip", "cut.zip", 6);
	refuses(at("cut.zip"), 0, 0, "cannot be opened as a zip", "");
}

/* ---- arrays ------------------------------------------------------------------------ */

static void put_idx(const char *name, const char *mode, int count, int missing)
{
	uint8_t head[16] = {0, 0, 8, 3, 0, 0, 0, (uint8_t)count, 0, 0, 0, 4, 0, 0, 0, 5};
	gzFile out = gzopen(at(name), mode);
	gzwrite(out, head, sizeof head);
	for (int n = 0; n < count; n++) {
		uint8_t *p = ramp(n, 4, 5, 1);
		gzwrite(out, p, (unsigned)(n == count - 1 ? 20 - missing : 20));
		otp_free(p);
	}
	gzclose(out);
}

static void idx_plain_and_gzipped(void **state)
{
	(void)state;
	put_idx("a-images-idx3-ubyte", "wbT", 9, 0);
	put_idx("a-images-idx3-ubyte.gz", "wb", 9, 0);
	static const char *names[] = {"a-images-idx3-ubyte", "a-images-idx3-ubyte.gz"};
	for (int i = 0; i < 2; i++) {
		otp_dataset *d = ready(at(names[i]), 0, 3);
		otp_dataset_info info = otp_dataset_describe(d);
		assert_int_equal(info.count, 9);
		assert_int_equal(info.h, 4);
		assert_int_equal(info.w, 5);
		assert_int_equal(info.c, 3);
		float x[60];
		get(d, 8, 0, x);
		for (int k = 0; k < 60; k++)
			assert_int_equal(otp_image_byte(x[k]), 8 + k / 15 + 2 * (k / 3 % 5));
		char buffer[32];
		assert_string_equal(otp_dataset_name(d, 8, buffer, sizeof buffer), "000008");
		otp_dataset_close(d);
	}
	otp_dataset *resized = ready(at("a-images-idx3-ubyte"), 8, 1);
	assert_int_equal(otp_dataset_describe(resized).h, 8);
	assert_true(otp_dataset_describe(resized).memory_bytes >= 9 * 64);
	otp_dataset_close(resized);
	put_idx("b-images-idx3-ubyte", "wbT", 9, 3);
	put_idx("b-images-idx3-ubyte.gz", "wb", 9, 3);
	refuses(at("b-images-idx3-ubyte"), 0, 0, "ends early: 177 of the 180 bytes", "images");
	refuses(at("b-images-idx3-ubyte.gz"), 0, 0, "ends early: 177 of the 180 bytes", "images");
	cut("a-images-idx3-ubyte.gz", "c-images-idx3-ubyte.gz", 6);
	refuses(at("c-images-idx3-ubyte.gz"), 0, 0, "ends early", "unexpected end of file");
	put("l-labels-idx1-ubyte", "\0\0\x08\x01\0\0\0\x01\x07", 9);
	refuses(at("l-labels-idx1-ubyte"), 0, 0, "holds labels", "idx3");
	put("n-idx3-ubyte", "PNG?", 4);
	refuses(at("n-idx3-ubyte"), 0, 0, "is no IDX file", "");
	put("h-idx3-ubyte", "\0\0\x08\x03\0\0\xea\x60\0\0\x10\0\0\0\x10\0", 16);
	refuses(at("h-idx3-ubyte"), 0, 0, "its header speaks of", "");
}

/* The bytes of an npy file, header padded to 64 as NumPy does. */
static size_t npy(char *out, const char *type, const char *shape, const void *data, size_t bytes)
{
	char text[256];
	int length = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
			      type, shape);
	int padded = (10 + length + 1 + 63) / 64 * 64 - 10;
	memcpy(out, "\x93NUMPY\x01\x00", 8);
	out[8] = (char)(padded & 0xff);
	out[9] = (char)(padded >> 8);
	memset(out + 10, ' ', (size_t)padded);
	memcpy(out + 10, text, (size_t)length);
	out[10 + padded - 1] = '\n';
	memcpy(out + 10 + padded, data, bytes);
	return 10 + (size_t)padded + bytes;
}

static void npy_types_and_shapes(void **state)
{
	(void)state;
	char file[4096];
	float f[24], x[64];
	double f64[24];
	for (int i = 0; i < 24; i++)
		f64[i] = (double)(f[i] = (float)i / 4 - 1);
	put("v.npy", file, npy(file, "<f4", "6, 4", f, sizeof f));
	put("w.npy", file, npy(file, "<f8", "6, 4", f64, sizeof f64));
	static const char *vectors[] = {"v.npy", "w.npy"};
	for (int i = 0; i < 2; i++) {
		otp_dataset *d = ready(at(vectors[i]), 0, 0);
		otp_dataset_info info = otp_dataset_describe(d);
		assert_int_equal(info.kind, OTP_DATA_VECTORS);
		assert_int_equal(info.count, 6);
		assert_int_equal(info.c, 4);
		get(d, 5, 0, x);
		assert_memory_equal(x, f + 20, 4 * sizeof *x);
		otp_dataset_close(d);
	}
	refuses(at("v.npy"), 0, 3, "dimension 4", "3 expected");
	refuses(at("v.npy?grey"), 0, 0, "vectors", "grey");

	/* Images of floats: 0..1, -1..1 and 0..255 are told apart, the rest is asked for. */
	float unit[24], wide[24];
	for (int i = 0; i < 24; i++) {
		unit[i] = (float)i / 23;
		wide[i] = (float)i * 10;
	}
	put("u.npy", file, npy(file, "<f4", "2, 2, 2, 3", unit, sizeof unit));
	put("b.npy", file, npy(file, "<f4", "2, 2, 2, 3", wide, sizeof wide));
	otp_dataset *d = ready(at("u.npy"), 0, 0);
	get(d, 1, 0, x);
	assert_close((double)x[11], 1, 1e-6);
	assert_close((double)x[0], 2 * 12 / 23. - 1, 1e-6);
	otp_dataset_close(d);
	d = ready(at("b.npy"), 0, 0);
	get(d, 0, 0, x);
	assert_close((double)x[1], 2 * 10 / 255. - 1, 1e-6);
	otp_dataset_close(d);
	d = ready(at("b.npy?range=0:230"), 0, 1);
	get(d, 1, 0, x);
	assert_int_equal(otp_dataset_describe(d).c, 1);
	assert_true(x[3] < 1 && x[3] > 0.85f);
	otp_dataset_close(d);
	wide[3] = 300;
	put("o.npy", file, npy(file, "<f4", "2, 2, 2, 3", wide, sizeof wide));
	refuses(at("o.npy"), 0, 0, "to 300", "?range=");
	wide[3] = NAN;
	put("o.npy", file, npy(file, "<f4", "2, 2, 2, 3", wide, sizeof wide));
	refuses(at("o.npy"), 0, 0, "not finite", "");

	put("two.npy", file, npy(file, "|u1", "3, 2, 2, 2", file + 200, 24));
	refuses(at("two.npy"), 0, 3, "2 channels", "cannot become 3");
	d = ready(at("two.npy"), 0, 0);
	assert_int_equal(otp_dataset_describe(d).c, 2);
	otp_dataset_close(d);
	put("nchw.npy", file, npy(file, "|u1", "1, 3, 2, 8", file + 200, 48));
	refuses(at("nchw.npy"), 0, 0, "N x C x H x W", "");
	put("i8.npy", file, npy(file, "<i8", "3, 1", file + 200, 24));
	refuses(at("i8.npy"), 0, 0, "'<i8', expected", "a.astype(\"float32\")");
	double far[3] = {1, -1e39, 2};
	put("far.npy", file, npy(file, "<f8", "3, 1", far, sizeof far));
	refuses(at("far.npy"), 0, 0, "beyond float32", "-1e+39");
	put("one.npy", file, npy(file, "<f4", "6,", f, 24));
	refuses(at("one.npy"), 0, 0, "1 dimension,", "(N, d)");
	put("short.npy", file, npy(file, "<f4", "6, 4", f, 90));
	refuses(at("short.npy"), 0, 0, "ends early", "224");
	put("none.npy", "hello hello hello", 17);
	refuses(at("none.npy"), 0, 0, "no npy array", "");
}

static void npz_stored_and_deflated(void **state)
{
	(void)state;
	char label[512], image[512];
	uint8_t pixels[48];
	for (int i = 0; i < 48; i++)
		pixels[i] = (uint8_t)(5 * i);
	int64_t labels[3] = {1, 2, 3};
	const void *data[3] = {label, image, image};
	size_t bytes[3] = {npy(label, "<i8", "3,", labels, sizeof labels), 0, 0};
	bytes[1] = bytes[2] = npy(image, "|u1", "1, 4, 4, 3", pixels, sizeof pixels);
	put_zip("a.npz", (const char *const[]){"labels.npy", "packed.npy", "plain.npy"}, data, bytes, 3);
	static const char *specs[] = {"a.npz", "a.npz:packed", "a.npz:plain"};
	for (int i = 0; i < 3; i++) {
		otp_dataset *d = ready(at(specs[i]), 0, 0);
		float x[48];
		get(d, 0, 0, x);
		for (int k = 0; k < 48; k++)
			assert_int_equal(otp_image_byte(x[k]), 5 * k);
		otp_dataset_close(d);
	}
	refuses(at("a.npz:nothing"), 0, 0, "no array `nothing'", "packed");
	refuses(at("a.npz:labels"), 0, 0, "'<i8'", "");
	put_zip("l.npz", (const char *const[]){"labels.npy"}, data, bytes, 1);
	refuses(at("l.npz"), 0, 0, "no array of images or vectors", "labels");
	cut("a.npz", "c.npz", 6);
	refuses(at("c.npz"), 0, 0, "cannot be opened as npz", "");
}

/* A set of `rank` dimensions; chunk 0: contiguous. */
static void put_set(hid_t file, const char *name, hid_t type, int rank, const hsize_t *dim, hsize_t chunk,
		    const void *data)
{
	hid_t space = H5Screate_simple(rank, dim, NULL), create = H5Pcreate(H5P_DATASET_CREATE);
	if (chunk) {
		hsize_t size[4];
		memcpy(size, dim, (size_t)rank * sizeof *dim);
		size[0] = chunk;
		H5Pset_chunk(create, rank, size);
		H5Pset_deflate(create, 3);
	}
	hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, create, H5P_DEFAULT);
	assert_true(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
	H5Dclose(set);
	H5Pclose(create);
	H5Sclose(space);
}

static void hdf5_contiguous_and_chunked(void **state)
{
	(void)state;
	uint8_t *p = ramp(1, 6 * 4, 5, 3);
	float f[12];
	for (int i = 0; i < 12; i++)
		f[i] = (float)i * 0.5f;
	const hsize_t images[4] = {6, 4, 5, 3}, vectors[2] = {3, 4}, line[1] = {6};
	hid_t file = H5Fcreate(at("a.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
	put_set(file, "a-label", H5T_NATIVE_UCHAR, 1, line, 0, p);
	put_set(file, "flat", H5T_NATIVE_UCHAR, 4, images, 0, p);
	put_set(file, "chunked", H5T_NATIVE_UCHAR, 4, images, 2, p);
	put_set(file, "points", H5T_NATIVE_FLOAT, 2, vectors, 0, f);
	H5Fclose(file);
	static const char *specs[] = {"a.h5", "a.h5:/flat", "a.h5:chunked"};
	for (int i = 0; i < 3; i++) {
		otp_dataset *d = ready(at(specs[i]), 0, 0);
		assert_int_equal(otp_dataset_describe(d).count, 6);
		float x[60];
		for (uint64_t n = 0; n < 6; n++) {
			get(d, n, 0, x);
			for (uint64_t k = 0; k < 60; k++)
				assert_int_equal(otp_image_byte(x[k]), p[n * 60 + k]);
		}
		otp_dataset_close(d);
	}
	otp_dataset *d = ready(at("a.h5:/points"), 0, 0);
	float x[4];
	get(d, 2, 0, x);
	assert_memory_equal(x, f + 8, sizeof x);
	otp_dataset_close(d);
	otp_free(p);

	refuses(at("a.h5:/other"), 0, 0, "no data set `/other'", "flat (6 x 4 x 5 x 3)");
	refuses(at("a.h5:/a-label"), 0, 0, "uint8", "");
	file = H5Fcreate(at("l.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
	put_set(file, "label", H5T_NATIVE_UCHAR, 1, line, 0, f);
	H5Fclose(file);
	refuses(at("l.h5"), 0, 0, "found: /label (6)", "");

	/* Not among the samples that opening looks at. */
	static float many[600 * 2];
	many[2 * 570 + 1] = NAN;
	const hsize_t pairs[2] = {600, 2};
	file = H5Fcreate(at("late.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
	put_set(file, "x", H5T_NATIVE_FLOAT, 2, pairs, 100, many);
	H5Fclose(file);
	refuses(at("late.h5"), 0, 0, "sample 570", "not finite");
	put("n.h5", "no", 2);
	refuses(at("n.h5"), 0, 0, "cannot be opened as HDF5", "");
}

/* ---- modifiers ------------------------------------------------------------------- */

static void modifiers_are_checked(void **state)
{
	(void)state;
	refuses("synth:digits?colourize=hsv", 0, 0, "unknown modifier `colourize'", "`colorize'");
	refuses("synth:digits?gray", 0, 0, "unknown modifier `gray'", "`grey'");
	refuses("synth:digits?colorize=rgb", 0, 0, "`rgb'", "hsv or isoluminant");
	refuses("synth:digits?part=3/2", 0, 0, "`3/2'", "K/M");
	refuses("synth:digits?part=0/2", 0, 0, "`0/2'", "K/M");
	refuses("synth:digits?limit=-1", 0, 0, "`limit'", "count");
	refuses("synth:digits?level=2", 0, 0, "`level'", "0 to 1");
	refuses("synth:digits?hue=0.5", 0, 0, "`hue'", "colorize");
	refuses("synth:digits?d=4", 0, 0, "vectors", "images");
	refuses("synth:digit", 0, 0, "no such set", "digits-hsv");
	refuses("synth:moons?d=3", 0, 0, "dimension 2", "");
	refuses("synth:one-to-many-source?m=4&d=4", 0, 0, "d=4", "from 5");
	refuses("synth:digits-hsv", 0, 1, "coloured", "1 channel");
	refuses("synth:digits", 0, 2, "cannot become 2", "");
	put_idx("m-idx3-ubyte", "wbT", 9, 0);
	refuses(at("m-idx3-ubyte?size=16"), 0, 0, "synth: sets only", "");
	refuses(at("m-idx3-ubyte?range=0:9"), 0, 0, "holds bytes", "");
	refuses(at("m-idx3-ubyte?part=10/10"), 0, 0, "empty", "9 samples");
	/* A question mark in an existing name is part of it. */
	folder("what?");
	put_png("what?/a.png", 1, 4, 4, 1);
	otp_dataset_close(ready(at("what?"), 0, 0));
	otp_dataset_close(ready(at("what??grey&limit=1"), 0, 0));
}

static void parts_are_disjoint_and_cover(void **state)
{
	(void)state;
	put_idx("p-idx3-ubyte", "wbT", 23, 0);
	int seen[23] = {0}, in_order = 0;
	for (int part = 1; part <= 3; part++) {
		char spec[64], buffer[32];
		snprintf(spec, sizeof spec, "p-idx3-ubyte?part=%d/3", part);
		otp_dataset *d = open_set(at(spec));
		int64_t count = otp_dataset_describe(d).count;
		assert_true(count == 7 || count == 8);
		for (int64_t i = 0, last = -1; i < count; i++) {
			int number = atoi(otp_dataset_name(d, (uint64_t)i, buffer, sizeof buffer));
			seen[number]++;
			in_order += number == last + 3;
			last = number;
		}
		otp_dataset_close(d);
	}
	for (int i = 0; i < 23; i++)
		assert_int_equal(seen[i], 1);
	assert_true(in_order < 12); /* dealt out, not by stride */
	otp_dataset *d = open_set(at("p-idx3-ubyte?part=2/2&limit=5"));
	assert_int_equal(otp_dataset_describe(d).count, 5);
	otp_dataset_close(d);

	/* Of an endless set too: part 2 of 3 at 4 is the whole set's 13. */
	otp_dataset *whole = ready("synth:digits", 0, 0),
		    *part = ready("synth:digits?part=2/3&limit=9", 0, 0);
	float a[256], b[256];
	get(whole, 13, 0, a);
	get(part, 4, 0, b);
	assert_memory_equal(a, b, sizeof a);
	assert_int_equal(otp_dataset_describe(part).count, 9);
	otp_dataset_close(whole);
	otp_dataset_close(part);
}

static void digest_follows_content(void **state)
{
	(void)state;
	folder("g1");
	folder("g2");
	put_png("g1/a.png", 1, 4, 4, 1);
	put_png("g2/a.png", 1, 4, 4, 1);
	uint64_t digest[4];
	for (int i = 0; i < 4; i++) {
		if (i == 2)
			put_png("g2/a.png", 2, 4, 4, 1);
		otp_dataset *d = open_set(at(i == 0 ? "g1" : i == 3 ? "g1?grey" : "g2"));
		digest[i] = otp_dataset_describe(d).digest;
		otp_dataset_close(d);
	}
	assert_true(digest[0] == digest[1]);
	assert_true(digest[0] != digest[2]);
	assert_true(digest[0] != digest[3]);
}

/* ---- colour ------------------------------------------------------------------------ */

static void isoluminant_is_the_law(void **state)
{
	(void)state;
	const double g = 1 / sqrt(3), e1[3] = {2 / sqrt(6), -1 / sqrt(6), -1 / sqrt(6)},
		     e2[3] = {0, 1 / sqrt(2), -1 / sqrt(2)};
	for (int i = 0; i < 64; i++) {
		double hue = 6.283185307179586 * i / 64, sum = 0, squares = 0, displacement = 0;
		float factor[3];
		otp_colour_factors(OTP_COLOUR_ISOLUMINANT, hue, factor);
		for (int c = 0; c < 3; c++) {
			double f = (double)factor[c];
			assert_close(f,
				     OTP_ISOLUMINANT_A * g +
					 OTP_ISOLUMINANT_B * (cos(hue) * e1[c] + sin(hue) * e2[c]),
				     1e-7);
			assert_true(f >= 0 && f <= 1);
			sum += f;
			squares += f * f;
			displacement += (f - 0.5) * (f - 0.5);
		}
		assert_close(sum, 1.5, 1e-6);
		assert_close(squares, 1.125, 1e-6); /* a^2 + b^2 */
		assert_close(displacement, OTP_ISOLUMINANT_B * OTP_ISOLUMINANT_B, 1e-6);
	}
}

static void hsv_has_its_corners(void **state)
{
	(void)state;
	static const float corner[6][3] = {{1, 0, 0}, {1, 1, 0}, {0, 1, 0}, {0, 1, 1}, {0, 0, 1}, {1, 0, 1}};
	for (int i = 0; i < 12; i++) {
		float factor[3];
		otp_colour_factors(OTP_COLOUR_HSV, 6.283185307179586 * i / 12, factor);
		for (int c = 0; c < 3; c++)
			assert_close((double)factor[c],
				     (double)(corner[i / 2][c] + corner[(i + i % 2) / 2 % 6][c]) / 2, 1e-6);
	}
}

/* The quickstart's pair: the same law of shapes, and the truth of the table. */
static void digit_pair_matches_the_table(void **state)
{
	(void)state;
	enum { SIZE = 16, PIXELS = SIZE * SIZE, COUNT = 400 };
	otp_dataset *grey = ready("synth:digits", SIZE, 3),
		    *colour = ready("synth:digits-isoluminant", SIZE, 3);
	static float x[PIXELS * 3], y[PIXELS * 3];
	double resultant[2] = {0}, mean[2] = {0};
	int labels[10] = {0};
	for (uint64_t n = 0; n < COUNT; n++) {
		get(grey, n, 0, x);
		get(colour, n, 0, y);
		bool same = true;
		for (int i = 0; i < PIXELS; i++) {
			double level = ((double)x[3 * i] + 1) / 2, sum = 0;
			assert_true(x[3 * i] == x[3 * i + 1] && x[3 * i] == x[3 * i + 2]);
			assert_true(level >= 0 && level <= 0.5);
			for (int c = 0; c < 3; c++)
				sum += ((double)y[3 * i + c] + 1) / 2;
			mean[0] += level;
			mean[1] += sum / 3; /* v/2 as well */
			same = same && fabs(level - sum / 3) < 1e-6;
		}
		assert_false(same); /* source and target never share a picture */
		float again[PIXELS * 3];
		get(colour, n, 0, again);
		assert_memory_equal(y, again, sizeof y);
		get(colour, n, 5, again);
		assert_memory_not_equal(y, again, sizeof y); /* a fresh hue, the same shape */
		for (int i = 0; i < PIXELS; i++)
			assert_close((double)(y[3 * i] + y[3 * i + 1] + y[3 * i + 2]),
				     (double)(again[3 * i] + again[3 * i + 1] + again[3 * i + 2]), 1e-5);
		double e1 = 0, e2 = 0;
		for (int i = 0; i < PIXELS; i++) {
			e1 += (double)(2 * y[3 * i] - y[3 * i + 1] - y[3 * i + 2]) / sqrt(6);
			e2 += (double)(y[3 * i + 1] - y[3 * i + 2]) / sqrt(2);
		}
		resultant[0] += e1 / hypot(e1, e2) / COUNT;
		resultant[1] += e2 / hypot(e1, e2) / COUNT;
		labels[otp_digit_label(otp_stream_make(99, (uint32_t)n, 0))]++;
	}
	assert_close(mean[0] / mean[1], 1, 0.05);
	assert_true(hypot(resultant[0], resultant[1]) < 3 / sqrt(COUNT)); /* Rayleigh: exp(-9) */
	for (int i = 0; i < 10; i++)
		assert_true(labels[i] > 15);
	otp_dataset_close(grey);
	otp_dataset_close(colour);
}

static void digits_scale_with_size(void **state)
{
	(void)state;
	/* The same digit at two sizes: means over quarters agree. */
	static float small[16 * 16], large[64 * 64];
	for (uint32_t n = 0; n < 20; n++) {
		double difference = 0, weight = 0;
		otp_digit_draw(otp_stream_make(3, n, 0), 16, small);
		otp_digit_draw(otp_stream_make(3, n, 0), 64, large);
		for (int y = 0; y < 16; y++)
			for (int x = 0; x < 16; x++) {
				double sum = 0;
				for (int k = 0; k < 16; k++)
					sum += (double)large[(4 * y + k / 4) * 64 + 4 * x + k % 4] / 16;
				difference += fabs(sum - (double)small[16 * y + x]);
				weight += sum;
			}
		assert_true(weight > 5);
		assert_true(difference < 0.35 * weight);
	}
}

static void hue_can_be_fixed(void **state)
{
	(void)state;
	otp_dataset *d = ready("synth:digits?colorize=hsv&hue=0", 16, 3);
	static float x[768];
	double most = 0;
	get(d, 3, 9, x);
	for (int i = 0; i < 256; i++) {
		most = fmax(most, ((double)x[3 * i] + 1) / 2);
		assert_true(x[3 * i + 1] == -1 && x[3 * i + 2] == -1);
	}
	assert_true(most > 0.6); /* shapes are whole, not at half level */
	otp_dataset_close(d);
}

/* ---- laws ------------------------------------------------------------------------ */

static void gaussian_law_has_its_moments(void **state)
{
	(void)state;
	enum { D = 4, COUNT = 40000 };
	otp_error err = {0};
	otp_law_side side;
	otp_law *law = otp_law_new("gaussian-target", (otp_law_params){.d = D, .noise = -1}, 5, &side, &err);
	assert_non_null(law);
	assert_int_equal(side, OTP_LAW_TARGET);
	for (int s = 0; s < 2; s++) {
		double mean[D] = {0}, second[D * D] = {0}, trace = 0, length = 0;
		for (uint64_t n = 0; n < COUNT; n++) {
			float x[D];
			otp_law_sample(law, (otp_law_side)s, n, x);
			for (int i = 0; i < D; i++) {
				double xi = (double)x[i] - (s ? law->mean[i] : 0);
				mean[i] += xi / COUNT;
				for (int j = 0; j < D; j++)
					second[i * D + j] +=
					    xi * ((double)x[j] - (s ? law->mean[j] : 0)) / COUNT;
			}
		}
		for (int i = 0; i < D; i++) {
			trace += law->covariance[s][i * D + i];
			length += law->mean[i] * law->mean[i];
			assert_close(mean[i], 0, 5 * 2 / sqrt(COUNT));
			for (int j = 0; j < D; j++)
				assert_close(second[i * D + j], law->covariance[s][i * D + j],
					     5 * 4 / sqrt(COUNT));
		}
		assert_close(trace, D, 1e-9);
		assert_close(length, 1, 1e-9);
	}
	otp_law *again = otp_law_new("gaussian-source", (otp_law_params){.d = D, .noise = -1}, 5, NULL, &err);
	assert_memory_equal(law->covariance[1], again->covariance[1], D * D * sizeof(double));
	otp_law_free(again);
	otp_law_free(law);
}

static void rotated_law_stays_in_its_plane(void **state)
{
	(void)state;
	enum { D = 32, M = 3 };
	otp_error err = {0};
	otp_law *law = otp_law_new(
	    "one-to-many-source", (otp_law_params){.d = D, .m = M, .noise = -1, .strata = 64}, 5, NULL, &err);
	assert_non_null(law->rotation);
	for (int i = 0; i < D; i++)
		for (int j = 0; j <= i; j++) {
			double dot = 0;
			for (int k = 0; k < D; k++)
				dot += law->rotation[i * D + k] * law->rotation[j * D + k];
			assert_close(dot, i == j, 1e-12);
		}
	int cells[M][64] = {{0}}, side[64] = {0}, up = 0, at = 0;
	for (uint64_t n = 128; n < 192; n++)
		for (int s = 0; s < 2; s++) {
			float x[D];
			otp_law_sample(law, (otp_law_side)s, n, x);
			for (int k = 0; k < D; k++) {
				double plain = 0;
				for (int i = 0; i < D; i++)
					plain += law->rotation[i * D + k] * (double)x[i];
				if (k < M && s == 0)
					cells[k][(int)((plain + 1) / 2 * 64)]++;
				if (k == 0)
					at = (int)((plain + 1) / 2 * 64);
				if (k == M)
					assert_close(fabs(plain), s, 1e-5);
				if (k == M && s == 1)
					side[at] += plain > 0 ? 1 : -1;
				up += k == M && plain > 0.5;
				if (k > M)
					assert_close(plain, 0, 1e-5);
			}
		}
	/* Even within a block: one sample a cell, the sides in turn. */
	assert_int_equal(up, 32);
	for (int i = 0; i < 64; i++)
		assert_int_equal(side[i], i % 2 ? -side[0] : side[0]);
	for (int k = 0; k < M; k++)
		for (int i = 0; i < 64; i++)
			assert_int_equal(cells[k][i], 1);
	otp_law_free(law);
}

static void plane_laws_lie_where_they_should(void **state)
{
	(void)state;
	float x[4];
	otp_dataset *d = ready("synth:perpendicular-target?k=2", 0, 0);
	get(d, 12, 0, x);
	assert_true(x[0] == 0 && x[1] == 0 && x[2] != 0 && fabsf(x[3]) < 1);
	otp_dataset_close(d);
	d = ready("synth:parallel-target", 0, 0);
	get(d, 12, 0, x);
	assert_true(x[1] == 1);
	otp_dataset_close(d);
	d = ready("synth:8gaussians?noise=0", 0, 0);
	get(d, 12, 0, x);
	assert_close(hypot((double)x[0], (double)x[1]), 2, 1e-6);
	otp_dataset_close(d);
	static const char *others[] = {"synth:moons",
				       "synth:spiral",
				       "synth:gaussian?d=3",
				       "synth:parallel-source",
				       "synth:gaussian-source?d=64&cond=10",
				       "synth:one-to-many-target?m=2&d=256"};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		static float y[256];
		d = ready(others[i], 0, 0);
		assert_int_equal(otp_dataset_describe(d).kind, OTP_DATA_VECTORS);
		get(d, UINT64_C(1) << 40, 0, y);
		for (int k = 0; k < otp_dataset_describe(d).c; k++)
			assert_true(isfinite(y[k]) && fabsf(y[k]) < 10);
		otp_dataset_close(d);
	}
}

/* ---- loader ----------------------------------------------------------------------- */

static void permutations_are_permutations(void **state)
{
	(void)state;
	static const uint64_t counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 100, 1000, 4097};
	static uint8_t seen[4097];
	for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
		memset(seen, 0, sizeof seen);
		uint64_t fixed = 0;
		for (uint64_t i = 0; i < counts[c]; i++) {
			uint64_t to = otp_permute(otp_stream_make(1, 2, 3), i, counts[c]);
			assert_true(to < counts[c] && !seen[to]);
			seen[to] = 1;
			fixed += to == i;
		}
		assert_true(counts[c] < 100 || fixed < 10);
	}
	/* Epochs differ, sides differ, seeds differ; each epoch covers all. */
	int same[3] = {0}, covered[100] = {0};
	for (uint64_t i = 0; i < 100; i++) {
		uint64_t first = otp_loader_index(1, 0, i, 100);
		same[0] += first == otp_loader_index(1, 0, i + 100, 100);
		same[1] += first == otp_loader_index(1, 1, i, 100);
		same[2] += first == otp_loader_index(2, 0, i, 100);
		covered[otp_loader_index(1, 0, 300 + i, 100)]++;
	}
	for (int i = 0; i < 100; i++)
		assert_int_equal(covered[i], 1);
	for (int i = 0; i < 3; i++)
		assert_true(same[i] < 10);
}

static void batches_do_not_depend_on_workers(void **state)
{
	(void)state;
	put_idx("w-idx3-ubyte", "wbT", 23, 0);
	otp_dataset *fixed = ready(at("w-idx3-ubyte?colorize=hsv"), 0, 3),
		    *endless = ready("synth:digits-hsv", 16, 3);
	const otp_dataset *sets[] = {fixed, endless};
	for (int s = 0; s < 2; s++) {
		otp_dataset_info info = otp_dataset_describe(sets[s]);
		size_t bytes = (size_t)(10 * info.h * info.w * info.c) * sizeof(float);
		float *want = otp_calloc(20, bytes);
		for (int workers = 0; workers <= 3; workers += 3) {
			otp_error err = {0};
			otp_loader *l = otp_loader_new(sets[s], (otp_walk){5, 1, 10, 1, true}, workers, 0);
			for (uint32_t draw = 0; draw < 20; draw++) {
				const float *batch = otp_loader_next(l, &err);
				assert_non_null(batch);
				if (workers == 0)
					memcpy(want + draw * (bytes / sizeof(float)), batch, bytes);
				else
					assert_memory_equal(batch, want + draw * (bytes / sizeof(float)),
							    bytes);
			}
			otp_loader_free(l);
			/* Resumed at 13, and left in the middle of its work. */
			l = otp_loader_new(sets[s], (otp_walk){5, 1, 10, 1, true}, workers, 13);
			assert_memory_equal(otp_loader_next(l, &err), want + 13 * (bytes / sizeof(float)),
					    bytes);
			otp_loader_free(l);
			otp_loader_free(otp_loader_new(sets[s], (otp_walk){5, 1, 10, 1, true}, workers, 0));
		}
		otp_free(want);
	}
	otp_dataset_close(fixed);
	otp_dataset_close(endless);
}

static void check_stored(const char *spec, int size, int channels, int stored)
{
	otp_error err = {0};
	otp_dataset *d = ready(spec, size, channels);
	otp_dataset_info info = otp_dataset_describe(d);
	assert_int_equal(otp_dataset_stored_channels(d), stored);
	size_t pixels = (size_t)(info.h * info.w), c = (size_t)info.c, k = (size_t)stored;
	uint8_t *bytes = otp_calloc(pixels * c, 1);
	float *want = otp_calloc(pixels * c, sizeof *want);
	for (int64_t i = 0; stored && i < info.count; i++) {
		get(d, (uint64_t)i, 3, want);
		assert_true(otp_dataset_get_bytes(d, (uint64_t)i, bytes, &err));
		for (size_t j = 0; j < pixels * c; j++)
			assert_true((float)bytes[j / c * k + j % c % k] / 127.5f - 1 == want[j]);
	}
	otp_free(bytes);
	otp_free(want);
	otp_dataset_close(d);
}

/* Which sets can lie on a device as bytes, and that those are their samples. */
static void bytes_are_the_samples(void **state)
{
	(void)state;
	put_idx("b-idx3-ubyte", "wbT", 7, 0);
	folder("b");
	put_png("b/a.png", 1, 8, 8, 3);
	put_png("b/b.png", 9, 12, 9, 1);
	put_png("b/c.png", 40, 8, 8, 4);
	put("b/d.png", "no picture", 10);
	check_stored(at("b-idx3-ubyte"), 0, 1, 1);
	check_stored(at("b-idx3-ubyte?part=2/2"), 0, 3, 1);
	check_stored(at("b-idx3-ubyte?limit=2"), 8, 1, 1);
	check_stored(at("b"), 8, 3, 3);
	check_stored(at("b?keep=off"), 8, 3, 3);
	check_stored(at("b?grey"), 8, 3, 1);
	/* Drawn for each sample, dimmed, without bytes, without end, no pictures. */
	check_stored(at("b-idx3-ubyte?colorize=hsv"), 0, 3, 0);
	check_stored(at("b-idx3-ubyte?level=0.5"), 0, 1, 0);
	check_stored("synth:digits", 16, 1, 0);
	check_stored("synth:digits?limit=5", 16, 1, 0);
	check_stored("synth:moons", 0, 2, 0);
}

static void picks_are_the_loaders(void **state)
{
	(void)state;
	enum { BATCH = 9 };
	put_idx("k-idx3-ubyte", "wbT", 31, 0);
	otp_dataset *d = ready(at("k-idx3-ubyte"), 0, 1);
	otp_dataset_info info = otp_dataset_describe(d);
	for (int kind = 0; kind < 4; kind++) {
		int flip = kind % 2, copies = 1 + kind / 2;
		otp_walk walk = {5, 1, BATCH, copies, flip};
		otp_error err = {0};
		otp_loader *l = otp_loader_new(d, walk, 1, 3);
		int mirrored = 0;
		for (uint32_t draw = 3; draw < 12; draw++) {
			uint32_t picks[BATCH];
			float sample[20];
			const float *batch = otp_loader_next(l, &err);
			otp_loader_picks(walk, (uint64_t)info.count, draw, picks);
			for (int i = 0; i < BATCH; i++) {
				get(d, picks[i] / 2, 0, sample);
				for (int at = 0; at < 20; at++) {
					int from = picks[i] % 2 ? at / 5 * 5 + 4 - at % 5 : at;
					assert_true(batch[i * 20 + at] == sample[from]);
				}
				mirrored += (int)(picks[i] % 2);
			}
		}
		assert_int_equal(mirrored > 0, flip);
		otp_loader_free(l);
	}
	otp_dataset_close(d);
}

/* Copies stand behind their original, mirrored or not with it; the walk goes on as if there were none. */
static void copies_follow_their_original(void **state)
{
	(void)state;
	otp_dataset *d = ready("synth:digits", 16, 1);
	otp_dataset_info info = otp_dataset_describe(d);
	size_t values = (size_t)(info.h * info.w * info.c), bytes = values * sizeof(float);
	otp_error err = {0};
	otp_loader *once = otp_loader_new(d, (otp_walk){5, 0, 4, 1, false}, 0, 0);
	otp_loader *twice = otp_loader_new(d, (otp_walk){5, 0, 7, 2, true}, 0, 0);
	otp_loader *plain = otp_loader_new(d, (otp_walk){5, 0, 7, 2, false}, 0, 0);
	for (int draw = 0; draw < 3; draw++) {
		const float *a = otp_loader_next(once, &err), *b = otp_loader_next(plain, &err),
			    *c = otp_loader_next(twice, &err);
		for (size_t i = 0; i < 7; i++) {
			assert_memory_equal(b + i * values, a + i / 2 * values, bytes);
			assert_memory_equal(c + i * values, c + i / 2 * 2 * values, bytes);
		}
	}
	otp_loader_free(once);
	otp_loader_free(twice);
	otp_loader_free(plain);
	otp_dataset_close(d);
}

static void mirrored_about_half_the_time(void **state)
{
	(void)state;
	put_idx("x-idx3-ubyte", "wbT", 1, 0);
	otp_dataset *d = ready(at("x-idx3-ubyte"), 0, 1);
	otp_error err = {0};
	otp_loader *l = otp_loader_new(d, (otp_walk){5, 0, 400, 1, true}, 1, 0);
	const float *batch = otp_loader_next(l, &err);
	int mirrored = 0;
	for (int i = 0; i < 400; i++) {
		bool is = batch[i * 20] > batch[i * 20 + 4];
		for (int x = 0; x < 5; x++)
			assert_int_equal(otp_image_byte(batch[i * 20 + 15 + x]), 3 + 2 * (is ? 4 - x : x));
		mirrored += is;
	}
	assert_true(mirrored > 150 && mirrored < 250);
	otp_loader_free(l);
	otp_dataset_close(d);
}

static void trouble_reaches_the_caller(void **state)
{
	(void)state;
	folder("t");
	for (int i = 0; i < 3; i++) {
		char name[32];
		snprintf(name, sizeof name, "t/%d.png", i);
		put_png(name, i, 8, 8, 1);
	}
	otp_dataset *d = ready(at("t?keep=off"), 0, 0);
	for (int workers = 0; workers <= 2; workers += 2) {
		otp_error err = {0};
		otp_loader *l = otp_loader_new(d, (otp_walk){5, 0, 2, 1, false}, workers, 0);
		if (workers == 0) {
			assert_non_null(otp_loader_next(l, &err));
			for (int i = 0; i < 3; i++) {
				char name[32];
				snprintf(name, sizeof name, "t/%d.png", i);
				unlink(at(name));
			}
		}
		for (int i = 0; i < 4; i++)
			assert_null(otp_loader_next(l, &err));
		assert_non_null(strstr(err.text, "none of its images"));
		otp_loader_free(l);
	}
	otp_dataset_close(d);
}

/* ---- main -------------------------------------------------------------------------- */

static int make_root(void **state)
{
	(void)state;
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	(void)state;
	char *command = otp_format("rm -rf '%s'", root);
	int code = system(command);
	otp_free(command);
	return code;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bytes_round_half_to_even),
	    cmocka_unit_test(channels_convert),
	    cmocka_unit_test(resize_keeps_means_and_centre),
	    cmocka_unit_test(folder_finds_names_and_skips),
	    cmocka_unit_test(folder_on_demand_equals_memory),
	    cmocka_unit_test(folder_knows_jpeg_and_16_bits),
	    cmocka_unit_test(folder_refusals),
	    cmocka_unit_test(zip_is_a_folder),
	    cmocka_unit_test(idx_plain_and_gzipped),
	    cmocka_unit_test(npy_types_and_shapes),
	    cmocka_unit_test(npz_stored_and_deflated),
	    cmocka_unit_test(hdf5_contiguous_and_chunked),
	    cmocka_unit_test(modifiers_are_checked),
	    cmocka_unit_test(parts_are_disjoint_and_cover),
	    cmocka_unit_test(digest_follows_content),
	    cmocka_unit_test(isoluminant_is_the_law),
	    cmocka_unit_test(hsv_has_its_corners),
	    cmocka_unit_test(digit_pair_matches_the_table),
	    cmocka_unit_test(digits_scale_with_size),
	    cmocka_unit_test(hue_can_be_fixed),
	    cmocka_unit_test(gaussian_law_has_its_moments),
	    cmocka_unit_test(rotated_law_stays_in_its_plane),
	    cmocka_unit_test(plane_laws_lie_where_they_should),
	    cmocka_unit_test(permutations_are_permutations),
	    cmocka_unit_test(batches_do_not_depend_on_workers),
	    cmocka_unit_test(bytes_are_the_samples),
	    cmocka_unit_test(picks_are_the_loaders),
	    cmocka_unit_test(copies_follow_their_original),
	    cmocka_unit_test(mirrored_about_half_the_time),
	    cmocka_unit_test(trouble_reaches_the_caller),
	};
	return cmocka_run_group_tests(tests, make_root, remove_root);
}
