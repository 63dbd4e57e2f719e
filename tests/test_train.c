/* train: what settings mean step by step, what a sample depends on, and the
 * measures of an evaluation on data whose answer is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/close.h"
#include "config/rules.h"
#include "config/settings.h"
#include "laws/colour.h"
#include "model/translator.h"
#include "ot/colouring.h"
#include "ot/distance.h"
#include "scalar.h"
#include "train/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static otp_config settings(const char *lines)
{
	otp_error err = {0};
	otp_config c;
	otp_config_defaults(&c);
	if (!otp_config_parse(&c, lines, "test", &err) || !otp_config_check(&c, &err))
		fail_msg("%s", err.text);
	return c;
}

/* ---- schedules ------------------------------------------------------------------ */

static void sigma_falls_in_its_shape(void **state)
{
	(void)state;
	const struct {
		const char *shape;
		double first, middle, last;
	} cases[] = {
	    {"linear", 2, 2 - 1.5 * 0.5, 0.5}, {"cosine", 2, 0.5 + 1.5 * 0.5, 0.5},
	    {"geometric", 2, 1, 0.5},	       {"constant", 2, 2, 2},
	    {"none", 0.5, 0.5, 0.5},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char lines[200];
		snprintf(
		    lines, sizeof lines,
		    "steps = 200\nanneal-fraction = 0.5\nsigma-start = 2\nsigma-end = 0.5\nanneal = %s\n",
		    cases[i].shape);
		otp_config c = settings(lines);
		assert_close(otp_settings_sigma(&c, 1), cases[i].first, 1e-12);
		assert_close(otp_settings_sigma(&c, 51), cases[i].middle, 1e-12);
		assert_close(otp_settings_sigma(&c, 101), cases[i].last, 1e-12);
		assert_close(otp_settings_sigma(&c, 200), cases[i].last, 1e-12);
		for (int step = 2; step <= 200; step++)
			assert_true(otp_settings_sigma(&c, step) <= otp_settings_sigma(&c, step - 1));
	}
}

static void sigma_at_the_edges(void **state)
{
	(void)state;
	otp_config c = settings("steps = 1\nsigma-start = 2\nsigma-end = 0.5\nanneal-fraction = 0\n");
	assert_close(otp_settings_sigma(&c, 1), 0.5, 0);
	c = settings("steps = 100\nanneal = linear\nsigma-start = 1\nsigma-end = 0\n");
	assert_close(otp_settings_sigma(&c, 100), 0, 0);
	c = settings("formulation = otm\n");
	assert_close(otp_settings_sigma(&c, 1), 0, 0);
	c = settings("steps = 100\nsigma-end = auto\nsigma-auto = 0.2\n");
	assert_close(otp_settings_sigma(&c, 100), 0.2, 0);
	/* The last step's is the one to translate with, also where the way is the whole run. */
	c = settings("steps = 1000\nanneal-fraction = 1\n");
	assert_close(otp_settings_sigma(&c, 1000), c.sigma_end, 0.003 * c.sigma_end);
}

static void r1_follows_the_annealing(void **state)
{
	(void)state;
	otp_config c = settings("steps = 200\nanneal-fraction = 0.5\nr1 = 4\nr1-end = 1\n");
	assert_close(otp_settings_r1(&c, 1), 4, 1e-12);
	assert_close(otp_settings_r1(&c, 51), 2, 1e-12);
	assert_close(otp_settings_r1(&c, 101), 1, 1e-12);
	assert_close(otp_settings_r1(&c, 200), 1, 1e-12);
	c = settings("r1 = 4\n");
	assert_close(otp_settings_r1(&c, 1), 4, 0);
	assert_close(otp_settings_r1(&c, c.steps), 4, 0);
	c = settings("steps = 200\nanneal-fraction = 0.5\nr1 = 4\nr1-end = 0\n");
	assert_close(otp_settings_r1(&c, 51), 2, 1e-12);
	assert_close(otp_settings_r1(&c, 200), 0, 0);
	c = settings("r1 = 0\n");
	assert_close(otp_settings_r1(&c, 1), 0, 0);
}

