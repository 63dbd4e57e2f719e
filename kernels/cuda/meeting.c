#include "cuda/meeting.h"
#include "core/base.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1 << 16, BEAT_MS = 250 };
static const char BEAT = 'b', PART = 'p', BREAK = 'x';

/* What a process says first. */
typedef struct hello {
	char magic[16];
	int32_t rank, size;
} hello;
static const char MAGIC[16] = "otplan meeting1";

static struct {
	otp_meeting terms;
	int *links; /* process 0: by rank; others: to process 0 alone; -1: none */
	bool *parted;
	double *heard;
	pthread_t thread;
	bool running;
	volatile bool stop;
	volatile int seconds;
} own;

static int link_count(void) { return own.terms.rank == 0 ? own.terms.size : 1; }

static bool refuse(char *why, size_t bytes, const char *what)
{
	snprintf(why, bytes, "%s:%d (MASTER_ADDR, MASTER_PORT): %s", own.terms.address, own.terms.port, what);
	return false;
}

static double left(double until)
{
	double rest = until - otp_seconds();
	return rest > 0 ? rest : 0;
}

/* Whether the socket is ready before the time is up. */
static bool await(int socket, short what, double until)
{
	struct pollfd p = {socket, what, 0};
	return poll(&p, 1, (int)(left(until) * 1000)) > 0;
}

