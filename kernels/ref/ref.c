/* ref.c: the oracle as a backend: host memory, conversion between the host's
 * types and double, calls run one after the other. */
#include "ref/ref.h"

#include <stdio.h>
#include <string.h>

struct otp_device {
	int unused;
};

static bool ref_open(int index, otp_device **device, otp_error *err)
{
	static otp_device host;
	if (index != 0)
		return otp_fail(err, "ref", "there is no device %d, only 0", index);
	*device = &host;
	return true;
}

static void ref_close(otp_device *device) { (void)device; }

static void *ref_alloc(otp_device *device, size_t bytes)
{
	(void)device;
	return otp_try_calloc(bytes, 1);
}

static void ref_release(otp_device *device, void *memory)
{
	(void)device;
	otp_free(memory);
}

static void ref_upload(otp_device *device, void *dst, otp_type type, const void *src, int64_t count)
{
	(void)device;
	double *to = dst;
	for (int64_t i = 0; i < count; i++)
		to[i] =
		    type == OTP_U32 ? (double)((const uint32_t *)src)[i] : (double)((const float *)src)[i];
}

static void ref_download(otp_device *device, void *dst, otp_type type, const void *src, int64_t count)
{
	(void)device;
	const double *from = src;
	for (int64_t i = 0; i < count; i++)
		if (type == OTP_U32)
			((uint32_t *)dst)[i] = (uint32_t)from[i];
		else
			((float *)dst)[i] = (float)from[i];
}

void otp_ref_poke(void *dst, const double *src, int64_t count)
{
	memcpy(dst, src, (size_t)count * sizeof *src);
}

void otp_ref_peek(double *dst, const void *src, int64_t count)
{
	memcpy(dst, src, (size_t)count * sizeof *dst);
}

static void ref_launch(otp_device *device, const otp_call *calls, int count, void **token)
{
	(void)device;
	(void)token;
	for (int i = 0; i < count; i++)
		otp_ref_backend.kernels[calls[i].op]->run(&calls[i]);
}

static void ref_forget(otp_device *device, void *token)
{
	(void)device;
	(void)token;
}

static void ref_wait(otp_device *device) { (void)device; }

static size_t ref_memory_free(otp_device *device)
{
	(void)device;
	return 0;
}

static int ref_workers(otp_device *device, int asked)
{
	(void)device;
	return asked ? asked : 1;
}

static const otp_kernel *const ref_kernels[OTP_OP_COUNT] = {
#define OP(name, inputs, attribute, in_place, meaning) [OTP_OP_##name] = &otp_ref_##name,
#include "graph/ops.def"
#undef OP
};

static void ref_describe(char *text, size_t bytes) { snprintf(text, bytes, "naive loops in double"); }

const otp_backend otp_ref_backend = {
    .name = "ref",
    .rows_apart = true,
    .element_bytes = {[OTP_F32] = sizeof(double), [OTP_U32] = sizeof(double)},
    .open = ref_open,
    .close = ref_close,
    .alloc = ref_alloc,
    .release = ref_release,
    .upload = ref_upload,
    .download = ref_download,
    .launch = ref_launch,
    .forget = ref_forget,
    .wait = ref_wait,
    .memory_free = ref_memory_free,
    .workers = ref_workers,
    .kernels = ref_kernels,
    .describe = ref_describe,
};
