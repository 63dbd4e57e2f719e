/* interrupt: the orderly end of a command that writes outputs one after another. The first INT, TERM or HUP
 * asks for it: what is finished stays and is in the manifest, nothing is half-written. The second ends the
 * program at once. Training has its own way (train/stop.h).
 */
#ifndef OTP_INTERRUPT_H
#define OTP_INTERRUPT_H

#include "core/base.h"

/* From now on. Signals that the program was started to ignore (nohup) stay ignored. */
void otp_interrupt_listen(void);
/* True where no signal has come. Else false, with err set: "COMMAND: stopped by signal N after P % of WHAT",
 * exit code 128 + N. done: 0 to 1. */
bool otp_interrupt_none(const char *command, double done, const char *what, otp_error *err);

#endif
