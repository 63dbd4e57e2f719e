#include "cuda/link.h"
#include "cuda/comm.h"

#include <stdio.h>
#include <string.h>

struct otp_link {
	otp_comm *comm;
	int process, processes;
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
		      otp_error *err)
{
	if (!otp_nccl_load(err))
		return false;
	otp_device_enter(d);
	otp_comm *comm = otp_comm_open(id, process, processes, err);
	otp_device_leave(d);
	if (!comm)
		return false;
	d->link = otp_calloc(1, sizeof *d->link);
	*d->link = (otp_link){comm, process, processes};
	return true;
}

void otp_link_close(otp_device *d)
{
	if (d->link)
		otp_comm_close(d->link->comm);
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
	NCCL_CHECK(GroupEnd());
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
	NCCL_CHECK(GroupEnd());
}
