/* array files, right and wrong: IDX, npy, npz, HDF5. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/close.h"
#include "common/data_files.h"
#include "core/file.h"
#include "pictures/image.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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
	refuses(at("n-idx3-ubyte"), 0, 0, "is not an IDX file", "");
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

static void npy_vectors(void **state)
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
}

/* Images of floats: 0..1, -1..1 and 0..255 are told apart, the rest is asked for. */
static void npy_images_of_floats(void **state)
{
	(void)state;
	char file[4096];
	float unit[24], wide[24], x[64];
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
}

static void npy_types_and_shapes(void **state)
{
	(void)state;
	char file[4096];
	float f[24] = {0};
	uint8_t pixels[48] = {0};
	put("two.npy", file, npy(file, "|u1", "3, 2, 2, 2", pixels, 24));
	refuses(at("two.npy"), 0, 3, "2 channels", "cannot become 3");
	otp_dataset *d = ready(at("two.npy"), 0, 0);
	assert_int_equal(otp_dataset_describe(d).c, 2);
	otp_dataset_close(d);
	put("nchw.npy", file, npy(file, "|u1", "1, 3, 2, 8", pixels, 48));
	refuses(at("nchw.npy"), 0, 0, "N x C x H x W", "");
	put("i8.npy", file, npy(file, "<i8", "3, 1", pixels, 24));
	refuses(at("i8.npy"), 0, 0, "'<i8', expected", "a.astype(\"float32\")");
	double far[3] = {1, -1e39, 2};
	put("far.npy", file, npy(file, "<f8", "3, 1", far, sizeof far));
	refuses(at("far.npy"), 0, 0, "beyond float32", "-1e+39");
	put("one.npy", file, npy(file, "<f4", "6,", f, 24));
	refuses(at("one.npy"), 0, 0, "1 dimension,", "(N, d)");
	put("short.npy", file, npy(file, "<f4", "6, 4", f, 90));
	refuses(at("short.npy"), 0, 0, "ends early", "224");
	put("none.npy", "hello hello hello", 17);
	refuses(at("none.npy"), 0, 0, "not an npy array", "");
	size_t bytes = npy(file, "<f4", "6, 4", f, 96);
	file[6] = 4;
	put("later.npy", file, bytes);
	refuses(at("later.npy"), 0, 0, "npy version 4", "expected 1, 2 or 3");
	bytes = npy(file, "<f4", "6, 4", f, 96);
	memcpy(strstr(file + 10, "False"), "Maybe", 5);
	put("maybe.npy", file, bytes);
	refuses(at("maybe.npy"), 0, 0, "fortran_order", "neither True nor False");
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
	refuses(at("c.npz"), 0, 0, "cannot be opened as a zip", "");
}

/* Little-endian numbers into bytes at `at`. */
static void number(uint8_t *bytes, size_t at, int width, uint64_t value)
{
	for (int i = 0; i < width; i++)
		bytes[at + (size_t)i] = (uint8_t)(value >> 8 * i);
}

/* Where a zip of one entry keeps the local header and the central one. */
static uint8_t *read_zip(const char *name, size_t *bytes, size_t *central)
{
	otp_error err = {0};
	uint8_t *data = otp_file_read(at(name), bytes, &err);
	assert_non_null(data);
	for (*central = *bytes - 4; memcmp(data + *central, "PK\1\2", 4) != 0;)
		--*central;
	return data;
}

static void npz_claims_are_checked(void **state)
{
	(void)state;
	char array[2048];
	float f[300] = {0};
	size_t bytes = npy(array, "<f4", "100, 3", f, sizeof f), all, central;
	const void *data = array;
	put_zip("s.npz", (const char *const[]){"arr_0.npy"}, &data, &bytes, 1);
	uint8_t *zip = read_zip("s.npz", &all, &central);
	/* One value turned over; the checksum says so. */
	zip[all / 2] ^= 16;
	put("crc.npz", zip, all);
	refuses(at("crc.npz"), 0, 0, "crc.npz: is damaged", "CRC");
	zip[all / 2] ^= 16;
	number(zip, central + 24, 4, 0xfffffff0);
	put("huge.npz", zip, all);
	refuses(at("huge.npz"), 0, 0, "claims 4294967280 bytes", "huge.npz");
	number(zip, central + 24, 4, bytes);
	number(zip, central + 8, 2, 1);
	number(zip, 6, 2, 1);
	put("locked.npz", zip, all);
	refuses(at("locked.npz"), 0, 0, "is encrypted", "locked.npz");
	otp_free(zip);
	/* A header that speaks of more than the entry holds. */
	static const char *const shapes[] = {"1099511627776, 3", "9223372036854775807, 3",
					     "9223372036854775808, 3", "101, 3"};
	static const char *const answers[] = {"ends early: 1200 bytes", "claims", "claims",
					      "ends early: 1200 bytes"};
	for (int i = 0; i < 4; i++) {
		bytes = npy(array, "<f4", shapes[i], f, sizeof f);
		put_zip("claim.npz", (const char *const[]){"arr_0.npy"}, &data, &bytes, 1);
		refuses(at("claim.npz"), 0, 0, answers[i], "claim.npz");
	}
}

