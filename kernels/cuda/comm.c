#include "cuda/comm.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- the library ---- */

otp_nccl otp_nccl_calls;

bool otp_nccl_load(otp_error *err)
{
	static const char *const names[] = {
#define X(name) "nccl" #name,
	    OTP_NCCL_CALLS(X)
#undef X
	};
	static bool loaded;
	const char *named = getenv("OTPLAN_NCCL_LIBRARY"), *file = named ? named : "libnccl.so.2";
	if (loaded)
		return true;
	void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL); /* and never closed */
	if (!library)
		return otp_fail_machine(err, "NCCL", "several GPUs need it, and it cannot be loaded: %s",
					dlerror());
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		void *symbol = dlsym(library, names[i]);
		if (!symbol)
			return otp_fail_machine(err, "NCCL", "%s has no %s: it is too old", file, names[i]);
		memcpy((char *)&otp_nccl_calls + i * sizeof symbol, &symbol, sizeof symbol);
	}
	loaded = true;
	return true;
}

/* ---- communicators ---- */

struct otp_comm {
	ncclComm_t handle;
	int rank;
};

enum { MOST_COMMS = 2 }; /* the home's, and the device's */

static struct {
	pthread_mutex_t lock;
	otp_comm *comms[MOST_COMMS];
	pthread_t thread;
	bool running, stop;
	volatile bool broken;
} watcher = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void nap_ms(long ms)
{
	const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
	nanosleep(&time, NULL);
}

void otp_comm_abort_all(void)
{
	watcher.broken = true;
	for (int i = 0; i < MOST_COMMS; i++)
		if (watcher.comms[i])
			otp_nccl_calls.CommAbort(watcher.comms[i]->handle);
}

void otp_comm_heed(void)
{
	while (watcher.broken)
		pause();
}

/* Whoever watches the processes themselves knows which one it was, and has so long to say it. Of two threads
 * that see the error, one says it. */
static OTP_NORETURN void end(const otp_comm *comm, ncclResult_t state)
{
	enum { MOMENT_MS = 3000 };
	static atomic_flag ends = ATOMIC_FLAG_INIT;
	while (atomic_flag_test_and_set(&ends))
		pause();
	nap_ms(MOMENT_MS);
	otp_cuda_complain(
	    "process %d: NCCL: %s: another process ended, or the way to it; all end, continue with "
	    "--resume",
	    comm->rank, otp_nccl_calls.GetErrorString(state));
	otp_comm_abort_all();
	_exit(OTP_EXIT_FAILED);
}

static ncclResult_t state_of(const otp_comm *comm)
{
	ncclResult_t state = ncclSuccess, asked = otp_nccl_calls.CommGetAsyncError(comm->handle, &state);
	return asked == ncclSuccess ? state : asked;
}

/* In progress until so many seconds are over (0: for ever), or what came of it. */
static ncclResult_t await(const otp_comm *comm, int seconds)
{
	const struct timespec moment = {0, 50000};
	double until = otp_seconds() + seconds;
	ncclResult_t state;
	while ((state = state_of(comm)) == ncclInProgress && (!seconds || otp_seconds() < until)) {
		nanosleep(&moment, NULL);
		otp_comm_heed();
	}
	return state;
}

/* What others did ends this process as `watch` does; what is refused here, in a capture too, as any call's
 * is. */
void otp_comm_settle(const otp_comm *comm, const char *statement, const char *file, int line)
{
	ncclResult_t state = await(comm, 0);
	if (state == ncclRemoteError || state == ncclSystemError)
		end(comm, state);
	nccl_check(state, statement, file, line);
}

static void look(const otp_comm *comm)
{
	ncclResult_t state = comm ? state_of(comm) : ncclSuccess;
	if (state != ncclSuccess && state != ncclInProgress)
		end(comm, state);
}

static void *watch(void *unused)
{
	(void)unused;
	for (bool stop = false; !stop; nap_ms(100)) {
		pthread_mutex_lock(&watcher.lock);
		for (int i = 0; i < MOST_COMMS; i++)
			look(watcher.comms[i]);
		stop = watcher.stop;
		pthread_mutex_unlock(&watcher.lock);
	}
	return NULL;
}

static void start_watching(void)
{
	sigset_t all, before;
	if (watcher.running)
		return;
	watcher.stop = false;
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	watcher.running = pthread_create(&watcher.thread, NULL, watch, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static int place_of(const otp_comm *comm)
{
	int i = 0;
	while (i < MOST_COMMS && watcher.comms[i] != comm)
		i++;
	OTP_ASSERT(i < MOST_COMMS, "more communicators than there are uses");
	return i;
}

static bool connect_all(otp_comm *comm, ncclUniqueId id, int size, int seconds, otp_error *err)
{
	ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
	config.blocking = 0;
	ncclResult_t state = otp_nccl_calls.CommInitRankConfig(&comm->handle, size, id, comm->rank, &config);
	if (state == ncclInProgress)
		state = await(comm, seconds);
	if (state == ncclInProgress)
		return otp_fail_machine(
		    err, "NCCL",
		    "process %d of %d has waited %d seconds for the others to be connected "
		    "with it: one does not come, or cannot be reached (NCCL_DEBUG=INFO "
		    "says more; --process-timeout is the limit)",
		    comm->rank, size, seconds);
	return state == ncclSuccess ||
	       otp_fail_machine(err, "NCCL",
				"process %d of %d cannot be connected: %s (NCCL_DEBUG=WARN says more)",
				comm->rank, size, otp_nccl_calls.GetErrorString(state));
}

otp_comm *otp_comm_open(const char id[OTP_LINK_ID_BYTES], int rank, int size, int seconds, otp_error *err)
{
	ncclUniqueId unique;
	_Static_assert(sizeof unique == OTP_LINK_ID_BYTES, "an id of another size");
	memcpy(&unique, id, sizeof unique);
	otp_comm *comm = otp_calloc(1, sizeof *comm);
	comm->rank = rank;
	if (!connect_all(comm, unique, size, seconds, err)) {
		if (comm->handle)
			otp_nccl_calls.CommAbort(comm->handle);
		otp_free(comm);
		return NULL;
	}
	pthread_mutex_lock(&watcher.lock);
	watcher.comms[place_of(NULL)] = comm;
	pthread_mutex_unlock(&watcher.lock);
	start_watching();
	return comm;
}

void otp_comm_close(otp_comm *comm)
{
	if (!comm)
		return;
	pthread_mutex_lock(&watcher.lock);
	watcher.comms[place_of(comm)] = NULL;
	watcher.stop = true;
	for (int i = 0; i < MOST_COMMS; i++)
		watcher.stop &= !watcher.comms[i];
	bool last = watcher.stop;
	pthread_mutex_unlock(&watcher.lock);
	if (last && watcher.running)
		pthread_join(watcher.thread, NULL);
	watcher.running &= !last;
	NCCL_ISSUE(comm, CommFinalize(comm->handle));
	NCCL_CHECK(CommDestroy(comm->handle));
	otp_free(comm);
}

ncclComm_t otp_comm_handle(const otp_comm *comm) { return comm->handle; }
