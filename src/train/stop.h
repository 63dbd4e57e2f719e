/* stop: what ends a training before its last step, or asks for a checkpoint between: signals, --max-time and
 * --snapshot-minutes.
 *
 * INT, TERM and HUP ask for the end: after the step in hand a checkpoint is written. A second one leaves at
 * once, which is safe too, since files appear whole. Outside of training the first leaves at once. USR1 asks
 * for a picture and a checkpoint.
 */
#ifndef OTP_STOP_H
#define OTP_STOP_H

#include "group/group.h"

/* In the order of what wins. */
typedef enum otp_wish {
	OTP_WISH_NONE,
	OTP_WISH_KEEP, /* a checkpoint, since the last was written long ago */
	OTP_WISH_SAVE, /* a picture and a checkpoint */
	OTP_WISH_STOP,
	OTP_WISH_TIME_UP
} otp_wish;

/* Takes over the program's signals. The time limit, in seconds from now (0: none), is that of the whole
 * command. A training that nobody listens for knows no wishes. */
void otp_stop_listen(double limit_s);
/* Training begins, and ends. A checkpoint is wished when the last was written so many seconds ago (0: never).
 */
void otp_stop_begin(double keep_s);
void otp_stop_end(void);
/* After each step: what is wished now. Time is up where another step, a picture and a checkpoint might not
 * fit any more, by the longest of each so far. */
otp_wish otp_stop_wish(const otp_group *group);
void otp_stop_saved(double seconds);	/* what writing a checkpoint took */
void otp_stop_pictured(double seconds); /* what a picture takes, which is made at the end too */
/* The exit code that says which signal asked for the end. */
int otp_stop_exit_code(void);

#endif
