/* npz: NumPy's zip of arrays, stored or deflated, read by libzip. Without a
 * name the first array that can serve is taken. */
#include "data/npy.h"

#include "data/archive.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <zip.h>

enum { NPY_HEAD = 8192 }; /* bytes that hold any npy header */

/* The first `most` bytes of an entry, which are at least as many, or all of it. */
static bool read_entry(zip_t *zip, zip_uint64_t entry, const char *where, char *data, size_t most, bool whole,
		       otp_error *err)
{
	size_t done = 0;
	zip_int64_t got = 1;
	zip_file_t *file = zip_fopen_index(zip, entry, 0);
	if (!file)
		return !otp_archive_refused(zip_get_error(zip), where, err) &&
		       otp_fail(err, where, "cannot be unpacked: %s", zip_strerror(zip));
	while (done < most && (got = zip_fread(file, data + done, most - done)) > 0)
		done += (size_t)got;
	/* The checksum is compared where the end is met: one byte more is asked for. */
	char beyond;
	if (whole && done == most)
		got = zip_fread(file, &beyond, 1);
	bool ok = done == most && (!whole || got == 0);
	if (!ok && got > 0)
		otp_fail(err, where, "is damaged: it unpacks to more than the %zu bytes it claims", most);
	else if (!ok && !(got < 0 && otp_archive_refused(zip_file_get_error(file), where, err)))
		otp_fail(err, where, "is damaged: %zu of %zu bytes could be unpacked (%s)", done, most,
			 got < 0 ? zip_file_strerror(file) : "it ends there");
	zip_fclose(file);
	return ok;
}

/* What an entry says of its size, against the bytes that the zip has for it. */
static bool check_entry(const zip_stat_t *info, uint64_t file_bytes, const char *where, otp_error *err)
{
	if (info->encryption_method != ZIP_EM_NONE)
		return otp_fail(err, where, "is encrypted, which is not read");
	if (info->comp_method != ZIP_CM_STORE && info->comp_method != ZIP_CM_DEFLATE)
		return otp_fail(
		    err, where,
		    "is packed by method %d, expected stored or deflated: save it with numpy.savez "
		    "or numpy.savez_compressed",
		    (int)info->comp_method);
	/* Deflate packs no tighter than about 1032:1. */
	uint64_t most = info->comp_method == ZIP_CM_STORE ? 1 : 1040;
	return (info->comp_size <= file_bytes && info->size / most <= info->comp_size) ||
	       otp_fail(err, where, "claims %llu bytes, packed into %llu of a file of %llu",
			(unsigned long long)info->size, (unsigned long long)info->comp_size,
			(unsigned long long)file_bytes);
}

typedef struct npz {
	const otp_spec *spec;
	char *file, *name; /* name NULL: any */
	uint64_t file_bytes;
	zip_t *zip;
} npz;

/* Shape, type and size of an entry, nothing unpacked but its head. */
static bool look(const npz *z, zip_uint64_t entry, otp_array *array, size_t *data_at, size_t *bytes,
		 otp_error *err)
{
	char head[NPY_HEAD];
	zip_stat_t info;
	const char *name = zip_get_name(z->zip, entry, 0);
	char *where = otp_format("%s:%.*s", z->file, (int)strlen(name) - 4, name);
	bool ok = zip_stat_index(z->zip, entry, 0, &info) == 0 ||
		  otp_fail(err, where, "cannot be unpacked: %s", zip_strerror(z->zip));
	size_t most = ok && info.size < NPY_HEAD ? (size_t)info.size : NPY_HEAD;
	ok = ok && check_entry(&info, z->file_bytes, where, err) &&
	     read_entry(z->zip, entry, where, head, most, false, err) &&
	     otp_npy_header(z->spec, where, head, most, array, data_at, err);
	if (ok && info.size - *data_at < otp_npy_bytes(array))
		ok = otp_fail(err, where, "ends early: %llu bytes of data, %zu expected by its header",
			      (unsigned long long)(info.size - *data_at), otp_npy_bytes(array));
	*bytes = ok ? (size_t)info.size : 0;
	otp_free(where);
	return ok;
}

