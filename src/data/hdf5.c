/* hdf5: one data set of an HDF5 file. Contiguous sets of native type are mapped
 * where they lie (as fast as memory); others are read whole when that fits, and
 * sample by sample otherwise.
 */
#include "core/memory.h"
#include "data/hdf5_find.h"
#include "data/scan.h"

#include <pthread.h>
#include <string.h>

typedef struct hdf5_source {
	otp_source base;
	const otp_spec *spec; /* the data set's, which outlives its source */
	hid_t file, set;
	hid_t memory_type; /* borrowed: native uchar, ushort or float */
	int rank;
	hsize_t dim[4], rows_at_once; /* rows_at_once: of a chunk */
	otp_array_form form;
	otp_array loaded; /* the whole set, or no data */
} hdf5_source;

/* ---- reading ------------------------------------------------------------------- */

static bool read_samples(const hdf5_source *s, uint64_t first, uint64_t count, void *out)
{
	hsize_t start[4] = {first}, size[4];
	memcpy(size, s->dim, sizeof size);
	size[0] = count;
	hid_t in_file = H5Dget_space(s->set), in_memory = H5Screate_simple(s->rank, size, NULL);
	bool ok = H5Sselect_hyperslab(in_file, H5S_SELECT_SET, start, NULL, size, NULL) >= 0 &&
		  H5Dread(s->set, s->memory_type, in_memory, in_file, H5P_DEFAULT, out) >= 0;
	H5Sclose(in_memory);
	H5Sclose(in_file);
	return ok;
}

static bool fail_damaged(const hdf5_source *s, otp_error *err)
{
	return otp_fail(err, s->spec->place, "cannot be read: damaged, or a filter is not installed");
}

static bool hdf5_read(const otp_source *base, uint64_t index, otp_image *out, otp_error *err)
{
	const hdf5_source *s = (const hdf5_source *)base;
	size_t bytes = otp_array_sample_bytes(&s->form);
	if (s->loaded.data) {
		otp_array_image(base, &s->form, (const char *)s->loaded.data + index * bytes, out);
		return true;
	}
	void *stored = otp_calloc(bytes, 1);
	/* The library serves one thread. */
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_lock(&lock);
	bool ok = read_samples(s, index, 1, stored);
	pthread_mutex_unlock(&lock);
	if (!ok) {
		otp_free(stored);
		return otp_fail_machine(err, s->spec->place, "sample %llu cannot be read",
					(unsigned long long)index);
	}
	otp_array_image(base, &s->form, stored, out);
	if (out->owned)
		otp_free(stored);
	else
		out->owned = stored;
	return true;
}

static bool hdf5_prepare(otp_source *base, int size, otp_error *err)
{
	(void)size;
	(void)err;
	hdf5_source *s = (hdf5_source *)base;
	size_t bytes = otp_mul_size((size_t)base->count, otp_array_sample_bytes(&s->form));
	if (s->loaded.data)
		return true;
	if (s->spec->keep && bytes <= otp_memory_available() / 2)
		base->memory_bytes = base->unloaded_bytes = bytes;
	return true;
}

static bool hdf5_load(otp_source *base, otp_error *err)
{
	hdf5_source *s = (hdf5_source *)base;
	if (!base->unloaded_bytes)
		return true;
	if (!otp_array_room(s->spec->place, base->unloaded_bytes, &s->loaded, err))
		return false;
	base->unloaded_bytes = 0;
	return read_samples(s, 0, (uint64_t)base->count, s->loaded.mapped) || fail_damaged(s, err);
}

/* What is not in memory passes through it, whole chunks at a time. */
static bool scan_file(const hdf5_source *s, otp_scan *scan, otp_pool *pool, otp_error *err)
{
	const size_t piece = (size_t)64 << 20, sample = otp_array_sample_bytes(&s->form);
	uint64_t rows = otp_round_up(piece / sample + 1, (size_t)s->rows_at_once),
		 all = (uint64_t)s->base.count;
	rows = rows < all ? rows : all;
	otp_array room = {0};
	bool ok = otp_array_room(s->spec->place, otp_mul_size((size_t)rows, sample), &room, err);
	for (uint64_t first = 0; ok && first < all; first += rows) {
		uint64_t count = all - first < rows ? all - first : rows;
		ok = read_samples(s, first, count, room.mapped) || fail_damaged(s, err);
		if (ok)
			otp_scan_add(scan, room.data, (int64_t)count, pool);
	}
	otp_array_release(&room);
	return ok;
}

static bool hdf5_scan(otp_source *base, const int64_t *chosen, int64_t count, otp_pool *pool, otp_error *err)
{
	(void)chosen;
	(void)count;
	hdf5_source *s = (hdf5_source *)base;
	otp_scan scan;
	bool ok = true;
	otp_scan_begin(&scan, base, &s->form);
	if (s->loaded.data)
		otp_scan_add(&scan, s->loaded.data, base->count, pool);
	else
		ok = scan_file(s, &scan, pool, err);
	return otp_scan_end(&scan, s->spec, ok ? base : NULL, err);
}

static bool hdf5_former(const otp_source *base, uint64_t *digest)
{
	const hdf5_source *s = (const hdf5_source *)base;
	uint64_t count = base->count < 256 ? (uint64_t)base->count : 256;
	size_t bytes = otp_mul_size((size_t)count, otp_array_sample_bytes(&s->form));
	otp_array room = {0};
	otp_error ignored = {0};
	bool ok =
	    otp_array_room(s->spec->place, bytes, &room, &ignored) && read_samples(s, 0, count, room.mapped);
	if (ok)
		*digest = otp_array_former_digest(room.data, bytes, base);
	otp_array_release(&room);
	return ok;
}

