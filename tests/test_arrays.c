/* array files, right and wrong: IDX, npy, npz, HDF5. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/close.h"
#include "common/data_files.h"
#include "data/image.h"

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

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

/* Files of a few bytes that claim more than any memory, or hold what is no number. */
static void hdf5_claims_are_checked(void **state)
{
	(void)state;
	const hsize_t claim[4] = {4, 1 << 20, 1 << 20, 1}, chunk[4] = {1, 16, 16, 1}, pairs[2] = {8, 2};
	hid_t file = H5Fcreate(at("claim.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
	hid_t space = H5Screate_simple(4, claim, NULL), create = H5Pcreate(H5P_DATASET_CREATE);
	H5Pset_chunk(create, 4, chunk);
	H5Dclose(H5Dcreate2(file, "x", H5T_NATIVE_UINT8, space, H5P_DEFAULT, create, H5P_DEFAULT));
	H5Fclose(file);
	refuses(at("claim.h5"), 0, 0, "claim.h5: claims 4398046511104 bytes",
		"0 of their 17179869184 chunks");
	H5Pclose(create);
	H5Sclose(space);
	hid_t pair = H5Tcreate(H5T_COMPOUND, 8);
	H5Tinsert(pair, "a", 0, H5T_NATIVE_FLOAT);
	file = H5Fcreate(at("compound.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
	space = H5Screate_simple(2, pairs, NULL);
	H5Dclose(H5Dcreate2(file, "x", pair, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
	H5Fclose(file);
	H5Sclose(space);
	H5Tclose(pair);
	refuses(at("compound.h5"), 0, 0, "compound.h5", "no N x d float set");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(idx_plain_and_gzipped),   cmocka_unit_test(npy_vectors),
	    cmocka_unit_test(npy_images_of_floats),    cmocka_unit_test(npy_types_and_shapes),
	    cmocka_unit_test(npz_stored_and_deflated), cmocka_unit_test(hdf5_contiguous_and_chunked),
	    cmocka_unit_test(hdf5_claims_are_checked), cmocka_unit_test(digests_are_compared_by_kind),
	};
	return cmocka_run_group_tests(tests, make_root, remove_root);
}
