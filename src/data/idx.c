/* idx: the format of MNIST and its kin, plain or gzipped: big-endian header,
 * then unsigned bytes. Label files are refused with a word. */
#include "data/array.h"
#include "core/file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

static uint32_t big_endian(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static bool read_exact(gzFile file, const char *path, void *out, size_t bytes, const char *what,
		       otp_error *err)
{
	size_t done = 0;
	while (done < bytes) {
		unsigned piece = bytes - done < 1u << 30 ? (unsigned)(bytes - done) : 1u << 30;
		int got = gzread(file, (char *)out + done, piece);
		if (got <= 0) {
			int code;
			const char *why = gzerror(file, &code);
			if (code == Z_ERRNO)
				return otp_file_fail_read(err, path, errno);
			return otp_fail(err, path, "ends early: %zu of the %zu bytes of its %s%s%s", done,
					bytes, what, code == Z_OK || code == Z_STREAM_END ? "" : "; ",
					code == Z_OK || code == Z_STREAM_END ? "" : why);
		}
		done += (size_t)got;
	}
	return true;
}

static bool read_header(gzFile file, const char *path, otp_array *array, otp_error *err)
{
	uint8_t head[4], size[4];
	if (!read_exact(file, path, head, 4, "header", err))
		return false;
	if (head[0] != 0 || head[1] != 0)
		return otp_fail(err, path, "is not an IDX file: it starts with %02x%02x, expected 0000",
				head[0], head[1]);
	if (head[2] != 8)
		return otp_fail(err, path, "holds IDX type 0x%02x, expected 0x08 (unsigned bytes)", head[2]);
	array->rank = head[3];
	if (array->rank == 1)
		return otp_fail(err, path, "holds labels, expected the file of images (idx3)");
	if (array->rank < 2 || array->rank > 4)
		return otp_fail(err, path, "has %d dimensions, expected 3 (N, H, W) or 4 (N, H, W, C)",
				array->rank);
	for (int i = 0; i < array->rank; i++) {
		if (!read_exact(file, path, size, 4, "header", err))
			return false;
		array->dim[i] = big_endian(size);
	}
	return true;
}

otp_source *otp_idx_open(const otp_spec *spec, otp_error *err)
{
	const char *path = spec->place;
	otp_array array = {.type = OTP_ARRAY_U8};
	otp_array_form form;
	otp_source shape = {0}, *source = NULL;
	struct stat info;
	gzFile file = gzopen(path, "rb");
	if (!file || stat(path, &info) != 0) {
		otp_file_fail_read(err, path, errno);
		goto out;
	}
	gzbuffer(file, 1 << 17);
	if (!read_header(file, path, &array, err) || !otp_array_shape(spec, &array, &shape, &form, err))
		goto out;
	if (spec->look) {
		source = otp_array_source(array, spec, err);
		goto out;
	}
	size_t bytes = otp_mul_size((size_t)shape.count, otp_array_sample_bytes(&form));
	/* No gzip member packs tighter than about 1032:1: a header that asks for more is damaged. */
	if (bytes / 1040 > (size_t)info.st_size) {
		otp_fail(err, path, "is %lld bytes long, but its header speaks of %zu",
			 (long long)info.st_size, bytes);
		goto out;
	}
	if (otp_array_room(path, bytes, &array, err) &&
	    read_exact(file, path, array.mapped, bytes, "images", err))
		source = otp_array_source(array, spec, err);
	else
		otp_array_release(&array);
out:
	if (file)
		gzclose(file);
	return source;
}
