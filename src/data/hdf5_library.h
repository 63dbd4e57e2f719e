/* hdf5_library: HDF5 as this program wants it: errors are ours to tell, files are opened without locks.
 */
#ifndef OTP_HDF5_LIBRARY_H
#define OTP_HDF5_LIBRARY_H

#include "core/base.h"

#include <hdf5.h>

/* Called before anything else of the library, as often as one likes. Forgets the last failed system call. */
void otp_hdf5_start(void);

/* The errno of the first system call that failed under HDF5 since otp_hdf5_start, in this thread. 0: none
 * did, so what HDF5 cannot read is wrong in itself. */
int otp_hdf5_errno(void);

/* Where a system call failed, that is the error in err, not what was concluded from it. Returns false. */
bool otp_hdf5_fail(const char *path, otp_error *err);

/* How files are to be accessed: without HDF5's own locks, which some file systems lack (NFS, containers) and
 * nobody here relies on: files appear whole, and a run has a lock of its own. H5Pclose it. */
hid_t otp_hdf5_access(void);
/* Closes what was written. H5Fclose alone hides some writes that failed. */
bool otp_hdf5_close_written(hid_t file);
/* Opens to read; negative where that fails. */
hid_t otp_hdf5_open_file(const char *path);

#endif
