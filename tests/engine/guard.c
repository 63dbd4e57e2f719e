/* guard: updates that are refused, and gradients that are clipped. */
#include "engines.h"

#include <math.h>

/* A step of points whose third sample is no number. */
static void broken_step(otp_engine *e, int step)
{
	const float x[BATCH * 2] = {0.1f, 0.2f, -0.4f, 0.9f, NAN, -0.7f, 0.5f, 0.6f, -0.2f, 0.8f};
	otp_update u = update_at(step);
	otp_engine_transport_step(e, (otp_batch){.values = x}, &u);
}

/* That update and all later ones, of both networks, change nothing; it is named; from a fresh guard on,
 * training goes on as if they had not been. The values of the guard tell the norms of every kind of step. */
static void check_guard(const char *name, int parts, int threads)
{
	const otp_resident none = {0};
	work w;
	open_work(&w, name, threads);
	otp_engine *a = new_engine(&w, &POINTS, parts, none, none),
		   *b = new_engine(&w, &POINTS, parts, none, none);
	float guard[OTP_GUARD_VALUES], other[OTP_GUARD_VALUES];
	point_steps(a, 0, 8, NULL);
	point_steps(b, 0, 8, NULL);
	otp_engine_read_guard(a, guard);
	assert_true(guard[OTP_GUARD_NORM] > 0 && guard[OTP_GUARD_FACTOR] == 1);
	for (int kind = 0; kind < OTP_STEP_KINDS; kind++)
		assert_true(guard[OTP_GUARD_HEAD + kind * OTP_GUARD_ROW] > 0);
	broken_step(a, 8);
	point_steps(a, 9, 15, NULL);
	assert_null(otp_engine_refusal(a)); /* not read yet */
	otp_losses losses = otp_engine_losses(a);
	const otp_refusal *r = otp_engine_refusal(a);
	assert_non_null(r);
	assert_int_equal(r->kind, OTP_STEP_TRANSPORT);
	assert_int_equal(r->count, 9);
	assert_true(r->norm != r->norm);
	assert_true(losses.count[OTP_STEP_TRANSPORT] == 4);
	assert_same_state(a, b);
	otp_engine_set_guard(a, guard);
	otp_engine_set_guard(b, guard);
	point_steps(a, 8, 15, NULL);
	point_steps(b, 8, 15, NULL);
	assert_same_state(a, b);
	assert_null(otp_engine_refusal(a));
	otp_engine_read_guard(a, guard);
	otp_engine_read_guard(b, other);
	assert_memory_equal(guard, other, sizeof guard);
	otp_engine_free(a);
	otp_engine_free(b);
	otp_runtime_close(&w.place);
}

void refused_updates_change_nothing(void **state)
{
	(void)state;
	for (int threads = 1; threads <= 3; threads++) {
		check_guard("cpu", 1, threads);
		check_guard("cpu", 3, threads);
	}
	check_guard("ref", 1, 1);
	check_guard("shim", 1, 1);
	check_guard("shim", 3, 1);
	if (has_gpu()) {
		check_guard("cuda", 1, 1);
		check_guard("cuda", 3, 1);
	}
}

/* So wide that every worker has blocks of columns of its own, and shares end within them. */
static const otp_arch WIDE_POINTS = {.vectors = true,
				     .h = 1,
				     .w = 1,
				     .c = 2,
				     .condition_noise = true,
				     .residual = true,
				     .width = 50,
				     .blocks = 2,
				     .sharpness = 1,
				     .potential_width = 41,
				     .potential_blocks = 2,
				     .potential_sharpness = 1};

/* The norms of eleven steps on so many threads. */
static void norms_on(int threads, double clip, float guard[OTP_GUARD_VALUES])
{
	work w;
	open_work(&w, "cpu", threads);
	otp_engine_settings settings = {.objective = {.arch = WIDE_POINTS, .tau = 0.1},
					.batch = BATCH,
					.parts = 4,
					.r1_used = true,
					.plain_used = true,
					.beta1 = 0.5,
					.beta2 = 0.9,
					.clip_norm = clip};
	otp_engine *e = otp_engine_new(&w.place, &settings);
	otp_engine_init(e, 1);
	assert_true(otp_engine_params(e, OTP_POTENTIAL)->elements > 3 * OTP_NORM_COLUMNS);
	point_steps(e, 0, 11, NULL);
	otp_engine_read_guard(e, guard);
	otp_engine_free(e);
	otp_runtime_close(&w.place);
}

void threads_change_no_norm(void **state)
{
	(void)state;
	float one[OTP_GUARD_VALUES], more[OTP_GUARD_VALUES];
	norms_on(1, 0, one);
	for (int threads = 2; threads <= 3; threads++) {
		norms_on(threads, 0, more);
		assert_memory_equal(one, more, sizeof one);
	}
}

/* The norm is the gradient's; a larger one than the bound is brought down to it, others stay: of beta1 = 1/2
 * the first moment is half of what Adam took. */
static void check_clip(const char *name, int parts, double share)
{
	work w;
	setup s;
	open_work(&w, name, 1);
	open_setup(&s, &w, parts, false);
	otp_engine_free(s.e);
	otp_engine_settings settings = {.objective = {.arch = IMAGES, .tau = 0.1, .noise_pairs = true},
					.batch = BATCH,
					.parts = parts,
					.plain_used = true,
					.beta1 = 0.5,
					.beta2 = 0.9};
	otp_update u = update_at(0);
	size_t bytes;
	double norm = 0;
	for (int pass = 0; pass < 2; pass++) { /* to learn the norm, then with a share of it as the bound */
		settings.clip_norm = share * norm;
		s.e = otp_engine_new(&w.place, &settings);
		otp_engine_init(s.e, 1);
		pick(&s.source, 0, 0);
		otp_engine_transport_step(s.e, batch_of(&s.source, false), &u);
		int64_t elements = otp_engine_params(s.e, OTP_TRANSPORT)->elements;
		float *values = read_state(s.e, OTP_TRANSPORT, &bytes), guard[OTP_GUARD_VALUES];
		float *grads = otp_calloc((size_t)elements, sizeof *grads);
		otp_engine_read_grads(s.e, OTP_TRANSPORT, grads);
		otp_engine_read_guard(s.e, guard);
		double square = 0, factor = pass && share < 1 ? share : 1;
		for (int64_t i = 0; i < elements; i++) {
			square += (double)grads[i] * (double)grads[i];
			assert_true(fabs((double)values[OTP_ROW_M * elements + i] -
					 0.5 * factor * (double)grads[i]) <= 1e-6 * fabs((double)grads[i]));
		}
		/* Sums of 1024 squares in float, of one sign. */
		assert_true(fabs((double)guard[OTP_GUARD_NORM] - sqrt(square)) <=
			    1024 * 0x1p-24 * sqrt(square));
		norm = sqrt(square);
		otp_free(grads);
		otp_free(values);
		otp_engine_free(s.e);
	}
	otp_runtime_close(&w.place);
}

void large_gradients_are_clipped(void **state)
{
	(void)state;
	for (int parts = 1; parts <= 3; parts += 2) {
		check_clip("cpu", parts, 0.125);
		check_clip("cpu", parts, 1.5);
		check_clip("shim", parts, 0.125);
	}
}
