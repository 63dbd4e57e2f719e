/* stream.c: streams, events, captures and graphs. Work runs when somebody waits
 * for it, and then only what must have run by then. What was captured out of several streams is launched into
 * as many again, so that nothing but events orders it. */
#include "fake_device/fake.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Work that streams and graphs share. */
typedef struct shared_work {
	otp_fake_work work;
	int users;
	/* A wait instead: for so much of what was ever issued to a stream, or, in a capture, of what was
	 * captured of one, by its lane. */
	bool waits;
	cudaStream_t stream; /* NULL: it is gone, and all it had is done */
	int lane;
	uint64_t ticket;
} shared_work;

typedef struct list {
	shared_work **at;
	size_t count, room;
} list;

struct CUstream_st {
	struct CUstream_st *next; /* of all */
	list queue;
	size_t begun;	       /* of the queue; what is before has run */
	uint64_t issued, done; /* ever */
	double clock_ms;
	int number; /* in the order of making, for OTPLAN_FAKE_ORDER */
	bool capturing, broken;
	pthread_t capturer;
	cudaStream_t origin; /* where the capture began */
	int lane;	     /* of the capture: 0 is where it began */
	list captured;
	uint64_t waited; /* so much of it others wait for */
};

enum { MOST_LANES = 4 };

struct CUevent_st {
	int users; /* its owner, and records that have not run */
	cudaStream_t stream;
	uint64_t ticket; /* work issued to the stream when it was last recorded */
	double reached_ms;
	bool captured;
};

struct CUgraph_st {
	list work[MOST_LANES];
	int numbers[MOST_LANES], lanes;
};
struct CUgraphExec_st {
	list work[MOST_LANES];
	cudaStream_t streams[MOST_LANES]; /* its own, but for the first lane's */
	int lanes;
};

static struct CUstream_st *streams;

/* ---- lists of work ---- */

static void append(list *l, shared_work *w)
{
	if (l->count == l->room) {
		l->room = l->room ? 2 * l->room : 64;
		l->at = otp_realloc(l->at, l->count * sizeof *l->at, l->room * sizeof *l->at);
	}
	w->users++;
	l->at[l->count++] = w;
}

static void drop(shared_work *w)
{
	if (--w->users > 0)
		return;
	if (w->work.release)
		w->work.release(w->work.argument);
	otp_free(w);
}

static void clear(list *l)
{
	for (size_t i = 0; i < l->count; i++)
		drop(l->at[i]);
	otp_free(l->at);
	*l = (list){0};
}

static list copy_of(const list *l)
{
	list copy = {0};
	for (size_t i = 0; i < l->count; i++)
		append(&copy, l->at[i]);
	return copy;
}

/* ---- running ---- */

static void run_until(cudaStream_t s, uint64_t ticket);

static void run_one(cudaStream_t s, shared_work *w)
{
	if (w->waits && w->stream)
		run_until(w->stream, w->ticket);
	if (w->waits)
		return;
	otp_fake_open_memory(w->work.what);
	s->clock_ms += (double)w->work.taken_ms;
	w->work.run(w->work.argument);
}

static void run_until(cudaStream_t s, uint64_t ticket)
{
	if (s->done >= ticket)
		return;
	while (s->done < ticket) {
		shared_work *w = s->queue.at[s->begun++];
		run_one(s, w);
		s->done++;
		drop(w);
	}
	otp_fake_close_memory();
	if (s->begun == s->queue.count)
		s->begun = s->queue.count = 0;
}

static void finish(cudaStream_t s) { run_until(s, s->issued); }

void otp_fake_finish_all(void)
{
	for (cudaStream_t s = streams; s; s = s->next)
		finish(s);
}

bool otp_fake_work_once(void)
{
	OTP_FAKE_CALL;
	cudaStream_t s = streams;
	while (s && s->done == s->issued)
		s = s->next;
	if (s)
		run_until(s, s->done + 1);
	return s != NULL;
}

