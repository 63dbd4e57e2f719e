/* array: N samples of one shape side by side in memory or in a mapped file;
 * what IDX, npy, npz and HDF5 become. */
#ifndef OTP_ARRAY_H
#define OTP_ARRAY_H

#include "data/source.h"

typedef enum otp_array_type { OTP_ARRAY_U8, OTP_ARRAY_F32, OTP_ARRAY_F64 } otp_array_type;

typedef struct otp_array {
	otp_array_type type;
	int rank;
	int64_t dim[4];	  /* (n, d), (n, h, w) or (n, h, w, c) */
	const void *data; /* dense, native byte order */
	void *owned;	  /* otp_free'd, or NULL */
	void *mapped;	  /* munmap'd, or NULL */
	size_t mapped_bytes;
} otp_array;

size_t otp_array_type_bytes(otp_array_type type);
/* Shape into kind, count, h, w, c; refuses what is no set of images or vectors. */
bool otp_array_shape(const char *where, int rank, const int64_t *dim, otp_source *out, otp_error *err);
/* A source over the array, which it owns from here on, also on failure. Where spec->look is set, the array
 * needs no data. */
otp_source *otp_array_source(const char *where, otp_array array, const otp_spec *spec, otp_error *err);
/* Map `bytes` at `offset` of a file; false where the file is shorter. */
bool otp_array_map(const char *path, uint64_t offset, size_t bytes, otp_array *array, otp_error *err);
/* What the stored floats of images stand for: asked for, or found in `count` values. */
bool otp_array_range(const char *where, const otp_spec *spec, double least, double most, otp_source *out,
		     otp_error *err);
uint64_t otp_array_digest(const void *data, size_t bytes, const otp_source *shape);

#endif
