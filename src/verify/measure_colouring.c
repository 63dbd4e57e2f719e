/* measure, for isoluminant colouring: evaluate's figures as verify names them,
 * samples, and a wheel of exact against learned hues. */
#include "report/grid.h"
#include "train/evaluate.h"
#include "verify/measure.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { INPUTS = 1024, DRAWS_OF_ONE = 512, ROWS = 8, COLUMNS = 7, SPOKES = 256 };

/* b^2 E|v|^2 in [0, 1] units, four times that in [-1, 1]; the sources show v at grey v/2. */
static bool exact_cost(const otp_dataset *source, size_t n, double *cost, otp_error *err)
{
	otp_dataset_info info = otp_dataset_describe(source);
	size_t values = (size_t)info.h * (size_t)info.w * 3;
	float *x = otp_calloc(values, sizeof *x);
	double sum = 0;
	bool ok = true;
	for (size_t i = 0; ok && i < n; i++) {
		ok = otp_dataset_get(source, otp_evaluate_index(source, OTP_SOURCE, (int64_t)i), 0, x, err);
		for (size_t j = 0; j < values; j += 3)
			sum += ((double)x[j] + 1) * ((double)x[j] + 1);
	}
	otp_free(x);
	*cost = 4 * 6.0 / 16 * sum / (double)n;
	return ok;
}

static void add_all(otp_figures *f, const otp_evaluation *e, double truth)
{
	char text[48];
	const otp_colouring *c = &e->colouring;
	snprintf(text, sizeof text, "truth %.4g", truth);
	otp_figures_add(f, "truth_cost", truth, "");
	otp_figures_add_as(f, "cost", "transport_cost", e->transport_cost, text);
	otp_figures_add(f, "cost_error", fabs(e->transport_cost - truth), "0");
	otp_figures_add(f, "target_error", e->target_distance, "");
	otp_figures_add(f, "target_floor", e->floor, "");
	otp_figures_add(f, "hue_agreement", c->hue_agreement, "1");
	otp_figures_add(f, "hue_resultant", c->hue_resultant, "0");
	otp_figures_add(f, "chroma", c->chroma, "1");
	otp_figures_add(f, "shape_rmse", c->shape_rmse, "0");
	otp_figures_add(f, "shape_random", c->shape_random, "");
	otp_figures_add(f, "shape_ratio", c->shape_rmse / c->shape_random, "0");
}

static bool draw_pictures(otp_sampler *s, double sigma, uint64_t seed, const otp_dataset *source,
			  char *const *pictures, otp_error *err)
{
	otp_dataset_info info = otp_dataset_describe(source);
	size_t pixels = (size_t)info.h * (size_t)info.w, values = 3 * pixels;
	float *x = otp_calloc(SPOKES * values, sizeof *x), *y = otp_calloc(SPOKES * values, sizeof *y);
	float *eps = otp_calloc(SPOKES * values, sizeof *eps),
	      *shown = otp_calloc(ROWS * values, sizeof *shown);
	double exact[SPOKES], learned[SPOKES];
	otp_stream streams[SPOKES];
	bool ok = true;
	for (size_t i = 0; ok && i < SPOKES; i++) {
		streams[i] = otp_stream_make(seed, (uint32_t)i, 0x68756573u);
		ok = otp_dataset_get(source, otp_evaluate_index(source, OTP_SOURCE, (int64_t)(i / COLUMNS)),
				     0, x + i * values, err);
		if (i % COLUMNS == 0 && i / COLUMNS < ROWS)
			memcpy(shown + i / COLUMNS * values, x + i * values, values * sizeof *x);
	}
	if (ok)
		otp_sampler_run(s, x, streams, SPOKES, sigma, y, eps);
	for (size_t i = 0; i < SPOKES; i++) {
		otp_hue right = otp_hue_exact(eps + i * values, y + i * values, pixels);
		otp_hue got = otp_hue_of(y + i * values, pixels);
		exact[i] = atan2(right.y, right.x);
		learned[i] = atan2(got.y, got.x);
	}
	ok = ok && otp_grid_write(pictures[0], shown, y, ROWS, COLUMNS, info.h, info.w, 3, err) &&
	     otp_grid_write_wheel(pictures[1], exact, learned, SPOKES, err);
	otp_free(x);
	otp_free(y);
	otp_free(eps);
	otp_free(shown);
	return ok;
}

int otp_measure_colouring(otp_sampler *s, double sigma, uint64_t seed, const otp_dataset *source,
			  const otp_dataset *target, otp_figure *list, char *const *pictures, otp_error *err)
{
	otp_evaluate_options options = {.n = INPUTS, .per_input = DRAWS_OF_ONE, .seed = seed, .sigma = sigma};
	otp_evaluation e;
	otp_figures f = {.each = list, .sliced = true};
	double truth;
	if (!otp_evaluate(s, source, target, &options, &e, err) || !exact_cost(source, INPUTS, &truth, err) ||
	    (pictures && !draw_pictures(s, sigma, seed, source, pictures, err)))
		return 0;
	add_all(&f, &e, truth);
	return f.count;
}
