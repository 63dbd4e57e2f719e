/* home.c: processes connected by NCCL alone, started as torchrun starts them. What is on the host passes
 * through memory of the device, some megabytes at a time: reports, checkpoints, agreements; a step's
 * gradients never come here (link.c).
 */
#include "cuda/comm.h"
#include "cuda/meeting.h"
#include "group/home.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STAGE_BYTES = 4 << 20, ALIGN = 64 };

static struct {
	otp_group_home home;
	int device;
	cudaStream_t stream;
	otp_comm *comm;
	char *pinned, *memory; /* STAGE_BYTES each, on the host and on the device */
} own;

/* ---- collectives ---- */

/* The device's own work may use another communicator: two that are at work side by side might wait for each
 * other.
 */
static void begin(void)
{
	CUDA_CHECK(cudaSetDevice(own.device));
	CUDA_CHECK(cudaDeviceSynchronize());
	otp_comm_heed();
}

static void finish(void)
{
	CUDA_CHECK(cudaStreamSynchronize(own.stream));
	otp_comm_heed();
}

static void up(size_t at, const void *from, size_t bytes)
{
	if (!bytes)
		return;
	memcpy(own.pinned + at, from, bytes);
	CUDA_CHECK(
	    cudaMemcpyAsync(own.memory + at, own.pinned + at, bytes, cudaMemcpyHostToDevice, own.stream));
}

