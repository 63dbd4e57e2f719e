/* structure.c (cpu): ops that only move elements. Along an axis a tensor is
 * `outer` blocks of (extent along the axis) * `inner` neighbouring elements. */
#include "cpu/cpu.h"

#include <string.h>

static size_t bytes_of(otp_shape s) { return (size_t)otp_shape_count(s) * 4; }

OTP_CPU_KERNEL(copy) { memcpy(call->out.data, call->in[0].data, bytes_of(call->out.shape)); }

/* Planned to share its input's memory, and then never called. */
OTP_CPU_KERNEL(reshape) { memmove(call->out.data, call->in[0].data, bytes_of(call->out.shape)); }

/* Bytes of one block: everything from the axis inwards. */
static size_t block_bytes(otp_shape s, otp_axis axis)
{
	const int extent[4] = {s.n, s.h, s.w, s.c};
	size_t bytes = 4;
	for (int d = 3; d >= (int)axis; d--)
		bytes *= (size_t)extent[d];
	return bytes;
}

/* Bytes of one entry along the axis. */
static size_t entry_bytes(otp_shape s, otp_axis axis)
{
	return axis == OTP_AXIS_C ? 4 : block_bytes(s, (otp_axis)(axis + 1));
}

static void copy_blocks(char *dst, size_t dst_step, const char *src, size_t src_step, size_t bytes,
			size_t blocks)
{
	for (size_t i = 0; i < blocks; i++)
		memcpy(dst + i * dst_step, src + i * src_step, bytes);
}

OTP_CPU_KERNEL(concat)
{
	otp_axis axis = call->attr.axis.axis;
	size_t a = block_bytes(call->in[0].shape, axis), b = block_bytes(call->in[1].shape, axis);
	size_t blocks = bytes_of(call->out.shape) / (a + b);
	if (!call->in[0].step) /* else it is there */
		copy_blocks(call->out.data, a + b, call->in[0].data, a, a, blocks);
	if (!call->in[1].step)
		copy_blocks((char *)call->out.data + a, a + b, call->in[1].data, b, b, blocks);
}

OTP_CPU_KERNEL(slice)
{
	otp_axis axis = call->attr.slice.axis;
	size_t from = block_bytes(call->in[0].shape, axis), to = block_bytes(call->out.shape, axis);
	size_t skip = (size_t)call->attr.slice.begin * entry_bytes(call->out.shape, axis);
	copy_blocks(call->out.data, to, (const char *)call->in[0].data + skip, from, to,
		    bytes_of(call->out.shape) / to);
}

OTP_CPU_KERNEL(pad)
{
	otp_axis axis = call->attr.slice.axis;
	size_t from = block_bytes(call->in[0].shape, axis), to = block_bytes(call->out.shape, axis);
	size_t skip = (size_t)call->attr.slice.begin * entry_bytes(call->out.shape, axis);
	memset(call->out.data, 0, bytes_of(call->out.shape));
	copy_blocks((char *)call->out.data + skip, to, call->in[0].data, from, from,
		    bytes_of(call->out.shape) / to);
}
