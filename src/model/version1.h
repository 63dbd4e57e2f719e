/* version1: what a file of format version 1 says of itself, which is little: its
 * shape as attributes, and the settings as text, from which the rest follows.
 * This is the only place that reads settings for a model. It has the keys and
 * defaults of that time, so that options may come and go.
 */
#ifndef OTP_VERSION1_H
#define OTP_VERSION1_H

#include "model/fields.h"
#include "model/store.h"

bool otp_version1_read(const otp_fields *f, otp_stored_kind kind, otp_stored *s);

#endif
