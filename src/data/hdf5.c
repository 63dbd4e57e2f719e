/* hdf5: one data set of an HDF5 file. Contiguous sets of native type are mapped
 * where they lie (as fast as memory); others are read whole when that fits, and
 * sample by sample otherwise.
 */
#include "core/memory.h"
#include "data/array.h"
#include "data/hdf5_library.h"

#include <math.h>
#include <string.h>

typedef struct hdf5_source {
	otp_source base;
	hid_t file, set;
	hid_t memory_type; /* borrowed: native uchar or float */
	int rank;
	hsize_t dim[4];
	size_t value_bytes, values; /* values: of one sample */
	void *loaded;		    /* the whole set, or NULL */
	bool rescale;
} hdf5_source;

/* ---- which set --------------------------------------------------------------- */

typedef struct search {
	const char *file;
	char found[128]; /* the first usable set */
	char list[512];	 /* everything, for the message */
} search;

static bool usable(hid_t set, int *rank_out, hsize_t dim[4])
{
	hid_t space = H5Dget_space(set), type = H5Dget_type(set);
	int rank = H5Sget_simple_extent_ndims(space);
	H5T_class_t class = H5Tget_class(type);
	bool bytes = class == H5T_INTEGER && H5Tget_size(type) == 1 && H5Tget_sign(type) == H5T_SGN_NONE;
	bool ok = rank >= 2 && rank <= 4 && (class == H5T_FLOAT || (bytes && rank > 2));
	if (rank >= 1 && rank <= 4)
		H5Sget_simple_extent_dims(space, dim, NULL);
	*rank_out = rank;
	H5Sclose(space);
	H5Tclose(type);
	return ok;
}

static herr_t visit(hid_t root, const char *name, const H5O_info_t *info, void *context)
{
	search *s = context;
	if (info->type != H5O_TYPE_DATASET)
		return 0;
	hid_t set = H5Dopen2(root, name, H5P_DEFAULT);
	hsize_t dim[4] = {0};
	int rank = 0;
	if (set < 0)
		return 0;
	if (usable(set, &rank, dim) && !*s->found && strlen(name) < sizeof s->found)
		strcpy(s->found, name);
	char *entry = otp_format("%s/%s (", *s->list ? ", " : "", name);
	if (strlen(s->list) + strlen(entry) + 100 < sizeof s->list) {
		strcat(s->list, entry);
		for (int i = 0; i < rank && i < 4; i++) {
			char *size = otp_format("%s%llu", i ? " x " : "", (unsigned long long)dim[i]);
			strcat(s->list, size);
			otp_free(size);
		}
		strcat(s->list, ")");
	}
	otp_free(entry);
	H5Dclose(set);
	return 0;
}

static hid_t open_set(hid_t file, const char *path, const char *name, otp_error *err)
{
	search s = {.file = path};
	hid_t set = -1;
	if (name)
		set = H5Dopen2(file, name, H5P_DEFAULT);
	if (set >= 0)
		return set;
	H5Ovisit(file, H5_INDEX_NAME, H5_ITER_INC, visit, &s);
	if (name)
		otp_fail(err, path, "holds no data set `%s', found: %s", name, *s.list ? s.list : "none");
	else if (!*s.found)
		otp_fail(err, path,
			 "holds no N x H x W[ x C] uint8 or float set and no N x d float set, found: %s",
			 *s.list ? s.list : "no data sets");
	else
		set = H5Dopen2(file, s.found, H5P_DEFAULT);
	return set;
}

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

