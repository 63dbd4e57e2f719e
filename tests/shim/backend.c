/* backend.c (shim): the own CUDA kernels as a backend on the host, for tests
 * only. What the GPU leaves to a library has no kernel here: its run is NULL. */
#include "shim/backend.h"
#include "cuda/cuda.h"

#include <string.h>

struct otp_device {
	int unused;
};

static bool shim_open(int index, otp_device **device, otp_error *err)
{
	static otp_device host;
	if (index != 0)
		return otp_fail(err, "shim", "there is no device %d, only 0", index);
	*device = &host;
	return true;
}

static void shim_close(otp_device *device) { (void)device; }

static void *shim_alloc(otp_device *device, size_t bytes)
{
	(void)device;
	return otp_calloc(bytes, 1);
}

static void shim_release(otp_device *device, void *memory)
{
	(void)device;
	otp_free(memory);
}

static void shim_transfer(otp_device *device, void *dst, otp_type type, const void *src, int64_t count)
{
	(void)device;
	(void)type;
	memcpy(dst, src, (size_t)count * 4);
}

static void shim_launch(otp_device *device, const otp_call *calls, int count, void **token)
{
	(void)device;
	(void)token;
	for (int i = 0; i < count; i++)
		otp_shim_backend.kernels[calls[i].op]->run(&calls[i]);
}

static void shim_forget(otp_device *device, void *token)
{
	(void)device;
	(void)token;
}

static void shim_wait(otp_device *device) { (void)device; }

static int shim_workers(otp_device *device)
{
	(void)device;
	return 1;
}

/* cuDNN's and cuBLASLt's: docs/gpu-status.md lists them. */
const otp_kernel otp_cuda_conv2d = {0}, otp_cuda_conv2d_bias = {0}, otp_cuda_conv2d_dgrad = {0},
		 otp_cuda_conv2d_wgrad = {0}, otp_cuda_matmul = {0};

static const otp_kernel *const shim_kernels[OTP_OP_COUNT] = {
#define OP(name, inputs, attribute, in_place, meaning) [OTP_OP_##name] = &otp_cuda_##name,
#include "graph/ops.def"
#undef OP
};

const otp_backend otp_shim_backend = {
    .name = "shim",
    .element_bytes = 4,
    .open = shim_open,
    .close = shim_close,
    .alloc = shim_alloc,
    .release = shim_release,
    .upload = shim_transfer,
    .download = shim_transfer,
    .launch = shim_launch,
    .forget = shim_forget,
    .wait = shim_wait,
    .workers = shim_workers,
    .kernels = shim_kernels,
};
