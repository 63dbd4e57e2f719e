/* npy: NumPy's array files, mapped. Little-endian float32, float64, uint16 and uint8 in
 * C order; what else there is gets a sentence on how to save it again. */
#include "data/npy.h"
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The text after 'key': in the header's Python dictionary, or NULL. */
static const char *value_of(const char *header, const char *key)
{
	const char *at = strstr(header, key);
	at = at ? strchr(at + strlen(key), ':') : NULL;
	return at ? at + 1 + strspn(at + 1, " ") : NULL;
}

static bool parse_shape(const char *where, const char *text, otp_array *array, otp_error *err)
{
	array->rank = 0;
	if (!text || *text++ != '(')
		return otp_fail(err, where, "has no shape in its npy header");
	while (*text && *text != ')') {
		char *end;
		long long value = strtoll(text, &end, 10);
		if (end == text || array->rank == 4)
			return otp_fail(
			    err, where,
			    "has a shape of more than 4 dimensions, expected (N, d) or (N, H, W[, C])");
		array->dim[array->rank++] = value;
		text = end + strspn(end, ", L");
	}
	return true;
}

bool otp_npy_header(const otp_spec *spec, const char *where, const void *data, size_t count, otp_array *array,
		    size_t *data_at, otp_error *err)
{
	const uint8_t *b = data;
	char header[4096];
	if (count < 12 || memcmp(b, "\x93NUMPY", 6) != 0)
		return otp_fail(err, where, "is not an npy array: its first bytes are not \\x93NUMPY");
	if (b[6] < 1 || b[6] > 3)
		return otp_fail(err, where, "is of npy version %d, expected 1, 2 or 3", b[6]);
	size_t fixed = b[6] == 1 ? 10 : 12;
	size_t length = b[6] == 1
			    ? (size_t)b[8] | (size_t)b[9] << 8
			    : (size_t)b[8] | (size_t)b[9] << 8 | (size_t)b[10] << 16 | (size_t)b[11] << 24;
	if (length >= sizeof header || fixed + length > count)
		return otp_fail(err, where, "ends within its npy header, or has one of %zu bytes", length);
	memcpy(header, b + fixed, length);
	header[length] = 0;
	*data_at = fixed + length;

	const char *type = value_of(header, "'descr'"), *order = value_of(header, "'fortran_order'");
	if (type && (strncmp(type, "'|u1'", 5) == 0 || strncmp(type, "'<u1'", 5) == 0))
		array->type = OTP_ARRAY_U8;
	else if (type && strncmp(type, "'<u2'", 5) == 0)
		array->type = OTP_ARRAY_U16;
	else if (type && strncmp(type, "'<f4'", 5) == 0)
		array->type = OTP_ARRAY_F32;
	else if (type && strncmp(type, "'<f8'", 5) == 0)
		array->type = OTP_ARRAY_F64;
	else
		return otp_fail(
		    err, where,
		    "has the type %.*s, expected uint8, uint16, float32 or float64 (little-endian): save "
		    "a.astype(\"float32\")",
		    type ? (int)strcspn(type, ",}") : 6, type ? type : "(none)");
	if (order && strncmp(order, "True", 4) == 0)
		return otp_fail(err, where,
				"is in Fortran order, expected C order: save numpy.ascontiguousarray(a)");
	if (!order || strncmp(order, "False", 5) != 0)
		return otp_fail(err, where,
				"does not say its order: fortran_order is neither True nor False");
	otp_source shape;
	otp_array_form form;
	return parse_shape(where, value_of(header, "'shape'"), array, err) &&
	       otp_array_shape(spec, array, &shape, &form, err);
}

size_t otp_npy_bytes(const otp_array *array)
{
	size_t bytes = otp_array_type_bytes(array->type);
	for (int i = 0; i < array->rank; i++)
		bytes = otp_mul_size(bytes, (size_t)array->dim[i]);
	return bytes;
}

otp_source *otp_npy_open(const otp_spec *spec, otp_error *err)
{
	const char *path = spec->place;
	otp_array array = {0};
	uint8_t head[8192];
	size_t data_at = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int64_t got = fd >= 0 ? otp_file_get(fd, head, sizeof head) : -1;
	if (got < 0)
		otp_file_fail_read(err, path, errno);
	if (fd >= 0)
		close(fd);
	if (got < 0 || !otp_npy_header(spec, path, head, (size_t)got, &array, &data_at, err) ||
	    !otp_array_map(path, data_at, otp_npy_bytes(&array), &array, err))
		return NULL;
	return otp_array_source(array, spec, err);
}
