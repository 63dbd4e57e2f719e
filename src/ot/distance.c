#include "ot/distance.h"

#include "scalar.h"

#include <math.h>
#include <stdlib.h>

double otp_squared_distance(const float *a, const float *b, size_t d)
{
	double sum = 0;
	for (size_t j = 0; j < d; j++)
		sum += ((double)a[j] - (double)b[j]) * ((double)a[j] - (double)b[j]);
	return sum;
}

double otp_mean_distance(const float *a, const float *b, size_t n, size_t d)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += sqrt(otp_squared_distance(a + i * d, b + i * d, d));
	return sum / (double)n;
}

double otp_variance(const float *points, size_t n, size_t d)
{
	double total = 0;
	for (size_t j = 0; j < d; j++) {
		double mean = 0, square = 0;
		for (size_t i = 0; i < n; i++)
			mean += (double)points[i * d + j] / (double)n;
		for (size_t i = 0; i < n; i++)
			square += ((double)points[i * d + j] - mean) * ((double)points[i * d + j] - mean);
		total += square / (double)n;
	}
	return total;
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

static void project(const float *points, size_t n, size_t d, const float *direction, float *out)
{
	for (size_t i = 0; i < n; i++) {
		double sum = 0;
		for (size_t j = 0; j < d; j++)
			sum += (double)points[i * d + j] * (double)direction[j];
		out[i] = (float)sum;
	}
	qsort(out, n, sizeof *out, by_value);
}

static void random_direction(uint64_t seed, int index, size_t d, float *direction)
{
	double length = 0;
	otp_stream stream = otp_stream_make(seed, (uint32_t)index, 0);
	for (size_t j = 0; j < d; j++) {
		float other;
		otp_philox words = otp_philox_block(stream, OTP_PURPOSE_EVAL, (uint32_t)j);
		otp_normal_pair(words.v[0], words.v[1], &direction[j], &other);
		length += (double)direction[j] * (double)direction[j];
	}
	for (size_t j = 0; j < d; j++)
		direction[j] /= (float)sqrt(length);
}

double otp_sliced_w2(const float *a, const float *b, size_t n, size_t d, int directions, uint64_t seed)
{
	float *direction = otp_calloc(d, sizeof *direction);
	float *pa = otp_calloc(n, sizeof *pa), *pb = otp_calloc(n, sizeof *pb);
	double total = 0;
	for (int k = 0; k < directions; k++) {
		random_direction(seed, k, d, direction);
		project(a, n, d, direction, pa);
		project(b, n, d, direction, pb);
		for (size_t i = 0; i < n; i++)
			total += (double)(pa[i] - pb[i]) * (double)(pa[i] - pb[i]);
	}
	otp_free(direction);
	otp_free(pa);
	otp_free(pb);
	return total / ((double)n * directions);
}
