/* engine: what a step asks of a device. A backend that counts stands between the
 * engine and the real one: in a step nothing is allocated, waited for or read,
 * everything small goes up in two transfers, and a part alone is one launch.
 * Samples picked on the device are those that the host would have sent, and
 * weights kept in bfloat16 those that the host would have rounded. How many threads
 * compute a batch's parts changes no bit. An update whose gradient is no number changes
 * nothing, nor does a later one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/places.h"
#include "engine/cut.h"
#include "pictures/image.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* ---- a backend that counts ---- */

enum { MOST_PROGRAMS = 64 };

static struct {
	const otp_backend *inner;
	atomic_int allocs, releases, uploads, downloads, launches, waits;
	const otp_call *programs[MOST_PROGRAMS]; /* each by its first call; one thread */
	int program_count;
} seen;

static void *counted_alloc(otp_device *d, size_t bytes)
{
	seen.allocs++;
	return seen.inner->alloc(d, bytes);
}

static void counted_release(otp_device *d, void *memory)
{
	seen.releases++;
	seen.inner->release(d, memory);
}

static void counted_upload(otp_device *d, void *dst, otp_type type, const void *src, int64_t count)
{
	seen.uploads++;
	seen.inner->upload(d, dst, type, src, count);
}

static void counted_download(otp_device *d, void *dst, otp_type type, const void *src, int64_t count)
{
	seen.downloads++;
	seen.inner->download(d, dst, type, src, count);
}

static void note_program(const otp_call *calls)
{
	for (int i = 0; i < seen.program_count; i++)
		if (seen.programs[i] == calls)
			return;
	assert_true(seen.program_count < MOST_PROGRAMS);
	seen.programs[seen.program_count++] = calls;
}

static void counted_launch(otp_device *d, const otp_call *calls, int count, void **token)
{
	seen.launches++;
	note_program(calls);
	seen.inner->launch(d, calls, count, token);
}

static void counted_wait(otp_device *d)
{
	seen.waits++;
	seen.inner->wait(d);
}

static void forget_counts(void)
{
	seen.allocs = seen.releases = seen.uploads = seen.downloads = seen.launches = seen.waits = 0;
}

typedef struct work {
	otp_backend backend;
	otp_runtime place;
} work;

static void open_work(work *w, const char *name, int threads)
{
	otp_error err = {0};
	seen.inner = find_backend(name, &err);
	assert_non_null(seen.inner);
	w->backend = *seen.inner;
	w->backend.alloc = counted_alloc;
	w->backend.release = counted_release;
	w->backend.upload = counted_upload;
	w->backend.download = counted_download;
	w->backend.wait = counted_wait;
	if (threads == 1)
		w->backend.launch = counted_launch;
	w->place = (otp_runtime){.backend = &w->backend, .pool = otp_pool_new(threads)};
	assert_true(w->backend.open(0, &w->place.device, &err));
	seen.program_count = 0;
}

/* ---- engines and samples ---- */

enum { ROWS = 11, SIZE = 8, BATCH = 5 };

static const otp_arch IMAGES = {.h = SIZE,
				.w = SIZE,
				.c = 3,
				.condition_noise = true,
				.noise_features = 4,
				.residual = true,
				.patch = 1,
				.width = 8,
				.levels = 2,
				.multipliers = {1, 1},
				.blocks = 1,
				.embedding = 8,
				.potential_width = 8,
				.potential_levels = 2,
				.potential_multipliers = {1, 1}};
static const otp_arch POINTS = {.vectors = true,
				.h = 1,
				.w = 1,
				.c = 2,
				.condition_noise = true,
				.residual = true,
				.width = 4,
				.blocks = 1,
				.sharpness = 1,
				.potential_width = 4,
				.potential_blocks = 1,
				.potential_sharpness = 1};

static otp_engine *new_engine(work *w, const otp_arch *arch, int parts, otp_resident source,
			      otp_resident target)
{
	otp_engine_settings settings = {.objective = {.arch = *arch,
						      .tau = 0.1,
						      .noise_pairs = true,
						      .g = OTP_G_SOFTPLUS,
						      .resident = {source, target}},
					.batch = BATCH,
					.parts = parts,
					.r1_used = true,
					.plain_used = true,
					.beta1 = 0.5,
					.beta2 = 0.9};
	otp_engine *e = otp_engine_new(&w->place, &settings);
	otp_engine_init(e, 1);
	return e;
}

