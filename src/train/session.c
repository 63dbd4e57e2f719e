#include "train/session.h"
#include "config/rules.h"
#include "core/file.h"
#include "core/log.h"
#include "data/spec.h"
#include "ot/distance.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool find_side(const char *root, char side, char out[OTP_TEXT_BYTES], otp_error *err)
{
	static const char *const PREFIXES[] = {"train", "train_", ""};
	for (int i = 0; i < 3; i++) {
		int length = snprintf(out, OTP_TEXT_BYTES, "%s/%s%c", root, PREFIXES[i], side);
		if (length < OTP_TEXT_BYTES && otp_file_is_folder(out))
			return true;
	}
	out[0] = 0;
	return otp_fail(err, root, "has no folder train%c, train_%c or %c", side, side, side);
}

bool otp_session_resolve_dataroot(otp_config *c, otp_error *err)
{
	if (!c->dataroot[0])
		return true;
	if (c->source[0] || c->target[0])
		return otp_fail(err, "--dataroot", "cannot be combined with --source or --target");
	bool forward = c->direction == OTP_DIRECTION_A_TO_B;
	if (!find_side(c->dataroot, forward ? 'A' : 'B', c->source, err) ||
	    !find_side(c->dataroot, forward ? 'B' : 'A', c->target, err))
		return false;
	/* What it stood for is said now; kept beside it, it would contradict --source when read back. */
	c->dataroot[0] = 0;
	return true;
}

static bool make_absolute(char spec[OTP_TEXT_BYTES], const char *where, otp_error *err)
{
	char *path = otp_spec_absolute(spec);
	bool ok = snprintf(spec, OTP_TEXT_BYTES, "%s", path) < OTP_TEXT_BYTES ||
		  otp_fail(err, where, "%s is too long, expected less than %d bytes", path, OTP_TEXT_BYTES);
	otp_free(path);
	return ok;
}

bool otp_session_absolute_paths(otp_config *c, otp_error *err)
{
	return make_absolute(c->source, "--source", err) && make_absolute(c->target, "--target", err) &&
	       make_absolute(c->from, "--from", err);
}

bool otp_session_look(const char *spec, bool *vectors, int *size, otp_error *err)
{
	otp_data_kind kind;
	if (!otp_dataset_look(spec, &kind, size, err))
		return false;
	*vectors = kind == OTP_DATA_VECTORS;
	return true;
}

bool otp_session_open_runtime(otp_config *c, otp_runtime *runtime, otp_error *err)
{
	if (!otp_runtime_open(OTP_CHOICE_NAME(otp_where, c->device),
			      OTP_CHOICE_NAME(otp_precision, c->precision), c->threads, runtime, err))
		return false;
	c->parts = otp_settings_parts(c, otp_pool_workers(runtime->pool));
	if (!c->threads)
		c->threads = otp_cores(); /* on a GPU too, where they wait for a resume on the CPU */
	return c->device != OTP_WHERE_AUTO ||
	       otp_config_set(c, "device", runtime->backend->name, "--device auto", err);
}

static bool open_sides(otp_session *s, otp_error *err)
{
	const otp_config *c = &s->config;
	if (!c->source[0])
		return otp_fail(err, "--source", "no source data set was given");
	if (!c->target[0])
		return otp_fail(err, "--target", "no target data set was given");
	s->source = otp_dataset_open_up_to(c->source, c->seed, c->max_pixels, err);
	if (!s->source)
		return false;
	s->target = otp_dataset_open_up_to(c->target, c->seed, c->max_pixels, err);
	return s->target != NULL;
}

/* Channels of both sides: asked for, equal, or grey beside colour. */
static bool settle_channels(const otp_session *s, int *channels, otp_error *err)
{
	int a = s->source_info.c, b = s->target_info.c;
	*channels = s->config.channels ? s->config.channels : a > b ? a : b;
	if (s->source_info.kind == OTP_DATA_VECTORS) {
		if (a != b || *channels != a)
			return otp_fail(err, "--target", "has vectors of %d values, the source of %d", b, a);
		return true;
	}
	/* An alpha channel is laid over white on the way in. */
	int plain_a = a == 4 ? 3 : a, plain_b = b == 4 ? 3 : b;
	if (!s->config.channels)
		*channels = plain_a > plain_b ? plain_a : plain_b;
	if (*channels != 1 && *channels != 3)
		return otp_fail(err, "--channels", "is %d, expected 1 or 3", *channels);
	if (plain_a != plain_b && plain_a != 1 && plain_b != 1)
		return otp_fail(err, "--target",
				"has %d channels, the source %d: expected equal numbers, or grey on one side",
				b, a);
	return true;
}

static bool settle_size(const otp_session *s, int *size, otp_error *err)
{
	const otp_dataset_info *a = &s->source_info, *b = &s->target_info;
	*size = s->config.image_size;
	if (*size || a->kind == OTP_DATA_VECTORS)
		return true;
	if (!a->one_size || !b->one_size || a->h != b->h || a->w != b->w)
		return otp_fail(err, "--image-size",
				"is needed: the images differ in size (source %dx%d, target %dx%d)", a->w,
				a->h, b->w, b->h);
	return true;
}

/* A preset of the other kind would train something, but nothing that it was made for. A run that goes on
 * keeps what it has. */
