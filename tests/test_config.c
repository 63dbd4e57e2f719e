/* test_config: parsing, ranges, round trips and messages of src/config. */
#include "config/config.h"
#include "core/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static otp_config defaults(void)
{
	otp_config c;
	otp_config_defaults(&c);
	return c;
}

static void assert_set(otp_config *c, const char *key, const char *value)
{
	otp_error err = {0};
	bool ok = otp_config_set(c, key, value, "--key", &err);
	if (!ok)
		print_message("%s\n", err.text);
	assert_true(ok);
}

/* In every option. */
static void assert_same(const otp_config *a, const otp_config *b)
{
	const char *differs =
	    otp_config_difference(a, b, OTP_SCOPE_COMMAND | OTP_SCOPE_MACHINE | OTP_SCOPE_RUN);
	if (differs)
		print_message("%s differs\n", differs);
	assert_null(differs);
}

/* Refused as the user's fault, with a message that holds `part`. */
static void assert_refused(const char *key, const char *value, const char *part)
{
	otp_config c = defaults(), before = c;
	otp_error err = {0};
	assert_false(otp_config_set(&c, key, value, "--key", &err));
	assert_int_equal(err.exit_code, OTP_EXIT_USAGE);
	assert_memory_equal(err.text, "--key: ", 7);
	if (!strstr(err.text, part))
		print_message("\"%s\" lacks \"%s\"\n", err.text, part);
	assert_non_null(strstr(err.text, part));
	assert_same(&c, &before);
	assert_memory_equal(c.said, before.said, sizeof c.said);
}

static void test_said(void **state)
{
	(void)state;
	otp_config c = defaults();
	otp_error err = {0};
	assert_true(otp_config_preset(&c, "vector", &err));
	assert_false(otp_config_said(&c, "batch"));
	assert_set(&c, "batch_size", "256"); /* as the preset has it, but said */
	assert_true(otp_config_said(&c, "batch"));
	assert_true(otp_config_preset(&c, "vector", &err));
	assert_true(otp_config_said(&c, "batch"));
	assert_false(otp_config_said(&c, "tau"));
	assert_true(otp_config_parse(&c, "tau = 2\n", "file", &err));
	assert_true(otp_config_said(&c, "tau"));
}

static void test_set(void **state)
{
	(void)state;
	otp_config c = defaults();
	assert_set(&c, "batch", "7");
	assert_int_equal(c.batch, 7);
	assert_set(&c, "batch_size", "8");
	assert_int_equal(c.batch, 8);
	assert_set(&c, "image_size", "32");
	assert_int_equal(c.image_size.h, 32);
	assert_int_equal(c.image_size.w, 32);
	assert_set(&c, "lr-g", "1e-3");
	assert_true(c.lr_g == 1e-3);
	assert_set(&c, "lr_g", ".5");
	assert_true(c.lr_g == 0.5);
	assert_set(&c, "seed", "18446744073709551615");
	assert_true(c.seed == UINT64_MAX);
	assert_set(&c, "anneal", "none");
	assert_int_equal(c.anneal, OTP_ANNEAL_NONE);
	assert_set(&c, "flip", "yes");
	assert_true(c.flip);
	assert_set(&c, "flip", "off");
	assert_false(c.flip);
	assert_set(&c, "source", "synth:digits?limit=5");
	assert_string_equal(c.source, "synth:digits?limit=5");
	assert_true(otp_config_is_flag("dry_run"));
	assert_false(otp_config_is_flag("steps"));
	assert_false(otp_config_is_flag("no-such"));
}

