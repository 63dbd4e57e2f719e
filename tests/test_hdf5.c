/* HDF5 sets, right and wrong: what is found, what is refused, and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/close.h"
#include "common/data_files.h"
#include "core/file.h"
#include "data/hdf5_driver.h"
#include "pictures/image.h"
#include "model/store.h"

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

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
	static const char *specs[] = {"a.h5", "a.h5:/flat", "a.h5:chunked", "a.h5:chunked?keep=off"};
	for (int i = 0; i < 4; i++) {
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

	refuses(at("a.h5:/other"), 0, 0, "no data set `/other'", "flat (6 x 4 x 5 x 3 uint8)");
	refuses(at("a.h5:/a-label"), 0, 0, "uint8", "");
	file = H5Fcreate(at("l.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
	put_set(file, "label", H5T_NATIVE_UCHAR, 1, line, 0, f);
	H5Fclose(file);
	refuses(at("l.h5"), 0, 0, "found: /label (6 uint8)", "");

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

/* ---- links ---------------------------------------------------------------------- */

static hid_t create(const char *name)
{
	hid_t file = H5Fcreate(at(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
	assert_true(file >= 0);
	return file;
}

static void links_stay_in_the_file(void **state)
{
	(void)state;
	float f[12] = {1};
	const hsize_t points[2] = {3, 4};
	hid_t other = create("other.h5");
	put_set(other, "x", H5T_NATIVE_FLOAT, 2, points, 0, f);
	H5Fclose(other);
	hid_t file = create("links.h5"), group = H5Gcreate2(file, "g", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
	put_set(group, "x", H5T_NATIVE_FLOAT, 2, points, 0, f);
	H5Gclose(group);
	H5Lcreate_soft("/g/x", file, "soft", H5P_DEFAULT, H5P_DEFAULT);
	H5Lcreate_soft("g", file, "to-g", H5P_DEFAULT, H5P_DEFAULT);
	H5Lcreate_soft("/round", file, "round", H5P_DEFAULT, H5P_DEFAULT);
	H5Lcreate_soft("/outside", file, "soft-outside", H5P_DEFAULT, H5P_DEFAULT);
	H5Lcreate_external(at("other.h5"), "/x", file, "outside", H5P_DEFAULT, H5P_DEFAULT);
	H5Lcreate_hard(file, "/", file, "g/up", H5P_DEFAULT, H5P_DEFAULT); /* groups without end */
	H5Fclose(file);
	static const char *good[] = {"links.h5", "links.h5:/g/x", "links.h5:soft", "links.h5:/to-g/x",
				     "links.h5:g/up/g/x"};
	for (int i = 0; i < 5; i++)
		otp_dataset_close(ready(at(good[i]), 0, 0));
	refuses(at("links.h5:/outside"), 0, 0, "link into another file", "other.h5:/x'");
	refuses(at("links.h5:soft-outside"), 0, 0, "link into another file", "other.h5:/x'");
	refuses(at("links.h5:round"), 0, 0, "nowhere or round", "links.h5");
	refuses(at("links.h5:/g"), 0, 0, "no data set `/g'", "/g/x (3 x 4 float32)");
	file = create("only.h5");
	H5Lcreate_external(at("other.h5"), "/x", file, "outside", H5P_DEFAULT, H5P_DEFAULT);
	H5Fclose(file);
	refuses(at("only.h5"), 0, 0, "/outside (a link into another file)", "only.h5");
}

static void values_lie_in_the_file(void **state)
{
	(void)state;
	const hsize_t points[2] = {3, 4};
	float f[12] = {0};
	put("values.bin", f, sizeof f);
	hid_t space = H5Screate_simple(2, points, NULL), external = H5Pcreate(H5P_DATASET_CREATE),
	      virtual = H5Pcreate(H5P_DATASET_CREATE);
	H5Pset_external(external, at("values.bin"), 0, sizeof f);
	H5Pset_virtual(virtual, space, at("missing.h5"), "/x", space);
	hid_t file = create("elsewhere.h5");
	H5Dclose(H5Dcreate2(file, "external", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, external, H5P_DEFAULT));
	H5Dclose(H5Dcreate2(file, "virtual", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, virtual, H5P_DEFAULT));
	H5Dclose(
	    H5Dcreate2(file, "unwritten", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
	H5Fclose(file);
	H5Pclose(external);
	H5Pclose(virtual);
	H5Sclose(space);
	refuses(at("elsewhere.h5:/external"), 0, 0, "in another file", "values.bin");
	refuses(at("elsewhere.h5:/virtual"), 0, 0, "is a virtual set", "h5repack");
	refuses(at("elsewhere.h5:/unwritten"), 0, 0, "claims 48 bytes", "none was ever written");
}

/* A set of which only the first chunk was written. */
static void chunks_that_were_never_written(void **state)
{
	(void)state;
	const hsize_t points[2] = {1 << 20, 3}, chunk[2] = {1024, 3}, start[2] = {0, 0};
	static float f[3 * 1024];
	for (int filtered = 0; filtered < 2; filtered++) {
		hid_t file = create("sparse.h5"), space = H5Screate_simple(2, points, NULL),
		      here = H5Screate_simple(2, chunk, NULL), how = H5Pcreate(H5P_DATASET_CREATE);
		H5Pset_chunk(how, 2, chunk);
		if (filtered)
			H5Pset_deflate(how, 9);
		hid_t set = H5Dcreate2(file, "x", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, how, H5P_DEFAULT);
		H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, chunk, NULL);
		assert_true(H5Dwrite(set, H5T_NATIVE_FLOAT, here, space, H5P_DEFAULT, f) >= 0);
		H5Dclose(set);
		H5Pclose(how);
		H5Sclose(here);
		H5Sclose(space);
		H5Fclose(file);
		refuses(at("sparse.h5"), 0, 0, "claims 12582912 bytes", "only 1 of their 1024 chunks");
	}
}

/* ---- what is chosen ----------------------------------------------------------------- */

static void of_several_sets_the_first_is_read(void **state)
{
	(void)state;
	uint8_t pixels[2 * 4 * 4 * 3] = {0};
	const hsize_t images[4] = {2, 4, 4, 3};
	hid_t file = create("two.h5");
	put_set(file, "train", H5T_NATIVE_UCHAR, 4, images, 0, pixels);
	put_set(file, "val", H5T_NATIVE_UCHAR, 4, images, 1, pixels);
	H5Fclose(file);
	otp_dataset *d = ready(at("two.h5"), 0, 0);
	assert_string_equal(otp_dataset_describe(d).set, "/train");
	assert_string_equal(otp_dataset_describe(d).beside, "/val");
	otp_dataset_close(d);
	d = ready(at("two.h5:val"), 0, 0);
	assert_string_equal(otp_dataset_describe(d).set, "/val");
	assert_null(otp_dataset_describe(d).beside);
	otp_dataset_close(d);
}

/* 16-bit numbers, floats and channels first, mapped and in chunks. */
static void types_and_layouts(void **state)
{
	(void)state;
	enum { N = 300, VALUES = 3 * 5 * 6 };
	static float floats[N * VALUES];
	static uint16_t deep[N * VALUES];
	const hsize_t images[4] = {N, 3, 5, 6};
	for (int i = 0; i < N * VALUES; i++) {
		floats[i] = (float)i / (N * VALUES - 1);
		deep[i] = (uint16_t)(i * 2);
	}
	hid_t file = create("types.h5");
	put_set(file, "deep", H5T_NATIVE_USHORT, 4, images, 0, deep);
	put_set(file, "deep-chunked", H5T_NATIVE_USHORT, 4, images, 7, deep);
	put_set(file, "floats", H5T_NATIVE_FLOAT, 4, images, 0, floats);
	put_set(file, "floats-chunked", H5T_NATIVE_FLOAT, 4, images, 7, floats);
	H5Fclose(file);
	refuses(at("types.h5:deep"), 0, 0, "looks like N x C x H x W", "types.h5:deep?layout=nchw'");
	static const char *names[] = {"deep", "deep-chunked", "floats", "floats-chunked"};
	uint64_t digest[4];
	for (int s = 0; s < 4; s++) {
		char spec[64];
		float x[VALUES];
		snprintf(spec, sizeof spec, "types.h5:%s?layout=nchw", names[s]);
		if (s < 2)
			strcat(spec, "&range=0..53998");
		otp_dataset *d = ready(at(spec), 0, 0);
		get(d, N - 1, 0, x);
		assert_close((double)x[VALUES - 1], 1, 1e-6);
		assert_close((double)x[0], 2. * (N - 1) * VALUES / (N * VALUES - 1) - 1, 1e-5);
		assert_close((double)x[1], 2. * ((N - 1) * VALUES + 30) / (N * VALUES - 1) - 1, 1e-5);
		otp_dataset_close(d);
		/* Nothing loaded: read piece by piece. */
		d = digested(at(spec));
		digest[s] = otp_dataset_describe(d).digest;
		otp_dataset_close(d);
	}
	assert_true(digest[0] == digest[1]);
	assert_true(digest[2] == digest[3]);
	assert_true(digest[0] != digest[2]);
}

/* What cannot be read is said to be what it is. */
static void other_types(void **state)
{
	(void)state;
	int values[12] = {0};
	const hsize_t images[3] = {3, 2, 2};
	hid_t file = create("int.h5");
	put_set(file, "x", H5T_NATIVE_INT32, 3, images, 0, values);
	H5Fclose(file);
	refuses(at("int.h5"), 0, 0, "/x (3 x 2 x 2 int32)", "uint16");
	refuses(at("int.h5:x"), 0, 0, "is 3 x 2 x 2 int32", "a.astype(\"float32\")");
}

static void range_from_all_samples(void **state)
{
	(void)state;
	static float dark[320 * 4];
	const hsize_t images[4] = {320, 2, 2, 1};
	for (int i = 300 * 4; i < 320 * 4; i++)
		dark[i] = 255;
	hid_t file = create("dark.h5");
	put_set(file, "x", H5T_NATIVE_FLOAT, 4, images, 4, dark);
	H5Fclose(file);
	float x[4];
	otp_dataset *d = ready(at("dark.h5"), 0, 0);
	assert_close(otp_dataset_describe(d).high, 255, 0);
	get(d, 310, 0, x);
	assert_close((double)x[0], 1, 0);
	otp_dataset_close(d);
}

/* Of the set's first 256 samples, as programs before 0.2 made it. */
static void former_digest(void **state)
{
	(void)state;
	float v[600];
	const hsize_t points[2] = {300, 2};
	for (int i = 0; i < 600; i++)
		v[i] = (float)((i % 50) / 50.);
	hid_t file = create("former.h5");
	put_set(file, "x", H5T_NATIVE_FLOAT, 2, points, 100, v);
	H5Fclose(file);
	otp_dataset *d = digested(at("former.h5"));
	assert_int_equal(otp_dataset_compare(d, OTP_DIGEST_FIRST, 0x89de0a8e13004b92), OTP_DIGEST_EQUAL);
	assert_int_equal(otp_dataset_compare(d, NULL, 0x89de0a8e13004b92), OTP_DIGEST_EQUAL);
	assert_int_equal(otp_dataset_compare(d, OTP_DIGEST_BLOCKS, 0x89de0a8e13004b92), OTP_DIGEST_DIFFERS);
	otp_dataset_close(d);
}

/* A root group whose heap is nowhere: HDF5 1.10's own driver ends with a null pointer. */
static void undefined_addresses(void **state)
{
	(void)state;
	const hsize_t points[2] = {3, 4};
	float f[12] = {0};
	hid_t file = create("whole.h5");
	put_set(file, "x", H5T_NATIVE_FLOAT, 2, points, 0, f);
	H5Fclose(file);
	otp_error err = {0};
	size_t bytes;
	uint8_t *data = otp_file_read(at("whole.h5"), &bytes, &err);
	assert_non_null(data);
	/* B-tree and heap, in the superblock's entry of the root and in the root's own message. */
	uint8_t place[16];
	memcpy(place, data + 80, 16);
	int found = 0;
	for (size_t i = 80; i + 16 <= bytes; i++)
		if (memcmp(data + i, place, 16) == 0) {
			memset(data + i, 0xff, 16);
			found++;
		}
	assert_int_equal(found, 2);
	put("nowhere.h5", data, bytes);
	otp_free(data);
	refuses(at("nowhere.h5"), 0, 0, "nowhere.h5", "no data sets");
	refuses(at("nowhere.h5:/x"), 0, 0, "nowhere.h5", "no data set `/x'");
	otp_stored_kind kind;
	assert_false(otp_stored_identify(at("nowhere.h5"), &kind, &err));
}

/* HDF5 1.10 frees a driver whose last reference is a file's, and then closes the file through it: a read of
 * freed memory that no test without valgrind sees. */
static void the_driver_outlives_its_files(void **state)
{
	(void)state;
	const hsize_t points[2] = {3, 4};
	float f[12] = {0};
	hid_t file = create("driven.h5");
	put_set(file, "x", H5T_NATIVE_FLOAT, 2, points, 0, f);
	H5Fclose(file);
	hid_t driver = otp_hdf5_driver();
	int references = H5Iget_ref(driver);
	assert_true(references > 0);
	otp_dataset_close(ready(at("driven.h5"), 0, 0));
	assert_int_equal(H5Iget_type(driver), H5I_VFL);
	assert_int_equal(H5Iget_ref(driver), references);
	assert_true(otp_hdf5_driver() == driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hdf5_contiguous_and_chunked),
	    cmocka_unit_test(hdf5_claims_are_checked),
	    cmocka_unit_test(links_stay_in_the_file),
	    cmocka_unit_test(values_lie_in_the_file),
	    cmocka_unit_test(chunks_that_were_never_written),
	    cmocka_unit_test(of_several_sets_the_first_is_read),
	    cmocka_unit_test(types_and_layouts),
	    cmocka_unit_test(other_types),
	    cmocka_unit_test(range_from_all_samples),
	    cmocka_unit_test(former_digest),
	    cmocka_unit_test(undefined_addresses),
	    cmocka_unit_test(the_driver_outlives_its_files),
	};
	return cmocka_run_group_tests(tests, make_root, remove_root);
}
