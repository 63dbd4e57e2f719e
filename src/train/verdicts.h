/* verdicts: what the figures of a run say is wrong with it, and what to try.
 * Pure functions of the settings and of the rows that were measured, oldest
 * first; docs/diagnosis.md has the definitions in words.
 */
#ifndef OTP_VERDICTS_H
#define OTP_VERDICTS_H

#include "config/config.h"
#include "report/metrics.h"

/* A verdict appears when its condition has held at so many measurements in a row, and clears alike. */
enum { OTP_VERDICT_PERSISTENCE = 3 };

/* The verdicts that stand after the last of `count` rows; every row before it says which stood after it. */
unsigned otp_verdicts_next(const otp_config *c, const otp_metrics *rows, size_t count);

/* Share of the way from source to target that is left: 0 within the floor, 1 as far as doing nothing. */
double otp_verdict_left(const otp_metrics *row);

/* In a line, what all of it comes to: which verdicts stand, that it is too early to say, or how far it came.
 * True where nothing is wrong. */
bool otp_verdicts_say(const otp_config *c, bool vectors, const otp_metrics *rows, size_t count, char *text,
		      size_t bytes);

/* The figures a verdict stands on at the last row, and what to try: options with values. */
void otp_verdict_figures(otp_verdict v, const otp_metrics *rows, size_t count, char *text, size_t bytes);
void otp_verdict_advice(otp_verdict v, const otp_config *c, const otp_metrics *row, char *text, size_t bytes);

#endif
