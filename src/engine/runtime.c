#include "engine/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool parse_precision(const char *text, otp_precision *precision, otp_error *err)
{
	static const char *const NAMES[] = OTP_CHOICE_NAMES(otp_precision);
	for (int i = 0; NAMES[i]; i++)
		if (strcmp(text, NAMES[i]) == 0) {
			*precision = (otp_precision)i;
			return true;
		}
	return otp_fail(err, "--precision", "'%s', expected auto, f32, tf32 or bf16", text);
}

bool otp_runtime_open(const char *device, const char *precision, int threads, otp_runtime *runtime,
		      otp_error *err)
{
	memset(runtime, 0, sizeof *runtime);
	const char *colon = strchr(device, ':');
	char name[16];
	snprintf(name, sizeof name, "%.*s", (int)(colon ? colon - device : (long)strlen(device)), device);
	if (!parse_precision(precision, &runtime->precision, err))
		return false;
	runtime->backend = otp_backend_find(name, err);
	if (!runtime->backend || !runtime->backend->open(colon ? atoi(colon + 1) : 0, &runtime->device, err))
		return false;
	runtime->pool = otp_pool_new(runtime->backend->workers(runtime->device, threads));
	return true;
}

otp_precision otp_precision_on(bool gpu, bool vectors, otp_precision asked)
{
	if (asked != OTP_PRECISION_AUTO)
		return asked;
	return gpu && !vectors ? OTP_PRECISION_BF16 : OTP_PRECISION_F32;
}

void otp_runtime_settle(otp_runtime *runtime, bool vectors)
{
	bool gpu = runtime->backend->element_bytes[OTP_BF16]; /* which alone stores it */
	runtime->precision = otp_precision_on(gpu, vectors, runtime->precision);
}

void otp_runtime_close(otp_runtime *runtime)
{
	if (runtime->pool)
		otp_pool_free(runtime->pool);
	if (runtime->device)
		runtime->backend->close(runtime->device);
	memset(runtime, 0, sizeof *runtime);
}
