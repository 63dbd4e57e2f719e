/* The public library as its user sees it: one header, a model from disk. */
#include "otplan/otplan.h"

#include "config/settings.h"
#include "core/file.h"
#include "engine/sampler.h"
#include "model/store.h"
#include "train/trainer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 8, FLOATS = SIZE * SIZE * 3 };

static char small_path[64], big_path[64]; /* models: of 8 x 8, and of 256 x 256 */
static char grey_path[64];		  /* of 8 x 8, whose training saw sources in grey */

/* An untrained generator as a model file; its last layer is zero, so it gives back what it is given. */
static void write_model(const char *path, int size, bool grey)
{
	otp_error err = {0};
	otp_config c;
	otp_arch arch;
	otp_config_defaults(&c);
	c.width = 4;
	c.blocks = 1;
	strcpy(c.multipliers, "1,1");
	strcpy(c.attention, "none");
	assert_true(otp_settings_arch(&c, false, size, size, 3, &arch, &err));
	otp_params *params = otp_params_new();
	otp_sample_graph probe = otp_sample_build(&arch, params, 0, 1, false);
	otp_graph_free(probe.graph);
	float *row = otp_calloc((size_t)params->elements, sizeof *row);
	otp_params_init(params, 3, OTP_TRANSPORT, row);
	/* Nobody parses the settings: options come and go. */
	otp_stored s = {.settings = otp_strdup("an-option-that-is-gone = 7\nwidth = nothing\n"),
			.arch = arch,
			.grey = grey,
			.sigma = 0.1,
			.rate_factor = 1};
	for (int side = 0; side < 2; side++)
		*(side ? &s.target : &s.source) =
		    (otp_data_facts){.spec = otp_strdup("synth:digits"),
				     .format = otp_strdup("synth"),
				     .digest_kind = otp_strdup("name-and-seed-1")};
	assert_true(otp_model_write(path, &s, params, row, &err));
	otp_stored_free(&s);
	otp_free(row);
	otp_params_free(params);
}

static otplan_options on_cpu(int threads)
{
	otplan_options options;
	otplan_options_init(&options, sizeof options);
	options.device = "cpu";
	options.threads = threads;
	return options;
}

/* Residual on the clean input with a last layer of zeros: the identity, exactly. */
static bool translates(otplan_model *m)
{
	static float x[2 * FLOATS], y[2 * 3 * FLOATS];
	for (int i = 0; i < 2 * FLOATS; i++)
		x[i] = sinf((float)i);
	if (otplan_model_translate(m, x, 2, 3, 7, y) != OTPLAN_OK)
		return false;
	for (int i = 0; i < 2 * 3 * FLOATS; i++)
		if (y[i] != x[i / (3 * FLOATS) * FLOATS + i % FLOATS])
			return false;
	return true;
}

static void a_model_translates(void **state)
{
	(void)state;
	char message[OTPLAN_MESSAGE_BYTES] = "untouched";
	otplan_model *m;
	otplan_options options = on_cpu(1);
	assert_int_equal(otplan_model_open(small_path, &options, &m, message), OTPLAN_OK);
	assert_string_equal(message, "");
	int h, w, c;
	otplan_model_shape(m, &h, &w, &c);
	assert_int_equal(h * w * c, FLOATS);
	assert_true(otplan_model_sigma(m) == 0.1);
	assert_true(translates(m));
	otplan_model_close(m);
	otplan_model_close(NULL);
}

/* The identity of what it sees: of 8-bit colours the luminance in 8 bits, of others as it is. Grey stays. */
static void colours_become_grey_where_sources_were(void **state)
{
	(void)state;
	static float x[3 * FLOATS], y[3 * FLOATS], again[FLOATS];
	otplan_model *m;
	otplan_options options = on_cpu(1);
	for (int i = 0; i < FLOATS; i++) {
		x[i] = (float)(i * 89 % 256) / 127.5f - 1;
		x[FLOATS + i] = sinf((float)i);
		x[2 * FLOATS + i] = cosf((float)(i / 3));
	}
	assert_int_equal(otplan_model_open(grey_path, &options, &m, NULL), OTPLAN_OK);
	assert_int_equal(otplan_model_translate(m, x, 3, 1, 7, y), OTPLAN_OK);
	for (int i = 0; i < 3 * FLOATS; i++) {
		const float *rgb = x + i / 3 * 3;
		double luma = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
		if (i < FLOATS)
			assert_true(fabs(y[i] - (rint((luma + 1) * 127.5) / 127.5 - 1)) < 1e-6);
		else
			assert_true(fabs(y[i] - luma) < 1e-6);
		assert_true(i < 2 * FLOATS || y[i] == x[i]);
	}
	assert_int_equal(otplan_model_translate(m, y, 1, 1, 7, again), OTPLAN_OK);
	assert_memory_equal(again, y, sizeof again);
	otplan_model_close(m);
}

