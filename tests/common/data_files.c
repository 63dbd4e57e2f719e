#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/data_files.h"
#include "core/file.h"
#include "pictures/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>
#include <zlib.h>

static char root[] = "/tmp/otplan-data-XXXXXX";

const char *at(const char *name)
{
	static char buffers[8][512];
	static int next;
	char *buffer = buffers[next++ % 8];
	snprintf(buffer, sizeof buffers[0], "%s/%s", root, name);
	return buffer;
}

void folder(const char *name)
{
	otp_error err = {0};
	assert_true(otp_file_make_folder(at(name), &err));
}

void put(const char *name, const void *data, size_t bytes)
{
	otp_error err = {0};
	if (!otp_file_write(at(name), data, bytes, &err))
		fail_msg("%s", err.text);
}

uint8_t *ramp(int base, int h, int w, int c)
{
	uint8_t *p = otp_calloc((size_t)(h * w * c), 1);
	for (int i = 0; i < h * w * c; i++)
		p[i] = (uint8_t)(base + i / (w * c) + 2 * (i / c % w) + 3 * (i % c));
	return p;
}

void put_png(const char *name, int base, int h, int w, int c)
{
	otp_error err = {0};
	uint8_t *p = ramp(base, h, w, c);
	assert_true(otp_image_write_png(at(name), p, h, w, c, &err));
	otp_free(p);
}

void cut(const char *from, const char *to, int eighths)
{
	otp_error err = {0};
	size_t all;
	char *data = otp_file_read(at(from), &all, &err);
	put(to, data, all * (size_t)eighths / 8);
	otp_free(data);
}

void put_idx(const char *name, const char *mode, int count, int missing)
{
	uint8_t head[16] = {0, 0, 8, 3, 0, 0, 0, (uint8_t)count, 0, 0, 0, 4, 0, 0, 0, 5};
	gzFile out = gzopen(at(name), mode);
	gzwrite(out, head, sizeof head);
	for (int n = 0; n < count; n++) {
		uint8_t *p = ramp(n, 4, 5, 1);
		gzwrite(out, p, (unsigned)(n == count - 1 ? 20 - missing : 20));
		otp_free(p);
	}
	gzclose(out);
}

static void make_zip(const char *name, const char *const *entries, const void *const *data,
		     const size_t *bytes, int count, const char *password)
{
	int code;
	zip_t *z = zip_open(at(name), ZIP_CREATE | ZIP_TRUNCATE, &code);
	assert_non_null(z);
	for (int i = 0; i < count; i++) {
		zip_int64_t n = zip_file_add(z, entries[i], zip_source_buffer(z, data[i], bytes[i], 0), 0);
		assert_true(n >= 0);
		zip_set_file_compression(z, (zip_uint64_t)n, i % 2 ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
		if (password)
			assert_int_equal(
			    zip_file_set_encryption(z, (zip_uint64_t)n, ZIP_EM_AES_256, password), 0);
	}
	assert_int_equal(zip_close(z), 0);
}

void put_zip(const char *name, const char *const *entries, const void *const *data, const size_t *bytes,
	     int count)
{
	make_zip(name, entries, data, bytes, count, NULL);
}

void put_locked_zip(const char *name, const char *const *entries, const void *const *data,
		    const size_t *bytes, int count)
{
	make_zip(name, entries, data, bytes, count, "word");
}

otp_dataset *open_set(const char *spec)
{
	otp_error err = {0};
	otp_dataset *d = otp_dataset_open(spec, 7, &err);
	if (!d)
		fail_msg("%s", err.text);
	return d;
}

otp_dataset *digested(const char *spec)
{
	otp_error err = {0};
	otp_dataset *d = open_set(spec);
	if (!otp_dataset_digest(d, 2, &err))
		fail_msg("%s", err.text);
	return d;
}

otp_dataset *ready(const char *spec, int size, int channels)
{
	otp_error err = {0};
	otp_dataset *d = open_set(spec);
	if (!otp_dataset_prepare(d, &(otp_preprocessing){.size = {size, size}}, channels, 2, &err))
		fail_msg("%s", err.text);
	return d;
}

void refuses(const char *spec, int size, int channels, const char *word, const char *other)
{
	otp_error err = {0};
	otp_dataset *d = otp_dataset_open(spec, 7, &err);
	bool ok = d && otp_dataset_prepare(d, &(otp_preprocessing){.size = {size, size}}, channels, 1, &err);
	otp_dataset_close(d);
	assert_false(ok);
	assert_int_equal(err.exit_code, OTP_EXIT_USAGE);
	if (!strstr(err.text, word) || !strstr(err.text, other))
		fail_msg("`%s' lacks `%s' or `%s'", err.text, word, other);
}

void get(const otp_dataset *d, uint64_t index, uint32_t draw, float *out)
{
	otp_error err = {0};
	if (!otp_dataset_get(d, index, draw, out, &err))
		fail_msg("%s", err.text);
}

int make_root(void **state)
{
	(void)state;
	return mkdtemp(root) ? 0 : -1;
}

int remove_root(void **state)
{
	(void)state;
	char *command = otp_format("rm -rf '%s'", root);
	int code = system(command);
	otp_free(command);
	return code;
}