static void test_refusals(void **state)
{
	(void)state;
	assert_refused("batch", "0", "expected 1 to 65536");
	assert_refused("batch", "12x", "not a whole number");
	assert_refused("batch", "", "not a whole number");
	assert_refused("batch", "99999999999999999999", "out of range");
	assert_refused("steps", "1.5", "expected 1 to 1000000000");
	assert_refused("tau", "0", "out of range");
	assert_refused("tau", "nan", "not a number");
	assert_refused("tau", "inf", "out of range");
	assert_refused("beta2", "auto", "expected 0 to 0.99999");
	assert_refused("sigma-end", "automatic", "expected 0 to 100000000 or auto");
	assert_refused("sigma-end", "-1", "expected 0 to 100000000 or auto");
	assert_refused("seed", "-1", "expected 0 to 18446744073709551615");
	assert_refused("seed", "18446744073709551616", "out of range");
	assert_refused("anneal", "line", "expected linear|cosine|geometric|constant|none");
	assert_refused("anneal", "linear|cosine", "is unknown");
	assert_refused("flip", "maybe", "expected on or off");
	assert_refused("source", "a\nb", "control character");
	assert_refused("bach", "1", "did you mean \"batch\"");
	assert_refused("setps", "1", "did you mean \"steps\"");
	assert_refused("sigmaend", "1", "did you mean \"sigma-end\"");
	assert_refused("xyzzyplugh", "1", "unknown option \"xyzzyplugh\"");
	assert_null(otp_config_nearest("xyzzyplugh"));
	assert_string_equal(otp_config_nearest("anneal-frac"), "anneal-fraction");

	char *text = otp_calloc(OTP_TEXT_BYTES + 1, 1);
	memset(text, 'x', OTP_TEXT_BYTES);
	assert_refused("source", text, "expected less than 1024");
	text[OTP_TEXT_BYTES - 1] = '\0';
	otp_config c = defaults();
	assert_set(&c, "source", text);
	otp_free(text);
}

static const otp_scope ALL = (otp_scope)(OTP_SCOPE_COMMAND | OTP_SCOPE_KEPT);

/* Every setting survives text and back, bit by bit. */
static void test_round_trip(void **state)
{
	(void)state;
	otp_config c = defaults();
	c.tau = 0.1 + 0.2;
	c.lr_g = 1.0 / 3;
	c.sigma_end = 5e-324 + 1e-17;
	c.r1_end = 123456.78901234567;
	c.seed = 0xfedcba9876543210u;
	c.resume = true;
	c.device = OTP_WHERE_CUDA_7;
	c.decay = OTP_DECAY_LINEAR;
	strcpy(c.source, "/data/a b/#1 ;x = \"y\"/ü");
	strcpy(c.target, " \"quoted\" ");
	strcpy(c.out, "# out");
	memset(c.dataroot, 'd', OTP_TEXT_BYTES - 1);
	char *text = otp_config_text(&c, ALL);
	otp_config back = defaults();
	otp_error err = {0};
	assert_true(otp_config_parse(&back, text, "text", &err));
	assert_same(&back, &c);
	assert_null(otp_config_difference(&back, &c, ALL));
	char *again = otp_config_text(&back, ALL);
	assert_string_equal(again, text);
	assert_non_null(strstr(text, "\nbeta2 = 0.9\n"));
	assert_non_null(strstr(text, "\ndevice = cuda:7\n"));
	otp_free(again);
	otp_free(text);
}

static void test_auto(void **state)
{
	(void)state;
	otp_config c = defaults(), back = defaults();
	otp_error err = {0};
	assert_set(&c, "sigma-end", "auto");
	assert_true(c.sigma_end == OTP_AUTO);
	char *text = otp_config_text(&c, ALL);
	assert_non_null(strstr(text, "\nsigma-end = auto\n"));
	assert_true(otp_config_parse(&back, text, "text", &err));
	assert_same(&back, &c);
	otp_free(text);
	assert_set(&c, "sigma-end", "0.25");
	assert_true(c.sigma_end == 0.25);
}

