/* dimension: what a sample says about the set it lies on, for the choice of
 * where annealing ends: intrinsic dimension, diameter, and whether it has a
 * density.
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

/* Whether a law seems to have a density, which makes the optimal plan from it a map (Brenier) and smoothing
 * needless. TwoNN is short in many dimensions, and by how much depends on the number of points and on how
 * unequal the directions are; so it is compared with what it makes of as many points of a normal law of the
 * same covariance. Laws with a density come to 0.8 of that or more, clusters to over 1, sets on curves or
 * surfaces to 0.7 or less (docs/method.md has the trials). A flat set, inside a subspace, is seen by its
 * covariance, and one that repeats its points by its duplicates. */
typedef struct otp_density {
	double
	    normal_m; /* TwoNN of the normal law; 0 where d is above OTP_DENSITY_MOST_VALUES: none is found */
	double flattest; /* least standard deviation over directions, in units of their rms */
} otp_density;

enum { OTP_DENSITY_MOST_VALUES = 1024 };

/* From the n points (n, d) of the estimate of their dimension. */
otp_density otp_density_estimate(const float *points, int n, int64_t d);
bool otp_density_holds(const otp_density *found, const otp_dimension *dimension, int n);

/* Where annealing may end for so many samples of d values (docs/method.md has the sweep behind it):
 *   sigma = 1/3 diameter samples^(-1/max(m, 4)) / sqrt(d)
 * Smoothing by sigma moves a law by at most W2 = sigma sqrt(d), N samples stand for one to about diameter
 * N^(-1/max(m, 4)), and where the first is a third of the second it adds little to their squares' sum. */
double otp_dimension_sigma(const otp_dimension *found, double samples, int64_t d);
/* The same with its numbers, for people; otp_free it. */
char *otp_dimension_reason(const otp_dimension *found, double samples, int64_t d);

#endif
