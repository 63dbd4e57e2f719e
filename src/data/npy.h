/* npy: the header of NumPy's array files. */
#ifndef OTP_NPY_H
#define OTP_NPY_H

#include "data/array.h"

/* Type, shape and where the data start, from the first `count` bytes of a file; refuses what is no set of
 * images or vectors. */
bool otp_npy_header(const otp_spec *spec, const char *where, const void *bytes, size_t count,
		    otp_array *array, size_t *data_at, otp_error *err);
/* Bytes of the data that the header speaks of. */
size_t otp_npy_bytes(const otp_array *array);

#endif
