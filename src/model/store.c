#include "model/store.h"
#include "core/file.h"
#include "data/hdf5_library.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

static const char *const FORMATS[] = {"otplan-checkpoint", "otplan-model"};
enum { FORMAT_VERSION = 1, MOST_TEXT_BYTES = 1 << 24 };
static const char *const NETWORKS[OTP_NETWORKS] = {"transport", "potential"};
static const int ROWS[OTP_NETWORKS] = {4, 3};

void otp_stored_free(otp_stored *s)
{
	otp_free(s->settings);
	for (otp_network n = 0; n < OTP_NETWORKS; n++)
		otp_free(s->state[n]);
	memset(s, 0, sizeof *s);
}

/* ---- attributes: small named values at the root ---- */

static bool write_number(hid_t file, const char *name, hid_t type, const void *value)
{
	hid_t space = H5Screate(H5S_SCALAR);
	hid_t attr = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
	bool ok = attr >= 0 && H5Awrite(attr, type, value) >= 0;
	H5Aclose(attr);
	H5Sclose(space);
	return ok;
}

static bool write_integer(hid_t file, const char *name, int64_t value)
{
	return write_number(file, name, H5T_NATIVE_INT64, &value);
}

/* Every data set carries the digest of its bytes; of its own structures HDF5 keeps checksums (create_file).
 */
static bool write_data(hid_t file, const char *name, hid_t type, const void *data, const hsize_t *dims,
		       int rank)
{
	hid_t space = H5Screate_simple(rank, dims, NULL);
	hid_t create = H5Pcreate(H5P_DATASET_CREATE);
	H5Pset_obj_track_times(create, 0);
	hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, create, H5P_DEFAULT);
	size_t bytes = H5Tget_size(type) * (size_t)H5Sget_simple_extent_npoints(space);
	bool ok = set >= 0 && H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0 &&
		  write_integer(set, "xxh3", (int64_t)XXH3_64bits(data, bytes));
	H5Dclose(set);
	H5Pclose(create);
	H5Sclose(space);
	return ok;
}

/* Text as a data set of bytes: attributes end at 64 KiB. */
static bool write_text(hid_t file, const char *name, const char *text)
{
	hsize_t bytes = strlen(text) + 1;
	return write_data(file, name, H5T_NATIVE_UINT8, text, &bytes, 1);
}

static bool read_number(hid_t file, const char *name, hid_t type, void *value)
{
	if (H5Aexists(file, name) <= 0)
		return false;
	hid_t attr = H5Aopen(file, name, H5P_DEFAULT);
	bool ok = attr >= 0 && H5Aread(attr, type, value) >= 0;
	H5Aclose(attr);
	return ok;
}

static int64_t data_count(hid_t file, const char *name)
{
	if (H5Lexists(file, name, H5P_DEFAULT) <= 0)
		return -1;
	hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
	if (set < 0)
		return -1;
	hid_t space = H5Dget_space(set);
	hssize_t count = H5Sget_simple_extent_npoints(space);
	H5Sclose(space);
	H5Dclose(set);
	return count;
}

static bool read_data(hid_t file, const char *name, hid_t type, int64_t count, void *data)
{
	if (data_count(file, name) != count)
		return false;
	int64_t digest = 0;
	hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
	bool ok = set >= 0 && H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0 &&
		  read_number(set, "xxh3", H5T_NATIVE_INT64, &digest) &&
		  digest == (int64_t)XXH3_64bits(data, H5Tget_size(type) * (size_t)count);
	H5Dclose(set);
	return ok;
}

static char *read_text(hid_t file, const char *name)
{
	int64_t bytes = data_count(file, name);
	if (bytes < 1 || bytes > MOST_TEXT_BYTES)
		return NULL;
	char *text = otp_calloc((size_t)bytes + 1, 1);
	if (!read_data(file, name, H5T_NATIVE_UINT8, bytes, text)) {
		otp_free(text);
		return NULL;
	}
	return text;
}

/* ---- files ---- */

/* From 1.10 on HDF5 keeps checksums of all its own structures. */
static hid_t create_file(const char *path)
{
	hid_t create = H5Pcreate(H5P_FILE_CREATE), access = H5Pcreate(H5P_FILE_ACCESS);
	H5Pset_obj_track_times(create, 0);
	H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
	hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, create, access);
	H5Pclose(access);
	H5Pclose(create);
	return file;
}

static bool make_group(hid_t file, const char *name)
{
	hid_t create = H5Pcreate(H5P_GROUP_CREATE);
	H5Pset_obj_track_times(create, 0);
	hid_t group = H5Gcreate2(file, name, H5P_DEFAULT, create, H5P_DEFAULT);
	H5Pclose(create);
	return group >= 0 && H5Gclose(group) >= 0;
}

