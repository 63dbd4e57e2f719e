/* piece: R1's gradient from V's pieces against the graph's own second derivative, and which functions have
 * pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/places.h"
#include "graph/piece.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 3, SIZE = 8, CHANNELS = 3, MOST_WIDTH = 8 };
static const float R1 = 0.7f;

/* clang-format off */
static const otp_arch ARCHS[] = {
    {.h = SIZE, .w = SIZE, .c = CHANNELS, .condition_noise = true, .residual = true, .patch = 1, .width = 4, .blocks = 1,
     .levels = 2, .multipliers = {1, 1}, .filter = OTP_FILTER_FIR, .potential_features = 3, .potential_width = 4,
     .potential_levels = 3, .potential_multipliers = {1, 2, 2}},
    {.h = SIZE, .w = SIZE, .c = CHANNELS, .condition_noise = true, .residual = true, .patch = 2, .width = 4, .blocks = 1,
     .levels = 1, .multipliers = {1}, .filter = OTP_FILTER_BOX, .potential_width = 4, .potential_levels = 2,
     .potential_multipliers = {1, 2}},
};
static const otp_arch VECTORS = {.vectors = true, .h = 1, .w = 1, .c = 2, .width = 8, .blocks = 1, .sharpness = 1,
				 .potential_width = 8, .potential_blocks = 1, .potential_sharpness = 1};
/* clang-format on */
enum { ARCH_COUNT = sizeof ARCHS / sizeof *ARCHS };

static float made_up(uint32_t which, uint32_t k)
{
	return 2 * otp_random_uniform(otp_stream_make(7, which, 0), OTP_PURPOSE_SYNTH, k) - 1;
}

static float weight(uint32_t k) { return 0.4f * made_up(2, k); }

/* ---- gradients ---- */

/* Of V's weights, by one step with R1: Adam's first moments without inertia. T changes nothing: all its
 * weights are zero, and it sees the noise apart. */
static double *gradients(const otp_arch *arch, const char *backend, int parts, bool second_derivative,
			 int64_t *count)
{
	enum { VALUES = SIZE * SIZE * CHANNELS };
	float samples[OTP_SIDES][BATCH * VALUES];
	otp_error err = {0};
	otp_runtime work;
	if (!work_open(backend, parts, &work, &err))
		fail_msg("%s", err.text);
	otp_engine_settings settings = {
	    .objective = {.arch = *arch, .tau = 0.1, .second_derivative = second_derivative},
	    .batch = BATCH,
	    .parts = parts,
	    .r1_used = true,
	    .beta2 = 0.9};
	otp_engine *e = otp_engine_new(&work, &settings);
	for (otp_network n = 0; n < OTP_NETWORKS; n++) {
		int64_t values = otp_engine_rows(n) * otp_engine_params(e, n)->elements;
		float *state = otp_calloc((size_t)values, sizeof *state);
		for (int64_t k = 0; k < otp_engine_params(e, n)->elements && n == OTP_POTENTIAL; k++)
			state[k] = weight((uint32_t)k);
		otp_engine_write(e, n, state);
		otp_free(state);
	}
	for (uint32_t side = 0; side < OTP_SIDES; side++)
		for (uint32_t k = 0; k < BATCH * VALUES; k++)
			samples[side][k] = made_up(side, k);
	otp_update u = {.seed = 4, .count = 1, .keep = 1, .sigma = 0.3, .r1 = (double)R1};
	otp_engine_potential_step(e, (otp_batch){.values = samples[OTP_SOURCE]},
				  (otp_batch){.values = samples[OTP_TARGET]}, &u);
	otp_engine_wait(e);
	*count = otp_engine_params(e, OTP_POTENTIAL)->elements;
	double *state =
	    fetch(work.backend, work.device, otp_engine_state(e, OTP_POTENTIAL), *count * (OTP_ROW_M + 1));
	double *moments = otp_calloc((size_t)*count, sizeof *moments);
	memcpy(moments, state + OTP_ROW_M * *count, (size_t)*count * sizeof *moments);
	otp_free(state);
	otp_engine_free(e);
	otp_runtime_close(&work);
	return moments;
}

