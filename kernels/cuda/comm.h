/* comm: NCCL's communicators. Its library is loaded when processes are first connected: one process alone
 * needs none of it. A thread looks for errors that NCCL notices by itself; then the program ends, with a
 * line.
 *
 * Communicators do not block: a call may have only begun when it returns, and what it issues into a stream is
 * there when otp_comm_settle returns. So a wait for processes that never come has an end.
 */
#ifndef OTP_CUDA_COMM_H
#define OTP_CUDA_COMM_H

#include "cuda/device.h"

#include <nccl.h>

#define OTP_NCCL_CALLS(X)                                                                                    \
	X(GetErrorString)                                                                                    \
	X(GetVersion)                                                                                        \
	X(GetUniqueId)                                                                                       \
	X(CommInitRankConfig)                                                                                \
	X(CommFinalize)                                                                                      \
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
 * an error where NCCL refuses, or where it has not connected them after so many seconds. */
otp_comm *otp_comm_open(const char id[OTP_LINK_ID_BYTES], int rank, int size, int seconds, otp_error *err);
void otp_comm_close(otp_comm *comm);
ncclComm_t otp_comm_handle(const otp_comm *comm);
/* Returns when what was begun is in its stream. */
void otp_comm_settle(const otp_comm *comm, const char *statement, const char *file, int line);
/* All are given up, so that no process waits for them; then the program may end. */
void otp_comm_abort_all(void);
/* After a wait for the device: never returns where what was waited for was given up. */
void otp_comm_heed(void);

static inline void nccl_check(ncclResult_t status, const char *statement, const char *file, int line)
{
	if (status != ncclSuccess && status != ncclInProgress)
		otp_cuda_refused("nccl", otp_nccl_calls.GetErrorString(status), false, statement, file, line);
}
/* Within a group, and what belongs to no communicator; all else, a group's end too, is issued. */
#define NCCL_CHECK(statement) nccl_check(otp_nccl_calls.statement, "nccl" #statement, __FILE__, __LINE__)
#define NCCL_ISSUE(comm, statement)                                                                          \
	(NCCL_CHECK(statement), otp_comm_settle(comm, "nccl" #statement, __FILE__, __LINE__))

#endif
