/* buckets: how a row of gradients is parted where processes sum it while the backward pass goes on. Columns
 * go into buckets in the order in which the pass is done with them, and each bucket is summed as soon as its
 * last columns are there. The CUDA backend reads this, and so do estimates where there is no device.
 */
#ifndef OTP_BUCKETS_H
#define OTP_BUCKETS_H

#include "graph/op.h"

#include <stdlib.h>

/* A sum takes some 10 us of latency among the 8 GPUs of a machine and 40 us among 128 of many, in which their
 * links carry 4 MB and 14 MB (docs/scaling.md): in smaller buckets the wire would mostly wait. More than MOST
 * are not worth their calls: an eighth is left at the end of the pass by then. */
enum { OTP_BUCKET_BYTES = 16 << 20, OTP_MOST_BUCKETS = 8 };
/* A bucket is summed owner by owner. Where each owner has less than this of the row, that would be latency
 * alone: then all of it is one reduce-scatter, after the pass. */
enum { OTP_BUCKET_OWNER_BYTES = 1 << 20 };

/* Columns [begin, end) of the row; call number `ready` is the last that reads or writes them, -1: none does.
 */
typedef struct otp_columns {
	int64_t begin, end;
	int ready, bucket;
} otp_columns;

/* By bucket, then by place; columns that lie side by side in one bucket are one entry. */
typedef struct otp_buckets {
	otp_columns *columns; /* otp_free it */
	int count, buckets;
} otp_buckets;

/* Columns that a bucket has at least, but for the last one. */
static inline int64_t otp_bucket_least(int64_t columns, int64_t bucket_bytes)
{
	int64_t asked = bucket_bytes / (int64_t)sizeof(float), even = (columns - 1) / OTP_MOST_BUCKETS + 1;
	return asked > even ? asked : even;
}

static inline int otp_columns_by_place(const void *a, const void *b)
{
	const otp_columns *x = (const otp_columns *)a, *y = (const otp_columns *)b;
	return (x->begin > y->begin) - (x->begin < y->begin);
}

static inline int otp_columns_by_time(const void *a, const void *b)
{
	const otp_columns *x = (const otp_columns *)a, *y = (const otp_columns *)b;
	return x->ready != y->ready ? x->ready - y->ready : otp_columns_by_place(a, b);
}

static inline int otp_columns_by_bucket(const void *a, const void *b)
{
	const otp_columns *x = (const otp_columns *)a, *y = (const otp_columns *)b;
	return x->bucket != y->bucket ? x->bucket - y->bucket : otp_columns_by_place(a, b);
}

/* Notes what of the row a tensor of call `call` is, if any. */
static inline void otp_buckets_see(otp_columns *seen, int *count, const otp_tensor *row, const otp_tensor *t,
				   size_t element_bytes, int call)
{
	intptr_t base = (intptr_t)row->data, data = (intptr_t)t->data;
	int64_t size = (int64_t)element_bytes, columns = otp_shape_count(row->shape);
	int64_t rows = otp_shape_count(t->shape) / t->shape.c,
		length = (rows - 1) * otp_row_step(t) + t->shape.c;
	int64_t begin = (data - base) / size, end = begin + length;
	if (!data || t->type != row->type || end <= 0 || begin >= columns)
		return;
	seen[(*count)++] = (otp_columns){begin > 0 ? begin : 0, end < columns ? end : columns, call, 0};
}

/* The row cut wherever something seen begins or ends. */
static inline void otp_buckets_cut(otp_buckets *b, const otp_columns *seen, int count, int64_t columns)
{
	b->columns = (otp_columns *)otp_calloc(2 * (size_t)count + 1, sizeof *b->columns);
	for (int i = 0; i < count; i++) {
		b->columns[b->count++].begin = seen[i].begin;
		b->columns[b->count++].begin = seen[i].end;
	}
	b->count++; /* from 0 on */
	qsort(b->columns, (size_t)b->count, sizeof *b->columns, otp_columns_by_place);
	for (int i = 0; i < b->count; i++) {
		otp_columns *c = &b->columns[i];
		c->end = i + 1 < b->count ? b->columns[i + 1].begin : columns;
		c->ready = -1;
		for (int k = 0; k < count; k++)
			if (seen[k].begin <= c->begin && seen[k].end >= c->end && seen[k].ready > c->ready)
				c->ready = seen[k].ready;
	}
}

/* In the order of time, so many columns each. */
static inline void otp_buckets_fill(otp_buckets *b, int64_t least)
{
	int64_t filled = 0;
	int bucket = 0;
	qsort(b->columns, (size_t)b->count, sizeof *b->columns, otp_columns_by_time);
	for (int i = 0; i < b->count; i++) {
		otp_columns *c = &b->columns[i];
		if (filled >= least && c->end > c->begin) {
			bucket++;
			filled = 0;
		}
		filled += c->end - c->begin;
		c->bucket = bucket;
	}
	b->buckets = bucket + 1;
}

static inline void otp_buckets_join(otp_buckets *b)
{
	int kept = 0;
	qsort(b->columns, (size_t)b->count, sizeof *b->columns, otp_columns_by_bucket);
	for (int i = 0; i < b->count; i++) {
		otp_columns c = b->columns[i], *last = kept ? &b->columns[kept - 1] : NULL;
		if (last && last->bucket == c.bucket && last->end == c.begin) {
			last->end = c.end;
			last->ready = c.ready > last->ready ? c.ready : last->ready;
		} else if (c.end > c.begin) {
			b->columns[kept++] = c;
		}
	}
	b->count = kept;
}

/* Of the row that the call after these sums over processes. */
static inline otp_buckets otp_buckets_of(const otp_call *calls, int count, const otp_tensor *row,
					 const size_t element_bytes[OTP_TYPE_COUNT], int64_t least)
{
	otp_buckets b = {NULL, 0, 0};
	size_t most = (size_t)count * (OTP_MAX_INPUTS + 1) + 1, size = element_bytes[row->type];
	otp_columns *seen = (otp_columns *)otp_calloc(most, sizeof *seen);
	int marks = 0;
	for (int i = 0; i < count; i++) {
		otp_buckets_see(seen, &marks, row, &calls[i].out, size, i);
		for (int k = 0; k < OTP_MAX_INPUTS; k++)
			if (calls[i].in[k].data)
				otp_buckets_see(seen, &marks, row, &calls[i].in[k], size, i);
	}
	otp_buckets_cut(&b, seen, marks, otp_shape_count(row->shape));
	otp_buckets_fill(&b, least);
	otp_buckets_join(&b);
	otp_free(seen);
	return b;
}

/* The last call that a bucket waits for. */
static inline int otp_bucket_ready(const otp_buckets *b, int bucket)
{
	int ready = 0;
	for (int i = 0; i < b->count; i++)
		if (b->columns[i].bucket == bucket && b->columns[i].ready > ready)
			ready = b->columns[i].ready;
	return ready;
}

#endif
