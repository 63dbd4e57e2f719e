#include "cuda/ring.h"

enum { ALIGN = 64 };

static void next_slice(otp_ring *r)
{
	r->mark(r->context, r->current);
	r->current = (r->current + 1) % r->slices;
	r->await(r->context, r->current);
	r->used = 0;
}

void *otp_ring_take(otp_ring *r, size_t *bytes)
{
	size_t left = r->slice_bytes - r->used;
	if (left == 0 || (*bytes > left && *bytes <= r->slice_bytes))
		next_slice(r);
	left = r->slice_bytes - r->used;
	if (*bytes > left)
		*bytes = left;
	char *piece = r->memory + (size_t)r->current * r->slice_bytes + r->used;
	r->used += otp_round_up(*bytes, ALIGN);
	if (r->used > r->slice_bytes)
		r->used = r->slice_bytes;
	return piece;
}