/* What need not run yet, as OTPLAN_FAKE_ORDER asks. */
static void run_early(cudaStream_t s)
{
	static const char *order;
	static uint64_t random;
	if (!order) {
		order = getenv("OTPLAN_FAKE_ORDER");
		order = order ? order : "late";
		random = strtoull(order, NULL, 10);
	}
	bool swift = strncmp(order, "stream:", 7) == 0 && atoi(order + 7) == s->number;
	if (swift || strcmp(order, "early") == 0)
		finish(s);
	if (!random)
		return;
	random = random * 6364136223846793005u + 1442695040888963407u;
	if ((random >> 33) % 4 == 0)
		run_until(s, s->done + (random >> 40) % (s->issued - s->done + 1));
}

static void enqueue(cudaStream_t s, shared_work *w)
{
	append(&s->queue, w);
	s->issued++;
}

/* ---- captures ---- */

bool otp_fake_breaks_capture(cudaStream_t stream)
{
	bool any = false;
	for (cudaStream_t s = streams; s; s = s->next) {
		if (!s->capturing || (stream ? s != stream : !pthread_equal(s->capturer, pthread_self())))
			continue;
		s->broken = any = true;
	}
	return any;
}

static bool is_forbidden(cudaStream_t s, bool *loaded)
{
	bool late = s->capturing && loaded && !*loaded;
	if (loaded)
		*loaded = true;
	if (!s->capturing)
		return false;
	s->broken |= late || otp_fake_refuses("captured");
	return s->broken;
}

bool otp_fake_issue(cudaStream_t s, otp_fake_work work, bool *loaded)
{
	shared_work *w = otp_calloc(1, sizeof *w);
	*w = (shared_work){work, 1};
	bool forbidden = is_forbidden(s, loaded);
	if (forbidden)
		otp_fake_fail(cudaErrorStreamCaptureInvalidated);
	else if (s->capturing)
		append(&s->captured, w);
	else
		enqueue(s, w);
	drop(w);
	if (!s->capturing)
		run_early(s);
	return !forbidden;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode)
{
	OTP_FAKE_CALL;
	if (call.refused || s->capturing || mode != cudaStreamCaptureModeThreadLocal)
		return otp_fake_fail(cudaErrorStreamCaptureUnsupported);
	s->capturing = true;
	s->broken = false;
	s->capturer = pthread_self();
	s->origin = s;
	s->lane = 0;
	return cudaSuccess;
}

/* The next lane of the capture that `from` is in. */
static void join_capture(cudaStream_t s, cudaStream_t from)
{
	int lanes = 0;
	for (cudaStream_t other = streams; other; other = other->next)
		lanes += other->capturing && other->origin == from->origin;
	OTP_ASSERT(lanes < MOST_LANES, "fake device: a capture of more than %d streams", MOST_LANES);
	s->capturing = true;
	s->broken = from->broken;
	s->capturer = from->capturer;
	s->origin = from->origin;
	s->lane = lanes;
}

/* Takes what was captured; whether all of it is sound, and all streams have come back to the first. */
static cudaError_t end_lane(cudaStream_t s, cudaGraph_t graph)
{
	cudaError_t status = s->broken					? cudaErrorStreamCaptureInvalidated
			     : s->lane && s->waited < s->captured.count ? cudaErrorStreamCaptureUnjoined
									: cudaSuccess;
	graph->work[s->lane] = s->captured;
	graph->numbers[s->lane] = s->number;
	graph->lanes++;
	s->captured = (list){0};
	s->waited = 0;
	s->capturing = false;
	return status;
}

static void clear_lanes(list *work, int lanes)
{
	for (int lane = 0; lane < lanes; lane++)
		clear(&work[lane]);
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph)
{
	OTP_FAKE_CALL;
	*graph = NULL;
	if (!s->capturing || s->origin != s)
		return otp_fake_fail(cudaErrorIllegalState);
	cudaGraph_t made = otp_calloc(1, sizeof *made);
	cudaError_t status = call.refused ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
	for (cudaStream_t lane = streams; lane; lane = lane->next) {
		cudaError_t ended = lane->capturing && lane->origin == s ? end_lane(lane, made) : cudaSuccess;
		status = ended != cudaSuccess ? ended : status;
	}
	if (status != cudaSuccess) {
		clear_lanes(made->work, made->lanes);
		otp_free(made);
		return otp_fake_fail(status);
	}
	*graph = made;
	otp_fake_count(OTP_FAKE_GRAPH, 1);
	return cudaSuccess;
}

