#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/places.h"
#include "ref/ref.h"
#include "shim/backend.h"

#include <string.h>

const otp_backend *find_backend(const char *name, otp_error *err)
{
	return strcmp(name, "shim") == 0 ? otp_shim_for_networks() : otp_backend_find(name, err);
}

place place_open(const char *name)
{
	otp_error err = {0};
	place at = {.backend = find_backend(name, &err)};
	if (!at.backend || !at.backend->open(0, &at.device, &err))
		fail_msg("%s", err.text);
	return at;
}

bool has_gpu(void)
{
	otp_error err = {0};
	return otp_backend_find("cuda", &err) != NULL;
}

double unit_of(const otp_backend *backend)
{
	return backend->element_bytes[OTP_F32] == sizeof(double) ? DOUBLE_UNIT : FLOAT_UNIT;
}

double *fetch(const otp_backend *backend, otp_device *device, const void *memory, int64_t count)
{
	double *wide = otp_calloc((size_t)count, sizeof *wide);
	backend->wait(device);
	if (backend->element_bytes[OTP_F32] == sizeof(double)) {
		otp_ref_peek(wide, memory, count);
		return wide;
	}
	float *narrow = otp_calloc((size_t)count, sizeof *narrow);
	backend->download(device, narrow, OTP_F32, memory, count);
	for (int64_t i = 0; i < count; i++)
		wide[i] = (double)narrow[i];
	otp_free(narrow);
	return wide;
}

bool work_open(const char *backend_name, int threads, otp_runtime *work, otp_error *err)
{
	if (strcmp(backend_name, "shim") != 0)
		return otp_runtime_open(backend_name, 0, "f32", threads, work, err);
	*work = (otp_runtime){.backend = otp_shim_for_networks(), .pool = otp_pool_new(threads)};
	return work->backend->open(0, &work->device, err);
}
