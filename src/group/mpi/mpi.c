/* mpi: processes connected by MPI. Compiled once against each MPI that is installed, by its own compiler
 * wrapper.
 *
 * Waiting polls, and sleeps once it takes longer: cores may be shared, and process 0 does some work alone.
 * One thread shows process 0 that its process lives, and the other way round.
 */
#define _POSIX_C_SOURCE 200809L
#include "group/home.h"

#include <mpi.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 30, BEAT_MS = 500, ABORT_S = 5 };

static otp_group_home home;
static MPI_Comm beats = MPI_COMM_NULL;

static void nap(long microseconds)
{
	const struct timespec time = {0, microseconds * 1000};
	nanosleep(&time, NULL);
}

/* A step's messages come soon, a checkpoint of process 0 does not. */
static void rest(int turn)
{
	enum { SPIN = 200, YIELD = 2000 };
	if (turn >= YIELD)
		nap(200);
	else if (turn >= SPIN)
		sched_yield();
}

static void finish(MPI_Request *requests, int count)
{
	int done = 0;
	for (int turn = 0; !done; turn++) {
		MPI_Testall(count, requests, &done, MPI_STATUSES_IGNORE);
		if (!done)
			rest(turn);
	}
}

/* ---- collectives ---- */

static int messages(const otp_piece *pieces, int count)
{
	size_t sum = 0;
	for (int i = 0; i < count; i++)
		sum += (pieces[i].bytes + MOST_BYTES - 1) / MOST_BYTES;
	return (int)sum;
}

static int issue(const otp_piece *p, bool sends, MPI_Request *requests)
{
	int count = 0;
	for (size_t at = 0; at < p->bytes; at += MOST_BYTES) {
		int bytes = (int)(p->bytes - at < MOST_BYTES ? p->bytes - at : MOST_BYTES);
		char *memory = (char *)p->memory + at;
		if (sends)
			MPI_Isend(memory, bytes, MPI_BYTE, p->rank, 0, MPI_COMM_WORLD, &requests[count++]);
		else
			MPI_Irecv(memory, bytes, MPI_BYTE, p->rank, 0, MPI_COMM_WORLD, &requests[count++]);
	}
	return count;
}

static void exchange(const otp_piece *send, int sends, const otp_piece *receive, int receives)
{
	int count = messages(send, sends) + messages(receive, receives), issued = 0;
	MPI_Request *requests = malloc(((size_t)count + 1) * sizeof *requests);
	if (!requests)
		home.abort(1);
	for (int i = 0; i < receives; i++)
		issued += issue(&receive[i], false, requests + issued);
	for (int i = 0; i < sends; i++)
		issued += issue(&send[i], true, requests + issued);
	finish(requests, issued);
	free(requests);
}

static void all_gather(void *memory, const size_t *at)
{
	int *counts = malloc(2 * (size_t)home.size * sizeof *counts), *places = counts + home.size;
	MPI_Request request;
	if (!counts)
		home.abort(1);
	for (int r = 0; r < home.size; r++) {
		counts[r] = (int)((at[r + 1] - at[r]) / sizeof(uint32_t));
		places[r] = (int)(at[r] / sizeof(uint32_t));
	}
	MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, memory, counts, places, MPI_UINT32_T,
			MPI_COMM_WORLD, &request);
	finish(&request, 1);
	free(counts);
}

static void broadcast(void *memory, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += MOST_BYTES) {
		MPI_Request request;
		MPI_Ibcast((char *)memory + at, (int)(bytes - at < MOST_BYTES ? bytes - at : MOST_BYTES),
			   MPI_BYTE, 0, MPI_COMM_WORLD, &request);
		finish(&request, 1);
	}
}

static void barrier(void)
{
	MPI_Request request;
	MPI_Ibarrier(MPI_COMM_WORLD, &request);
	finish(&request, 1);
}

/* ---- who lives ---- */

static struct {
	pthread_t thread;
	bool running;
	volatile bool stop;
	bool threads; /* the library takes calls from several */
	int seconds;
	void (*lost)(int rank, int seconds);
	double *heard; /* by rank */
	MPI_Request *sent;
} watcher;

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Process 0 watches all, all watch process 0. */
static bool watches(int rank) { return rank != home.rank && (home.rank == 0 || rank == 0); }

/* What a beat says. */
static char lives = 0, all_end = 1;

static void beat(int rank)
{
	int done = 0;
	MPI_Test(&watcher.sent[rank], &done, MPI_STATUS_IGNORE); /* of a null request: done */
	if (done)
		MPI_Isend(&lives, 1, MPI_BYTE, rank, 0, beats, &watcher.sent[rank]);
}

