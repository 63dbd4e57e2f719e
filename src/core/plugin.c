#include "core/plugin.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

bool otp_plugin_find(const char *file, const char *variable, const char *what, char path[OTP_PLUGIN_PATH],
		     otp_error *err)
{
	/* From the folder of a build's program, of the installed library, of the installed program. */
	static const char *const places[] = {"", "otplan/", OTPLAN_FROM_BIN_TO_LIB "/otplan/"};
	const char *named = getenv(variable);
	if (named && snprintf(path, PATH_MAX, "%s", named) < PATH_MAX)
		return true;
	char own[PATH_MAX];
	if (!find_own_file(own))
		return otp_fail_machine(err, what, "otplan's own folder is unknown, set %s", variable);
	*(strrchr(own, '/') + 1) = '\0';
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		snprintf(path, OTP_PLUGIN_PATH, "%s%s%s", own, places[i], file);
		if (access(path, R_OK) == 0)
			return true;
	}
	return otp_fail_machine(err, what,
				"this build has no part for it: %s is neither in %s nor in its otplan/ nor "
				"in " OTPLAN_FROM_BIN_TO_LIB "/otplan/",
				file, own);
}
