#include "cli/options.h"
#include "core/file.h"
#include "core/log.h"
#include "core/pool.h"
#include "engine/runtime.h"
#include "model/run.h"
#include "train/origin.h"
#include "train/session.h"

#include <stdio.h>
#include <string.h>

static bool apply_one(const otp_setting *s, otp_config *c, otp_error *err)
{
	return otp_config_set(c, s->where + 2, s->value, s->where, err);
}

bool otp_options_apply(const otp_settings_said *said, otp_config *c, otp_error *err)
{
	for (int retired = 0; retired < 2; retired++)
		for (int i = 0; i < said->count; i++)
			if (otp_config_is_retired(said->each[i].where + 2) == retired &&
			    !apply_one(&said->each[i], c, err))
				return false;
	return true;
}

/* ---- a new run ----------------------------------------------------------------- */

/* Whether --device means a GPU: auto asks whether one can be opened. */
static bool has_gpu(const otp_config *c)
{
	otp_error ignored = {0};
	otp_runtime runtime;
	if (c->device != OTP_WHERE_AUTO)
		return c->device != OTP_WHERE_CPU;
	bool gpu = otp_runtime_open("auto", 0, "f32", 1, &runtime, &ignored) &&
		   runtime.backend->memory_free(runtime.device) > 0; /* the host has none of its own */
	otp_runtime_close(&runtime);
	return gpu;
}

/* The kind of a side, and the smaller of its size and *size; 0: not known. */
static bool look(const char *spec, bool *vectors, int *size, otp_error *err)
{
	int found = 0;
	if (spec[0] && !otp_session_look(spec, vectors, &found, err))
		return false;
	if (found && (!*size || found < *size))
		*size = found;
	return true;
}

/* Where no preset is named, the data's kind and size and the device choose it: that of the smaller side, so
 * that nothing is invented. */
static bool choose_preset(otp_config *c, otp_error *err)
{
	bool vectors = false;
	otp_size said = c->crop.h ? c->crop : c->image_size;
	int size = 0;
	otp_config resolved = *c;
	if (!otp_session_resolve_data(&resolved, err) ||
	    (resolved.source[0] && resolved.target[0] && !otp_session_find_data(&resolved, err)) ||
	    !look(resolved.target, &vectors, &size, err) || !look(resolved.source, &vectors, &size, err))
		return false;
	if (said.h)
		size = said.h > said.w ? said.h : said.w;
	snprintf(c->preset, sizeof c->preset, "%s", otp_settings_preset_for(vectors, size, has_gpu(c)));
	return true;
}

/* The file, "" for none, below what was said in rank; both over what c holds. */
static bool layer(const char *file, const otp_settings_said *said, otp_config *c, otp_error *err)
{
	return (!file[0] || otp_config_read(c, file, err)) && otp_options_apply(said, c, err);
}

/* Data that are named anew take the place of all that belongs to the former ones. From data that stay a new
 * run withholds what its origin did: networks that have seen all of them find nothing held out. */
static void forget_data(const otp_config *said, otp_config *base)
{
	bool root = said->dataroot[0] || said->data[0];
	otp_config defaults;
	otp_config_defaults(&defaults);
	if (root || said->source[0] || said->target[0])
		base->withhold = defaults.withhold;
	if (root)
		base->source[0] = base->target[0] = 0;
	if (root || said->source[0])
		base->test_source[0] = 0;
	if (root || said->target[0])
		base->test_target[0] = 0;
}

/* What lies below both: the preset, or what the networks of --from bring. */
static bool lay_ground(otp_config *first, otp_config *base, otp_error *err)
{
	if (!first->from[0])
		return (first->preset[0] || choose_preset(first, err)) &&
		       otp_config_preset(base, first->preset, err);
	if (!otp_origin_settings(first->from, first->preset, base, err))
		return false;
	forget_data(first, base);
	return true;
}

/* Command line and file name what lies below them: the file first, then the preset. */
static bool configure_new(const otp_settings_said *said, otp_config *c, otp_error *err)
{
	otp_config first, base;
	otp_config_defaults(&first);
	otp_config_defaults(&base);
	if (!layer("", said, &first, err))
		return false;
	char file[OTP_TEXT_BYTES];
	memcpy(file, first.config, sizeof file);
	if ((file[0] && !layer(file, said, &first, err)) || !lay_ground(&first, &base, err))
		return false;
	*c = base;
	if (!layer(file, said, c, err))
		return false;
	/* A preset's size is that of samples, which --crop says otherwise. */
	if (c->crop.h && !c->from[0] && !otp_config_said(c, "image-size"))
		c->image_size = (otp_size){0};
	return otp_session_resolve_data(c, err) && (!c->from[0] || otp_origin_check(&base, c, err));
}

/* ---- a run continued ----------------------------------------------------------- */

static void forget_former(char *path, const char *former)
{
	if (strcmp(path, former) == 0)
		path[0] = 0;
}

/* What is said of a resumed run, in the form in which it is stored: a folder of both sides stands for the two
 * it holds, and what is left open for what it was settled to. */
static bool complete(const otp_config *stored, otp_config *c, otp_error *err)
{
	bool root = c->dataroot[0] || c->data[0], named = root || c->direction != OTP_DIRECTION_A_TO_B;
	if (root) {
		c->source[0] = c->target[0] = 0;
		forget_former(c->test_source, stored->test_source);
		forget_former(c->test_target, stored->test_target);
	}
	if ((named && !otp_session_resolve_data(c, err)) || !otp_session_absolute_paths(c, err))
		return false;
	/* A run from before test halves were measured with goes on without. */
	if (root && (!stored->test_source[0] || !c->test_source[0]))
		memcpy(c->test_source, stored->test_source, sizeof c->test_source);
	if (root && (!stored->test_target[0] || !c->test_target[0]))
		memcpy(c->test_target, stored->test_target, sizeof c->test_target);
	otp_config_settle(c, stored, OTP_SCOPE_RUN);
	return true;
}

