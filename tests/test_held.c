/* held: what training never draws: withheld samples, test sets, the two halves of a root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/data_files.h"
#include "data/loader.h"
#include "data/root.h"
#include "train/evaluate.h"
#include "train/session.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST = 256 };

/* ---- withheld samples --------------------------------------------------------- */

/* An image's first value tells which of the ramps of put_idx it is. */
static int which(float first) { return (int)((first + 1) * 127.5f + 0.5f); }

static int number(const otp_dataset *d, uint64_t index)
{
	float image[4 * 5];
	get(d, index, 0, image);
	return which(image[0]);
}

static otp_dataset *withheld(const char *spec, uint64_t seed, int64_t count)
{
	otp_error err = {0};
	otp_dataset *d = open_set(spec);
	otp_dataset_withhold(d, seed, count);
	if (!otp_dataset_prepare(d, &(otp_preprocessing){0}, 0, 2, &err))
		fail_msg("%s", err.text);
	return d;
}

static void no_epoch_draws_them(void **state)
{
	(void)state;
	enum { COUNT = 101, HELD = 17, BATCH = 8, DRAWS = 70 };
	int times[MOST] = {0}, draws[DRAWS][BATCH];
	otp_error err = {0};
	put_idx("held-idx3-ubyte", "wbT", COUNT, 0);
	otp_dataset *d = withheld(at("held-idx3-ubyte"), 5, HELD);
	otp_dataset_info info = otp_dataset_describe(d);
	assert_int_equal(info.count, COUNT - HELD);
	assert_int_equal(info.withheld, HELD);
	assert_int_equal(info.listed, COUNT);
	otp_walk walk = {9, OTP_TARGET, BATCH, 1, false};
	otp_loader *l = otp_loader_new(d, walk, 2, 0);
	for (uint32_t draw = 0; draw < DRAWS; draw++) { /* six and two thirds of an epoch */
		const float *batch = otp_loader_next(l, &err);
		uint32_t picks[BATCH];
		assert_non_null(batch);
		otp_loader_picks(walk, (uint64_t)info.count, draw, picks);
		for (int i = 0; i < BATCH; i++) {
			times[draws[draw][i] = which(batch[i * 20])]++;
			assert_int_equal(draws[draw][i], number(d, picks[i] / 2));
		}
	}
	otp_loader_free(l);
	/* What is drawn is a function of the draw's number alone. */
	l = otp_loader_new(d, walk, 0, 33);
	const float *batch = otp_loader_next(l, &err);
	for (int i = 0; i < BATCH; i++)
		assert_int_equal(which(batch[i * 20]), draws[33][i]);
	otp_loader_free(l);
	for (int64_t i = 0; i < HELD; i++) {
		int apart = number(d, (uint64_t)(info.count + i));
		assert_int_equal(times[apart], 0);
		times[apart] = -1;
		/* Evaluation is over these, in their order. */
		assert_int_equal(otp_evaluate_index(d, OTP_TARGET, i + HELD), info.count + i);
	}
	assert_int_equal(otp_evaluate_room(&info), HELD);
	for (int i = 0; i < COUNT; i++)
		assert_true(times[i] == -1 || times[i] == 6 || times[i] == 7);
	otp_dataset_close(d);
}

