/* compile: plans whose kernels cuDNN compiles, a second or more each, built side by side before the calls of
 * a program are bound. Threads share nothing of cuDNN's: each has a handle, and what it made comes back as
 * text, of which binding builds the plan, as it does of one that an earlier start kept. */
#ifndef OTP_CUDA_COMPILE_H
#define OTP_CUDA_COMPILE_H

#include "cuda/dnn.h"

typedef struct otp_compile_job otp_compile_job;
/* What is to be compiled for a device; {device} at first. */
typedef struct otp_compile_list {
	otp_device *device;
	otp_compile_job *jobs;
	int count;
} otp_compile_list;

/* One that binding will ask for; not added where its text is there, or nobody wants it. */
void otp_compile_add_conv(otp_compile_list *list, const otp_dnn_conv *conv);
void otp_compile_add_attention(otp_compile_list *list, const otp_dnn_attention *attention);
/* What a call may ask for: conv.c, dnn_attention.c. */
void otp_conv_foresee(otp_compile_list *list, const otp_call *call);
void otp_flash_foresee(otp_compile_list *list, const otp_call *call);
/* Compiles them and empties the list. What cannot be compiled here is left to binding, which says why. */
void otp_compile_all(otp_compile_list *list);

#endif