static void npz_of_several_arrays(void **state)
{
	(void)state;
	char first[512], second[512];
	uint8_t pixels[48] = {0};
	const void *data[2] = {first, second};
	size_t bytes[2] = {npy(first, "|u1", "1, 4, 4, 3", pixels, 48),
			   npy(second, "|u1", "3, 4, 4", pixels, 48)};
	put_zip("two.npz", (const char *const[]){"train.npy", "val.npy"}, data, bytes, 2);
	otp_dataset *d = open_set(at("two.npz"));
	assert_string_equal(otp_dataset_describe(d).set, "train");
	assert_string_equal(otp_dataset_describe(d).beside, "val");
	otp_dataset_close(d);
}

/* Images of eight values, the last but one `value`, the last `other`. */
static const char *values(float value, float other)
{
	char file[512];
	float f[8] = {0, 0, 0, 0, 0, 0, value, other};
	put("r.npy", file, npy(file, "<f4", "2, 2, 2", f, sizeof f));
	return at("r.npy");
}

static void assert_range(const char *spec, double low, double high, double last)
{
	float x[4];
	otp_dataset *d = ready(spec, 0, 0);
	otp_dataset_info info = otp_dataset_describe(d);
	assert_close(info.low, low, 0);
	assert_close(info.high, high, 0);
	get(d, 1, 0, x);
	assert_close((double)x[3], last, 1e-6);
	otp_dataset_close(d);
}

/* All samples count, a little beside the range is cut off, and doubt is asked about. */
static void ranges(void **state)
{
	(void)state;
	assert_range(values(1, -1e-6f), 0, 1, -1);
	assert_range(values(0, 1.0000001f), 0, 1, 1);
	assert_range(values(-1, 1.0000001f), -1, 1, 1);
	assert_range(values(254, 255.3f), 0, 255, 1);
	assert_range(values(200, -0.4f), 0, 255, -1);
	refuses(values(1, -0.01f), 0, 0, "from -0.00999999978 to 1", "r.npy?range=-1..1'");
	refuses(values(0, 1.5f), 0, 0, "to 1.5", "?range=0..2'");
	refuses(values(0, 100), 0, 0, "to 100", "?range=0..100'");
	refuses(values(-1, 3), 0, 0, "from -1 to 3", "?range=-1..3'");
	refuses(values(0, 256), 0, 0, "to 256", "?range=0..256'");
	refuses(values(0, -INFINITY), 0, 0, "sample 1 holds", "not finite");
	refuses(values(0, NAN), 0, 0, "sample 1 holds", "not finite");
	/* What is said is done, and cut off where values leave it. */
	values(-40, 300);
	assert_range(at("r.npy?range=-100..300"), -100, 300, 1);
	assert_range(at("r.npy?range=0:200"), 0, 200, 1);
	assert_range(at("r.npy?range=-1..1"), -1, 1, 1);
	refuses(at("r.npy?range=2..1"), 0, 0, "`2..1'", "LOW..HIGH");
	/* One bright value far behind dark ones. */
	static char file[400 * 4 + 256];
	static float many[400];
	many[399] = 255;
	put("late.npy", file, npy(file, "<f4", "400, 1, 1", many, sizeof many));
	otp_dataset *d = ready(at("late.npy"), 0, 0);
	assert_close(otp_dataset_describe(d).high, 255, 0);
	otp_dataset_close(d);
}

static void ranges_of_16_bits(void **state)
{
	(void)state;
	char file[512];
	uint16_t v[8] = {0, 1, 2, 3, 4, 5, 6, 65535};
	put("deep.npy", file, npy(file, "<u2", "2, 2, 2", v, sizeof v));
	assert_range(at("deep.npy"), 0, 65535, 1);
	v[7] = 4000;
	put("deep.npy", file, npy(file, "<u2", "2, 2, 2", v, sizeof v));
	refuses(at("deep.npy"), 0, 0, "from 0 to 4000", "deep.npy?range=0..4095'");
	assert_range(at("deep.npy?range=0..4095"), 0, 4095, 2 * 4000 / 4095. - 1);
}

