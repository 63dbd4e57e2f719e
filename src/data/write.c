#include "data/write.h"
#include "core/file.h"
#include "data/hdf5_library.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

enum { MAX_RANK = 5 };

struct otp_array_file {
	char *path, *temporary;
	bool bytes, zipped;
	int64_t row_values, rows, rows_done;
	FILE *npy; /* NULL for HDF5 */
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
static bool write_npy_header(const otp_array_file *f)
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
	return fwrite(magic, 1, sizeof magic, f->npy) == sizeof magic &&
	       fwrite(header, 1, (size_t)padded, f->npy) == (size_t)padded;
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
	if (f->npy)
		fclose(f->npy);
	if (f->set >= 0)
		H5Dclose(f->set);
	if (f->file >= 0)
		H5Fclose(f->file);
	otp_free(f->path);
	otp_free(f->temporary);
	otp_free(f);
}

void otp_array_file_abandon(otp_array_file *f)
{
	unlink(f->temporary);
	release(f);
}

static bool failed(const otp_array_file *f, otp_error *err)
{
	return otp_fail_machine(err, f->path, "could not be written: %s",
				errno ? strerror(errno) : "HDF5 failed");
}

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
	f->file = f->set = -1;
	for (int i = 0; i < rank; i++) {
		f->dims[i] = (hsize_t)dims[i];
		f->row_values *= i ? dims[i] : 1;
	}
	errno = 0;
	bool ok;
	if (is_hdf5(path)) {
		ok = create_hdf5(f);
	} else {
		f->npy = fopen(f->temporary, "wb");
		ok = f->npy && write_npy_header(f);
	}
	if (ok)
		return f;
	failed(f, err);
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
	errno = 0;
	return f->npy || write_names(f->file, f->dims[0], names) || failed(f, err);
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
	errno = 0;
	bool ok = f->npy ? fwrite(rows, each, values, f->npy) == values : append_hdf5(f, rows, count);
	f->rows_done += count;
	return ok || failed(f, err);
}

/* The npy temporary becomes the one entry of a zip, stored as it is, with a
 * fixed time so that equal arrays make equal files. */
static bool zip_up(otp_array_file *f)
{
	char *packed = otp_format("%s.zip", f->temporary);
	int trouble = 0;
	zip_t *zip = zip_open(packed, ZIP_CREATE | ZIP_TRUNCATE, &trouble);
	zip_source_t *source = zip ? zip_source_file(zip, f->temporary, 0, -1) : NULL;
	zip_int64_t entry = source ? zip_file_add(zip, "arr_0.npy", source, ZIP_FL_OVERWRITE) : -1;
	bool ok = entry >= 0 && zip_set_file_compression(zip, (zip_uint64_t)entry, ZIP_CM_STORE, 0) == 0 &&
		  zip_file_set_mtime(zip, (zip_uint64_t)entry, 315532800, 0) == 0;
	if (source && entry < 0)
		zip_source_free(source);
	if (zip && ok)
		ok = zip_close(zip) == 0;
	else if (zip)
		zip_discard(zip);
	ok = ok && rename(packed, f->temporary) == 0;
	if (!ok)
		unlink(packed);
	otp_free(packed);
	return ok;
}

static bool close_file(otp_array_file *f)
{
	bool ok;
	if (f->npy) {
		ok = fclose(f->npy) == 0;
		f->npy = NULL;
		return ok && (!f->zipped || zip_up(f));
	}
	ok = H5Dclose(f->set) >= 0;
	ok = H5Fclose(f->file) >= 0 && ok;
	f->set = f->file = -1;
	return ok;
}

bool otp_array_file_finish(otp_array_file *f, otp_error *err)
{
	OTP_ASSERT(f->rows_done == f->rows, "%s: %lld of %lld rows", f->path, (long long)f->rows_done,
		   (long long)f->rows);
	errno = 0;
	bool ok = close_file(f) ? otp_file_commit(f->temporary, f->path, err) : failed(f, err);
	if (ok)
		release(f);
	else
		otp_array_file_abandon(f);
	return ok;
}