static void down(size_t at, size_t bytes)
{
	if (bytes)
		CUDA_CHECK(cudaMemcpyAsync(own.pinned + at, own.memory + at, bytes, cudaMemcpyDeviceToHost,
					   own.stream));
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static void broadcast(void *memory, size_t bytes)
{
	ncclComm_t comm = otp_comm_handle(own.comm);
	begin();
	for (size_t at = 0; at < bytes; at += STAGE_BYTES) {
		size_t piece = least(bytes - at, STAGE_BYTES);
		if (own.home.rank == 0)
			up(0, (char *)memory + at, piece);
		NCCL_ISSUE(own.comm, Broadcast(own.memory, own.memory, piece, ncclChar, 0, comm, own.stream));
		if (own.home.rank != 0)
			down(0, piece);
		finish();
		if (own.home.rank != 0)
			memcpy((char *)memory + at, own.pinned, piece);
	}
}

/* Bytes of process r from `from` on, of which a round takes `slot`. */
static size_t piece_of(const size_t *at, int r, size_t from, size_t slot)
{
	size_t bytes = at[r + 1] - at[r];
	return from < bytes ? least(bytes - from, slot) : 0;
}

/* Process r's place in the stage is r * slot. */
static void gather_round(char *memory, const size_t *at, size_t from, size_t slot)
{
	ncclComm_t comm = otp_comm_handle(own.comm);
	int rank = own.home.rank, size = own.home.size;
	up((size_t)rank * slot, memory + at[rank] + from, piece_of(at, rank, from, slot));
	NCCL_CHECK(GroupStart());
	for (int r = 0; r < size; r++) {
		char *place = own.memory + (size_t)r * slot;
		size_t bytes = piece_of(at, r, from, slot);
		if (bytes)
			NCCL_CHECK(Broadcast(place, place, bytes, ncclChar, r, comm, own.stream));
	}
	NCCL_ISSUE(own.comm, GroupEnd());
	for (int r = 0; r < size; r++)
		if (r != rank)
			down((size_t)r * slot, piece_of(at, r, from, slot));
	finish();
	for (int r = 0; r < size; r++)
		if (r != rank)
			memcpy(memory + at[r] + from, own.pinned + (size_t)r * slot,
			       piece_of(at, r, from, slot));
}

static void all_gather(void *memory, const size_t *at)
{
	OTP_ASSERT(own.home.size > 0, "processes before there are any");
	size_t slot = STAGE_BYTES / (size_t)own.home.size / ALIGN * ALIGN, most = 0;
	for (int r = 0; r < own.home.size; r++)
		most = at[r + 1] - at[r] > most ? at[r + 1] - at[r] : most;
	begin();
	for (size_t from = 0; from < most; from += slot)
		gather_round(memory, at, from, slot);
}

static void send_piece(const otp_piece *p)
{
	for (size_t at = 0, bytes; at < p->bytes; at += bytes) {
		bytes = least(p->bytes - at, STAGE_BYTES);
		up(0, (char *)p->memory + at, bytes);
		NCCL_ISSUE(own.comm,
			   Send(own.memory, bytes, ncclChar, p->rank, otp_comm_handle(own.comm), own.stream));
		finish();
	}
}

static void receive_piece(const otp_piece *p)
{
	for (size_t at = 0, bytes; at < p->bytes; at += bytes) {
		bytes = least(p->bytes - at, STAGE_BYTES);
		NCCL_ISSUE(own.comm,
			   Recv(own.memory, bytes, ncclChar, p->rank, otp_comm_handle(own.comm), own.stream));
		down(0, bytes);
		finish();
		memcpy((char *)p->memory + at, own.pinned, bytes);
	}
}

/* One after another: between process 0 and the others, who need not wait for each other. */
static void exchange(const otp_piece *send, int sends, const otp_piece *receive, int receives)
{
	OTP_ASSERT(!sends || !receives, "processes on GPUs send or receive, not both at once");
	begin();
	for (int i = 0; i < sends; i++)
		send_piece(&send[i]);
	for (int i = 0; i < receives; i++)
		receive_piece(&receive[i]);
}

/* ---- life ---- */

static void watch(int seconds) { otp_meeting_set_seconds(seconds); }

static void close_all(void)
{
	otp_comm_close(own.comm);
	CUDA_CHECK(cudaFree(own.memory));
	CUDA_CHECK(cudaFreeHost(own.pinned));
	CUDA_CHECK(cudaStreamDestroy(own.stream));
}

static void barrier(void)
{
	begin();
	NCCL_ISSUE(own.comm, AllGather(own.memory + (size_t)own.home.rank * ALIGN, own.memory, ALIGN,
				       ncclChar, otp_comm_handle(own.comm), own.stream));
	finish();
}

static void leave(void)
{
	barrier();
	otp_meeting_part();
	close_all();
}

static void end_all(int exit_code)
{
	otp_meeting_break();
	otp_comm_abort_all();
	_exit(exit_code);
}

/* ---- starting ---- */

static bool read_number(const char *variable, int least_value, int *value, char *why, size_t why_bytes)
{
	const char *text = getenv(variable);
	char *end = NULL;
	long number = text ? strtol(text, &end, 10) : 0;
	if (!text || end == text || *end || number < least_value || number > 1 << 24) {
		snprintf(why, why_bytes,
			 "%s is %s, expected a number: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and "
			 "MASTER_PORT say who starts with whom",
			 variable, text ? text : "not set");
		return false;
	}
	*value = (int)number;
	return true;
}

/* torchrun itself holds its port, and says so: ours is the next. */
static int port_beside(int port)
{
	const char *held = getenv("TORCHELASTIC_USE_AGENT_STORE");
	return held && strcmp(held, "True") == 0 ? port + 1 : port;
}

static bool read_variables(otp_meeting *m, char *why, size_t bytes)
{
	m->address = getenv("MASTER_ADDR");
	if (!read_number("RANK", 0, &m->rank, why, bytes) ||
	    !read_number("WORLD_SIZE", 1, &m->size, why, bytes) ||
	    !read_number("LOCAL_RANK", 0, &own.home.local, why, bytes) ||
	    !read_number("MASTER_PORT", 1, &m->port, why, bytes))
		return false;
	if (!m->address || !*m->address) {
		snprintf(why, bytes, "MASTER_ADDR is not set: the address of process 0");
		return false;
	}
	if (m->rank >= m->size) {
		snprintf(why, bytes, "RANK is %d of WORLD_SIZE %d processes", m->rank, m->size);
		return false;
	}
	if (m->size > STAGE_BYTES / ALIGN) {
		snprintf(why, bytes, "WORLD_SIZE is %d, at most %d can be connected", m->size,
			 STAGE_BYTES / ALIGN);
		return false;
	}
	m->port = port_beside(m->port);
	own.home.neighbours = 1;
	char unused[256];
	read_number("LOCAL_WORLD_SIZE", 1, &own.home.neighbours, unused, sizeof unused);
	return true;
}

/* The GPU of the local rank; the only one, where the launcher shows each process its own. */
static bool take_device(otp_error *err)
{
	int count = 0;
	cudaError_t status = cudaGetDeviceCount(&count);
	if (status != cudaSuccess || count == 0)
		return otp_fail_machine(err, "cuda", "no NVIDIA GPU: %s", cudaGetErrorString(status));
	own.device = count == 1 ? 0 : own.home.local;
	if (own.device >= count)
		return otp_fail(err, "LOCAL_RANK", "is %d, and this machine has %d GPUs", own.home.local,
				count);
	CUDA_CHECK(cudaSetDevice(own.device));
	CUDA_CHECK(cudaStreamCreateWithFlags(&own.stream, cudaStreamNonBlocking));
	CUDA_CHECK(cudaMalloc((void **)&own.memory, STAGE_BYTES));
	CUDA_CHECK(cudaMallocHost((void **)&own.pinned, STAGE_BYTES));
	return true;
}

static bool connect_all(const otp_meeting *m, otp_error *err)
{
	ncclUniqueId id = {{0}};
	char text[OTP_LINK_ID_BYTES], why[512] = "";
	otp_cuda_note note;
	if (!otp_nccl_load(err))
		return false;
	otp_cuda_start_note(&note);
	bool ok = take_device(err);
	if (!otp_cuda_end_note(&note, err) || !ok)
		return false;
	ncclResult_t status = m->rank == 0 ? otp_nccl_calls.GetUniqueId(&id) : ncclSuccess;
	if (status != ncclSuccess)
		return otp_fail_machine(err, "NCCL", "no id: %s", otp_nccl_calls.GetErrorString(status));
	if (!otp_meeting_begin(m, &id, sizeof id, why, sizeof why))
		return otp_fail_machine(err, "processes", "%s", why);
	memcpy(text, &id, sizeof text);
	own.comm = otp_comm_open(text, m->rank, m->size, m->seconds, err);
	return own.comm != NULL;
}

otp_group_start otp_group_start_home;
__attribute__((visibility("default"))) const otp_group_home *
otp_group_start_home(const otp_group_terms *terms, char *why, size_t why_bytes)
{
	otp_error err = {0};
	otp_meeting m = {.seconds = terms->seconds, .lost = terms->lost, .give_up = otp_comm_abort_all};
	if (terms->home_bytes != sizeof own.home) {
		snprintf(why, why_bytes, "the plugin is of another build");
		return NULL;
	}
	if (!read_variables(&m, why, why_bytes))
		return NULL;
	if (!connect_all(&m, &err)) {
		otp_meeting_break();
		snprintf(why, why_bytes, "%s", err.text);
		return NULL;
	}
	own.home.rank = m.rank;
	own.home.size = m.size;
	own.home.on_gpus = true;
	own.home.exchange = exchange;
	own.home.all_gather = all_gather;
	own.home.broadcast = broadcast;
	own.home.watch = watch;
	own.home.leave = leave;
	own.home.abort = end_all;
	return &own.home;
}
