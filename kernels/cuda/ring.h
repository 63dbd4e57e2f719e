/* ring: the pinned host memory that transfers pass through, cut into slices.
 * Whoever issues a transfer goes on at once: a slice is waited for only when the
 * ring has come round to it and the device has not read it yet. Knows nothing of
 * CUDA: how the end of a slice is marked in the stream, and awaited, it is told.
 */
#ifndef OTP_CUDA_RING_H
#define OTP_CUDA_RING_H

#include "core/base.h"

typedef struct otp_ring {
	char *memory; /* slices * slice_bytes */
	size_t slice_bytes;
	int slices;
	/* Mark everything issued so far as the last that reads the slice; wait until the last mark of a
	 * slice is reached, not at all where there is none. */
	void (*mark)(void *context, int slice);
	void (*await)(void *context, int slice);
	void *context;
	int current;
	size_t used; /* bytes of the current slice */
} otp_ring;

/* Memory for the next piece of a transfer of which *bytes are left; *bytes becomes the piece's. What is
 * issued to read it must be issued before the next call. A transfer that fits into a slice is one piece. */
void *otp_ring_take(otp_ring *r, size_t *bytes);

#endif
