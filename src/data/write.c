#include "data/write.h"
#include "core/file.h"
#include "data/archive.h"
#include "data/hdf5_library.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include <zip.h>

enum { MAX_RANK = 5 };
static const char ENTRY[] = "arr_0.npy"; /* of an npz */

struct otp_array_file {
	char *path, *temporary;
	bool bytes, zipped;
	int64_t row_values, rows, rows_done;
	int npy;	      /* -1 for HDF5 */
	uint64_t start;	      /* of an npy's values */
	XXH3_state_t *digest; /* of the values */
	hid_t file, set;
	hsize_t dims[MAX_RANK];
	int rank;
};

static bool ends_with(const char *path, const char *ending)
{
	size_t a = strlen(path), b = strlen(ending);
	return a >= b && strcmp(path + a - b, ending) == 0;
}

static bool is_hdf5(const char *path) { return ends_with(path, ".h5") || ends_with(path, ".hdf5"); }

bool otp_array_file_fits(const char *path)
{
	return is_hdf5(path) || ends_with(path, ".npy") || ends_with(path, ".npz");
}

/* NumPy's format 1.0: magic, length, a Python literal padded to 64 bytes. */
static bool write_npy_header(otp_array_file *f, otp_error *err)
{
	char shape[128] = "", header[256];
	int used = 0;
	for (int i = 0; i < f->rank; i++)
		used += snprintf(shape + used, sizeof shape - (size_t)used, "%lld,%s", (long long)f->dims[i],
				 i + 1 < f->rank ? " " : "");
	int length =
	    snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
		     f->bytes ? "|u1" : "<f4", shape);
	int padded = (10 + length + 1 + 63) / 64 * 64 - 10;
	memset(header + length, ' ', (size_t)(padded - length - 1));
	header[padded - 1] = '\n';
	unsigned char magic[10] = {
	    0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(padded & 255), (unsigned char)(padded >> 8)};
	f->start = sizeof magic + (uint64_t)padded;
	return otp_file_put(f->npy, f->path, magic, sizeof magic, err) &&
	       otp_file_put(f->npy, f->path, header, (size_t)padded, err);
}

static bool create_hdf5(otp_array_file *f)
{
	otp_hdf5_start();
	hid_t access = otp_hdf5_access();
	f->file = H5Fcreate(f->temporary, H5F_ACC_TRUNC, H5P_DEFAULT, access);
	H5Pclose(access);
	if (f->file < 0)
		return false;
	hid_t space = H5Screate_simple(f->rank, f->dims, NULL), create = H5Pcreate(H5P_DATASET_CREATE);
	H5Pset_obj_track_times(create, 0);
	f->set = H5Dcreate2(f->file, "data", f->bytes ? H5T_NATIVE_UINT8 : H5T_NATIVE_FLOAT, space,
			    H5P_DEFAULT, create, H5P_DEFAULT);
	H5Pclose(create);
	H5Sclose(space);
	return f->set >= 0;
}

static void release(otp_array_file *f)
{
	if (f->npy >= 0)
		close(f->npy);
	if (f->set >= 0)
		H5Dclose(f->set);
	if (f->file >= 0)
		H5Fclose(f->file);
	XXH3_freeState(f->digest);
	otp_free(f->path);
	otp_free(f->temporary);
	otp_free(f);
}

void otp_array_file_abandon(otp_array_file *f)
{
	unlink(f->temporary);
	release(f);
}

static bool failed(const otp_array_file *f, int why, otp_error *err)
{
	return otp_fail_machine(err, f->path, "cannot be written: %s", why ? strerror(why) : "HDF5 failed");
}

static bool failed_hdf5(const otp_array_file *f, otp_error *err) { return failed(f, otp_hdf5_errno(), err); }

