/* array: shape rules and reading of dense arrays. */
#include "data/array.h"
#include "core/file.h"
#include "core/mapped.h"

#include "core/memory.h"
#include "data/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

typedef struct array_source {
	otp_source base;
	otp_array array;
	otp_array_form form;
	const otp_spec *spec; /* the data set's, which outlives its source */
} array_source;

enum { MOST_SIDE = 1 << 20 };

static const struct {
	const char *name;
	size_t bytes;
} types[] = {
    [OTP_ARRAY_U8] = {"uint8", 1},
    [OTP_ARRAY_U16] = {"uint16", 2},
    [OTP_ARRAY_F32] = {"float32", sizeof(float)},
    [OTP_ARRAY_F64] = {"float64", sizeof(double)},
};

size_t otp_array_type_bytes(otp_array_type type) { return types[type].bytes; }

size_t otp_array_sample_bytes(const otp_array_form *form)
{
	return otp_mul_size(form->values, otp_array_type_bytes(form->type));
}

/* ---- shape ----------------------------------------------------------------- */

static bool check_dimensions(const otp_spec *spec, const otp_array *a, otp_error *err)
{
	const char *where = spec->place;
	if (a->rank == 1)
		return otp_fail(
		    err, where,
		    "has 1 dimension, expected (N, d) vectors or (N, H, W[, C]) images: of single numbers, "
		    "save a.reshape(-1, 1)");
	if (a->rank < 2 || a->rank > 4)
		return otp_fail(err, where,
				"has %d dimensions, expected (N, d) vectors or (N, H, W[, C]) images",
				a->rank);
	double bytes = 8;
	for (int i = 0; i < a->rank; i++) {
		if (a->dim[i] < 1 || (i > 0 && a->dim[i] > MOST_SIDE))
			return otp_fail(err, where, "dimension %d is %lld, expected at least 1%s", i,
					(long long)a->dim[i], i > 0 ? " and at most 1048576" : "");
		bytes *= (double)a->dim[i];
	}
	return bytes <= 1e15 || otp_fail(err, where, "claims %.3g bytes", bytes);
}

/* Whether channels come first: as the spec says; an array that looks so without it is not read the other way.
 */
static bool settle_layout(const otp_spec *spec, const otp_array *a, bool *channels_first, otp_error *err)
{
	const int64_t *n = a->dim;
	*channels_first = spec->layout == OTP_LAYOUT_NCHW;
	if (spec->layout != OTP_LAYOUT_GUESSED && a->rank != 4)
		return otp_fail(err, spec->text,
				"modifier `layout' is for images of 4 dimensions, this set has %d", a->rank);
	if (*channels_first && n[1] > 4)
		return otp_fail(
		    err, spec->text,
		    "of %lld x %lld x %lld x %lld would have %lld channels as N x C x H x W, expected "
		    "4 at most",
		    (long long)n[0], (long long)n[1], (long long)n[2], (long long)n[3], (long long)n[1]);
	if (spec->layout != OTP_LAYOUT_GUESSED)
		return true;
	if (a->rank != 4 || n[3] <= 4 || n[1] > 4)
		return true;
	char *line = otp_spec_with(spec, "layout=nchw");
	otp_fail(err, spec->place,
		 "of %lld x %lld x %lld x %lld looks like N x C x H x W, expected N x H x W x C; to read it, "
		 "write '%s'",
		 (long long)n[0], (long long)n[1], (long long)n[2], (long long)n[3], line);
	otp_free(line);
	return false;
}

/* "10 x 8 x 8 x 3 float32 as N x H x W x C" */
static void describe(const otp_array *a, bool channels_first, char *text, size_t room)
{
	static const char *const axes[] = {"N x d", "N x H x W", "N x H x W x C", "N x C x H x W"};
	char size[100] = "";
	OTP_ASSERT(a->rank >= 2 && a->rank <= 4, "rank %d", a->rank);
	for (int i = 0; i < a->rank; i++) {
		size_t used = strlen(size);
		snprintf(size + used, sizeof size - used, "%s%lld", i ? " x " : "", (long long)a->dim[i]);
	}
	snprintf(text, room, "%s %s as %s", size, types[a->type].name, axes[a->rank - 2 + channels_first]);
}

bool otp_array_shape(const otp_spec *spec, const otp_array *a, otp_source *out, otp_array_form *form,
		     otp_error *err)
{
	bool first = false;
	if (!check_dimensions(spec, a, err) || !settle_layout(spec, a, &first, err))
		return false;
	const int64_t *n = a->dim;
	out->kind = a->rank == 2 ? OTP_DATA_VECTORS : OTP_DATA_IMAGES;
	out->count = n[0];
	out->h = a->rank == 2 ? 1 : (int)n[1 + first];
	out->w = a->rank == 2 ? 1 : (int)n[2 + first];
	out->c = a->rank == 2 ? (int)n[1] : a->rank == 3 ? 1 : (int)n[first ? 1 : 3];
	out->scaled = a->type != OTP_ARRAY_U8;
	out->channel_axis = a->rank == 4;
	describe(a, first, out->stored, sizeof out->stored);
	*form = (otp_array_form){.type = a->type,
				 .values = (size_t)out->h * (size_t)out->w * (size_t)out->c,
				 .channels_first = first};
	return true;
}

/* ---- memory ---------------------------------------------------------------- */

