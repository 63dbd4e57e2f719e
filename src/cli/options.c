#include "cli/options.h"
#include "core/file.h"
#include "core/log.h"
#include "model/run.h"
#include "train/session.h"

#include <stdio.h>
#include <string.h>

enum { MAX_OPTIONS = 256 };

/* The command line as keys and values, in order; the last of a key wins. */
typedef struct pair {
	char where[72]; /* "--key" */
	const char *key, *value;
} pair;

typedef struct pairs {
	pair each[MAX_OPTIONS];
	int count;
} pairs;

static bool split(int argc, char **argv, pairs *p, otp_error *err)
{
	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], "--", 2) != 0)
			return otp_fail(err, argv[i], "is no option, expected --name value");
		if (p->count == MAX_OPTIONS)
			return otp_fail(err, argv[i], "is one option too many");
		pair *q = &p->each[p->count++];
		const char *equals = strchr(argv[i], '=');
		int length = equals ? (int)(equals - argv[i]) : (int)strlen(argv[i]);
		snprintf(q->where, sizeof q->where, "%.*s", length, argv[i]);
		q->key = q->where + 2;
		bool value_follows = i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0;
		if (equals)
			q->value = equals + 1;
		else if (otp_config_is_flag(q->key))
			q->value = value_follows &&
					   (strcmp(argv[i + 1], "on") == 0 || strcmp(argv[i + 1], "off") == 0)
				       ? argv[++i]
				       : "on";
		else
			q->value = value_follows ? argv[++i] : NULL;
	}
	return true;
}

static bool apply(const pairs *p, otp_config *c, otp_error *err)
{
	for (int i = 0; i < p->count; i++) {
		const pair *q = &p->each[i];
		if (!q->value && otp_config_knows(q->key))
			return otp_fail(err, q->where, "needs a value");
		if (!otp_config_set(c, q->key, q->value ? q->value : "", q->where, err))
			return false;
	}
	return true;
}

/* Where no preset is named, the data's kind and size choose it. */
static bool choose_preset(otp_config *c, otp_error *err)
{
	bool vectors = false;
	int size = c->image_size;
	otp_config resolved = *c;
	if (!otp_session_resolve_dataroot(&resolved, err))
		return false;
	if (resolved.source[0] && !otp_session_look(resolved.source, &vectors, size ? &(int){0} : &size, err))
		return false;
	snprintf(c->preset, sizeof c->preset, "%s", otp_settings_preset_for(vectors, size));
	return true;
}

static bool parse_new(const pairs *p, otp_config *c, otp_error *err)
{
	otp_config first;
	otp_config_defaults(&first);
	if (!apply(p, &first, err))
		return false;
	/* The file may name a preset too, below the command line in rank. */
	if (first.config[0] && (!otp_config_read(&first, first.config, err) || !apply(p, &first, err)))
		return false;
	if (!first.preset[0] && !choose_preset(&first, err))
		return false;
	otp_config_defaults(c);
	if (!otp_config_preset(c, first.preset, err) ||
	    (first.config[0] && !otp_config_read(c, first.config, err)) || !apply(p, c, err))
		return false;
	snprintf(c->preset, sizeof c->preset, "%s", first.preset);
	return otp_session_resolve_dataroot(c, err);
}

/* Runs from before --parts: one part for each of their threads. */
static void settle_old_parts(otp_config *stored, const char *run)
{
	if (stored->parts || !stored->threads)
		return;
	stored->parts = otp_settings_parts(stored, stored->threads);
	if (stored->parts > 2)
		otp_log("%s is from before --parts: it goes on in %d, one for each of its threads; their "
			"gradients are now summed pairwise, so it rounds differently than before",
			run, stored->parts);
}

/* One option of a resumed run; a folder of both sides stands for the two it holds. */
static bool set_resumed(otp_config *c, const pair *q, otp_error *err)
{
	if (!otp_config_set(c, q->key, q->value ? q->value : "", q->where, err))
		return false;
	if (c->dataroot[0])
		c->source[0] = c->target[0] = 0;
	return otp_session_resolve_dataroot(c, err);
}

static bool parse_resumed(const pairs *p, const char *run, otp_config *c, otp_error *err)
{
	if (!otp_run_exists(run))
		return otp_fail(err, run, "holds no run to resume: there is no config.ini");
	otp_config stored;
	otp_config_defaults(&stored);
	char *path = otp_run_path(run, "config.ini");
	bool ok = otp_config_read(&stored, path, err);
	otp_free(path);
	settle_old_parts(&stored, run);
	for (int i = 0; ok && i < p->count; i++) {
		const pair *q = &p->each[i];
		otp_config changed = stored;
		ok = set_resumed(&changed, q, err);
		if (!ok)
			break;
		otp_config_settle(&changed, &stored);
		if (otp_config_difference(&stored, &changed, OTP_SCOPE_RUN))
			ok = otp_fail(err, q->where,
				      "'%s' differs from what %s was started with; a resumed run keeps its "
				      "settings",
				      q->value, run);
		stored = changed;
	}
	*c = stored;
	snprintf(c->out, sizeof c->out, "%s", run);
	return ok;
}

bool otp_options_parse(int argc, char **argv, otp_config *c, otp_error *err)
{
	pairs p = {.count = 0};
	otp_config probe;
	otp_config_defaults(&probe);
	if (!split(argc, argv, &p, err) || !apply(&p, &probe, err))
		return false;
	if (!probe.resume)
		return parse_new(&p, c, err);
	if (!probe.out[0])
		return otp_fail(err, "--out", "is needed with --resume: the folder of the run to continue");
	return parse_resumed(&p, probe.out, c, err);
}
