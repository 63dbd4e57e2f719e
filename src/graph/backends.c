/* The one place that knows which backends exist. ref and cpu are part of the
 * program; cuda is a plugin, opened when it is asked for, so that the program
 * starts as fast, and at all, where CUDA's libraries are not. */
#include "core/log.h"
#include "core/memory.h"
#include "graph/op.h"

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
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

/* The file that this code is part of: libotplan.so, or the program. */
static bool find_own_file(char path[static PATH_MAX])
{
	static const char here; /* an address within that file */
	Dl_info info;
	struct link_map *map = NULL;
	char *end = NULL;
	if (dladdr1(&here, &info, (void **)&map, RTLD_DL_LINKMAP) != 0 && map && *map->l_name)
		end = realpath(map->l_name, path);
	else /* the program itself, which has no name there */
		end = realpath("/proc/self/exe", path);
	return end != NULL;
}

static bool find_plugin(char path[static 2 * PATH_MAX], otp_error *err)
{
	/* From the folder of a build's program, of the installed library, of the installed program. */
	static const char *const places[] = {"", "otplan/", OTPLAN_FROM_BIN_TO_LIB "/otplan/"};
	const char *named = getenv(PLUGIN_VARIABLE);
	if (named && snprintf(path, PATH_MAX, "%s", named) < PATH_MAX)
		return true;
	char own[PATH_MAX];
	if (!find_own_file(own))
		return otp_fail_machine(err, "cuda", "otplan's own folder is unknown, set " PLUGIN_VARIABLE);
	*(strrchr(own, '/') + 1) = '\0';
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		snprintf(path, 2 * PATH_MAX, "%s%s" PLUGIN, own, places[i]);
		if (access(path, R_OK) == 0)
			return true;
	}
	return otp_fail_machine(err, "cuda",
				"this build has no CUDA backend: " PLUGIN
				" is neither in %s nor in its otplan/ nor in " OTPLAN_FROM_BIN_TO_LIB
				"/otplan/",
				own);
}

static const otp_backend *load_cuda(otp_error *err)
{
	char path[2 * PATH_MAX];
	if (!find_plugin(path, err))
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
