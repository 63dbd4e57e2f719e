/* The one place that knows which backends exist. */
#include "graph/op.h"

#include <string.h>

extern const otp_backend otp_ref_backend, otp_cpu_backend;

const otp_backend *otp_backend_find(const char *name, otp_error *err)
{
	if (strcmp(name, "cpu") == 0 || strcmp(name, "auto") == 0)
		return &otp_cpu_backend;
	if (strcmp(name, "ref") == 0)
		return &otp_ref_backend;
	otp_fail(err, "--device", "'%s' is no backend of this build, expected auto or cpu", name);
	return NULL;
}
