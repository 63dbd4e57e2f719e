/* cut: how a batch is cut. It has parts, which are computed one at a time; an aligned block of 2^k parts is
 * summed where it is made, and its sum is a row of gradients. Parts belong to the run, since sums round;
 * blocks follow from who computes, and change no bit (kernels/tree.h: a block is a subtree).
 */
#ifndef OTP_CUT_H
#define OTP_CUT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct otp_cut {
	int batch, parts;
	int levels; /* a block is of 1 << levels parts; the last may have fewer */
	int blocks; /* rows of gradients */
	bool dealt; /* blocks are even shares of the parts instead, of at most 1 << levels; some may be empty
		     */
} otp_cut;

/* As few blocks as leave no worker with much more than its share of the parts. */
otp_cut otp_cut_make(int batch, int parts, int workers);
/* A block for each process whose sums are added by a library, in an order of its own. */
otp_cut otp_cut_deal(int batch, int parts, int processes);

/* The first sample of a part, or of none: the batch. */
static inline int otp_cut_sample(const otp_cut *c, int part)
{
	return (int)((int64_t)c->batch * part / c->parts);
}

/* The first part of a block, or of none: parts. */
static inline int otp_cut_part(const otp_cut *c, int block)
{
	int64_t part = c->dealt ? (int64_t)c->parts * block / c->blocks : (int64_t)block << c->levels;
	return part < c->parts ? (int)part : c->parts;
}

/* Samples of a part. */
static inline int otp_cut_shard(const otp_cut *c, int part)
{
	return otp_cut_sample(c, part + 1) - otp_cut_sample(c, part);
}

#endif
