/* mixtures: what a case's program may store in bfloat16, tried in every mixture of types. */
#include "bf16.h"
#include "check_ops/harness.h"

#include <string.h>

unsigned may_be_narrow(otp_op op)
{
	switch (op) {
	case OTP_OP_reshape: /* never called */
	case OTP_OP_normal:
	case OTP_OP_gather:
	case OTP_OP_record:
	case OTP_OP_guard:
	case OTP_OP_adam: /* check_adam_steps tries what it may */
		return 0;
	case OTP_OP_squares:
	case OTP_OP_norm_stats:
		return 1;
	case OTP_OP_lrelu_gate_merge:
		return 1 | 2 | 4 | RESULT;
	case OTP_OP_conv2d_merge:
		return 1 | 8 | RESULT;
	case OTP_OP_norm_sums: /* a case's inputs are x, scale, shift, g */
		return 1 | 8;
	case OTP_OP_norm_dgrad_merge: /* and r */
	case OTP_OP_norm_total_merge:
		return 1 | 8 | 16 | RESULT;
	case OTP_OP_norm_dgrad_merge_two:
		return 1 | 8 | 16 | 32 | RESULT;
	case OTP_OP_norm_dgrad:
	case OTP_OP_norm_total:
		return 1 | 8 | RESULT;
	case OTP_OP_up2_merge:
	case OTP_OP_concat:
	case OTP_OP_add:
	case OTP_OP_mul:
	case OTP_OP_lrelu_gate:
	case OTP_OP_silu_gate:
	case OTP_OP_silu_curve:
	case OTP_OP_softmax_gate:
	case OTP_OP_matmul:
	case OTP_OP_attention_grad:
		return 1 | 2 | RESULT;
	default:
		return 1 | RESULT;
	}
}

unsigned next_mixture(unsigned narrow, unsigned possible) { return (narrow - 1) & possible; }

unsigned mixture_number(int k, unsigned possible)
{
	unsigned narrow = 0;
	for (int i = 0; i < k; i++) {
		narrow = next_mixture(narrow, possible);
		if (!narrow)
			narrow = next_mixture(narrow, possible);
	}
	return narrow;
}

otp_type *types_of(const test_case *t, const built *b, const otp_node *kept, unsigned narrow)
{
	otp_type *types = otp_calloc((size_t)otp_graph_size(b->graph), sizeof *types);
	for (int id = 0; id < otp_graph_size(b->graph); id++)
		types[id] = otp_graph_node(b->graph, id)->type;
	for (int i = 0; i < t->count; i++)
		if (narrow >> i & 1)
			types[b->in[i]->id] = OTP_BF16;
	if (b->through)
		types[b->through->id] = types[b->in[0]->id];
	for (int id = 0; t->apart && id < otp_graph_size(b->graph); id++) {
		const otp_node *node = otp_graph_node(b->graph, id);
		if (node->op == OTP_OP_slice)
			types[id] = types[node->in[0]->id];
	}
	if (narrow & RESULT)
		types[kept->id] = OTP_BF16;
	return types;
}

values round_values(const test_case *t, const values *v, unsigned narrow)
{
	values rounded = {0};
	for (int i = 0; i < t->count; i++) {
		size_t count = (size_t)otp_shape_count(t->in[i]);
		rounded.host[i] = otp_calloc(count, 4);
		rounded.exact[i] = otp_calloc(count, sizeof(double));
		memcpy(rounded.host[i], v->host[i], count * 4);
		memcpy(rounded.exact[i], v->exact[i], count * sizeof(double));
		for (size_t k = 0; (narrow >> i & 1) && k < count; k++) {
			float *x = rounded.host[i];
			x[k] = otp_bf16_widen(otp_bf16_round(x[k]));
			rounded.exact[i][k] = (double)x[k];
		}
	}
	return rounded;
}
