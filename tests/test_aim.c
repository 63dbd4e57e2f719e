/* aim: aimed first weights lie where the data is, and nothing else is touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/close.h"
#include "laws/laws.h"
#include "nn/layers.h"
#include "train/game.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { D = 24, M = 3, WIDTH = 20 };

static const char *const LINES =
    "source = synth:one-to-many-source?d=24&m=3\ntarget = synth:one-to-many-target?d=24&m=3\n"
    "batch = 8\nwidth = 20\npotential-width = 20\npotential-quadratic = 24\nsigma-end = 0.1\n"
    "potential-gain = 3\npotential-sharpness = 2\nsharpness = 2\nquadratic-gain = 4\nseed = 3\n";

/* Both networks' fresh states, the generator's first. */
typedef struct fresh {
	float *state[OTP_NETWORKS];
	otp_params *params[OTP_NETWORKS];
	otp_session session;
	otp_runtime place;
	otp_game game;
} fresh;

static void open_fresh(fresh *f, const char *more)
{
	otp_error err = {0};
	otp_config c;
	otp_config_defaults(&c);
	if (!otp_config_preset(&c, "vector", &err) || !otp_config_parse(&c, LINES, "test", &err) ||
	    !otp_config_parse(&c, more, "test", &err) || !otp_config_check(&c, &err) ||
	    !otp_session_open(&c, &f->session, &err) ||
	    !otp_runtime_open("cpu", 0, "f32", 1, &f->place, &err) ||
	    !otp_game_open(&f->game, &f->session, &f->place, &err))
		fail_msg("%s", err.text);
	for (otp_network n = 0; n < OTP_NETWORKS; n++) {
		f->params[n] = otp_engine_params(f->game.engine, n);
		f->state[n] =
		    otp_calloc((size_t)(f->params[n]->elements * otp_engine_rows(n)), sizeof(float));
		otp_engine_read(f->game.engine, n, f->state[n]);
	}
}

static void close_fresh(fresh *f)
{
	for (otp_network n = 0; n < OTP_NETWORKS; n++)
		otp_free(f->state[n]);
	otp_game_close(&f->game);
	otp_runtime_close(&f->place);
	otp_session_close(&f->session);
}

static const float *values(const fresh *f, otp_network n, const char *name)
{
	for (int k = 0; k < f->params[n]->count; k++)
		if (strcmp(f->params[n]->info[k].name, name) == 0)
			return f->state[n] + f->params[n]->info[k].offset;
	fail_msg("no parameter %s", name);
	return NULL;
}

/* The law of both sides knows the rotation; column j is the j-th straight direction. */
static otp_law *straight(void)
{
	otp_error err = {0};
	otp_law *law = otp_law_new("one-to-many-source", (otp_law_params){.d = D, .m = M}, 3, NULL, &err);
	assert_non_null(law);
	return law;
}

static double along(const otp_law *law, const float *row, int j)
{
	double sum = 0;
	for (int i = 0; i < D; i++)
		sum += law->rotation[i * D + j] * (double)row[i];
	return sum;
}

/* The straight direction, of those that hold something, to which a row lies nearest. */
static int nearest_axis(const otp_law *law, const float *row)
{
	int nearest = 0;
	for (int j = 1; j <= M; j++)
		if (fabs(along(law, row, j)) > fabs(along(law, row, nearest)))
			nearest = j;
	return nearest;
}

static double length(const float *row)
{
	double sum = 0;
	for (int i = 0; i < D; i++)
		sum += (double)row[i] * (double)row[i];
	return sqrt(sum);
}

/* Share of a row's square in the first `used` straight directions. */
static double share(const otp_law *law, const float *row, int used)
{
	double sum = 0;
	for (int j = 0; j < used; j++)
		sum += along(law, row, j) * along(law, row, j);
	return sum / (length(row) * length(row));
}

/* ---- first layers -------------------------------------------------------------- */