/* What one of a run may change of another, by the scope of the option. */
static void test_scopes(void **state)
{
	(void)state;
	static const struct {
		const char *key, *value;
		otp_scope scope;
	} cases[] = {
	    {"out", "x", OTP_SCOPE_COMMAND},	  {"resume", "on", OTP_SCOPE_COMMAND},
	    {"plan", "on", OTP_SCOPE_COMMAND},	  {"dataroot", "x", OTP_SCOPE_COMMAND},
	    {"steps", "7", OTP_SCOPE_MACHINE},	  {"workers", "3", OTP_SCOPE_MACHINE},
	    {"keep", "9", OTP_SCOPE_MACHINE},	  {"device", "cuda:1", OTP_SCOPE_MACHINE},
	    {"batch", "7", OTP_SCOPE_RUN},	  {"lr_g", "0.5", OTP_SCOPE_RUN},
	    {"source", "x", OTP_SCOPE_RUN},	  {"anneal", "linear", OTP_SCOPE_RUN},
	    {"precision", "bf16", OTP_SCOPE_RUN}, {"schedule-steps", "7", OTP_SCOPE_RUN},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		otp_config c = defaults(), other = defaults();
		assert_set(&other, cases[i].key, cases[i].value);
		assert_string_equal(otp_config_difference(&c, &other, cases[i].scope), cases[i].key);
		assert_null(otp_config_difference(&c, &other, (otp_scope)(ALL ^ cases[i].scope)));
		char *line = otp_format("\n%s = %s\n", cases[i].key, cases[i].value);
		char *text = otp_config_text(&other, cases[i].scope);
		assert_non_null(strstr(text, line));
		otp_free(text);
		text = otp_config_text(&other, (otp_scope)(ALL ^ cases[i].scope));
		assert_null(strstr(text, line));
		otp_free(text);
		otp_free(line);
		char *value = otp_config_value(&other, cases[i].key);
		assert_string_equal(value, cases[i].value);
		otp_free(value);
	}
}

static otp_config parsed(const char *lines)
{
	otp_config c = defaults();
	otp_error err = {0};
	if (!otp_config_parse(&c, lines, "lines", &err))
		fail_msg("%s", err.text);
	return c;
}

/* Lines of earlier versions mean what they meant, in whatever order they stand. */
static void test_retired(void **state)
{
	(void)state;
	assert_int_equal(parsed("aim = on\n").start, OTP_START_AIMED);
	assert_int_equal(parsed("start = aimed\naim = off\n").start, OTP_START_PLAIN);
	assert_int_equal(parsed("formulation = uotm\ng = linear\n").formulation, OTP_FORMULATION_UOTM);
	assert_int_equal(parsed("formulation = uotm\ng = softplus\n").formulation, OTP_FORMULATION_UOTM);
	assert_int_equal(parsed("formulation = uotm\ng = kl\n").formulation, OTP_FORMULATION_UOTM_KL);
	assert_int_equal(parsed("g = kl\nformulation = uotm\n").formulation, OTP_FORMULATION_UOTM_KL);
	assert_int_equal(parsed("formulation = otm\ng = linear\n").formulation, OTP_FORMULATION_OTM);
	assert_true(parsed("sigma-end = auto\nsigma-auto = 0.2\n").sigma_end == 0.2);
	assert_true(parsed("sigma-auto = 0.2\nsigma-end = auto\n").sigma_end == 0.2);
	assert_true(parsed("sigma-end = auto\nsigma-auto = 0\n").sigma_end == OTP_AUTO);
	assert_true(parsed("sigma-end = 0.3\nsigma-auto = 0.2\n").sigma_end == 0.3);
	assert_true(otp_config_is_flag("aim"));
	assert_true(otp_config_knows("sigma_auto"));
	assert_false(otp_config_is_retired("start"));
	assert_refused("g", "cubic", "no longer an option");
	assert_refused("aim", "maybe", "no longer an option");
}

static void test_parse(void **state)
{
	(void)state;
	otp_config c = defaults();
	otp_error err = {0};
	assert_true(
	    otp_config_parse(&c,
			     "\xef\xbb\xbf# comment\r\n\r\n[section]\n  batch=3\r\n; more\nbatch = 5 # five\n"
			     "source = /a;b#c\ntarget = \"x ;y\"\nsteps = 12",
			     "f.ini", &err));
	assert_int_equal(c.batch, 5);
	assert_int_equal(c.steps, 12);
	assert_string_equal(c.source, "/a;b#c");
	assert_string_equal(c.target, "x ;y");

	assert_false(otp_config_parse(&c, "batch = 3\n\nbach = 4\n", "f.ini", &err));
	assert_string_equal(err.text, "f.ini:3: unknown option \"bach\", did you mean \"batch\"?");
	err = (otp_error){0};
	assert_false(otp_config_parse(&c, "resume\n", "f.ini", &err));
	assert_string_equal(err.text, "f.ini:1: `resume' is not a setting, expected key = value");
}

