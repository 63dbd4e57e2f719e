/* lock: one process at a time, by a lock of the system's on a file. It is freed with the process, however
 * that ends; over NFS it holds between machines too. The file names its holder, and is gone after an orderly
 * end.
 */
#ifndef OTP_LOCK_H
#define OTP_LOCK_H

#include "core/base.h"

typedef struct otp_lock otp_lock;

/* NULL with an error where another process holds it (bad input), or where the file cannot be made. On a file
 * system without locks the log says so, and the lock keeps nobody out. */
otp_lock *otp_lock_take(const char *path, otp_error *err);
void otp_lock_release(otp_lock *lock);
/* Whether somebody holds the lock at `path`; takes nothing and makes no file. */
bool otp_lock_is_held(const char *path);

#endif
