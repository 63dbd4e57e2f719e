/* check.c: the end of the program when a call into CUDA's libraries fails. */
#include "cuda/device.h"

#include <stdio.h>
#include <stdlib.h>

static struct {
	int index;
	char name[128];
	int64_t live, peak;
} device = {.index = -1};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void otp_cuda_describe(int index, const char *name)
{
	device.index = index;
	snprintf(device.name, sizeof device.name, "%s", name);
}

void otp_cuda_count_memory(int64_t bytes)
{
	pthread_mutex_lock(&lock);
	device.live += bytes;
	device.peak = device.live > device.peak ? device.live : device.peak;
	pthread_mutex_unlock(&lock);
}

OTP_NORETURN void otp_cuda_failed(const char *library, const char *why, const char *statement,
				  const char *file, int line)
{
	fprintf(stderr, "otplan: %s: %s: %s at %s:%d, device %d (%s), memory %.1f MiB, at most %.1f MiB\n",
		library, why, statement, file, line, device.index, device.name, (double)device.live / 1048576,
		(double)device.peak / 1048576);
	exit(OTP_EXIT_FAILED);
}
