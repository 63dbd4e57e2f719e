/* nccl.c: stands in for NCCL, over processes on one machine. What is sent waits in a file that they share, in
 * the folder for temporary files; a collective is so many sendings, and a reduction adds in a ring's order,
 * as NCCL's does.
 *
 * A call is work of its stream. As a real device goes on without its host, a thread runs what another process
 * waits for. What NCCL leaves undefined ends the program: processes whose calls, counts or types differ,
 * memory that is not the device's, communicators that are left.
 *
 * Communicators do not block: whoever calls has to ask, some times, until what was begun is done; nothing is
 * issued before, and no other call may come between.
 *
 *   OTPLAN_FAKE_SILENT  1: NCCL notices nothing of a process that ended, as over NVLink
 *   OTPLAN_FAKE_ABSENT  the process of this number never comes to the others
 */
#include "fake_device/fake.h"

#include <errno.h>
#include <fcntl.h>
#include <nccl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

enum { MOST_RANKS = 8, BOX_BYTES = 1 << 16, MOST_OPS = 256, PATH = 120 };

/* One process's next bytes for another. */
typedef struct box {
	_Atomic int full;
	int bytes;
	char memory[BOX_BYTES];
} box;

/* The head of what is sent, so that the receiver sees that both mean the same. */
typedef struct head {
	int kind, type, root;
	size_t bytes;
} head;

/* What the processes share: zero when the file is made. */
typedef struct room {
	_Atomic int come;
	_Atomic int pids[MOST_RANKS];
	_Atomic long waits[MOST_RANKS]; /* the number of the collective that a process is in; 0: in none */
	struct {
		_Atomic long number;
		head head; /* of its first call */
	} newest[MOST_RANKS];
	box boxes[MOST_RANKS][MOST_RANKS]; /* from, to */
} room;

struct ncclComm {
	room *room;
	char path[PATH];
	int rank, size;
	_Atomic long begun; /* collectives whose turn has come */
	_Atomic bool aborted, failed, leaves, there;
	pthread_t caller, helper;
	_Atomic int asked; /* how often, since something was begun; DONE: nothing is */
	bool finalized;
};
enum { DONE = 3 };

static void nap(void)
{
	const struct timespec moment = {0, 100000};
	nanosleep(&moment, NULL);
}

/* ---- calls ---- */

typedef enum kind { REDUCE_SCATTER, REDUCE, ALL_GATHER, BROADCAST, SEND, RECV } kind;
static const char *const KINDS[] = {"ncclReduceScatter", "ncclReduce", "ncclAllGather",
				    "ncclBroadcast",	 "ncclSend",   "ncclRecv"};

typedef struct op {
	kind kind;
	const char *from;
	char *to;
	size_t bytes; /* of a process's part, or of all where there are no parts */
	ncclDataType_t type;
	int peer; /* or root */
} op;

/* Calls between ncclGroupStart and ncclGroupEnd: one piece of work. */
typedef struct group {
	ncclComm_t comm;
	cudaStream_t stream;
	op ops[MOST_OPS];
	int count;
} group;

static _Thread_local group pending;
static _Thread_local int depth;

static size_t size_of(ncclDataType_t type) { return type == ncclFloat ? 4 : type == ncclBfloat16 ? 2 : 1; }

/* ---- sending ---- */

/* Whether the process is there; of one that is not NCCL notices it, or waits for ever. */
static bool lives(ncclComm_t c, int rank)
{
	if (kill(c->room->pids[rank], 0) == 0 || errno != ESRCH)
		return true;
	if (!getenv("OTPLAN_FAKE_SILENT"))
		c->failed = true;
	return false;
}

static bool given_up(ncclComm_t c, int peer, int *turn)
{
	if (++*turn % 64 == 0)
		nap();
	if (*turn % 4096 == 0)
		lives(c, peer);
	return c->aborted;
}

static head head_of(const op *o)
{
	int between = o->kind == RECV ? SEND : (int)o->kind;
	return (head){between, (int)o->type, between == SEND ? -1 : o->peer, o->bytes};
}

