/* cuda_launches: that launches are counted without a device (graph/launch_count.h) as the backend makes them,
 * on the fake device: of whole steps, op by op of what a step has, and with attention by flash kernels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/engine.h"
#include "graph/launch_count.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static long (*launches_so_far)(void);

enum { SIZE = 16, BATCH = 2 };

/* Every kind of layer; maps wide enough for bfloat16, and pictures that are not. The attention at 16 x 16 has
 * as many scores as flash kernels are tried for. */
static const otp_objective OBJECTIVE = {.arch = {.h = SIZE,
						 .w = SIZE,
						 .c = 3,
						 .condition_noise = true,
						 .noise_features = 8,
						 .latent = 5,
						 .embedding = 8,
						 .residual = true,
						 .patch = 1,
						 .width = 16,
						 .blocks = 1,
						 .levels = 2,
						 .multipliers = {1, 2},
						 .attention_count = 1,
						 .attention = {SIZE},
						 .filter = OTP_FILTER_FIR,
						 .potential_features = 8,
						 .potential_width = 16,
						 .potential_levels = 2,
						 .potential_multipliers = {1, 2}},
					.tau = 0.1};

typedef struct count {
	bool compiled;
	otp_launches kinds[OTP_STEP_KINDS];
} count;

static void add_call(void *context, otp_step_kind kind, const otp_call *call)
{
	count *c = context;
	otp_launches_add(&c->kinds[kind], call, c->compiled);
}

static void run_step(otp_engine *e, otp_step_kind kind, int64_t turn)
{
	static const float samples[BATCH * SIZE * SIZE * 3];
	otp_batch batch = {.values = samples};
	otp_update u = {.seed = 4,
			.count = turn,
			.keep = 1,
			.sigma = 0.3,
			.rate = 1e-3,
			.r1 = kind == OTP_STEP_POTENTIAL_R1 ? 0.5 : 0};
	if (kind == OTP_STEP_TRANSPORT)
		otp_engine_transport_step(e, batch, &u);
	else
		otp_engine_potential_step(e, batch, batch, &u);
	otp_engine_wait(e);
}

/* Of the step as it runs at first, call by call, and as it is captured then. (Parts of one size are runs of
 * one program, of which the second is captured and the third asks for nothing more.) */
static void check_steps(const char *precision, int parts, bool compiled)
{
	otp_error err = {0};
	otp_runtime runtime;
	setenv("OTPLAN_CUDA_COMPILED", compiled ? "1" : "0", 1);
	if (!otp_runtime_open("cuda", 0, precision, 1, &runtime, &err))
		fail_msg("%s", err.text);
	otp_engine_settings settings = {.objective = OBJECTIVE,
					.batch = BATCH,
					.parts = parts,
					.r1_used = true,
					.plain_used = true,
					.beta1 = 0.5,
					.beta2 = 0.9};
	otp_engine *e = otp_engine_new(&runtime, &settings);
	otp_engine_init(e, 1);
	otp_runtime paper = {
	    .backend = &otp_cuda_on_paper, .pool = runtime.pool, .precision = runtime.precision};
	count expected = {.compiled = compiled};
	otp_engine_list(&paper, &settings, add_call, &expected);
	for (otp_step_kind kind = 0; kind < OTP_STEP_KINDS; kind++)
		for (int turn = 1; turn <= (parts > 1 ? 1 : 2); turn++) {
			long before = launches_so_far();
			run_step(e, kind, turn);
			assert_int_equal(launches_so_far() - before, expected.kinds[kind].count);
		}
	otp_engine_free(e);
	otp_runtime_close(&runtime);
}

static void steps_are_counted(void **state)
{
	(void)state;
	check_steps("f32", 1, false);
	check_steps("bf16", 2, false);
	check_steps("bf16", 1, true);
}

/* The launches of one call of each kind that is listed twice: rows and columns, short and long. */
static void sums_are_counted(void **state)
{
	(void)state;
	static const struct {
		otp_shape from, to;
	} sums[] = {{{1, 1, 1, 100000}, {1, 1, 1, 1}}, {{64, 1, 1, 24}, {1, 1, 1, 24}},
		    {{16, 32, 32, 24}, {1, 1, 1, 24}}, {{16, 32, 32, 24}, {16, 1, 1, 24}},
		    {{16, 32, 32, 3}, {16, 1, 1, 1}},  {{300, 1, 1, 7}, {1, 1, 1, 7}}};
	otp_error err = {0};
	otp_device *device = NULL;
	const otp_backend *backend = otp_backend_find("cuda", &err);
	assert_non_null(backend);
	assert_true(backend->open(0, &device, &err));
	int twice = 0;
	for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
		otp_graph *g = otp_graph_new();
		otp_node *x = otp_input(g, "x", OTP_F32, sums[i].from);
		otp_output(otp_sum(x, sums[i].to), OTP_SPAN_NONE, 0);
		otp_program *p = otp_program_new(backend, device, g, NULL, (otp_program_options){0});
		otp_call call = {
		    .op = OTP_OP_sum, .in = {{.shape = sums[i].from}}, .out = {.shape = sums[i].to}};
		otp_launches expected = {0};
		otp_launches_add(&expected, &call, false);
		long before = launches_so_far();
		otp_program_run(p);
		assert_int_equal(launches_so_far() - before, expected.count);
		twice += expected.count == 2;
		otp_program_free(p);
		otp_graph_free(g);
	}
	assert_in_range(twice, 1, 5);
	backend->close(device);
}

/* Choices are made anew, in an empty folder: those of an earlier build may be others, and so many launches.
 */
static int open_choices(void **state)
{
	static char folder[] = "/tmp/otplan-launches-XXXXXX";
	*state = mkdtemp(folder);
	return *state && setenv("OTPLAN_CUDA_CACHE", folder, 1) == 0 ? 0 : -1;
}

static int close_choices(void **state)
{
	char command[64];
	snprintf(command, sizeof command, "rm -r %s", (const char *)*state);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(steps_are_counted),
					   cmocka_unit_test(sums_are_counted)};
	void *plugin = dlopen(getenv("OTPLAN_CUDA_PLUGIN"), RTLD_NOW);
	if (!plugin)
		return 1;
	*(void **)&launches_so_far = dlsym(plugin, "otp_fake_launches");
	return launches_so_far ? cmocka_run_group_tests(tests, open_choices, close_choices) : 1;
}
