#include "ot/dimension.h"
#include "core/base.h"
#include "core/rng.h"
#include "ot/gaussian.h"

#include "scalar.h"

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static int smaller(int64_t a, int64_t b) { return (int)(a < b ? a : b); }

int otp_dimension_sample(int64_t count, int64_t d)
{
	const double work = 5e9; /* products in n^2 / 2 distances: one to three seconds of one core */
	double affordable = fmax(2 * OTP_DIMENSION_LEAST, sqrt(2 * work / (double)d));
	return smaller(count, (int64_t)fmin(affordable, OTP_DIMENSION_MOST));
}

/* ---- duplicates ------------------------------------------------------------ */

typedef struct row {
	const float *values;
	size_t bytes;
} row;

static int by_content(const void *a, const void *b)
{
	const row *x = a, *y = b;
	return memcmp(x->values, y->values, x->bytes);
}

/* Distinct rows, in an order of their bytes; returns how many. */
static int choose_distinct(const float *points, int n, int64_t d, row *rows)
{
	int kept = 0;
	for (int i = 0; i < n; i++)
		rows[i] = (row){points + i * d, (size_t)d * sizeof *points};
	qsort(rows, (size_t)n, sizeof *rows, by_content);
	for (int i = 0; i < n; i++)
		if (i == 0 || by_content(&rows[i], &rows[kept - 1]) != 0)
			rows[kept++] = rows[i];
	return kept;
}

