/* pack: many rows into one HDF5 set, without ever holding them, by a process that may be ended at any time
 * and started again.
 *
 * Rows are appended to PATH.partial, and PATH.partial.journal says after each piece how far that is certain.
 * HDF5 makes what stands around the rows at the end, when their number is known; then the file gets its name.
 */
#ifndef OTP_PACK_H
#define OTP_PACK_H

#include "core/base.h"

typedef struct otp_pack otp_pack;

/* What the rows are. */
typedef struct otp_pack_form {
	bool vectors; /* rows of d floats, set /vectors; else h x w x c bytes, set /images */
	int h, w, c;
	uint64_t identity; /* of input and settings: only what was made of the same is gone on with */
} otp_pack_form;

/* A sample that got no row. */
typedef struct otp_pack_left {
	int64_t sample;
	char *why;
} otp_pack_left;

/* How the finished file speaks of itself: an attribute of its set, one of both. */
typedef struct otp_pack_attribute {
	const char *name, *text; /* NULL: */
	int64_t number;
} otp_pack_attribute;

typedef struct otp_pack_words {
	const otp_pack_attribute *attributes;
	int attribute_count;
	/* The name of a sample, in `buffer` or elsewhere. */
	const char *(*name)(const void *context, int64_t sample, char *buffer, size_t bytes);
	const void *context;
} otp_pack_words;

/* Takes hold of PATH.partial, new or as it was left; one process at a time. NULL with an error. */
otp_pack *otp_pack_open(const char *path, otp_pack_form form, otp_error *err);
/* The samples that are behind, and of them the rows; and the samples left out, in order. */
int64_t otp_pack_seen(const otp_pack *p);
int64_t otp_pack_rows(const otp_pack *p);
const otp_pack_left *otp_pack_left_out(const otp_pack *p, int64_t *count);

/* The next `seen` samples: all that are not in `left`, in order, lie in `rows`. Once it returns true they are
 * on the disk for good. */
bool otp_pack_add(otp_pack *p, const void *rows, int64_t seen, const otp_pack_left *left, int64_t left_count,
		  otp_error *err);
/* Puts the HDF5 file around the rows, reads it back and gives it its name. */
bool otp_pack_finish(otp_pack *p, const otp_pack_words *words, otp_error *err);
/* Nothing of it is worth going on with. */
void otp_pack_discard(const otp_pack *p);
/* After finish too. What is not finished stays for the next time. */
void otp_pack_close(otp_pack *p);

#endif
