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

otp_precision otp_precision_settled(otp_precision asked, bool vectors, bool narrow)
{
	if (asked != OTP_PRECISION_AUTO)
		return asked;
	return narrow && !vectors ? OTP_PRECISION_BF16 : OTP_PRECISION_F32;
}

void otp_runtime_settle(otp_runtime *runtime, bool vectors, otp_runtime_use use)
{
	const otp_backend *b = runtime->backend;
	bool gpu = b->element_bytes[OTP_BF16]; /* which alone stores it */
	bool narrow = b->has_bf16 && b->has_bf16() && (gpu || use == OTP_RUNTIME_TRAINS);
	runtime->precision = otp_precision_settled(runtime->precision, vectors, narrow);
}

void otp_runtime_close(otp_runtime *runtime)
{
	if (runtime->pool)
		otp_pool_free(runtime->pool);
	if (runtime->device)
		runtime->backend->close(runtime->device);
	memset(runtime, 0, sizeof *runtime);
}
