#define _POSIX_C_SOURCE 200809L
#include "core/base.h"
#include "core/log.h"
#include "core/memory.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* base.h's stand-ins are for callers. */
#undef otp_fail
#undef otp_fail_machine
#undef otp_fail_memory

/* So that what is wrong has room behind any name: of a longer one its beginning and its end. */
enum { MOST_WHERE = 600, KEPT_WHERE = 290 };

static int record_where(otp_error *err, const char *where)
{
	size_t length = strlen(where);
	if (length <= MOST_WHERE)
		return snprintf(err->text, sizeof err->text, "%s: ", where);
	return snprintf(err->text, sizeof err->text, "%.*s...%s: ", KEPT_WHERE, where,
			where + length - KEPT_WHERE);
}

static void record(otp_error *err, int exit_code, const char *where, const char *fmt, va_list args)
{
	if (err->exit_code != 0)
		return;
	err->exit_code = exit_code;
	int used = record_where(err, where);
	vsnprintf(err->text + used, sizeof err->text - (size_t)used, fmt, args);
	/* One line, whatever a file name or a library's message holds. */
	for (char *c = err->text; *c; c++)
		if ((unsigned char)*c < ' ')
			*c = ' ';
}

bool otp_fail(otp_error *err, const char *where, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	record(err, OTP_EXIT_USAGE, where, fmt, args);
	va_end(args);
	return false;
}

bool otp_fail_machine(otp_error *err, const char *where, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	record(err, OTP_EXIT_FAILED, where, fmt, args);
	va_end(args);
	return false;
}

void otp_end(const otp_error *err)
{
	otp_log_error("%s", err->text);
	exit(err->exit_code);
}

void otp_assert_failed(const char *file, int line, const char *cond, const char *fmt, ...)
{
	char why[1024];
	va_list args;
	va_start(args, fmt);
	vsnprintf(why, sizeof why, fmt, args);
	va_end(args);
	otp_log_error("%s:%d: assertion `%s' failed: %s", file, line, cond, why);
	abort();
}

bool otp_fail_memory(otp_error *err, const char *where, size_t bytes, const char *what, size_t left)
{
	char wanted[OTP_BYTES_TEXT], had[OTP_BYTES_TEXT];
	err->out_of_memory |= err->exit_code == 0;
	return otp_fail_machine(err, where, "out of memory: %s (%zu bytes) for %s; %s are free",
				otp_bytes_text(bytes, wanted), bytes, what, otp_bytes_text(left, had));
}

/* ---- memory ---- */

static pthread_mutex_t reserve_lock = PTHREAD_MUTEX_INITIALIZER;
static void *reserve;
static size_t reserve_bytes;
static bool reserve_spent;

/* Not malloc: a large block given back to it would change how it serves later ones. */
static void *map(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

bool otp_memory_can_have(size_t bytes)
{
	void *memory = map(bytes);
	return memory && munmap(memory, bytes) == 0;
}

bool otp_reserve_hold(size_t bytes)
{
	OTP_ASSERT(!reserve, "a reserve of memory is held already");
	reserve_spent = false;
	reserve_bytes = bytes;
	reserve = map(bytes);
	return reserve != NULL;
}

/* Whether it is worth trying again: the reserve has been given up, now or by another thread. */
static bool spend_reserve(void)
{
	pthread_mutex_lock(&reserve_lock);
	if (reserve) {
		munmap(reserve, reserve_bytes);
		reserve = NULL;
		reserve_spent = true;
	}
	bool spent = reserve_spent;
	pthread_mutex_unlock(&reserve_lock);
	return spent;
}

bool otp_reserve_drop(void)
{
	bool was_spent = reserve_spent;
	spend_reserve();
	reserve_spent = false;
	return was_spent;
}

void *otp_try_calloc(size_t count, size_t bytes_each)
{
	size_t bytes = otp_round_up(otp_mul_size(count, bytes_each) + (bytes_each == 0 || count == 0), 64);
	void *memory = aligned_alloc(64, bytes);
	return memory ? memset(memory, 0, bytes) : NULL;
}

void *otp_calloc(size_t count, size_t bytes_each)
{
	return otp_calloc_for("working memory", count, bytes_each);
}

void *otp_calloc_for(const char *what, size_t count, size_t bytes_each)
{
	void *memory = otp_try_calloc(count, bytes_each);
	if (!memory && spend_reserve())
		memory = otp_try_calloc(count, bytes_each);
	if (!memory) {
		otp_error err = {0};
		otp_fail_memory(&err, "memory", otp_mul_size(count, bytes_each), what,
				otp_memory_available());
		otp_end(&err);
	}
	return memory;
}

void *otp_realloc(void *old, size_t old_bytes, size_t new_bytes)
{
	void *memory = otp_calloc(new_bytes, 1);
	if (old)
		memcpy(memory, old, old_bytes < new_bytes ? old_bytes : new_bytes);
	otp_free(old);
	return memory;
}

void *otp_grown(void *list, size_t count, size_t *room, size_t each)
{
	if (count < *room)
		return list;
	size_t more = *room ? 2 * *room : 64;
	list = otp_realloc(list, count * each, otp_mul_size(more, each));
	*room = more;
	return list;
}

void otp_free(void *memory) { free(memory); }

char *otp_strdup(const char *text)
{
	size_t bytes = strlen(text) + 1;
	return memcpy(otp_calloc(bytes, 1), text, bytes);
}

char *otp_format(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	int length = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	OTP_ASSERT(length >= 0, "bad format %s", fmt);
	char *text = otp_calloc((size_t)length + 1, 1);
	va_start(args, fmt);
	vsnprintf(text, (size_t)length + 1, fmt, args);
	va_end(args);
	return text;
}

size_t otp_mul_size(size_t a, size_t b)
{
	OTP_ASSERT(b == 0 || a <= SIZE_MAX / b / 2, "size overflow: %zu * %zu", a, b);
	return a * b;
}

size_t otp_round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

double otp_seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
