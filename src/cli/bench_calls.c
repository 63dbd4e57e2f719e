#include "cli/bench_calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const otp_peaks ANY = {1, {1, 1, 1, 1, 1, 1}};

/* The counts, and a kind's calls so far. */
typedef struct counting {
	otp_bench_count *count;
	otp_step_kind kind;
	otp_call *calls;
	size_t call_count, room;
	int parts;
} counting;

static bool is_product(otp_op op)
{
	const char *name = otp_op_name(op);
	return strncmp(name, "conv2d", 6) == 0 || strncmp(name, "matmul", 6) == 0 ||
	       strncmp(name, "attention", 9) == 0;
}

static void add_left(otp_bench_bucket *b, const otp_call *call)
{
	otp_launches one = {0};
	otp_launches_add(&one, call, true);
	b->left.count += one.count;
	b->left.bytes += is_product(call->op) ? 0 : one.bytes;
	b->left_flops += otp_work_of_call(call, otp_cuda_on_paper.element_bytes, ANY).flops;
}

/* `squares` is the first call to read the whole gradient. */
static void count_buckets(const counting *c, const otp_call *squares)
{
	otp_bench_count *count = &c->count[c->kind];
	const otp_tensor *row = &squares->in[0];
	otp_buckets b = otp_buckets_of(c->calls, (int)c->call_count, row, otp_cuda_on_paper.element_bytes,
				       otp_bucket_least(otp_shape_count(row->shape), OTP_BUCKET_BYTES));
	count->bucket_count = b.buckets;
	for (int i = 0; i < b.count; i++)
		count->buckets[b.columns[i].bucket].columns += b.columns[i].end - b.columns[i].begin;
	for (int k = 0; k < b.buckets; k++)
		for (size_t i = (size_t)otp_bucket_ready(&b, k) + 1; i < c->call_count; i++)
			add_left(&count->buckets[k], &c->calls[i]);
	otp_free(b.columns);
}

/* A kind's calls come one after another, its squares after all that makes gradients. */
static void note_call(counting *c, otp_step_kind kind, const otp_call *call)
{
	if (c->kind != kind)
		c->call_count = 0;
	c->kind = kind;
	if (call->op == OTP_OP_squares && c->parts == 1)
		count_buckets(c, call);
	c->calls = otp_grown(c->calls, c->call_count, &c->room, sizeof *c->calls);
	c->calls[c->call_count++] = *call;
}

static void count_call(void *context, otp_step_kind kind, const otp_call *call)
{
	otp_bench_count *c = &((counting *)context)->count[kind];
	note_call(context, kind, call);
	otp_launches one = {0};
	otp_launches_add(&one, call, true);
	otp_launches *sums[] = {&c->launches, &c->by_op[call->op]};
	for (int i = 0; i < 2; i++) {
		sums[i]->count += one.count;
		sums[i]->small += one.small;
		sums[i]->bytes += one.bytes;
	}
	otp_work least = otp_work_of_call(call, otp_cuda_on_paper.element_bytes, ANY);
	if (call->op == OTP_OP_adam)
		c->updated += (double)call->in[0].shape.c;
	c->least.calls += least.calls;
	c->least.bytes += least.bytes;
	c->least.flops += least.flops;
}

void otp_bench_count_calls(const otp_engine_settings *settings, otp_precision precision,
			   otp_bench_count count[OTP_STEP_KINDS])
{
	otp_runtime runtime = {
	    .backend = &otp_cuda_on_paper, .pool = otp_pool_new(1), .precision = precision};
	memset(count, 0, OTP_STEP_KINDS * sizeof *count);
	counting c = {.count = count, .parts = settings->parts};
	otp_engine_list(&runtime, settings, count_call, &c);
	otp_free(c.calls);
	otp_pool_free(runtime.pool);
}

static const otp_bench_count *sorted; /* qsort has no context */

static double op_bytes(int op)
{
	double bytes = 0;
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++)
		bytes += sorted[kind].by_op[op].bytes;
	return bytes;
}

static int by_bytes(const void *a, const void *b)
{
	double x = op_bytes(*(const int *)a), y = op_bytes(*(const int *)b);
	return (x < y) - (x > y);
}

static void print_ops(const otp_bench_count *count, const char *const names[OTP_STEP_KINDS])
{
	int ops[OTP_OP_COUNT];
	for (int op = 0; op < OTP_OP_COUNT; op++)
		ops[op] = op;
	sorted = count;
	qsort(ops, OTP_OP_COUNT, sizeof *ops, by_bytes);
	printf("\nlaunches and GB      ");
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++)
		printf(" %18s", names[kind]);
	putchar('\n');
	for (int i = 0; i < OTP_OP_COUNT && op_bytes(ops[i]) > 0; i++) {
		printf("  %-19s", otp_op_name((otp_op)ops[i]));
		for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++)
			printf(" %8d %9.3f", count[kind].by_op[ops[i]].count,
			       1e-9 * count[kind].by_op[ops[i]].bytes);
		putchar('\n');
	}
}

void otp_bench_print_calls(const otp_bench_count *count, const char *const names[OTP_STEP_KINDS])
{
	puts("step             launches  under 1 MB        GB     TFLOP    at least: calls        GB");
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++) {
		const otp_bench_count *c = &count[kind];
		printf("%-15s %9d %11d %9.2f %9.2f %18d %9.2f\n", names[kind], c->launches.count,
		       c->launches.small, 1e-9 * c->launches.bytes, 1e-12 * c->least.flops, c->least.calls,
		       1e-9 * c->least.bytes);
	}
	print_ops(count, names);
}

static void add_launches(cJSON *o, const otp_launches *l)
{
	cJSON_AddNumberToObject(o, "calls", l->count);
	cJSON_AddNumberToObject(o, "small_calls", l->small);
	cJSON_AddNumberToObject(o, "gb", 1e-9 * l->bytes);
}

cJSON *otp_bench_calls_json(const otp_bench_count *count)
{
	cJSON *all = cJSON_CreateObject();
	add_launches(all, &count->launches);
	cJSON_AddNumberToObject(all, "weights", count->updated);
	cJSON_AddNumberToObject(all, "tflop", 1e-12 * count->least.flops);
	cJSON_AddNumberToObject(all, "least_calls", count->least.calls);
	cJSON_AddNumberToObject(all, "least_gb", 1e-9 * count->least.bytes);
	cJSON *buckets = cJSON_AddArrayToObject(all, "buckets");
	for (int k = 0; k < count->bucket_count; k++) {
		const otp_bench_bucket *b = &count->buckets[k];
		cJSON *o = cJSON_CreateObject();
		cJSON_AddNumberToObject(o, "weights", (double)b->columns);
		cJSON_AddNumberToObject(o, "calls_left", b->left.count);
		cJSON_AddNumberToObject(o, "gb_left", 1e-9 * b->left.bytes);
		cJSON_AddNumberToObject(o, "tflop_left", 1e-12 * b->left_flops);
		cJSON_AddItemToArray(buckets, o);
	}
	cJSON *by_op = cJSON_AddObjectToObject(all, "by_op");
	for (int op = 0; op < OTP_OP_COUNT; op++)
		if (count->by_op[op].count)
			add_launches(cJSON_AddObjectToObject(by_op, otp_op_name((otp_op)op)),
				     &count->by_op[op]);
	return all;
}
