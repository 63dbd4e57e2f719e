/* eval: what the command `eval` measures beside a model. */
#ifndef OTP_CLI_EVAL_H
#define OTP_CLI_EVAL_H

#include "core/base.h"

/* Prints Frechet distance and KID of two sets of features; the exit code. */
int otp_eval_features(const char *const specs[2], bool json, otp_error *err);

#endif