/* ---- what they add up ---- */

static otp_node *all_of(otp_node *x) { return otp_sum(x, otp_shape4(1, 1, 1, 1)); }

/* The sums of absolute values of all terms that the gradients add up: the same with every weight and sample
 * positive, where no bend bends and nothing cancels. */
static double *magnitudes(const otp_arch *arch, int64_t count)
{
	enum { WEIGHTS, GRADS };
	place at = place_open("ref");
	otp_params *params = otp_params_new();
	otp_graph *g = otp_graph_new();
	otp_builder b = otp_builder_make(g, params, WEIGHTS, 0);
	otp_shape s = otp_shape4(BATCH, SIZE, SIZE, CHANNELS);
	otp_node *sides[OTP_SIDES] = {otp_input(g, "x", OTP_F32, s), otp_input(g, "y", OTP_F32, s)}, *slope;
	otp_node *fake = otp_potential_build(&b, arch, sides[0]),
		 *real = otp_potential_build(&b, arch, sides[1]);
	otp_grad(all_of(real), &sides[1], 1, &slope);
	otp_node *penalty = otp_affine(all_of(otp_mul(slope, slope)), R1 / 2, 0);
	otp_node *total = otp_affine(otp_add(all_of(otp_add(fake, real)), penalty), 1.0f / BATCH, 0);
	otp_builder_output(&b, otp_builder_grads(&b, total, NULL, NULL), GRADS, 0);
	otp_builder_done(&b);
	assert_int_equal(params->elements, count);
	size_t bytes = (size_t)count * at.backend->element_bytes[OTP_F32];
	void *spans[OTP_MAX_SPANS] = {at.backend->alloc(at.device, bytes),
				      at.backend->alloc(at.device, bytes)};
	int64_t values = otp_shape_count(s), most = count > values ? count : values;
	float *host = otp_calloc((size_t)most, sizeof *host);
	for (int64_t k = 0; k < count; k++)
		host[k] = fabsf(weight((uint32_t)k));
	at.backend->upload(at.device, spans[WEIGHTS], OTP_F32, host, count);
	otp_program *p = otp_program_new(at.backend, at.device, g, spans, (otp_program_options){0});
	for (uint32_t side = 0; side < OTP_SIDES; side++) {
		for (int64_t k = 0; k < values; k++)
			host[k] = fabsf(made_up(side, (uint32_t)k));
		otp_program_write(p, sides[side], host);
	}
	otp_program_run(p);
	double *sums = fetch(at.backend, at.device, spans[GRADS], count);
	otp_program_free(p);
	otp_graph_free(g);
	otp_params_free(params);
	for (int span = 0; span < 2; span++)
		at.backend->release(at.device, spans[span]);
	otp_free(host);
	at.backend->close(at.device);
	return sums;
}

/* A term is a product along a way through V, forward, back, and again so with R1. At each layer it is rounded
 * as often as a sum has summands, at most that of nine taps of all channels, and a few more for bias, bend,
 * residual and resampling; at the ends there are sums over all samples' pixels. Each rounding is by u of the
 * term. Adam's moment, the shares and R1's weight are a dozen more. */
static double roundings(const otp_arch *a)
{
	int layers = 2 + 3 * a->potential_levels, taps = 9 * a->patch * a->patch;
	return 4.0 * layers * (taps * MOST_WIDTH + 24) + 2.0 * BATCH * SIZE * SIZE + 12;
}

