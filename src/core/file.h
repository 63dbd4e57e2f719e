/* file: files appear whole. Written under a temporary name beside the target,
 * synced, renamed. */
#ifndef OTP_FILE_H
#define OTP_FILE_H

#include "core/base.h"

/* "<path>.tmp-<pid>": where a library is to write before otp_file_commit. otp_free it. */
char *otp_file_temporary(const char *path);
/* fsync the temporary, rename it to path, fsync the folder. */
bool otp_file_commit(const char *temporary, const char *path, otp_error *err);
bool otp_file_write(const char *path, const void *data, size_t bytes, otp_error *err);
/* The whole file, with a zero byte after it. otp_free it. */
void *otp_file_read(const char *path, size_t *bytes, otp_error *err);
/* "cannot be read: WHY": bad input where there is no such file, else a failure of the machine, which may
 * pass. */
bool otp_file_fail_read(otp_error *err, const char *path, int why);
bool otp_file_exists(const char *path);
bool otp_file_is_folder(const char *path);
/* Like mkdir -p. */
bool otp_file_make_folder(const char *path, otp_error *err);

#endif