static void check_head(ncclComm_t c, int from, const op *mine, const void *theirs)
{
	head a = head_of(mine), b;
	memcpy(&b, theirs, sizeof b);
	if (a.kind != b.kind || a.type != b.type || a.root != b.root || a.bytes != b.bytes)
		otp_fake_forbid(
		    "process %d calls %s of %zu bytes, type %d, root %d; process %d %s of %zu, type %d, root "
		    "%d",
		    c->rank, KINDS[a.kind], a.bytes, a.type, a.root, from, KINDS[b.kind], b.bytes, b.type,
		    b.root);
}

/* One way between two processes: its head, then its bytes. */
typedef struct way {
	const op *op;
	bool sends;
	int peer;
	char *memory;
	size_t bytes, at;
	bool headed;
} way;

static bool is_done(const way *w) { return w->headed && w->at == w->bytes; }

/* What can be done now without waiting. */
static void advance(ncclComm_t c, way *w)
{
	box *b = w->sends ? &c->room->boxes[c->rank][w->peer] : &c->room->boxes[w->peer][c->rank];
	if (is_done(w) || (b->full != 0) == w->sends)
		return;
	size_t left = w->bytes - w->at, piece = left < BOX_BYTES ? left : BOX_BYTES;
	if (!w->headed) {
		head h = head_of(w->op);
		if (w->sends)
			memcpy(b->memory, &h, sizeof h);
		else
			check_head(c, w->peer, w->op, b->memory);
		w->headed = true;
	} else {
		memcpy(w->sends ? b->memory : w->memory + w->at, w->sends ? w->memory + w->at : b->memory,
		       piece);
		w->at += piece;
	}
	b->full = w->sends;
}

/* Ways between the same two processes go one after the other. */
static void advance_all(ncclComm_t c, way *ways, int count)
{
	bool busy[2][MOST_RANKS] = {{false}};
	for (int i = 0; i < count; i++) {
		way *w = &ways[i];
		if (!busy[w->sends][w->peer])
			advance(c, w);
		busy[w->sends][w->peer] |= !is_done(w);
	}
}

static void run_ways(ncclComm_t c, way *ways, int count)
{
	int turn = 0;
	for (int done = 0; done < count;) {
		advance_all(c, ways, count);
		while (done < count && is_done(&ways[done]))
			done++;
		if (done < count && given_up(c, ways[done].peer, &turn))
			return;
	}
}

/* ---- collectives as ways ---- */

typedef struct plan {
	way ways[MOST_RANKS * MOST_OPS * 2];
	int count;
	char *parts[MOST_OPS]; /* of a reduction: what the others sent, by op, `size` of them */
} plan;

static void add(plan *p, const op *o, bool sends, int peer, const char *memory)
{
	p->ways[p->count++] = (way){o, sends, peer, (char *)memory, o->bytes, 0, false};
}

/* This process adds up what all give: their parts come side by side. */
static void plan_sum(plan *p, ncclComm_t c, int index, const op *o)
{
	p->parts[index] = otp_calloc((size_t)c->size, o->bytes);
	for (int r = 0; r < c->size; r++)
		if (r != c->rank)
			add(p, o, false, r, p->parts[index] + (size_t)r * o->bytes);
}

static void plan_op(plan *p, ncclComm_t c, int index, const op *o)
{
	bool roots = c->rank == o->peer;
	if (o->kind == SEND || o->kind == RECV)
		add(p, o, o->kind == SEND, o->peer, o->kind == SEND ? o->from : o->to);
	if (o->kind == REDUCE_SCATTER || (o->kind == REDUCE && roots))
		plan_sum(p, c, index, o);
	if (o->kind == REDUCE && !roots)
		add(p, o, true, o->peer, o->from);
	if (o->kind == BROADCAST && !roots)
		add(p, o, false, o->peer, o->to);
	for (int r = 0; r < c->size; r++) {
		if (r == c->rank)
			continue;
		if (o->kind == REDUCE_SCATTER)
			add(p, o, true, r, o->from + (size_t)r * o->bytes);
		if (o->kind == ALL_GATHER)
			add(p, o, true, r, o->from);
		if (o->kind == ALL_GATHER)
			add(p, o, false, r, o->to + (size_t)r * o->bytes);
		if (o->kind == BROADCAST && roots)
			add(p, o, true, r, o->from);
	}
}

