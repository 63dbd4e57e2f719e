/* centre: where networks with a scale (otp_arch) start to see their data from. */
#ifndef OTP_CENTRE_H
#define OTP_CENTRE_H

#include "engine/engine.h"
#include "train/session.h"

/* Sets the shifts of fresh networks (OTP_PARAM_INPUT_SHIFT, OTP_PARAM_OUTPUT_SHIFT) to the means of the
 * source and of the target; after otp_engine_init. */
bool otp_centre(otp_engine *e, const otp_session *s, otp_error *err);

#endif
