/* array: shape rules, value ranges and reading of dense arrays. */
#include "data/array.h"
#include "core/mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

typedef struct array_source {
	otp_source base;
	otp_array array;
	size_t values; /* of one sample */
} array_source;

size_t otp_array_type_bytes(otp_array_type type)
{
	return type == OTP_ARRAY_U8 ? 1 : type == OTP_ARRAY_F32 ? sizeof(float) : sizeof(double);
}

bool otp_array_shape(const char *where, int rank, const int64_t *dim, otp_source *out, otp_error *err)
{
	if (rank == 1)
		return otp_fail(
		    err, where,
		    "has 1 dimension, expected (N, d) vectors or (N, H, W[, C]) images: of single numbers, "
		    "save a.reshape(-1, 1)");
	if (rank < 2 || rank > 4)
		return otp_fail(err, where,
				"has %d dimensions, expected (N, d) vectors or (N, H, W[, C]) images", rank);
	double bytes = 8;
	for (int i = 0; i < rank; i++) {
		if (dim[i] < 1 || (i > 0 && dim[i] > 1 << 20))
			return otp_fail(err, where, "dimension %d is %lld, expected at least 1 (and sane)", i,
					(long long)dim[i]);
		bytes *= (double)dim[i];
	}
	if (bytes > 1e15)
		return otp_fail(err, where, "claims %.3g bytes", bytes);
	if (rank == 4 && dim[3] > 4 && dim[1] <= 4)
		return otp_fail(
		    err, where,
		    "of %lld x %lld x %lld x %lld looks like N x C x H x W, expected N x H x W x C",
		    (long long)dim[0], (long long)dim[1], (long long)dim[2], (long long)dim[3]);
	out->kind = rank == 2 ? OTP_DATA_VECTORS : OTP_DATA_IMAGES;
	out->count = dim[0];
	out->h = rank == 2 ? 1 : (int)dim[1];
	out->w = rank == 2 ? 1 : (int)dim[2];
	out->c = rank == 2 ? (int)dim[1] : rank == 3 ? 1 : (int)dim[3];
	if (out->kind == OTP_DATA_IMAGES)
		out->survey = (otp_data_survey){.grey = out->c <= 2 ? out->count : 0,
						.colour = out->c >= 3 ? out->count : 0,
						.alpha = out->c == 4 ? out->count : 0,
						.h_min = out->h,
						.h_max = out->h,
						.w_min = out->w,
						.w_max = out->w};
	return true;
}

bool otp_array_map(const char *path, uint64_t offset, size_t bytes, otp_array *array, otp_error *err)
{
	struct stat info;
	bool ok = false;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &info) != 0) {
		otp_fail(err, path, "cannot be opened: %s", strerror(errno));
		goto out;
	}
	if ((uint64_t)info.st_size < offset || (uint64_t)info.st_size - offset < bytes) {
		otp_fail(err, path, "ends early: %lld bytes, %llu expected by its header",
			 (long long)info.st_size, (unsigned long long)(offset + bytes));
		goto out;
	}
	size_t lead = (size_t)(offset % (uint64_t)sysconf(_SC_PAGESIZE));
	array->mapped_bytes = bytes + lead;
	array->mapped = mmap(NULL, array->mapped_bytes, PROT_READ, MAP_SHARED, fd, (off_t)(offset - lead));
	if (array->mapped == MAP_FAILED) {
		array->mapped = NULL;
		otp_fail_machine(err, path, "cannot be mapped: %s", strerror(errno));
		goto out;
	}
	array->data = (const char *)array->mapped + lead;
	otp_mapped_add(array->mapped, array->mapped_bytes, path);
	ok = true;
out:
	if (fd >= 0)
		close(fd);
	return ok;
}

static void release(otp_array *array)
{
	otp_free(array->owned);
	if (array->mapped) {
		otp_mapped_remove(array->mapped);
		munmap(array->mapped, array->mapped_bytes);
	}
}

bool otp_array_range(const char *where, const otp_spec *spec, double least, double most, otp_source *out,
		     otp_error *err)
{
	if (!isfinite(least) || !isfinite(most))
		return otp_fail(err, where, "holds values that are not finite");
	if (fabs(least) > (double)FLT_MAX || fabs(most) > (double)FLT_MAX)
		return otp_fail(err, where, "holds values beyond float32, %g to %g", least, most);
	if (out->kind == OTP_DATA_VECTORS)
		return true;
	if (spec->low < spec->high) {
		out->low = spec->low;
		out->high = spec->high;
	} else if (least < -1 || most > 255 || (least < 0 && most > 1)) {
		return otp_fail(err, where,
				"image values from %g to %g, expected -1..1, 0..1 or 0..255; "
				"say ?range=LOW:HIGH",
				least, most);
	} else {
		out->low = least < 0 ? -1 : 0;
		out->high = most > 1 ? 255 : 1;
	}
	return true;
}

