/* meeting: how processes that only know rank 0's address find each other: it hands a few bytes to each. The
 * connections stay, and show who lives; nothing else travels over them.
 */
#ifndef OTP_CUDA_MEETING_H
#define OTP_CUDA_MEETING_H

#include <stdbool.h>
#include <stddef.h>

typedef struct otp_meeting {
	int rank, size;
	const char *address; /* rank 0's own, a name or number */
	int port;
	int seconds;			     /* that all may take to come, and then be silent */
	void (*lost)(int rank, int seconds); /* says it, in a thread of its own; 0 seconds: it ended */
	void (*give_up)(void);		     /* then, before the program ends */
} otp_meeting;

/* Process 0's `words` to all. False and why where not all came. */
bool otp_meeting_begin(const otp_meeting *meeting, void *words, size_t bytes, char *why, size_t why_bytes);
void otp_meeting_set_seconds(int seconds);
void otp_meeting_part(void);  /* when all do; nobody is missed any more */
void otp_meeting_break(void); /* before this process ends alone: all others end too */

#endif
