/* tree: the order in which the gradients of a batch's parts are added.
 *
 * A fixed binary tree over the parts' numbers: neighbours pairwise (0 + 1, 2 + 3, ...), then those sums
 * pairwise, and so on; an odd one out goes up as it is. Every aligned block of 2^k parts is a subtree, so it
 * may be summed wherever it is made, and the result has the same bits.
 *
 * One pass does it, over a stack of partial sums: a part meets the sums above as often as otp_tree_merges
 * says, the latest first, and what comes of it is pushed. The last part meets all that are left.
 */
#ifndef OTP_TREE_H
#define OTP_TREE_H

#include "core/rng.h"

/* The stack never holds more than OTP_TREE_LEVELS sums. */
enum { OTP_TREE_LEVELS = 10, OTP_MOST_PARTS = 1 << OTP_TREE_LEVELS };

/* Of part i: the ones at the end of its number in binary, each a block of that size that it completes; of the
 * last part, all ones. */
static inline OTP_HD int otp_tree_merges(int i, int parts)
{
	int merges = 0, last = i + 1 == parts;
	for (int bits = i; bits && (last || bits % 2); bits /= 2)
		merges += bits % 2;
	return merges;
}

#endif
