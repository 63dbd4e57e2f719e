/* steps: whole training steps against PyTorch, the fixtures of tests/golden, on
 * every backend that there is; and the draws they are made of. Bounds are those
 * of common/fixtures.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/fixtures.h"
#include "common/places.h"
#include "scalar.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char STEPS[] = "steps.h5";

/* ---- training steps ---- */

typedef struct step_case {
	const char *group;
	otp_objective objective;
} step_case;

/* clang-format off */
static const step_case STEP_CASES[] = {
    {"image",
     {.arch = {.h = 8, .w = 8, .c = 2, .condition_noise = true, .noise_features = 2, .latent = 3,
	       .embedding = 4, .residual = true, .patch = 1, .width = 4, .blocks = 1, .levels = 2,
	       .multipliers = {1, 1}, .filter = OTP_FILTER_FIR, .potential_features = 3, .potential_width = 4,
	       .potential_levels = 2, .potential_multipliers = {1, 2}}}},
    {"vectors",
     {.arch = {.vectors = true, .h = 1, .w = 1, .c = 2, .condition_noise = true, .latent = 2,
	       .residual = true, .width = 8, .blocks = 2, .potential_width = 8, .potential_blocks = 1,
	       .sharpness = 1, .potential_sharpness = 1},
      .g = OTP_G_SOFTPLUS}},
    {"refined",
     {.arch = {.vectors = true, .h = 1, .w = 1, .c = 2, .condition_noise = true, .residual = true,
	       .width = 8, .blocks = 1, .sharpness = 2, .potential_width = 8, .potential_blocks = 1,
	       .potential_sharpness = 4},
      .refine = 2}},
};
/* clang-format on */
enum { STEP_COUNT = sizeof STEP_CASES / sizeof *STEP_CASES, OUTER_STEPS = 2 };

/* Whose turn it is: everything that differs between the two networks' halves. */
typedef struct half {
	otp_network network;
	const char *name, *names, *params, *rate;
} half;

static const half HALVES[] = {
    {OTP_POTENTIAL, "potential", "potential_names", "potential_params", "rate_v"},
    {OTP_TRANSPORT, "transport", "transport_names", "transport_params", "rate_t"},
};

static void write_start(otp_engine *e, const fixture *f, const half *s, const piece_list *list)
{
	int64_t elements = otp_engine_params(e, s->network)->elements;
	int rows = otp_engine_rows(s->network);
	float *state = otp_calloc((size_t)(elements * rows), sizeof *state);
	read_params(f, s->params, list, state + OTP_ROW_PARAM * elements);
	if (rows > OTP_ROW_EMA)
		memcpy(state + OTP_ROW_EMA * elements, state, (size_t)elements * sizeof *state);
	otp_engine_write(e, s->network, state);
	otp_free(state);
}

static void judge_report(judge *j, const fixture *step, const half *s, const double *report)
{
	char name[64], error_name[64];
	snprintf(name, sizeof name, "%s_report", s->name);
	snprintf(error_name, sizeof error_name, "%s_report_error", s->name);
	values want = read_values(step, name), error = read_values(step, error_name);
	assert_int_equal(want.count, OTP_REPORT_COUNT);
	compare(j, name, report, want.v, OTP_REPORT_COUNT, error.v[0], FLOAT_UNIT);
	otp_free(want.v);
	otp_free(error.v);
}

static void judge_state(judge *j, const fixture *step, otp_engine *e, const place *at, const half *s,
			const piece_list *list)
{
	static const char *const ROWS[] = {"p", "m", "v", "ema"};
	char name[64], error_name[64], label[96];
	snprintf(name, sizeof name, "%s_state", s->name);
	snprintf(error_name, sizeof error_name, "%s_state_error", s->name);
	values want = read_values(step, name), error = read_values(step, error_name);
	int64_t elements = otp_engine_params(e, s->network)->elements;
	int rows = (int)(want.count / list->elements);
	assert_true(rows >= 1 && rows <= otp_engine_rows(s->network));
	double *got = fetch(at->backend, at->device, otp_engine_state(e, s->network),
			    elements * otp_engine_rows(s->network));
	for (int row = 0; row < rows; row++) {
		snprintf(label, sizeof label, "%s %s %s of", step->name, s->name, ROWS[row]);
		compare_pieces(j, label, got + row * elements, want.v + row * list->elements,
			       error.v + row * list->count, list);
	}
	otp_free(got);
	otp_free(want.v);
	otp_free(error.v);
}

