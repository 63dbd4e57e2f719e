/* plugin: where a part of the program lies that is loaded when it is needed. */
#ifndef OTP_PLUGIN_H
#define OTP_PLUGIN_H

#include "core/base.h"

#include <limits.h>

enum { OTP_PLUGIN_PATH = 2 * PATH_MAX };

/* The plugin of that file name, near the program or the library that this code is part of; a variable of the
 * environment may name it instead. `what` says what is missing: "CUDA". */
bool otp_plugin_find(const char *file, const char *variable, const char *what, char path[OTP_PLUGIN_PATH],
		     otp_error *err);

#endif