static void test_read(void **state)
{
	(void)state;
	char path[] = "/tmp/otplan-config-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "steps = 9\ntau = x\n", 18), 18);
	close(fd);
	otp_config c = defaults();
	otp_error err = {0};
	assert_false(otp_config_read(&c, path, &err));
	assert_non_null(strstr(err.text, ":2: tau = x is not a number, expected 1e-16 to 1e+16 or auto"));
	assert_int_equal(c.steps, 9);
	unlink(path);
	err = (otp_error){0};
	assert_false(otp_config_read(&c, path, &err));
	assert_non_null(strstr(err.text, path));
}

/* Each preset is accepted whole, passes the checks and is named in the settings. */
static void test_presets(void **state)
{
	(void)state;
	static const char *const names[] = {"quickstart", "photo-32", "photo-64", "32",
					    "64",	  "128",      "256",	  "vector"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		otp_config c = defaults();
		otp_error err = {0};
		bool ok = otp_config_preset(&c, names[i], &err) && otp_config_check(&c, &err);
		if (!ok)
			print_message("%s\n", err.text);
		assert_true(ok);
		assert_string_equal(c.preset, names[i]);
	}
	otp_config c = defaults();
	otp_error err = {0};
	assert_false(otp_config_preset(&c, "33", &err));
	assert_non_null(strstr(
	    err.text,
	    "33 is unknown, expected one of quickstart, photo-32, photo-64, 32, 64, 128, 256, vector"));
}

static void assert_check_fails(otp_config *c, const char *lines, const char *where)
{
	otp_error err = {0};
	otp_config_defaults(c);
	assert_true(otp_config_parse(c, lines, "lines", &err));
	assert_false(otp_config_check(c, &err));
	if (strncmp(err.text, where, strlen(where)) != 0)
		print_message("\"%s\" blames not %s\n", err.text, where);
	assert_memory_equal(err.text, where, strlen(where));
}

static void test_check(void **state)
{
	(void)state;
	otp_config c = defaults();
	otp_error err = {0};
	assert_true(otp_config_check(&c, &err));
	assert_check_fails(&c, "anneal = geometric\nsigma-end = 0", "--anneal: ");
	assert_check_fails(&c, "sigma-start = 0.1\nsigma-end = 0.2", "--sigma-end: ");
	assert_check_fails(&c, "smoothing = vp\nsigma-start = 2", "--smoothing: ");
	assert_check_fails(&c, "sigma-end = auto\nsigma-start = 0", "--anneal: ");
	assert_check_fails(&c, "sigma-end = auto\nsigma-auto = 2", "--sigma-end: ");
	assert_check_fails(&c, "cost-from = clean", "--cost-from: ");
	assert_check_fails(&c, "source = a", "--source: ");
	assert_check_fails(&c, "source = a\ntarget = b\ndataroot = c", "--dataroot: ");
	assert_check_fails(&c, "multipliers = 1,,2", "--multipliers: ");
	assert_check_fails(&c, "attention = sixteen", "--attention: ");
	assert_check_fails(&c, "r1-end = -0.5", "--r1-end: ");

	static const char *const fine[] = {
	    "anneal = linear\nsigma-end = 0",
	    "formulation = otm\nsigma-end = 0",
	    "anneal = none\nsigma-start = 0",
	    "cost-from = clean\ncondition-noise = off",
	    "formulation = uotm-kl\nr1-end = 0",
	    "attention = none",
	    "smoothing = vp\nanneal = none\nsigma-start = 2",
	    "smoothing = vp\nanneal = none\nsigma-start = 2\nsigma-end = auto",
	    "sigma-end = auto\nsigma-auto = 0.2",
	};
	for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
		otp_config_defaults(&c);
		assert_true(otp_config_parse(&c, fine[i], "lines", &err));
		assert_true(otp_config_check(&c, &err));
	}
}

