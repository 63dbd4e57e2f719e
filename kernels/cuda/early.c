#include "cuda/early.h"
#include "buckets.h"
#include "cuda/link.h"

#include <stdlib.h>

struct otp_early {
	int sum; /* the call that is parted */
	otp_buckets buckets;
	int ready[OTP_MOST_BUCKETS]; /* the call after which a bucket's sum begins */
};

/* The first call that may be parted; count: there is none. */
static int find_sum(const otp_call *calls, int count)
{
	int i = 0;
	while (i < count && !(calls[i].op == OTP_OP_reduce_scatter && calls[i].attr.deal.alike &&
			      !calls[i].attr.deal.empty && calls[i].out.data == calls[i].in[0].data))
		i++;
	return i;
}

/* Columns of a bucket at least; 0: there are no buckets. */
static int64_t least_columns(const otp_call *sum)
{
	const char *asked = getenv("OTPLAN_CUDA_BUCKET");
	int64_t columns = otp_shape_count(sum->in[0].shape);
	if (asked && atoll(asked) <= 0)
		return 0;
	if (!asked && sum->attr.deal.each * (int64_t)sizeof(float) < OTP_BUCKET_OWNER_BYTES)
		return 0;
	return otp_bucket_least(columns, asked ? atoll(asked) : OTP_BUCKET_BYTES);
}

otp_early *otp_early_plan(const otp_device *device, const otp_call *calls, int count)
{
	int sum = find_sum(calls, count);
	int64_t least = device->link && sum < count ? least_columns(&calls[sum]) : 0;
	if (!least)
		return NULL;
	otp_early *e = otp_calloc(1, sizeof *e);
	e->sum = sum;
	e->buckets = otp_buckets_of(calls, sum, &calls[sum].in[0], otp_cuda_backend.element_bytes, least);
	for (int bucket = 0; bucket < e->buckets.buckets; bucket++)
		e->ready[bucket] = otp_bucket_ready(&e->buckets, bucket);
	if (e->buckets.buckets > 1)
		return e;
	otp_early_free(e);
	return NULL;
}

void otp_early_free(otp_early *e)
{
	if (e)
		otp_free(e->buckets.columns);
	otp_free(e);
}

void otp_early_run(const otp_early *e, const otp_call *calls, int index)
{
	const otp_call *call = &calls[index];
	if (e && index == e->sum)
		otp_link_end_sums(call);
	else
		otp_cuda_backend.kernels[call->op]->run(call);
	for (int bucket = 0; e && bucket < e->buckets.buckets; bucket++)
		if (e->ready[bucket] == index)
			otp_link_begin_sum(&calls[e->sum], &e->buckets, bucket);
}