uint64_t otp_array_digest(const void *data, size_t bytes, const otp_source *shape)
{
	enum { BLOCK = 4096, BLOCKS = 1024 };
	int64_t head[4] = {shape->count, shape->h, shape->w, shape->c};
	uint64_t hash = XXH3_64bits(head, sizeof head);
	if (bytes <= (size_t)BLOCK * BLOCKS)
		return XXH3_64bits_withSeed(data, bytes, hash);
	for (size_t i = 0; i < BLOCKS; i++) {
		size_t at = (size_t)((double)(bytes - BLOCK) * (double)i / (BLOCKS - 1));
		hash = XXH3_64bits_withSeed((const char *)data + at, BLOCK, hash);
	}
	return hash;
}

static double value_at(const array_source *s, size_t i)
{
	switch (s->array.type) {
	case OTP_ARRAY_U8:
		return ((const uint8_t *)s->array.data)[i];
	case OTP_ARRAY_F32:
		return (double)((const float *)s->array.data)[i];
	case OTP_ARRAY_F64:
		return ((const double *)s->array.data)[i];
	}
	return 0;
}

/* Least and most of all samples, or of evenly spaced ones where all would mean
 * reading gigabytes. NaN counts as infinite. */
static void extremes(const array_source *s, double *least, double *most)
{
	size_t bytes = (size_t)s->base.count * s->values * otp_array_type_bytes(s->array.type);
	size_t stride = 1 + (bytes >> 30);
	*least = INFINITY;
	*most = -INFINITY;
	for (size_t n = 0; n < (size_t)s->base.count; n += stride)
		for (size_t i = n * s->values; i < (n + 1) * s->values; i++) {
			double value = value_at(s, i);
			if (!isfinite(value)) {
				*most = INFINITY;
				return;
			}
			*least = fmin(*least, value);
			*most = fmax(*most, value);
		}
}

static bool array_read(const otp_source *base, uint64_t index, otp_image *out, otp_error *err)
{
	(void)err;
	const array_source *s = (const array_source *)base;
	size_t at = (size_t)index * s->values;
	*out = (otp_image){.h = base->h, .w = base->w, .c = base->c};
	bool images = base->kind == OTP_DATA_IMAGES;
	bool rescale = images && s->array.type != OTP_ARRAY_U8 && !(base->low == -1 && base->high == 1);
	if (images && s->array.type == OTP_ARRAY_U8) {
		out->u8 = (const uint8_t *)s->array.data + at;
	} else if (s->array.type == OTP_ARRAY_F32 && !rescale) {
		out->f32 = (const float *)s->array.data + at;
	} else {
		float *values = otp_calloc(s->values, sizeof *values);
		for (size_t i = 0; i < s->values; i++) {
			double value = value_at(s, at + i);
			values[i] =
			    (float)(rescale ? 2 * (value - base->low) / (base->high - base->low) - 1 : value);
		}
		out->f32 = out->owned = values;
	}
	return true;
}

static void array_close(otp_source *base)
{
	release(&((array_source *)base)->array);
	otp_source_free(base);
}

static const otp_source_ops array_ops = {.read = array_read, .close = array_close};

otp_source *otp_array_source(const char *where, otp_array array, const otp_spec *spec, otp_error *err)
{
	array_source *s = otp_calloc(1, sizeof *s);
	s->base.ops = &array_ops;
	s->base.brightness = 1;
	s->array = array;
	if (!otp_array_shape(where, array.rank, array.dim, &s->base, err))
		goto fail;
	if (spec->look)
		return &s->base;
	s->values = (size_t)s->base.h * (size_t)s->base.w * (size_t)s->base.c;
	size_t bytes =
	    otp_mul_size(otp_mul_size((size_t)s->base.count, s->values), otp_array_type_bytes(array.type));
	if ((uintptr_t)array.data % otp_array_type_bytes(array.type) != 0) {
		/* A file may put its floats anywhere; the processor may not read them there. */
		void *copy = memcpy(otp_calloc(bytes, 1), array.data, bytes);
		release(&s->array);
		s->array.mapped = NULL;
		s->array.data = s->array.owned = copy;
	}
	if (array.type != OTP_ARRAY_U8) {
		double least, most;
		extremes(s, &least, &most);
		if (!otp_array_range(where, spec, least, most, &s->base, err))
			goto fail;
	}
	s->base.memory_bytes = s->array.owned ? bytes : 0;
	s->base.digest = otp_array_digest(s->array.data, bytes, &s->base);
	s->base.digest_kind = OTP_DIGEST_ARRAY;
	return &s->base;
fail:
	array_close(&s->base);
	return NULL;
}
