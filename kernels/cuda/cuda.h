/* cuda: kernels for one NVIDIA GPU. cuDNN computes convolutions, cuBLASLt
 * matrix products, our own kernels (*.cu, one family a file) the rest.
 *
 * The .cu files know of the device only its stream, so that they also run on
 * the host under the tests' shim, unchanged. They compute in float; maps that
 * storage.h holds in bfloat16 are converted where a pack is loaded or stored
 * (`view` in launch.cuh).
 */
#ifndef OTP_CUDA_H
#define OTP_CUDA_H

#include "core/log.h"
#include "graph/op.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const otp_backend otp_cuda_backend;
/* What the plugin exports. Sizes that differ from the caller's mean another build. */
const otp_backend *otp_plugin_backend(size_t call_bytes, int op_count, otp_error *err,
				      const otp_voice *voice);

#define OP(name, inputs, attribute, in_place, meaning) extern const otp_kernel otp_cuda_##name;
#include "graph/ops.def"
#undef OP

/* The same elements in dst's type, bfloat16 or float32; asynchronous in the call's stream. */
void otp_cuda_convert(const otp_call *call, const otp_tensor *dst, const otp_tensor *src);
/* y = softmax(scale x) along c, scale > 0; y = scale share (g - <share, g>), its adjoint. y may be x or
 * share. */
void otp_cuda_share_out(const otp_call *call, const otp_tensor *y, const otp_tensor *x, float scale);
void otp_cuda_gate_shares(const otp_call *call, const otp_tensor *y, const otp_tensor *share,
			  const otp_tensor *g, float scale);
/* out = u > 0 ? u : slope u, u = scale (y + b + r): b along c; r of y's shape, or NULL; out may be y */
void otp_cuda_epilogue(const otp_call *call, const otp_tensor *out, const otp_tensor *y, const otp_tensor *b,
		       const otp_tensor *r, float scale, float slope);

/* The tensor in bfloat16 where that is kept beside it; else itself. */
static inline otp_tensor otp_cuda_rounded(otp_tensor t)
{
	if (!t.rounded)
		return t;
	otp_tensor copy = {t.rounded, t.shape, OTP_BF16, NULL, 0};
	return copy;
}

/* What a failing call of CUDA's libraries leaves behind, instead of ending the program, on the thread that
 * takes notes; the innermost note counts. Work goes on after a failure, so whoever takes notes may be left
 * with less than was asked for. */
typedef struct otp_cuda_note {
	char text[512]; /* of the first failure; empty: there was none */
	bool out_of_memory;
	struct otp_cuda_note *outer;
} otp_cuda_note;

void otp_cuda_start_note(otp_cuda_note *note);
/* False where something failed, which err then says. */
bool otp_cuda_end_note(otp_cuda_note *note, otp_error *err);

/* The device's stream (a cudaStream_t). */
void *otp_cuda_stream(const otp_device *device);
/* Ends the program if a launch was refused. */
void otp_cuda_launched(const otp_device *device, const char *kernel, const char *file, int line);

#ifdef __cplusplus
}
#endif
#endif
