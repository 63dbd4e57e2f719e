/* hdf5_library: HDF5 as this program wants it. */
#ifndef OTP_HDF5_LIBRARY_H
#define OTP_HDF5_LIBRARY_H

#include <hdf5.h>

/* Called before anything else of the library, as often as one likes. */
void otp_hdf5_start(void);

/* A file for reading; negative where it cannot be opened as HDF5, or is no plain file. Damage that reading
 * meets is an error of the call that meets it. */
hid_t otp_hdf5_open_file(const char *path);

#endif
