/* rehearse: what --dry-run does once the run is known to fit: says what will be
 * done to the data, and how long the run will take, from a few steps of it.
 */
#ifndef OTP_REHEARSE_H
#define OTP_REHEARSE_H

#include "engine/engine.h"
#include "train/session.h"

/* Of a loaded session; prints on stdout, writes no file. */
bool otp_rehearse(const otp_session *s, otp_runtime *runtime, otp_error *err);

#endif