static hid_t open_file(const char *path, otp_stored_kind *kind, otp_error *err)
{
	otp_hdf5_start();
	if (access(path, R_OK) != 0) {
		otp_fail(err, path, "cannot be read: %s", strerror(errno));
		return -1;
	}
	if (H5Fis_hdf5(path) <= 0) {
		otp_fail(err, path, "is no HDF5 file, expected a model or checkpoint written by otplan");
		return -1;
	}
	hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
	if (file < 0) {
		otp_fail(err, path, "is damaged or truncated: HDF5 cannot open it");
		return -1;
	}
	char *format = read_text(file, "format");
	int64_t version = 0;
	read_number(file, "version", H5T_NATIVE_INT64, &version);
	bool known = false;
	for (int k = 0; k < 2; k++)
		if (format && strcmp(format, FORMATS[k]) == 0) {
			*kind = (otp_stored_kind)k;
			known = true;
		}
	otp_free(format);
	if (!known)
		otp_fail(err, path, "is an HDF5 file, but no model or checkpoint of otplan");
	else if (version != FORMAT_VERSION)
		otp_fail(err, path, "has format version %lld, this program reads %d", (long long)version,
			 FORMAT_VERSION);
	if (err->exit_code) {
		H5Fclose(file);
		return -1;
	}
	return file;
}

bool otp_stored_identify(const char *path, otp_stored_kind *kind, otp_error *err)
{
	hid_t file = open_file(path, kind, err);
	if (file < 0)
		return false;
	H5Fclose(file);
	return true;
}

static hid_t open_kind(const char *path, otp_stored_kind wanted, otp_error *err)
{
	otp_stored_kind kind;
	hid_t file = open_file(path, &kind, err);
	if (file >= 0 && kind != wanted) {
		otp_fail(err, path, "is a %s, expected a %s", FORMATS[kind] + strlen("otplan-"),
			 FORMATS[wanted] + strlen("otplan-"));
		H5Fclose(file);
		return -1;
	}
	return file;
}

/* What both kinds hold. */
static bool write_facts(hid_t file, otp_stored_kind kind, const otp_stored *s)
{
	return write_text(file, "format", FORMATS[kind]) && write_integer(file, "version", FORMAT_VERSION) &&
	       write_integer(file, "step", s->step) && write_integer(file, "vectors", s->vectors) &&
	       write_integer(file, "height", s->h) && write_integer(file, "width", s->w) &&
	       write_integer(file, "channels", s->c) &&
	       write_integer(file, "source_digest", (int64_t)s->source_digest) &&
	       write_integer(file, "target_digest", (int64_t)s->target_digest) &&
	       write_text(file, "settings", s->settings);
}

static bool read_facts(hid_t file, otp_stored *s)
{
	int64_t h = 0, w = 0, c = 0, vectors = 0;
	bool ok = read_number(file, "step", H5T_NATIVE_INT64, &s->step) &&
		  read_number(file, "vectors", H5T_NATIVE_INT64, &vectors) &&
		  read_number(file, "height", H5T_NATIVE_INT64, &h) &&
		  read_number(file, "width", H5T_NATIVE_INT64, &w) &&
		  read_number(file, "channels", H5T_NATIVE_INT64, &c) &&
		  read_number(file, "source_digest", H5T_NATIVE_INT64, &s->source_digest) &&
		  read_number(file, "target_digest", H5T_NATIVE_INT64, &s->target_digest) &&
		  (s->settings = read_text(file, "settings"));
	s->vectors = vectors != 0;
	s->h = (int)h;
	s->w = (int)w;
	s->c = (int)c;
	return ok && h > 0 && w > 0 && c > 0 && h <= 1 << 16 && w <= 1 << 16 && c <= 1 << 20;
}

/* Close, and let the finished temporary take the path's name. */
static bool finish(hid_t file, bool ok, char *temporary, const char *path, otp_error *err)
{
	if (file >= 0)
		ok &= H5Fclose(file) >= 0;
	if (file < 0 || !ok) {
		otp_fail_machine(err, path, "could not be written: %s",
				 errno ? strerror(errno) : "HDF5 failed");
		unlink(temporary);
		ok = false;
	} else {
		ok = otp_file_commit(temporary, path, err);
	}
	otp_free(temporary);
	return ok;
}

/* ---- checkpoints ---- */

static char *layout_text(const otp_params *p)
{
	size_t room = (size_t)p->count * 160 + 1, used = 0;
	char *text = otp_calloc(room, 1);
	for (int k = 0; k < p->count; k++) {
		const otp_param_info *i = &p->info[k];
		used +=
		    (size_t)snprintf(text + used, room - used, "%s %lld %dx%dx%dx%d\n", i->name,
				     (long long)i->offset, i->shape.n, i->shape.h, i->shape.w, i->shape.c);
	}
	return text;
}

static bool write_network(hid_t file, const otp_stored *s, otp_network network, const otp_params *params)
{
	char name[64];
	hsize_t dims[2] = {(hsize_t)ROWS[network], (hsize_t)s->elements[network]};
	char *layout = layout_text(params);
	bool ok = make_group(file, NETWORKS[network]);
	snprintf(name, sizeof name, "%s/state", NETWORKS[network]);
	ok = ok && write_data(file, name, H5T_NATIVE_FLOAT, s->state[network], dims, 2);
	snprintf(name, sizeof name, "%s/layout", NETWORKS[network]);
	ok = ok && write_text(file, name, layout);
	otp_free(layout);
	return ok;
}

