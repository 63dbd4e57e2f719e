/* npz: NumPy's zip of arrays, stored or deflated, read by libzip. Without a
 * name the first array that can serve is taken. */
#include "data/npy.h"

#include <stdio.h>
#include <string.h>
#include <zip.h>

enum { NPY_HEAD = 8192 }; /* bytes that hold any npy header */

/* One entry, `most` bytes at most. otp_free it. */
static void *read_entry(zip_t *zip, zip_uint64_t entry, const char *where, size_t most, size_t *bytes,
			otp_error *err)
{
	zip_stat_t info;
	zip_file_t *file = NULL;
	char *data = NULL;
	if (zip_stat_index(zip, entry, 0, &info) != 0 || !(file = zip_fopen_index(zip, entry, 0))) {
		otp_fail(err, where, "cannot be unpacked: %s", zip_strerror(zip));
		return NULL;
	}
	size_t size = info.size < most ? (size_t)info.size : most, done = 0;
	data = otp_calloc(size + 1, 1);
	while (done < size) {
		zip_int64_t got = zip_fread(file, data + done, size - done);
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	if (done < size) {
		otp_fail(err, where, "is damaged: %zu of %zu bytes could be unpacked (%s)", done, size,
			 zip_file_strerror(file));
		otp_free(data);
		data = NULL;
	}
	zip_fclose(file);
	*bytes = done;
	return data;
}

/* Enough of an entry for its npy header. */
static bool usable(zip_t *zip, zip_uint64_t entry, char *why, size_t room)
{
	uint8_t head[NPY_HEAD];
	otp_array array;
	size_t data_at;
	otp_error trouble = {0};
	zip_file_t *file = zip_fopen_index(zip, entry, 0);
	zip_int64_t got = file ? zip_fread(file, head, sizeof head) : -1;
	if (file)
		zip_fclose(file);
	bool ok = got >= 0 &&
		  otp_npy_header(zip_get_name(zip, entry, 0), head, (size_t)got, &array, &data_at, &trouble);
	if (!ok && why[0] == 0)
		snprintf(why, room, "%.400s", got < 0 ? "an entry cannot be unpacked" : trouble.text);
	return ok;
}

static zip_int64_t find_entry(zip_t *zip, const otp_spec *spec, const char *file, const char *name,
			      otp_error *err)
{
	zip_int64_t count = zip_get_num_entries(zip, 0), found = -1;
	char names[512] = "", why[512] = "";
	for (zip_int64_t i = 0; i < count && found < 0; i++) {
		const char *entry = zip_get_name(zip, (zip_uint64_t)i, 0);
		size_t length = entry ? strlen(entry) : 0;
		bool npy = length > 4 && strcmp(entry + length - 4, ".npy") == 0;
		if (npy && strlen(names) + length + 2 < sizeof names) {
			strcat(names, *names ? ", " : "");
			strncat(names, entry, length - 4);
		}
		if (name ? npy && strlen(name) == length - 4 && strncmp(entry, name, length - 4) == 0
			 : npy && usable(zip, (zip_uint64_t)i, why, sizeof why))
			found = i;
	}
	if (found < 0 && name)
		otp_fail(err, file, "holds no array `%s', found: %s", name, *names ? names : "no arrays");
	else if (found < 0)
		otp_fail(err, spec->place, "holds no array of images or vectors, found: %s%s%s",
			 *names ? names : "no arrays", *why ? "; " : "", why);
	return found;
}

otp_source *otp_npz_open(const otp_spec *spec, otp_error *err)
{
	otp_source *source = NULL;
	char *file, *name;
	int code = 0;
	otp_source_split_name(spec->place, &file, &name);
	zip_t *zip = zip_open(file, ZIP_RDONLY, &code);
	if (!zip) {
		zip_error_t why;
		zip_error_init_with_code(&why, code);
		otp_fail(err, file, "cannot be opened as npz: %s", zip_error_strerror(&why));
		zip_error_fini(&why);
		goto out;
	}
	zip_int64_t entry = find_entry(zip, spec, file, name, err);
	if (entry < 0)
		goto out;
	otp_array array = {0};
	size_t bytes = 0, data_at;
	size_t most = spec->look ? NPY_HEAD : SIZE_MAX;
	char *data = read_entry(zip, (zip_uint64_t)entry, spec->place, most, &bytes, err);
	if (!data)
		goto out;
	if (!otp_npy_header(spec->place, data, bytes, &array, &data_at, err)) {
		otp_free(data);
	} else if (!spec->look && bytes - data_at < otp_npy_bytes(&array)) {
		otp_fail(err, spec->place, "ends early: %zu bytes of data, %zu expected by its header",
			 bytes - data_at, otp_npy_bytes(&array));
		otp_free(data);
	} else {
		array.owned = data;
		array.data = data + data_at;
		source = otp_array_source(spec->place, array, spec, err);
	}
out:
	if (zip)
		zip_discard(zip);
	otp_free(file);
	otp_free(name);
	return source;
}
