/* device: one GPU with its stream and library handles, for the host code of
 * kernels/cuda, and the checks around every call into CUDA's libraries: a
 * failing one ends the program with its statement, place, device and memory,
 * or is noted: while a device is opened, a call bound, launches captured. */
#ifndef OTP_CUDA_DEVICE_H
#define OTP_CUDA_DEVICE_H

#include "cuda/cuda.h"
#include "cuda/later.h"
#include "cuda/ring.h"
#include "cuda/voice.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <pthread.h>

typedef struct otp_dnn_plan otp_dnn_plan;
typedef struct otp_dnn_text otp_dnn_text;
typedef struct otp_block otp_block;
typedef struct otp_link otp_link;

/* 32 MB of pinned memory: ten batches of 64 pictures of 64 x 64, or the small inputs of thousands of steps.
 */
enum { OTP_SLICES = 16, OTP_SLICE_BYTES = 2 << 20 };

struct otp_device {
	int index;
	cudaStream_t stream;
	cudnnHandle_t dnn;
	cublasLtHandle_t blas;
	pthread_mutex_t lock;	      /* one thread at a time talks to stream and handles */
	bool narrows;		      /* tensor cores take TF32 and bfloat16: from Ampere on */
	bool captures;		      /* launches become CUDA graphs */
	bool compiles;		      /* engines of cuDNN's that are compiled may serve */
	otp_builds builds;	      /* since the last launch */
	otp_ring ring;		      /* pinned; every transfer passes through it */
	cudaEvent_t read[OTP_SLICES]; /* its slices' marks */
	otp_block *blocks;	      /* of device memory */
	otp_link *link;		      /* with other processes' devices; NULL: none */
	otp_dnn_plan *plans;	      /* of this process, by key */
	char *choices;		      /* the file of plans chosen before, as text */
	char choices_path[1024],
	    plans_path[1024]; /* that file, and the folder of plans; empty: none is kept */
	otp_dnn_text *texts;  /* of plans, as they were kept or compiled */
	double worked;	      /* when something was last timed; 0: never */
	char gpu[256];	      /* its name */
};

/* Make the calling thread's CUDA calls mean this device, alone. */
void otp_device_enter(otp_device *device);
void otp_device_leave(otp_device *device);

/* Unless the calling thread takes notes (cuda.h), this ends the program. */
void otp_cuda_refused(const char *library, const char *why, bool memory, const char *statement,
		      const char *file, int line);
/* Whether the calling thread has noted a failure. */
bool otp_cuda_noted(void);
OTP_NORETURN void otp_cuda_failed(const char *library, const char *why, const char *statement,
				  const char *file, int line);

/* Device memory of the caller's own, for cudaFree; NULL where there is no room. */
void *otp_cuda_try_alloc(size_t bytes);

/* One generator for all libraries: CUDA_CHECK(statement) and its like. */
#define OTP_DEFINE_CHECK(library, type, success, no_memory, explain)                                         \
	static inline void library##_check(type status, const char *statement, const char *file, int line)   \
	{                                                                                                    \
		if (status != success)                                                                       \
			otp_cuda_refused(#library, explain(status), status == no_memory, statement, file,    \
					 line);                                                              \
	}
OTP_DEFINE_CHECK(cuda, cudaError_t, cudaSuccess, cudaErrorMemoryAllocation, cudaGetErrorString)
OTP_DEFINE_CHECK(cudnn, cudnnStatus_t, CUDNN_STATUS_SUCCESS, CUDNN_STATUS_ALLOC_FAILED, cudnnGetErrorString)
OTP_DEFINE_CHECK(cublas, cublasStatus_t, CUBLAS_STATUS_SUCCESS, CUBLAS_STATUS_ALLOC_FAILED,
		 cublasLtGetStatusString)

#define CUDA_CHECK(statement) cuda_check((statement), #statement, __FILE__, __LINE__)
#define CUDNN_CHECK(statement) cudnn_check((statement), #statement, __FILE__, __LINE__)
#define CUBLAS_CHECK(statement) cublas_check((statement), #statement, __FILE__, __LINE__)

/* What failures report. */
void otp_cuda_describe(int index, const char *name);
void otp_cuda_count_memory(int64_t bytes);

#endif
