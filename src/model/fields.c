#include "model/fields.h"
#include "core/file.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { MOST_TEXT_BYTES = 1 << 24, NAME_BYTES = 256 };

/* ---- writing ---- */

hid_t otp_fields_create(const char *path)
{
	/* From 1.10 on HDF5 keeps checksums of all its own structures. */
	hid_t create = H5Pcreate(H5P_FILE_CREATE), access = otp_hdf5_access();
	H5Pset_obj_track_times(create, 0);
	H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
	hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, create, access);
	H5Pclose(access);
	H5Pclose(create);
	return file;
}

bool otp_fields_make_group(hid_t file, const char *name)
{
	hid_t create = H5Pcreate(H5P_GROUP_CREATE);
	H5Pset_obj_track_times(create, 0);
	/* Attributes stay in the group's header, which is small and has a checksum. */
	H5Pset_attr_phase_change(create, 64, 0);
	hid_t group = H5Gcreate2(file, name, H5P_DEFAULT, create, H5P_DEFAULT);
	H5Pclose(create);
	return group >= 0 && H5Gclose(group) >= 0;
}

/* "group/attribute" into the group's name ("." for the root) and the attribute's. */
static const char *split(const char *name, char group[NAME_BYTES])
{
	const char *slash = strrchr(name, '/');
	snprintf(group, NAME_BYTES, "%.*s", slash ? (int)(slash - name) : 1, slash ? name : ".");
	return slash ? slash + 1 : name;
}