static void seeds_choose_them(void **state)
{
	(void)state;
	enum { COUNT = 120, HELD = 12 };
	put_idx("a-idx3-ubyte", "wbT", COUNT, 0);
	otp_dataset *a = withheld(at("a-idx3-ubyte"), 1, HELD),
		    *b = withheld(at("a-idx3-ubyte?grey"), 1, HELD),
		    *c = withheld(at("a-idx3-ubyte"), 2, HELD), *none = withheld(at("a-idx3-ubyte"), 1, 0);
	otp_error err = {0};
	otp_dataset *only = open_set(at("a-idx3-ubyte"));
	otp_dataset_withhold(only, 1, HELD);
	otp_dataset_only_withheld(only);
	assert_true(otp_dataset_prepare(only, &(otp_preprocessing){0}, 0, 1, &err) &&
		    otp_dataset_digest(only, 1, &err));
	assert_int_equal(otp_dataset_describe(only).count, HELD);
	int same = 0, before = -1;
	for (uint64_t i = 0; i < HELD; i++) {
		int n = number(a, COUNT - HELD + i);
		/* Rows that belong together are withheld together, in their order. */
		assert_int_equal(number(b, COUNT - HELD + i), n);
		assert_int_equal(number(only, i), n);
		assert_true(n > before);
		before = n;
		for (uint64_t k = 0; k < HELD; k++)
			same += number(c, COUNT - HELD + k) == n;
	}
	assert_true(same < 6);
	for (uint64_t i = 0; i < COUNT; i++)
		assert_int_equal(number(none, i), i);
	/* The set is the same one. */
	assert_true(otp_dataset_digest(a, 1, &err) && otp_dataset_digest(none, 1, &err));
	assert_true(otp_dataset_describe(a).digest == otp_dataset_describe(none).digest);
	otp_dataset *sets[] = {a, b, c, none, only};
	for (int i = 0; i < 5; i++)
		otp_dataset_close(sets[i]);
}

/* A picture that is broken is replaced by one of its own kind, whether pictures are kept or read anew. */
static void broken_ones_keep_apart(void **state)
{
	(void)state;
	enum { COUNT = 40, HELD = 8 };
	static const char *const SPECS[] = {"p", "p?keep=off"};
	for (int pass = 0; pass < 2; pass++) {
		char name[32];
		int times[MOST] = {0};
		folder("p");
		for (int i = 0; i < COUNT; i++) {
			snprintf(name, sizeof name, "p/%02d.png", i);
			put_png(name, i, 4, 5, 1);
		}
		otp_error err = {0};
		otp_dataset *d = open_set(at(SPECS[pass]));
		otp_dataset_withhold(d, 3, HELD);
		/* Two of either kind are cut after their sizes were seen. */
		for (uint64_t i = COUNT - HELD - 2; i < COUNT - HELD + 2; i++) {
			char cut_name[64];
			snprintf(name, sizeof name, "p/%s", otp_dataset_file(d, i));
			snprintf(cut_name, sizeof cut_name, "%s", name);
			cut(cut_name, cut_name, 5);
		}
		assert_true(otp_dataset_prepare(d, &(otp_preprocessing){.size = {4, 4}}, 1, 2, &err));
		otp_dataset_info info = otp_dataset_describe(d);
		assert_int_equal(info.count, pass ? COUNT - HELD : COUNT - HELD - 2);
		assert_int_equal(info.withheld, pass ? HELD : HELD - 2);
		float image[16];
		for (int64_t i = 0; i < info.count; i++) {
			get(d, (uint64_t)i, 0, image);
			times[which(image[5])]++;
		}
		for (int64_t i = info.count; i < info.count + info.withheld; i++) {
			get(d, (uint64_t)i, 0, image);
			assert_int_equal(times[which(image[5])], 0);
		}
		otp_dataset_close(d);
	}
}

static void generated_sets_lose_none(void **state)
{
	(void)state;
	otp_dataset *d = withheld("synth:gaussian?limit=9", 1, 1),
		    *plain = ready("synth:gaussian?limit=9", 0, 0);
	otp_dataset_info info = otp_dataset_describe(d);
	assert_int_equal(info.count, 9);
	assert_true(info.fresh && otp_evaluate_room(&info) == 0);
	assert_true(otp_evaluate_index(d, OTP_SOURCE, 2) > 1u << 30);
	info = otp_dataset_describe(plain);
	assert_true(!info.fresh && otp_evaluate_room(&info) == 9);
	assert_int_equal(otp_evaluate_index(plain, OTP_SOURCE, 11), 2);
	float x[2], y[2];
	get(d, otp_evaluate_index(d, OTP_SOURCE, 2), 0, x);
	get(plain, 2, 0, y);
	assert_true(x[0] != y[0]);
	otp_dataset_close(d);
	otp_dataset_close(plain);
}

