/* columns: statistics of blocks of rows, made side by side and put together in their order, so that the
 * number of threads does not show (Chan, Golub, LeVeque, 1983). */
#include "data/columns.h"

#include "core/tally.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { BLOCK = 1024, BLOCKS_EACH = 4 }; /* rows; blocks of a worker between two times of putting together */

typedef struct work {
	const otp_dataset *set;
	otp_columns *out;
	otp_tally *tally;
	int64_t first, blocks; /* of this round */
	otp_column *parts;     /* (blocks, d) */
	int64_t *odd, *first_odd;
	float *rows; /* (workers, d) */
	otp_error *errors;
	atomic_int_fast64_t next;
} work;

double otp_column_spread(const otp_column *c) { return c->count ? sqrt(c->squares / (double)c->count) : 0; }

static void add_value(otp_column *c, double x)
{
	double from = x - c->mean;
	c->least = c->count && c->least < x ? c->least : x;
	c->most = c->count && c->most > x ? c->most : x;
	c->count++;
	c->mean += from / (double)c->count;
	c->squares += from * (x - c->mean);
}

static void add_column(otp_column *a, const otp_column *b)
{
	double n = (double)a->count, m = (double)b->count, from = b->mean - a->mean;
	if (b->count == 0)
		return;
	a->least = a->count ? fmin(a->least, b->least) : b->least;
	a->most = a->count ? fmax(a->most, b->most) : b->most;
	a->mean += from * m / (n + m);
	a->squares += b->squares + from * from * n * m / (n + m);
	a->count += b->count;
}

static bool add_row(work *w, int64_t block, int64_t row, float *x, otp_error *err)
{
	int64_t d = w->out->d;
	bool odd = false;
	if (!otp_dataset_get(w->set, (uint64_t)row, 0, x, err))
		return false;
	w->out->exact[row] = XXH3_64bits(x, (size_t)d * sizeof *x);
	for (int64_t k = 0; k < d; k++) {
		odd = odd || !isfinite(x[k]);
		if (isfinite(x[k]))
			add_value(&w->parts[block * d + k], (double)x[k]);
	}
	if (odd && w->odd[block]++ == 0)
		w->first_odd[block] = row;
	return true;
}

static void measure_some(void *argument, int worker)
{
	work *w = argument;
	float *x = w->rows + worker * w->out->d;
	for (int64_t block; (block = atomic_fetch_add(&w->next, 1)) < w->blocks;) {
		int64_t first = w->first + block * BLOCK, end = first + BLOCK;
		end = end < w->out->count ? end : w->out->count;
		for (int64_t i = first; i < end; i++)
			if (!add_row(w, block, i, x, &w->errors[worker]))
				return;
		if (end > first)
			otp_tally_add(w->tally, end - first);
	}
}

static void put_together(work *w)
{
	otp_columns *out = w->out;
	for (int64_t b = 0; b < w->blocks; b++) {
		if (out->first_odd < 0 && w->odd[b])
			out->first_odd = w->first_odd[b];
		out->odd += w->odd[b];
		for (int64_t k = 0; k < out->d; k++)
			add_column(&out->columns[k], &w->parts[b * out->d + k]);
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t p = *(const uint64_t *)a, q = *(const uint64_t *)b;
	return (p > q) - (p < q);
}

static void count_copies(otp_columns *out)
{
	qsort(out->exact, (size_t)out->count, sizeof *out->exact, by_value);
	for (int64_t i = 1; i < out->count; i++)
		out->copies += out->exact[i] == out->exact[i - 1];
}

bool otp_columns_measure(const otp_dataset *set, otp_pool *pool, otp_columns *out, otp_error *err)
{
	otp_dataset_info info = otp_dataset_describe(set);
	int workers = otp_pool_workers(pool);
	char *what = otp_format("%s: read", info.spec);
	*out = (otp_columns){.count = info.count, .d = info.c, .first_odd = -1};
	out->exact = otp_calloc((size_t)info.count, sizeof *out->exact);
	out->columns = otp_calloc((size_t)info.c, sizeof *out->columns);
	work w = {.set = set, .out = out, .blocks = workers * BLOCKS_EACH};
	size_t parts = otp_mul_size((size_t)w.blocks, (size_t)info.c);
	w.tally = otp_tally_new(what, 0, info.count);
	w.parts = otp_calloc(parts, sizeof *w.parts);
	w.odd = otp_calloc((size_t)w.blocks, sizeof *w.odd);
	w.first_odd = otp_calloc((size_t)w.blocks, sizeof *w.first_odd);
	w.rows = otp_calloc(otp_mul_size((size_t)workers, (size_t)info.c), sizeof *w.rows);
	w.errors = otp_calloc((size_t)workers, sizeof *w.errors);
	for (; w.first < info.count && !err->exit_code; w.first += w.blocks * BLOCK) {
		memset(w.parts, 0, parts * sizeof *w.parts);
		memset(w.odd, 0, (size_t)w.blocks * sizeof *w.odd);
		atomic_store(&w.next, 0);
		otp_pool_run(pool, measure_some, &w);
		put_together(&w);
		for (int i = 0; i < workers && !err->exit_code; i++)
			*err = w.errors[i];
	}
	count_copies(out);
	otp_tally_free(w.tally);
	otp_free(what);
	otp_free(w.parts);
	otp_free(w.odd);
	otp_free(w.first_odd);
	otp_free(w.rows);
	otp_free(w.errors);
	return !err->exit_code;
}

void otp_columns_free(otp_columns *c)
{
	otp_free(c->exact);
	otp_free(c->columns);
	*c = (otp_columns){0};
}

int64_t otp_columns_shared(const otp_columns *a, const otp_columns *b)
{
	int64_t shared = 0;
	for (int64_t i = 0; a->count && i < b->count; i++)
		shared +=
		    bsearch(&b->exact[i], a->exact, (size_t)a->count, sizeof *a->exact, by_value) != NULL;
	return shared;
}
