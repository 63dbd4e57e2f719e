/* link: the connection of one device with those of other processes. Of a build without NCCL (nccl.h) there is
 * none. */
#ifndef OTP_CUDA_LINK_H
#define OTP_CUDA_LINK_H

#include "buckets.h"
#include "cuda/device.h"

/* As otp_backend says. */
bool otp_link_make_id(char id[OTP_LINK_ID_BYTES], otp_error *err);
bool otp_link_connect(otp_device *device, const char id[OTP_LINK_ID_BYTES], int process, int processes,
		      int seconds, otp_error *err);
void otp_link_close(otp_device *device);
/* After a wait for the device: never returns where another process ended. */
void otp_link_heed(void);
/* In place, in the device's stream: the own columns of the sum over all processes; all processes' own
 * columns. Where there is no link, nothing. */
void otp_link_sum(const otp_call *call);
void otp_link_spread(const otp_call *call);
/* Of a call that otp_link_sum would do: the sum of one bucket's columns, in a stream that waits for what the
 * device's has so far; the device's stream waits for all that began so. Bits are those of otp_link_sum, where
 * NCCL adds in a ring. */
void otp_link_begin_sum(const otp_call *call, const otp_buckets *buckets, int bucket);
void otp_link_end_sums(const otp_call *call);
/* The version of NCCL that connects, as text that begins with ", "; empty: none. */
void otp_link_describe(char *text, size_t bytes);

#endif