static void listen(void)
{
	int there = 1;
	while (there) {
		MPI_Status status;
		char mark;
		MPI_Iprobe(MPI_ANY_SOURCE, 0, beats, &there, &status);
		if (!there)
			break;
		MPI_Recv(&mark, 1, MPI_BYTE, status.MPI_SOURCE, 0, beats, MPI_STATUS_IGNORE);
		watcher.heard[status.MPI_SOURCE] = now();
		if (mark == all_end)
			home.abort(1);
	}
}

/* The launcher may end the others or not. */
static void give_up(int lost)
{
	watcher.lost(lost, watcher.seconds);
	for (int r = 0; r < home.size; r++)
		if (watches(r) && r != lost)
			MPI_Isend(&all_end, 1, MPI_BYTE, r, 0, beats, &watcher.sent[r]);
	nap(BEAT_MS * 500);
	home.abort(1);
}

/* A process that was itself stopped hears of the others first. */
static void *watch_main(void *unused)
{
	(void)unused;
	for (double before = now(); !watcher.stop; before = now()) {
		for (int r = 0; r < home.size; r++)
			if (watches(r))
				beat(r);
		listen();
		double time = now();
		for (int r = 0; r < home.size; r++) {
			if (watches(r) && time - before > 5 * BEAT_MS * 1e-3)
				watcher.heard[r] = time;
			if (!watches(r) || time - watcher.heard[r] < watcher.seconds)
				continue;
			give_up(r);
		}
		for (int k = 0; k < 10 && !watcher.stop; k++)
			nap(BEAT_MS * 100);
	}
	return NULL;
}

static void watch(int seconds)
{
	sigset_t all, before;
	if (!watcher.threads || watcher.running)
		return;
	MPI_Comm_dup(MPI_COMM_WORLD, &beats);
	watcher.seconds = seconds;
	watcher.heard = malloc((size_t)home.size * sizeof *watcher.heard);
	watcher.sent = malloc((size_t)home.size * sizeof *watcher.sent);
	if (!watcher.heard || !watcher.sent)
		home.abort(1);
	for (int r = 0; r < home.size; r++) {
		watcher.heard[r] = now();
		watcher.sent[r] = MPI_REQUEST_NULL;
	}
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	watcher.running = pthread_create(&watcher.thread, NULL, watch_main, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Every beat that was sent is received: MPI wants it so. */
static void stop_watching(void)
{
	if (!watcher.running)
		return;
	barrier();			  /* process 0 may have minutes of work of its own until here */
	alarm((unsigned)watcher.seconds); /* all is done; who waits for one that died now ends by this */
	watcher.stop = true;
	pthread_join(watcher.thread, NULL);
	barrier();
	nap(1000);
	listen();
	for (int r = 0; r < home.size; r++)
		if (watcher.sent[r] != MPI_REQUEST_NULL)
			finish(&watcher.sent[r], 1);
	MPI_Comm_free(&beats);
	free(watcher.heard);
	free(watcher.sent);
}

/* ---- life ---- */

static void leave(void)
{
	stop_watching();
	MPI_Finalize();
}

static void end_all(int exit_code)
{
	alarm(ABORT_S); /* a launcher that is out of reach ends nobody */
	MPI_Abort(MPI_COMM_WORLD, exit_code);
	abort();
}

const otp_group_home *otp_group_start_home(const otp_group_terms *terms, char *why, size_t why_bytes);
const otp_group_home *otp_group_start_home(const otp_group_terms *terms, char *why, size_t why_bytes)
{
	int given = MPI_THREAD_SINGLE;
	MPI_Comm here;
	if (terms->home_bytes != sizeof home) {
		snprintf(why, why_bytes, "the plugin is of another build");
		return NULL;
	}
	if (MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &given) != MPI_SUCCESS) {
		snprintf(why, why_bytes, "MPI_Init_thread fails");
		return NULL;
	}
	watcher.lost = terms->lost;
	watcher.threads = given == MPI_THREAD_MULTIPLE;
	home = (otp_group_home){.exchange = exchange,
				.all_gather = all_gather,
				.broadcast = broadcast,
				.watch = watch,
				.leave = leave,
				.abort = end_all};
	MPI_Comm_rank(MPI_COMM_WORLD, &home.rank);
	MPI_Comm_size(MPI_COMM_WORLD, &home.size);
	MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, home.rank, MPI_INFO_NULL, &here);
	MPI_Comm_size(here, &home.neighbours);
	MPI_Comm_rank(here, &home.local);
	MPI_Comm_free(&here);
	return &home;
}