/* ---- sessions ----------------------------------------------------------------- */

static otp_session planned(const char *source, const char *target, const char *more)
{
	otp_config c;
	otp_session s = {0};
	otp_error err = {0};
	otp_config_defaults(&c);
	bool ok = otp_config_preset(&c, "quickstart", &err) &&
		  otp_config_set(&c, "source", source, "", &err) &&
		  otp_config_set(&c, "target", target, "", &err) && otp_config_parse(&c, more, "", &err) &&
		  otp_config_set(&c, "image-size", "8", "", &err) && otp_session_open(&c, &s, &err);
	if (!ok)
		fail_msg("%s", err.text);
	return s;
}

static void a_tenth_is_withheld(void **state)
{
	(void)state;
	char more[256];
	put_idx("s-idx3-ubyte", "wbT", 170, 0);
	const char *set = at("s-idx3-ubyte");
	otp_session s = planned(set, "synth:digits", "");
	assert_int_equal(s.withheld[OTP_SOURCE], 17);
	assert_int_equal(s.source_info.count, 153);
	assert_int_equal(otp_session_held(&s, OTP_SOURCE), OTP_HELD_WITHHELD);
	assert_int_equal(otp_session_held(&s, OTP_TARGET), OTP_HELD_FRESH);
	assert_true(otp_session_holds_out(&s));
	char *text = otp_session_held_text(&s);
	assert_string_equal(text, "source 17 of 170 samples, withheld from training; target fresh samples");
	otp_free(text);
	otp_session_close(&s);

	s = planned(set, "synth:digits?limit=20", "withhold = 16\n");
	assert_int_equal(s.withheld[OTP_SOURCE], 16);
	assert_int_equal(s.target_info.count, 20);
	assert_int_equal(otp_session_held(&s, OTP_TARGET), OTP_HELD_FRESH);
	otp_session_close(&s);

	s = planned(set, "synth:digits?limit=20", "withhold = 0\n");
	assert_int_equal(s.source_info.count, 170);
	assert_int_equal(otp_session_held(&s, OTP_SOURCE), OTP_HELD_NOTHING);
	assert_int_equal(otp_session_held(&s, OTP_TARGET), OTP_HELD_NOTHING);
	otp_session_close(&s);

	snprintf(more, sizeof more, "%s?limit=159", set);
	s = planned(more, "synth:digits", "");
	assert_int_equal(s.source_info.count, 159);
	assert_true(!otp_session_holds_out(&s));
	otp_session_close(&s);

	snprintf(more, sizeof more, "test-source = %s?limit=7\n", set);
	s = planned(set, "synth:digits", more);
	assert_int_equal(s.source_info.count, 170);
	assert_int_equal(otp_session_held(&s, OTP_SOURCE), OTP_HELD_TEST);
	assert_int_equal(otp_dataset_describe(otp_session_measured(&s, OTP_SOURCE)).count, 7);
	otp_session_close(&s);
}

/* ---- roots -------------------------------------------------------------------- */

static void finds(const char *place, const char *train_a, const char *train_b, const char *test_a,
		  const char *test_b)
{
	otp_root root;
	otp_error err = {0};
	if (!otp_root_find(at(place), &root, &err))
		fail_msg("%s", err.text);
	const char *want[] = {train_a, train_b, test_a, test_b},
		   *is[] = {root.train[0], root.train[1], root.test[0], root.test[1]};
	for (int i = 0; i < 4; i++) {
		if (want[i])
			assert_string_equal(is[i], at(want[i]));
		else
			assert_null(is[i]);
	}
	otp_root_free(&root);
}

static void lacks(const char *place, const char *words)
{
	otp_root root;
	otp_error err = {0};
	assert_false(otp_root_find(at(place), &root, &err));
	assert_int_equal(err.exit_code, OTP_EXIT_USAGE);
	if (!strstr(err.text, words))
		fail_msg("%s: does not say %s", err.text, words);
}

