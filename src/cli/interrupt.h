/* interrupt: INT, TERM and HUP ask a long command for an orderly end, between two pieces of its work. A
 * second one ends it at once. Training has its own (train/stop.h).
 */
#ifndef OTP_INTERRUPT_H
#define OTP_INTERRUPT_H

#include "core/base.h"

void otp_interrupt_listen(void);
/* The signal that came, 0: none. */
int otp_interrupt_number(void);
/* The error of a command that ends for it: exit code 128 + number. Returns false. */
bool otp_interrupt_fail(otp_error *err, const char *command, const char *how_far);

#endif
