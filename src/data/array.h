/* array: N samples of one shape side by side in memory or in a mapped file;
 * what IDX, npy, npz and HDF5 become. */
#ifndef OTP_ARRAY_H
#define OTP_ARRAY_H

#include "data/source.h"

typedef enum otp_array_type { OTP_ARRAY_U8, OTP_ARRAY_U16, OTP_ARRAY_F32, OTP_ARRAY_F64 } otp_array_type;

typedef struct otp_array {
	otp_array_type type;
	int rank;
	int64_t dim[4];	  /* (n, d), (n, h, w), (n, h, w, c) or, with layout=nchw, (n, c, h, w) */
	const void *data; /* dense, native byte order, at any address */
	void *mapped;	  /* munmap'd, or NULL */
	size_t mapped_bytes;
	bool held; /* the mapping is memory of ours, not a file's */
} otp_array;

/* How one sample is stored. */
typedef struct otp_array_form {
	otp_array_type type;
	size_t values;	     /* of one sample */
	bool channels_first; /* (c, h, w) instead of (h, w, c) */
} otp_array_form;

size_t otp_array_type_bytes(otp_array_type type);
size_t otp_array_sample_bytes(const otp_array_form *form);

/* Shape and type into kind, count, h, w, c, survey, stored of `out` and into `form`; refuses what is no set
 * of images or vectors, or is laid out otherwise than the spec says. */
bool otp_array_shape(const otp_spec *spec, const otp_array *array, otp_source *out, otp_array_form *form,
		     otp_error *err);

/* A source over the array, which it owns from here on, also on failure. Where spec->look is set, the array
 * needs no data. */
otp_source *otp_array_source(otp_array array, const otp_spec *spec, otp_error *err);

/* Map `bytes` at `offset` of a file; false where the file is shorter. */
bool otp_array_map(const char *path, uint64_t offset, size_t bytes, otp_array *array, otp_error *err);
/* Room for `bytes` to be filled. Pages that are never filled cost nothing, so a claim that the file does not
 * keep costs only what it does hold. Fails where memory does not suffice. */
bool otp_array_room(const char *where, size_t bytes, otp_array *array, otp_error *err);
void otp_array_release(otp_array *array);

/* A stored sample as it leaves a source: bytes as bytes, images of other types in [-1, 1] by s->low and
 * s->high, cut off there. The result may point into `stored`. */
void otp_array_image(const otp_source *s, const otp_array_form *form, const void *stored, otp_image *out);

/* The digest of kind OTP_DIGEST_BLOCKS, with which programs before 0.2 knew arrays. */
uint64_t otp_array_former_digest(const void *data, size_t bytes, const otp_source *shape);

#endif
