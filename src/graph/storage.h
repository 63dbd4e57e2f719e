/* storage: which activations a program holds in bfloat16.
 *
 * Asked when a program is made in bfloat16 for a backend that stores it: model
 * and graph know nothing of it. Kernels compute in float whatever is stored.
 *
 * In bfloat16 are maps: what convolutions (but for weight gradients) and
 * resamplings give, what is spread over a picture, and what other ops compute
 * from these, attention's matrices too; all with at least 8 channels and more
 * than one pixel. They are nearly all of a step's memory and traffic, and are
 * about to be rounded for tensor cores anyway.
 *
 * All else stays float32, because it is small, or long sums end in it, or an
 * error in it does not average out: leaves; spans and outputs (weights,
 * what is read); sums and statistics; vectors, so MLPs and losses;
 * and pictures (fewer channels: x', eps, T(x'), grad_y V), from which the cost
 * and R1 are computed. Gradients are float32 where parts' are added up; those of
 * one part alone may lie in a narrow span (engine/inside.h).
 */
#ifndef OTP_STORAGE_H
#define OTP_STORAGE_H

#include "graph/graph.h"

/* How each node is stored, [graph size], for otp_free; without `bf16` as the graph says. Bit s of
 * `narrow_spans`: span s is held in bfloat16, what is put there and read there with it; so are then all
 * weight gradients of convolutions, which such a span is for. */
otp_type *otp_storage_types(const otp_graph *g, bool bf16, unsigned narrow_spans);

#endif
