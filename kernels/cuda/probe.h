/* probe: single elements of a convolution or of its adjoints, from first principles. */
#ifndef OTP_CUDA_PROBE_H
#define OTP_CUDA_PROBE_H

#include "graph/op.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum otp_probe_into { OTP_PROBE_Y, OTP_PROBE_X, OTP_PROBE_W } otp_probe_into;

/* The two operands' data are read, of either type; the third's is not. */
typedef struct otp_probe {
	otp_probe_into into;
	otp_tensor x, w, y;
	int stride, pad;
} otp_probe;

/* value[i], of its tensor's type: element i * step of the result; size[i], where wanted: the same of absolute
 * values. */
void otp_cuda_probe(const otp_call *call, const otp_probe *p, int64_t count, int64_t step,
		    const otp_tensor *value, float *size);
/* Uniform in (-1, 1), another sequence for each `which`. */
void otp_cuda_fill(const otp_call *call, float *y, int64_t count, uint32_t which);

#ifdef __cplusplus
}
#endif
#endif