static void rates_rise_and_fall(void **state)
{
	(void)state;
	otp_config c =
	    settings("steps = 100\nwarmup = 10\ndecay = linear\ndecay-from = 0.5\ndecay-to = 0.2\n");
	assert_close(otp_settings_rate(&c, 1), 0.1, 1e-12);
	assert_close(otp_settings_rate(&c, 5), 0.5, 1e-12);
	assert_close(otp_settings_rate(&c, 10), 1, 1e-12);
	assert_close(otp_settings_rate(&c, 50), 1, 1e-12);
	assert_close(otp_settings_rate(&c, 75), 0.6, 1e-12);
	assert_close(otp_settings_rate(&c, 100), 0.2, 1e-12);
	c = settings("steps = 100\ndecay = cosine\ndecay-from = 0\ndecay-to = 0\n");
	assert_close(otp_settings_rate(&c, 50), 0.5, 1e-12);
	assert_close(otp_settings_rate(&c, 100), 0, 1e-12);
	c = settings("steps = 100\ndecay = constant\n");
	assert_close(otp_settings_rate(&c, 1), 1, 0);
	assert_close(otp_settings_rate(&c, 100), 1, 0);
	/* Nothing is left to fall over. */
	c = settings("steps = 100\ndecay = linear\ndecay-from = 1\n");
	assert_close(otp_settings_rate(&c, 100), 1, 0);
}

static void schedules_are_held_at_their_end(void **state)
{
	(void)state;
	const char *lines = "anneal-fraction = 1\nr1 = 4\nr1-end = 1\ndecay = cosine\ndecay-to = 0\n";
	char text[200];
	snprintf(text, sizeof text, "%ssteps = 100\n", lines);
	otp_config whole = settings(text);
	snprintf(text, sizeof text, "%ssteps = 300\nschedule-steps = 100\n", lines);
	otp_config longer = settings(text);
	for (int step = 1; step <= 300; step++) {
		int held = step < 100 ? step : 100;
		assert_true(otp_settings_sigma(&longer, step) == otp_settings_sigma(&whole, held));
		assert_true(otp_settings_r1(&longer, step) == otp_settings_r1(&whole, held));
		assert_true(otp_settings_rate(&longer, step) == otp_settings_rate(&whole, held));
	}
	/* Rates that never fell do not fall later. */
	longer = settings("steps = 300\nschedule-steps = 100\ndecay = linear\ndecay-from = 1\n");
	assert_close(otp_settings_rate(&longer, 300), 1, 0);
}

static void aimed_networks_are_sharp(void **state)
{
	(void)state;
	otp_config c = settings("start = aimed\n");
	otp_settings_settle(&c);
	assert_close(c.sharpness, 10, 0);
	assert_close(c.potential_sharpness, 20, 0);
	c = settings("start = aimed\nsharpness = 3\n");
	otp_settings_settle(&c);
	assert_close(c.sharpness, 3, 0);
	c = settings("start = plain\n");
	otp_settings_settle(&c);
	assert_close(c.sharpness, 1, 0);
	assert_close(c.potential_sharpness, 1, 0);
}

static void data_choose_the_preset(void **state)
{
	(void)state;
	assert_string_equal(otp_settings_preset_for(true, 1, true), "vector");
	const struct {
		int size;
		const char *on_gpu, *on_cpu;
	} cases[] = {{8, "quickstart", "quickstart"}, {16, "quickstart", "quickstart"},
		     {28, "32", "photo-32"},	      {32, "32", "photo-32"},
		     {64, "64", "photo-64"},	      {100, "128", "photo-64"},
		     {1024, "256", "photo-64"}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_string_equal(otp_settings_preset_for(false, cases[i].size, true), cases[i].on_gpu);
		assert_string_equal(otp_settings_preset_for(false, cases[i].size, false), cases[i].on_cpu);
	}
}

/* Settings under the rules for samples of size x size x 3. */
static otp_config ruled(const char *lines, int size)
{
	otp_error err = {0};
	otp_config c =
	    settings("tau = auto\nr1 = auto\nlr_g = auto\nlr_d = auto\nwarmup = auto\nema = auto\n");
	assert_true(otp_config_parse(&c, lines, "lines", &err));
	assert_true(otp_rules_settle(&c, false, size * size * 3, &err));
	return c;
}

