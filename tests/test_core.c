/* core: file writing and reading, the thread team, the random streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base.h"
#include "core/file.h"
#include "core/pool.h"
#include "core/rng.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/otplan-core-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	char *command = otp_format("rm -rf '%s'", folder);
	int code = system(command);
	otp_free(command);
	return code;
}

static int entries(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;
	for (struct dirent *e; d && (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static void a_long_name_leaves_room_for_what_is_wrong(void **state)
{
	(void)state;
	char name[4096];
	otp_error err = {0};
	memset(name, 'n', sizeof name - 1);
	name[0] = 'a';
	name[sizeof name - 2] = 'z';
	name[sizeof name - 1] = 0;
	otp_fail(&err, name, "is wrong, expected better");
	assert_int_equal(err.text[0], 'a');
	assert_non_null(strstr(err.text, "nz: is wrong, expected better"));
}

static void file_appears_whole(void **state)
{
	(void)state;
	otp_error err = {0};
	char *deep = otp_format("%s/a/b//c/", folder), *path = otp_format("%s/x", deep);
	assert_true(otp_file_make_folder(deep, &err));
	assert_true(otp_file_make_folder(deep, &err));
	assert_true(otp_file_is_folder(deep));
	assert_true(otp_file_write(path, "first", 5, &err));
	assert_true(otp_file_write(path, "second", 6, &err));
	size_t bytes = 0;
	char *text = otp_file_read(path, &bytes, &err);
	assert_int_equal(bytes, 6);
	assert_string_equal(text, "second");
	assert_int_equal(entries(deep), 1);
	otp_free(text);

	char *under_file = otp_format("%s/y", path);
	assert_false(otp_file_make_folder(under_file, &err));
	assert_int_equal(err.exit_code, OTP_EXIT_FAILED);
	err = (otp_error){0};
	assert_false(otp_file_write(under_file, "z", 1, &err));
	assert_int_equal(err.exit_code, OTP_EXIT_FAILED);
	otp_free(under_file);
	otp_free(path);
	otp_free(deep);
}

static void file_read_says_why_not(void **state)
{
	(void)state;
	otp_error err = {0};
	size_t bytes;
	assert_null(otp_file_read(folder, &bytes, &err));
	assert_non_null(strstr(err.text, "is a folder"));
	err = (otp_error){0};
	assert_null(otp_file_read("/no/such/file", &bytes, &err));
	assert_non_null(strstr(err.text, "/no/such/file: cannot be read"));
	assert_int_equal(err.exit_code, OTP_EXIT_USAGE);
	/* A file without a size, longer than the first guess: over 64 KiB in any process with libraries. */
	err = (otp_error){0};
	char *data = otp_file_read("/proc/self/smaps", &bytes, &err);
	assert_non_null(data);
	assert_true(bytes > 0 && strlen(data) == bytes);
	otp_free(data);
	/* What never ends or never begins. */
	char *pipe = otp_format("%s/pipe", folder);
	assert_int_equal(mkfifo(pipe, 0600), 0);
	const char *no_files[] = {"/dev/zero", pipe};
	for (int i = 0; i < 2; i++) {
		err = (otp_error){0};
		assert_null(otp_file_read(no_files[i], &bytes, &err));
		assert_int_equal(err.exit_code, OTP_EXIT_USAGE);
		assert_non_null(strstr(err.text, "a file was expected"));
	}
	unlink(pipe);
	otp_free(pipe);
}

static void a_long_name_can_be_written(void **state)
{
	(void)state;
	otp_error err = {0};
	char name[256];
	memset(name, 'n', 255);
	name[255] = 0;
	char *path = otp_format("%s/%s", folder, name), *other = otp_format("%s/m", folder);
	assert_true(otp_file_write(path, "x", 1, &err));
	char *a = otp_file_temporary(path), *b = otp_file_temporary(other);
	assert_string_not_equal(a, b);
	otp_free(a);
	otp_free(b);
	unlink(path);
	otp_free(path);
	otp_free(other);
}

typedef struct tally {
	atomic_int calls;
	int by_worker[8];
} tally;

static void count_call(void *argument, int worker)
{
	tally *t = argument;
	atomic_fetch_add(&t->calls, 1);
	t->by_worker[worker]++;
}

static void pool_calls_every_worker_once(void **state)
{
	(void)state;
	for (int workers = 1; workers <= 5; workers += 2) {
		tally t = {0};
		otp_pool *pool = otp_pool_new(workers);
		assert_int_equal(otp_pool_workers(pool), workers);
		for (int run = 1; run <= 2000; run++) {
			otp_pool_run(pool, count_call, &t);
			assert_int_equal(atomic_load(&t.calls), run * workers);
			if (run % 500 == 0)
				usleep(2000); /* long enough for the team to fall asleep */
		}
		for (int w = 0; w < workers; w++)
			assert_int_equal(t.by_worker[w], 2000);
		otp_pool_free(pool);
	}
	otp_pool_free(otp_pool_new(3)); /* never used */
	otp_pool_free(NULL);
}

/* Known answers of the Random123 distribution (kat_vectors, philox4x32 10). */
static void philox_matches_its_authors(void **state)
{
	(void)state;
	otp_stream zero = {{0, 0, 0, 0}}, ones = {{~0u, ~0u, ~0u, ~0u}};
	static const uint32_t want_zero[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
	static const uint32_t want_ones[4] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
	assert_memory_equal(otp_philox_block(zero, 0, 0).v, want_zero, sizeof want_zero);
	assert_memory_equal(otp_philox_block(ones, ~0u, ~0u).v, want_ones, sizeof want_ones);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(file_appears_whole),
	    cmocka_unit_test(file_read_says_why_not),
	    cmocka_unit_test(a_long_name_leaves_room_for_what_is_wrong),
	    cmocka_unit_test(a_long_name_can_be_written),
	    cmocka_unit_test(pool_calls_every_worker_once),
	    cmocka_unit_test(philox_matches_its_authors),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
