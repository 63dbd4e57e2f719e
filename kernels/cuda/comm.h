/* comm: NCCL's communicators. Its library is loaded when processes are first connected: one process alone
 * needs none of it. A thread looks for errors that NCCL notices by itself; then the program ends, with a
 * line.
 */
#ifndef OTP_CUDA_COMM_H
#define OTP_CUDA_COMM_H

#include "cuda/device.h"

#include <nccl.h>

#define OTP_NCCL_CALLS(X)                                                                                    \
	X(GetErrorString)                                                                                    \
	X(GetVersion)                                                                                        \
	X(GetUniqueId)                                                                                       \
	X(CommInitRank)                                                                                      \
	X(CommDestroy)                                                                                       \
	X(CommAbort)                                                                                         \
	X(CommGetAsyncError)                                                                                 \
	X(GroupStart)                                                                                        \
	X(GroupEnd)                                                                                          \
	X(ReduceScatter) X(Reduce) X(AllGather) X(Broadcast) X(Send) X(Recv)

typedef struct otp_nccl {
#define X(name) __typeof__(&nccl##name) name;
	OTP_NCCL_CALLS(X)
#undef X
} otp_nccl;

/* After a load that succeeded. */
extern otp_nccl otp_nccl_calls;
bool otp_nccl_load(otp_error *err);

typedef struct otp_comm otp_comm;
/* Of so many processes, all of which do this with the same id, each on the device that is current. NULL and
 * an error where NCCL refuses. */
otp_comm *otp_comm_open(const char id[OTP_LINK_ID_BYTES], int rank, int size, otp_error *err);
void otp_comm_close(otp_comm *comm);
ncclComm_t otp_comm_handle(const otp_comm *comm);
/* All are given up, so that no process waits for them; then the program may end. */
void otp_comm_abort_all(void);
/* After a wait for the device: never returns where what was waited for was given up. */
void otp_comm_heed(void);

static inline void nccl_check(ncclResult_t status, const char *statement, const char *file, int line)
{
	if (status != ncclSuccess)
		otp_cuda_refused("nccl", otp_nccl_calls.GetErrorString(status), false, statement, file, line);
}
#define NCCL_CHECK(statement) nccl_check(otp_nccl_calls.statement, "nccl" #statement, __FILE__, __LINE__)

#endif