/* The setting in which c is not the run that was stored, NULL where there is none. Data may lie elsewhere
 * now: the checkpoint knows those trained on by their digests. */
static const char *difference(const otp_config *stored, const otp_config *c)
{
	otp_config was = *stored;
	memcpy(was.source, c->source, sizeof was.source);
	memcpy(was.target, c->target, sizeof was.target);
	if (was.test_source[0] && c->test_source[0])
		memcpy(was.test_source, c->test_source, sizeof was.test_source);
	if (was.test_target[0] && c->test_target[0])
		memcpy(was.test_target, c->test_target, sizeof was.test_target);
	return otp_config_difference(&was, c, OTP_SCOPE_RUN);
}

/* Of test sets a run keeps no digest. */
static void tell_moved(const char *test, const char *former)
{
	if (strcmp(test, former) != 0)
		otp_log("measured on %s from here on; that it is the same set as %s is not checked", test,
			former);
}

static const otp_setting *find_said(const otp_settings_said *said, const char *key)
{
	for (int i = said->count - 1; i >= 0; i--)
		if (otp_word_same(said->each[i].where + 2, key, strlen(key)))
			return &said->each[i];
	return NULL;
}

static bool apply_resumed(const otp_settings_said *said, const otp_config *stored, otp_config *c,
			  otp_error *err)
{
	*c = *stored;
	if (!otp_options_apply(said, c, err) || !complete(stored, c, err))
		return false;
	const char *key = difference(stored, c);
	if (!key)
		return true;
	const otp_setting *s = find_said(said, key);
	char *where = s ? otp_strdup(s->where) : otp_format("--%s", key);
	char *value = s ? otp_format("'%s'", s->value) : otp_config_value(c, key);
	otp_fail(err, where,
		 "%s differs from what the run was started with; a resumed run keeps its settings", value);
	otp_free(where);
	otp_free(value);
	return false;
}

/* What --config FILE sets; what it does not name stays as it is. */
static bool apply_file(const char *file, const otp_config *stored, otp_config *c, otp_error *err)
{
	*c = *stored;
	if (!file[0])
		return true;
	if (!otp_config_read(c, file, err) || !complete(stored, c, err))
		return false;
	const char *key = difference(stored, c);
	if (!key)
		return true;
	char *said = otp_config_value(c, key), *was = otp_config_value(stored, key);
	otp_fail(err, file, "%s = %s, but the run was started with %s = %s; a resumed run keeps its settings",
		 key, said, key, was);
	otp_free(said);
	otp_free(was);
	return false;
}

/* What was settled on another machine, or for another device, is not held to here. */
static void adapt_to_machine(const otp_settings_said *said, const char *run, otp_config *stored)
{
	int cores = otp_cores();
	if (stored->threads > cores) {
		if (!find_said(said, "threads"))
			otp_log("%s had %d threads; it goes on with %d, one for each core that is here", run,
				stored->threads, cores);
		stored->threads = 0;
	}
	if (find_said(said, "device"))
		stored->data_on_device = OTP_DATA_ON_DEVICE_AUTO;
}

static bool read_stored(const char *run, otp_config *stored, otp_error *err)
{
	if (!otp_run_exists(run))
		return otp_fail(err, run, "holds no run to resume: there is no config.ini");
	otp_config_defaults_stored(stored);
	char *path = otp_run_path(run, "config.ini");
	bool ok = otp_config_read(stored, path, err);
	otp_free(path);
	if (!ok || !otp_session_absolute_paths(stored, err))
		return false;
	int parts = stored->parts;
	otp_settings_settle_stored(stored); /* before another --steps is said */
	if (!parts && stored->parts > 2)
		otp_log("%s is from before --parts: it goes on in %d, one for each of its threads; their "
			"gradients are now summed pairwise, so it rounds differently than before",
			run, stored->parts);
	return true;
}

/* The file first, then the command line, which overrides it. */
static bool configure_resumed(const otp_settings_said *said, const otp_config *probe, otp_config *c,
			      otp_error *err)
{
	const char *run = probe->out;
	otp_config stored, by_file;
	if (!read_stored(run, &stored, err))
		return false;
	adapt_to_machine(said, run, &stored);
	if (!apply_file(probe->config, &stored, &by_file, err) || !apply_resumed(said, &by_file, c, err))
		return false;
	tell_moved(c->test_source, stored.test_source);
	tell_moved(c->test_target, stored.test_target);
	snprintf(c->out, sizeof c->out, "%s", run);
	return true;
}

bool otp_options_parse(int argc, char **argv, const otp_arg *args, int arg_count, const char *usage,
		       otp_config *c, otp_error *err)
{
	otp_settings_said said = {.count = 0};
	otp_command_line line = {.args = args, .arg_count = arg_count, .usage = usage, .settings = &said};
	otp_config probe;
	otp_config_defaults(&probe);
	if (!otp_args_read(argc, argv, &line, err) || !otp_options_apply(&said, &probe, err))
		return false;
	if (!probe.resume)
		return configure_new(&said, c, err);
	if (!probe.out[0])
		return otp_fail(err, "--out", "is needed with --resume: the folder of the run to continue");
	return configure_resumed(&said, &probe, c, err);
}
