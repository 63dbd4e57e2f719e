/* hdf5_library: HDF5 as this program wants it. Called before anything else of
 * the library, as often as one likes. */
#ifndef OTP_HDF5_LIBRARY_H
#define OTP_HDF5_LIBRARY_H

#include <hdf5.h>

static inline void otp_hdf5_start(void)
{
	/* Its clean-up at exit crashes after a write that failed (a full disk); every file is closed by then.
	 */
	H5dont_atexit();
	/* Errors are one line, and ours. */
	H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

#endif