static void rules_follow_size_batch_and_length(void **state)
{
	(void)state;
	otp_config c = ruled("batch = 16\nwidth = 32\npotential-width = 32\nsteps = 4000\n", 32);
	assert_close(c.tau, 12.0 / 3072, 1e-12);
	assert_close(2 * c.tau * c.r1, 0.004, 1e-12);
	assert_close(c.lr_g, 4e-4, 1e-12);
	assert_close(c.lr_d, 2e-4, 1e-12);
	assert_close(c.warmup, 80, 0);
	assert_close(c.ema, 1 - 1 / 400.0, 1e-12);

	c = ruled("batch = 64\nwidth = 128\npotential-width = 64\nsteps = 300000\n", 64);
	assert_close(c.tau, 12.0 / 12288, 1e-12);
	assert_close(2 * c.tau * c.r1, 0.004, 1e-12);
	assert_close(c.lr_g, 2e-4, 1e-12);
	assert_close(c.lr_d, 2e-4, 1e-12);
	assert_close(c.warmup, 1000, 0);
	assert_close(c.ema, 0.9999, 0);

	/* What is said stays, and R1 follows the tau that is said; longer runs keep their values. */
	c = ruled("tau = 0.5\nema = 0.9\nlr_d = 0\n", 32);
	assert_close(c.tau, 0.5, 0);
	assert_close(c.r1, 0.004, 1e-12);
	assert_close(c.ema, 0.9, 0);
	assert_close(c.lr_d, 0, 0);
	otp_config longer = c;
	otp_error err = {0};
	longer.steps *= 2;
	assert_true(otp_rules_settle(&longer, false, 3072, &err));
	assert_close(longer.warmup, c.warmup, 0);

	assert_close(ruled("steps = 3\n", 32).ema, 0, 0);
	c = settings("lr_g = auto\n");
	assert_false(otp_rules_settle(&c, true, 2, &err));
	assert_non_null(strstr(err.text, "--lr_g: auto is for images"));
}

static void unbalanced_means_a_g(void **state)
{
	(void)state;
	otp_arch arch = {.vectors = true, .h = 1, .w = 1, .c = 2};
	otp_config c = settings("tau = 0.25\n");
	assert_int_equal(otp_settings_objective(&c, &arch).g, OTP_G_LINEAR);
	assert_close(otp_settings_objective(&c, &arch).tau, 0.25, 0);
	c = settings("formulation = uotm\n");
	assert_int_equal(otp_settings_objective(&c, &arch).g, OTP_G_SOFTPLUS);
	c = settings("formulation = uotm\ng = kl\n");
	assert_int_equal(otp_settings_objective(&c, &arch).g, OTP_G_KL);
}

/* ---- the sampler ----------------------------------------------------------------- */

enum { SIZE = 8, COUNT = 37 };

typedef struct drawing {
	otp_runtime place;
	otp_arch arch;
	otp_params *params;
	void *weights;
	otp_sampler *sampler;
} drawing;

static void open_drawing(drawing *d, int threads, bool vectors)
{
	otp_error err = {0};
	otp_config c = settings(
	    "width = 8\nmultipliers = 1,1\nblocks = 1\nattention = none\nlatent = 3\nembedding = 8\n");
	assert_true(otp_runtime_open("cpu", 0, "f32", threads, &d->place, &err));
	assert_true(
	    otp_settings_arch(&c, vectors, vectors ? 1 : SIZE, vectors ? 1 : SIZE, 3, &d->arch, &err));
	d->params = otp_params_new();
	otp_sample_graph probe = otp_sample_build(&d->arch, d->params, 0, 1, false);
	otp_graph_free(probe.graph);
	size_t count = (size_t)d->params->elements;
	float *row = otp_calloc(count, sizeof *row);
	/* Every parameter random, the zeros of the last layer too, or the noise would not show. */
	otp_stream stream = otp_stream_make(3, 0, 0);
	for (size_t i = 0; i < count; i++)
		row[i] = 0.4f * (otp_random_uniform(stream, OTP_PURPOSE_INIT, (uint32_t)i) - 0.5f);
	const otp_backend *backend = d->place.backend;
	d->weights = backend->alloc(d->place.device, count * backend->element_bytes[OTP_F32]);
	backend->upload(d->place.device, d->weights, OTP_F32, row, d->params->elements);
	backend->wait(d->place.device);
	otp_free(row);
	d->sampler = otp_sampler_new(&d->place, &d->arch, d->params, d->weights, 0, OTP_SMOOTHING_ADDITIVE,
				     false, &err);
	assert_non_null(d->sampler);
}