static cudaStream_t new_stream(int number)
{
	cudaStream_t s = otp_calloc(1, sizeof *s);
	s->number = number;
	s->next = streams;
	return streams = s;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long flags)
{
	OTP_FAKE_CALL;
	if (call.refused || flags)
		return otp_fake_fail(cudaErrorMemoryAllocation);
	cudaGraphExec_t made = *executable = otp_calloc(1, sizeof *made);
	made->lanes = graph->lanes;
	for (int lane = 0; lane < graph->lanes; lane++) {
		made->work[lane] = copy_of(&graph->work[lane]);
		made->streams[lane] = lane ? new_stream(graph->numbers[lane]) : NULL;
	}
	otp_fake_count(OTP_FAKE_EXECUTABLE, 1);
	return cudaSuccess;
}

/* A captured wait is for what this launch issues to the other lane's stream. */
static void launch_one(cudaStream_t s, shared_work *w, cudaStream_t const *lanes, const uint64_t *begins)
{
	if (!w->waits) {
		enqueue(s, w);
		return;
	}
	shared_work *wait = otp_calloc(1, sizeof *wait);
	*wait = (shared_work){.users = 1, .waits = true, .stream = lanes[w->lane]};
	wait->ticket = begins[w->lane] + w->ticket;
	enqueue(s, wait);
	drop(wait);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t s)
{
	OTP_FAKE_CALL;
	uint64_t begins[MOST_LANES];
	if (call.refused)
		return otp_fake_fail(cudaErrorUnknown);
	if (s->capturing)
		otp_fake_forbid("a graph is launched in a capture");
	executable->streams[0] = s;
	for (int lane = 0; lane < executable->lanes; lane++)
		begins[lane] = executable->streams[lane]->issued;
	for (int lane = 0; lane < executable->lanes; lane++)
		for (size_t i = 0; i < executable->work[lane].count; i++)
			launch_one(executable->streams[lane], executable->work[lane].at[i],
				   executable->streams, begins);
	for (int lane = executable->lanes - 1; lane >= 0; lane--)
		run_early(executable->streams[lane]);
	return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
	OTP_FAKE_CALL;
	clear_lanes(graph->work, graph->lanes);
	otp_free(graph);
	otp_fake_count(OTP_FAKE_GRAPH, -1);
	return otp_fake_fail(call.refused ? cudaErrorUnknown : cudaSuccess);
}

static void free_stream(cudaStream_t s)
{
	finish(s);
	clear(&s->captured);
	otp_free(s->queue.at);
	struct CUstream_st **at = &streams;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	for (cudaStream_t other = streams; other; other = other->next)
		for (size_t i = other->begun; i < other->queue.count; i++)
			if (other->queue.at[i]->stream == s)
				other->queue.at[i]->stream = NULL;
	otp_free(s);
}

/* What was launched of it still runs. */
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable)
{
	OTP_FAKE_CALL;
	clear_lanes(executable->work, executable->lanes);
	for (int lane = 1; lane < executable->lanes; lane++)
		free_stream(executable->streams[lane]);
	otp_free(executable);
	otp_fake_count(OTP_FAKE_EXECUTABLE, -1);
	return otp_fake_fail(call.refused ? cudaErrorUnknown : cudaSuccess);
}

