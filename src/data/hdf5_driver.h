/* hdf5_driver: how HDF5 reads files here, of use to hdf5_library alone. */
#ifndef OTP_HDF5_DRIVER_H
#define OTP_HDF5_DRIVER_H

#include <hdf5.h>

/* A driver for reading, one for the whole program. Negative where HDF5 does not take it. */
hid_t otp_hdf5_driver(void);

#endif