static void hdf5_close(otp_source *base)
{
	hdf5_source *s = (hdf5_source *)base;
	otp_array_release(&s->loaded);
	H5Dclose(s->set);
	H5Fclose(s->file);
	otp_source_free(base);
}

static const otp_source_ops hdf5_ops = {.read = hdf5_read,
					.close = hdf5_close,
					.prepare = hdf5_prepare,
					.load = hdf5_load,
					.scan = hdf5_scan,
					.former = hdf5_former};

/* ---- opening ------------------------------------------------------------------- */

/* Whether values lie as the processor has them; 64-bit floats then stay what they are. */
static bool is_native(hid_t set, otp_array_type *type)
{
	hid_t stored = H5Dget_type(set);
	bool f64 = H5Tequal(stored, H5T_NATIVE_DOUBLE) > 0;
	bool native = f64 || H5Tequal(stored, H5T_NATIVE_UCHAR) > 0 ||
		      H5Tequal(stored, H5T_NATIVE_USHORT) > 0 || H5Tequal(stored, H5T_NATIVE_FLOAT) > 0;
	H5Tclose(stored);
	if (f64)
		*type = OTP_ARRAY_F64;
	return native;
}

/* A set that lies in one piece in the file's own bytes is mapped there. NULL without err: it does not. */
static otp_source *open_mapped(const hdf5_source *s, otp_array array, const char *path, otp_error *err)
{
	hid_t create = H5Dget_create_plist(s->set);
	bool flat = H5Pget_layout(create) == H5D_CONTIGUOUS && is_native(s->set, &array.type);
	H5Pclose(create);
	if (!flat)
		return NULL;
	size_t bytes = otp_mul_size((size_t)s->base.count,
				    otp_mul_size(s->form.values, otp_array_type_bytes(array.type)));
	return otp_array_map(path, H5Dget_offset(s->set), bytes, &array, err)
		   ? otp_array_source(array, s->spec, err)
		   : NULL;
}

static hsize_t rows_of_chunk(hid_t set)
{
	hsize_t chunk[4] = {1};
	hid_t create = H5Dget_create_plist(set);
	bool chunked = H5Pget_layout(create) == H5D_CHUNKED && H5Pget_chunk(create, 4, chunk) > 0;
	H5Pclose(create);
	return chunked ? chunk[0] : 1;
}

/* Takes file and set over. */
static otp_source *open_found(hid_t file, hid_t set, const char *path, const otp_spec *spec, otp_error *err)
{
	hdf5_source *s = otp_calloc(1, sizeof *s);
	s->base = (otp_source){.ops = &hdf5_ops,
			       .brightness = 1,
			       .digest_kind = OTP_DIGEST_SAMPLES,
			       .former_kind = OTP_DIGEST_FIRST};
	s->spec = spec;
	s->file = file;
	s->set = set;
	otp_array array = {0};
	hid_t type = H5Dget_type(set);
	size_t stored_bytes = H5Tget_size(type);
	H5Tclose(type);
	if (!otp_hdf5_usable(set, &array)) {
		otp_hdf5_refuse(set, spec->place, err);
		goto fail;
	}
	if (!otp_array_shape(spec, &array, &s->base, &s->form, err))
		goto fail;
	uint64_t values = (uint64_t)s->base.count * s->form.values;
	if (!otp_hdf5_check_storage(file, set, otp_mul_size(values, stored_bytes), spec->place, err))
		goto fail;
	otp_source *mapped = spec->look ? NULL : open_mapped(s, array, path, err);
	if (mapped || err->exit_code) {
		hdf5_close(&s->base);
		return mapped;
	}
	s->rank = array.rank;
	for (int i = 0; i < 4; i++)
		s->dim[i] = (hsize_t)array.dim[i];
	s->rows_at_once = rows_of_chunk(set);
	s->memory_type = array.type == OTP_ARRAY_U8    ? H5T_NATIVE_UCHAR
			 : array.type == OTP_ARRAY_U16 ? H5T_NATIVE_USHORT
						       : H5T_NATIVE_FLOAT;
	return &s->base;
fail:
	hdf5_close(&s->base);
	return NULL;
}

otp_source *otp_hdf5_open(const otp_spec *spec, otp_error *err)
{
	otp_source *source = NULL;
	char *path, *name, *found = NULL, *beside = NULL;
	otp_source_split_name(spec->place, &path, &name);
	hid_t file = otp_hdf5_open_file(path), set = -1;
	if (file < 0) {
		otp_fail(err, path, "cannot be opened as HDF5: not such a file, or cut short");
	} else if ((set = otp_hdf5_find(file, path, name, &found, &beside, err)) < 0 || otp_hdf5_errno()) {
		/* Where a call failed, what was found may not be the first. */
		if (set >= 0)
			H5Dclose(set);
		H5Fclose(file);
	} else {
		source = open_found(file, set, path, spec, err);
	}
	if (!source)
		otp_hdf5_fail(path, err);
	if (source) {
		source->set = found;
		source->beside = beside;
	} else {
		otp_free(found);
		otp_free(beside);
	}
	otp_free(path);
	otp_free(name);
	return source;
}
