/* op: the rows of ops.def as a table: what each op is called, takes, and may do to its input. */
#include "graph/op.h"

typedef struct op_row {
	const char *name;
	int inputs;
	bool in_place;
} op_row;

static const op_row OPS[OTP_OP_COUNT] = {
    [OTP_OP_LEAF] = {"leaf", 0, false},
#define OP(name, inputs, attribute, in_place, meaning) [OTP_OP_##name] = {#name, inputs, in_place},
#include "graph/ops.def"
#undef OP
};

const char *otp_op_name(otp_op op) { return OPS[op].name; }
int otp_op_inputs(otp_op op) { return OPS[op].inputs; }
bool otp_op_in_place(otp_op op) { return OPS[op].in_place; }

bool otp_op_takes_words(otp_op op, int input)
{
	return op == OTP_OP_normal || op == OTP_OP_gather || (op == OTP_OP_record && input == 2);
}

int otp_gather_words(int64_t bytes)
{
	OTP_ASSERT(bytes > 0 && bytes <= INT32_MAX, "gather: a picture of %lld bytes", (long long)bytes);
	return (int)((bytes + 3) / 4);
}