/* A grey source and a target of colours, as bytes, as words, and as floats. */
typedef struct side {
	int stored;
	uint8_t bytes[ROWS * SIZE * SIZE * 3];
	float values[BATCH * SIZE * SIZE * 3]; /* of the last picks */
	uint32_t picks[BATCH];
} side;

static void fill_side(side *s, int stored, uint32_t which)
{
	s->stored = stored;
	for (int i = 0; i < ROWS * SIZE * SIZE * stored; i++)
		s->bytes[i] =
		    (uint8_t)(otp_random_u32(otp_stream_make(5, which, 0), OTP_PURPOSE_SYNTH, (uint32_t)i) >>
			      24);
}

/* The picks of a step, and the floats that the host's way makes of them. */
static void pick(side *s, uint32_t which, uint32_t draw)
{
	for (uint32_t i = 0; i < BATCH; i++) {
		s->picks[i] =
		    otp_random_u32(otp_stream_make(6, which, draw), OTP_PURPOSE_SYNTH, i) % (2 * ROWS);
		float row[SIZE * SIZE * 3], *to = s->values + (size_t)i * SIZE * SIZE * 3;
		size_t stored = (size_t)s->stored, each = SIZE * SIZE * stored;
		otp_image_floats(s->bytes + s->picks[i] / 2 * each, each, row);
		for (size_t pixel = 0; pixel < SIZE * SIZE; pixel++) {
			size_t x = pixel % SIZE, from = s->picks[i] % 2 ? pixel - x + SIZE - 1 - x : pixel;
			for (size_t c = 0; c < 3; c++)
				*to++ = row[from * stored + (stored == 1 ? 0 : c)];
		}
	}
}

static void load(otp_engine *e, otp_side which, const side *s)
{
	size_t bytes = (size_t)(SIZE * SIZE * s->stored), words = (size_t)otp_gather_words((int64_t)bytes);
	uint32_t *pictures = otp_calloc(ROWS * words, sizeof *pictures);
	for (size_t i = 0; i < ROWS; i++)
		memcpy(pictures + i * words, s->bytes + i * bytes, bytes);
	otp_engine_load(e, which, 0, 3, pictures); /* in two pieces */
	otp_engine_load(e, which, 3, ROWS - 3, pictures + 3 * words);
	otp_free(pictures);
}

static otp_batch batch_of(const side *s, bool resident)
{
	return resident ? (otp_batch){.picks = s->picks} : (otp_batch){.values = s->values};
}

typedef struct setup {
	side source, target;
	otp_engine *e;
	bool resident;
} setup;

static void open_setup(setup *s, work *w, int parts, bool resident)
{
	const otp_resident none = {0}, grey = {ROWS, 1}, colour = {ROWS, 3};
	fill_side(&s->source, 1, 0);
	fill_side(&s->target, 3, 1);
	s->resident = resident;
	s->e = new_engine(w, &IMAGES, parts, resident ? grey : none, resident ? colour : none);
	if (resident) {
		load(s->e, OTP_SOURCE, &s->source);
		load(s->e, OTP_TARGET, &s->target);
	}
}

static otp_update update_at(int step)
{
	return (otp_update){.seed = 9,
			    .draw = (uint32_t)step,
			    .keep = 0.9,
			    .sigma = 0.5,
			    .rate = 1e-3,
			    .count = step + 1,
			    .ema = 0.9};
}

/* V, T, V with R1, T. */
static void four_steps(setup *s, int step)
{
	for (int k = 0; k < 4; k++) {
		otp_update u = update_at(4 * step + k);
		u.count = 2 * step + k / 2 + 1;
		u.r1 = k == 2 ? 0.3 : 0;
		pick(&s->source, 0, u.draw);
		pick(&s->target, 1, u.draw);
		otp_batch x = batch_of(&s->source, s->resident), y = batch_of(&s->target, s->resident);
		if (k % 2)
			otp_engine_transport_step(s->e, x, &u);
		else
			otp_engine_potential_step(s->e, x, y, &u);
	}
}

/* ---- tests ---- */

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

static float *read_state(otp_engine *e, otp_network network, size_t *bytes)
{
	*bytes = (size_t)otp_engine_params(e, network)->elements * (size_t)otp_engine_rows(network) *
		 sizeof(float);
	float *values = otp_calloc(*bytes, 1);
	otp_engine_read(e, network, values);
	return values;
}

