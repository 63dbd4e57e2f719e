/* assignment: exact discrete optimal transport between equally many points.
 *
 * Shortest augmenting paths: Jonker and Volgenant (Computing 38, 1987) in the
 * form of Crouse, "On implementing 2D rectangular assignment algorithms" (IEEE
 * Trans. Aerospace and Electronic Systems 52, 2016), without its initial
 * heuristics. O(n^3) at worst, exact at any n that fits into memory.
 */
#ifndef OTP_ASSIGNMENT_H
#define OTP_ASSIGNMENT_H

#include <stddef.h>

/* Least sum over i of cost[i * n + to[i]], `to` a permutation. Finite costs expected. */
double otp_assignment_solve(const double *cost, int n, int *to);

/* W2^2 between two samples of n points of d values: the mean squared distance
 * of the best pairing. `to` (n) gets the pairing unless NULL. */
double otp_assignment_w2(const float *a, const float *b, int n, int d, int *to);

#endif