static bool receive(int socket, void *memory, size_t bytes, double until)
{
	for (size_t at = 0; at < bytes;) {
		if (!await(socket, POLLIN, until))
			return false;
		ssize_t got = recv(socket, (char *)memory + at, bytes - at, MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
			return false;
		at += got > 0 ? (size_t)got : 0;
	}
	return true;
}

/* What fits into a new connection's buffer. */
static bool give(int socket, const void *memory, size_t bytes)
{
	return send(socket, memory, bytes, MSG_NOSIGNAL) == (ssize_t)bytes;
}

/* ---- coming together ---- */

static struct addrinfo *find_address(char *why, size_t bytes)
{
	char port[16];
	struct addrinfo *list = NULL, hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	snprintf(port, sizeof port, "%d", own.terms.port);
	int code = getaddrinfo(own.terms.address, port, &hints, &list);
	if (code)
		refuse(why, bytes, gai_strerror(code));
	return code ? NULL : list;
}

/* Bound to that address alone: whoever cannot reach it has no business here. */
static int open_door(char *why, size_t bytes)
{
	struct addrinfo *list = find_address(why, bytes);
	int door = -1, yes = 1;
	if (!list)
		return -1;
	for (struct addrinfo *a = list; a && door < 0; a = a->ai_next) {
		door = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (door < 0)
			continue;
		setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
		if (bind(door, a->ai_addr, a->ai_addrlen) == 0 && listen(door, 128) == 0)
			continue;
		refuse(why, bytes, strerror(errno));
		close(door);
		door = -1;
	}
	freeaddrinfo(list);
	return door;
}

static int count_come(void)
{
	int come = 1;
	for (int r = 1; r < own.terms.size; r++)
		come += own.links[r] >= 0;
	return come;
}

static bool tell_missing(char *why, size_t bytes)
{
	char text[160];
	int first = 1;
	while (first < own.terms.size && own.links[first] >= 0)
		first++;
	snprintf(text, sizeof text,
		 "%d of %d processes came in %d seconds; process %d is the first that did not", count_come(),
		 own.terms.size, own.terms.seconds, first);
	return refuse(why, bytes, text);
}

/* Who says nothing of ours is shown out. */
static void welcome(int guest, double until)
{
	hello said;
	double soon = otp_seconds() + 5;
	bool ours = receive(guest, &said, sizeof said, soon < until ? soon : until) &&
		    memcmp(said.magic, MAGIC, sizeof MAGIC) == 0 && said.size == own.terms.size &&
		    said.rank > 0 && said.rank < own.terms.size && own.links[said.rank] < 0;
	if (ours)
		own.links[said.rank] = guest;
	else
		close(guest);
}

static bool receive_all(const void *words, size_t words_bytes, char *why, size_t bytes)
{
	double until = otp_seconds() + own.terms.seconds;
	int door = open_door(why, bytes);
	if (door < 0)
		return false;
	while (count_come() < own.terms.size && await(door, POLLIN, until)) {
		int guest = accept4(door, NULL, NULL, SOCK_CLOEXEC);
		if (guest >= 0)
			welcome(guest, until);
	}
	close(door);
	if (count_come() < own.terms.size)
		return tell_missing(why, bytes);
	for (int r = 1; r < own.terms.size; r++)
		if (!give(own.links[r], words, words_bytes))
			return refuse(why, bytes, strerror(errno));
	return true;
}

static bool try_visit(const struct addrinfo *list, void *words, size_t words_bytes, double until)
{
	hello said = {.rank = own.terms.rank, .size = own.terms.size};
	memcpy(said.magic, MAGIC, sizeof MAGIC);
	for (const struct addrinfo *a = list; a; a = a->ai_next) {
		int link = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (link >= 0 && connect(link, a->ai_addr, a->ai_addrlen) == 0 &&
		    give(link, &said, sizeof said) && receive(link, words, words_bytes, until)) {
			own.links[0] = link;
			return true;
		}
		if (link >= 0)
			close(link);
	}
	return false;
}

/* Process 0 may come later. */
static bool visit(void *words, size_t words_bytes, char *why, size_t bytes)
{
	const struct timespec moment = {0, 100000000};
	double until = otp_seconds() + own.terms.seconds;
	struct addrinfo *list = find_address(why, bytes);
	if (!list)
		return false;
	bool met = false;
	while (!(met = try_visit(list, words, words_bytes, until)) && left(until) > 0)
		nanosleep(&moment, NULL);
	freeaddrinfo(list);
	return met || refuse(why, bytes, "process 0 does not answer there, or not all processes came");
}

/* ---- who lives ---- */

static void tell_all(char word)
{
	for (int i = 0; i < link_count(); i++)
		if (own.links[i] >= 0)
			send(own.links[i], &word, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static OTP_NORETURN void end(void)
{
	tell_all(BREAK);
	own.terms.give_up();
	_exit(OTP_EXIT_FAILED);
}

static void lose(int link, int seconds)
{
	own.terms.lost(own.terms.rank == 0 ? link : 0, seconds);
	end();
}

/* All that has come of one process. */
static void listen_to(int i, double before)
{
	enum { AT_ONCE = 64 };
	char words[AT_ONCE];
	double now = otp_seconds();
	ssize_t got = recv(own.links[i], words, sizeof words, MSG_DONTWAIT);
	bool silent = got < 0 && (errno == EAGAIN || errno == EINTR);
	for (ssize_t k = 0; k < got; k++) {
		if (words[k] == BREAK) /* whoever knows why has said it */
			end();
		own.parted[i] |= words[k] == PART;
	}
	if (got > 0 ||
	    now - before > 5 * BEAT_MS * 1e-3) /* who was stopped itself hears of the others first */
		own.heard[i] = now;
	if (own.parted[i])
		return;
	if (!silent && got <= 0)
		lose(i, 0);
	if (now - own.heard[i] > own.seconds)
		lose(i, own.seconds);
}

static void *watch(void *unused)
{
	const struct timespec pause = {0, BEAT_MS * 1000000L};
	(void)unused;
	for (double before = otp_seconds(); !own.stop; before = otp_seconds()) {
		nanosleep(&pause, NULL);
		tell_all(BEAT);
		for (int i = 0; i < link_count(); i++)
			if (own.links[i] >= 0)
				listen_to(i, before);
	}
	return NULL;
}

static bool start_watching(void)
{
	sigset_t all, before;
	for (int i = 0; i < link_count(); i++)
		own.heard[i] = otp_seconds();
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	own.running = pthread_create(&own.thread, NULL, watch, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return own.running;
}

static void close_links(void)
{
	for (int i = 0; i < link_count(); i++)
		if (own.links[i] >= 0)
			close(own.links[i]);
	otp_free(own.links);
	otp_free(own.parted);
	otp_free(own.heard);
}

bool otp_meeting_begin(const otp_meeting *meeting, void *words, size_t bytes, char *why, size_t why_bytes)
{
	own.terms = *meeting;
	own.seconds = meeting->seconds;
	size_t links = (size_t)link_count();
	own.links = otp_calloc(links, sizeof *own.links);
	own.parted = otp_calloc(links, sizeof *own.parted);
	own.heard = otp_calloc(links, sizeof *own.heard);
	memset(own.links, 0xff, links * sizeof *own.links); /* -1 */
	bool met = meeting->rank == 0 ? receive_all(words, bytes, why, why_bytes)
				      : visit(words, bytes, why, why_bytes);
	if (met && start_watching())
		return true;
	if (met)
		snprintf(why, why_bytes, "no thread can be started");
	close_links();
	return false;
}

void otp_meeting_set_seconds(int seconds) { own.seconds = seconds; }

void otp_meeting_part(void)
{
	if (!own.running)
		return;
	tell_all(PART);
	own.stop = true;
	pthread_join(own.thread, NULL);
	own.running = false;
	/* Whoever closes with words unread resets the connection, and the other may not get the last one. */
	double until = otp_seconds() + 5;
	for (int i = 0; i < link_count(); i++)
		for (char word = BEAT; own.links[i] >= 0 && !own.parted[i] && word == BEAT;)
			if (!receive(own.links[i], &word, 1, until))
				break;
	close_links();
}

void otp_meeting_break(void)
{
	if (own.running)
		tell_all(BREAK);
}