static void draws_depend_on_nothing_else(void **state)
{
	(void)state;
	enum { COUNT = 37 }; /* more than one round of a thread: the last is short */
	static float x[COUNT * FLOATS], all[COUNT * FLOATS], one[FLOATS];
	for (int i = 0; i < COUNT * FLOATS; i++)
		x[i] = cosf((float)i);
	for (int threads = 1; threads <= 2; threads++) {
		otplan_model *m;
		otplan_options options = on_cpu(threads);
		assert_int_equal(otplan_model_open(small_path, &options, &m, NULL), OTPLAN_OK);
		assert_int_equal(otplan_model_translate(m, x, COUNT, 1, 5, all), OTPLAN_OK);
		for (int i = 0; i < COUNT; i++) {
			assert_int_equal(otplan_model_translate(m, x + i * FLOATS, 1, 1, 5, one), OTPLAN_OK);
			assert_memory_equal(one, all + i * FLOATS, sizeof one);
		}
		otplan_model_close(m);
	}
}

static void what_cannot_be_opened_is_said(void **state)
{
	(void)state;
	char message[OTPLAN_MESSAGE_BYTES];
	otplan_model *m = (otplan_model *)message;
	otplan_options options = on_cpu(1);
	assert_int_equal(otplan_model_open("/nonexistent/model.h5", &options, &m, message), OTPLAN_BAD_FILE);
	assert_null(m);
	assert_non_null(strstr(message, "/nonexistent/model.h5"));
	assert_int_equal(otplan_model_open(__FILE__, &options, &m, message), OTPLAN_BAD_FILE);
	options.device = "abacus";
	assert_int_equal(otplan_model_open(small_path, &options, &m, message), OTPLAN_NO_DEVICE);
	assert_non_null(strstr(message, "abacus"));
	options.device = "cpu:1";
	assert_int_equal(otplan_model_open(small_path, &options, &m, message), OTPLAN_NO_DEVICE);
}

static void wrong_arguments_are_said(void **state)
{
	(void)state;
	char message[OTPLAN_MESSAGE_BYTES];
	otplan_model *m;
	otplan_options options = on_cpu(-1);
	assert_int_equal(otplan_model_open(small_path, &options, &m, message), OTPLAN_BAD_ARGUMENT);
	assert_non_null(strstr(message, "threads"));
	options = on_cpu(1);
	options.size = 8;
	assert_int_equal(otplan_model_open(small_path, &options, &m, message), OTPLAN_BAD_ARGUMENT);
	assert_non_null(strstr(message, "size"));
	options = on_cpu(1);
	options.precision = (otplan_precision)3;
	assert_int_equal(otplan_model_open(small_path, &options, &m, message), OTPLAN_BAD_ARGUMENT);
	options = on_cpu(1);
	assert_int_equal(otplan_model_open(NULL, &options, &m, message), OTPLAN_BAD_ARGUMENT);
	assert_int_equal(otplan_model_open(small_path, &options, NULL, message), OTPLAN_BAD_ARGUMENT);

	float value = 3;
	assert_int_equal(otplan_model_open(small_path, &options, &m, NULL), OTPLAN_OK);
	assert_int_equal(otplan_model_translate(NULL, &value, 1, 1, 0, &value), OTPLAN_BAD_ARGUMENT);
	assert_int_equal(otplan_model_translate(m, NULL, 1, 1, 0, &value), OTPLAN_BAD_ARGUMENT);
	assert_int_equal(otplan_model_translate(m, &value, -1, 1, 0, &value), OTPLAN_BAD_ARGUMENT);
	assert_int_equal(otplan_model_translate(m, &value, 1, 0, 0, &value), OTPLAN_BAD_ARGUMENT);
	assert_int_equal(otplan_model_translate(m, &value, INT64_MAX / 4, 1, 0, &value), OTPLAN_BAD_ARGUMENT);
	assert_int_equal(otplan_model_translate(m, NULL, 0, 1, 0, NULL), OTPLAN_OK);
	assert_true(value == 3);
	otplan_model_close(m);
}

static void versions_and_texts(void **state)
{
	(void)state;
	assert_true(strlen(otplan_version()) >= 5);
	assert_int_equal(otplan_api_version(), OTPLAN_API_VERSION);
	for (int i = OTPLAN_OK; i <= OTPLAN_NO_MEMORY; i++)
		for (int k = 0; k < i; k++)
			assert_string_not_equal(otplan_status_text((otplan_status)i),
						otplan_status_text((otplan_status)k));
}

/* A caller that was compiled with a later header, whose struct is longer. */
static void options_may_grow(void **state)
{
	(void)state;
	struct {
		otplan_options known;
		char later[32];
	} options;
	memset(&options, 1, sizeof options);
	otplan_options_init(&options.known, sizeof options);
	assert_int_equal(options.known.size, sizeof options);
	for (size_t i = 0; i < sizeof options.later; i++)
		assert_int_equal(options.later[i], 0);
	options.known.device = "cpu";
	otplan_model *m;
	assert_int_equal(otplan_model_open(small_path, &options.known, &m, NULL), OTPLAN_OK);
	otplan_model_close(m);
}