static void close_drawing(drawing *d)
{
	otp_sampler_free(d->sampler);
	d->place.backend->release(d->place.device, d->weights);
	otp_params_free(d->params);
	otp_runtime_close(&d->place);
}

/* More than a chunk for pictures, less for vectors: alone, shifted, on other threads, the same bits. */
static void check_positions(bool vectors)
{
	drawing one, three;
	open_drawing(&one, 1, vectors);
	open_drawing(&three, 3, vectors);
	size_t floats = (size_t)(one.arch.h * one.arch.w * one.arch.c);
	float *x = otp_calloc(COUNT * floats, sizeof *x), *y = otp_calloc(COUNT * floats, sizeof *y);
	float *eps = otp_calloc(COUNT * floats, sizeof *eps),
	      *other = otp_calloc(COUNT * floats, sizeof *other);
	otp_stream streams[COUNT];
	for (size_t i = 0; i < COUNT * floats; i++)
		x[i] = (float)((i * 7919) % 201) / 100 - 1;
	for (uint32_t i = 0; i < COUNT; i++)
		streams[i] = otp_stream_make(11, i, 0);
	otp_sampler_run(one.sampler, x, streams, COUNT, 0.3, y, eps);
	otp_sampler_run(three.sampler, x, streams, COUNT, 0.3, other, NULL);
	assert_memory_equal(y, other, COUNT * floats * sizeof *y);
	const int64_t firsts[] = {0, 1, 15, 16, 17, 36};
	for (size_t k = 0; k < sizeof firsts / sizeof *firsts; k++) {
		size_t first = (size_t)firsts[k];
		otp_sampler_run(three.sampler, x + first * floats, streams + first, 1, 0.3, other, NULL);
		assert_memory_equal(y + first * floats, other, floats * sizeof *y);
		otp_sampler_run(one.sampler, x + first * floats, streams + first, COUNT - (int64_t)first, 0.3,
				other, NULL);
		assert_memory_equal(y + first * floats, other, (COUNT - first) * floats * sizeof *y);
	}
	/* Another stream is another sample of the same input; the noise is handed out as it was drawn. */
	otp_stream stream = otp_stream_make(12, 0, 0);
	otp_sampler_run(one.sampler, x, &stream, 1, 0.3, other, NULL);
	assert_memory_not_equal(y, other, floats * sizeof *y);
	double square = 0;
	for (size_t i = 0; i < COUNT * floats; i++)
		square += (double)eps[i] * (double)eps[i];
	assert_close(square / (double)(COUNT * floats), 1, 6 * sqrt(2.0 / (double)(COUNT * floats)));
	otp_free(x);
	otp_free(y);
	otp_free(eps);
	otp_free(other);
	close_drawing(&one);
	close_drawing(&three);
}

static void samples_know_no_neighbours(void **state)
{
	(void)state;
	check_positions(false);
	check_positions(true);
}

/* ---- measures -------------------------------------------------------------------- */

static void fill_normal(float *values, size_t count, uint32_t which)
{
	otp_stream stream = otp_stream_make(21, which, 0);
	for (size_t i = 0; i + 1 < count; i += 2) {
		otp_philox words = otp_philox_block(stream, OTP_PURPOSE_SYNTH, (uint32_t)(i / 2));
		otp_normal_pair(words.v[0], words.v[1], &values[i], &values[i + 1]);
	}
}