static void channels_first(void **state)
{
	(void)state;
	char file[1024];
	uint8_t bytes[2 * 3 * 5 * 6];
	float floats[2 * 3 * 5 * 6], x[90];
	for (int i = 0; i < 180; i++)
		floats[i] = (float)(bytes[i] = (uint8_t)(i + 70));
	put("u.npy", file, npy(file, "|u1", "2, 3, 5, 6", bytes, sizeof bytes));
	put("f.npy", file, npy(file, "<f4", "2, 3, 5, 6", floats, sizeof floats));
	refuses(at("u.npy"), 0, 0, "looks like N x C x H x W", "u.npy?layout=nchw'");
	refuses(at("u.npy?layout=chwn"), 0, 0, "`layout'", "nhwc or nchw");
	static const char *specs[] = {"u.npy?layout=nchw", "f.npy?layout=nchw"};
	for (int s = 0; s < 2; s++) {
		otp_dataset *d = ready(at(specs[s]), 0, 0);
		otp_dataset_info info = otp_dataset_describe(d);
		assert_int_equal(info.h, 5);
		assert_int_equal(info.w, 6);
		assert_int_equal(info.c, 3);
		assert_non_null(strstr(info.stored, "2 x 3 x 5 x 6"));
		assert_non_null(strstr(info.stored, "N x C x H x W"));
		get(d, 1, 0, x);
		for (int i = 0; i < 90; i++)
			assert_int_equal(otp_image_byte(x[i]), 70 + 90 + i % 3 * 30 + i / 3);
		otp_dataset_close(d);
	}
	put("l.npy", file, npy(file, "|u1", "2, 5, 6, 3", bytes, sizeof bytes));
	refuses(at("l.npy?layout=nchw"), 0, 0, "5 channels", "4 at most");
	otp_dataset_close(ready(at("l.npy?layout=nhwc"), 0, 0));
	put("v.npy", file, npy(file, "<f4", "6, 4", floats, 96));
	refuses(at("v.npy?layout=nchw"), 0, 0, "4 dimensions", "");
	put_png("p.png", 1, 4, 4, 3);
	refuses(at("p.png?layout=nchw"), 0, 0, "for arrays", "");
}

static void pipes_are_refused(void **state)
{
	(void)state;
	static const char *names[] = {"q.npy", "q.npz", "q.h5", "q.zip", "q-idx3-ubyte.gz", "q.png"};
	for (int i = 0; i < 6; i++) {
		assert_int_equal(mkfifo(at(names[i]), 0600), 0);
		refuses(at(names[i]), 0, 0, names[i], "is a pipe");
	}
	refuses("/dev/zero", 0, 0, "/dev/zero", "is a pipe, device or socket");
}

static void digests_are_compared_by_kind(void **state)
{
	(void)state;
	put_idx("d-images-idx3-ubyte", "wbT", 9, 0);
	otp_dataset *d = digested(at("d-images-idx3-ubyte"));
	otp_dataset_info info = otp_dataset_describe(d);
	assert_string_equal(info.digest_kind, OTP_DIGEST_SAMPLES);
	assert_int_equal(otp_dataset_compare(d, OTP_DIGEST_SAMPLES, info.digest), OTP_DIGEST_EQUAL);
	assert_int_equal(otp_dataset_compare(d, OTP_DIGEST_SAMPLES, info.digest + 1), OTP_DIGEST_DIFFERS);
	/* The same number by another rule says nothing of this set. */
	assert_int_equal(otp_dataset_compare(d, OTP_DIGEST_FILES, info.digest), OTP_DIGEST_DIFFERS);
	assert_int_equal(otp_dataset_compare(d, "of-tomorrow-7", info.digest), OTP_DIGEST_UNKNOWN);
	otp_dataset_close(d);
}