static void assert_same_state(otp_engine *a, otp_engine *b)
{
	for (otp_network n = 0; n < OTP_NETWORKS; n++) {
		size_t bytes;
		float *one = read_state(a, n, &bytes), *other = read_state(b, n, &bytes);
		assert_memory_equal(one, other, bytes);
		otp_free(one);
		otp_free(other);
	}
	otp_losses one = otp_engine_losses(a), other = otp_engine_losses(b);
	assert_memory_equal(&one, &other, sizeof one);
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

static void point_steps(otp_engine *e, int from, int to, otp_losses *read_each)
{
	const float x[BATCH * 2] = {0.1f, 0.2f, -0.4f, 0.9f, 0.3f, -0.7f, 0.5f, 0.6f, -0.2f, 0.8f};
	const otp_batch batch = {.values = x};
	for (int step = from; step < to; step++) {
		otp_update u = update_at(step);
		u.rate = 1e-5;
		u.r1 = step % 3 == 0 ? 0.2 : 0;
		if (step % 2)
			otp_engine_transport_step(e, batch, &u);
		else
			otp_engine_potential_step(e, batch, batch, &u);
		if (read_each)
			*read_each = otp_engine_losses(e);
	}
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

/* ---- parts ---- */

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

static void threads_change_no_bit(void **state)
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
static void many_parts_take_few_rows(void **state)
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
static void kinds_of_steps_share_memory(void **state)
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
static void cuts_are_whole_and_even(void **state)
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

static void gradients_are_those_of_adam(void **state)
{
	(void)state;
	for (int parts = 1; parts <= BATCH; parts++)
		check_read_gradient("cpu", parts);
	check_read_gradient("shim", BATCH);
}

/* ---- the guard ---- */

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

static void refused_updates_change_nothing(void **state)
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

static void threads_change_no_norm(void **state)
{
	(void)state;
	float one[OTP_GUARD_VALUES], more[OTP_GUARD_VALUES];
	norms_on(1, 0, one);
	for (int threads = 2; threads <= 3; threads++) {
		norms_on(threads, 0, more);
		assert_memory_equal(one, more, sizeof one);
	}
}

/* ---- points of another scale ---- */

enum { SCALE = 8 }; /* a power of two: dividing rounds nothing */
static const float CENTRES[OTP_SIDES][2] = {{24, -16}, {40, 8}};

static const otp_param_info *param_of(const otp_params *p, const char *name)
{
	for (int k = 0; k < p->count; k++)
		if (strcmp(p->info[k].name, name) == 0)
			return &p->info[k];
	return NULL;
}

/* The unit game's weights, and shifts at the centres. */
static void set_scaled_weights(otp_engine *scaled, otp_engine *unit, otp_network network)
{
	size_t bytes;
	const otp_params *to = otp_engine_params(scaled, network), *from = otp_engine_params(unit, network);
	float *values = read_state(scaled, network, &bytes), *known = read_state(unit, network, &bytes);
	otp_side input = network == OTP_TRANSPORT ? OTP_SOURCE : OTP_TARGET;
	for (int k = 0; k < to->count; k++) {
		const otp_param_info *same = param_of(from, to->info[k].name);
		bool is_input = strcmp(to->info[k].name, OTP_PARAM_INPUT_SHIFT) == 0;
		for (int64_t i = 0; i < otp_shape_count(to->info[k].shape); i++)
			values[to->info[k].offset + i] = same	    ? known[same->offset + i]
							 : is_input ? -CENTRES[input][i] / SCALE
								    : CENTRES[OTP_TARGET][i] / SCALE;
	}
	otp_engine_write(scaled, network, values);
	otp_free(values);
	otp_free(known);
}

static otp_engine *points_engine(work *w, float scale)
{
	otp_engine_settings settings = {.objective = {.arch = POINTS, .tau = 0.1 / (scale * scale)},
					.batch = BATCH,
					.parts = 1,
					.r1_used = true,
					.plain_used = true,
					.beta1 = 0.5,
					.beta2 = 0.9};
	settings.objective.arch.scale = scale;
	settings.objective.arch.potential_gain = 1;
	otp_engine *e = otp_engine_new(&w->place, &settings);
	otp_engine_init(e, 1);
	return e;
}

/* The losses and gradients of one update of each network on points (BATCH, 2), given in units of the scale.
 */
static otp_losses play(otp_engine *e, float scale, const float centres[OTP_SIDES][2])
{
	const float unit[OTP_SIDES][BATCH * 2] = {
	    {0.5f, 0.25f, -0.375f, 0.875f, 0.25f, -0.75f, 0.5f, 0.625f, -0.25f, 0.75f},
	    {-0.5f, 1.25f, 0.375f, 0.5f, -0.25f, -0.5f, 1.5f, 0.125f, -1.25f, -0.75f}};
	float x[OTP_SIDES][BATCH * 2];
	for (otp_side which = 0; which < OTP_SIDES; which++)
		for (int i = 0; i < 2 * BATCH; i++)
			x[which][i] = scale * unit[which][i] + centres[which][i % 2];
	otp_update u = update_at(0);
	u.keep = 1;
	u.rate = 0; /* the unit game has no shifts that could learn */
	u.sigma *= (double)scale;
	u.r1 = 0.2 * (double)(scale * scale);
	otp_engine_potential_step(e, (otp_batch){.values = x[OTP_SOURCE]},
				  (otp_batch){.values = x[OTP_TARGET]}, &u);
	otp_engine_transport_step(e, (otp_batch){.values = x[OTP_SOURCE]}, &u);
	return otp_engine_losses(e);
}

/* Values up to 60 carry 2^-24 of themselves into layers that take differences of 1: 4e-6, through some ten
 * sums of ten terms each. */
static const double ROUNDING = 4e-4;

static void same_gradients(otp_engine *scaled, otp_engine *unit, otp_network network)
{
	const otp_params *a = otp_engine_params(scaled, network), *b = otp_engine_params(unit, network);
	float *ga = otp_calloc((size_t)a->elements, sizeof *ga),
	      *gb = otp_calloc((size_t)b->elements, sizeof *gb);
	double largest = 0;
	otp_engine_read_grads(scaled, network, ga);
	otp_engine_read_grads(unit, network, gb);
	for (int64_t i = 0; i < b->elements; i++)
		largest = fmax(largest, fabs((double)gb[i]));
	assert_true(largest > 0);
	for (int k = 0; k < b->count; k++) {
		const otp_param_info *same = param_of(a, b->info[k].name);
		for (int64_t i = 0; i < otp_shape_count(same->shape); i++)
			assert_true(fabs((double)ga[same->offset + i] - (double)gb[b->info[k].offset + i]) <=
				    ROUNDING * largest);
	}
	otp_free(ga);
	otp_free(gb);
}

/* Points of another scale about other centres, with tau, R1 and sigma in their units, are the same game. */
static void scale_changes_no_game(void **state)
{
	(void)state;
	static const float NONE[OTP_SIDES][2];
	work w;
	open_work(&w, "cpu", 1);
	otp_engine *unit = points_engine(&w, 1), *scaled = points_engine(&w, SCALE);
	for (otp_network n = 0; n < OTP_NETWORKS; n++)
		set_scaled_weights(scaled, unit, n);
	otp_losses a = play(scaled, SCALE, CENTRES), b = play(unit, 1, NONE);
	const otp_step_kind kinds[] = {OTP_STEP_TRANSPORT, OTP_STEP_POTENTIAL_R1};
	for (int i = 0; i < 2; i++) {
		double is = a.sum[kinds[i]][OTP_REPORT_LOSS], was = b.sum[kinds[i]][OTP_REPORT_LOSS];
		assert_true(was != 0 && fabs(is - was) <= ROUNDING * (1 + fabs(was)));
	}
	same_gradients(scaled, unit, OTP_TRANSPORT);
	same_gradients(scaled, unit, OTP_POTENTIAL);
	otp_engine_free(unit);
	otp_engine_free(scaled);
	otp_runtime_close(&w.place);
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

static void large_gradients_are_clipped(void **state)
{
	(void)state;
	for (int parts = 1; parts <= 3; parts += 2) {
		check_clip("cpu", parts, 0.125);
		check_clip("cpu", parts, 1.5);
		check_clip("shim", parts, 0.125);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(steps_never_wait),
	    cmocka_unit_test(picked_samples_are_the_hosts),
	    cmocka_unit_test(rounded_weights_follow),
	    cmocka_unit_test(no_loss_is_lost),
	    cmocka_unit_test(cuts_are_whole_and_even),
	    cmocka_unit_test(many_parts_take_few_rows),
	    cmocka_unit_test(kinds_of_steps_share_memory),
	    cmocka_unit_test(threads_change_no_bit),
	    cmocka_unit_test(gradients_are_those_of_adam),
	    cmocka_unit_test(refused_updates_change_nothing),
	    cmocka_unit_test(threads_change_no_norm),
	    cmocka_unit_test(scale_changes_no_game),
	    cmocka_unit_test(large_gradients_are_clipped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
