/* spec: a set as named on the command line: modifiers, parts, and the digest of what it means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/data_files.h"
#include "data/spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void modifiers_are_checked(void **state)
{
	(void)state;
	refuses("synth:digits?colourize=hsv", 0, 0, "unknown modifier `colourize'", "`colorize'");
	refuses("synth:digits?gray", 0, 0, "unknown modifier `gray'", "`grey'");
	refuses("synth:digits?colorize=rgb", 0, 0, "`rgb'", "hsv or isoluminant");
	refuses("synth:digits?part=3/2", 0, 0, "`3/2'", "K/M");
	refuses("synth:digits?part=0/2", 0, 0, "`0/2'", "K/M");
	refuses("synth:digits?limit=-1", 0, 0, "`limit'", "count");
	refuses("synth:digits?level=2", 0, 0, "`level'", "0 to 1");
	refuses("synth:digits?brightness=2", 0, 0, "`brightness'", "0 to 1");
	refuses("synth:digits?hue=0.5", 0, 0, "`hue'", "colorize");
	refuses("synth:digits?d=4", 0, 0, "vectors", "images");
	refuses("synth:digit", 0, 0, "no such set", "digits-hsv");
	refuses("synth:moons?d=3", 0, 0, "dimension 2", "");
	refuses("synth:one-to-many-source?m=4&d=4", 0, 0, "d=4", "from 5");
	refuses("synth:digits-hsv", 0, 1, "coloured", "1 channel");
	refuses("synth:digits", 0, 2, "cannot become 2", "");
	put_idx("m-idx3-ubyte", "wbT", 9, 0);
	refuses(at("m-idx3-ubyte?size=16"), 0, 0, "synth: sets only", "");
	refuses(at("m-idx3-ubyte?range=0:9"), 0, 0, "holds bytes", "");
	refuses(at("m-idx3-ubyte?part=10/10"), 0, 0, "empty", "9 samples");
	/* A question mark in an existing name is part of it. */
	folder("what?");
	put_png("what?/a.png", 1, 4, 4, 1);
	otp_dataset_close(ready(at("what?"), 0, 0));
	otp_dataset_close(ready(at("what??grey&limit=1"), 0, 0));
}

static void parts_are_disjoint_and_cover(void **state)
{
	(void)state;
	put_idx("p-idx3-ubyte", "wbT", 23, 0);
	int seen[23] = {0}, in_order = 0;
	for (int part = 1; part <= 3; part++) {
		char spec[64], buffer[32];
		snprintf(spec, sizeof spec, "p-idx3-ubyte?part=%d/3", part);
		otp_dataset *d = open_set(at(spec));
		int64_t count = otp_dataset_describe(d).count;
		assert_true(count == 7 || count == 8);
		for (int64_t i = 0, last = -1; i < count; i++) {
			int number = atoi(otp_dataset_name(d, (uint64_t)i, buffer, sizeof buffer));
			seen[number]++;
			in_order += number == last + 3;
			last = number;
		}
		otp_dataset_close(d);
	}
	for (int i = 0; i < 23; i++)
		assert_int_equal(seen[i], 1);
	assert_true(in_order < 12); /* dealt out, not by stride */
	otp_dataset *d = open_set(at("p-idx3-ubyte?part=2/2&limit=5"));
	assert_int_equal(otp_dataset_describe(d).count, 5);
	otp_dataset_close(d);

	/* Of an endless set too: part 2 of 3 at 4 is the whole set's 13. */
	otp_dataset *whole = ready("synth:digits", 0, 0),
		    *part = ready("synth:digits?part=2/3&limit=9", 0, 0);
	float a[256], b[256];
	get(whole, 13, 0, a);
	get(part, 4, 0, b);
	assert_memory_equal(a, b, sizeof a);
	assert_int_equal(otp_dataset_describe(part).count, 9);
	otp_dataset_close(whole);
	otp_dataset_close(part);
}

static void digest_follows_content(void **state)
{
	(void)state;
	folder("g1");
	folder("g2");
	put_png("g1/a.png", 1, 4, 4, 1);
	put_png("g2/a.png", 1, 4, 4, 1);
	uint64_t digest[4];
	for (int i = 0; i < 4; i++) {
		if (i == 2)
			put_png("g2/a.png", 2, 4, 4, 1);
		otp_dataset *d = digested(at(i == 0 ? "g1" : i == 3 ? "g1?grey" : "g2"));
		digest[i] = otp_dataset_describe(d).digest;
		otp_dataset_close(d);
	}
	assert_true(digest[0] == digest[1]);
	assert_true(digest[0] != digest[2]);
	assert_true(digest[0] != digest[3]);
}

static void assert_absolute(const char *text, const char *expected)
{
	char *path = otp_spec_absolute(text);
	assert_string_equal(path, expected);
	otp_free(path);
}

static void test_absolute(void **state)
{
	(void)state;
	assert_int_equal(chdir("/usr"), 0);
	assert_absolute("a", "/usr/a");
	assert_absolute("././a/b.h5:/set?part=1/2", "/usr/a/b.h5:/set?part=1/2");
	assert_absolute("../a?grey", "/usr/../a?grey");
	assert_absolute("/a", "/a");
	assert_absolute("synth:digits?limit=3", "synth:digits?limit=3");
	assert_absolute("", "");
	assert_int_equal(chdir("/"), 0);
	assert_absolute("a", "/a");
	/* A folder's question mark must not become the start of modifiers. */
	char folder[] = "/tmp/otplan?XXXXXX";
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chdir(folder), 0);
	assert_absolute("a.h5:/set", "a.h5:/set");
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(modifiers_are_checked),
	    cmocka_unit_test(parts_are_disjoint_and_cover),
	    cmocka_unit_test(digest_follows_content),
	    cmocka_unit_test(test_absolute),
	};
	return cmocka_run_group_tests(tests, make_root, remove_root);
}
