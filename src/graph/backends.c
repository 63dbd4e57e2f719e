/* The one place that knows which backends exist. ref and cpu are part of the
 * program; cuda is a plugin, opened when it is asked for, so that the program
 * starts as fast, and at all, where CUDA's libraries are not. */
#include "core/log.h"
#include "core/memory.h"
#include "core/plugin.h"
#include "graph/op.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const otp_backend otp_ref_backend, otp_cpu_backend;

#define PLUGIN "otplan_cuda.so"
/* Names the plugin's file, instead of the places below. */
#define PLUGIN_VARIABLE "OTPLAN_CUDA_PLUGIN"

typedef const otp_backend *plugin_function(size_t call_bytes, int op_count, otp_error *err,
					   const otp_voice *voice);

static const otp_backend *load_cuda(otp_error *err)
{
	char path[OTP_PLUGIN_PATH];
	if (!otp_plugin_find(PLUGIN, PLUGIN_VARIABLE, "CUDA", path, err))
		return NULL;
	void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* and never closed: its backend may be in use */
	if (!plugin) {
		otp_fail_machine(err, "cuda", "the backend cannot be loaded: %s", dlerror());
		return NULL;
	}
	plugin_function *backend = NULL;
	void *symbol = dlsym(plugin, "otp_plugin_backend");
	memcpy(&backend, &symbol, sizeof backend); /* ISO C has no cast from object to function */
	if (!backend) {
		otp_fail_machine(err, "cuda", "%s is not a backend of otplan", path);
		return NULL;
	}
	return backend(sizeof(otp_call), OTP_OP_COUNT, err, &otp_log_voice);
}

/* A driver's device file: asked before anything is loaded, because most machines have none. */
static bool may_have_gpu(void)
{
	return access("/dev/nvidiactl", F_OK) == 0 || access("/dev/dxg", F_OK) == 0;
}

const otp_backend *otp_backend_find(const char *name, otp_error *err)
{
	if (strcmp(name, "ref") == 0)
		return &otp_ref_backend;
	if (strcmp(name, "cpu") == 0)
		return &otp_cpu_backend;
	if (strcmp(name, "cuda") == 0)
		return load_cuda(err);
	if (strcmp(name, "auto") == 0) {
		otp_error unusable = {0};
		const otp_backend *cuda = may_have_gpu() ? load_cuda(&unusable) : NULL;
		if (unusable.exit_code)
			otp_log("there is a GPU, but %s; the CPU computes", unusable.text);
		return cuda ? cuda : &otp_cpu_backend;
	}
	otp_fail(err, "--device", "'%s' is not a backend of this build, expected auto, cpu or cuda[:i]",
		 name);
	return NULL;
}

bool otp_backend_fail_memory(const otp_backend *backend, otp_device *device, size_t bytes, const char *what,
			     otp_error *err)
{
	size_t left = backend->memory_free(device); /* 0: it computes in the host's memory */
	return otp_fail_memory(err, backend->name, bytes, what, left ? left : otp_memory_available());
}
