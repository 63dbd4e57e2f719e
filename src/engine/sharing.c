#include "engine/sharing.h"
#include "graph/op.h"

#include <string.h>

int otp_sharing_block(const otp_group *g, const otp_cut *cut, int rank)
{
	int all = otp_group_workers_before(g, otp_group_size(g)), before = otp_group_workers_before(g, rank);
	if (!all) /* alone */
		return rank ? cut->blocks : 0;
	return (int)((int64_t)cut->blocks * before / all);
}

int64_t otp_sharing_column(const otp_group *g, int64_t columns, int rank)
{
	int64_t begin = (int64_t)otp_process_block(columns, rank, otp_group_size(g)) * OTP_NORM_COLUMNS;
	return begin < columns ? begin : columns;
}

typedef struct pieces {
	otp_piece *each;
	int count;
} pieces;

static void add(pieces *p, int rank, const float *memory, int64_t count)
{
	if (count > 0)
		p->each[p->count++] = (otp_piece){rank, (void *)memory, (size_t)count * sizeof *memory};
}

void otp_sharing_rows(const otp_group *g, const otp_cut *cut, float *grads, int64_t columns)
{
	int size = otp_group_size(g), own = otp_group_rank(g);
	int first = otp_sharing_block(g, cut, own), last = otp_sharing_block(g, cut, own + 1);
	int64_t begin = otp_sharing_column(g, columns, own),
		count = otp_sharing_column(g, columns, own + 1) - begin;
	if (!g)
		return;
	pieces send = {otp_calloc((size_t)size * (size_t)(last - first), sizeof *send.each), 0};
	pieces receive = {otp_calloc((size_t)cut->blocks, sizeof *receive.each), 0};
	for (int r = 0; r < size; r++) {
		int64_t theirs = otp_sharing_column(g, columns, r),
			end = otp_sharing_column(g, columns, r + 1);
		for (int block = first; block < last && r != own; block++)
			add(&send, r, grads + block * columns + theirs, end - theirs);
		int from = otp_sharing_block(g, cut, r), to = otp_sharing_block(g, cut, r + 1);
		for (int block = from; block < to && r != own; block++)
			add(&receive, r, grads + block * columns + begin, count);
	}
	otp_group_exchange(g, send.each, send.count, receive.each, receive.count);
	otp_free(send.each);
	otp_free(receive.each);
}

void otp_sharing_columns(const otp_group *g, float *row, int64_t columns)
{
	size_t at[otp_group_size(g) + 1];
	for (int r = 0; r <= otp_group_size(g); r++)
		at[r] = (size_t)otp_sharing_column(g, columns, r) * sizeof *row;
	otp_group_all_gather(g, row, at);
}

void otp_sharing_squares(const otp_group *g, float *squares, int64_t columns)
{
	size_t at[otp_group_size(g) + 1];
	for (int r = 0; r <= otp_group_size(g); r++)
		at[r] = (size_t)otp_process_block(columns, r, otp_group_size(g)) * sizeof *squares;
	otp_group_all_gather(g, squares, at);
}

void otp_sharing_reports(const otp_group *g, const otp_cut *cut, float *reports, int64_t each)
{
	size_t at[otp_group_size(g) + 1];
	for (int r = 0; r <= otp_group_size(g); r++)
		at[r] = (size_t)(otp_cut_part(cut, otp_sharing_block(g, cut, r)) * each) * sizeof *reports;
	otp_group_all_gather(g, reports, at);
}

/* Every other process's columns of all rows, in the memory of process 0. */
static void list_others(const otp_group *g, const float *all, int rows, int64_t columns, pieces *list)
{
	for (int r = 1; r < otp_group_size(g); r++)
		for (int row = 0; row < rows; row++) {
			int64_t at = otp_sharing_column(g, columns, r);
			add(list, r, all + row * columns + at, otp_sharing_column(g, columns, r + 1) - at);
		}
}

static void list_own(const otp_group *g, const float *own, int rows, int64_t columns, pieces *list)
{
	int rank = otp_group_rank(g);
	int64_t at = otp_sharing_column(g, columns, rank);
	for (int row = 0; row < rows; row++)
		add(list, 0, own + row * columns + at, otp_sharing_column(g, columns, rank + 1) - at);
}

static void copy_own(const otp_group *g, const float *from, float *to, int rows, int64_t columns)
{
	int64_t at = otp_sharing_column(g, columns, 0), count = otp_sharing_column(g, columns, 1) - at;
	for (int row = 0; row < rows && from != to; row++)
		memcpy(to + row * columns + at, from + row * columns + at, (size_t)count * sizeof *to);
}

void otp_sharing_collect(const otp_group *g, const float *own, float *all, int rows, int64_t columns)
{
	pieces list = {otp_calloc((size_t)(rows * otp_group_size(g)), sizeof *list.each), 0};
	if (otp_group_leads(g)) {
		copy_own(g, own, all, rows, columns);
		list_others(g, all, rows, columns, &list);
		otp_group_exchange(g, NULL, 0, list.each, list.count);
	} else {
		list_own(g, own, rows, columns, &list);
		otp_group_exchange(g, list.each, list.count, NULL, 0);
	}
	otp_free(list.each);
}

void otp_sharing_deal(const otp_group *g, const float *all, float *own, int rows, int64_t columns)
{
	pieces list = {otp_calloc((size_t)(rows * otp_group_size(g)), sizeof *list.each), 0};
	if (otp_group_leads(g)) {
		copy_own(g, all, own, rows, columns);
		list_others(g, all, rows, columns, &list);
		otp_group_exchange(g, list.each, list.count, NULL, 0);
	} else {
		list_own(g, own, rows, columns, &list);
		otp_group_exchange(g, NULL, 0, list.each, list.count);
	}
	otp_free(list.each);
}
