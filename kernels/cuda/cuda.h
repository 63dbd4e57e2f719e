/* cuda: kernels for one NVIDIA GPU. cuDNN computes convolutions, cuBLASLt
 * matrix products, our own kernels (*.cu, one family a file) the rest.
 *
 * The .cu files know of the device only its stream, so that they also run on
 * the host under the tests' shim, unchanged. Everything is float32; where
 * activations are to become bfloat16, `pack` in launch.cuh is the seam: kernels
 * load and store packs and compute in float.
 */
#ifndef OTP_CUDA_H
#define OTP_CUDA_H

#include "graph/op.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const otp_backend otp_cuda_backend;
/* What the plugin exports. Sizes that differ from the caller's mean another build. */
const otp_backend *otp_plugin_backend(size_t call_bytes, int op_count, otp_error *err);

#define OP(name, inputs, attribute, in_place, meaning) extern const otp_kernel otp_cuda_##name;
#include "graph/ops.def"
#undef OP

/* count floats to bfloat16, rounded to nearest even, and back; asynchronous in the call's stream. */
void otp_cuda_to_bf16(const otp_call *call, uint16_t *dst, const float *src, int64_t count);
void otp_cuda_from_bf16(const otp_call *call, float *dst, const uint16_t *src, int64_t count);
/* y += b along c */
void otp_cuda_add_bias(const otp_call *call, float *y, const float *b, int64_t rows, int channels);

/* The device's stream (a cudaStream_t). */
void *otp_cuda_stream(const otp_device *device);
/* Ends the program if a launch was refused. */
void otp_cuda_launched(const otp_device *device, const char *kernel, const char *file, int line);

#ifdef __cplusplus
}
#endif
#endif
