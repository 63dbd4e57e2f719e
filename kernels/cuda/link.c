#include "cuda/link.h"
#include "cuda/comm.h"

#include <stdio.h>
#include <string.h>

struct otp_link {
	otp_comm *comm;
	int process, processes;
	cudaStream_t side;	  /* of sums that begin early */
	cudaEvent_t begin, ended; /* as far as the device's stream has come; as far as `side` has */
};

bool otp_link_make_id(char id[OTP_LINK_ID_BYTES], otp_error *err)
{
	ncclUniqueId unique;
	if (!otp_nccl_load(err))
		return false;
	ncclResult_t status = otp_nccl_calls.GetUniqueId(&unique);
	if (status != ncclSuccess)
		return otp_fail_machine(err, "NCCL", "no id: %s", otp_nccl_calls.GetErrorString(status));
	memcpy(id, &unique, sizeof unique);
	return true;
}

bool otp_link_connect(otp_device *d, const char id[OTP_LINK_ID_BYTES], int process, int processes,
		      int seconds, otp_error *err)
{
	if (!otp_nccl_load(err))
		return false;
	otp_device_enter(d);
	otp_comm *comm = otp_comm_open(id, process, processes, seconds, err);
	if (comm) {
		otp_link *l = d->link = otp_calloc(1, sizeof *d->link);
		*l = (otp_link){.comm = comm, .process = process, .processes = processes};
		CUDA_CHECK(cudaStreamCreateWithFlags(&l->side, cudaStreamNonBlocking));
		CUDA_CHECK(cudaEventCreateWithFlags(&l->begin, cudaEventDisableTiming));
		CUDA_CHECK(cudaEventCreateWithFlags(&l->ended, cudaEventDisableTiming));
	}
	otp_device_leave(d);
	return comm != NULL;
}

void otp_link_close(otp_device *d)
{
	if (!d->link)
		return;
	otp_comm_close(d->link->comm);
	CUDA_CHECK(cudaEventDestroy(d->link->begin));
	CUDA_CHECK(cudaEventDestroy(d->link->ended));
	CUDA_CHECK(cudaStreamDestroy(d->link->side));
	otp_free(d->link);
	d->link = NULL;
}

void otp_link_heed(void) { otp_comm_heed(); }

void otp_link_describe(char *text, size_t bytes)
{
	int version = 0;
	otp_error ignored = {0};
	*text = '\0';
	if (otp_nccl_load(&ignored) && otp_nccl_calls.GetVersion(&version) == ncclSuccess)
		snprintf(text, bytes, ", NCCL %d.%d.%d", version / 10000, version / 100 % 100, version % 100);
}

/* ---- the two ops ---- */

/* The process's own columns are [process * each, ...), `each` of them; the last process has the `rest` behind
 * all these too. */
typedef struct deal {
	float *row;
	size_t each, rest;
	otp_comm *comm;
	cudaStream_t stream;
	int process, last;
} deal;

static deal deal_of(const otp_call *call)
{
	const otp_link *l = call->device->link;
	size_t count = (size_t)otp_shape_count(call->out.shape), each = (size_t)call->attr.deal.each;
	return (deal){call->out.data,
		      each,
		      count - each * (size_t)l->processes,
		      l->comm,
		      call->device->stream,
		      l->process,
		      l->processes - 1};
}

static float *own_columns(const deal *d) { return d->row + d->each * (size_t)d->process; }
static float *rest(const deal *d) { return d->row + d->each * (size_t)(d->last + 1); }

void otp_link_sum(const otp_call *call)
{
	if (!call->device->link)
		return;
	deal d = deal_of(call);
	ncclComm_t comm = otp_comm_handle(d.comm);
	NCCL_CHECK(GroupStart());
	if (d.each)
		NCCL_CHECK(ReduceScatter(d.row, own_columns(&d), d.each, ncclFloat, ncclSum, comm, d.stream));
	if (d.rest)
		NCCL_CHECK(Reduce(rest(&d), rest(&d), d.rest, ncclFloat, ncclSum, d.last, comm, d.stream));
	NCCL_ISSUE(d.comm, GroupEnd());
}

/* Every owner's part of the columns to that owner. */
static void sum_columns(const deal *d, int64_t begin, int64_t end, cudaStream_t stream)
{
	for (int64_t at = begin, stop; at < end; at = stop) {
		int owner =
		    d->each && at / (int64_t)d->each < d->last ? (int)(at / (int64_t)d->each) : d->last;
		stop = (int64_t)d->each * (owner + 1);
		stop = owner < d->last && stop < end ? stop : end;
		NCCL_CHECK(Reduce(d->row + at, d->row + at, (size_t)(stop - at), ncclFloat, ncclSum, owner,
				  otp_comm_handle(d->comm), stream));
	}
}

void otp_link_begin_sum(const otp_call *call, const otp_buckets *buckets, int bucket)
{
	const otp_link *l = call->device->link;
	deal d = deal_of(call);
	CUDA_CHECK(cudaEventRecord(l->begin, d.stream));
	CUDA_CHECK(cudaStreamWaitEvent(l->side, l->begin, 0));
	NCCL_CHECK(GroupStart());
	for (int i = 0; i < buckets->count; i++)
		if (buckets->columns[i].bucket == bucket)
			sum_columns(&d, buckets->columns[i].begin, buckets->columns[i].end, l->side);
	NCCL_ISSUE(d.comm, GroupEnd());
}

void otp_link_end_sums(const otp_call *call)
{
	const otp_link *l = call->device->link;
	CUDA_CHECK(cudaEventRecord(l->ended, l->side));
	CUDA_CHECK(cudaStreamWaitEvent(call->device->stream, l->ended, 0));
}

void otp_link_spread(const otp_call *call)
{
	if (!call->device->link)
		return;
	deal d = deal_of(call);
	ncclComm_t comm = otp_comm_handle(d.comm);
	NCCL_CHECK(GroupStart());
	if (d.each)
		NCCL_CHECK(AllGather(own_columns(&d), d.row, d.each, ncclFloat, comm, d.stream));
	if (d.rest)
		NCCL_CHECK(Broadcast(rest(&d), rest(&d), d.rest, ncclFloat, d.last, comm, d.stream));
	NCCL_ISSUE(d.comm, GroupEnd());
}
