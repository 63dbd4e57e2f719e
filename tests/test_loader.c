/* loader: the order of samples, batches that depend on nothing else, and a set's bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/data_files.h"
#include "pictures/image.h"
#include "data/loader.h"
#include "core/permute.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void permutations_are_permutations(void **state)
{
	(void)state;
	static const uint64_t counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 100, 1000, 4097};
	static uint8_t seen[4097];
	for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
		memset(seen, 0, sizeof seen);
		uint64_t fixed = 0;
		for (uint64_t i = 0; i < counts[c]; i++) {
			uint64_t to = otp_permute(otp_stream_make(1, 2, 3), i, counts[c]);
			assert_true(to < counts[c] && !seen[to]);
			seen[to] = 1;
			fixed += to == i;
		}
		assert_true(counts[c] < 100 || fixed < 10);
	}
	/* Epochs differ, sides differ, seeds differ; each epoch covers all. */
	int same[3] = {0}, covered[100] = {0};
	for (uint64_t i = 0; i < 100; i++) {
		uint64_t first = otp_loader_index(1, OTP_SOURCE, i, 100);
		same[0] += first == otp_loader_index(1, OTP_SOURCE, i + 100, 100);
		same[1] += first == otp_loader_index(1, OTP_TARGET, i, 100);
		same[2] += first == otp_loader_index(2, OTP_SOURCE, i, 100);
		covered[otp_loader_index(1, OTP_SOURCE, 300 + i, 100)]++;
	}
	for (int i = 0; i < 100; i++)
		assert_int_equal(covered[i], 1);
	for (int i = 0; i < 3; i++)
		assert_true(same[i] < 10);
}

static void batches_do_not_depend_on_workers(void **state)
{
	(void)state;
	put_idx("w-idx3-ubyte", "wbT", 23, 0);
	otp_dataset *fixed = ready(at("w-idx3-ubyte?colorize=hsv"), 0, 3),
		    *endless = ready("synth:digits-hsv", 16, 3);
	const otp_dataset *sets[] = {fixed, endless};
	for (int s = 0; s < 2; s++) {
		otp_dataset_info info = otp_dataset_describe(sets[s]);
		size_t bytes = (size_t)(10 * info.h * info.w * info.c) * sizeof(float);
		float *want = otp_calloc(20, bytes);
		for (int workers = 0; workers <= 3; workers += 3) {
			otp_error err = {0};
			otp_loader *l =
			    otp_loader_new(sets[s], (otp_walk){5, OTP_TARGET, 10, 1, true}, workers, 0);
			for (uint32_t draw = 0; draw < 20; draw++) {
				const float *batch = otp_loader_next(l, &err);
				assert_non_null(batch);
				if (workers == 0)
					memcpy(want + draw * (bytes / sizeof(float)), batch, bytes);
				else
					assert_memory_equal(batch, want + draw * (bytes / sizeof(float)),
							    bytes);
			}
			otp_loader_free(l);
			/* Resumed at 13, and left in the middle of its work. */
			l = otp_loader_new(sets[s], (otp_walk){5, OTP_TARGET, 10, 1, true}, workers, 13);
			assert_memory_equal(otp_loader_next(l, &err), want + 13 * (bytes / sizeof(float)),
					    bytes);
			otp_loader_free(l);
			otp_loader_free(
			    otp_loader_new(sets[s], (otp_walk){5, OTP_TARGET, 10, 1, true}, workers, 0));
		}
		otp_free(want);
	}
	otp_dataset_close(fixed);
	otp_dataset_close(endless);
}

static void check_stored(const char *spec, int size, int channels, int stored)
{
	otp_error err = {0};
	otp_dataset *d = ready(spec, size, channels);
	otp_dataset_info info = otp_dataset_describe(d);
	assert_int_equal(otp_dataset_stored_channels(d), stored);
	size_t pixels = (size_t)(info.h * info.w), c = (size_t)info.c, k = (size_t)stored;
	uint8_t *bytes = otp_calloc(pixels * c, 1);
	float *want = otp_calloc(pixels * c, sizeof *want);
	for (int64_t i = 0; stored && i < info.count; i++) {
		get(d, (uint64_t)i, 3, want);
		assert_true(otp_dataset_get_bytes(d, (uint64_t)i, bytes, &err));
		for (size_t j = 0; j < pixels * c; j++)
			assert_true((float)bytes[j / c * k + j % c % k] / 127.5f - 1 == want[j]);
	}
	otp_free(bytes);
	otp_free(want);
	otp_dataset_close(d);
}