static void run_half(otp_engine *e, const fixture *f, const fixture *step, const half *s, otp_update u,
		     int64_t elements, double *report)
{
	u.rate = read_number(f, s->rate);
	bool transports = s->network == OTP_TRANSPORT;
	float *x = read_floats(step, transports ? "transport_x" : "potential_x", elements);
	float *y = transports ? NULL : read_floats(step, "potential_y", elements);
	otp_engine_set_losses(e, NULL);
	if (transports)
		otp_engine_transport_step(e, (otp_batch){.values = x}, &u);
	else
		otp_engine_potential_step(e, (otp_batch){.values = x}, (otp_batch){.values = y}, &u);
	otp_losses losses = otp_engine_losses(e);
	memcpy(report, losses.sum[transports ? OTP_STEP_TRANSPORT : OTP_STEP_POTENTIAL_R1],
	       sizeof losses.sum[0]);
	otp_free(x);
	otp_free(y);
}

static uint64_t read_seed(const fixture *f) { return (uint64_t)read_number(f, "seed"); /* below 2^53 */ }

static otp_update update_settings(const fixture *f)
{
	return (otp_update){
	    .seed = read_seed(f),
	    .keep = read_number(f, "keep"),
	    .sigma = read_number(f, "sigma"),
	    .ema = read_number(f, "ema"),
	    .r1 = read_number(f, "r1"),
	};
}

static void check_steps(const step_case *c, const char *backend_name, int threads)
{
	otp_error err = {0};
	otp_runtime work;
	if (!work_open(backend_name, threads, &work, &err))
		fail_msg("%s", err.text);
	place at = {work.backend, work.device};
	fixture f = fixture_open(STEPS, c->group);
	otp_engine_settings settings = {.objective = c->objective,
					.batch = (int)read_number(&f, "batch"),
					.parts = threads,
					.r1_used = true,
					.beta1 = read_number(&f, "beta1"),
					.beta2 = read_number(&f, "beta2")};
	settings.objective.tau = read_number(&f, "tau");
	otp_engine *e = otp_engine_new(&work, &settings);
	piece_list lists[2];
	for (int i = 0; i < 2; i++) {
		lists[i] = match_params(&f, HALVES[i].names, otp_engine_params(e, HALVES[i].network));
		write_start(e, &f, &HALVES[i], &lists[i]);
	}

	const otp_arch *a = &c->objective.arch;
	judge j = {c->group, backend_name, unit_of(at.backend), 0, 0, false};
	otp_update u = update_settings(&f);
	for (int k = 0; k < OUTER_STEPS; k++) {
		char name[64];
		snprintf(name, sizeof name, "%s/step%d", c->group, k);
		fixture step = fixture_open(STEPS, name);
		u.count = k + 1;
		for (int i = 0; i < 2; i++) {
			double report[OTP_REPORT_COUNT];
			u.draw = (uint32_t)(2 * k + i);
			run_half(e, &f, &step, &HALVES[i], u, (int64_t)settings.batch * a->h * a->w * a->c,
				 report);
			judge_report(&j, &step, &HALVES[i], report);
			judge_state(&j, &step, e, &at, &HALVES[i], &lists[i]);
		}
		fixture_close(&step);
	}
	say(&j);
	for (int i = 0; i < 2; i++)
		otp_free(lists[i].pieces);
	fixture_close(&f);
	otp_engine_free(e);
	otp_runtime_close(&work);
}

static void steps_are_pytorchs(void **state)
{
	check_steps(*state, "ref", 1);
	check_steps(*state, "cpu", 1);
	check_steps(*state, "cpu", 2);
	check_steps(*state, "shim", 1);
	if (has_gpu())
		check_steps(*state, "cuda", 1);
}

/* ---- draws ---- */

