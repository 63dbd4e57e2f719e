#include "train/game.h"
#include "train/aim.h"
#include "train/centre.h"

#include <string.h>

/* ---- where the data lie ---- */

/* Bytes that data may take there; a device that computes in the host's memory offers none of its own. */
static size_t data_budget(const otp_config *c, const otp_runtime *runtime)
{
	if (c->data_on_device == OTP_DATA_ON_DEVICE_OFF)
		return 0;
	if (c->data_on_device == OTP_DATA_ON_DEVICE_ON)
		return SIZE_MAX;
	return runtime->backend->memory_free(runtime->device) / 4;
}

static otp_resident settle_side(const otp_dataset *d, const otp_runtime *runtime, size_t *budget)
{
	otp_resident streamed = {0};
	int stored = d ? otp_dataset_stored_channels(d) : 0;
	if (!stored)
		return streamed;
	otp_dataset_info info = otp_dataset_describe(d);
	size_t words = (size_t)otp_gather_words((int64_t)info.h * info.w * stored);
	size_t bytes = otp_mul_size((size_t)info.count, words * runtime->backend->element_bytes[OTP_U32]);
	if (bytes > *budget || info.count > INT32_MAX)
		return streamed;
	*budget -= bytes;
	return (otp_resident){(int)info.count, stored};
}

otp_engine_settings otp_game_engine_settings(const otp_session *s, const otp_runtime *runtime)
{
	const otp_config *c = &s->config;
	size_t budget = data_budget(c, runtime);
	otp_engine_settings settings = {
	    .objective = s->objective,
	    .batch = c->batch,
	    .parts = otp_settings_parts(c, otp_pool_workers(runtime->pool)),
	    .r1_used = c->r1 > 0,
	    .plain_used = c->r1 <= 0 || c->r1_end == 0 || c->r1_every > 1,
	    .beta1 = c->beta1,
	    .beta2 = c->beta2,
	    .clip_norm = c->clip_norm,
	};
	settings.objective.resident[OTP_SOURCE] = settle_side(s->source, runtime, &budget);
	settings.objective.resident[OTP_TARGET] = settle_side(s->target, runtime, &budget);
	return settings;
}

otp_data_on_device otp_game_data_on_device(const otp_game *g)
{
	otp_session s = *g->session;
	if (s.config.data_on_device != OTP_DATA_ON_DEVICE_AUTO)
		return s.config.data_on_device;
	if (!g->resident[OTP_SOURCE].rows && !g->resident[OTP_TARGET].rows)
		return OTP_DATA_ON_DEVICE_OFF;
	s.config.data_on_device = OTP_DATA_ON_DEVICE_ON;
	otp_engine_settings on = otp_game_engine_settings(&s, g->runtime);
	bool same = on.objective.resident[OTP_SOURCE].rows == g->resident[OTP_SOURCE].rows &&
		    on.objective.resident[OTP_TARGET].rows == g->resident[OTP_TARGET].rows;
	return same ? OTP_DATA_ON_DEVICE_ON : OTP_DATA_ON_DEVICE_AUTO;
}

size_t otp_game_batch_bytes(const otp_session *s, const otp_engine_settings *settings)
{
	const otp_arch *a = &s->arch;
	size_t batch = (size_t)s->config.batch * (size_t)a->h * (size_t)a->w * (size_t)a->c * sizeof(float);
	int streamed =
	    !settings->objective.resident[OTP_SOURCE].rows + !settings->objective.resident[OTP_TARGET].rows;
	return batch * (size_t)streamed * (size_t)otp_loader_slots(s->config.workers);
}

static const otp_dataset *data_of(const otp_session *s, otp_side side)
{
	return side == OTP_TARGET ? s->target : s->source;
}

/* The side's set into the engine's memory, some pictures at a time. */
static bool load(otp_game *g, otp_side side, otp_error *err)
{
	enum { AT_ONCE = 256 };
	const otp_dataset *d = data_of(g->session, side);
	otp_resident set = g->resident[side];
	const otp_arch *a = &g->session->arch;
	size_t words = (size_t)otp_gather_words((int64_t)a->h * a->w * set.stored);
	uint32_t *pictures = otp_calloc(AT_ONCE * words, sizeof *pictures);
	bool ok = true;
	for (int64_t first = 0; ok && first < set.rows; first += AT_ONCE) {
		int64_t count = set.rows - first < AT_ONCE ? set.rows - first : AT_ONCE;
		for (int64_t i = 0; ok && i < count; i++)
			ok = otp_dataset_get_bytes(d, (uint64_t)(first + i),
						   (uint8_t *)(pictures + (size_t)i * words), err);
		if (ok)
			otp_engine_load(g->engine, side, first, count, pictures);
	}
	otp_free(pictures);
	return ok;
}

/* ---- life ---- */

bool otp_game_open(otp_game *g, const otp_session *s, otp_runtime *runtime, otp_error *err)
{
	memset(g, 0, sizeof *g);
	g->session = s;
	g->runtime = runtime;
	otp_engine_settings settings = otp_game_engine_settings(s, runtime);
	memcpy(g->resident, settings.objective.resident, sizeof g->resident);
	g->rate_factor = 1;
	g->engine = otp_engine_new(runtime, &settings);
	otp_engine_init(g->engine, s->config.seed);
	if (otp_arch_scaled(&s->arch) && !otp_centre(g->engine, s, err))
		return false;
	return s->config.start != OTP_START_AIMED || otp_aim(g->engine, s, err);
}