/* Of the network's own length; those along components may be up to four times as long, for a faster bend. */
static void check_length(const float *row, double own, bool component)
{
	double times = length(row) / (own * (double)OTP_GAIN_DEFAULT);
	assert_true(component ? times > 1 - 1e-5 && times < 4 + 1e-5 : fabs(times - 1) < 1e-5);
}

static void units_lie_in_the_data(void **state)
{
	(void)state;
	fresh f;
	otp_law *law = straight();
	open_fresh(&f, "aim = on\n");
	const float *v = values(&f, OTP_POTENTIAL, "in.weight"), *t = values(&f, OTP_TRANSPORT, "in.weight");
	/* Rounding: rows and rotations are sums of 24 products of floats. */
	for (int unit = 0; unit < WIDTH; unit++) {
		const float *x = t + (ptrdiff_t)unit * 2 * D, *eps = x + D;
		bool at_noise = unit >= WIDTH - WIDTH / 4;
		/* Along ways to the target and along its components they leave the source's directions. */
		bool to_target = at_noise || unit % 3 == 0;
		assert_close(share(law, v + (ptrdiff_t)unit * D, M + 1), 1, 1e-5);
		check_length(v + (ptrdiff_t)unit * D, 6, unit % 4 != 3);
		assert_close(share(law, at_noise ? eps : x, to_target ? M + 1 : M), 1, 1e-5);
		assert_close(length(at_noise ? x : eps), 0, 0);
		check_length(at_noise ? eps : x, at_noise ? 0.6 : 2, !at_noise && unit % 3 != 2);
	}
	otp_law_free(law);
	close_fresh(&f);
}

/* The target is a product along the straight directions: three quarters of the potential's units look along
 * one of them each. From 8192 samples an axis is known to about 1 / sqrt(8192), and M others take their
 * share. */
static void the_potential_looks_along_components(void **state)
{
	(void)state;
	fresh f;
	otp_law *law = straight();
	open_fresh(&f, "aim = on\n");
	const float *v = values(&f, OTP_POTENTIAL, "in.weight");
	int looked[M + 1] = {0}, at_sides = 0;
	for (int unit = 0; unit < WIDTH; unit++) {
		const float *row = v + (ptrdiff_t)unit * D;
		int nearest = nearest_axis(law, row);
		double cosine = fabs(along(law, row, nearest)) / length(row);
		if (unit % 4 == 3) {
			at_sides += fabs(along(law, row, M)) > 0.1 * length(row);
			continue;
		}
		assert_true(1 - cosine < 0.5 * M * 25 / 8192.0); /* five standard errors */
		looked[nearest]++;
	}
	for (int j = 0; j <= M; j++)
		assert_true(looked[j] >= 3);
	assert_true(at_sides > 0); /* some pair of targets lay on two sides */
	otp_law_free(law);
	close_fresh(&f);
}

/* Two thirds of the generator's units at x' too: the target's axes in turn, and the source's, which are the
 * first M of them. */
static void the_generator_looks_along_components_of_either_side(void **state)
{
	(void)state;
	fresh f;
	otp_law *law = straight();
	open_fresh(&f, "aim = on\n");
	const float *t = values(&f, OTP_TRANSPORT, "in.weight");
	int looked[2][M + 1] = {{0}};
	for (int unit = 0; unit < WIDTH - WIDTH / 4; unit++) {
		const float *row = t + (ptrdiff_t)unit * 2 * D;
		if (unit % 3 == 2)
			continue;
		int nearest = nearest_axis(law, row);
		double cosine = fabs(along(law, row, nearest)) / length(row);
		assert_true(1 - cosine < 0.5 * M * 25 / 8192.0); /* five standard errors */
		looked[unit % 3][nearest]++;
	}
	for (int j = 0; j <= M; j++) {
		assert_true(looked[0][j] >= 1);
		assert_true(j == M ? looked[1][j] == 0 : looked[1][j] >= 1);
	}
	otp_law_free(law);
	close_fresh(&f);
}

