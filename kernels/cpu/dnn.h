/* dnn: the only door to oneDNN, and the only place that knows which of its
 * two C interfaces (2.x or 3.x) is there.
 *
 * A bound computation holds its primitives, reorders and memory objects, all
 * made before the first run; packed operands and oneDNN's scratchpad lie in
 * the caller's scratch. Runs on the calling thread alone.
 */
#ifndef OTP_DNN_H
#define OTP_DNN_H

#include "graph/op.h"

typedef struct otp_dnn otp_dnn;

/* "oneDNN 3.1.4, AVX-512 ...": its version and the instructions that it uses here. */
void otp_dnn_describe(char *text, size_t bytes);

typedef enum otp_dnn_direction { OTP_DNN_FORWARD, OTP_DNN_DGRAD, OTP_DNN_WGRAD } otp_dnn_direction;

/* y = x * w, or its adjoints: x from y, w from y. Weights are (out, kh, kw, in). */
typedef struct otp_dnn_conv {
	otp_dnn_direction direction;
	otp_shape x, w, y;
	int stride, pad;
	bool bias;    /* forward only */
	float slope;  /* forward only: y > 0 ? y : slope y at the end, 1: nothing */
	bool bf16;    /* bfloat16 operands, float32 result, where the CPU has them */
	bool planned; /* for its scratch alone: no code is generated, and it cannot run */
} otp_dnn_conv;

/* Row-major op(a) op(b), result (m, n), for each of `batch` matrices. */
typedef struct otp_dnn_matmul {
	int64_t batch, m, n, k;
	bool ta, tb;
	bool bf16;    /* bfloat16 operands, float32 result, where the CPU has them */
	bool planned; /* as a convolution's */
} otp_dnn_matmul;

/* Operands in call order: forward x, w[, bias]; dgrad y, w; wgrad x, y. */
otp_dnn *otp_dnn_conv_new(const otp_dnn_conv *conv);
otp_dnn *otp_dnn_matmul_new(const otp_dnn_matmul *product);
void otp_dnn_free(otp_dnn *d);

size_t otp_dnn_scratch_bytes(const otp_dnn *d);
void otp_dnn_run(otp_dnn *d, const otp_tensor *in, void *out, void *scratch);

/* bfloat16 convolutions and products are fast here */
bool otp_dnn_has_bf16(void);

/* Make this thread run oneDNN without helpers; cheap after the first time.
 * Binding does it too: oneDNN plans its work for the threads it sees then. */
void otp_dnn_enter_thread(void);

#endif
