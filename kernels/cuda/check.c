/* check.c: when a call into CUDA's libraries fails: the end of the program, or a note. */
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

static _Thread_local otp_cuda_note *note; /* NULL: failures end the program */

void otp_cuda_start_note(otp_cuda_note *n)
{
	*n = (otp_cuda_note){.outer = note};
	note = n;
}

bool otp_cuda_end_note(otp_cuda_note *n, otp_error *err)
{
	OTP_ASSERT(n == note, "cuda: notes end in another order than they started");
	note = n->outer;
	if (!*n->text)
		return true;
	if (err->exit_code == 0)
		err->out_of_memory |= n->out_of_memory;
	return otp_fail_machine(err, "cuda", "%s", n->text);
}

bool otp_cuda_noted(void) { return note && *note->text; }

void otp_cuda_refused(const char *library, const char *why, bool memory, const char *statement,
		      const char *file, int line)
{
	if (!note)
		otp_cuda_failed(library, why, statement, file, line);
	if (*note->text)
		return;
	snprintf(note->text, sizeof note->text, "%s: %s: %s at %s:%d", library, why, statement, file, line);
	note->out_of_memory = memory;
}

OTP_NORETURN void otp_cuda_failed(const char *library, const char *why, const char *statement,
				  const char *file, int line)
{
	fprintf(stderr, "otplan: %s: %s: %s at %s:%d, device %d (%s), memory %.1f MiB, at most %.1f MiB\n",
		library, why, statement, file, line, device.index, device.name, (double)device.live / 1048576,
		(double)device.peak / 1048576);
	exit(OTP_EXIT_FAILED);
}