/* From the process behind this one around the ring, this one last. */
static void add_up(ncclComm_t c, const op *o, char *parts)
{
	const char *mine = o->kind == REDUCE_SCATTER ? o->from + (size_t)c->rank * o->bytes : o->from;
	size_t count = o->bytes / sizeof(float);
	memcpy(parts + (size_t)c->rank * o->bytes, mine, o->bytes);
	for (size_t i = 0; i < count; i++) {
		float sum = ((float *)(parts + (size_t)((c->rank + 1) % c->size) * o->bytes))[i];
		for (int k = 2; k <= c->size; k++)
			sum += ((float *)(parts + (size_t)((c->rank + k) % c->size) * o->bytes))[i];
		((float *)o->to)[i] = sum;
	}
}

static void settle(ncclComm_t c, const op *o, char *parts)
{
	if (parts && !c->aborted)
		add_up(c, o, parts);
	otp_free(parts);
	if (o->kind == ALL_GATHER)
		memmove(o->to + (size_t)c->rank * o->bytes, o->from, o->bytes);
	if (o->kind == BROADCAST && c->rank == o->peer)
		memmove(o->to, o->from, o->bytes);
}

/* Whoever comes later sees whether the others are in the same one. */
static void begin_collective(ncclComm_t c, const op *first)
{
	long number = ++c->begun;
	c->room->newest[c->rank].head = head_of(first);
	c->room->newest[c->rank].number = number;
	for (int r = 0; r < c->size; r++)
		if (c->room->newest[r].number == number)
			check_head(c, r, first, &c->room->newest[r].head);
	c->room->waits[c->rank] = number;
}

static void run_group(void *argument)
{
	group *g = argument;
	ncclComm_t c = g->comm;
	plan *p = otp_calloc(1, sizeof *p);
	if (g->ops[0].kind != SEND && g->ops[0].kind != RECV)
		begin_collective(c, &g->ops[0]);
	for (int i = 0; i < g->count; i++)
		plan_op(p, c, i, &g->ops[i]);
	run_ways(c, p->ways, p->count);
	for (int i = 0; i < g->count; i++)
		settle(c, &g->ops[i], p->parts[i]);
	c->room->waits[c->rank] = 0;
	otp_free(p);
}

/* ---- the device goes on without its host ---- */

static bool is_awaited(ncclComm_t c)
{
	for (int r = 0; r < c->size; r++)
		if (c->room->waits[r] > c->begun)
			return true;
	return false;
}

/* As much as another process waits for here, if it was issued. */
static void *help(void *argument)
{
	ncclComm_t c = argument;
	for (; !c->leaves && !c->aborted; nap())
		while (is_awaited(c) && otp_fake_work_once())
			;
	return NULL;
}

/* ---- issuing ---- */

static void check_settled(ncclComm_t c)
{
	if (c->asked < DONE)
		otp_fake_forbid("NCCL is called while what it began before is in progress");
}

static ncclResult_t begin(ncclComm_t c)
{
	check_settled(c);
	c->asked = 0;
	c->caller = pthread_self();
	return ncclInProgress;
}

static ncclResult_t issue(void)
{
	static bool loaded; /* connections are made by the first call of all */
	group *kept = otp_calloc(1, sizeof *kept);
	*kept = pending;
	pending.count = 0;
	otp_fake_work work = {"a call of NCCL's", run_group, otp_free, kept,
			      (float)OTP_FAKE_MICROSECONDS / 1000};
	return otp_fake_issue(kept->stream, work, &loaded) ? ncclSuccess : ncclUnhandledCudaError;
}

static void check_memory(const op *o, const void *memory, size_t parts)
{
	if (!otp_fake_on_device(memory, o->bytes * parts))
		otp_fake_forbid("%s is given %p, which is not %zu bytes of device memory", KINDS[o->kind],
				memory, o->bytes * parts);
}

