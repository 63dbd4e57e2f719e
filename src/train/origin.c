#include "train/origin.h"
#include "core/file.h"
#include "core/log.h"
#include "model/run.h"
#include "model/store.h"

#include <stdio.h>
#include <string.h>

/* What the networks' shapes depend on. */
static const char *const ARCHITECTURE[] = {
    "image-size",
    "crop",
    "channels",
    "condition-noise",
    "noise-features",
    "latent",
    "width",
    "multipliers",
    "blocks",
    "attention",
    "resample",
    "residual",
    "patch",
    "embedding",
    "potential-features",
    "potential-width",
    "potential-multipliers",
    "potential-blocks",
    "potential-gain",
    "sharpness",
    "potential-sharpness",
    "potential-quadratic",
    "quadratic-gain",
};
enum { ARCHITECTURE_COUNT = sizeof ARCHITECTURE / sizeof *ARCHITECTURE };

typedef struct origin {
	char *path; /* of the file */
	otp_stored_kind kind;
	otp_stored facts; /* with the state, where it is a checkpoint */
} origin;

static void close_origin(origin *o)
{
	otp_free(o->path);
	otp_stored_free(&o->facts);
}

static bool open_origin(const char *from, origin *o, otp_error *err)
{
	bool run = otp_file_is_folder(from);
	*o = (origin){.kind = OTP_STORED_CHECKPOINT};
	if (run && !otp_run_newest(from, INT64_MAX, &o->facts, &o->path, err))
		return false;
	if (o->path)
		return true;
	o->path = run ? otp_run_path(from, "model.h5") : otp_strdup(from);
	bool ok =
	    otp_stored_identify(o->path, &o->kind, err) &&
	    (o->kind == OTP_STORED_MODEL ? otp_model_read : otp_checkpoint_read)(o->path, &o->facts, err);
	if (!ok)
		close_origin(o);
	return ok;
}

/* ---- settings ---- */

static bool copy(otp_config *to, const otp_config *from, const char *key, otp_error *err)
{
	char *value = otp_config_value(from, key);
	size_t length = strlen(value);
	bool quoted = length >= 2 && value[0] == '"'; /* as a file has it */
	if (quoted)
		value[length - 1] = 0;
	bool ok = otp_config_set(to, key, value + quoted, "--from", err);
	otp_free(value);
	return ok;
}

/* What a file was trained with, as far as a new run goes on from it. */
static bool read_settings(const origin *o, otp_config *c, otp_error *err)
{
	if (!otp_config_parse(c, o->facts.settings, o->path, err))
		return false;
	otp_settings_settle_stored(c);
	if (!o->facts.arch.vectors) {
		otp_preprocessing how = otp_stored_preprocessing(&o->facts);
		c->image_size = how.size;
		c->crop = how.crop;
		c->channels = o->facts.arch.c;
	}
	c->start = OTP_START_PLAIN; /* weights come from the file, and sharpness has been settled */
	c->schedule_steps = c->parts = c->micro_batch = 0;
	return true;
}

bool otp_origin_settings(const char *from, const char *preset, otp_config *base, otp_error *err)
{
	origin o;
	otp_config stored;
	otp_config_defaults_stored(&stored);
	otp_config_defaults_stored(base);
	if (!open_origin(from, &o, err))
		return false;
	bool ok = read_settings(&o, &stored, err);
	const char *name = *preset ? preset : stored.preset;
	ok = ok && (!*name || otp_config_preset(base, name, err));
	if (ok && !*preset) {
		ok = read_settings(&o, base, err);
	} else if (ok) {
		static const char *const DATA[] = {"source",   "target", "test-source", "test-target",
						   "withhold", "resize", "aspect"};
		for (int i = 0; ok && i < 7; i++)
			ok = copy(base, &stored, DATA[i], err);
		for (int i = 0; ok && i < ARCHITECTURE_COUNT; i++)
			ok = copy(base, &stored, ARCHITECTURE[i], err);
	}
	close_origin(&o);
	return ok;
}