enum { LOSSES = sizeof(otp_losses) / sizeof(double) };

static bool write_losses(hid_t file, const otp_losses *losses)
{
	hsize_t count = LOSSES;
	return write_data(file, "losses", H5T_NATIVE_DOUBLE, losses, &count, 1);
}

/* A checkpoint from before they were kept has none: the next record's means begin after it. */
static bool read_losses(hid_t file, otp_losses *losses)
{
	return data_count(file, "losses") < 0 || read_data(file, "losses", H5T_NATIVE_DOUBLE, LOSSES, losses);
}

bool otp_checkpoint_write(const char *path, const otp_stored *s, const otp_params *const params[OTP_NETWORKS],
			  otp_error *err)
{
	otp_hdf5_start();
	errno = 0;
	char *temporary = otp_file_temporary(path);
	hid_t file = create_file(temporary);
	bool ok = file >= 0 && write_facts(file, OTP_STORED_CHECKPOINT, s) &&
		  write_number(file, "time_s", H5T_NATIVE_DOUBLE, &s->time_s) &&
		  write_losses(file, &s->losses);
	for (otp_network network = 0; ok && network < OTP_NETWORKS; network++)
		ok = write_network(file, s, network, params[network]);
	return finish(file, ok, temporary, path, err);
}

static bool read_network(hid_t file, otp_stored *s, otp_network network)
{
	char name[64];
	snprintf(name, sizeof name, "%s/state", NETWORKS[network]);
	int64_t count = data_count(file, name);
	if (count <= 0 || count % ROWS[network])
		return false;
	s->elements[network] = count / ROWS[network];
	s->state[network] = otp_calloc((size_t)count, sizeof(float));
	return read_data(file, name, H5T_NATIVE_FLOAT, count, s->state[network]);
}

bool otp_checkpoint_read(const char *path, otp_stored *s, otp_error *err)
{
	memset(s, 0, sizeof *s);
	hid_t file = open_kind(path, OTP_STORED_CHECKPOINT, err);
	if (file < 0)
		return false;
	bool ok = read_facts(file, s) && read_number(file, "time_s", H5T_NATIVE_DOUBLE, &s->time_s) &&
		  read_losses(file, &s->losses) && read_network(file, s, OTP_TRANSPORT) &&
		  read_network(file, s, OTP_POTENTIAL);
	H5Fclose(file);
	if (!ok) {
		otp_stored_free(s);
		return otp_fail(err, path,
				"is a damaged checkpoint: a part is missing or its digest differs; delete it "
				"to go on from the "
				"one before");
	}
	return true;
}

/* ---- models ---- */

bool otp_model_write(const char *path, const otp_stored *s, const otp_params *params, const float *row,
		     otp_error *err)
{
	otp_hdf5_start();
	errno = 0;
	char *temporary = otp_file_temporary(path);
	hid_t file = create_file(temporary);
	bool ok = file >= 0 && write_facts(file, OTP_STORED_MODEL, s) &&
		  write_number(file, "sigma", H5T_NATIVE_DOUBLE, &s->sigma) &&
		  write_integer(file, "parameters", params->trainable) && make_group(file, "generator");
	for (int k = 0; ok && k < params->count; k++) {
		const otp_param_info *i = &params->info[k];
		char name[128];
		snprintf(name, sizeof name, "generator/%s", i->name);
		hsize_t dims[4] = {(hsize_t)i->shape.n, (hsize_t)i->shape.h, (hsize_t)i->shape.w,
				   (hsize_t)i->shape.c};
		ok = write_data(file, name, H5T_NATIVE_FLOAT, row + i->offset, dims, 4);
	}
	return finish(file, ok, temporary, path, err);
}

bool otp_model_read(const char *path, otp_stored *s, otp_error *err)
{
	memset(s, 0, sizeof *s);
	hid_t file = open_kind(path, OTP_STORED_MODEL, err);
	if (file < 0)
		return false;
	bool ok = read_facts(file, s) && read_number(file, "sigma", H5T_NATIVE_DOUBLE, &s->sigma) &&
		  read_number(file, "parameters", H5T_NATIVE_INT64, &s->parameters);
	H5Fclose(file);
	if (!ok) {
		otp_stored_free(s);
		return otp_fail(err, path, "is a damaged model: a part is missing");
	}
	return true;
}

bool otp_model_read_weights(const char *path, const otp_params *params, float *row, otp_error *err)
{
	hid_t file = open_kind(path, OTP_STORED_MODEL, err);
	if (file < 0)
		return false;
	bool ok = true;
	for (int k = 0; ok && k < params->count; k++) {
		const otp_param_info *i = &params->info[k];
		char name[128];
		snprintf(name, sizeof name, "generator/%s", i->name);
		ok = read_data(file, name, H5T_NATIVE_FLOAT, otp_shape_count(i->shape), row + i->offset);
		if (!ok)
			otp_fail(err, path,
				 "parameter %s is missing, damaged, or of another size than its settings say",
				 i->name);
	}
	H5Fclose(file);
	return ok;
}
