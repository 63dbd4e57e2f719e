/* features: distances of two sets of features, one row each, as evaluations of generated pictures use them.
 *
 * frechet  |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2) with unbiased covariances (Heusel et al. 2017: of
 *          Inception's features that is FID); singular where rows are fewer than values
 * kid      the squared maximum mean discrepancy with kernel (x.y / d + 1)^3, without bias: mean over subsets
 *          of rows (Binkowski et al. 2018), which a seed chooses, and the spread of one subset's value
 */
#ifndef OTP_FEATURES_H
#define OTP_FEATURES_H

#include "core/base.h"

typedef struct otp_feature_distance {
	double frechet, kid, kid_spread;
	int subsets, rows; /* of KID: how many, of so many rows each */
} otp_feature_distance;

/* a: (n, d), b: (m, d), 2 rows at least. */
otp_feature_distance otp_feature_distances(const float *a, int n, const float *b, int m, int d);

#endif
