#include "ot/truth.h"

#include <math.h>
#include <stdlib.h>

double otp_normal_cdf(double z) { return 0.5 * erfc(-z * 0.70710678118654752); }

double otp_normal_density(double z) { return 0.39894228040143268 * exp(-0.5 * z * z); }

/* An antiderivative of Phi. */
static double normal_cdf_integral(double z) { return z * otp_normal_cdf(z) + otp_normal_density(z); }

double otp_smoothed_uniform_cdf(double t, double sigma)
{
	if (sigma <= 0)
		return t <= -1 ? 0 : t >= 1 ? 1 : (t + 1) / 2;
	return sigma / 2 * (normal_cdf_integral((t + 1) / sigma) - normal_cdf_integral((t - 1) / sigma));
}

double otp_smoothed_uniform_quantile(double p, double sigma)
{
	double low = -1 - 12 * sigma, high = 1 + 12 * sigma;
	for (int i = 0; i < 60; i++) {
		double middle = (low + high) / 2;
		*(otp_smoothed_uniform_cdf(middle, sigma) < p ? &low : &high) = middle;
	}
	return (low + high) / 2;
}

double otp_tangential_cdf(double y, double x, double sigma)
{
	if (y <= -1 || y >= 1)
		return y >= 1;
	return otp_normal_cdf((otp_smoothed_uniform_quantile((y + 1) / 2, sigma) - x) / sigma);
}

double otp_tangential_cost(double sigma)
{
	if (sigma <= 0)
		return 0;
	/* Simpson in x; the trapezium rule in eps, which converges faster than any
	 * power on a smooth integrand that vanishes at both ends. */
	enum { STEPS_X = 400, STEPS_EPS = 160 };
	double total = 0, reach = 9;
	for (int i = 0; i <= STEPS_X; i++) {
		double x = -1 + 2.0 * i / STEPS_X, inner = 0;
		for (int j = 0; j <= STEPS_EPS; j++) {
			double eps = reach * (2.0 * j / STEPS_EPS - 1);
			double error = x - (2 * otp_smoothed_uniform_cdf(x + sigma * eps, sigma) - 1);
			inner += otp_normal_density(eps) * error * error;
		}
		double weight = i == 0 || i == STEPS_X ? 1 : i % 2 ? 4 : 2;
		total += weight / 3 / STEPS_X * inner * 2 * reach / STEPS_EPS;
	}
	return total;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double otp_ks_uniform(double *values, int n)
{
	double most = 0;
	qsort(values, (size_t)n, sizeof *values, by_value);
	for (int i = 0; i < n; i++) {
		double above = (i + 1.0) / n - values[i], below = values[i] - (double)i / n;
		most = fmax(most, fmax(above, below));
	}
	return most;
}
