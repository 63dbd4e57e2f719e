/* memory: how much of the machine's memory this process may still take, and how much it holds.
 */
#ifndef OTP_MEMORY_H
#define OTP_MEMORY_H

#include "core/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The least of three: what the kernel calls available, what the control group's limit leaves, and what the
 * limit of the address space (ulimit -v) leaves. */
size_t otp_memory_available(void);
/* Bytes that this process keeps in memory now. */
size_t otp_memory_resident(void);
/* The most that it kept so far. */
size_t otp_memory_peak(void);
/* Bytes of the heap in use now; 0 where the C library does not say. */
size_t otp_memory_in_use(void);

/* "1536 MiB": bytes for people, in `text`, which is returned. */
enum { OTP_BYTES_TEXT = 24 };
const char *otp_bytes_text(uint64_t bytes, char text[OTP_BYTES_TEXT]);

#ifdef __cplusplus
}
#endif
#endif
