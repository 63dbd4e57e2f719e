#include "engine/cut.h"
#include "core/base.h"
#include "tree.h"

static int blocks_of(int parts, int levels) { return (int)(((int64_t)parts + (1 << levels) - 1) >> levels); }

/* At most an eighth more than an even share. */
static bool is_even(int parts, int levels, int workers)
{
	int64_t most = (int64_t)((blocks_of(parts, levels) + workers - 1) / workers) << levels;
	int64_t even = (parts + workers - 1) / workers;
	return 8 * (most < parts ? most : parts) <= 9 * even;
}

otp_cut otp_cut_make(int batch, int parts, int workers)
{
	OTP_ASSERT(parts >= 1 && parts <= batch && parts <= OTP_MOST_PARTS && workers >= 1,
		   "a batch of %d in %d parts for %d workers", batch, parts, workers);
	int levels = OTP_TREE_LEVELS;
	while (levels > 0 && (blocks_of(parts, levels - 1) == 1 || !is_even(parts, levels, workers)))
		levels--;
	return (otp_cut){
	    .batch = batch, .parts = parts, .levels = levels, .blocks = blocks_of(parts, levels)};
}

otp_cut otp_cut_deal(int batch, int parts, int processes)
{
	int levels = 0;
	OTP_ASSERT(parts >= 1 && parts <= batch && parts <= OTP_MOST_PARTS && processes >= 1,
		   "a batch of %d in %d parts for %d processes", batch, parts, processes);
	while (blocks_of(parts, levels) > processes)
		levels++;
	return (otp_cut){
	    .batch = batch, .parts = parts, .levels = levels, .blocks = processes, .dealt = true};
}
