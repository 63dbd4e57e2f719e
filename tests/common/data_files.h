/* data_files: data sets for tests, in a temporary folder of the test's own.
 * What goes wrong on the way fails the test. */
#ifndef OTP_COMMON_DATA_FILES_H
#define OTP_COMMON_DATA_FILES_H

#include "data/dataset.h"

/* The folder's setup and teardown, of a group of tests. */
int make_root(void **state);
int remove_root(void **state);

/* A path in the test's folder; a few are alive at a time. */
const char *at(const char *name);

/* ---- files there, by their names in the folder ---- */

void folder(const char *name);
void put(const char *name, const void *data, size_t bytes);

/* Pixel (y, x, k) is base + y + 2x + 3k. */
uint8_t *ramp(int base, int h, int w, int c);
void put_png(const char *name, int base, int h, int w, int c);

/* Images of 4 x 5, the n-th a ramp from n, without the last `missing` bytes. `mode` is gzopen's. */
void put_idx(const char *name, const char *mode, int count, int missing);
void put_zip(const char *name, const char *const *entries, const void *const *data, const size_t *bytes,
	     int count);

/* The same, locked with a password. */
void put_locked_zip(const char *name, const char *const *entries, const void *const *data,
		    const size_t *bytes, int count);

/* Keep so many eighths of a file. */
void cut(const char *from, const char *to, int eighths);

/* ---- sets ---- */

otp_dataset *open_set(const char *spec);
/* Opened, and all its bytes in the digest. */
otp_dataset *digested(const char *spec);

/* Opened and prepared. */
otp_dataset *ready(const char *spec, int size, int channels);
void get(const otp_dataset *d, uint64_t index, uint32_t draw, float *out);

/* Opening, or else preparing, fails in one line that holds each of the words. */
void refuses(const char *spec, int size, int channels, const char *word, const char *other);

#endif