static bool write_attribute(hid_t file, const char *name, hid_t type, const void *value, hid_t space)
{
	char group[NAME_BYTES];
	const char *last = split(name, group);
	hid_t attr = H5Acreate_by_name(file, group, last, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
	bool ok = attr >= 0 && H5Awrite(attr, type, value) >= 0;
	ok = attr >= 0 && H5Aclose(attr) >= 0 && ok;
	H5Sclose(space);
	return ok;
}

bool otp_fields_write_integer(hid_t file, const char *name, int64_t value)
{
	return write_attribute(file, name, H5T_NATIVE_INT64, &value, H5Screate(H5S_SCALAR));
}

bool otp_fields_write_unsigned(hid_t file, const char *name, uint64_t value)
{
	return write_attribute(file, name, H5T_NATIVE_UINT64, &value, H5Screate(H5S_SCALAR));
}

bool otp_fields_write_real(hid_t file, const char *name, double value)
{
	return write_attribute(file, name, H5T_NATIVE_DOUBLE, &value, H5Screate(H5S_SCALAR));
}

bool otp_fields_write_text(hid_t file, const char *name, const char *value)
{
	hid_t type = H5Tcopy(H5T_C_S1);
	H5Tset_size(type, strlen(value) + 1);
	H5Tset_cset(type, H5T_CSET_UTF8);
	bool ok = write_attribute(file, name, type, value, H5Screate(H5S_SCALAR));
	H5Tclose(type);
	return ok;
}

bool otp_fields_write_list(hid_t file, const char *name, const int *values, int count)
{
	hsize_t dim = (hsize_t)count;
	return write_attribute(file, name, H5T_NATIVE_INT, values, H5Screate_simple(1, &dim, NULL));
}

static hid_t native(otp_set_type type)
{
	return type == OTP_SET_BYTES ? H5T_NATIVE_UINT8
	       : type == OTP_SET_F32 ? H5T_NATIVE_FLOAT
				     : H5T_NATIVE_DOUBLE;
}

static size_t bytes_each(otp_set_type type)
{
	return type == OTP_SET_BYTES ? 1 : type == OTP_SET_F32 ? sizeof(float) : sizeof(double);
}

bool otp_fields_write_set(hid_t file, const char *name, otp_set_type type, const void *data,
			  const int64_t *dims, int rank)
{
	hsize_t sizes[OTP_SET_RANK] = {0};
	size_t bytes = bytes_each(type);
	for (int i = 0; i < rank; i++) {
		sizes[i] = (hsize_t)dims[i];
		bytes *= (size_t)dims[i];
	}
	hid_t space = H5Screate_simple(rank, sizes, NULL);
	hid_t create = H5Pcreate(H5P_DATASET_CREATE);
	H5Pset_obj_track_times(create, 0);
	hid_t set = H5Dcreate2(file, name, native(type), space, H5P_DEFAULT, create, H5P_DEFAULT);
	bool ok = set >= 0 && H5Dwrite(set, native(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0 &&
		  otp_fields_write_integer(set, "xxh3", (int64_t)XXH3_64bits(data, bytes));
	/* HDF5 holds small sets back until they are closed. */
	ok = set >= 0 && H5Dclose(set) >= 0 && ok;
	H5Pclose(create);
	H5Sclose(space);
	return ok;
}

bool otp_fields_write_long_text(hid_t file, const char *name, const char *text)
{
	int64_t bytes = (int64_t)strlen(text) + 1;
	return otp_fields_write_set(file, name, OTP_SET_BYTES, text, &bytes, 1);
}

/* ---- finding ---- */

/* Every link on the way to an object lies in this file. */
static bool is_here(hid_t file, const char *name)
{
	char part[NAME_BYTES];
	for (const char *end = name; *end;) {
		end += strcspn(end, "/");
		snprintf(part, sizeof part, "%.*s", (int)(end - name), name);
		H5L_info_t link;
		if (H5Lexists(file, part, H5P_DEFAULT) <= 0 ||
		    H5Lget_info(file, part, &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD)
			return false;
		end += *end == '/';
	}
	return true;
}

/* -1 where the group or the attribute is not there. */
static hid_t open_attribute(const otp_fields *f, const char *name)
{
	char group[NAME_BYTES];
	const char *last = split(name, group);
	if (strcmp(group, ".") != 0 && !is_here(f->file, group))
		return -1;
	if (H5Aexists_by_name(f->file, group, last, H5P_DEFAULT) <= 0)
		return -1;
	return H5Aopen_by_name(f->file, group, last, H5P_DEFAULT, H5P_DEFAULT);
}

bool otp_fields_has(const otp_fields *f, const char *name)
{
	hid_t attr = open_attribute(f, name);
	if (attr >= 0)
		H5Aclose(attr);
	return attr >= 0;
}

/* ---- reading attributes ---- */

/* What an attribute is, before anything of it is read. */
typedef struct attribute {
	hid_t id, type;
	H5T_class_t class;
	size_t bytes; /* of one value */
	int rank;
	hssize_t count;
} attribute;

static bool open_checked(const otp_fields *f, const char *name, attribute *a)
{
	a->id = open_attribute(f, name);
	if (a->id < 0)
		return otp_fail(f->err, f->path, "has no attribute %s", name);
	hid_t space = H5Aget_space(a->id);
	bool simple = H5Sget_simple_extent_type(space) != H5S_NULL;
	a->type = H5Aget_type(a->id);
	a->class = H5Tget_class(a->type);
	a->bytes = H5Tget_size(a->type);
	a->rank = H5Sget_simple_extent_ndims(space);
	a->count = simple ? H5Sget_simple_extent_npoints(space) : 0;
	H5Sclose(space);
	return true;
}

static void close_checked(attribute *a)
{
	H5Tclose(a->type);
	H5Aclose(a->id);
}

/* One number of a class, 8 bytes at most, into value of the native type `as`. */
static bool read_number(const otp_fields *f, const char *name, H5T_class_t class, hid_t as,
			const char *expected, void *value)
{
	attribute a;
	if (!open_checked(f, name, &a))
		return false;
	bool fits = a.class == class && a.bytes <= 8 && a.rank == 0 && a.count == 1 &&
		    (class != H5T_INTEGER || H5Tget_sign(a.type) == H5Tget_sign(as));
	bool ok = fits && H5Aread(a.id, as, value) >= 0;
	if (!fits)
		otp_fail(f->err, f->path, "attribute %s is not what it should be, expected one %s", name,
			 expected);
	else if (!ok)
		otp_fail(f->err, f->path, "attribute %s cannot be read: the file is damaged", name);
	close_checked(&a);
	return ok;
}

bool otp_fields_integer(const otp_fields *f, const char *name, int64_t least, int64_t most, int64_t *value)
{
	if (!read_number(f, name, H5T_INTEGER, H5T_NATIVE_INT64, "signed integer", value))
		return false;
	return (*value >= least && *value <= most) ||
	       otp_fail(f->err, f->path, "attribute %s is %lld, expected %lld to %lld", name,
			(long long)*value, (long long)least, (long long)most);
}

bool otp_fields_unsigned(const otp_fields *f, const char *name, uint64_t *value)
{
	return read_number(f, name, H5T_INTEGER, H5T_NATIVE_UINT64, "unsigned integer", value);
}

bool otp_fields_real(const otp_fields *f, const char *name, double least, double most, double *value)
{
	if (!read_number(f, name, H5T_FLOAT, H5T_NATIVE_DOUBLE, "floating-point number", value))
		return false;
	return (*value >= least && *value <= most) ||
	       otp_fail(f->err, f->path, "attribute %s is %g, expected %g to %g", name, *value, least, most);
}

char *otp_fields_text(const otp_fields *f, const char *name, size_t most_bytes)
{
	attribute a;
	if (!open_checked(f, name, &a))
		return NULL;
	char *text = NULL;
	if (a.class != H5T_STRING || H5Tis_variable_str(a.type) > 0 || a.rank != 0 || a.count != 1 ||
	    a.bytes > most_bytes) {
		otp_fail(f->err, f->path,
			 "attribute %s is not what it should be, expected one text of fixed length, %zu "
			 "bytes at most",
			 name, most_bytes);
	} else {
		text = otp_calloc(a.bytes + 1, 1);
		if (H5Aread(a.id, a.type, text) < 0) {
			otp_fail(f->err, f->path, "attribute %s cannot be read: the file is damaged", name);
			otp_free(text);
			text = NULL;
		}
	}
	close_checked(&a);
	return text;
}

bool otp_fields_list(const otp_fields *f, const char *name, int least, int most, int *values, int room,
		     int *count)
{
	attribute a;
	if (!open_checked(f, name, &a))
		return false;
	bool ok = a.class == H5T_INTEGER && a.bytes <= 8 && H5Tget_sign(a.type) == H5T_SGN_2 && a.rank == 1 &&
		  a.count >= 1 && a.count <= room;
	if (!ok)
		otp_fail(f->err, f->path,
			 "attribute %s is not what it should be, expected a list of 1 to %d integers", name,
			 room);
	else if (H5Aread(a.id, H5T_NATIVE_INT, values) < 0)
		ok = otp_fail(f->err, f->path, "attribute %s cannot be read: the file is damaged", name);
	*count = ok ? (int)a.count : 0;
	for (int i = 0; i < *count; i++)
		if (values[i] < least || values[i] > most)
			ok = otp_fail(f->err, f->path, "attribute %s holds %d, expected %d to %d", name,
				      values[i], least, most);
	close_checked(&a);
	return ok;
}

/* ---- reading sets ---- */

bool otp_fields_has_set(const otp_fields *f, const char *name) { return is_here(f->file, name); }

static bool has_type(hid_t set, otp_set_type wanted)
{
	hid_t type = H5Dget_type(set);
	bool fits = H5Tget_size(type) == bytes_each(wanted) &&
		    H5Tget_class(type) == (wanted == OTP_SET_BYTES ? H5T_INTEGER : H5T_FLOAT);
	H5Tclose(type);
	return fits;
}

/* In one piece, in this file, not beyond its end. */
static bool lies_inside(const otp_fields *f, hid_t set, uint64_t bytes)
{
	hsize_t file_bytes = 0;
	hid_t create = H5Dget_create_plist(set);
	bool plain = H5Pget_layout(create) == H5D_CONTIGUOUS && H5Pget_external_count(create) == 0;
	haddr_t at = plain ? H5Dget_offset(set) : HADDR_UNDEF;
	H5Pclose(create);
	return at != HADDR_UNDEF && H5Fget_filesize(f->file, &file_bytes) >= 0 && at <= file_bytes &&
	       bytes <= file_bytes - at;
}

/* The bytes of dims, or UINT64_MAX where that does not fit into 63 bits. */
static uint64_t bytes_of(const hsize_t *dims, int rank, size_t each)
{
	uint64_t bytes = each;
	for (int i = 0; i < rank; i++) {
		if (dims[i] == 0)
			return 0;
		if (bytes > (uint64_t)INT64_MAX / dims[i])
			return UINT64_MAX;
		bytes *= dims[i];
	}
	return bytes;
}

static bool check_set(const otp_fields *f, hid_t set, const char *name, otp_set_type type, int rank,
		      hsize_t *dims)
{
	hid_t space = H5Dget_space(set);
	int found = H5Sget_simple_extent_ndims(space);
	bool ranked = found == rank && H5Sget_simple_extent_dims(space, dims, NULL) == rank;
	H5Sclose(space);
	if (!has_type(set, type) || !ranked)
		return otp_fail(f->err, f->path, "set %s is not what it should be, expected %s of rank %d",
				name,
				type == OTP_SET_BYTES ? "bytes"
				: type == OTP_SET_F32 ? "float32"
						      : "float64",
				rank);
	uint64_t bytes = bytes_of(dims, rank, bytes_each(type));
	return (bytes > 0 && lies_inside(f, set, bytes)) ||
	       otp_fail(f->err, f->path, "set %s is damaged: its values do not lie in this file in one piece",
			name);
}

/* -1 where it is not there. */
static hid_t open_set(const otp_fields *f, const char *name)
{
	hid_t set = is_here(f->file, name) ? H5Dopen2(f->file, name, H5P_DEFAULT) : -1;
	if (set < 0)
		otp_fail(f->err, f->path, "has no set %s", name);
	return set;
}

bool otp_fields_look(const otp_fields *f, const char *name, otp_set_type type, int rank, int64_t *dims)
{
	OTP_ASSERT(rank >= 1 && rank <= OTP_SET_RANK, "rank %d", rank);
	hsize_t sizes[OTP_SET_RANK] = {0};
	hid_t set = open_set(f, name);
	if (set < 0)
		return false;
	bool ok = check_set(f, set, name, type, rank, sizes);
	for (int i = 0; i < rank; i++)
		dims[i] = (int64_t)sizes[i];
	H5Dclose(set);
	return ok;
}

/* False with an error where the set has none. */
static bool digest_of(const otp_fields *f, hid_t set, const char *name, uint64_t *digest)
{
	int64_t bits = 0; /* of an unsigned number */
	otp_error ignored = {0};
	otp_fields own = {.file = set, .path = f->path, .err = &ignored};
	bool ok = otp_fields_integer(&own, "xxh3", INT64_MIN, INT64_MAX, &bits);
	*digest = (uint64_t)bits;
	return ok || otp_fail(f->err, f->path, "set %s is damaged: it has no digest", name);
}

static bool fail_digest(const otp_fields *f, const char *name)
{
	f->err->damaged = !f->err->exit_code;
	return otp_fail(f->err, f->path, "set %s is damaged: its digest differs", name);
}

bool otp_fields_check_set(const otp_fields *f, const char *name)
{
	hid_t set = open_set(f, name);
	if (set < 0)
		return false;
	uint64_t wanted = 0, found = 0, bytes = 0;
	hid_t space = H5Dget_space(set), type = H5Dget_type(set);
	hssize_t count = H5Sget_simple_extent_npoints(space);
	size_t each = H5Tget_size(type);
	H5Tclose(type);
	H5Sclose(space);
	bool sane = count > 0 && each > 0 && (uint64_t)count <= (uint64_t)INT64_MAX / each;
	bytes = sane ? (uint64_t)count * each : 0;
	bool ok = (sane && lies_inside(f, set, bytes)) ||
		  otp_fail(f->err, f->path,
			   "set %s is damaged: its values do not lie in this file in one piece", name);
	ok = ok && digest_of(f, set, name, &wanted) &&
	     otp_file_digest(f->path, H5Dget_offset(set), bytes, &found, f->err) &&
	     (found == wanted || fail_digest(f, name));
	H5Dclose(set);
	return ok;
}

bool otp_fields_read_set(const otp_fields *f, const char *name, otp_set_type type, int64_t count, void *data)
{
	hid_t set = open_set(f, name);
	if (set < 0)
		return false;
	hid_t space = H5Dget_space(set);
	OTP_ASSERT(H5Sget_simple_extent_npoints(space) == count && has_type(set, type), "%s: not looked at",
		   name);
	H5Sclose(space);
	uint64_t digest = 0;
	bool ok = (H5Dread(set, native(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0 ||
		   otp_fail(f->err, f->path, "set %s is damaged: its values cannot be read", name)) &&
		  digest_of(f, set, name, &digest) &&
		  (digest == XXH3_64bits(data, bytes_each(type) * (size_t)count) || fail_digest(f, name));
	H5Dclose(set);
	return ok;
}

char *otp_fields_long_text(const otp_fields *f, const char *name)
{
	int64_t bytes = 0;
	if (!otp_fields_look(f, name, OTP_SET_BYTES, 1, &bytes))
		return NULL;
	if (bytes > MOST_TEXT_BYTES) {
		otp_fail(f->err, f->path, "set %s is too long for a text: %lld bytes", name,
			 (long long)bytes);
		return NULL;
	}
	char *text = otp_calloc((size_t)bytes + 1, 1);
	if (otp_fields_read_set(f, name, OTP_SET_BYTES, bytes, text))
		return text;
	otp_free(text);
	return NULL;
}
