/* mapped: files that are read as memory. Where one becomes shorter meanwhile, the system answers a read
 * beyond its new end with SIGBUS; a program that guards against it ends with a line that names the file.
 */
#ifndef OTP_MAPPED_H
#define OTP_MAPPED_H

#include "core/base.h"

/* From now on, for the whole program. A library leaves its caller's signals alone: only the program calls it.
 */
void otp_mapped_guard(void);
/* What lies in so many bytes of memory. Only the first few are known by name. */
void otp_mapped_add(void *memory, size_t bytes, const char *path);
void otp_mapped_remove(const void *memory);
/* After a pass over whole files: their pages go back to the system, which has them still, so that a process
 * is not as large as its files. */
void otp_mapped_rest(void);

#endif
