/* bench_calls: what the steps of a training would ask of a GPU, counted from graphs alone. */
#ifndef OTP_CLI_BENCH_CALLS_H
#define OTP_CLI_BENCH_CALLS_H

#include "buckets.h"
#include "cli/json.h"
#include "engine/engine.h"
#include "graph/launch_count.h"

/* Columns of the gradient that processes would sum together, and what is left of the backward pass when the
 * last of them is there (buckets.h). */
typedef struct otp_bench_bucket {
	int64_t columns;
	otp_launches left; /* bytes: of all but products */
	double left_flops;
} otp_bench_bucket;

typedef struct otp_bench_count {
	otp_launches launches, by_op[OTP_OP_COUNT];
	otp_work least; /* of the same calls, were each one launch that moves what it must */
	double updated; /* weights, each of them once */
	otp_bench_bucket buckets[OTP_MOST_BUCKETS];
	int bucket_count; /* 0: the gradient is of several parts */
} otp_bench_count;

/* By kind of step; all three are counted. */
void otp_bench_count_calls(const otp_engine_settings *settings, otp_precision precision,
			   otp_bench_count count[OTP_STEP_KINDS]);

/* A table for readers. */
void otp_bench_print_calls(const otp_bench_count *count, const char *const names[OTP_STEP_KINDS]);
/* What of it one kind of step has. */
cJSON *otp_bench_calls_json(const otp_bench_count *count);

#endif
