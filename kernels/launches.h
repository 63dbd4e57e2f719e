/* launches: what decides, from shapes and types alone, in how many launches the
 * CUDA backend computes a call. Its kernels read this, and so does
 * src/graph/launch_count.c, which counts them where there is no device.
 */
#ifndef OTP_LAUNCHES_H
#define OTP_LAUNCHES_H

#include "fold.h"

enum { OTP_THREADS = 256, OTP_WARP = 32, OTP_WARPS = OTP_THREADS / OTP_WARP };

/* Elements a pack, of rows of `row` elements that lie at multiples of 16 bytes: 16 bytes' worth of the
 * narrowest operand, where packs fill the rows. */
static inline int otp_pack_width(unsigned row, bool narrow)
{
	return narrow && row % 8 == 0 ? 8 : row % 4 == 0 ? 4 : 1;
}

static inline unsigned otp_power_of_two_from(unsigned value, unsigned most)
{
	unsigned p = 1;
	while (p < value && p < most)
		p *= 2;
	return p;
}

/* ---- sums: of dimensions 1 and 3 of fold.h's lanes ---- */

/* A thread adds at least ROWS_A_THREAD rows where there are many, and no more than MOST_ROWS: in float. */
enum { OTP_SUM_BLOCKS = 1024, OTP_SUM_ROWS_A_THREAD = 8, OTP_SUM_MOST_ROWS = 64 };
/* Few enough for one thread, whose neighbours read neighbouring columns; for a warp, along what is summed. */
enum { OTP_SHORT_COLUMN = 32, OTP_SHORT_ROW = 512 };

/* Neighbouring threads that make a short sum in one launch, a power of two; else 0. */
static inline unsigned otp_sum_team(const int64_t *count)
{
	int64_t rows = count[1] * count[3];
	if (count[4] > 1)
		return rows <= OTP_SHORT_COLUMN ? 1 : 0;
	return rows <= OTP_SHORT_ROW ? otp_power_of_two_from((unsigned)rows, OTP_WARP) : 0;
}

/* Slices that `rows` rows of `packs` packs are cut into, where `outer` such sums are made at once; a second
 * launch adds the sums of several. */
static inline unsigned otp_sum_slices(unsigned rows, unsigned packs, unsigned outer)
{
	unsigned lanes = otp_power_of_two_from(packs, OTP_WARP), tiles = (packs + lanes - 1) / lanes;
	unsigned passes = (rows + OTP_THREADS / lanes - 1) / (OTP_THREADS / lanes);
	unsigned worth = passes / OTP_SUM_ROWS_A_THREAD, wanted = OTP_SUM_BLOCKS / (outer * tiles);
	unsigned slices = worth < wanted ? worth : wanted;
	unsigned least = (passes + OTP_SUM_MOST_ROWS - 1) / OTP_SUM_MOST_ROWS;
	slices = slices < least ? least : slices;
	unsigned slice_rows = (rows + slices - 1) / slices;
	return (rows + slice_rows - 1) / slice_rows;
}

/* ---- cuDNN's engines ---- */

/* Every start waits for engines that are compiled, a second or more each: worth it where the pass over the
 * result that they save moves tens of megabytes. */
static inline bool otp_worth_compiling(otp_shape result)
{
	return otp_shape_count(result) >= (int64_t)1 << 22;
}

/* Whether flash kernels may compute the attention of bfloat16 tensors: they read whole vectors of 16 bytes,
 * and every start compiles them again, worth it where so many scores stay out of memory. A guess. */
static inline bool otp_worth_flash(otp_shape qkv)
{
	return qkv.c / 3 % 8 == 0 && (int64_t)qkv.n * qkv.h * qkv.w * qkv.w >= (int64_t)1 << 16;
}

#endif