otp_array_file *otp_array_file_new(const char *path, bool bytes, int rank, const int64_t *dims,
				   otp_error *err)
{
	OTP_ASSERT(rank >= 1 && rank <= MAX_RANK, "array of rank %d", rank);
	otp_array_file *f = otp_calloc(1, sizeof *f);
	f->path = otp_strdup(path);
	f->temporary = otp_file_temporary(path);
	f->bytes = bytes;
	f->zipped = ends_with(path, ".npz");
	f->rank = rank;
	f->rows = dims[0];
	f->row_values = 1;
	f->file = f->set = f->npy = -1;
	f->digest = XXH3_createState();
	OTP_ASSERT(f->digest, "no memory for a digest");
	XXH3_64bits_reset(f->digest);
	for (int i = 0; i < rank; i++) {
		f->dims[i] = (hsize_t)dims[i];
		f->row_values *= i ? dims[i] : 1;
	}
	bool ok;
	if (is_hdf5(path)) {
		ok = create_hdf5(f) || failed_hdf5(f, err);
	} else {
		f->npy = open(f->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		ok = f->npy >= 0 ? write_npy_header(f, err) : failed(f, errno, err);
	}
	if (ok)
		return f;
	otp_array_file_abandon(f);
	return NULL;
}

/* A set of texts of one length, UTF-8, filled up with zeros. */
static bool write_names(hid_t file, hsize_t count, const char *const *names)
{
	size_t most = 1;
	for (hsize_t i = 0; i < count; i++)
		most = strlen(names[i]) > most ? strlen(names[i]) : most;
	char *texts = otp_calloc((size_t)count, most);
	for (hsize_t i = 0; i < count; i++)
		memcpy(texts + i * most, names[i], strlen(names[i]));
	hid_t space = H5Screate_simple(1, &count, NULL), type = H5Tcopy(H5T_C_S1),
	      create = H5Pcreate(H5P_DATASET_CREATE);
	H5Tset_size(type, most);
	H5Tset_strpad(type, H5T_STR_NULLPAD);
	H5Tset_cset(type, H5T_CSET_UTF8);
	H5Pset_obj_track_times(create, 0);
	hid_t set = H5Dcreate2(file, "names", type, space, H5P_DEFAULT, create, H5P_DEFAULT);
	bool ok = set >= 0 && H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts) >= 0;
	if (set >= 0)
		ok = H5Dclose(set) >= 0 && ok;
	H5Pclose(create);
	H5Tclose(type);
	H5Sclose(space);
	otp_free(texts);
	return ok;
}

bool otp_array_file_name_rows(otp_array_file *f, const char *const *names, otp_error *err)
{
	return f->npy >= 0 || write_names(f->file, f->dims[0], names) || failed_hdf5(f, err);
}

static bool append_hdf5(otp_array_file *f, const void *rows, int64_t count)
{
	hsize_t start[MAX_RANK] = {(hsize_t)f->rows_done}, extent[MAX_RANK];
	memcpy(extent, f->dims, sizeof extent);
	extent[0] = (hsize_t)count;
	hid_t to = H5Dget_space(f->set), from = H5Screate_simple(f->rank, extent, NULL);
	bool ok = H5Sselect_hyperslab(to, H5S_SELECT_SET, start, NULL, extent, NULL) >= 0 &&
		  H5Dwrite(f->set, f->bytes ? H5T_NATIVE_UINT8 : H5T_NATIVE_FLOAT, from, to, H5P_DEFAULT,
			   rows) >= 0;
	H5Sclose(from);
	H5Sclose(to);
	return ok;
}

bool otp_array_file_append(otp_array_file *f, const void *rows, int64_t count, otp_error *err)
{
	OTP_ASSERT(f->rows_done + count <= f->rows, "%s: more rows than announced", f->path);
	size_t values = (size_t)(count * f->row_values), each = f->bytes ? 1 : sizeof(float);
	bool ok = f->npy >= 0 ? otp_file_put(f->npy, f->path, rows, values * each, err)
			      : append_hdf5(f, rows, count) || failed_hdf5(f, err);
	XXH3_64bits_update(f->digest, rows, values * each);
	f->rows_done += count;
	return ok;
}

/* The npy temporary becomes the one entry of a zip, stored as it is, with a
 * fixed time so that equal arrays make equal files. */
static bool zip_up(otp_array_file *f, otp_error *err)
{
	char *packed = otp_format("%s.zip", f->temporary);
	zip_t *zip = zip_open(packed, ZIP_CREATE | ZIP_TRUNCATE, NULL);
	zip_source_t *source = zip ? zip_source_file(zip, f->temporary, 0, -1) : NULL;
	zip_int64_t entry = source ? zip_file_add(zip, ENTRY, source, ZIP_FL_OVERWRITE) : -1;
	bool ok = entry >= 0 && zip_set_file_compression(zip, (zip_uint64_t)entry, ZIP_CM_STORE, 0) == 0 &&
		  zip_file_set_mtime(zip, (zip_uint64_t)entry, 315532800, 0) == 0;
	if (source && entry < 0)
		zip_source_free(source);
	ok = ok && zip_close(zip) == 0;
	if (!ok)
		otp_fail_machine(err, f->path, "cannot be written: %s",
				 zip ? zip_strerror(zip) : "the zip file cannot be created");
	if (!ok && zip)
		zip_discard(zip);
	ok = ok && (rename(packed, f->temporary) == 0 || failed(f, errno, err));
	if (!ok)
		unlink(packed);
	otp_free(packed);
	return ok;
}

