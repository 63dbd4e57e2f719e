#include "graph/storage.h"

enum { LEAST_CHANNELS = 8 }; /* 16 bytes in bfloat16: one access of a kernel, and what tensor cores want */

static bool reads_bf16(const otp_node *node, const otp_type *types)
{
	for (int i = 0; i < node->input_count; i++)
		if (types[node->in[i]->id] == OTP_BF16)
			return true;
	return false;
}

static bool is_wide_map(const otp_node *node)
{
	return node->shape.c >= LEAST_CHANNELS && (int64_t)node->shape.h * node->shape.w > 1 && !node->output;
}

/* No default: an op that is not listed does not compile. */
static bool stores_bf16(const otp_node *node, const otp_type *types)
{
	switch (node->op) {
	case OTP_OP_conv2d:
	case OTP_OP_conv2d_bias:
	case OTP_OP_conv2d_merge:
	case OTP_OP_conv2d_dgrad:
	case OTP_OP_down2:
	case OTP_OP_up2:
	case OTP_OP_up2_merge:
		return is_wide_map(node);
	case OTP_OP_spread: /* rows of an MLP have height 1 */
		return is_wide_map(node) && node->shape.h > 1;
	case OTP_OP_reshape: /* the same memory */
		return reads_bf16(node, types);
	case OTP_OP_copy:
	case OTP_OP_concat:
	case OTP_OP_slice:
	case OTP_OP_pad:
	case OTP_OP_add:
	case OTP_OP_mul:
	case OTP_OP_affine:
	case OTP_OP_lrelu:
	case OTP_OP_lrelu_gate:
	case OTP_OP_lrelu_gate_merge:
	case OTP_OP_silu:
	case OTP_OP_silu_gate:
	case OTP_OP_silu_curve:
	case OTP_OP_sigmoid:
	case OTP_OP_softplus:
	case OTP_OP_exp:
	case OTP_OP_rsqrt:
	case OTP_OP_matmul:
	case OTP_OP_softmax:
	case OTP_OP_softmax_gate:
	case OTP_OP_attention:
	case OTP_OP_attention_grad:
	case OTP_OP_norm_apply:
	case OTP_OP_norm_dgrad:
	case OTP_OP_norm_dgrad_merge:
	case OTP_OP_norm_dgrad_merge_two:
		return is_wide_map(node) && reads_bf16(node, types);
	case OTP_OP_LEAF:
	case OTP_OP_sum:
	case OTP_OP_conv2d_wgrad:
	case OTP_OP_norm_stats:
	case OTP_OP_norm_sums:
	case OTP_OP_norm_total:
	case OTP_OP_norm_total_merge:
	case OTP_OP_normal:
	case OTP_OP_gather:
	case OTP_OP_record:
	case OTP_OP_squares:
	case OTP_OP_guard:
	case OTP_OP_adam:
	case OTP_OP_reduce_scatter:
	case OTP_OP_all_gather:
	case OTP_OP_COUNT:
		return false;
	}
	return false;
}

/* In a span that is held in bfloat16, or on the way there. */
static bool is_narrow_gradient(const otp_node *node, unsigned narrow_spans)
{
	if (node->span != OTP_SPAN_NONE)
		return narrow_spans >> node->span & 1;
	return narrow_spans && node->op == OTP_OP_conv2d_wgrad && !node->output;
}

otp_type *otp_storage_types(const otp_graph *g, bool bf16, unsigned narrow_spans)
{
	int count = otp_graph_size(g);
	otp_type *types = otp_calloc((size_t)count, sizeof *types);
	for (int id = 0; id < count; id++) {
		const otp_node *node = otp_graph_node(g, id);
		bool narrow = stores_bf16(node, types) || is_narrow_gradient(node, narrow_spans);
		types[id] = bf16 && narrow ? OTP_BF16 : node->type;
	}
	return types;
}