bool otp_array_map(const char *path, uint64_t offset, size_t bytes, otp_array *array, otp_error *err)
{
	struct stat info;
	bool ok = false;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &info) != 0) {
		otp_file_fail_read(err, path, errno);
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

bool otp_array_room(const char *where, size_t bytes, otp_array *array, otp_error *err)
{
	size_t left = otp_memory_available();
	void *memory = bytes > left ? MAP_FAILED
				    : mmap(NULL, bytes, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return otp_fail_memory(err, where, bytes, "its samples", left);
	array->data = array->mapped = memory;
	array->mapped_bytes = bytes;
	array->held = true;
	return true;
}

void otp_array_release(otp_array *array)
{
	if (array->mapped && !array->held)
		otp_mapped_remove(array->mapped);
	if (array->mapped)
		munmap(array->mapped, array->mapped_bytes);
	array->mapped = NULL;
	array->data = NULL;
}

/* ---- one sample ------------------------------------------------------------ */

static double value_at(otp_array_type type, const char *at)
{
	uint16_t u16;
	float f32;
	double f64;
	switch (type) {
	case OTP_ARRAY_U8:
		return *(const uint8_t *)at;
	case OTP_ARRAY_U16:
		memcpy(&u16, at, sizeof u16);
		return u16;
	case OTP_ARRAY_F32:
		memcpy(&f32, at, sizeof f32);
		return (double)f32;
	case OTP_ARRAY_F64:
		memcpy(&f64, at, sizeof f64);
		return f64;
	}
	return 0;
}

/* Where value i of (h, w, c) is stored. */
static size_t place_of(const otp_source *s, const otp_array_form *form, size_t i)
{
	size_t c = (size_t)s->c, pixels = (size_t)s->h * (size_t)s->w;
	return form->channels_first ? i % c * pixels + i / c : i;
}

void otp_array_image(const otp_source *s, const otp_array_form *form, const void *stored, otp_image *out)
{
	const char *from = stored;
	bool images = s->kind == OTP_DATA_IMAGES, bytes = images && form->type == OTP_ARRAY_U8;
	bool as_they_are = !images || (s->low == -1 && s->high == 1 && s->least >= -1 && s->most <= 1);
	bool aligned = (uintptr_t)stored % sizeof(float) == 0;
	*out = (otp_image){.h = s->h, .w = s->w, .c = s->c};
	if (bytes && !form->channels_first) {
		out->u8 = stored;
	} else if (bytes) {
		uint8_t *to = out->owned = otp_calloc(form->values, 1);
		for (size_t i = 0; i < form->values; i++)
			to[i] = ((const uint8_t *)stored)[place_of(s, form, i)];
		out->u8 = to;
	} else if (form->type == OTP_ARRAY_F32 && as_they_are && aligned && !form->channels_first) {
		out->f32 = stored;
	} else {
		size_t each = otp_array_type_bytes(form->type);
		float *to = out->owned = otp_calloc(form->values, sizeof *to);
		for (size_t i = 0; i < form->values; i++) {
			double value = value_at(form->type, from + place_of(s, form, i) * each);
			if (!as_they_are)
				value = fmin(1, fmax(-1, 2 * (value - s->low) / (s->high - s->low) - 1));
			to[i] = (float)value;
		}
		out->f32 = to;
	}
}

uint64_t otp_array_former_digest(const void *data, size_t bytes, const otp_source *shape)
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

/* ---- the source ------------------------------------------------------------ */

static bool array_read(const otp_source *base, uint64_t index, otp_image *out, otp_error *err)
{
	(void)err;
	const array_source *s = (const array_source *)base;
	const char *data = s->array.data;
	otp_array_image(base, &s->form, data + (size_t)index * otp_array_sample_bytes(&s->form), out);
	return true;
}

static bool array_scan(otp_source *base, const int64_t *chosen, int64_t count, otp_pool *pool, otp_error *err)
{
	(void)chosen;
	(void)count;
	array_source *s = (array_source *)base;
	otp_scan scan;
	otp_scan_begin(&scan, base, &s->form);
	otp_scan_add(&scan, s->array.data, base->count, pool);
	return otp_scan_end(&scan, s->spec, base, err);
}

static bool array_former(const otp_source *base, uint64_t *digest)
{
	const array_source *s = (const array_source *)base;
	size_t bytes = (size_t)base->count * otp_array_sample_bytes(&s->form);
	*digest = otp_array_former_digest(s->array.data, bytes, base);
	return true;
}

static void array_close(otp_source *base)
{
	otp_array_release(&((array_source *)base)->array);
	otp_source_free(base);
}

static const otp_source_ops array_ops = {
    .read = array_read, .close = array_close, .scan = array_scan, .former = array_former};

otp_source *otp_array_source(otp_array array, const otp_spec *spec, otp_error *err)
{
	array_source *s = otp_calloc(1, sizeof *s);
	s->base = (otp_source){.ops = &array_ops,
			       .brightness = 1,
			       .digest_kind = OTP_DIGEST_SAMPLES,
			       .former_kind = OTP_DIGEST_BLOCKS,
			       .memory_bytes = array.held ? array.mapped_bytes : 0};
	s->array = array;
	s->spec = spec;
	if (otp_array_shape(spec, &array, &s->base, &s->form, err))
		return &s->base;
	array_close(&s->base);
	return NULL;
}
