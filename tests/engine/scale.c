/* scale: points of another scale, about other centres. */
#include "engines.h"

#include <math.h>
#include <string.h>

enum { SCALE = 8 }; /* a power of two: dividing rounds nothing */
static const float CENTRES[OTP_SIDES][2] = {{24, -16}, {40, 8}};

static const otp_param_info *param_of(const otp_params *p, const char *name)
{
	for (int k = 0; k < p->count; k++)
		if (strcmp(p->info[k].name, name) == 0)
			return &p->info[k];
	return NULL;
}

/* The unit game's weights, and shifts at the centres. */
static void set_scaled_weights(otp_engine *scaled, otp_engine *unit, otp_network network)
{
	size_t bytes;
	const otp_params *to = otp_engine_params(scaled, network), *from = otp_engine_params(unit, network);
	float *values = read_state(scaled, network, &bytes), *known = read_state(unit, network, &bytes);
	otp_side input = network == OTP_TRANSPORT ? OTP_SOURCE : OTP_TARGET;
	for (int k = 0; k < to->count; k++) {
		const otp_param_info *same = param_of(from, to->info[k].name);
		bool is_input = strcmp(to->info[k].name, OTP_PARAM_INPUT_SHIFT) == 0;
		for (int64_t i = 0; i < otp_shape_count(to->info[k].shape); i++)
			values[to->info[k].offset + i] = same	    ? known[same->offset + i]
							 : is_input ? -CENTRES[input][i] / SCALE
								    : CENTRES[OTP_TARGET][i] / SCALE;
	}
	otp_engine_write(scaled, network, values);
	otp_free(values);
	otp_free(known);
}

static otp_engine *points_engine(work *w, float scale)
{
	otp_engine_settings settings = {.objective = {.arch = POINTS, .tau = 0.1 / (scale * scale)},
					.batch = BATCH,
					.parts = 1,
					.r1_used = true,
					.plain_used = true,
					.beta1 = 0.5,
					.beta2 = 0.9};
	settings.objective.arch.scale = scale;
	settings.objective.arch.potential_gain = 1;
	otp_engine *e = otp_engine_new(&w->place, &settings);
	otp_engine_init(e, 1);
	return e;
}

/* The losses and gradients of one update of each network on points (BATCH, 2), given in units of the scale.
 */
static otp_losses play(otp_engine *e, float scale, const float centres[OTP_SIDES][2])
{
	const float unit[OTP_SIDES][BATCH * 2] = {
	    {0.5f, 0.25f, -0.375f, 0.875f, 0.25f, -0.75f, 0.5f, 0.625f, -0.25f, 0.75f},
	    {-0.5f, 1.25f, 0.375f, 0.5f, -0.25f, -0.5f, 1.5f, 0.125f, -1.25f, -0.75f}};
	float x[OTP_SIDES][BATCH * 2];
	for (otp_side which = 0; which < OTP_SIDES; which++)
		for (int i = 0; i < 2 * BATCH; i++)
			x[which][i] = scale * unit[which][i] + centres[which][i % 2];
	otp_update u = update_at(0);
	u.keep = 1;
	u.rate = 0; /* the unit game has no shifts that could learn */
	u.sigma *= (double)scale;
	u.r1 = 0.2 * (double)(scale * scale);
	otp_engine_potential_step(e, (otp_batch){.values = x[OTP_SOURCE]},
				  (otp_batch){.values = x[OTP_TARGET]}, &u);
	otp_engine_transport_step(e, (otp_batch){.values = x[OTP_SOURCE]}, &u);
	return otp_engine_losses(e);
}

/* Values up to 60 carry 2^-24 of themselves into layers that take differences of 1: 4e-6, through some ten
 * sums of ten terms each. */
static const double ROUNDING = 4e-4;

static void same_gradients(otp_engine *scaled, otp_engine *unit, otp_network network)
{
	const otp_params *a = otp_engine_params(scaled, network), *b = otp_engine_params(unit, network);
	float *ga = otp_calloc((size_t)a->elements, sizeof *ga),
	      *gb = otp_calloc((size_t)b->elements, sizeof *gb);
	double largest = 0;
	otp_engine_read_grads(scaled, network, ga);
	otp_engine_read_grads(unit, network, gb);
	for (int64_t i = 0; i < b->elements; i++)
		largest = fmax(largest, fabs((double)gb[i]));
	assert_true(largest > 0);
	for (int k = 0; k < b->count; k++) {
		const otp_param_info *same = param_of(a, b->info[k].name);
		for (int64_t i = 0; i < otp_shape_count(same->shape); i++)
			assert_true(fabs((double)ga[same->offset + i] - (double)gb[b->info[k].offset + i]) <=
				    ROUNDING * largest);
	}
	otp_free(ga);
	otp_free(gb);
}

/* Points of another scale about other centres, with tau, R1 and sigma in their units, are the same game. */
void scale_changes_no_game(void **state)
{
	(void)state;
	static const float NONE[OTP_SIDES][2];
	work w;
	open_work(&w, "cpu", 1);
	otp_engine *unit = points_engine(&w, 1), *scaled = points_engine(&w, SCALE);
	for (otp_network n = 0; n < OTP_NETWORKS; n++)
		set_scaled_weights(scaled, unit, n);
	otp_losses a = play(scaled, SCALE, CENTRES), b = play(unit, 1, NONE);
	const otp_step_kind kinds[] = {OTP_STEP_TRANSPORT, OTP_STEP_POTENTIAL_R1};
	for (int i = 0; i < 2; i++) {
		double is = a.sum[kinds[i]][OTP_REPORT_LOSS], was = b.sum[kinds[i]][OTP_REPORT_LOSS];
		assert_true(was != 0 && fabs(is - was) <= ROUNDING * (1 + fabs(was)));
	}
	same_gradients(scaled, unit, OTP_TRANSPORT);
	same_gradients(scaled, unit, OTP_POTENTIAL);
	otp_engine_free(unit);
	otp_engine_free(scaled);
	otp_runtime_close(&w.place);
}