bool otp_origin_check(const otp_config *base, const otp_config *c, otp_error *err)
{
	if (c->start == OTP_START_AIMED)
		return otp_fail(err, "--start",
				"aimed cannot be combined with --from, which has the first weights");
	/* Crops of other pictures, too, are of the networks' size. */
	for (int i = c->crop.h ? 1 : 0; i < ARCHITECTURE_COUNT; i++) {
		char *is = otp_config_value(c, ARCHITECTURE[i]),
		     *was = otp_config_value(base, ARCHITECTURE[i]);
		char *where = otp_format("--%s", ARCHITECTURE[i]);
		if (strcmp(is, was) != 0)
			otp_fail(err, where, "is %s, but the networks of %s have %s", is, c->from, was);
		otp_free(is);
		otp_free(was);
		otp_free(where);
	}
	return !err->exit_code;
}

/* ---- networks ---- */

/* Weights without a past: moments of zero, and an average that begins at them. */
static void write_network(otp_game *g, otp_network n, const float *row)
{
	size_t elements = (size_t)otp_engine_params(g->engine, n)->elements;
	int rows = otp_engine_rows(n);
	float *state = otp_calloc(elements * (size_t)rows, sizeof *state);
	memcpy(state + OTP_ROW_PARAM * elements, row, elements * sizeof *state);
	if (rows > OTP_ROW_EMA)
		memcpy(state + OTP_ROW_EMA * elements, row, elements * sizeof *state);
	otp_engine_write(g->engine, n, state);
	otp_free(state);
}

static bool fits(const origin *o, const otp_game *g, otp_error *err)
{
	const otp_arch *a = &o->facts.arch, *b = &g->session->arch;
	if (a->vectors != b->vectors || a->h != b->h || a->w != b->w || a->c != b->c)
		return otp_fail(err, o->path,
				"has networks for %s of %dx%dx%d, these data are %s of %dx%dx%d",
				a->vectors ? "vectors" : "images", a->w, a->h, a->c,
				b->vectors ? "vectors" : "images", b->w, b->h, b->c);
	for (otp_network n = 0; o->kind == OTP_STORED_CHECKPOINT && n < OTP_NETWORKS; n++)
		if (o->facts.elements[n] != otp_engine_params(g->engine, n)->elements)
			return otp_fail(err, o->path,
					"has networks of another size than these settings make");
	return true;
}

static bool load(const origin *o, otp_game *g, otp_error *err)
{
	if (o->kind == OTP_STORED_CHECKPOINT) {
		const otp_stored *s = &o->facts;
		write_network(g, OTP_TRANSPORT,
			      s->state[OTP_TRANSPORT] + OTP_ROW_EMA * s->elements[OTP_TRANSPORT]);
		write_network(g, OTP_POTENTIAL, s->state[OTP_POTENTIAL]);
		return true;
	}
	float *row = otp_model_read_weights(o->path, otp_engine_params(g->engine, OTP_TRANSPORT), err);
	if (row)
		write_network(g, OTP_TRANSPORT, row);
	otp_free(row);
	return row != NULL;
}

bool otp_origin_load(const otp_config *c, otp_game *g, otp_error *err)
{
	origin o;
	if (!open_origin(c->from, &o, err))
		return false;
	bool ok = fits(&o, g, err) && load(&o, g, err);
	if (ok)
		otp_log("starting from %s, step %lld: %s", o.path, (long long)o.facts.step,
			o.kind == OTP_STORED_CHECKPOINT
			    ? "generator (its moving average) and potential"
			    : "the generator; a model file has no potential, so that one starts anew");
	if (ok && otp_settings_sigma(c, 1) > 1.001 * o.facts.sigma)
		otp_log(
		    "sigma starts at %g again, its training ended at %g: --sigma-start %g goes on from there",
		    otp_settings_sigma(c, 1), o.facts.sigma, o.facts.sigma);
	close_origin(&o);
	return ok;
}
