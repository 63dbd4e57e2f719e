/* The own CUDA kernels run on the host. A kernel without run is a library's on the GPU. */
#ifndef OTP_SHIM_BACKEND_H
#define OTP_SHIM_BACKEND_H

#include "graph/op.h"

extern const otp_backend otp_shim_backend;

/* The same with a plain matrix product, so that whole networks run. */
const otp_backend *otp_shim_for_networks(void);

#endif
