/* hdf5_find: which set of an HDF5 file is read, found without leaving the file
 * and without trusting what it says of itself. */
#ifndef OTP_HDF5_FIND_H
#define OTP_HDF5_FIND_H

#include "data/array.h"
#include "data/hdf5_library.h"

/* Type and shape of a set; false where it cannot hold images or vectors. `type`: what its values become when
 * they are read. */
bool otp_hdf5_usable(hid_t set, otp_array *array);
/* Says what a set that cannot is, and what was expected. */
bool otp_hdf5_refuse(hid_t set, const char *where, otp_error *err);

/* The set NAME, or, where name is NULL, the first by name that can serve. Links into other files are refused
 * by name. Its own name goes to `found`, the others that can serve (NULL: none) to `beside`; both otp_free'd
 * by the caller. Negative on failure. */
hid_t otp_hdf5_find(hid_t file, const char *path, const char *name, char **found, char **beside,
		    otp_error *err);

/* Refuses what has not all of its values in this file: virtual sets, external storage, parts that were never
 * written, more than the file's bytes can stand for. `claimed`: the bytes of its values as stored. */
bool otp_hdf5_check_storage(hid_t file, hid_t set, uint64_t claimed, const char *where, otp_error *err);

#endif
