/* write: arrays out, as .npy, .npz (one array, arr_0) or .h5 (one contiguous
 * set, `data`), row by row, appearing whole when they are finished. */
#ifndef OTP_WRITE_H
#define OTP_WRITE_H

#include "core/base.h"

typedef struct otp_array_file otp_array_file;

/* Whether a path names one of the three by its ending. */
bool otp_array_file_fits(const char *path);

/* dims[0] rows will follow; values are uint8 (bytes) or float32. */
otp_array_file *otp_array_file_new(const char *path, bool bytes, int rank, const int64_t *dims,
				   otp_error *err);
/* HDF5 has a place for the names of all rows: a set `names`. Other formats have none: does nothing. */
bool otp_array_file_name_rows(otp_array_file *f, const char *const *names, otp_error *err);
bool otp_array_file_append(otp_array_file *f, const void *rows, int64_t count, otp_error *err);
/* Give it its name. The file is gone afterwards, also on failure. */
bool otp_array_file_finish(otp_array_file *f, otp_error *err);
/* Leave nothing behind. */
void otp_array_file_abandon(otp_array_file *f);

#endif
