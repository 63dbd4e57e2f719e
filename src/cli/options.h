/* options: a whole configuration from a command line, for commands that take
 * every option of config.def. */
#ifndef OTP_OPTIONS_H
#define OTP_OPTIONS_H

#include "config/config.h"

/* Ranks: defaults, preset (named, or chosen by the data), --config, command
 * line. With --resume, RUN/config.ini instead of the first three, and only
 * options that leave the result alone may differ from it. */
bool otp_options_parse(int argc, char **argv, otp_config *c, otp_error *err);

#endif
