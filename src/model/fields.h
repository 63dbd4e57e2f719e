/* fields: small typed values (attributes) and dense sets in an HDF5 file.
 *
 * Whatever is read is checked first: the kind of object, type class, size, rank
 * and count, and for a set that its bytes lie inside the file. So a reader never
 * allocates more than the file holds, and a wrong file is an error that names
 * the field. Links that lead into another file are not followed.
 */
#ifndef OTP_FIELDS_H
#define OTP_FIELDS_H

#include "core/base.h"
#include "data/hdf5_library.h"

/* A file open for reading, with the place where errors go. */
typedef struct otp_fields {
	hid_t file;
	const char *path;
	otp_error *err;
} otp_fields;

/* A file that will be read with equal bytes by everybody: no times, checksums over HDF5's own structures. */
hid_t otp_fields_create(const char *path);
bool otp_fields_make_group(hid_t file, const char *name);

/* Attributes. `name` is "group/attribute", or "attribute" for one of the root. */
bool otp_fields_write_integer(hid_t file, const char *name, int64_t value);
bool otp_fields_write_unsigned(hid_t file, const char *name, uint64_t value);
bool otp_fields_write_real(hid_t file, const char *name, double value);
bool otp_fields_write_text(hid_t file, const char *name, const char *value);
bool otp_fields_write_list(hid_t file, const char *name, const int *values, int count);

/* Whether the attribute is there, of whatever type. */
bool otp_fields_has(const otp_fields *f, const char *name);
/* Each fails with one line where the attribute is missing, of another type or rank, or out of range. */
bool otp_fields_integer(const otp_fields *f, const char *name, int64_t least, int64_t most, int64_t *value);
bool otp_fields_unsigned(const otp_fields *f, const char *name, uint64_t *value);
bool otp_fields_real(const otp_fields *f, const char *name, double least, double most, double *value);
char *otp_fields_text(const otp_fields *f, const char *name, size_t most_bytes);
bool otp_fields_list(const otp_fields *f, const char *name, int least, int most, int *values, int room,
		     int *count);

/* Sets, each with the digest of its bytes in an attribute "xxh3" of its own. */
typedef enum otp_set_type { OTP_SET_BYTES, OTP_SET_F32, OTP_SET_F64 } otp_set_type;
enum { OTP_SET_RANK = 4 };

bool otp_fields_write_set(hid_t file, const char *name, otp_set_type type, const void *data,
			  const int64_t *dims, int rank);
bool otp_fields_write_long_text(hid_t file, const char *name, const char *text);

bool otp_fields_has_set(const otp_fields *f, const char *name);
/* Checks that the set has this type and rank and lies in the file; fills dims. */
bool otp_fields_look(const otp_fields *f, const char *name, otp_set_type type, int rank, int64_t *dims);
/* The values of a set that was looked at, `count` of them. Fails where the digest differs. */
bool otp_fields_read_set(const otp_fields *f, const char *name, otp_set_type type, int64_t count, void *data);
/* Whether a set's bytes in the file have its digest; takes no memory for them. */
bool otp_fields_check_set(const otp_fields *f, const char *name);
/* Text in a set of bytes, which may be longer than an attribute. otp_free it. */
char *otp_fields_long_text(const otp_fields *f, const char *name);

#endif
