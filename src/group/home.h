/* home: what a library that connects processes does for a group. A home is a plugin, so that the program
 * needs none of them; it is built against this header alone.
 *
 * All calls but watch and abort are collective: every process makes the same ones in the same order, from one
 * thread. None returns an error: a library that cannot go on ends the program.
 */
#ifndef OTP_GROUP_HOME_H
#define OTP_GROUP_HOME_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes for, or from, one process. */
typedef struct otp_piece {
	int rank;
	void *memory;
	size_t bytes;
} otp_piece;

typedef struct otp_group_home {
	int rank, size;
	int neighbours; /* processes on this machine, this one included */
	int local;	/* which of these this one is */
	bool on_gpus;	/* each has a GPU of its own, and the home computes on it */
	/* Pieces between two processes arrive in the order in which they are listed. */
	void (*exchange)(const otp_piece *send, int sends, const otp_piece *receive, int receives);
	/* In place: bytes [at[r], at[r + 1]) of memory are process r's to give. Multiples of 4. */
	void (*all_gather)(void *memory, const size_t *at);
	void (*broadcast)(void *memory, size_t bytes); /* from process 0 */
	/* From now on, every process shows that it lives. One that did not for so many seconds is named to
	 * `lost` of the start, in a thread of its own; then all are ended. */
	void (*watch)(int seconds);
	void (*leave)(void); /* when every process does */
	void (*abort)(int exit_code);
} otp_group_home;

typedef struct otp_group_terms {
	size_t home_bytes;		     /* the sizeof that the program knows */
	int seconds;			     /* how long a start may wait for the others */
	void (*lost)(int rank, int seconds); /* says that nothing was heard for so long; 0: that it ended */
} otp_group_terms;

/* A plugin's function. NULL: the library cannot be started, `why` says it. */
typedef const otp_group_home *otp_group_start(const otp_group_terms *terms, char *why, size_t why_bytes);
#define OTP_GROUP_START "otp_group_start_home"

#endif
