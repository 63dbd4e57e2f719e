/* options: a whole configuration from what a command line says of config.def. */
#ifndef OTP_OPTIONS_H
#define OTP_OPTIONS_H

#include "cli/args.h"
#include "config/config.h"

/* Sets what was said, in order; names of earlier versions after the others, which they qualify. */
bool otp_options_apply(const otp_settings_said *said, otp_config *c, otp_error *err);

/* The command line of a command that takes every option of config.def, `args` of its own, and no words.
 * Ranks: defaults, preset (named, or chosen by the data), --config, command line. With --resume,
 * RUN/config.ini instead of the first two, and no option of run scope may differ from it. False as
 * otp_args_read. */
bool otp_options_parse(int argc, char **argv, const otp_arg *args, int arg_count, const char *usage,
		       otp_config *c, otp_error *err);

#endif