/* ---- streams ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags)
{
	OTP_FAKE_CALL;
	if (call.refused || flags != cudaStreamNonBlocking)
		return otp_fake_fail(cudaErrorInvalidValue);
	static int made;
	*s = new_stream(made++);
	otp_fake_count(OTP_FAKE_STREAM, 1);
	return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
	OTP_FAKE_CALL;
	free_stream(s);
	otp_fake_count(OTP_FAKE_STREAM, -1);
	return otp_fake_fail(call.refused ? cudaErrorUnknown : cudaSuccess);
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
	OTP_FAKE_CALL;
	if (otp_fake_breaks_capture(s))
		return otp_fake_fail(cudaErrorStreamCaptureUnsupported);
	finish(s);
	return otp_fake_fail(call.refused ? cudaErrorUnknown : cudaSuccess);
}

cudaError_t cudaDeviceSynchronize(void)
{
	OTP_FAKE_CALL;
	if (otp_fake_breaks_capture(NULL))
		return otp_fake_fail(cudaErrorStreamCaptureUnsupported);
	otp_fake_finish_all();
	return otp_fake_fail(call.refused ? cudaErrorUnknown : cudaSuccess);
}

/* ---- events ---- */

static void release_event(void *event)
{
	cudaEvent_t e = event;
	if (--e->users == 0)
		otp_free(e);
}

static cudaError_t make_event(cudaEvent_t *e, bool refused)
{
	if (refused)
		return otp_fake_fail(cudaErrorUnknown);
	*e = otp_calloc(1, sizeof **e);
	(*e)->users = 1;
	otp_fake_count(OTP_FAKE_EVENT, 1);
	return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *e)
{
	OTP_FAKE_CALL;
	return make_event(e, call.refused);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags)
{
	OTP_FAKE_CALL;
	return make_event(e, call.refused || flags != cudaEventDisableTiming);
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
	OTP_FAKE_CALL;
	release_event(e);
	otp_fake_count(OTP_FAKE_EVENT, -1);
	return otp_fake_fail(call.refused ? cudaErrorUnknown : cudaSuccess);
}

static void reach_event(void *event)
{
	cudaEvent_t e = event;
	e->reached_ms = e->stream->clock_ms;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
	OTP_FAKE_CALL;
	if (call.refused)
		return otp_fake_fail(cudaErrorUnknown);
	e->users++;
	e->stream = s;
	e->captured = s->capturing;
	e->ticket = (s->capturing ? s->captured.count : s->issued) + 1; /* before: it may run at once */
	otp_fake_work work = {"an event", reach_event, release_event, e, 0};
	return otp_fake_issue(s, work, NULL) ? cudaSuccess : cudaErrorStreamCaptureInvalidated;
}

/* Whether the stream is to leave out its waits, as OTPLAN_FAKE_DEAF asks. */
static bool is_deaf(cudaStream_t s)
{
	const char *deaf = getenv("OTPLAN_FAKE_DEAF");
	return deaf && atoi(deaf) == s->number;
}

/* In a capture: of an event of the same one, whose stream the waiting one joins. */
static cudaError_t wait_captured(cudaStream_t s, cudaEvent_t e)
{
	bool lives = e->captured && e->stream->capturing;
	if (lives && !s->capturing)
		join_capture(s, e->stream);
	if (!lives || s->origin != e->stream->origin) {
		s->broken = true;
		return otp_fake_fail(lives ? cudaErrorStreamCaptureMerge : cudaErrorStreamCaptureIsolation);
	}
	shared_work *w = otp_calloc(1, sizeof *w);
	*w = (shared_work){.users = 1, .waits = true, .lane = e->stream->lane};
	w->ticket = is_deaf(s) ? 0 : e->ticket;
	append(&s->captured, w);
	drop(w);
	if (e->stream->waited < e->ticket && e->stream != s)
		e->stream->waited = e->ticket;
	return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags)
{
	OTP_FAKE_CALL;
	if (call.refused || flags)
		return otp_fake_fail(cudaErrorInvalidValue);
	if (!e->stream) /* one that was never recorded counts as reached */
		return cudaSuccess;
	if (s->capturing || e->captured)
		return wait_captured(s, e);
	if (is_deaf(s))
		return cudaSuccess;
	shared_work *w = otp_calloc(1, sizeof *w);
	*w = (shared_work){.users = 1, .waits = true, .stream = e->stream, .ticket = e->ticket};
	enqueue(s, w);
	drop(w);
	run_early(s);
	return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
	OTP_FAKE_CALL;
	if (e->captured)
		return otp_fake_fail(cudaErrorCapturedEvent);
	if (e->stream) /* one that was never recorded counts as reached */
		run_until(e->stream, e->ticket);
	return otp_fake_fail(call.refused ? cudaErrorUnknown : cudaSuccess);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
	OTP_FAKE_CALL;
	if (call.refused || !start->stream || !end->stream)
		return otp_fake_fail(cudaErrorInvalidValue);
	if (start->stream->done < start->ticket || end->stream->done < end->ticket)
		return otp_fake_fail(cudaErrorNotReady);
	*ms = (float)(end->reached_ms - start->reached_ms);
	return cudaSuccess;
}

