#define _DEFAULT_SOURCE /* madvise */
#include "core/mapped.h"
#include "core/log.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PLACES = 32, LINE_BYTES = 1200 };

/* Read by the signal's handler: `memory` is set last and cleared first. */
typedef struct place {
	_Atomic(char *) memory;
	size_t bytes;
	char line[LINE_BYTES];
} place;

static place places[PLACES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void otp_mapped_add(void *memory, size_t bytes, const char *path)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < PLACES; i++)
		if (!atomic_load(&places[i].memory)) {
			places[i].bytes = bytes;
			snprintf(
			    places[i].line, LINE_BYTES,
			    "otplan: %.1000s: became shorter while it was read; expected a file that stays "
			    "as it is",
			    path);
			atomic_store(&places[i].memory, memory);
			break;
		}
	pthread_mutex_unlock(&lock);
}

void otp_mapped_remove(const void *memory)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < PLACES; i++)
		if (atomic_load(&places[i].memory) == memory)
			atomic_store(&places[i].memory, NULL);
	pthread_mutex_unlock(&lock);
}

void otp_mapped_rest(void)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < PLACES; i++) {
		char *memory = atomic_load(&places[i].memory);
		if (memory)
			madvise(memory, places[i].bytes, MADV_DONTNEED);
	}
	pthread_mutex_unlock(&lock);
}

/* Checkpoints and models appear whole, so the program may end anywhere. Several threads may read there: the
 * first one speaks, others wait for the end. */
static void on_bus_error(int number, siginfo_t *info, void *context)
{
	static atomic_flag told = ATOMIC_FLAG_INIT;
	const char *at = info->si_addr;
	(void)context;
	for (int i = 0; i < PLACES; i++) {
		const char *memory = atomic_load(&places[i].memory);
		if (memory && at >= memory && at < memory + places[i].bytes) {
			while (atomic_flag_test_and_set(&told))
				pause();
			otp_log_from_signal(places[i].line);
			_exit(OTP_EXIT_FAILED);
		}
	}
	signal(number, SIG_DFL); /* not ours: the same access again ends the program as usual */
}

void otp_mapped_guard(void)
{
	struct sigaction action = {.sa_flags = SA_SIGINFO};
	action.sa_sigaction = on_bus_error;
	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, NULL);
}
