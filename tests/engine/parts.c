/* parts: how a batch is cut, and that threads change nothing of what is summed. */
#include "engines.h"
#include "engine/cut.h"

static void step_points(otp_engine *e) { point_steps(e, 0, 12, NULL); }

static void train_pictures(setup *s, work *w, int parts)
{
	open_setup(s, w, parts, false);
	for (int step = 0; step < 3; step++)
		four_steps(s, step);
}

/* So many parts on so many threads, against the same parts on one. */
static void check_parts(const char *name, int parts, int threads)
{
	const otp_resident none = {0};
	work one, many;
	setup expected, got;
	open_work(&one, name, 1);
	open_work(&many, name, threads);
	train_pictures(&expected, &one, parts);
	train_pictures(&got, &many, parts);
	assert_same_state(expected.e, got.e);
	otp_engine *a = new_engine(&one, &POINTS, parts, none, none),
		   *b = new_engine(&many, &POINTS, parts, none, none);
	step_points(a);
	step_points(b);
	assert_same_state(a, b);
	otp_engine_free(a);
	otp_engine_free(b);
	otp_engine_free(expected.e);
	otp_engine_free(got.e);
	otp_runtime_close(&one.place);
	otp_runtime_close(&many.place);
}

void threads_change_no_bit(void **state)
{
	(void)state;
	for (int threads = 2; threads <= 4; threads++) {
		check_parts("cpu", 4, threads);
		check_parts("cpu", 3, threads);
	}
	check_parts("cpu", 5, 2); /* blocks of parts are summed where they are made, or each is its own */
	check_parts("cpu", 5, 5);
	check_parts("cpu", 1, 3);
	check_parts("shim", 3, 2);
}

/* Memory grows with the logarithm of the number of parts. */
void many_parts_take_few_rows(void **state)
{
	(void)state;
	enum { LARGE = 256 };
	work w;
	open_work(&w, "cpu", 1);
	otp_engine_settings settings = {
	    .objective = {.arch = POINTS, .tau = 0.1}, .batch = LARGE, .parts = 1, .plain_used = true};
	otp_engine_size one = otp_engine_plan(&w.place, &settings);
	for (int parts = 2, rows = 2; parts <= LARGE; parts *= 2, rows++) {
		settings.parts = parts;
		otp_engine_size many = otp_engine_plan(&w.place, &settings);
		assert_int_equal(many.gradient_bytes, one.gradient_bytes * (size_t)rows);
		assert_true(many.arena_bytes <= one.arena_bytes);
	}
	settings.parts = LARGE - 1; /* of one sample, but for one */
	assert_true(otp_engine_plan(&w.place, &settings).gradient_bytes <= 9 * one.gradient_bytes);
	otp_runtime_close(&w.place);
}

/* What a run of several kinds of steps takes is what the largest takes, and what others keep: not the sum.
 * The plan says what is then taken. */
void kinds_of_steps_share_memory(void **state)
{
	(void)state;
	enum { BATCH_OF_MANY = 256 };
	work w;
	open_work(&w, "cpu", 1);
	otp_engine_settings settings = {
	    .objective = {.arch = POINTS, .tau = 0.1}, .batch = BATCH_OF_MANY, .parts = 1};
	settings.plain_used = true;
	otp_engine_size plain = otp_engine_plan(&w.place, &settings);
	settings.r1_used = true;
	otp_engine_size both = otp_engine_plan(&w.place, &settings);
	settings.plain_used = false;
	otp_engine_size r1 = otp_engine_plan(&w.place, &settings);
	size_t larger = plain.arena_bytes > r1.arena_bytes ? plain.arena_bytes : r1.arena_bytes;
	/* A step's samples, words and numbers. */
	size_t kept =
	    (size_t)BATCH_OF_MANY * (4 * (size_t)POINTS.c + OTP_WORD_COUNT + 2) * sizeof(float) + 4096;
	assert_in_range(both.arena_bytes, larger, larger + kept);
	assert_true(both.unshared_bytes > plain.unshared_bytes);
	settings.plain_used = true;
	otp_engine *e = otp_engine_new(&w.place, &settings);
	otp_engine_size made = otp_engine_measure(e);
	assert_int_equal(made.arena_bytes, both.arena_bytes);
	assert_int_equal(made.scratch_bytes, both.scratch_bytes);
	otp_engine_free(e);
	otp_runtime_close(&w.place);
}

/* Every part is in one block, every sample in one part, and no worker has more than an eighth too many. */
void cuts_are_whole_and_even(void **state)
{
	(void)state;
	for (int parts = 1; parts <= 70; parts++)
		for (int workers = 1; workers <= 12; workers++) {
			otp_cut cut = otp_cut_make(parts + 5, parts, workers);
			int last = cut.blocks - 1, most = (cut.blocks + workers - 1) / workers << cut.levels;
			assert_int_equal(otp_cut_part(&cut, 0), 0);
			assert_true(otp_cut_part(&cut, last) < parts);
			assert_int_equal(otp_cut_part(&cut, cut.blocks), parts);
			assert_int_equal(otp_cut_sample(&cut, parts), parts + 5);
			int even = (parts + workers - 1) / workers;
			assert_true(8 * (most < parts ? most : parts) <= 9 * even);
			if (workers == 1)
				assert_int_equal(cut.blocks, 1);
		}
}

/* The gradient that is read is the one that adam used: half of it is its first moment. */
static void check_read_gradient(const char *name, int parts)
{
	work w;
	setup s;
	open_work(&w, name, 1);
	open_setup(&s, &w, parts, false);
	otp_update u = update_at(0);
	pick(&s.source, 0, 0);
	otp_engine_transport_step(s.e, batch_of(&s.source, false), &u);
	size_t bytes;
	int64_t elements = otp_engine_params(s.e, OTP_TRANSPORT)->elements;
	float *state = read_state(s.e, OTP_TRANSPORT, &bytes), *m = state + OTP_ROW_M * elements;
	float *grads = otp_calloc((size_t)elements, sizeof *grads);
	otp_engine_read_grads(s.e, OTP_TRANSPORT, grads);
	for (int64_t i = 0; i < elements; i++)
		assert_true(m[i] == 0.5f * grads[i]); /* beta1 is 1/2 */
	otp_free(grads);
	otp_free(state);
	otp_engine_free(s.e);
	otp_runtime_close(&w.place);
}

void gradients_are_those_of_adam(void **state)
{
	(void)state;
	for (int parts = 1; parts <= BATCH; parts++)
		check_read_gradient("cpu", parts);
	check_read_gradient("shim", BATCH);
}