/* ---- copies ---- */

typedef struct transfer {
	void *to;
	const void *from; /* NULL: bytes of `value` */
	size_t bytes;
	int value;
} transfer;

static void run_transfer(void *argument)
{
	transfer *t = argument;
	if (t->from)
		memcpy(t->to, t->from, t->bytes);
	else
		memset(t->to, t->value, t->bytes);
}

static cudaError_t issue_transfer(cudaStream_t s, const char *what, transfer t)
{
	transfer *kept = otp_calloc(1, sizeof *kept);
	*kept = t;
	otp_fake_work work = {what, run_transfer, otp_free, kept, (float)OTP_FAKE_MICROSECONDS / 1000};
	return otp_fake_issue(s, work, NULL) ? cudaSuccess : cudaErrorStreamCaptureInvalidated;
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t s)
{
	OTP_FAKE_CALL;
	if (call.refused || !otp_fake_on_device(memory, bytes))
		return otp_fake_fail(cudaErrorInvalidValue);
	return issue_transfer(s, "cudaMemsetAsync", (transfer){memory, NULL, bytes, value});
}

/* From or to memory that is not pinned the call would wait, which the backend promises not to do. */
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
			    cudaStream_t s)
{
	OTP_FAKE_CALL;
	bool up = kind == cudaMemcpyHostToDevice, down = kind == cudaMemcpyDeviceToHost;
	if (call.refused || !(up || down) || !otp_fake_on_device(up ? to : from, bytes))
		return otp_fake_fail(cudaErrorInvalidValue);
	if (!otp_fake_is_pinned(up ? from : to, bytes))
		otp_fake_forbid("cudaMemcpyAsync with memory that is not pinned");
	if (down && !s->capturing)
		memset(to, 0xff, bytes); /* until then it may hold anything */
	return issue_transfer(s, "cudaMemcpyAsync", (transfer){to, from, bytes, 0});
}

/* Of rows, at once: the streams that there are do not wait for it, nor it for them. */
static cudaError_t copy_now(void *to, size_t to_step, const void *from, size_t from_step, size_t bytes,
			    size_t rows, enum cudaMemcpyKind kind)
{
	if (otp_fake_breaks_capture(NULL))
		return otp_fake_fail(cudaErrorStreamCaptureUnsupported);
	if (kind != cudaMemcpyDeviceToHost || !otp_fake_on_device(from, (rows - 1) * from_step + bytes))
		return otp_fake_fail(cudaErrorInvalidValue);
	otp_fake_open_memory("cudaMemcpy");
	for (size_t row = 0; row < rows; row++)
		memcpy((char *)to + row * to_step, (const char *)from + row * from_step, bytes);
	otp_fake_close_memory();
	return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
	OTP_FAKE_CALL;
	if (call.refused)
		return otp_fake_fail(cudaErrorUnknown);
	return copy_now(to, bytes, from, bytes, bytes, 1, kind);
}

cudaError_t cudaMemcpy2D(void *to, size_t to_step, const void *from, size_t from_step, size_t bytes,
			 size_t rows, enum cudaMemcpyKind kind)
{
	OTP_FAKE_CALL;
	if (call.refused || !rows || bytes > to_step || bytes > from_step)
		return otp_fake_fail(cudaErrorInvalidValue);
	return copy_now(to, to_step, from, from_step, bytes, rows, kind);
}
