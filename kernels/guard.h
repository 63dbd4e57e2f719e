/* guard: what a gradient's norm decides, for host and device, in double (_d, used by ref) and float (_f).
 *
 * A guard is OTP_GUARD_HEAD values and, for each kind of step, a row: how many norms it has seen (from
 * 2 OTP_GUARD_KEPT on it counts from OTP_GUARD_KEPT again), and the last OTP_GUARD_KEPT of them. A norm that
 * is not finite, or larger than so many times the median of these, stops it for good: it keeps the norm, its
 * bound and the slot. Of 15 norms the median follows a gradient that grows for eight steps, so that it tells
 * a jump from growth; healthy runs stayed below 12 times it, and jumps of runs that broke were above 100.
 * Before there are OTP_GUARD_LEAST norms there is no such bound: a potential begins without a slope, and
 * where source and target are alike its first gradients are next to nothing.
 */
#ifndef OTP_GUARD_H
#define OTP_GUARD_H

#include "graph/op.h"

#include <float.h>

#define OTP_GUARD_FORMULAS(T, S)                                                                             \
	/* Whether the i-th of a row's norms, from 1 on, is the median: of two the lower. */                 \
	static inline OTP_HD bool otp_guard_is_median##S(const T *row, int i)                                \
	{                                                                                                    \
		int count = row[0] < OTP_GUARD_KEPT ? (int)row[0] : OTP_GUARD_KEPT, before = 0;              \
		for (int k = 1; k <= count; k++)                                                             \
			before += row[k] < row[i] || (row[k] == row[i] && k < i);                            \
		return i <= count && before == (count - 1) / 2;                                              \
	}                                                                                                    \
	/* median: of the row, 0 of an empty one. clip: larger norms are scaled down to it; 0: none. */      \
	static inline OTP_HD void otp_guard_next##S(T *guard, T *row, T norm, T median, T times, T clip,     \
						    T slot)                                                  \
	{                                                                                                    \
		int count = (int)row[0];                                                                     \
		if (guard[OTP_GUARD_STOPPED] != 0)                                                           \
			return;                                                                              \
		guard[OTP_GUARD_NORM] = norm;                                                                \
		T most = count < OTP_GUARD_LEAST ? times * times : times;                                    \
		guard[OTP_GUARD_BOUND] =                                                                     \
		    median > 0 && median < (T)FLT_MAX / most ? most * median : (T)FLT_MAX;                   \
		if (!(norm <= guard[OTP_GUARD_BOUND])) { /* nor is a NaN */                                  \
			guard[OTP_GUARD_STOPPED] = slot + 1;                                                 \
			return;                                                                              \
		}                                                                                            \
		guard[OTP_GUARD_FACTOR] = clip > 0 && norm > clip ? clip / norm : 1;                         \
		row[1 + count % OTP_GUARD_KEPT] = norm;                                                      \
		row[0] = (T)(count + 1 < 2 * OTP_GUARD_KEPT ? count + 1 : OTP_GUARD_KEPT);                   \
	}

OTP_GUARD_FORMULAS(float, _f)
OTP_GUARD_FORMULAS(double, _d)

#undef OTP_GUARD_FORMULAS

#endif