/* Which sets can lie on a device as bytes, and that those are their samples. */
static void bytes_are_the_samples(void **state)
{
	(void)state;
	put_idx("b-idx3-ubyte", "wbT", 7, 0);
	folder("b");
	put_png("b/a.png", 1, 8, 8, 3);
	put_png("b/b.png", 9, 12, 9, 1);
	put_png("b/c.png", 40, 8, 8, 4);
	put("b/d.png", "no picture", 10);
	check_stored(at("b-idx3-ubyte"), 0, 1, 1);
	check_stored(at("b-idx3-ubyte?part=2/2"), 0, 3, 1);
	check_stored(at("b-idx3-ubyte?limit=2"), 8, 1, 1);
	check_stored(at("b"), 8, 3, 3);
	check_stored(at("b?keep=off"), 8, 3, 3);
	check_stored(at("b?grey"), 8, 3, 1);
	/* Drawn for each sample, dimmed, without bytes, without end, no pictures. */
	check_stored(at("b-idx3-ubyte?colorize=hsv"), 0, 3, 0);
	check_stored(at("b-idx3-ubyte?brightness=0.5"), 0, 1, 0);
	check_stored("synth:digits", 16, 1, 0);
	check_stored("synth:digits?limit=5", 16, 1, 0);
	check_stored("synth:moons", 0, 2, 0);
}

static void picks_are_the_loaders(void **state)
{
	(void)state;
	enum { BATCH = 9 };
	put_idx("k-idx3-ubyte", "wbT", 31, 0);
	otp_dataset *d = ready(at("k-idx3-ubyte"), 0, 1);
	otp_dataset_info info = otp_dataset_describe(d);
	for (int kind = 0; kind < 4; kind++) {
		int flip = kind % 2, copies = 1 + kind / 2;
		otp_walk walk = {5, OTP_TARGET, BATCH, copies, flip};
		otp_error err = {0};
		otp_loader *l = otp_loader_new(d, walk, 1, 3);
		int mirrored = 0;
		for (uint32_t draw = 3; draw < 12; draw++) {
			uint32_t picks[BATCH];
			float sample[20];
			const float *batch = otp_loader_next(l, &err);
			otp_loader_picks(walk, (uint64_t)info.count, draw, picks);
			for (int i = 0; i < BATCH; i++) {
				get(d, picks[i] / 2, 0, sample);
				for (int at = 0; at < 20; at++) {
					int from = picks[i] % 2 ? at / 5 * 5 + 4 - at % 5 : at;
					assert_true(batch[i * 20 + at] == sample[from]);
				}
				mirrored += (int)(picks[i] % 2);
			}
		}
		assert_int_equal(mirrored > 0, flip);
		otp_loader_free(l);
	}
	otp_dataset_close(d);
}

/* Copies stand behind their original, mirrored or not with it; the walk goes on as if there were none. */
static void copies_follow_their_original(void **state)
{
	(void)state;
	otp_dataset *d = ready("synth:digits", 16, 1);
	otp_dataset_info info = otp_dataset_describe(d);
	size_t values = (size_t)(info.h * info.w * info.c), bytes = values * sizeof(float);
	otp_error err = {0};
	otp_loader *once = otp_loader_new(d, (otp_walk){5, OTP_SOURCE, 4, 1, false}, 0, 0);
	otp_loader *twice = otp_loader_new(d, (otp_walk){5, OTP_SOURCE, 7, 2, true}, 0, 0);
	otp_loader *plain = otp_loader_new(d, (otp_walk){5, OTP_SOURCE, 7, 2, false}, 0, 0);
	for (int draw = 0; draw < 3; draw++) {
		const float *a = otp_loader_next(once, &err), *b = otp_loader_next(plain, &err),
			    *c = otp_loader_next(twice, &err);
		for (size_t i = 0; i < 7; i++) {
			assert_memory_equal(b + i * values, a + i / 2 * values, bytes);
			assert_memory_equal(c + i * values, c + i / 2 * 2 * values, bytes);
		}
	}
	otp_loader_free(once);
	otp_loader_free(twice);
	otp_loader_free(plain);
	otp_dataset_close(d);
}

static void mirrored_about_half_the_time(void **state)
{
	(void)state;
	put_idx("x-idx3-ubyte", "wbT", 1, 0);
	otp_dataset *d = ready(at("x-idx3-ubyte"), 0, 1);
	otp_error err = {0};
	otp_loader *l = otp_loader_new(d, (otp_walk){5, OTP_SOURCE, 400, 1, true}, 1, 0);
	const float *batch = otp_loader_next(l, &err);
	int mirrored = 0;
	for (int i = 0; i < 400; i++) {
		bool is = batch[i * 20] > batch[i * 20 + 4];
		for (int x = 0; x < 5; x++)
			assert_int_equal(otp_image_byte(batch[i * 20 + 15 + x]), 3 + 2 * (is ? 4 - x : x));
		mirrored += is;
	}
	assert_true(mirrored > 150 && mirrored < 250);
	otp_loader_free(l);
	otp_dataset_close(d);
}

