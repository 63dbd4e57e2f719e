/* gaussian: optimal transport between normal laws, in closed form (Olkin and
 * Pukelsheim 1982; Peyre and Cuturi 2019, remark 2.31):
 *   T(x) = m2 + A (x - m1),   A = S1^-1/2 (S1^1/2 S2 S1^1/2)^1/2 S1^-1/2
 *   W2^2 = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2)
 * Matrices are (d, d), row by row; S1 must be positive definite.
 */
#ifndef OTP_GAUSSIAN_H
#define OTP_GAUSSIAN_H

/* Eigenvalues, the least first, and eigenvectors, one a column, of a symmetric matrix (LAPACK's dsyevd);
 * vectors may be s. */
void otp_symmetric_eigen(const double *s, int d, double *values, double *vectors);

/* s^power of a symmetric matrix by its eigenvectors;
 * eigenvalues below 0 by rounding count as 0. */
void otp_symmetric_power(const double *s, int d, double power, double *out);

/* A into `map` unless NULL; returns tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2), the
 * squared Bures distance. */
double otp_gaussian_bures(const double *s1, const double *s2, int d, double *map);

/* Mean (d) and covariance (d, d) of n points. */
void otp_gaussian_moments(const float *points, int n, int d, double *mean, double *covariance);

#endif
