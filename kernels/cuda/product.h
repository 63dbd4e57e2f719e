/* product: matrix products as steps of a kernel. cuBLASLt computes them
 * (matmul.c); the tests' shim has plain loops in its place, so that what is made
 * of products runs there too. */
#ifndef OTP_CUDA_PRODUCT_H
#define OTP_CUDA_PRODUCT_H

#include "graph/op.h"

/* `batch` row-major matrices one behind the other, rows `step` elements apart. */
typedef struct otp_matrices {
	otp_type type;
	int64_t batch;
	int rows, columns, step;
	uint32_t alignment; /* of the first element, in bytes */
} otp_matrices;

typedef struct otp_product otp_product;

/* y = op(a) op(b); a and b are of one type, bfloat16 or float32, y of either if they are bfloat16. */
otp_product *otp_product_new(otp_device *device, const otp_matrices *a, bool ta, const otp_matrices *b,
			     bool tb, const otp_matrices *y, otp_precision precision);
void otp_product_free(otp_product *p);
size_t otp_product_workspace(const otp_product *p); /* bytes */
/* Asynchronous in the call's stream. */
void otp_product_run(const otp_call *call, const otp_product *p, const void *a, const void *b, void *y,
		     void *workspace);

/* The largest power of two, up to 64, that divides an address: arenas and scratch lie at multiples of 64. */
static inline uint32_t otp_alignment_of(uintptr_t address)
{
	uint32_t alignment = 64;
	while (address % alignment)
		alignment /= 2;
	return alignment;
}

#endif
