/* aim: first weights that look where the data is, instead of along random
 * directions from the origin. Units of both networks' first layers start along
 * differences of data points (whole networks are sampled so by Bolager et al.
 * 2023) and along independent components; they bend at the places that the data
 * covers, most of them at its ends. The potential's squares start across the
 * directions in which the target is thin. In many dimensions, of which few hold
 * anything, these few are then found at once.
 */
#ifndef OTP_AIM_H
#define OTP_AIM_H

#include "engine/engine.h"
#include "train/session.h"

/* Rewrites fresh weights of vectors' networks; after otp_engine_init. */
bool otp_aim(otp_engine *e, const otp_session *s, otp_error *err);

#endif