static ncclResult_t take(ncclComm_t c, cudaStream_t stream, op o, size_t from_parts, size_t to_parts)
{
	if (o.from)
		check_memory(&o, o.from, from_parts);
	if (o.to)
		check_memory(&o, o.to, to_parts);
	if (!o.bytes || o.peer >= c->size)
		return ncclInvalidArgument;
	if (pending.count && (pending.comm != c || pending.stream != stream))
		otp_fake_forbid("a group of NCCL's calls is over two communicators or streams");
	OTP_ASSERT(pending.count < MOST_OPS, "fake device: too many of NCCL's calls at once");
	check_settled(c);
	pending.comm = c;
	pending.stream = stream;
	pending.ops[pending.count++] = o;
	return depth ? ncclSuccess : begin(c);
}

/* The header's have no prototype. */
ncclResult_t ncclGroupStart(void);
ncclResult_t ncclGroupEnd(void);

EXPORTED ncclResult_t ncclGroupStart(void)
{
	depth++;
	return ncclSuccess;
}

EXPORTED ncclResult_t ncclGroupEnd(void)
{
	OTP_FAKE_CALL;
	if (depth == 0)
		return ncclInvalidUsage;
	if (--depth > 0 || !pending.count)
		return ncclSuccess;
	if (!call.refused)
		return begin(pending.comm);
	pending.count = 0;
	return ncclInternalError;
}

EXPORTED ncclResult_t ncclReduceScatter(const void *from, void *to, size_t count, ncclDataType_t type,
					ncclRedOp_t how, ncclComm_t c, cudaStream_t stream)
{
	OTP_FAKE_CALL;
	op o = {REDUCE_SCATTER, from, to, count * size_of(type), type, 0};
	if (call.refused || type != ncclFloat || how != ncclSum)
		return ncclInvalidArgument;
	return take(c, stream, o, (size_t)c->size, 1);
}

EXPORTED ncclResult_t ncclReduce(const void *from, void *to, size_t count, ncclDataType_t type,
				 ncclRedOp_t how, int root, ncclComm_t c, cudaStream_t stream)
{
	OTP_FAKE_CALL;
	op o = {REDUCE, from, to, count * size_of(type), type, root};
	if (call.refused || type != ncclFloat || how != ncclSum)
		return ncclInvalidArgument;
	return take(c, stream, o, 1, 1);
}

EXPORTED ncclResult_t ncclAllGather(const void *from, void *to, size_t count, ncclDataType_t type,
				    ncclComm_t c, cudaStream_t stream)
{
	OTP_FAKE_CALL;
	op o = {ALL_GATHER, from, to, count * size_of(type), type, 0};
	return call.refused ? ncclInternalError : take(c, stream, o, 1, (size_t)c->size);
}

EXPORTED ncclResult_t ncclBroadcast(const void *from, void *to, size_t count, ncclDataType_t type, int root,
				    ncclComm_t c, cudaStream_t stream)
{
	OTP_FAKE_CALL;
	op o = {BROADCAST, from, to, count * size_of(type), type, root};
	return call.refused ? ncclInternalError : take(c, stream, o, 1, 1);
}

EXPORTED ncclResult_t ncclSend(const void *from, size_t count, ncclDataType_t type, int peer, ncclComm_t c,
			       cudaStream_t stream)
{
	OTP_FAKE_CALL;
	op o = {SEND, from, NULL, count * size_of(type), type, peer};
	return call.refused ? ncclInternalError : take(c, stream, o, 1, 1);
}

EXPORTED ncclResult_t ncclRecv(void *to, size_t count, ncclDataType_t type, int peer, ncclComm_t c,
			       cudaStream_t stream)
{
	OTP_FAKE_CALL;
	op o = {RECV, NULL, to, count * size_of(type), type, peer};
	return call.refused ? ncclInternalError : take(c, stream, o, 1, 1);
}

/* ---- communicators ---- */

EXPORTED const char *ncclGetErrorString(ncclResult_t status)
{
	static _Thread_local char text[48];
	if (status == ncclRemoteError)
		return "remote process exited or there was a network error";
	snprintf(text, sizeof text, "error %d of the made-up NCCL", (int)status);
	return text;
}

EXPORTED ncclResult_t ncclGetVersion(int *version)
{
	*version = NCCL_VERSION_CODE;
	return ncclSuccess;
}

