/* fake_device: stands in for the CUDA runtime, cuDNN's graph interface and
 * cuBLASLt, so that the host code of kernels/cuda runs unmodified where there is
 * no GPU; its kernels run on the shim. It shows whether that code is right, never
 * how fast anything is: its clock is made up.
 *
 * Work is put off to the latest moment that CUDA allows; device memory starts as
 * NaN and is out of the host's reach; what CUDA forbids ends the program with
 * OTP_FAKE_EXIT and a line, what CUDA refuses is refused.
 *
 *   OTPLAN_FAKE_ORDER    late (as late as may be), early (at once), a seed: now and then, or stream:N: that
 * of the N-th stream to be made at once (from 0 on), all else as late as may be OTPLAN_FAKE_FAIL NAME:N[,...]
 * refuses the N-th call of a function; NAME:N+ those after it, too. Beside functions: launch, of kernels;
 * captured, any work in a capture; plan, building one; compile, building one that is compiled; text, building
 * one of its text. OTPLAN_FAKE_MEMORY   bytes of device memory; 4 GB OTPLAN_FAKE_SLOW     1: what is compiled
 * takes long, so that it is not chosen OTPLAN_FAKE_WORKSPACE  bytes that engines on tensor cores want; 5000
 */
#ifndef OTP_FAKE_H
#define OTP_FAKE_H

#include "core/base.h"
#include "cuda/later.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>

enum { OTP_FAKE_EXIT = 99 };

/* What CUDA leaves undefined. */
OTP_NORETURN void otp_fake_forbid(const char *fmt, ...) OTP_PRINTF(1, 2);

/* ---- calls: ledger.c ---- */

/* One call at a time is inside; it leaves when the variable goes. */
typedef struct otp_fake_call {
	bool refused; /* as OTPLAN_FAKE_FAIL asks */
} otp_fake_call;
otp_fake_call otp_fake_enter(const char *function);
void otp_fake_leave(otp_fake_call *call);
#define OTP_FAKE_CALL                                                                                        \
	otp_fake_call call __attribute__((unused, cleanup(otp_fake_leave))) = otp_fake_enter(__func__)

/* Whether OTPLAN_FAKE_FAIL asks that this one be refused; counts it. */
bool otp_fake_refuses(const char *name);
/* The status, for cudaGetLastError too. */
cudaError_t otp_fake_fail(cudaError_t status);

typedef enum otp_fake_kind {
	OTP_FAKE_MEMORY,
	OTP_FAKE_PINNED,
	OTP_FAKE_STREAM,
	OTP_FAKE_EVENT,
	OTP_FAKE_GRAPH,
	OTP_FAKE_EXECUTABLE,
	OTP_FAKE_DNN,
	OTP_FAKE_DESCRIPTOR,
	OTP_FAKE_BLAS,
	OTP_FAKE_MATRIX,
	OTP_FAKE_COMMUNICATOR,
	OTP_FAKE_KINDS
} otp_fake_kind;
/* What is made and not destroyed when a program ends well makes it end with OTP_FAKE_EXIT. */
void otp_fake_count(otp_fake_kind kind, int change);

/* ---- memory.c ---- */

/* The host may reach the memory between the two. */
void otp_fake_open_memory(const char *what);
void otp_fake_close_memory(void);
/* Whether all of it is device memory that was allocated; pinned memory. */
bool otp_fake_on_device(const void *memory, size_t bytes);
bool otp_fake_is_pinned(const void *memory, size_t bytes);
/* No word of the arguments of a kernel may be an address of the host's memory. */
void otp_fake_check_arguments(const char *kernel, const void *arguments, size_t bytes);

/* ---- work and streams: stream.c ---- */

/* run(argument) when it is time, release(argument) when nothing will run it again. */
typedef struct otp_fake_work {
	const char *what;
	void (*run)(void *argument);
	void (*release)(void *argument);
	void *argument;
	float taken_ms; /* made up */
} otp_fake_work;
enum { OTP_FAKE_MICROSECONDS = 10 }; /* a launch */

/* Launches of kernels, plans and products so far, in captures too, by all threads; what the plugin of the
 * fake device exports beside its backend. */
long otp_fake_launches(void);
/* One more. */
void otp_fake_count_launch(void);

/* False, and the work released, where it is refused. `loaded` becomes true; false in a capture breaks that:
 * what is loaded when it is first used must be used outside of captures first. */
bool otp_fake_issue(cudaStream_t stream, otp_fake_work work, bool *loaded);
/* Whether a call that no capture allows breaks one: that of `stream`, or any of the calling thread's (NULL).
 */
bool otp_fake_breaks_capture(cudaStream_t stream);
/* All that was issued runs. */
void otp_fake_finish_all(void);
/* One piece of it; false where there is none. Not within a call. */
bool otp_fake_work_once(void);

/* ---- operation graphs of cuDNN's: program.c ---- */

typedef struct otp_fake_tensor {
	bool exists, between, by_value;
	int64_t id, size[4], step[4];
	cudnnDataType_t type;
} otp_fake_tensor;

/* What an operation reads and writes; of attention Y is the result and KEPT its statistics. */
typedef enum otp_fake_slot {
	OTP_FAKE_X,
	OTP_FAKE_SECOND,
	OTP_FAKE_THIRD,
	OTP_FAKE_SCALE,
	OTP_FAKE_Y,
	OTP_FAKE_KEPT,
	OTP_FAKE_SLOTS
} otp_fake_slot;

typedef struct otp_fake_operation {
	cudnnBackendDescriptorType_t type;
	otp_fake_tensor slot[OTP_FAKE_SLOTS];
	cudnnPointwiseMode_t mode;
	double slope;
	int64_t pad[2], stride[2];
} otp_fake_operation;

enum { OTP_FAKE_MOST_OPERATIONS = 24, OTP_FAKE_MOST_BOUND = 32 };

typedef struct otp_fake_program {
	int users, count;
	otp_fake_operation operations[OTP_FAKE_MOST_OPERATIONS];
} otp_fake_program;

/* How an engine is unlike plain loops in double. */
typedef struct otp_fake_engine {
	bool tensor_cores; /* rounds float32 operands to TF32 */
	bool varies;	   /* in the last bit, from run to run */
	bool compiled;
	int64_t index, knob; /* which one, with which adjustment */
} otp_fake_engine;

typedef struct otp_fake_binding {
	int64_t id;
	void *memory;
	float value; /* of what is given by value */
} otp_fake_binding;

/* A program on its operands. */
typedef struct otp_fake_run {
	otp_fake_program *program;
	otp_fake_engine engine;
	otp_fake_binding bound[OTP_FAKE_MOST_BOUND];
	int count;
	void *workspace;
	size_t workspace_bytes;
} otp_fake_run;

/* False where an operand is missing, misaligned or not on the device, or a result overlaps what is read.
 * Reads what is given by value. */
bool otp_fake_run_bind(otp_fake_run *run);
void otp_fake_run_execute(void *run);
void otp_fake_program_release(otp_fake_program *program);
/* As tensor cores round float32 operands: to nearest, ten bits after the point. */
double otp_fake_to_tf32(double value);

#endif