/* The entry NAME.npy, or the first that can serve; `beside` gets the others that can. */
static zip_int64_t find_entry(const npz *z, char **beside, otp_error *err)
{
	zip_int64_t count = zip_get_num_entries(z->zip, 0), found = -1;
	char names[512] = "", others[256] = "";
	otp_error why = {0};
	for (zip_int64_t i = 0; i < count && !(z->name && found >= 0); i++) {
		const char *entry = zip_get_name(z->zip, (zip_uint64_t)i, 0);
		size_t length = entry ? strlen(entry) : 0, data_at, bytes;
		otp_array array;
		otp_error each = {0};
		if (length <= 4 || strcmp(entry + length - 4, ".npy") != 0)
			continue;
		if (strlen(names) + length + 2 < sizeof names) {
			strcat(names, *names ? ", " : "");
			strncat(names, entry, length - 4);
		}
		if (z->name ? strlen(z->name) != length - 4 || strncmp(entry, z->name, length - 4) != 0
			    : !look(z, (zip_uint64_t)i, &array, &data_at, &bytes, &each)) {
			why = why.exit_code && each.exit_code != OTP_EXIT_FAILED ? why : each;
			continue;
		}
		if (found < 0)
			found = i;
		else if (strlen(others) + length + 2 < sizeof others) {
			strcat(others, *others ? ", " : "");
			strncat(others, entry, length - 4);
		}
	}
	*beside = *others ? otp_strdup(others) : NULL;
	if (found < 0 && why.exit_code == OTP_EXIT_FAILED)
		*err = why;
	else if (found < 0 && z->name)
		otp_fail(err, z->file, "holds no array `%s', found: %s", z->name,
			 *names ? names : "no arrays");
	else if (found < 0)
		otp_fail(err, z->spec->place, "holds no array of images or vectors, found: %s%s%.400s",
			 *names ? names : "no arrays", *why.text ? "; " : "", why.text);
	return found;
}

static bool open_zip(npz *z, otp_error *err)
{
	struct stat info;
	if (!(z->zip = otp_archive_open_zip(z->file, err)))
		return false;
	if (stat(z->file, &info) != 0)
		return otp_fail(err, z->file, "cannot be opened: %s", strerror(errno));
	z->file_bytes = (uint64_t)info.st_size;
	return true;
}

static otp_source *open_entry(const npz *z, zip_uint64_t entry, otp_error *err)
{
	otp_array array = {0};
	size_t data_at, bytes;
	if (!look(z, entry, &array, &data_at, &bytes, err))
		return NULL;
	if (z->spec->look)
		return otp_array_source(array, z->spec, err);
	if (!otp_array_room(z->spec->place, bytes, &array, err) ||
	    !read_entry(z->zip, entry, z->spec->place, array.mapped, bytes, true, err)) {
		otp_array_release(&array);
		return NULL;
	}
	array.data = (const char *)array.mapped + data_at;
	return otp_array_source(array, z->spec, err);
}

otp_source *otp_npz_open(const otp_spec *spec, otp_error *err)
{
	otp_source *source = NULL;
	npz z = {.spec = spec};
	char *beside = NULL;
	otp_source_split_name(spec->place, &z.file, &z.name);
	zip_int64_t entry = open_zip(&z, err) ? find_entry(&z, &beside, err) : -1;
	if (entry >= 0)
		source = open_entry(&z, (zip_uint64_t)entry, err);
	if (source) {
		const char *name = zip_get_name(z.zip, (zip_uint64_t)entry, 0);
		source->set = otp_format("%.*s", (int)strlen(name) - 4, name);
		source->beside = beside;
		beside = NULL;
	}
	if (z.zip)
		zip_discard(z.zip);
	otp_free(beside);
	otp_free(z.file);
	otp_free(z.name);
	return source;
}