static void test_list(void **state)
{
	(void)state;
	int v[4];
	otp_error err = {0};
	assert_int_equal(otp_config_list("1,2, 2", "--multipliers", v, 4, &err), 3);
	assert_int_equal(v[2], 2);
	assert_int_equal(otp_config_list("1,2,3,4,5", "--multipliers", v, 4, &err), 0);
	assert_non_null(strstr(err.text, "at most 4"));
	static const char *const bad[] = {"", "1,", ",1", "a", "0", "1;2", "-1", "99999999999999999999"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		err = (otp_error){0};
		assert_int_equal(otp_config_list(bad[i], "--multipliers", v, 4, &err), 0);
		assert_int_equal(err.exit_code, OTP_EXIT_USAGE);
	}
}

/* Every key stands in the whole help, the user tier's in the short one, and no line runs away (the device's
 * list of choices is the widest). */
static void test_help(void **state)
{
	(void)state;
	enum { USER, EXPERT };
	static const struct {
		const char *key;
		int tier;
	} options[] = {
#define GROUP(k)
#define INT(k, f, s, t, v, lo, hi, h) {"  --" k " ", t},
#define OPEN(k, f, s, t, lo, hi, h) {"  --" k " ", t},
#define SIZE(k, f, s, t, hi, h) {"  --" k " ", t},
#define REAL(k, f, s, t, v, lo, hi, h) {"  --" k " ", t},
#define AUTO(k, f, s, t, v, lo, hi, h) {"  --" k " ", t},
#define SEED(k, f, s, t, v, h) {"  --" k " ", t},
#define PICK(k, f, s, t, v, type, h) {"  --" k " ", t},
#define FLAG(k, f, s, t, v, h) {"  --" k "[", t},
#define TEXT(k, f, s, t, v, h) {"  --" k " ", t},
#include "config/config.def"
	};
	char *all = otp_config_help(true), *few = otp_config_help(false);
	for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
		assert_non_null(strstr(all, options[i].key));
		assert_int_equal(strstr(few, options[i].key) != NULL, options[i].tier == USER);
	}
	for (char *line = strtok(all, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strlen(line) <= 110);
	otp_free(all);
	otp_free(few);
}

/* What is left open takes another's value, and nothing else does. */
static void test_settle(void **state)
{
	(void)state;
	otp_config c = defaults(), from = defaults();
	assert_set(&c, "sigma-end", "auto");
	assert_set(&c, "batch", "8");
	assert_set(&c, "channels", "3");
	assert_set(&from, "sigma-end", "0.25");
	assert_set(&from, "preset", "64");
	assert_set(&from, "threads", "5");
	assert_set(&from, "parts", "4");
	assert_set(&from, "channels", "1");
	assert_set(&from, "data-on-device", "on");
	assert_set(&from, "latent", "9");
	otp_config_settle(&c, &from, OTP_SCOPE_RUN);
	assert_true(c.sigma_end == 0.25);
	assert_string_equal(c.preset, "64");
	assert_int_equal(c.parts, 4);
	assert_int_equal(c.channels, 3);
	assert_int_equal(c.batch, 8);
	assert_int_equal(c.latent, 0); /* a number like others */
	assert_int_equal(c.threads, 0);
	assert_int_equal(c.data_on_device, OTP_DATA_ON_DEVICE_AUTO);
	otp_config_settle(&c, &from, OTP_SCOPE_KEPT);
	assert_int_equal(c.threads, 5);
	assert_int_equal(c.data_on_device, OTP_DATA_ON_DEVICE_ON);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_settle), cmocka_unit_test(test_set),	      cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_said),   cmocka_unit_test(test_round_trip), cmocka_unit_test(test_parse),
	    cmocka_unit_test(test_read),   cmocka_unit_test(test_presets),    cmocka_unit_test(test_check),
	    cmocka_unit_test(test_list),   cmocka_unit_test(test_help),	      cmocka_unit_test(test_auto),
	    cmocka_unit_test(test_scopes), cmocka_unit_test(test_retired),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
