/* tally: how far a long count has come, for whoever waits for it: on a terminal one live line, off it a plain
 * one now and then, with what is left to wait. What ends within a few seconds says nothing off a terminal.
 */
#ifndef OTP_TALLY_H
#define OTP_TALLY_H

#include "core/base.h"

typedef struct otp_tally otp_tally;

/* "WHAT 1200/96000": `done` of `total` lie behind already and say nothing about the speed. */
otp_tally *otp_tally_new(const char *what, int64_t done, int64_t total);
/* `count` more. Thread-safe. */
void otp_tally_add(otp_tally *t, int64_t count);
/* Takes the live line away; where a plain line was written, one more says how long it took. NULL: nothing. */
void otp_tally_free(otp_tally *t);

/* "ETA 1:02:03" or "ETA 2:03" of seconds, "" where they are no time to tell. Returns text. */
enum { OTP_ETA_TEXT = 48 };
const char *otp_eta_text(double seconds, char text[OTP_ETA_TEXT]);

#endif
