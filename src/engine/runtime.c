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

/* The only one that there is, where a launcher shows each process its own. */
static int index_of(const otp_backend *b, int local)
{
	return local && b->count && b->count() > 1 ? local : 0;
}

bool otp_runtime_open(const char *device, int local, const char *precision, int threads, otp_runtime *runtime,
		      otp_error *err)
{
	memset(runtime, 0, sizeof *runtime);
	const char *colon = strchr(device, ':');
	char name[16];
	snprintf(name, sizeof name, "%.*s", (int)(colon ? colon - device : (long)strlen(device)), device);
	if (!parse_precision(precision, &runtime->precision, err))
		return false;
	runtime->backend = otp_backend_find(name, err);
	if (!runtime->backend)
		return false;
	int index = colon ? atoi(colon + 1) : index_of(runtime->backend, local);
	if (!runtime->backend->open(index, &runtime->device, err))
		return false;
	runtime->pool = otp_pool_new(runtime->backend->workers(runtime->device, threads));
	return true;
}

bool otp_runtime_connect(otp_runtime *runtime, int seconds, otp_error *err)
{
	otp_group *g = runtime->group;
	const otp_backend *b = runtime->backend;
	char id[OTP_LINK_ID_BYTES] = {0};
	if (!g || !b->connect)
		return true;
	bool made = !otp_group_leads(g) || b->make_id(id, err);
	if (!otp_group_agree(g, made, err))
		return false;
	otp_group_broadcast(g, id, sizeof id);
	bool connected = b->connect(runtime->device, id, otp_group_rank(g), otp_group_size(g), seconds, err);
	return otp_group_agree(g, connected, err);
}

otp_precision otp_precision_settled(otp_precision asked, bool vectors, bool narrow)
{
	if (asked != OTP_PRECISION_AUTO)
		return asked;
	return narrow && !vectors ? OTP_PRECISION_BF16 : OTP_PRECISION_F32;
}

bool otp_runtime_settle(otp_runtime *runtime, bool vectors, otp_runtime_use use, otp_error *err)
{
	const otp_backend *b = runtime->backend;
	bool gpu = b->element_bytes[OTP_BF16]; /* which alone stores it */
	bool narrows = b->narrows && b->narrows(runtime->device);
	otp_precision asked = runtime->precision;
	if (gpu && !narrows && (asked == OTP_PRECISION_TF32 || asked == OTP_PRECISION_BF16))
		return otp_fail(err, "--precision",
				"'%s', expected f32 or auto: the GPU is older than compute capability 8.0",
				OTP_CHOICE_NAME(otp_precision, asked));
	runtime->precision =
	    otp_precision_settled(asked, vectors, narrows && (gpu || use == OTP_RUNTIME_TRAINS));
	return true;
}

void otp_runtime_close(otp_runtime *runtime)
{
	if (runtime->pool)
		otp_pool_free(runtime->pool);
	if (runtime->device)
		runtime->backend->close(runtime->device);
	memset(runtime, 0, sizeof *runtime);
}
