/* fuse: what a finished graph's nodes take over from their neighbours, so that it is not a pass of its own: a
 * factor of a gradient that GroupNorm or resampling makes; sums with what reaches the same place elsewhere;
 * and the parts of a gradient of what was put together, each made where it is wanted. Every value that is
 * left is made by the same additions and products in the same order: where all is stored in float32 no bit
 * changes, and where values are stored in bfloat16 some roundings are gone.
 */
#ifndef OTP_FUSE_H
#define OTP_FUSE_H

#include "graph/graph.h"

/* Of a graph whose gradients are made and whose outputs are named: it is not to be differentiated again. */
void otp_graph_fuse(otp_graph *g);

#endif
