/* refine: against potentials whose best answers are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/places.h"
#include "ot/refine.h"

#include <math.h>
#include <string.h>

enum { N = 4, D = 5, SPAN_POTENTIAL = 0 };
static const float TAU = 0.5f;

/* V of two units along the first coordinate and one square across the last two, weights all 0 but those set
 * here. */
static const otp_arch ARCH = {.h = 1,
			      .w = 1,
			      .c = D,
			      .vectors = true,
			      .potential_width = 2,
			      .potential_blocks = 0,
			      .potential_gain = 1,
			      .potential_sharpness = 1,
			      .potential_quadratic = 2,
			      .quadratic_gain = 1};

typedef struct weight {
	const char *name;
	int place;
	float value;
} weight;

static void set_weights(const otp_params *p, const weight *weights, float *row)
{
	for (const weight *w = weights; w->name; w++) {
		int k = 0;
		while (k < p->count && strcmp(p->info[k].name, w->name) != 0)
			k++;
		assert_true(k < p->count && w->place < otp_shape_count(p->info[k].shape));
		row[p->info[k].offset + w->place] = w->value;
	}
}

/* The best answers that so many steps find from the starts, (N, D); otp_free them. */
static double *answers(const char *backend_name, const weight *weights, int steps, const float *from,
		       const float *const *starts, int count)
{
	place at = place_open(backend_name);
	otp_graph *g = otp_graph_new();
	otp_params *params = otp_params_new();
	otp_builder b = otp_builder_make(g, params, SPAN_POTENTIAL, 0);
	otp_shape shape = otp_shape4(N, 1, 1, D);
	otp_node *x = otp_input(g, "from", OTP_F32, shape), *start[2];
	for (int i = 0; i < count; i++)
		start[i] = otp_input(g, "start", OTP_F32, shape);
	otp_refinement r = {&b, &ARCH, TAU, x, steps};
	otp_node *y = otp_output(otp_refine(&r, start, count), OTP_SPAN_NONE, 0);

	float *row = otp_calloc((size_t)params->elements, sizeof *row);
	set_weights(params, weights, row);
	void *spans[OTP_MAX_SPANS] = {
	    at.backend->alloc(at.device, (size_t)params->elements * at.backend->element_bytes[OTP_F32])};
	at.backend->upload(at.device, spans[SPAN_POTENTIAL], OTP_F32, row, params->elements);
	otp_program *p = otp_program_new(at.backend, at.device, g, spans, (otp_program_options){0});
	otp_program_write(p, x, from);
	for (int i = 0; i < count; i++)
		otp_program_write(p, start[i], starts[i]);
	otp_program_run(p);
	double *found = fetch(at.backend, at.device, otp_program_data(p, y), N * D);

	otp_program_free(p);
	at.backend->release(at.device, spans[SPAN_POTENTIAL]);
	otp_free(row);
	otp_builder_done(&b);
	otp_params_free(params);
	otp_graph_free(g);
	at.backend->close(at.device);
	return found;
}

static float place_at(int i, int j) { return 0.3f * (float)((7 * i + 3 * j) % 11 - 5); }

/* V = -k (y_3^2 + y_4^2): the cost bends by 2 tau along three coordinates, by 2 (tau + k), a hundred times as
 * much, across them. Two conjugate gradients are exact for two curvatures, so one step is. */
static void one_step_answers_a_square(void **state)
{
	(void)state;
	const float k = 49.5f;
	const weight weights[] = {{"quadratic.in.weight", 3, 1},
				  {"quadratic.in.weight", D + 4, 1},
				  {"quadratic.out.weight", 0, -k},
				  {"quadratic.out.weight", 1, -k},
				  {NULL, 0, 0}};
	float from[N * D], start[N * D];
	for (int i = 0; i < N * D; i++) {
		from[i] = place_at(i, 1);
		start[i] = place_at(i, 5);
	}
	const float *starts[] = {start};
	const char *backends[] = {"ref", "cpu"};
	for (int at = 0; at < 2; at++) {
		double *y = answers(backends[at], weights, 1, from, starts, 1);
		/* ref: 0.02 / tau times its float32 inverse is 1 but for 2^-23, and bends the step by as
		 * much. cpu: a slope of up to 100 |y| <= 200 rounds by 2^-24 of it in each of some eight
		 * operations; its difference, over `ahead` = 1/25, is off by 25 times that: 25 * 8 * 200 *
		 * 2^-24 = 2.4e-3 beside a bend of 100 * 200. */
		double allowed = at == 0 ? 4 * 0x1p-23 : 2 * (2 * 2.4e-3 / 20000 + 8 * 0x1p-24) * 200;
		for (int i = 0; i < N * D; i++) {
			double want = (double)from[i] * (i % D < 3 ? 1 : 0.5 / (0.5 + (double)k));
			if (!(fabs(y[i] - want) <= allowed))
				fail_msg("%s: answer %d is %.9g, expected %.9g within %.2g", backends[at], i,
					 y[i], want, allowed);
		}
		otp_free(y);
	}
}

/* V = silu(20 y_0) + silu(-20 y_0) over 20, all but |y_0|: c - V has a valley on either side, at x'_0 +- 1 /
 * (2 tau), and the better one is on the side of x'. */
static void the_better_valley_is_found_from_either_side(void **state)
{
	(void)state;
	const weight weights[] = {{"in.weight", 0, 20},
				  {"in.weight", D, -20},
				  {"out.weight", 0, 0.05f},
				  {"out.weight", 1, 0.05f},
				  {NULL, 0, 0}};
	float from[N * D] = {0.1f, 0.5f}, left[N * D] = {0}, right[N * D] = {0};
	from[D] = -0.1f;
	from[2 * D] = 0.3f;
	from[3 * D] = -0.3f;
	for (int i = 0; i < N; i++) {
		left[i * D] = -0.8f;
		right[i * D] = 0.8f;
	}
	const float *both[] = {left, right}, *alone[] = {left};
	double *y = answers("ref", weights, 2, from, both, 2),
	       *stuck = answers("ref", weights, 2, from, alone, 1);
	for (int i = 0; i < N; i++) {
		double x = (double)from[i * D];
		/* silu(20 u) / 20 at u >= 0.7 differs from u by less than 1e-6; its slope by less than 2e-5.
		 */
		assert_true(fabs(y[i * D] - (x + (x > 0 ? 1 : -1))) < 2e-4);
		assert_true(fabs(stuck[i * D] - (x - 1)) < 2e-4);
	}
	otp_free(y);
	otp_free(stuck);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(one_step_answers_a_square),
					   cmocka_unit_test(the_better_valley_is_found_from_either_side)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