static bool hdf5_read(const otp_source *base, uint64_t index, otp_image *out, otp_error *err)
{
	const hdf5_source *s = (const hdf5_source *)base;
	size_t bytes = s->values * s->value_bytes;
	*out = (otp_image){.h = base->h, .w = base->w, .c = base->c};
	const void *data = s->loaded ? (const char *)s->loaded + index * bytes : NULL;
	if (!data || s->rescale) {
		out->owned = otp_calloc(bytes, 1);
		if (data)
			memcpy(out->owned, data, bytes);
		else if (!read_samples(s, index, 1, out->owned)) {
			otp_image_free(out);
			return otp_fail_machine(err, "HDF5", "sample %llu cannot be read",
						(unsigned long long)index);
		}
		data = out->owned;
	}
	if (s->value_bytes == 1) {
		out->u8 = data;
		return true;
	}
	out->f32 = data;
	float *values = out->owned;
	for (size_t i = 0; s->rescale && i < s->values; i++)
		values[i] = (float)(2 * ((double)values[i] - base->low) / (base->high - base->low) - 1);
	return true;
}

/* look() saw the first samples only. */
static bool all_finite(const hdf5_source *s, otp_error *err)
{
	const float *values = s->loaded;
	for (size_t i = 0; i < (size_t)s->base.count * s->values; i++)
		if (!isfinite(values[i]))
			return otp_fail(err, "HDF5", "sample %zu of the set holds values that are not finite",
					i / s->values);
	return true;
}

static bool hdf5_prepare(otp_source *base, int size, otp_error *err)
{
	(void)size;
	hdf5_source *s = (hdf5_source *)base;
	size_t bytes = otp_mul_size((size_t)base->count, s->values * s->value_bytes);
	if (s->loaded)
		return true;
	if (bytes <= otp_memory_available() / 2) {
		base->memory_bytes = base->unloaded_bytes = bytes;
		return true;
	}
	hbool_t safe = false;
	H5is_library_threadsafe(&safe);
	return safe || otp_fail(err, "HDF5",
				"the set does not fit into memory and this HDF5 library serves one thread "
				"only; pack it without chunks (otplan pack)");
}

static bool hdf5_load(otp_source *base, otp_error *err)
{
	hdf5_source *s = (hdf5_source *)base;
	if (!base->unloaded_bytes)
		return true;
	s->loaded = otp_calloc_for("the data set", base->unloaded_bytes, 1);
	base->unloaded_bytes = 0;
	if (!read_samples(s, 0, (uint64_t)base->count, s->loaded))
		return otp_fail(err, "HDF5",
				"the data set cannot be read: damaged, or a filter is not installed");
	return s->value_bytes == 1 || all_finite(s, err);
}

static void hdf5_close(otp_source *base)
{
	hdf5_source *s = (hdf5_source *)base;
	otp_free(s->loaded);
	if (s->set >= 0)
		H5Dclose(s->set);
	if (s->file >= 0)
		H5Fclose(s->file);
	otp_source_free(base);
}

static const otp_source_ops hdf5_ops = {
    .read = hdf5_read, .close = hdf5_close, .prepare = hdf5_prepare, .load = hdf5_load};

/* ---- opening ------------------------------------------------------------------- */

static bool native_type(hid_t set, otp_array_type *out)
{
	hid_t type = H5Dget_type(set);
	bool u8 = H5Tequal(type, H5T_NATIVE_UCHAR) > 0, f32 = H5Tequal(type, H5T_NATIVE_FLOAT) > 0,
	     f64 = H5Tequal(type, H5T_NATIVE_DOUBLE) > 0;
	*out = u8 ? OTP_ARRAY_U8 : f32 ? OTP_ARRAY_F32 : OTP_ARRAY_F64;
	H5Tclose(type);
	return u8 || f32 || f64;
}

/* A set that lies in one piece in the file's own bytes. */
static bool lies_flat(hid_t set, uint64_t *offset)
{
	hid_t create = H5Dget_create_plist(set);
	bool flat = H5Pget_layout(create) == H5D_CONTIGUOUS && H5Pget_external_count(create) == 0;
	haddr_t at = flat ? H5Dget_offset(set) : HADDR_UNDEF;
	H5Pclose(create);
	*offset = at;
	return at != HADDR_UNDEF;
}