/* Between N(0, I) and N(m, s^2 I) in d dimensions: |m|^2 / d + (1 - s)^2. */
static void sliced_distance_of_gaussians(void **state)
{
	(void)state;
	enum { N = 4000, D = 4, DIRECTIONS = 256 };
	float *a = otp_calloc(N * D, sizeof *a), *b = otp_calloc(N * D, sizeof *b);
	fill_normal(a, N * D, 0);
	assert_close(otp_sliced_w2(a, a, N, D, DIRECTIONS, 1), 0, 0);
	const struct {
		double m, s;
	} cases[] = {{0, 1}, {2, 1}, {0, 2}, {3, 0.5}};
	for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
		fill_normal(b, N * D, 1);
		for (size_t i = 0; i < N * D; i++)
			b[i] = (float)cases[k].s * b[i] + (i % D == 0 ? (float)cases[k].m : 0);
		double m2 = cases[k].m * cases[k].m / D, truth = m2 + (1 - cases[k].s) * (1 - cases[k].s);
		/* Directions: the square of a component of a unit vector has relative spread
		 * sqrt(2 (D - 1) / (D + 2)); samples: a few over N. Four of each. */
		double bound =
		    4 * (m2 * sqrt(2.0 * (D - 1) / (D + 2) / DIRECTIONS) + (truth + 0.05) * sqrt(4.0 / N)) +
		    0.01;
		assert_close(otp_sliced_w2(a, b, N, D, DIRECTIONS, 1), truth, bound);
		assert_close(otp_sliced_w2(a, b, N, D, DIRECTIONS, 1),
			     otp_sliced_w2(b, a, N, D, DIRECTIONS, 1), 1e-12);
	}
	/* In one dimension it is W2 itself: a shift costs its square exactly. */
	for (size_t i = 0; i < N; i++)
		b[i] = a[i] + 1.5f;
	assert_close(otp_sliced_w2(a, b, N, 1, 3, 1), 2.25, 1e-5);
	otp_free(a);
	otp_free(b);
}

enum { PICTURES = 24, PIXELS = 64 };

/* Shapes v, greys of brightness times v, noise, and the exact map's colours with `turn` added to the hue. */
typedef struct colours {
	float x[PICTURES * PIXELS * 3], eps[PICTURES * PIXELS * 3], y[PICTURES * PIXELS * 3];
} colours;

static void colour_exactly(colours *c, double brightness, double turn)
{
	otp_stream stream = otp_stream_make(31, 0, 0);
	fill_normal(c->eps, PICTURES * PIXELS * 3, 2);
	for (uint32_t i = 0; i < PICTURES; i++) {
		float v[PIXELS], *x = c->x + 3 * PIXELS * i, *y = c->y + 3 * PIXELS * i, factor[3];
		const float *eps = c->eps + 3 * PIXELS * i;
		double along1 = 0, along2 = 0;
		for (uint32_t p = 0; p < PIXELS; p++) {
			v[p] = otp_random_uniform(stream, OTP_PURPOSE_SYNTH, i * PIXELS + p);
			along1 += (double)v[p] * (double)(2 * eps[3 * p] - eps[3 * p + 1] - eps[3 * p + 2]) /
				  sqrt(6);
			along2 += (double)v[p] * (double)(eps[3 * p + 1] - eps[3 * p + 2]) / sqrt(2);
		}
		otp_colour_factors(OTP_COLOUR_ISOLUMINANT, atan2(along2, along1) + turn, factor);
		for (int k = 0; k < 3 * PIXELS; k++) {
			x[k] = 2 * (float)brightness * v[k / 3] - 1;
			y[k] = 2 * factor[k % 3] * v[k / 3] - 1;
		}
	}
}

static void exact_colouring_measures_exact(void **state)
{
	(void)state;
	colours *c = otp_calloc(1, sizeof *c);
	const double brightness[] = {0.5, 1};
	for (int k = 0; k < 2; k++) {
		otp_colouring m = {0};
		colour_exactly(c, brightness[k], 0);
		assert_close(otp_colouring_brightness(c->x, PICTURES, c->y, PICTURES, PIXELS), brightness[k],
			     1e-5);
		otp_colouring_measure(c->x, c->eps, c->y, PICTURES, PIXELS, brightness[k], &m);
		assert_close(m.hue_agreement, 1, 1e-6);
		assert_close(m.chroma, 1, 1e-5);
		assert_close(m.shape_rmse, 0, 1e-5);
		/* Two independent uniforms differ by sqrt(1/6) rms. */
		assert_close(m.shape_random, sqrt(1.0 / 6), 0.03);
	}
	otp_free(c);
}

