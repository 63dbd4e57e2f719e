/* ref: the oracle. Every op as the loop its meaning describes, in double, with
 * no thought of speed. Used by tests only.
 *
 * Every element of every type is held as a double, so that finite differences
 * have sixteen digits to work with.
 */
#ifndef OTP_REF_H
#define OTP_REF_H

#include "graph/op.h"

extern const otp_backend otp_ref_backend;

#define OP(name, inputs, attribute, in_place, meaning) extern const otp_kernel otp_ref_##name;
#include "graph/ops.def"
#undef OP

/* Doubles into and out of ref's memory, past the float of upload and download. */
void otp_ref_poke(void *dst, const double *src, int64_t count);
void otp_ref_peek(double *dst, const void *src, int64_t count);

/* ---- for the kernels ---- */

/* Define a kernel: the block that follows is its run function. */
#define OTP_REF_KERNEL(name)                                                                                 \
	static void run_##name(const otp_call *call);                                                        \
	const otp_kernel otp_ref_##name = {.run = run_##name};                                               \
	static void run_##name(const otp_call *call)

/* The next index of a shape in memory order; past the last, i.n == s.n. */
static inline otp_shape otp_ref_next(otp_shape i, otp_shape s)
{
	if (++i.c < s.c)
		return i;
	i.c = 0;
	if (++i.w < s.w)
		return i;
	i.w = 0;
	if (++i.h < s.h)
		return i;
	i.h = 0;
	i.n++;
	return i;
}

#define OTP_REF_EACH(i, s) for (otp_shape i = {0, 0, 0, 0}; i.n < (s).n; i = otp_ref_next(i, s))

/* The element at an index; a dimension of length 1 stands for any index. */
static inline double *otp_ref_at(const otp_tensor *t, otp_shape i)
{
	otp_shape s = t->shape;
	int64_t n = s.n == 1 ? 0 : i.n, h = s.h == 1 ? 0 : i.h, w = s.w == 1 ? 0 : i.w,
		c = s.c == 1 ? 0 : i.c;
	return (double *)t->data + ((n * s.h + h) * s.w + w) * otp_row_step(t) + c;
}

static inline int *otp_ref_along(otp_shape *i, otp_axis axis)
{
	return axis == OTP_AXIS_N ? &i->n : axis == OTP_AXIS_H ? &i->h : axis == OTP_AXIS_W ? &i->w : &i->c;
}

static inline void otp_ref_zero(const otp_tensor *t)
{
	OTP_REF_EACH (i, t->shape)
		*otp_ref_at(t, i) = 0;
}

#endif
