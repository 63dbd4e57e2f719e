/* early: a sum over processes that begins before the calls ahead of it are all done. The gradients' columns
 * are summed in buckets (buckets.h), each in a stream of its own as soon as the calls that make them are
 * over; the step's stream waits for them where the sum stands.
 */
#ifndef OTP_CUDA_EARLY_H
#define OTP_CUDA_EARLY_H

#include "cuda/device.h"

typedef struct otp_early otp_early;

/* NULL: nothing of these calls begins early. Every process's calls must be alike, which attr.deal says. */
otp_early *otp_early_plan(const otp_device *device, const otp_call *calls, int count);
void otp_early_free(otp_early *early);
/* Runs a call; the sum waits for what began early instead. Then begins what waited for that call. */
void otp_early_run(const otp_early *early, const otp_call *calls, int index);

#endif
