/* flash: attention, or its adjoint, in kernels that keep the scores to themselves,
 * where cuDNN has some for the call that are right and faster (dnn_attention.c);
 * the tests' shim has none. */
#ifndef OTP_CUDA_FLASH_H
#define OTP_CUDA_FLASH_H

#include "graph/op.h"

typedef struct otp_dnn_plan otp_dnn_plan;

/* A plan for a bound call of `attention` or `attention_grad`, or NULL: `composed` then runs it, in
 * `composed_bytes` of scratch. The device keeps the plan. */
const otp_dnn_plan *otp_flash_plan_for(const otp_call *call, void (*composed)(const otp_call *call),
				       size_t composed_bytes);
size_t otp_flash_scratch(const otp_call *call, const otp_dnn_plan *plan);
/* Asynchronous in the call's stream. */
void otp_flash_run(const otp_call *call, const otp_dnn_plan *plan);

#endif