/* As programs before 0.2 made them of the same files. */
static void former_digests(void **state)
{
	(void)state;
	put_idx("d-images-idx3-ubyte", "wbT", 9, 0);
	otp_dataset *d = digested(at("d-images-idx3-ubyte"));
	assert_int_equal(otp_dataset_compare(d, OTP_DIGEST_BLOCKS, 0xfefa04c9d3930d96), OTP_DIGEST_EQUAL);
	assert_int_equal(otp_dataset_compare(d, NULL, 0xfefa04c9d3930d96), OTP_DIGEST_EQUAL);
	assert_int_equal(otp_dataset_compare(d, OTP_DIGEST_BLOCKS, 0xfefa04c9d3930d97), OTP_DIGEST_DIFFERS);
	assert_int_equal(otp_dataset_compare(d, OTP_DIGEST_HEADS, 0xfefa04c9d3930d96), OTP_DIGEST_DIFFERS);
	otp_dataset_close(d);
	/* Over 4 MiB. */
	static uint8_t big[16 + 1100 * 4096] = {0, 0, 8, 3, 0, 0, 4, 0x4c, 0, 0, 0, 64, 0, 0, 0, 64};
	for (int i = 0; i < 1100 * 4096; i++)
		big[16 + i] = (uint8_t)((uint32_t)i * 31 % 251);
	put("big-idx3-ubyte", big, sizeof big);
	d = digested(at("big-idx3-ubyte"));
	assert_int_equal(otp_dataset_compare(d, NULL, 0xafa92a16519dab4a), OTP_DIGEST_EQUAL);
	otp_dataset_close(d);
	folder("heads");
	char picture[15 + 4800] = "P6\n40 40\n255\n";
	for (int k = 0; k < 2; k++) {
		for (int i = 0; i < 4800; i++)
			picture[13 + i] = (char)(i * 7 + k);
		put(k ? "heads/b.ppm" : "heads/a.ppm", picture, 13 + 4800);
	}
	d = digested(at("heads"));
	assert_int_equal(otp_dataset_compare(d, OTP_DIGEST_HEADS, 0x441bd5d91e37de0f), OTP_DIGEST_EQUAL);
	assert_int_equal(otp_dataset_compare(d, NULL, 0x441bd5d91e37de0f), OTP_DIGEST_EQUAL);
	otp_dataset_close(d);
	d = digested(at("heads?grey"));
	assert_int_equal(otp_dataset_compare(d, NULL, 0x254da06a6ebc5e15), OTP_DIGEST_EQUAL);
	otp_dataset_close(d);
}

static uint64_t digest_of(const char *spec)
{
	otp_dataset *d = digested(spec);
	uint64_t digest = otp_dataset_describe(d).digest;
	otp_dataset_close(d);
	return digest;
}

/* One byte anywhere makes another set; how the set is read does not. */
static void digests_cover_every_byte(void **state)
{
	(void)state;
	enum { HEAD = 128, BYTES = 3 * 20000 };
	static char file[HEAD + BYTES];
	static uint8_t pixels[BYTES];
	assert_int_equal(npy(file, "|u1", "3, 100, 200", pixels, BYTES), HEAD + BYTES);
	put("d.npy", file, HEAD + BYTES);
	uint64_t first = digest_of(at("d.npy"));
	for (int i = 0; i < 7; i++) {
		size_t changed = HEAD + (size_t)i * (BYTES - 1) / 6;
		file[changed] ^= 1;
		put("d.npy", file, HEAD + BYTES);
		assert_true(digest_of(at("d.npy")) != first);
		file[changed] ^= 1;
	}
	/* A picture whose head stays; kept decoded, or not; whole set or a part. */
	folder("all");
	char picture[13 + 9600] = "P6\n80 40\n255\n";
	put("all/a.ppm", picture, sizeof picture);
	put("all/b.ppm", picture, sizeof picture);
	uint64_t same = digest_of(at("all"));
	assert_true(same == digest_of(at("all?keep=off")));
	otp_dataset *d = ready(at("all"), 0, 0);
	otp_error err = {0};
	assert_true(otp_dataset_digest(d, 1, &err));
	assert_true(otp_dataset_describe(d).digest == same);
	otp_dataset_close(d);
	uint64_t one = digest_of(at("all?limit=1"));
	picture[sizeof picture - 1] = 1;
	put("all/b.ppm", picture, sizeof picture);
	assert_true(digest_of(at("all")) != same);
	assert_true(digest_of(at("all?limit=1")) == one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(idx_plain_and_gzipped),   cmocka_unit_test(npy_vectors),
	    cmocka_unit_test(npy_images_of_floats),    cmocka_unit_test(npy_types_and_shapes),
	    cmocka_unit_test(npz_stored_and_deflated), cmocka_unit_test(npz_claims_are_checked),
	    cmocka_unit_test(npz_of_several_arrays),   cmocka_unit_test(ranges),
	    cmocka_unit_test(ranges_of_16_bits),       cmocka_unit_test(channels_first),
	    cmocka_unit_test(pipes_are_refused),       cmocka_unit_test(digests_are_compared_by_kind),
	    cmocka_unit_test(former_digests),	       cmocka_unit_test(digests_cover_every_byte),
	};
	return cmocka_run_group_tests(tests, make_root, remove_root);
}
