#define _POSIX_C_SOURCE 200809L
#include "core/base.h"
#include "core/log.h"
#include "core/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* base.h's stand-ins are for callers. */
#undef otp_fail
#undef otp_fail_machine

static void record(otp_error *err, int exit_code, const char *where, const char *fmt, va_list args)
{
	if (err->exit_code != 0)
		return;
	err->exit_code = exit_code;
	int used = snprintf(err->text, sizeof err->text, "%s: ", where);
	if (used > 0 && (size_t)used < sizeof err->text)
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

void otp_assert_failed(const char *file, int line, const char *cond, const char *fmt, ...)
{
	char why[1024];
	va_list args;
	va_start(args, fmt);
	vsnprintf(why, sizeof why, fmt, args);
	va_end(args);
	otp_log("otplan: %s:%d: assertion `%s' failed: %s", file, line, cond, why);
	abort();
}

static OTP_NORETURN void out_of_memory(const char *what, size_t bytes)
{
	char wanted[OTP_BYTES_TEXT], left[OTP_BYTES_TEXT];
	otp_log("otplan: out of memory: %s (%zu bytes) for %s; %s can still be had",
		otp_bytes_text(bytes, wanted), bytes, what, otp_bytes_text(otp_memory_available(), left));
	exit(OTP_EXIT_FAILED);
}

void *otp_calloc(size_t count, size_t bytes_each)
{
	return otp_calloc_for("working memory", count, bytes_each);
}

void *otp_calloc_for(const char *what, size_t count, size_t bytes_each)
{
	size_t bytes = otp_round_up(otp_mul_size(count, bytes_each) + (bytes_each == 0 || count == 0), 64);
	void *memory = aligned_alloc(64, bytes);
	if (!memory)
		out_of_memory(what, bytes);
	return memset(memory, 0, bytes);
}

void *otp_realloc(void *old, size_t old_bytes, size_t new_bytes)
{
	void *memory = otp_calloc(new_bytes, 1);
	if (old)
		memcpy(memory, old, old_bytes < new_bytes ? old_bytes : new_bytes);
	otp_free(old);
	return memory;
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