/* Ramps whose values tell where a window lies. `whole`: the size that pictures are brought to. */
static void check_windows(const char *spec, otp_size whole, otp_size crop, int corners)
{
	enum { BATCH = 8, DRAWS = 60 };
	otp_error err = {0};
	otp_dataset *d = open_set(spec);
	otp_preprocessing how = {.size = whole, .crop = crop};
	assert_true(otp_dataset_prepare(d, &how, 1, 2, &err));
	assert_true(otp_dataset_has_windows(d) && otp_dataset_stored_channels(d) == 0);
	otp_dataset_info info = otp_dataset_describe(d);
	assert_true(info.h == crop.h && info.w == crop.w);
	otp_loader *l = otp_loader_new(d, (otp_walk){5, OTP_SOURCE, BATCH, 2, false}, 2, 0),
		   *later = otp_loader_new(d, (otp_walk){5, OTP_SOURCE, BATCH, 2, false}, 0, DRAWS - 1);
	bool seen[256] = {false};
	size_t values = (size_t)(crop.h * crop.w);
	const float *batch = NULL;
	for (int draw = 0; draw < DRAWS; draw++) {
		batch = otp_loader_next(l, &err);
		assert_non_null(batch);
		for (int i = 0; i < BATCH; i++) {
			int first = otp_image_byte(batch[(size_t)i * values]);
			seen[first] = true;
			for (int y = 0; y < crop.h; y++)
				for (int x = 0; x < crop.w; x++)
					assert_int_equal(
					    otp_image_byte(
						batch[(size_t)i * values + (size_t)(y * crop.w + x)]),
					    first + y + 2 * x);
		}
		assert_memory_equal(batch, batch + values, values * sizeof *batch); /* copies */
	}
	assert_memory_equal(batch, otp_loader_next(later, &err), BATCH * values * sizeof *batch);
	int distinct = 0;
	for (int i = 0; i < 256; i++)
		distinct += seen[i];
	assert_int_equal(distinct, corners);
	otp_loader_free(l);
	otp_loader_free(later);
	otp_dataset_close(d);
}

/* A function of seed and draw, all of a picture's places, and the middle one outside of training. */
static void windows_move_in_training_alone(void **state)
{
	(void)state;
	static const char *const kept[] = {"", "?keep=off"};
	folder("w");
	put_png("w/a.png", 10, 8, 9, 1);
	folder("m");
	put_png("m/a.png", 10, 8, 9, 1);
	put_png("m/b.png", 100, 5, 4, 1);
	put("m/c.png", "no picture", 10);
	for (int i = 0; i < 2; i++) {
		char spec[64], mixed[64];
		snprintf(spec, sizeof spec, "w%s", kept[i]);
		snprintf(mixed, sizeof mixed, "m%s", kept[i]);
		/* 4 rows and 6 columns of places, whose corners are 10 + top + 2 left: 10 to 23. */
		check_windows(at(spec), (otp_size){0}, (otp_size){5, 4}, 14);
		check_windows(at(spec), (otp_size){8, 9}, (otp_size){5, 4}, 14);
		check_windows(at(mixed), (otp_size){0}, (otp_size){5, 4}, 15); /* and the whole of b */
		otp_error err = {0};
		otp_dataset *d = open_set(at(mixed));
		otp_preprocessing how = {.crop = {5, 4}};
		float middle[20];
		assert_true(otp_dataset_prepare(d, &how, 1, 1, &err));
		assert_int_equal(otp_dataset_describe(d).count, 2);
		get(d, 0, 0, middle);
		assert_int_equal(otp_image_byte(middle[0]), 10 + 1 + 2 * 2);
		how.crop = (otp_size){10, 8}; /* both are enlarged */
		assert_true(otp_dataset_prepare(d, &how, 1, 1, &err));
		otp_dataset_close(d);
	}
}

static void trouble_reaches_the_caller(void **state)
{
	(void)state;
	folder("t");
	for (int i = 0; i < 3; i++) {
		char name[32];
		snprintf(name, sizeof name, "t/%d.png", i);
		put_png(name, i, 8, 8, 1);
	}
	otp_dataset *d = ready(at("t?keep=off"), 0, 0);
	for (int workers = 0; workers <= 2; workers += 2) {
		otp_error err = {0};
		otp_loader *l = otp_loader_new(d, (otp_walk){5, OTP_SOURCE, 2, 1, false}, workers, 0);
		if (workers == 0) {
			assert_non_null(otp_loader_next(l, &err));
			for (int i = 0; i < 3; i++) {
				char name[32];
				snprintf(name, sizeof name, "t/%d.png", i);
				unlink(at(name));
			}
		}
		for (int i = 0; i < 4; i++)
			assert_null(otp_loader_next(l, &err));
		assert_non_null(strstr(err.text, "none of its images"));
		otp_loader_free(l);
	}
	otp_dataset_close(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(permutations_are_permutations),
	    cmocka_unit_test(batches_do_not_depend_on_workers),
	    cmocka_unit_test(bytes_are_the_samples),
	    cmocka_unit_test(picks_are_the_loaders),
	    cmocka_unit_test(copies_follow_their_original),
	    cmocka_unit_test(mirrored_about_half_the_time),
	    cmocka_unit_test(windows_move_in_training_alone),
	    cmocka_unit_test(trouble_reaches_the_caller),
	};
	return cmocka_run_group_tests(tests, make_root, remove_root);
}