static bool check_preset(const otp_session *s, otp_error *err)
{
	otp_error unknown = {0};
	const otp_config *c = &s->config;
	const otp_preset *preset = otp_preset_find(c->preset, &unknown);
	bool vectors = s->source_info.kind == OTP_DATA_VECTORS;
	if (!preset || c->resume || preset->vectors == vectors)
		return true;
	return otp_fail(
	    err, "--preset", "%s is for %s, and %s holds %s; without --preset the data choose one", c->preset,
	    preset->vectors ? "vectors" : "pictures", c->source, vectors ? "vectors" : "pictures");
}

static bool shape(otp_session *s, otp_error *err)
{
	int size = 0, channels = 0;
	s->source_info = otp_dataset_describe(s->source);
	s->target_info = otp_dataset_describe(s->target);
	if (s->source_info.kind != s->target_info.kind)
		return otp_fail(err, "--target", "holds %s, the source %s",
				s->target_info.kind == OTP_DATA_IMAGES ? "images" : "vectors",
				s->source_info.kind == OTP_DATA_IMAGES ? "images" : "vectors");
	if (!check_preset(s, err) || !settle_channels(s, &channels, err) || !settle_size(s, &size, err) ||
	    !otp_dataset_shape(s->source, size, channels, err) ||
	    !otp_dataset_shape(s->target, size, channels, err))
		return false;
	s->source_info = otp_dataset_describe(s->source);
	s->target_info = otp_dataset_describe(s->target);
	return true;
}

/* Size and channels as they were found, where these are options: of square images, which --image-size makes.
 */
static void settle_form(otp_session *s)
{
	const otp_dataset_info *found = &s->source_info;
	if (found->kind == OTP_DATA_VECTORS)
		return;
	s->config.channels = found->c;
	if (found->h == found->w)
		s->config.image_size = found->h;
}

bool otp_session_plan(const otp_config *c, otp_session *s, otp_error *err)
{
	memset(s, 0, sizeof *s);
	s->config = *c;
	bool ok = open_sides(s, err) && shape(s, err) &&
		  otp_points_settle(&s->config, s->source, s->target, &s->points, err) &&
		  otp_settings_arch(&s->config, s->source_info.kind == OTP_DATA_VECTORS, s->source_info.h,
				    s->source_info.w, s->source_info.c, &s->arch, err) &&
		  otp_session_absolute_paths(&s->config, err);
	if (ok)
		otp_settings_settle(&s->config);
	if (!ok || !otp_rules_settle(&s->config, s->arch.vectors, otp_arch_values(&s->arch), err)) {
		otp_session_close(s);
		return false;
	}
	settle_form(s);
	s->objective = otp_settings_objective(&s->config, &s->arch);
	s->smoothing = c->smoothing;
	return true;
}

bool otp_session_load(otp_session *s, otp_error *err)
{
	int threads = s->config.threads ? s->config.threads : otp_cores();
	bool ok = otp_dataset_load(s->source, threads, err) && otp_dataset_load(s->target, threads, err) &&
		  otp_dataset_digest(s->source, threads, err) &&
		  otp_dataset_digest(s->target, threads, err) &&
		  otp_sigma_end_settle(&s->config, s->source, &s->sigma_end, err);
	if (!ok) {
		otp_session_close(s);
		return false;
	}
	s->source_info = otp_dataset_describe(s->source);
	s->target_info = otp_dataset_describe(s->target);
	return true;
}

bool otp_session_open(const otp_config *c, otp_session *s, otp_error *err)
{
	return otp_session_plan(c, s, err) && otp_session_load(s, err);
}

/* Of a source's first samples: rms distance from their mean, of whole vectors and of single values. */
static bool measure_spread(const otp_dataset *set, double *whole, double *single, otp_error *err)
{
	otp_dataset_info info = otp_dataset_describe(set);
	size_t d = (size_t)info.c, n = info.count && info.count < 1000 ? (size_t)info.count : 1000;
	float *x = otp_calloc(n * d, sizeof *x);
	bool ok = true;
	for (size_t i = 0; ok && i < n; i++)
		ok = otp_dataset_get(set, i, 0, x + i * d, err);
	double variance = otp_variance(x, n, d);
	*whole = sqrt(variance);
	*single = sqrt(variance / (double)d);
	otp_free(x);
	return ok;
}

bool otp_session_hint(const otp_session *s, otp_error *err)
{
	const double small = 0.1, large = 10;
	double whole = 1, single = 1;
	if (s->source_info.digest == s->target_info.digest && s->source_info.count)
		otp_log("source and target are the same set: the best plan moves nothing");
	if (s->source_info.kind == OTP_DATA_VECTORS && !measure_spread(s->source, &whole, &single, err))
		return false;
	if (s->config.scale == 1 && (whole < small || single > large))
		otp_log("the source's values spread by %.3g about their mean, while sigma (from %g) and tau "
			"(%g) suit a "
			"spread of about 1: scale source and target alike, or set these",
			whole < small ? whole : single, s->config.sigma_start, s->config.tau);
	return true;
}

const char *otp_session_count(const otp_dataset_info *info, char text[OTP_COUNT_TEXT])
{
	snprintf(text, OTP_COUNT_TEXT, "%lld samples", (long long)info->count);
	return info->count ? text : "generated";
}

void otp_session_close(otp_session *s)
{
	if (s->source)
		otp_dataset_close(s->source);
	if (s->target)
		otp_dataset_close(s->target);
	memset(s, 0, sizeof *s);
}