static bool close_file(otp_array_file *f, otp_error *err)
{
	if (f->npy >= 0) {
		bool closed = close(f->npy) == 0 || failed(f, errno, err);
		f->npy = -1;
		return closed && (!f->zipped || zip_up(f, err));
	}
	bool ok = H5Dclose(f->set) >= 0;
	ok = otp_hdf5_close_written(f->file) && ok;
	f->set = f->file = -1;
	return ok || failed_hdf5(f, err);
}

/* ---- reading back ---- */

static bool hdf5_digest(const char *temporary, uint64_t bytes, uint64_t *digest, otp_error *err)
{
	otp_hdf5_start();
	hid_t file = otp_hdf5_open_file(temporary);
	hid_t set = file >= 0 ? H5Dopen2(file, "data", H5P_DEFAULT) : -1;
	haddr_t at = set >= 0 ? H5Dget_offset(set) : HADDR_UNDEF;
	bool ok = at != HADDR_UNDEF || bytes == 0 || otp_fail(err, temporary, "its values cannot be found");
	if (!ok)
		otp_hdf5_fail(temporary, err);
	if (set >= 0)
		H5Dclose(set);
	if (file >= 0)
		H5Fclose(file);
	return ok && otp_file_digest(temporary, bytes ? at : 0, bytes, digest, err);
}

/* libzip compares the entry's checksum when its end is read; that of the npy inside was of the values. */
static bool zip_digest(const char *temporary, uint64_t start, uint64_t *digest, otp_error *err)
{
	enum { BLOCK = 1 << 16 };
	XXH3_state_t *state = XXH3_createState();
	OTP_ASSERT(state, "no memory for a digest");
	XXH3_64bits_reset(state);
	char *block = otp_calloc(BLOCK, 1);
	zip_t *zip = otp_archive_open_zip(temporary, err);
	zip_file_t *entry = zip ? zip_fopen(zip, ENTRY, 0) : NULL;
	zip_int64_t got = entry ? zip_fread(entry, block, start) : -1; /* the header */
	bool ok = got == (zip_int64_t)start;
	while (ok && (got = zip_fread(entry, block, BLOCK)) > 0)
		XXH3_64bits_update(state, block, (size_t)got);
	ok = ok && got == 0;
	if (!ok && zip &&
	    !otp_archive_refused(entry ? zip_file_get_error(entry) : zip_get_error(zip), temporary, err))
		otp_fail(err, temporary, "its array cannot be unpacked");
	*digest = XXH3_64bits_digest(state);
	if (entry)
		zip_fclose(entry);
	if (zip)
		zip_discard(zip);
	XXH3_freeState(state);
	otp_free(block);
	return ok;
}

/* Whether the file's values are those that were appended. */
static bool reads_back(const char *temporary, const void *meant, otp_error *err)
{
	const otp_array_file *f = meant;
	uint64_t bytes = (uint64_t)(f->rows * f->row_values) * (f->bytes ? 1 : sizeof(float)), digest = 0;
	bool ok = f->zipped	  ? zip_digest(temporary, f->start, &digest, err)
		  : f->start == 0 ? hdf5_digest(temporary, bytes, &digest, err)
				  : otp_file_digest(temporary, f->start, OTP_FILE_REST, &digest, err);
	return ok &&
	       (digest == XXH3_64bits_digest(f->digest) || otp_fail(err, temporary, "its digest differs"));
}

bool otp_array_file_finish(otp_array_file *f, otp_error *err)
{
	OTP_ASSERT(f->rows_done == f->rows, "%s: %lld of %lld rows", f->path, (long long)f->rows_done,
		   (long long)f->rows);
	bool ok = close_file(f, err) && otp_file_commit(f->temporary, f->path, reads_back, f, err);
	if (ok)
		release(f);
	else
		otp_array_file_abandon(f);
	return ok;
}