/* Range and digest from the first samples: more would mean decoding the set. */
static bool look(hdf5_source *s, const otp_spec *spec, otp_error *err)
{
	uint64_t count = s->base.count < 256 ? (uint64_t)s->base.count : 256;
	size_t values = otp_mul_size((size_t)count, s->values), bytes = otp_mul_size(values, s->value_bytes);
	/* A file of a few bytes may claim samples of any size. */
	if (bytes > otp_memory_available() / 2)
		return otp_fail(err, spec->place,
				"claims samples of %zu values, for which there is no memory", s->values);
	void *data = otp_calloc(bytes, 1);
	bool ok = read_samples(s, 0, count, data);
	if (!ok)
		otp_fail(err, spec->place, "its data cannot be read: damaged, or a filter is not installed");
	if (ok && s->value_bytes > 1) {
		const float *v = data;
		double least = (double)v[0], most = (double)v[0];
		for (size_t i = 1; i < values; i++) {
			least = !((double)v[i] >= least) ? (double)v[i] : least;
			most = !((double)v[i] <= most) ? (double)v[i] : most;
		}
		ok = otp_array_range(spec->place, spec, least, most, &s->base, err);
		s->rescale = s->base.kind == OTP_DATA_IMAGES && !(s->base.low == -1 && s->base.high == 1);
	}
	s->base.digest_kind = OTP_DIGEST_FIRST;
	s->base.digest = ok ? otp_array_digest(data, bytes, &s->base) : 0;
	otp_free(data);
	return ok;
}

static otp_source *open_found(hid_t file, hid_t set, const char *path, const otp_spec *spec, otp_error *err)
{
	hdf5_source *s = otp_calloc(1, sizeof *s);
	s->base = (otp_source){.ops = &hdf5_ops, .brightness = 1};
	s->file = file;
	s->set = set;
	otp_array array = {0};
	if (!usable(set, &s->rank, s->dim)) {
		otp_fail(err, spec->place,
			 "is neither an N x H x W[ x C] uint8 or float set nor an N x d float set");
		goto fail;
	}
	array.rank = s->rank;
	for (int i = 0; i < s->rank; i++)
		array.dim[i] = (int64_t)s->dim[i];
	if (!otp_array_shape(spec->place, array.rank, array.dim, &s->base, err))
		goto fail;
	s->values = (size_t)s->base.h * (size_t)s->base.w * (size_t)s->base.c;

	uint64_t offset;
	if (native_type(set, &array.type) && lies_flat(set, &offset)) {
		size_t bytes = (size_t)s->base.count * s->values * otp_array_type_bytes(array.type);
		otp_source *mapped = otp_array_map(path, offset, bytes, &array, err)
					 ? otp_array_source(spec->place, array, spec, err)
					 : NULL;
		hdf5_close(&s->base);
		return mapped;
	}
	hid_t type = H5Dget_type(set);
	bool floats = H5Tget_class(type) == H5T_FLOAT;
	H5Tclose(type);
	s->memory_type = floats ? H5T_NATIVE_FLOAT : H5T_NATIVE_UCHAR;
	s->value_bytes = floats ? sizeof(float) : 1;
	if (look(s, spec, err))
		return &s->base;
fail:
	hdf5_close(&s->base);
	return NULL;
}

otp_source *otp_hdf5_open(const otp_spec *spec, otp_error *err)
{
	otp_source *source = NULL;
	char *path, *name;
	otp_source_split_name(spec->place, &path, &name);
	otp_hdf5_start();
	hid_t file = otp_hdf5_open_file(path);
	if (file < 0) {
		otp_fail(err, path, "cannot be opened as HDF5: not such a file, or cut short");
		otp_hdf5_fail(path, err);
	} else {
		hid_t set = open_set(file, path, name, err);
		if (set < 0)
			H5Fclose(file);
		else
			source = open_found(file, set, path, spec, err);
	}
	otp_free(path);
	otp_free(name);
	return source;
}
