/* engine: what a step asks of a device. A backend that counts stands between the
 * engine and the real one: in a step nothing is allocated, waited for or read,
 * everything small goes up in two transfers, and a part alone is one launch.
 * Samples picked on the device are those that the host would have sent, and
 * weights kept in bfloat16 those that the host would have rounded. How many threads
 * compute a batch's parts changes no bit. An update whose gradient is no number changes
 * nothing, nor does a later one.
 */
#include "engines.h"

#include <math.h>
#include <string.h>

/* Parts that take turns in a worker's programs with others. */
static int parts_in_turn(int parts, int threads)
{
	int count = 0;
	for (int worker = 0; worker < threads; worker++) {
		int own = (parts - worker + threads - 1) / threads;
		count += own > 1 ? own : 0;
	}
	return count;
}

static void check_counts(const char *name, int threads, int parts, bool resident)
{
	enum { STEPS = 6 };
	work w;
	setup s;
	open_work(&w, name, threads);
	open_setup(&s, &w, parts, resident);
	four_steps(&s, 0);
	forget_counts();
	seen.program_count = 0;
	for (int step = 1; step <= STEPS; step++)
		four_steps(&s, step);
	assert_int_equal(seen.allocs + seen.releases, 0);
	assert_int_equal(seen.downloads, 0);
	assert_int_equal(seen.waits, 0);
	/* A part's words and numbers; x four times and y twice from the host; the signs of its noise where
	 * parts take turns. Several parts: numbers of an update from each worker, and of its guard; launches
	 * also of the gradient's squares. */
	int each = 2 * 4 + (resident ? 0 : 4 + 2), updates = parts > 1 ? 4 * (threads + 1) : 0;
	int signs = 4 * parts_in_turn(parts, threads);
	assert_int_equal(seen.uploads, STEPS * (parts * each + updates + signs));
	if (threads == 1) { /* two parts, of two sizes, also wait for each other and are added */
		assert_int_equal(seen.launches, STEPS * (4 * parts + (parts > 1 ? 4 * (3 + 2) : 0)));
		assert_int_equal(seen.program_count,
				 OTP_STEP_KINDS * (parts + (parts > 1 ? 3 : 0)) + (parts > 1 ? 2 * 2 : 0));
	}
	otp_engine_losses(s.e);
	assert_int_equal(seen.waits, 1);
	assert_int_equal(seen.downloads, parts + 1); /* and the guard */
	otp_engine_losses(s.e);			     /* nothing new: nothing to wait for */
	assert_int_equal(seen.waits, 1);
	otp_engine_free(s.e);
	otp_runtime_close(&w.place);
}

static void steps_never_wait(void **state)
{
	(void)state;
	for (int resident = 0; resident < 2; resident++) {
		check_counts("cpu", 1, 1, resident);
		check_counts("cpu", 2, 2, resident);
		check_counts("cpu", 2, 3, resident);
		check_counts("ref", 1, 1, resident);
		check_counts("shim", 1, 1, resident);
		check_counts("shim", 1, 2, resident);
		if (has_gpu()) {
			check_counts("cuda", 1, 1, resident);
			check_counts("cuda", 1, 2, resident);
		}
	}
}

static void check_resident(const char *name, int threads)
{
	work w;
	setup streamed, resident;
	open_work(&w, name, threads);
	open_setup(&streamed, &w, threads, false);
	open_setup(&resident, &w, threads, true);
	size_t bytes;
	float *before = read_state(resident.e, OTP_TRANSPORT, &bytes);
	for (int step = 0; step < 3; step++) {
		four_steps(&streamed, step);
		four_steps(&resident, step);
	}
	assert_same_state(streamed.e, resident.e);
	float *after = read_state(resident.e, OTP_TRANSPORT, &bytes);
	assert_memory_not_equal(before, after, bytes); /* or there was nothing to compare */
	otp_free(before);
	otp_free(after);
	otp_engine_free(streamed.e);
	otp_engine_free(resident.e);
	otp_runtime_close(&w.place);
}