/* The id is the file's path. */
EXPORTED ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
	OTP_FAKE_CALL;
	const char *folder = getenv("TMPDIR");
	memset(id, 0, sizeof *id);
	int length = snprintf(id->internal, PATH, "%s/fake-nccl-XXXXXX", folder ? folder : "/tmp");
	int file = length < PATH && !call.refused ? mkstemp(id->internal) : -1;
	if (file < 0)
		return ncclSystemError;
	bool good = ftruncate(file, (off_t)sizeof(room)) == 0;
	close(file);
	return good ? ncclSuccess : ncclSystemError;
}

static room *enter(const char *path)
{
	int file = open(path, O_RDWR | O_CLOEXEC);
	if (file < 0)
		return NULL;
	room *r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	return r == MAP_FAILED ? NULL : r;
}

static bool may_begin(void)
{
	otp_fake_call call __attribute__((cleanup(otp_fake_leave))) =
	    otp_fake_enter("ncclCommInitRankConfig");
	if (!call.refused)
		otp_fake_count(OTP_FAKE_COMMUNICATOR, 1);
	return !call.refused;
}

static bool is_absent(int rank)
{
	const char *absent = getenv("OTPLAN_FAKE_ABSENT");
	return absent && atoi(absent) == rank;
}

EXPORTED ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int size, ncclUniqueId id, int rank,
					     ncclConfig_t *config)
{
	OTP_ASSERT(config->blocking == 0, "fake device: a communicator that blocks is not imitated");
	if (size > MOST_RANKS || rank < 0 || rank >= size || !may_begin()) {
		unlink(id.internal);
		return ncclInvalidArgument;
	}
	ncclComm_t c = otp_calloc(1, sizeof *c);
	snprintf(c->path, sizeof c->path, "%.*s", PATH - 1, id.internal);
	c->room = enter(c->path);
	c->rank = rank;
	c->size = size;
	c->asked = DONE;
	if (!c->room) {
		otp_free(c);
		return ncclSystemError;
	}
	c->room->pids[rank] = (int)getpid();
	c->room->come += !is_absent(rank);
	*comm = c;
	return ncclInProgress;
}

/* Whether all have come. */
static bool has_met(ncclComm_t c)
{
	if (c->there || c->room->come < c->size)
		return c->there;
	if (c->rank == 0)
		unlink(c->path);
	OTP_ASSERT(pthread_create(&c->helper, NULL, help, c) == 0, "fake device: no thread");
	c->there = true;
	return true;
}

static void finish(void)
{
	OTP_FAKE_CALL;
	otp_fake_finish_all();
	otp_fake_count(OTP_FAKE_COMMUNICATOR, -1);
}

EXPORTED ncclResult_t ncclCommFinalize(ncclComm_t c)
{
	c->finalized = true;
	return begin(c);
}

EXPORTED ncclResult_t ncclCommDestroy(ncclComm_t c)
{
	check_settled(c);
	OTP_ASSERT(c->finalized, "fake device: a communicator is destroyed before it is finalized");
	finish();
	c->leaves = true;
	pthread_join(c->helper, NULL);
	munmap(c->room, sizeof *c->room);
	otp_free(c);
	return ncclSuccess;
}

/* What waits returns. */
EXPORTED ncclResult_t ncclCommAbort(ncclComm_t c)
{
	c->aborted = true;
	if (!c->there)
		unlink(c->path);
	return ncclSuccess;
}

/* Once more of what the calling thread began; then it is issued. */
static ncclResult_t go_on(ncclComm_t c)
{
	if (!pthread_equal(c->caller, pthread_self()))
		return ncclInProgress;
	if (c->asked + 1 < DONE) {
		c->asked++;
		return ncclInProgress;
	}
	OTP_FAKE_CALL;
	ncclResult_t status = pending.count ? issue() : ncclSuccess;
	c->asked = DONE;
	return status;
}

/* Without the lock, unless there is something to be issued: whoever has it may wait for another process. */
EXPORTED ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *state)
{
	if (c->failed)
		*state = ncclRemoteError;
	else if (!has_met(c))
		*state = ncclInProgress;
	else
		*state = c->asked < DONE ? go_on(c) : ncclSuccess;
	return ncclSuccess;
}