static void pieces_are_second_derivatives(void **state)
{
	(void)state;
	static const struct {
		const char *backend;
		int parts;
		double unit;
	} ways[] = {{"ref", 1, 0x1p-53},
		    {"ref", 2, 0x1p-53},
		    {"cpu", 1, 0x1p-24},
		    {"cpu", 3, 0x1p-24},
		    {"shim", 1, 0x1p-24}};
	for (int a = 0; a < ARCH_COUNT; a++) {
		int64_t count;
		double *exact = gradients(&ARCHS[a], "ref", 1, true, &count),
		       *size = magnitudes(&ARCHS[a], count);
		for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
			double *got = gradients(&ARCHS[a], ways[i].backend, ways[i].parts, false, &count),
			       worst = 0;
			/* Both are rounded; 2^-150 where a float underflows. */
			double allowed = (ways[i].unit + 0x1p-53) * roundings(&ARCHS[a]);
			for (int64_t k = 0; k < count; k++) {
				double error = fabs(got[k] - exact[k]), most = allowed * size[k] + 0x1p-150;
				if (!(error <= most))
					fail_msg(
					    "%s, %d parts: gradient %d is %.17g, expected %.17g within %.2g",
					    ways[i].backend, ways[i].parts, (int)k, got[k], exact[k], most);
				worst = fmax(worst, error / most);
			}
			print_message("             %s, %d parts: at worst %.1g of what is allowed\n",
				      ways[i].backend, ways[i].parts, worst);
			otp_free(got);
		}
		otp_free(exact);
		otp_free(size);
	}
}

/* R1 has a say in these gradients: the bound above would not see it in vain. */
static void slopes_count(void **state)
{
	(void)state;
	int64_t count;
	double *size = NULL, *exact = gradients(&ARCHS[0], "ref", 1, true, &count), most = 0;
	size = magnitudes(&ARCHS[0], count);
	for (int64_t k = 0; k < count; k++)
		most = fmax(most, size[k] > 0 ? fabs(exact[k]) / size[k] : 0);
	assert_true(most > 1e-3);
	otp_free(size);
	otp_free(exact);
}

/* ---- which functions have pieces ---- */

static bool potential_has_pieces(const otp_arch *a)
{
	otp_params *params = otp_params_new();
	otp_graph *g = otp_graph_new();
	otp_builder b = otp_builder_make(g, params, 0, 0);
	otp_node *y = otp_input(g, "y", OTP_F32, otp_shape4(BATCH, a->h, a->w, a->c));
	bool pieces = otp_is_piecewise_linear(y, otp_potential_build(&b, a, y));
	otp_builder_done(&b);
	otp_graph_free(g);
	otp_params_free(params);
	return pieces;
}

static void pictures_have_pieces_and_points_do_not(void **state)
{
	(void)state;
	for (int a = 0; a < ARCH_COUNT; a++)
		assert_true(potential_has_pieces(&ARCHS[a]));
	assert_false(potential_has_pieces(&VECTORS));
}

/* What depends on other samples, or on itself twice. */
static void other_functions_have_none(void **state)
{
	(void)state;
	otp_graph *g = otp_graph_new();
	otp_node *x = otp_input(g, "x", OTP_F32, otp_shape4(4, 2, 2, 3));
	otp_node *each = otp_input(g, "each", OTP_F32, x->shape),
		 *w = otp_input(g, "w", OTP_F32, otp_shape4(5, 1, 1, 3));
	otp_node *mean = otp_sum(x, otp_shape4(1, 2, 2, 3));
	assert_true(otp_is_piecewise_linear(x, otp_lrelu(otp_conv2d(x, w, 1, 0), 0.2f)));
	assert_false(otp_is_piecewise_linear(x, otp_mul(x, x)));
	assert_false(otp_is_piecewise_linear(x, otp_silu(x)));
	assert_false(otp_is_piecewise_linear(x, mean));
	assert_false(otp_is_piecewise_linear(x, otp_add(x, mean)));
	assert_false(otp_is_piecewise_linear(x, otp_add(x, each)));
	assert_false(otp_is_piecewise_linear(x, otp_slice(x, OTP_AXIS_N, 0, 2)));
	assert_false(otp_is_piecewise_linear(x, otp_reshape(x, otp_shape4(2, 4, 2, 3))));
	assert_false(otp_is_piecewise_linear(x, each));
	otp_graph_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pieces_are_second_derivatives),
	    cmocka_unit_test(slopes_count),
	    cmocka_unit_test(pictures_have_pieces_and_points_do_not),
	    cmocka_unit_test(other_functions_have_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
