/* sharing: what the processes of a run have each, and what they send each other in a step. Parts belong to
 * the process that computes them, columns of the state to the one that updates them: there, and only there,
 * lie the moments and the average that go on. Each process has room for all of it, and touches what is its
 * own; memory that is never touched is never taken.
 */
#ifndef OTP_SHARING_H
#define OTP_SHARING_H

#include "engine/cut.h"
#include "group/group.h"

/* The first of a process's blocks, or of its columns: whole blocks of OTP_NORM_COLUMNS. rank size: the end.
 */
int otp_sharing_block(const otp_group *g, const otp_cut *cut, int rank);
int64_t otp_sharing_column(const otp_group *g, int64_t columns, int rank);

/* Rows of gradients, (blocks, columns): every process has the rows that it made and gets of all others its
 * own columns. */
void otp_sharing_rows(const otp_group *g, const otp_cut *cut, float *grads, int64_t columns);
/* One row's columns, or its squares by block, of every process to all. */
void otp_sharing_columns(const otp_group *g, float *row, int64_t columns);
void otp_sharing_squares(const otp_group *g, float *squares, int64_t columns);
/* Reports by part, `each` floats, of every process to all. */
void otp_sharing_reports(const otp_group *g, const otp_cut *cut, float *reports, int64_t each);

/* `rows` rows, (rows, columns): each process's columns of `own` into process 0's `all`, which may be the
 * same. */
void otp_sharing_collect(const otp_group *g, const float *own, float *all, int rows, int64_t columns);
/* The other way round: process 0's `all` into everybody's columns of `own`. */
void otp_sharing_deal(const otp_group *g, const float *all, float *own, int rows, int64_t columns);

#endif
