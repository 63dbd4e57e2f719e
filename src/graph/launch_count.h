/* launch_count: how often the CUDA backend launches something for a call, and what each launch moves, from
 * shapes and types alone. What decides is kernels/launches.h's, and conv.c's, matmul.c's and attention.c's
 * there; a test holds the count against what a fake device is asked for (tests/cuda_launches.c).
 */
#ifndef OTP_LAUNCH_COUNT_H
#define OTP_LAUNCH_COUNT_H

#include "graph/op.h"

/* A launch that moves less takes about as long as one that moves nothing. */
enum { OTP_SMALL_LAUNCH = 1 << 20 /* bytes */ };

typedef struct otp_launches {
	int count, small; /* small: those of count that move less than OTP_SMALL_LAUNCH */
	double bytes;	  /* read and written, each operand of a launch once; without norms' partial sums */
} otp_launches;

/* Adds those of a call to sum. compiled: engines that cuDNN compiles for a shape serve where they are worth
 * it (OTPLAN_CUDA_COMPILED is not 0), and are taken to be the faster ones. */
void otp_launches_add(otp_launches *sum, const otp_call *call, bool compiled);

/* Of the types that the backend stores, for programs that are only listed; it computes nothing. */
extern const otp_backend otp_cuda_on_paper;

#endif
