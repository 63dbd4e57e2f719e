/* base: assertions, errors of the outside world, checked allocation.
 *
 * Three kinds of trouble, kept apart:
 *   our bug        OTP_ASSERT, alive in release: prints and aborts
 *   the machine    otp_fail_machine (disk, memory): one line, exit code 1
 *   the user       otp_fail (file, option, data): one line, exit code 2
 */
#ifndef OTP_BASE_H
#define OTP_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define OTP_PRINTF(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))
#define OTP_NORETURN __attribute__((noreturn))
#else
#define OTP_PRINTF(fmt_at, args_at)
#define OTP_NORETURN
#endif

#define OTP_PI 3.14159265358979323846 /* M_PI is not in C11 */

enum {
	OTP_EXIT_OK = 0,
	OTP_EXIT_FAILED = 1,
	OTP_EXIT_USAGE = 2,
	OTP_EXIT_UNDECODED = 3,
	OTP_EXIT_TIME_UP = 4
};

/* The first error wins: later ones are consequences. */
typedef struct otp_error {
	int exit_code;	    /* 0 while nothing went wrong */
	bool out_of_memory; /* otp_fail_memory recorded it */
	bool damaged;	    /* bytes are not those that were written: their digest differs */
	char text[1024];    /* "WHERE: what is wrong, what was expected", without newline */
} otp_error;

/* Record an error of the outside world; always returns false, so that callers
 * can write `return otp_fail(err, path, "...")`. `where` names file or option. */
bool otp_fail(otp_error *err, const char *where, const char *fmt, ...) OTP_PRINTF(3, 4);
bool otp_fail_machine(otp_error *err, const char *where, const char *fmt, ...) OTP_PRINTF(3, 4);
/* "WHERE: out of memory: N bytes for WHAT; LEFT can still be had". */
bool otp_fail_memory(otp_error *err, const char *where, size_t bytes, const char *what, size_t left);
/* clang's analyzer looks at one file at a time and would take a failure for a success. */
#ifdef __clang_analyzer__
#define otp_fail(...) (otp_fail(__VA_ARGS__), false)
#define otp_fail_machine(...) (otp_fail_machine(__VA_ARGS__), false)
#define otp_fail_memory(...) (otp_fail_memory(__VA_ARGS__), false)
#endif

/* Print the error and end the program with its exit code. */
void otp_end(const otp_error *err) OTP_NORETURN;

#define OTP_ASSERT(cond, ...) ((cond) ? (void)0 : otp_assert_failed(__FILE__, __LINE__, #cond, __VA_ARGS__))
void otp_assert_failed(const char *file, int line, const char *cond, const char *fmt, ...)
    OTP_PRINTF(4, 5) OTP_NORETURN;

/* Zeroed memory, 64-byte aligned, never NULL: running out ends the program
 * with one line and exit code 1. Release with otp_free. */
void *otp_calloc(size_t count, size_t bytes_each);
/* The same for what may be large: `what` names it in that line, with the option to change where there is one:
 * "a batch (a smaller --batch takes less)". */
void *otp_calloc_for(const char *what, size_t count, size_t bytes_each);
/* The same for what is large: NULL when memory is out. */
void *otp_try_calloc(size_t count, size_t bytes_each);
void *otp_realloc(void *old, size_t old_bytes, size_t new_bytes);
/* A list of `count` elements with room for one more of `each` bytes; *room is how many fit. */
void *otp_grown(void *list, size_t count, size_t *room, size_t each);
void otp_free(void *memory);
char *otp_strdup(const char *text);
/* printf into a fresh string (otp_free it). */
char *otp_format(const char *fmt, ...) OTP_PRINTF(1, 2);

/* a * b, aborting on overflow: sizes are computed from shapes that were checked before. */
size_t otp_mul_size(size_t a, size_t b);
size_t otp_round_up(size_t value, size_t multiple);

/* A reserve of memory, so that a library call which runs out of memory can return.
 * While one is held, an otp_calloc that fails gives it up and tries again. Large
 * blocks come from otp_try_calloc, so the reserve has to last for small ones only.
 * One reserve at a time; drop returns whether it was given up. */
bool otp_reserve_hold(size_t bytes);
bool otp_reserve_drop(void);
/* Whether so many bytes can be had at this moment, for code that allocates behind
 * our back and cannot bear a failure (oneDNN). */
bool otp_memory_can_have(size_t bytes);

double otp_seconds(void); /* monotonic clock */

#ifdef __cplusplus
}
#endif
#endif
