/* scan: what only all samples of an array tell: what their values stand for,
 * that all are finite, and the digest of their bytes. One pass over the samples
 * in order, in pieces of any size; a piece is shared out among threads. */
#ifndef OTP_SCAN_H
#define OTP_SCAN_H

#include "core/pool.h"
#include "data/array.h"

typedef struct otp_scan {
	const otp_array_form *form;
	double least, most; /* of all values so far; NaN and infinity left out */
	int64_t seen;	    /* samples */
	int64_t odd;	    /* the first with a value that is not finite; -1: none */
	void *hash;	    /* of the digest so far */
} otp_scan;

/* `shape` and `form` as otp_array_shape left them. otp_scan_end must follow. */
void otp_scan_begin(otp_scan *scan, const otp_source *shape, const otp_array_form *form);
/* The next `count` samples. */
void otp_scan_add(otp_scan *scan, const void *samples, int64_t count, otp_pool *pool);
/* Digest and range into `out`. Fails, naming spec->place, where a value is not finite or beyond float32, and
 * where images' values may stand for more than one range. `out` NULL: only frees. */
bool otp_scan_end(otp_scan *scan, const otp_spec *spec, otp_source *out, otp_error *err);

/* What stands for black and white in images whose values run from `least` to `most`: as the spec says, or the
 * one of -1..1, 0..1, 0..255 (16-bit numbers: 0..65535) that holds them all but for half an 8-bit step, and
 * that they use beyond its half. Otherwise refused, with what to write. */
bool otp_scan_range(const otp_spec *spec, otp_array_type type, double least, double most, otp_source *out,
		    otp_error *err);

#endif
