/* truth: the exact smoothed plans of the singular problems, and how far a
 * sample is from a law on the line.
 *
 * Additive smoothing x' = x + sigma eps, cost |x - y|^2. perpendicular: the
 * source lies along the first k axes, the target U([-1,1]^k) along the next k;
 * the smoothed map is 2 Phi(x'_i / sigma) - 1 along each of these. one-to-many:
 * U([-1,1]^m) onto itself displaced by +1 or -1 along a normal n; tangentially
 * 2 F(x'_i) - 1, F the distribution function of U[-1,1] + N(0, sigma^2), and
 * the side is the sign of x' along n. Both maps are monotone in independent
 * coordinates, hence optimal at every sigma > 0.
 */
#ifndef OTP_TRUTH_H
#define OTP_TRUTH_H

double otp_normal_cdf(double z);
double otp_normal_density(double z);

/* F(t), the distribution function of U[-1,1] + N(0, sigma^2), and its inverse. */
double otp_smoothed_uniform_cdf(double t, double sigma);
double otp_smoothed_uniform_quantile(double p, double sigma);

/* P(2 F(x + sigma eps) - 1 <= y): the law of a tangential coordinate at x. */
double otp_tangential_cdf(double y, double x, double sigma);

/* The smoothed plan's cost from x: E (x - (2 F(x + sigma eps) - 1))^2 along one
 * tangential direction, by quadrature to about 1e-9. */
double otp_tangential_cost(double sigma);

/* Kolmogorov-Smirnov statistic of n values against U[0, 1]; sorts them. */
double otp_ks_uniform(double *values, int n);

#endif