static void wrong_colouring_measures_wrong(void **state)
{
	(void)state;
	colours *c = otp_calloc(1, sizeof *c);
	otp_colouring m = {0};
	colour_exactly(c, 0.5, OTP_PI / 3);
	otp_colouring_measure(c->x, c->eps, c->y, PICTURES, PIXELS, 0.5, &m);
	assert_close(m.hue_agreement, 0.5, 1e-5);
	colour_exactly(c, 0.5, OTP_PI);
	otp_colouring_measure(c->x, c->eps, c->y, PICTURES, PIXELS, 0.5, &m);
	assert_close(m.hue_agreement, -1, 1e-5);
	/* Untouched greys have shape and no colour. */
	memcpy(c->y, c->x, sizeof c->y);
	otp_colouring_measure(c->x, c->eps, c->y, PICTURES, PIXELS, 0.5, &m);
	assert_close(m.chroma, 0, 1e-5);
	otp_free(c);
}

static void resultant_of_hues(void **state)
{
	(void)state;
	enum { HUES = 360 };
	float *y = otp_calloc(HUES * PIXELS * 3, sizeof *y), factor[3];
	const struct {
		double sweep, truth;
	} cases[] = {{2 * OTP_PI, 0}, {0, 1}, {OTP_PI, 2 / OTP_PI}};
	for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
		for (int i = 0; i < HUES; i++) {
			otp_colour_factors(OTP_COLOUR_ISOLUMINANT, cases[k].sweep * i / HUES, factor);
			for (int j = 0; j < 3 * PIXELS; j++)
				y[i * 3 * PIXELS + j] = factor[j % 3] * (float)(j / 3 % 7) / 3.5f - 1;
		}
		assert_close(otp_hue_resultant(y, HUES, PIXELS), cases[k].truth, 1e-4);
	}
	otp_free(y);
}

/* Evaluation pictures of generated sides are nobody's training data, and never the other side's. */
static void evaluation_draws_apart(void **state)
{
	(void)state;
	otp_error err = {0};
	otp_dataset *endless = otp_dataset_open("synth:moons", 1, &err),
		    *ten = otp_dataset_open("synth:moons?limit=10", 1, &err);
	assert_true(endless && ten);
	assert_true(otp_evaluate_index(endless, OTP_SOURCE, 5) > UINT32_MAX);
	assert_true(otp_evaluate_index(endless, OTP_TARGET, 5) - otp_evaluate_index(endless, OTP_SOURCE, 5) >
		    UINT32_MAX);
	assert_int_equal(otp_evaluate_index(ten, OTP_SOURCE, 3), 3);
	assert_int_equal(otp_evaluate_index(ten, OTP_TARGET, 13), 3);
	otp_dataset_close(endless);
	otp_dataset_close(ten);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sigma_falls_in_its_shape),
	    cmocka_unit_test(sigma_at_the_edges),
	    cmocka_unit_test(r1_follows_the_annealing),
	    cmocka_unit_test(rates_rise_and_fall),
	    cmocka_unit_test(data_choose_the_preset),
	    cmocka_unit_test(rules_follow_size_batch_and_length),
	    cmocka_unit_test(schedules_are_held_at_their_end),
	    cmocka_unit_test(aimed_networks_are_sharp),
	    cmocka_unit_test(unbalanced_means_a_g),
	    cmocka_unit_test(samples_know_no_neighbours),
	    cmocka_unit_test(sliced_distance_of_gaussians),
	    cmocka_unit_test(exact_colouring_measures_exact),
	    cmocka_unit_test(wrong_colouring_measures_wrong),
	    cmocka_unit_test(resultant_of_hues),
	    cmocka_unit_test(evaluation_draws_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
