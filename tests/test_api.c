/* The public library as its user sees it: one header, a model from disk. */
#include "otplan/otplan.h"

#include "core/file.h"
#include "engine/sampler.h"
#include "config/settings.h"
#include "model/store.h"
#include "train/trainer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 8, FLOATS = SIZE * SIZE * 3 };

/* An untrained generator as a model file; its last layer is zero, so it gives back what it is given. */
static void write_model(const char *path)
{
	otp_error err = {0};
	otp_config c;
	otp_arch arch;
	otp_config_defaults(&c);
	c.width = 4;
	c.blocks = 1;
	strcpy(c.multipliers, "1,1");
	strcpy(c.attention, "none");
	assert_true(otp_settings_arch(&c, false, SIZE, SIZE, 3, &arch, &err));
	otp_params *params = otp_params_new();
	otp_sample_graph probe = otp_sample_build(&arch, params, 0, 1, false);
	otp_graph_free(probe.graph);
	float *row = otp_calloc((size_t)params->elements, sizeof *row);
	otp_params_init(params, 3, OTP_TRANSPORT, row);
	/* Nobody parses the settings: options come and go. */
	otp_stored s = {.settings = otp_strdup("an-option-that-is-gone = 7\nwidth = nothing\n"),
			.arch = arch,
			.sigma = 0.1};
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

static void a_model_translates(void **state)
{
	(void)state;
	char folder[] = "/tmp/otplan-api-XXXXXX", path[64], message[200];
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/model.h5", folder);
	write_model(path);
	otplan_model *m = otplan_model_open(path, "cpu", 1, message, sizeof message);
	assert_non_null(m);
	int h, w, c;
	otplan_model_shape(m, &h, &w, &c);
	assert_int_equal(h * w * c, FLOATS);
	float x[2 * FLOATS], y[2 * 3 * FLOATS];
	for (int i = 0; i < 2 * FLOATS; i++)
		x[i] = sinf((float)i);
	otplan_model_translate(m, x, 2, 3, 7, y);
	/* Residual on the clean input with a last layer of zeros: the identity, exactly. */
	for (int i = 0; i < 2 * 3 * FLOATS; i++)
		assert_true(y[i] == x[i / (3 * FLOATS) * FLOATS + i % FLOATS]);
	otplan_model_close(m);
	unlink(path);
	rmdir(folder);
}

static void what_cannot_be_opened_is_said(void **state)
{
	(void)state;
	char message[200] = "";
	assert_null(otplan_model_open("/nonexistent/model.h5", "cpu", 1, message, sizeof message));
	assert_non_null(strstr(message, "/nonexistent/model.h5"));
	assert_null(otplan_model_open("/nonexistent/model.h5", "abacus", 1, message, sizeof message));
	assert_non_null(strstr(message, "abacus"));
	assert_true(strlen(otplan_version()) >= 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_model_translates),
	    cmocka_unit_test(what_cannot_be_opened_is_said),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