/* A unit is zero within what the data covers along it, or little further: no further from the origin than
 * 1.03 sqrt(m + 1), the corner of the cube that holds the targets. */
static void units_bend_among_the_data(void **state)
{
	(void)state;
	fresh f;
	open_fresh(&f, "aim = on\n");
	const float *v = values(&f, OTP_POTENTIAL, "in.weight"), *bias = values(&f, OTP_POTENTIAL, "in.bias");
	double most = 0;
	int beyond = 0;
	for (int unit = 0; unit < WIDTH; unit++) {
		double place = fabs((double)bias[unit]) / length(v + (ptrdiff_t)unit * D);
		most = fmax(most, place);
		beyond += place > 0.8;
	}
	assert_true(most <= 1.03 * sqrt(M + 1));
	assert_true(beyond >= 3); /* densest at the ends: of Chebyshev's points two fifths lie past 0.8 */
	close_fresh(&f);
}

/* Where on its axis a unit bends, how long its row is, and whether it rests on the inner side. */
typedef struct bend {
	double place, length;
	bool outwards;
} bend;

static int by_place(const void *a, const void *b)
{
	double x = ((const bend *)a)->place, y = ((const bend *)b)->place;
	return (x > y) - (x < y);
}

/* Along each of the target's axes the potential's units bend at Chebyshev's points of what the data
 * covers, 1.03 of
 * [-1, 1], not at random, outwards, and as fast as these are near each other: by the sine of the angle, that
 * of the middle being 1, up to four times. A component that is sin = 5 sqrt(M / 8192) off its axis (five
 * standard errors) reaches further into the cube's corners, by sqrt(M) sin at most. */
static void those_along_a_component_bend_evenly(void **state)
{
	enum { MANY = 80 }; /* some would bend more than four times as fast */
	(void)state;
	fresh f;
	otp_law *law = straight();
	open_fresh(&f, "aim = on\npotential-width = 80\n");
	const float *v = values(&f, OTP_POTENTIAL, "in.weight"), *bias = values(&f, OTP_POTENTIAL, "in.bias");
	bend bends[M + 1][MANY];
	double further = 5 * M / sqrt(8192);
	int count[M + 1] = {0};
	for (int unit = 0; unit < MANY; unit++) {
		const float *row = v + (ptrdiff_t)unit * D;
		int axis = nearest_axis(law, row);
		double place = -(double)bias[unit] / length(row), sign = along(law, row, axis) < 0 ? -1 : 1;
		if (unit % 4 != 3)
			bends[axis][count[axis]++] =
			    (bend){sign * place, length(row), place > -1.03 * further};
	}
	for (int j = 0; j <= M; j++) {
		qsort(bends[j], (size_t)count[j], sizeof *bends[j], by_place);
		for (int k = 0; k < count[j]; k++) {
			double angle = OTP_PI * (k + 0.5) / count[j];
			double speed = bends[j][k].length / (6 * (double)OTP_GAIN_DEFAULT);
			assert_close(bends[j][k].place, -1.03 * cos(angle), 1.03 * further);
			assert_close(speed, fmin(1 / sin(angle), 4), 1e-5);
			assert_true(bends[j][k].outwards);
		}
	}
	otp_law_free(law);
	close_fresh(&f);
}

/* At --aim-ends 1 no unit is longer than another. */
static void ends_may_be_as_slow_as_the_middle(void **state)
{
	(void)state;
	fresh f;
	open_fresh(&f, "aim = on\naim-ends = 1\n");
	const float *v = values(&f, OTP_POTENTIAL, "in.weight");
	for (int unit = 0; unit < WIDTH; unit++)
		check_length(v + (ptrdiff_t)unit * D, 6, false);
	close_fresh(&f);
}

/* ---- squares ------------------------------------------------------------------- */

/* V = -sum of squares has the curvature (covariance + sigma^2)^-1: straight
 * direction j presses in inverse proportion to its variance + 0.01. */