static void halves_by_any_name(void **state)
{
	(void)state;
	folder("r");
	lacks("r", "found no folders");
	folder("r/TrainA");
	lacks("r", "no folder trainB (or train_B, train/B, B); found TrainA");
	folder("r/train_b");
	folder("r/other");
	finds("r", "r/TrainA", "r/train_b", NULL, NULL);
	folder("r/val_A");
	folder("r/VALB");
	folder("r/testB");
	finds("r", "r/TrainA", "r/train_b", NULL, NULL); /* an empty test half counts as none */
	put("r/val_A/1.png", "x", 1);
	put("r/testB/1.png", "x", 1);
	finds("r", "r/TrainA", "r/train_b", "r/val_A", "r/testB");
	folder("r/train-a");
	lacks("r", "has both TrainA and train-a");

	folder("q");
	folder("q/top");
	folder("q/top/train");
	folder("q/top/train/A");
	folder("q/top/train/B");
	folder("q/top/test");
	folder("q/top/test/b");
	put("q/top/test/b/1.png", "x", 1);
	finds("q", "q/top/train/A", "q/top/train/B", NULL, "q/top/test/b");
	finds("q/top/", "q/top/train/A", "q/top/train/B", NULL, "q/top/test/b");
	folder("plain");
	folder("plain/A");
	folder("plain/B");
	finds("plain", "plain/A", "plain/B", NULL, NULL);
	put("file", "text", 4);
	lacks("file", "no folder and no zip");
}

static void a_zip_is_a_root(void **state)
{
	(void)state;
	enum { FILES = 7 };
	static const char *const NAMES[FILES] = {"set/trainA/1.png",	   "set/trainA/2.png",
						 "set/trainA/below/3.png", "set/trainB/1.png",
						 "set/testA/9.png",	   "__MACOSX/set/trainA/._1.png",
						 "set/readme.txt"};
	const void *data[FILES];
	size_t bytes[FILES];
	put_png("one.png", 30, 8, 8, 3);
	FILE *f = fopen(at("one.png"), "rb");
	char png[4096];
	size_t length = fread(png, 1, sizeof png, f);
	fclose(f);
	for (int i = 0; i < FILES; i++) {
		data[i] = png;
		bytes[i] = length;
	}
	put_zip("set.zip", NAMES, data, bytes, FILES);
	finds("set.zip", "set.zip:set/trainA", "set.zip:set/trainB", "set.zip:set/testA", NULL);
	otp_dataset *d = ready(at("set.zip:set/trainA"), 0, 0);
	char name[64];
	assert_int_equal(otp_dataset_describe(d).count, 3);
	assert_string_equal(otp_dataset_name(d, 2, name, sizeof name), "below/3");
	char *place = otp_dataset_place(d);
	assert_string_equal(place, at("set.zip"));
	otp_free(place);
	/* What is trained on is the same unpacked. */
	folder("set");
	folder("set/trainA");
	folder("set/trainA/below");
	for (int i = 0; i < 3; i++)
		put(NAMES[i], png, length);
	otp_error err = {0};
	otp_dataset *unpacked = digested(at("set/trainA"));
	assert_true(otp_dataset_digest(d, 1, &err));
	assert_true(otp_dataset_describe(d).digest == otp_dataset_describe(unpacked).digest);
	otp_dataset_close(d);
	otp_dataset_close(unpacked);
	refuses(at("set.zip:set/trainC"), 0, 0, "trainC", "holds no files");
	put_zip("half.zip", NAMES, data, bytes, 3);
	lacks("half.zip", "no folder trainB (or train_B, train/B, B); found set, set/trainA");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_epoch_draws_them),    cmocka_unit_test(seeds_choose_them),
	    cmocka_unit_test(broken_ones_keep_apart), cmocka_unit_test(generated_sets_lose_none),
	    cmocka_unit_test(a_tenth_is_withheld),    cmocka_unit_test(halves_by_any_name),
	    cmocka_unit_test(a_zip_is_a_root),
	};
	return cmocka_run_group_tests(tests, make_root, remove_root);
}
