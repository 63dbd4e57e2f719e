/* dimension: what a sample says about the set it lies on, for the choice of
 * where annealing ends: intrinsic dimension and diameter.
 *
 * TwoNN (Facco, d'Errico, Rodriguez, Laio, Scientific Reports 7, 2017): where
 * the density hardly changes between a point's two nearest neighbours, the log
 * of their distances' ratio is exponential with rate m. The upper tenth of the
 * ratios, where outliers and near duplicates are, counts as censored, which
 * bounds what they do; exact duplicates count once.
 */
#ifndef OTP_DIMENSION_H
#define OTP_DIMENSION_H

#include <stdbool.h>
#include <stdint.h>

enum {
	OTP_DIMENSION_LEAST = 20,  /* distinct points below which nothing is said */
	OTP_DIMENSION_MOST = 2000, /* points worth comparing */
};

typedef struct otp_dimension {
	int points;	 /* distinct ones */
	double m, error; /* intrinsic dimension, its standard error m / sqrt(ratios not censored) */
	double diameter; /* 99 % of the pairs are at most so far apart */
} otp_dimension;

/* How many points of d values to compare, so that it takes seconds at most. */
int otp_dimension_sample(int64_t count, int64_t d);

/* From n points (n, d). False where fewer than OTP_DIMENSION_LEAST of them are distinct; `points` says how
 * many are. */
bool otp_dimension_estimate(const float *points, int n, int64_t d, otp_dimension *out);

/* Of how many distinct samples a set seems to consist, if `distinct` of n draws from it differ: all of
 * `count` where all differ. */
double otp_dimension_distinct(int64_t count, int n, int distinct);

/* Where annealing may end for so many samples of d values (docs/method.md has the sweep behind it):
 *   sigma = 1/3 diameter samples^(-1/max(m, 4)) / sqrt(d)
 * Smoothing by sigma moves a law by at most W2 = sigma sqrt(d), N samples stand for one to about diameter
 * N^(-1/max(m, 4)), and where the first is a third of the second it adds little to their squares' sum. */
double otp_dimension_sigma(const otp_dimension *found, double samples, int64_t d);
/* The same with its numbers, for people; otp_free it. */
char *otp_dimension_reason(const otp_dimension *found, double samples, int64_t d);

#endif
