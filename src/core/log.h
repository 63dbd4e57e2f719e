/* log: what is said to the person in front of the program. Messages go to
 * stderr and, once a run has a folder, to its log.txt with the time before
 * them; under them, on a terminal, stands one live line that is drawn over.
 * Never stdout: that is for results. Callable from every thread.
 */
#ifndef OTP_LOG_H
#define OTP_LOG_H

#include "core/base.h"

/* Append to the file at `path` from now on. */
bool otp_log_open(const char *path, otp_error *err);
void otp_log_close(void);

/* Where otp_log's lines go instead of stderr; NULL: to stderr again. One line at a time. */
typedef void otp_log_sink(void *context, const char *line);
void otp_log_to(otp_log_sink *sink, void *context);

/* One line, without newline. */
void otp_log(const char *fmt, ...) OTP_PRINTF(1, 2);
/* The same for log.txt alone. */
void otp_log_quietly(const char *fmt, ...) OTP_PRINTF(1, 2);

/* "otplan: ", and what went wrong. Said aloud by a hushed process too. */
void otp_log_error(const char *fmt, ...) OTP_PRINTF(1, 2);

/* From now on only errors are said aloud: of several processes one speaks. */
void otp_log_hush(bool hushed);

/* A line from a signal's handler: straight to stderr, past locks, sinks and log.txt. */
void otp_log_from_signal(const char *line);

/* Whether stderr can draw over a line, and how wide it is. */
bool otp_log_is_live(void);
int otp_log_columns(void);
/* Replace the live line, cut to the terminal's width; NULL or "" takes it away.
 * Nothing happens off a terminal. */
void otp_log_status(const char *line);

/* The same for a plugin, which has a copy of core of its own. */
typedef struct otp_voice {
	void (*log)(const char *fmt, ...);
	bool (*is_live)(void);
	void (*status)(const char *line);
} otp_voice;
extern const otp_voice otp_log_voice;

#endif