#ifndef OTPLAN_SANITIZE /* its shadow memory knows no limit */

/* As much more address space as now, in MiB; what is given back to malloc may be used again. */
static void limit_memory(long mebibytes)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (!f || fscanf(f, "%ld", &pages) != 1)
		_exit(100);
	fclose(f);
	rlim_t bytes = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + ((rlim_t)mebibytes << 20);
	struct rlimit limit = {bytes, RLIM_INFINITY};
	if (setrlimit(RLIMIT_AS, &limit) != 0)
		_exit(101);
}

static int wait_for(pid_t child)
{
	int status;
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return -1; /* aborted */
	return WEXITSTATUS(status);
}

/* Whatever is left of memory, opening succeeds or says that it is out: in a process of its own, whose
 * exit code is the status. */
static void missing_memory_is_a_status(void **state)
{
	(void)state;
	const char *const paths[] = {small_path, big_path};
	int seen[2][OTPLAN_NO_MEMORY + 1] = {{0}};
	for (int which = 0; which < 2; which++)
		for (long room = 0; room <= 400; room += room < 160 ? 5 : 20) {
			pid_t child = fork();
			assert_true(child >= 0);
			if (child == 0) {
				otplan_model *m = NULL;
				otplan_options options = on_cpu(2);
				limit_memory(room);
				otplan_status status = otplan_model_open(paths[which], &options, &m, NULL);
				if (status == OTPLAN_OK && which == 0 && !translates(m))
					_exit(102);
				otplan_model_close(m);
				_exit((int)status);
			}
			int status = wait_for(child);
			if (status != OTPLAN_OK && status != OTPLAN_NO_MEMORY)
				fail_msg("with %ld MiB more, opening %s ends with %d", room, paths[which],
					 status);
			seen[which][status]++;
		}
	assert_true(seen[0][OTPLAN_OK] > 0 && seen[0][OTPLAN_NO_MEMORY] > 0);
	assert_true(seen[1][OTPLAN_NO_MEMORY] > 0);
}

/* Room for the small model, not for the big one: the process goes on. */
static void a_smaller_model_opens_afterwards(void **state)
{
	(void)state;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		char message[OTPLAN_MESSAGE_BYTES];
		otplan_model *m = NULL;
		otplan_options options = on_cpu(2);
		limit_memory(400);
		for (int i = 0; i < 3; i++) {
			if (otplan_model_open(big_path, &options, &m, message) != OTPLAN_NO_MEMORY || m ||
			    !strstr(message, "out of memory: "))
				_exit(110);
			if (otplan_model_open(small_path, &options, &m, message) != OTPLAN_OK)
				_exit(111);
			if (!translates(m))
				_exit(112);
			otplan_model_close(m);
		}
		_exit(0);
	}
	assert_int_equal(wait_for(child), 0);
}

/* A model that is open needs no more memory. */
static void translating_takes_no_memory(void **state)
{
	(void)state;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		otplan_model *m = NULL;
		otplan_options options = on_cpu(2);
		if (otplan_model_open(small_path, &options, &m, NULL) != OTPLAN_OK)
			_exit(120);
		limit_memory(0);
		_exit(translates(m) ? 0 : 121);
	}
	assert_int_equal(wait_for(child), 0);
}

#endif

static int make_models(void **state)
{
	static char folder[] = "/tmp/otplan-api-XXXXXX";
	*state = mkdtemp(folder);
	if (!*state)
		return -1;
	snprintf(small_path, sizeof small_path, "%s/small.h5", folder);
	snprintf(big_path, sizeof big_path, "%s/big.h5", folder);
	write_model(small_path, SIZE, false);
	snprintf(grey_path, sizeof grey_path, "%s/grey.h5", folder);
	write_model(big_path, 256, false);
	write_model(grey_path, SIZE, true);
	return 0;
}

static int remove_models(void **state)
{
	return unlink(small_path) | unlink(big_path) | unlink(grey_path) | rmdir(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifndef OTPLAN_SANITIZE /* first, while oneDNN has kept nothing yet */
	    cmocka_unit_test(missing_memory_is_a_status),
	    cmocka_unit_test(a_smaller_model_opens_afterwards),
	    cmocka_unit_test(translating_takes_no_memory),
#endif
	    cmocka_unit_test(a_model_translates),
	    cmocka_unit_test(colours_become_grey_where_sources_were),
	    cmocka_unit_test(draws_depend_on_nothing_else),
	    cmocka_unit_test(what_cannot_be_opened_is_said),
	    cmocka_unit_test(wrong_arguments_are_said),
	    cmocka_unit_test(versions_and_texts),
	    cmocka_unit_test(options_may_grow),
	};
	return cmocka_run_group_tests(tests, make_models, remove_models);
}
