/* ledger.c: every call passes here: one at a time, counted, refused where that is
 * asked for; and what is made must be destroyed. */
#include "fake_device/fake.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void otp_fake_forbid(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	fputs("fake device: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	fflush(NULL);
	_exit(OTP_FAKE_EXIT);
}

/* ---- refusing by request ---- */

enum { MOST_NAMES = 128 };
static struct {
	const char *name;
	long calls;
} names[MOST_NAMES];

static long count_call(const char *name)
{
	int i = 0;
	while (i < MOST_NAMES && names[i].name && strcmp(names[i].name, name) != 0)
		i++;
	OTP_ASSERT(i < MOST_NAMES, "fake device: too many names of functions");
	names[i].name = name;
	return ++names[i].calls;
}

bool otp_fake_refuses(const char *name)
{
	static const char *asked;
	static bool read;
	if (!read)
		asked = getenv("OTPLAN_FAKE_FAIL");
	read = true;
	if (!asked)
		return false;
	long call = count_call(name);
	const char *form = strstr(name, "_v2"); /* CUDA 12's header renames cudaGetDeviceProperties */
	size_t length = form ? (size_t)(form - name) : strlen(name);
	for (const char *rule = asked; rule; rule = strchr(rule, ',')) {
		rule += *rule == ',';
		if (strncmp(rule, name, length) != 0 || rule[length] != ':')
			continue;
		char *end;
		long nth = strtol(rule + length + 1, &end, 10);
		if (call == nth || (*end == '+' && call > nth))
			return true;
	}
	return false;
}

/* ---- calls ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

otp_fake_call otp_fake_enter(const char *function)
{
	pthread_mutex_lock(&lock);
	return (otp_fake_call){otp_fake_refuses(function)};
}

void otp_fake_leave(otp_fake_call *call)
{
	(void)call;
	pthread_mutex_unlock(&lock);
}

static _Thread_local cudaError_t last;

cudaError_t otp_fake_fail(cudaError_t status)
{
	if (status != cudaSuccess)
		last = status;
	return status;
}

cudaError_t cudaGetLastError(void)
{
	cudaError_t status = last;
	last = cudaSuccess;
	return status;
}

const char *cudaGetErrorString(cudaError_t status)
{
	static _Thread_local char text[64];
	if (status == cudaSuccess)
		return "no error";
	if (status == cudaErrorMemoryAllocation)
		return "out of memory";
	snprintf(text, sizeof text, "error %d of the fake device", (int)status);
	return text;
}

/* ---- launches ---- */

static atomic_long launches;

void otp_fake_count_launch(void) { launches++; }

__attribute__((visibility("default"))) long otp_fake_launches(void) { return launches; }

/* ---- what is left ---- */

static int alive[OTP_FAKE_KINDS];
static const char *const kinds[] = {"blocks of device memory",
				    "blocks of pinned memory",
				    "streams",
				    "events",
				    "graphs",
				    "executable graphs",
				    "cuDNN handles",
				    "cuDNN descriptors",
				    "cuBLASLt handles",
				    "cuBLASLt descriptors",
				    "NCCL communicators"};

/* A program that fails need not tidy up. */
static void tell_leaks(int status, void *unused)
{
	(void)unused;
	bool leaks = false;
	for (int kind = 0; kind < OTP_FAKE_KINDS && status == 0; kind++) {
		if (alive[kind])
			fprintf(stderr, "fake device: %d %s left at the end\n", alive[kind], kinds[kind]);
		leaks |= alive[kind] != 0;
	}
	if (!leaks)
		return;
	fflush(NULL);
	_exit(OTP_FAKE_EXIT);
}

void otp_fake_count(otp_fake_kind kind, int change)
{
	static bool watching;
	if (!watching)
		on_exit(tell_leaks, NULL);
	watching = true;
	alive[kind] += change;
	if (alive[kind] < 0)
		otp_fake_forbid("more %s destroyed than made", kinds[kind]);
}
