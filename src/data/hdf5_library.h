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

/* Says that one did, for whoever calls the system in HDF5's place. */
void otp_hdf5_note_failed(int why);

/* Where a system call failed, that is the error in err, not what was concluded from it. Returns false. */
bool otp_hdf5_fail(const char *path, otp_error *err);

/* How files are to be written: without HDF5's own locks, which some file systems lack (NFS, containers) and
 * nobody here relies on: files appear whole, and a run has a lock of its own. H5Pclose it. */
hid_t otp_hdf5_access(void);
/* Closes what was written. H5Fclose alone hides some writes that failed. */
bool otp_hdf5_close_written(hid_t file);
/* Opens to read, by a driver of our own (hdf5_driver.c); negative where that fails or it is no plain file.
 * Damage that reading meets is an error of the call that meets it. */
hid_t otp_hdf5_open_file(const char *path);

#endif
