/* rules: values of `auto` that follow from the pictures' size, the batch, the networks' width and the length
 * of the run. docs/method.md has the reasons.
 */
#ifndef OTP_RULES_H
#define OTP_RULES_H

#include "config/config.h"

/* Numbers for tau, r1, lr_g, lr_d, warmup and ema where they are auto. `values`: of one sample. False with
 * err set where vectors ask for them. Settled settings stay as they are. */
bool otp_rules_settle(otp_config *c, bool vectors, int values, otp_error *err);

#endif