/* The third of Random123's known answers (kat_vectors, philox4x32 10): all counter and key words differ. */
static void philox_keeps_its_words_apart(void **state)
{
	(void)state;
	otp_stream pi = {{0xa4093822, 0x299f31d0, 0x13198a2e, 0x03707344}};
	static const uint32_t want[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
	assert_memory_equal(otp_philox_block(pi, 0x85a308d3, 0x243f6a88).v, want, sizeof want);
}

/* The draws of step 0's potential half, on one backend. */
static double *draw(const place *at, const fixture *f, otp_shape to)
{
	uint32_t *words = otp_calloc((size_t)to.n * 4, sizeof *words);
	for (int i = 0; i < to.n; i++)
		memcpy(words + 4 * i, otp_stream_make(read_seed(f), (uint32_t)i, 0).word, 4 * sizeof *words);
	otp_graph *g = otp_graph_new();
	otp_node *streams = otp_input(g, "streams", OTP_U32, otp_shape4(to.n, 1, 1, 4));
	otp_node *eps = otp_output(otp_normal(streams, to, OTP_PURPOSE_EPS), OTP_SPAN_NONE, 0);
	otp_program *p = otp_program_new(at->backend, at->device, g, NULL, (otp_program_options){0});
	otp_program_write(p, streams, words);
	otp_program_run(p);
	double *drawn = fetch(at->backend, at->device, otp_program_data(p, eps), otp_shape_count(to));
	otp_program_free(p);
	otp_graph_free(g);
	otp_free(words);
	return drawn;
}

/* Against Box and Muller's formula in float64, r (cos, sin). scalar.h promises
 * log to 2e-7 of itself, so r to 1e-7, and the circle to 2e-7; the square root
 * and the product round once each. */
static void check_draws(const char *backend_name, const fixture *f, const double *exact,
			const double *float_draws, otp_shape to)
{
	place at = place_open(backend_name);
	double *got = draw(&at, f, to);
	for (int64_t i = 0; i < otp_shape_count(to); i++) {
		double radius = hypot(exact[i / 2 * 2], exact[i / 2 * 2 + 1]);
		assert_true(fabs(got[i] - exact[i]) <= radius * (3e-7 + 2 * FLOAT_UNIT));
		/* Compiled without fused multiply-add, ref does numpy's float operations one by one. */
		if (unit_of(at.backend) == DOUBLE_UNIT)
			assert_true(got[i] == float_draws[i]);
	}
	otp_free(got);
	at.backend->close(at.device);
}

static void draws_are_box_and_mullers(void **state)
{
	const step_case *c = *state;
	char name[64];
	snprintf(name, sizeof name, "%s/step0", c->group);
	fixture f = fixture_open(STEPS, c->group), step = fixture_open(STEPS, name);
	values exact = read_values(&step, "eps_exact"), float_draws = read_values(&step, "potential_eps");
	const otp_arch *a = &c->objective.arch;
	otp_shape to = otp_shape4((int)read_number(&f, "batch"), a->h, a->w, a->c);
	assert_int_equal(exact.count, otp_shape_count(to));
	check_draws("ref", &f, exact.v, float_draws.v, to);
	check_draws("cpu", &f, exact.v, float_draws.v, to);
	if (has_gpu())
		check_draws("cuda", &f, exact.v, float_draws.v, to);
	otp_free(exact.v);
	otp_free(float_draws.v);
	fixture_close(&step);
	fixture_close(&f);
}

int main(void)
{
	struct CMUnitTest tests[2 * STEP_COUNT + 1];
	int count = 0;
	tests[count++] = (struct CMUnitTest)cmocka_unit_test(philox_keeps_its_words_apart);
	for (int i = 0; i < STEP_COUNT; i++)
		tests[count++] = (struct CMUnitTest){"draws_are_box_and_mullers", draws_are_box_and_mullers,
						     NULL, NULL, (void *)&STEP_CASES[i]};
	for (int i = 0; i < STEP_COUNT; i++)
		tests[count++] = (struct CMUnitTest){"steps_are_pytorchs", steps_are_pytorchs, NULL, NULL,
						     (void *)&STEP_CASES[i]};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