static void squares_press_where_the_target_is_thin(void **state)
{
	(void)state;
	fresh f;
	otp_law *law = straight();
	open_fresh(&f, "aim = on\n");
	const float *rows = values(&f, OTP_POTENTIAL, "quadratic.in.weight");
	double pressed[D] = {0}, total = 0, plain = 0;
	for (int k = 0; k < D; k++)
		for (int j = 0; j < D; j++)
			pressed[j] +=
			    along(law, rows + (ptrdiff_t)k * D, j) * along(law, rows + (ptrdiff_t)k * D, j);
	for (int j = 0; j < D; j++)
		total += pressed[j];
	/* Thin directions: no sampling error, 1e-9 of the trace in the orthogonaliser. */
	for (int j = M + 2; j < D; j++)
		assert_close(pressed[j] / pressed[M + 1], 1, 1e-3);
	/* Thick ones: variance 1/3 or 1 from 8192 samples, known to 1 % each. */
	for (int j = 0; j < M; j++)
		assert_close(pressed[M + 1] / pressed[j], (1.0 / 3 + 0.01) / 0.01, 0.3 * 34.3);
	assert_close(pressed[M + 1] / pressed[M], 1.01 / 0.01, 0.3 * 101);
	/* As long as they were drawn. */
	fresh g;
	open_fresh(&g, "aim = off\n");
	rows = values(&g, OTP_POTENTIAL, "quadratic.in.weight");
	for (int i = 0; i < D * D; i++)
		plain += (double)rows[i] * (double)rows[i];
	assert_close(total / plain, 1, 1e-4);
	otp_law_free(law);
	close_fresh(&g);
	close_fresh(&f);
}

/* ---- the rest ------------------------------------------------------------------- */

static bool aimed(const char *name)
{
	return strcmp(name, "in.weight") == 0 || strcmp(name, "in.bias") == 0 ||
	       strncmp(name, "quadratic.in.", 13) == 0;
}

static void other_weights_stay(void **state)
{
	(void)state;
	fresh on, off;
	open_fresh(&on, "aim = on\n");
	open_fresh(&off, "aim = off\n");
	for (otp_network n = 0; n < OTP_NETWORKS; n++)
		for (int k = 0; k < on.params[n]->count; k++) {
			const otp_param_info *info = &on.params[n]->info[k];
			bool same = memcmp(on.state[n] + info->offset, off.state[n] + info->offset,
					   (size_t)otp_shape_count(info->shape) * sizeof(float)) == 0;
			assert_true(same != aimed(info->name));
		}
	/* The average starts as a copy. */
	int64_t row = on.params[0]->elements;
	assert_memory_equal(on.state[0] + OTP_ROW_EMA * row, on.state[0], (size_t)row * sizeof(float));
	close_fresh(&on);
	close_fresh(&off);
}

/* A sigma-end that was left to the data counts as much as one that was given. */
static void sigma_end_may_be_the_datas(void **state)
{
	(void)state;
	fresh given, settled;
	open_fresh(&given, "aim = on\n");
	open_fresh(&settled, "aim = on\nsigma-end = auto\nsigma-auto = 0.1\n");
	for (otp_network n = 0; n < OTP_NETWORKS; n++)
		assert_memory_equal(given.state[n], settled.state[n],
				    (size_t)given.params[n]->elements * sizeof(float));
	close_fresh(&given);
	close_fresh(&settled);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(units_lie_in_the_data),
	    cmocka_unit_test(the_potential_looks_along_components),
	    cmocka_unit_test(the_generator_looks_along_components_of_either_side),
	    cmocka_unit_test(units_bend_among_the_data),
	    cmocka_unit_test(those_along_a_component_bend_evenly),
	    cmocka_unit_test(ends_may_be_as_slow_as_the_middle),
	    cmocka_unit_test(squares_press_where_the_target_is_thin),
	    cmocka_unit_test(other_weights_stay),
	    cmocka_unit_test(sigma_end_may_be_the_datas),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
