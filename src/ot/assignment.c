/* assignment: one augmenting path a row, found as Dijkstra would with reduced
 * costs; u, v are the dual variables that keep them from being negative. */
#include "ot/assignment.h"

#include "core/base.h"

#include <math.h>
#include <string.h>

typedef struct solver {
	const double *cost;
	int n;
	double *u, *v;
	int *row_of, *to; /* partner of a column, of a row; -1: none yet */
	double *shortest; /* to each column, from the row in hand */
	int *before;	  /* the row from which a column was reached */
	int *open;	  /* columns not yet settled, in any order */
	bool *seen_row, *seen_column;
} solver;

/* Settles columns in order of distance until one without partner; returns it. */
static int find_path(solver *s, int row, double *length)
{
	int n = s->n, open_count = n, i = row;
	double least = 0;
	for (int j = 0; j < n; j++) {
		s->open[j] = n - 1 - j; /* ties go to the lowest column */
		s->shortest[j] = INFINITY;
	}
	memset(s->seen_row, 0, (size_t)n * sizeof *s->seen_row);
	memset(s->seen_column, 0, (size_t)n * sizeof *s->seen_column);
	for (;;) {
		int best = -1;
		double lowest = INFINITY;
		s->seen_row[i] = true;
		for (int k = 0; k < open_count; k++) {
			int j = s->open[k];
			double reduced =
			    least + s->cost[(size_t)i * (size_t)n + (size_t)j] - s->u[i] - s->v[j];
			if (reduced < s->shortest[j]) {
				s->before[j] = i;
				s->shortest[j] = reduced;
			}
			/* Among equals a free column ends the search at once. */
			if (s->shortest[j] < lowest || (s->shortest[j] == lowest && s->row_of[j] < 0)) {
				lowest = s->shortest[j];
				best = k;
			}
		}
		OTP_ASSERT(best >= 0, "assignment: a cost is not finite");
		int j = s->open[best];
		least = lowest;
		s->seen_column[j] = true;
		s->open[best] = s->open[--open_count];
		if (s->row_of[j] < 0) {
			*length = least;
			return j;
		}
		i = s->row_of[j];
	}
}

static void update_duals(solver *s, int row, double length)
{
	s->u[row] += length;
	for (int i = 0; i < s->n; i++)
		if (s->seen_row[i] && i != row)
			s->u[i] += length - s->shortest[s->to[i]];
	for (int j = 0; j < s->n; j++)
		if (s->seen_column[j])
			s->v[j] -= length - s->shortest[j];
}

/* Turns the pairs along the path round, from its free end back to `row`. */
static void augment(solver *s, int row, int column)
{
	for (int i = -1; i != row;) {
		i = s->before[column];
		int next = s->to[i];
		s->row_of[column] = i;
		s->to[i] = column;
		column = next;
	}
}

double otp_assignment_solve(const double *cost, int n, int *to)
{
	size_t count = (size_t)n;
	solver s = {.cost = cost, .n = n, .to = to};
	double *numbers = otp_calloc(3 * count, sizeof *numbers), total = 0;
	int *indices = otp_calloc(3 * count, sizeof *indices);
	bool *marks = otp_calloc(2 * count, sizeof *marks);
	s.u = numbers, s.v = numbers + count, s.shortest = numbers + 2 * count;
	s.row_of = indices, s.before = indices + count, s.open = indices + 2 * count;
	s.seen_row = marks, s.seen_column = marks + count;
	for (int i = 0; i < n; i++)
		s.to[i] = s.row_of[i] = -1;
	for (int row = 0; row < n; row++) {
		double length;
		int column = find_path(&s, row, &length);
		update_duals(&s, row, length);
		augment(&s, row, column);
	}
	for (int i = 0; i < n; i++)
		total += cost[(size_t)i * count + (size_t)to[i]];
	otp_free(numbers);
	otp_free(indices);
	otp_free(marks);
	return total;
}

double otp_assignment_w2(const float *a, const float *b, int n, int d, int *to)
{
	size_t count = (size_t)n, size = (size_t)d;
	double *cost = otp_calloc(otp_mul_size(count, count), sizeof *cost);
	int *own = to ? to : otp_calloc(count, sizeof *own);
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < count; j++) {
			double sum = 0;
			for (size_t k = 0; k < size; k++) {
				double difference = (double)a[i * size + k] - (double)b[j * size + k];
				sum += difference * difference;
			}
			cost[i * count + j] = sum;
		}
	double mean = otp_assignment_solve(cost, n, own) / n;
	if (!to)
		otp_free(own);
	otp_free(cost);
	return mean;
}