double otp_dimension_distinct(int64_t count, int n, int distinct)
{
	if (distinct >= n || n >= count)
		return distinct >= n ? (double)count : distinct;
	/* n draws from D equally frequent ones show D (1 - (1 - 1/D)^n) of them. */
	double low = distinct, high = (double)count;
	for (int i = 0; i < 60; i++) {
		double middle = (low + high) / 2;
		if (-middle * expm1(n * log1p(-1 / middle)) < distinct)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* ---- distances ------------------------------------------------------------- */

static double distance(const float *a, const float *b, int64_t d)
{
	enum { LANES = 16 };
	float sum[LANES] = {0};
	int64_t i = 0;
	for (; i + LANES <= d; i += LANES)
		for (int k = 0; k < LANES; k++)
			sum[k] += (a[i + k] - b[i + k]) * (a[i + k] - b[i + k]);
	double total = 0;
	for (int k = 0; k < LANES; k++)
		total += (double)sum[k];
	for (; i < d; i++)
		total += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
	return sqrt(fmax(total, DBL_MIN)); /* rows that differ are apart, though a square may vanish */
}

typedef struct nearest {
	double first, second;
} nearest;

static void meet(nearest *n, double distance)
{
	if (distance < n->first) {
		n->second = n->first;
		n->first = distance;
	} else if (distance < n->second) {
		n->second = distance;
	}
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* The value that a share of them reaches at most (Hoare's FIND, 1961: of millions, sorting takes a second).
 * Reorders them. */
static double quantile(double *values, size_t count, double share)
{
	ptrdiff_t wanted = (ptrdiff_t)(share * (double)(count - 1)), low = 0, high = (ptrdiff_t)count - 1;
	while (low < high) {
		double pivot = values[low + (high - low) / 2];
		ptrdiff_t i = low, j = high;
		while (i <= j) {
			while (values[i] < pivot)
				i++;
			while (values[j] > pivot)
				j--;
			if (i <= j) {
				double kept = values[i];
				values[i++] = values[j];
				values[j--] = kept;
			}
		}
		if (wanted <= j)
			high = j;
		else if (wanted >= i)
			low = i;
		else
			break; /* between both sides all are the pivot */
	}
	return values[wanted];
}

/* The two nearest of each; returns the diameter. */
static double compare(const row *rows, int n, int64_t d, nearest *near)
{
	size_t pairs = (size_t)n * (size_t)(n - 1) / 2, at = 0;
	double *all = otp_calloc(pairs, sizeof *all);
	for (int i = 0; i < n; i++)
		near[i] = (nearest){INFINITY, INFINITY};
	for (int i = 0; i < n; i++)
		for (int j = 0; j < i; j++) {
			double far = distance(rows[i].values, rows[j].values, d);
			meet(&near[i], far);
			meet(&near[j], far);
			all[at++] = far;
		}
	double diameter = quantile(all, pairs, 0.99);
	otp_free(all);
	return diameter;
}

/* ---- the estimate ----------------------------------------------------------- */

/* Rate of an exponential law from the r smallest of n values (Epstein and Sobel 1953); r - 1 instead of r
 * makes it unbiased. */
static void fit_rate(double *logs, int n, double most, otp_dimension *out)
{
	int r = n - n / 10;
	double sum = 0;
	qsort(logs, (size_t)n, sizeof *logs, by_size);
	for (int i = 0; i < n; i++)
		sum += logs[i < r ? i : r - 1];
	out->m = fmin((r - 1) / sum, most); /* on a lattice all ratios are 1 */
	out->error = out->m / sqrt(r);
}

/* The dimension from the two nearest of each of n points. */
static void fit(const nearest *near, int n, int64_t d, otp_dimension *out)
{
	double *values = otp_calloc((size_t)n, sizeof *values);
	for (int i = 0; i < n; i++)
		values[i] = log(near[i].second / near[i].first);
	fit_rate(values, n, (double)d, out);
	otp_free(values);
}

bool otp_dimension_estimate(const float *points, int n, int64_t d, otp_dimension *out)
{
	row *rows = otp_calloc((size_t)n, sizeof *rows);
	memset(out, 0, sizeof *out);
	out->points = choose_distinct(points, n, d, rows);
	bool enough = out->points >= OTP_DIMENSION_LEAST;
	if (enough) {
		nearest *near = otp_calloc((size_t)out->points, sizeof *near);
		out->diameter = compare(rows, out->points, d, near);
		fit(near, out->points, d, out);
		otp_free(near);
	}
	otp_free(rows);
	return enough;
}

/* ---- density ------------------------------------------------------------------ */

/* Normal points with these variances along the axes, the same whatever the run's seed is. */
static float *draw_normal(const double *variances, int n, int64_t d)
{
	float *points = otp_calloc((size_t)n, (size_t)d * sizeof *points);
	for (int i = 0; i < n; i++)
		for (int64_t j = 0; j < d; j++) {
			float pair[2];
			otp_philox words = otp_philox_block(otp_stream_make(0, (uint32_t)i, 0),
							    OTP_PURPOSE_EVAL, (uint32_t)j);
			otp_normal_pair(words.v[0], words.v[1], &pair[0], &pair[1]);
			points[i * d + j] = (float)sqrt(fmax(0, variances[j])) * pair[0];
		}
	return points;
}

otp_density otp_density_estimate(const float *points, int n, int64_t d)
{
	otp_density found = {0};
	if (d > OTP_DENSITY_MOST_VALUES)
		return found;
	int values = (int)d;
	double *mean = otp_calloc((size_t)d, sizeof *mean),
	       *covariance = otp_calloc((size_t)(d * d), sizeof *covariance),
	       *variances = otp_calloc((size_t)d, sizeof *variances), total = 0;
	otp_gaussian_moments(points, n, values, mean, covariance);
	otp_symmetric_eigen(covariance, values, variances, covariance);
	for (int j = 0; j < values; j++)
		total += fmax(0, variances[j]);
	float *normal = draw_normal(variances, n, d);
	otp_dimension dimension;
	if (otp_dimension_estimate(normal, n, d, &dimension))
		found.normal_m = dimension.m;
	if (total > 0)
		found.flattest = sqrt(fmax(0, variances[0]) * values / total);
	otp_free(normal);
	otp_free(variances);
	otp_free(covariance);
	otp_free(mean);
	return found;
}

bool otp_density_holds(const otp_density *found, const otp_dimension *dimension, int n)
{
	const double full = 0.75, flat = 0.02, repeated = 0.01;
	return found->normal_m > 0 && dimension->m >= full * found->normal_m && found->flattest >= flat &&
	       dimension->points >= (1 - repeated) * n;
}

/* ---- sigma from dimension and diameter ---------------------------------------- */

static double rate(const otp_dimension *found) { return fmax(found->m, 4); }

double otp_dimension_sigma(const otp_dimension *found, double samples, int64_t d)
{
	return found->diameter / 3 * pow(samples, -1 / rate(found)) / sqrt((double)d);
}

char *otp_dimension_reason(const otp_dimension *found, double samples, int64_t d)
{
	return otp_format(
	    "%.0f different samples, on a set of dimension %.3g +- %.1g (TwoNN) and diameter %.3g: 1/3 x "
	    "%.3g x %.0f^(-1/%.3g) / sqrt(%lld)",
	    samples, found->m, found->error, found->diameter, found->diameter, samples, rate(found),
	    (long long)d);
}
