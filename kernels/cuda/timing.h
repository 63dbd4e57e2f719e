/* timing: how long something takes on the device, as programs launch it: out of a captured graph of several
 * runs, so that the host's work is not in it, on a device whose clocks have risen. */
#ifndef OTP_CUDA_TIMING_H
#define OTP_CUDA_TIMING_H

#include "cuda/device.h"

/* Milliseconds of what `issue` issues into the device's stream, the least of some launches; INFINITY where
 * it returns false or cannot be captured. One by one it is not captured, and the host's work is in the time.
 */
float otp_cuda_time(otp_device *device, bool (*issue)(const void *context), const void *context,
		    bool one_by_one);

#endif