static void picked_samples_are_the_hosts(void **state)
{
	(void)state;
	check_resident("ref", 1);
	check_resident("cpu", 1);
	check_resident("cpu", 2);
	check_resident("shim", 1);
	if (has_gpu())
		check_resident("cuda", 1);
}

/* What adam keeps of the weights in bfloat16 is what writing the weights anew makes of them. */
static void check_rounded(const char *name, int threads)
{
	work w;
	setup kept, rewritten;
	open_work(&w, name, threads);
	w.place.precision = OTP_PRECISION_BF16;
	open_setup(&kept, &w, threads, true);
	open_setup(&rewritten, &w, threads, true);
	four_steps(&kept, 0);
	four_steps(&rewritten, 0);
	for (otp_network n = 0; n < OTP_NETWORKS; n++) {
		size_t bytes;
		float *weights = read_state(rewritten.e, n, &bytes);
		otp_engine_write(rewritten.e, n, weights);
		otp_free(weights);
	}
	four_steps(&kept, 1);
	four_steps(&rewritten, 1);
	assert_same_state(kept.e, rewritten.e);
	/* Convolutions with weights of zero would give zero. */
	otp_losses losses = otp_engine_losses(kept.e);
	assert_true(losses.sum[OTP_STEP_POTENTIAL][OTP_REPORT_REAL] != 0);
	otp_engine_free(kept.e);
	otp_engine_free(rewritten.e);
	otp_runtime_close(&w.place);
}

static void rounded_weights_follow(void **state)
{
	(void)state;
	check_rounded("shim", 1);
	check_rounded("shim", 2);
	if (has_gpu())
		check_rounded("cuda", 1);
}

/* More steps than the ring has slots: read after each, at the end, and in a second engine that goes on. */
static void no_loss_is_lost(void **state)
{
	(void)state;
	enum { STEPS = 1300, HALF = 611 };
	const otp_resident none = {0};
	otp_losses each, never, half, rest;
	for (int threads = 1; threads <= 2; threads++) {
		work w;
		open_work(&w, "cpu", threads);
		otp_engine *a = new_engine(&w, &POINTS, threads, none, none),
			   *b = new_engine(&w, &POINTS, threads, none, none);
		point_steps(a, 0, STEPS, &each);
		forget_counts();
		point_steps(b, 0, STEPS, NULL);
		assert_int_equal(seen.waits, 1); /* when the ring was full */
		never = otp_engine_losses(b);
		assert_memory_equal(&each, &never, sizeof each);
		assert_true(each.count[OTP_STEP_TRANSPORT] == STEPS / 2);
		assert_true(each.count[OTP_STEP_POTENTIAL_R1] == (STEPS + 5) / 6);
		assert_true(each.count[OTP_STEP_POTENTIAL] + each.count[OTP_STEP_POTENTIAL_R1] == STEPS / 2);
		assert_true(each.sum[OTP_STEP_TRANSPORT][OTP_REPORT_COST] > 0);
		otp_engine_init(b, 1);
		otp_engine_set_losses(b, NULL);
		point_steps(b, 0, HALF, NULL);
		half = otp_engine_losses(b);
		otp_engine_set_losses(b, &half);
		point_steps(b, HALF, STEPS, NULL);
		rest = otp_engine_losses(b);
		assert_memory_equal(&each, &rest, sizeof each);
		otp_engine_free(a);
		otp_engine_free(b);
		otp_runtime_close(&w.place);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(steps_never_wait), cmocka_unit_test(picked_samples_are_the_hosts),
	    cmocka_unit_test(rounded_weights_follow), cmocka_unit_test(no_loss_is_lost),
#define RUN_TEST(name) cmocka_unit_test(name),
	    ENGINE_TESTS(RUN_TEST)
#undef RUN_TEST
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
