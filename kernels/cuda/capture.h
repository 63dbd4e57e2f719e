/* capture: launches as one CUDA graph. A refusal is no end of the program: launches can always be issued one
 * by one. */
#ifndef OTP_CUDA_CAPTURE_H
#define OTP_CUDA_CAPTURE_H

#include "cuda/device.h"

enum { OTP_CAPTURE_WHY = 512 };

/* What `issue` issues into the stream; NULL where that is refused, or where `issue` returns false, and why.
 */
cudaGraphExec_t otp_cuda_capture(cudaStream_t stream, bool (*issue)(const void *context), const void *context,
				 char why[static OTP_CAPTURE_WHY]);

#endif
