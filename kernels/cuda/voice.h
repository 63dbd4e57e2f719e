/* voice: what the plugin tells the person in front of the program, through the program's own log. */
#ifndef OTP_CUDA_VOICE_H
#define OTP_CUDA_VOICE_H

#include "core/log.h"

/* Before the first device is opened; until then nothing is said. */
void otp_cuda_speak_through(const otp_voice *voice);
/* One line, after "cuda: ". */
void otp_cuda_say(const char *fmt, ...) OTP_PRINTF(1, 2);

/* An error's line, which every process says. */
void otp_cuda_complain(const char *fmt, ...) OTP_PRINTF(1, 2);

/* How many plans were built since the last launch: the wait at the start of a run. */
typedef struct otp_builds {
	int plans, compiled;
	double begun, told; /* seconds, of the first and of the last line about them; 0: there was none */
} otp_builds;

/* Before a plan is built: live on a terminal, else a line now and then. */
void otp_cuda_building(otp_builds *builds, bool compiled);
/* While threads compile `of` plans, `done` of them so far; likewise. */
void otp_cuda_compiling(otp_builds *builds, int done, int of);
/* So many plans were compiled by threads. */
void otp_cuda_compiled(otp_builds *builds, int plans);
/* At a launch: a line where it took long. */
void otp_cuda_built(otp_builds *builds);

#endif