/* Paired noise is over the same source. */
static otp_walk walk_of(const otp_config *c, otp_side side)
{
	return (otp_walk){.seed = c->seed,
			  .side = side,
			  .batch = c->batch,
			  .copies = side == OTP_SOURCE && c->noise_pairs ? 2 : 1,
			  .flip = c->flip};
}

/* Whatever feeds this side goes on at g->step. */
static void place_feed(otp_game *g, otp_side side)
{
	const otp_config *c = &g->session->config;
	otp_feed *feed = &g->feed[side];
	int draws = side == OTP_TARGET ? c->k_potential : c->k_potential + c->k_transport;
	feed->draw = (uint32_t)(g->step * draws);
	if (g->resident[side].rows)
		return;
	otp_loader_free(feed->loader);
	otp_walk walk = walk_of(c, side);
	otp_engine_slice(g->engine, &walk.first, &walk.count);
	walk.first -=
	    walk.count ? 0 : walk.first == walk.batch; /* one that computes nothing reads one sample */
	walk.count += !walk.count;
	feed->loader = otp_loader_new(data_of(g->session, side), walk, c->workers, feed->draw);
}

static bool start_feed(otp_game *g, otp_side side, otp_error *err)
{
	place_feed(g, side);
	if (!g->resident[side].rows)
		return true;
	g->feed[side].picks = otp_calloc((size_t)g->session->config.batch, sizeof *g->feed[side].picks);
	return load(g, side, err);
}

void otp_game_rewind(otp_game *g)
{
	for (otp_side side = 0; side < OTP_SIDES; side++)
		place_feed(g, side);
}

bool otp_game_start(otp_game *g, otp_error *err)
{
	return start_feed(g, OTP_SOURCE, err) && start_feed(g, OTP_TARGET, err);
}

static void stop_feed(otp_feed *feed)
{
	otp_loader_free(feed->loader);
	otp_free(feed->picks);
}

void otp_game_close(otp_game *g)
{
	for (otp_side side = 0; side < OTP_SIDES; side++)
		stop_feed(&g->feed[side]);
	otp_engine_free(g->engine);
	memset(g, 0, sizeof *g);
}

/* ---- the step ---- */

static bool next_batch(otp_game *g, otp_side side, otp_batch *batch, otp_error *err)
{
	const otp_config *c = &g->session->config;
	otp_feed *feed = &g->feed[side];
	if (feed->loader) {
		*batch = (otp_batch){.values = otp_loader_next(feed->loader, err)};
		return batch->values != NULL;
	}
	otp_loader_picks(walk_of(c, side), (uint64_t)g->resident[side].rows, feed->draw++, feed->picks);
	*batch = (otp_batch){.picks = feed->picks};
	return true;
}

/* Draws of noise and source data are numbered through: k_potential + k_transport an outer step. */
static otp_update update_for(const otp_game *g, int sub_step)
{
	const otp_config *c = &g->session->config;
	int64_t step = g->step + 1;
	double sigma = otp_settings_sigma(c, step);
	otp_update u = {
	    .seed = c->seed,
	    .draw = (uint32_t)((uint64_t)g->step * (uint64_t)(c->k_potential + c->k_transport) +
			       (uint64_t)sub_step),
	    .sigma = sigma,
	    .keep = otp_smoothing_keep(g->session->smoothing, sigma),
	};
	return u;
}

static bool potential_updates(otp_game *g, otp_error *err)
{
	const otp_config *c = &g->session->config;
	for (int k = 0; k < c->k_potential; k++) {
		otp_batch x, y;
		if (!next_batch(g, OTP_SOURCE, &x, err) || !next_batch(g, OTP_TARGET, &y, err))
			return false;
		otp_update u = update_for(g, k);
		u.rate = c->lr_d * g->rate_factor * otp_settings_rate(c, g->step + 1);
		u.count = g->step * c->k_potential + k + 1;
		if ((u.count - 1) % c->r1_every == 0)
			u.r1 = otp_settings_r1(c, g->step + 1) * c->r1_every;
		otp_engine_potential_step(g->engine, x, y, &u);
	}
	return true;
}

static bool transport_updates(otp_game *g, otp_error *err)
{
	const otp_config *c = &g->session->config;
	for (int k = 0; k < c->k_transport; k++) {
		otp_batch x;
		if (!next_batch(g, OTP_SOURCE, &x, err))
			return false;
		otp_update u = update_for(g, c->k_potential + k);
		u.rate = c->lr_g * g->rate_factor * otp_settings_rate(c, g->step + 1);
		u.count = g->step * c->k_transport + k + 1;
		/* The average moves once an outer step. Cap the EMA decay at (t+1)/(t+10), so that early
		 * averages forget the initial weights. */
		double decay_cap = (double)(g->step + 1) / (double)(g->step + 10);
		u.ema = k + 1 < c->k_transport ? 1 : c->ema < decay_cap ? c->ema : decay_cap;
		otp_engine_transport_step(g->engine, x, &u);
	}
	return true;
}

bool otp_game_step(otp_game *g, otp_error *err)
{
	if (!potential_updates(g, err) || !transport_updates(g, err))
		return false;
	g->step++;
	return true;
}

otp_sampler *otp_game_sampler(otp_game *g, bool given_noise)
{
	otp_params *params = otp_engine_params(g->engine, OTP_TRANSPORT);
	otp_error err = {0};
	int64_t base;
	void *average = otp_engine_average(g->engine, &base);
	otp_sampler *s = otp_sampler_new(g->runtime, &g->session->arch, params, average, base,
					 g->session->smoothing, given_noise, &err);
	if (!s)
		otp_end(&err);
	return s;
}
