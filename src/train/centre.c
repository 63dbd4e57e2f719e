#include "train/centre.h"
#include "data/loader.h"

#include <string.h>

/* Samples that a mean is taken of: it is then right to a hundredth of the spread, and learned from there. */
enum { MOST = 10000 };

/* Of a set's samples, over the scale: (d). */
static bool mean_of(const otp_dataset *set, double scale, float *mean, otp_error *err)
{
	otp_dataset_info info = otp_dataset_describe(set);
	size_t d = (size_t)info.c;
	int n = info.count && info.count < MOST ? (int)info.count : MOST;
	float *points = otp_calloc((size_t)n * d, sizeof *points);
	bool ok = otp_loader_survey(set, n, points, err);
	for (size_t k = 0; ok && k < d; k++) {
		double sum = 0;
		for (int i = 0; i < n; i++)
			sum += (double)points[(size_t)i * d + k];
		mean[k] = (float)(sum / n / scale);
	}
	otp_free(points);
	return ok;
}

static void set_shift(const otp_params *p, float *row, const char *name, const float *mean, float sign)
{
	for (int k = 0; k < p->count; k++)
		if (strcmp(p->info[k].name, name) == 0)
			for (int64_t i = 0; i < otp_shape_count(p->info[k].shape); i++)
				row[p->info[k].offset + i] = sign * mean[i];
}

/* In the parameters and, where the network has one, in their moving average. */
static void shift(otp_engine *e, otp_network network, const float *input, const float *output)
{
	const otp_params *p = otp_engine_params(e, network);
	int rows = otp_engine_rows(network);
	float *state = otp_calloc((size_t)(p->elements * rows), sizeof *state);
	otp_engine_read(e, network, state);
	for (int row = OTP_ROW_PARAM; row < rows; row++)
		if (row == OTP_ROW_PARAM || row == OTP_ROW_EMA) {
			set_shift(p, state + row * p->elements, OTP_PARAM_INPUT_SHIFT, input, -1);
			set_shift(p, state + row * p->elements, OTP_PARAM_OUTPUT_SHIFT, output, 1);
		}
	otp_engine_write(e, network, state);
	otp_free(state);
}

bool otp_centre(otp_engine *e, const otp_session *s, otp_error *err)
{
	size_t d = (size_t)s->arch.c;
	float *source = otp_calloc(2 * d, sizeof *source), *target = source + d;
	bool ok = mean_of(s->source, (double)s->arch.scale, source, err) &&
		  mean_of(s->target, (double)s->arch.scale, target, err);
	if (ok) {
		shift(e, OTP_TRANSPORT, source, target);
		shift(e, OTP_POTENTIAL, target, target);
	}
	otp_free(source);
	return ok;
}
