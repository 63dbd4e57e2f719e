#include "train/session.h"
#include "config/rules.h"
#include "core/file.h"
#include "core/log.h"
#include "core/words.h"
#include "data/root.h"
#include "data/spec.h"
#include "ot/distance.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* NULL: nothing. */
static bool put_text(char to[OTP_TEXT_BYTES], const char *text, otp_error *err)
{
	return snprintf(to, OTP_TEXT_BYTES, "%s", text ? text : "") < OTP_TEXT_BYTES ||
	       otp_fail(err, text, "is too long, expected less than %d bytes", OTP_TEXT_BYTES);
}

/* One side of --data. */
static bool put_half(char to[OTP_TEXT_BYTES], const otp_spec *data, const char *half, otp_error *err)
{
	char *text = otp_spec_with(data, half);
	bool ok = put_text(to, text, err);
	otp_free(text);
	return ok;
}

static bool resolve_colorize(otp_config *c, otp_error *err)
{
	otp_spec data;
	if (c->source[0] || c->target[0] || c->dataroot[0])
		return otp_fail(err, "--data", "cannot be combined with --source, --target or --dataroot");
	if (!otp_spec_parse(c->data, &data, err))
		return false;
	bool ok = !data.grey && data.colour == OTP_COLOUR_NONE && data.parts == 1;
	if (!ok)
		otp_fail(
		    err, "--data",
		    "has grey, colorize or part with it, which --task colorize decides itself; give --source "
		    "and --target");
	ok = ok && put_half(c->source, &data, "part=1/2&grey", err) &&
	     put_half(c->target, &data, "part=2/2", err);
	otp_spec_free(&data);
	/* As with --dataroot: what it stood for is said now. */
	c->data[0] = 0;
	return ok;
}

bool otp_session_resolve_data(otp_config *c, otp_error *err)
{
	if (c->data[0] && c->task == OTP_TASK_NONE)
		return otp_fail(err, "--data", "needs --task colorize with it, or is meant as --source");
	if (c->task != OTP_TASK_NONE && !c->data[0])
		return otp_fail(err, "--task", "needs --data with it");
	if (c->data[0])
		return resolve_colorize(c, err);
	if (!c->dataroot[0])
		return c->direction == OTP_DIRECTION_A_TO_B ||
		       otp_fail(err, "--direction",
				"needs --dataroot with it; else exchange --source and --target");
	if (c->source[0] || c->target[0])
		return otp_fail(err, "--dataroot", "cannot be combined with --source or --target");
	int from = c->direction == OTP_DIRECTION_A_TO_B ? 0 : 1, to = 1 - from;
	otp_root root;
	if (!otp_root_find(c->dataroot, &root, err))
		return false;
	bool ok = put_text(c->source, root.train[from], err) && put_text(c->target, root.train[to], err) &&
		  (*c->test_source || put_text(c->test_source, root.test[from], err)) &&
		  (*c->test_target || put_text(c->test_target, root.test[to], err));
	otp_root_free(&root);
	if (!ok)
		return false;
	/* What it stood for is said now; kept beside it, it would contradict --source when read back. */
	c->dataroot[0] = 0;
	c->direction = OTP_DIRECTION_A_TO_B;
	return true;
}

bool otp_session_find_data(const otp_config *c, otp_error *err)
{
	if (otp_dataset_exists(c->source) || otp_dataset_exists(c->target))
		return true;
	int source = (int)strcspn(c->source, "?"), target = (int)strcspn(c->target, "?");
	if (source == target && strncmp(c->source, c->target, (size_t)source) == 0) {
		char *place = otp_format("%.*s", source, c->source);
		otp_fail(err, place, "no such file or folder");
		otp_free(place);
		return false;
	}
	return otp_fail(err, c->source, "no such file or folder, nor is there %s (--source and --target)",
			c->target);
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
	       make_absolute(c->test_source, "--test-source", err) &&
	       make_absolute(c->test_target, "--test-target", err) && make_absolute(c->from, "--from", err);
}

bool otp_session_look(const char *spec, bool *vectors, int *size, otp_error *err)
{
	otp_data_kind kind;
	if (!otp_dataset_look(spec, &kind, size, err))
		return false;
	*vectors = kind == OTP_DATA_VECTORS;
	return true;
}

/* Whoever starts several processes with MPI does not mean the one GPU that auto would find. */
static otp_where settle_device(const otp_config *c, const otp_group *group)
{
	if (!group || c->device != OTP_WHERE_AUTO)
		return c->device;
	return otp_group_on_gpus(group) ? OTP_WHERE_CUDA : OTP_WHERE_CPU;
}

static bool open_device(const otp_config *c, otp_group *group, otp_runtime *runtime, otp_error *err)
{
	otp_where where = settle_device(c, group);
	int threads = group && !c->threads ? otp_group_threads(group) : c->threads;
	if (!otp_runtime_open(OTP_CHOICE_NAME(otp_where, where), otp_group_neighbour(group),
			      OTP_CHOICE_NAME(otp_precision, c->precision), threads, runtime, err))
		return false;
	runtime->group = group;
	return true;
}

bool otp_session_open_runtime(otp_config *c, bool vectors, otp_group *group, otp_runtime *runtime,
			      otp_error *err)
{
	if (!otp_group_agree(group, open_device(c, group, runtime, err), err))
		return false;
	if (!otp_runtime_connect(runtime, c->process_timeout, err))
		return false;
	if (!otp_group_agree(group, otp_runtime_settle(runtime, vectors, OTP_RUNTIME_TRAINS, err), err))
		return false;
	c->precision = runtime->precision;
	int workers = otp_pool_workers(runtime->pool);
	otp_group_set_workers(group, workers);
	c->parts =
	    otp_settings_parts(c, group ? otp_group_workers_before(group, otp_group_size(group)) : workers);
	if (!c->threads)
		c->threads =
		    group ? workers : otp_cores(); /* on a GPU too, where they wait for a resume on the CPU */
	return c->device != OTP_WHERE_AUTO ||
	       otp_config_set(c, "device", runtime->backend->name, "--device auto", err);
}

/* A tenth at most, so that small sets lose little; fewer than LEAST measure nothing. */
static void withhold(otp_session *s, otp_dataset *d, otp_side side)
{
	enum { SHARE = 10, LEAST = 16 };
	otp_dataset_info info = otp_dataset_describe(d);
	int64_t most = s->config.withhold, tenth = info.count / SHARE, withheld = most < tenth ? most : tenth;
	bool files = info.listed > 0;
	if (s->test[side] || (files && withheld < LEAST))
		return;
	s->withheld[side] = files ? withheld : 0;
	otp_dataset_withhold(d, s->config.seed, files ? withheld : most);
}

/* Of a run that goes on, which may find its data at another place. */
static bool still_there(const otp_config *c, otp_error *err)
{
	const struct {
		const char *spec, *option;
	} sets[] = {{c->source, "--source"},
		    {c->target, "--target"},
		    {c->test_source, "--test-source"},
		    {c->test_target, "--test-target"}};
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
		if (sets[i].spec[0] && !otp_dataset_exists(sets[i].spec))
			return otp_fail(err, sets[i].spec,
					"no such file or folder; %s says where it lies now", sets[i].option);
	return true;
}

static bool open_sides(otp_session *s, otp_error *err)
{
	const otp_config *c = &s->config;
	if (!c->source[0])
		return otp_fail(err, "--source", "no source data set was given");
	if (!c->target[0])
		return otp_fail(err, "--target", "no target data set was given");
	if (c->resume ? !still_there(c, err) : !otp_session_find_data(c, err))
		return false;
	s->source = otp_dataset_open_up_to(c->source, c->seed, c->max_pixels, err);
	if (!s->source)
		return false;
	s->target = otp_dataset_open_up_to(c->target, c->seed, c->max_pixels, err);
	if (!s->target)
		return false;
	const char *tests[] = {[OTP_SOURCE] = c->test_source, [OTP_TARGET] = c->test_target};
	for (otp_side side = 0; side < OTP_SIDES; side++)
		if (tests[side][0]) {
			s->test[side] = otp_dataset_open_up_to(tests[side], c->seed, c->max_pixels, err);
			if (!s->test[side])
				return false;
		}
	withhold(s, s->source, OTP_SOURCE);
	withhold(s, s->target, OTP_TARGET);
	return true;
}

/* Channels of both sides: asked for, equal, or grey beside colour. */
static bool settle_channels(const otp_session *s, int *channels, otp_error *err)
{
	int a = s->source_info.c, b = s->target_info.c;
	*channels = s->config.channels ? s->config.channels : a > b ? a : b;
	if (s->source_info.kind == OTP_DATA_VECTORS) {
		if (a != b || *channels != a)
			return otp_fail(err, "--target", "has vectors of %d value%s, the source of %d", b,
					otp_plural(b), a);
		return true;
	}
	/* An alpha channel is laid over white on the way in. */
	int plain_a = a == 4 ? 3 : a, plain_b = b == 4 ? 3 : b;
	if (!s->config.channels)
		*channels = plain_a > plain_b ? plain_a : plain_b;
	if (*channels != 1 && *channels != 3)
		return otp_fail(err, "--channels", "is %d, expected 1 or 3", *channels);
	if (plain_a != plain_b && plain_a != 1 && plain_b != 1)
		return otp_fail(
		    err, "--target",
		    "has %d channel%s, the source %d: expected equal numbers, or grey on one side", b,
		    otp_plural(b), a);
	return true;
}

/* Whether there are colours to be learned, of pictures as stored. */
static bool check_task(const otp_session *s, otp_error *err)
{
	const otp_dataset_info *source = &s->source_info, *target = &s->target_info;
	if (s->config.task != OTP_TASK_COLORIZE)
		return true;
	if (source->kind == OTP_DATA_VECTORS)
		return otp_fail(err, "--task", "colorize is for images, %s holds vectors", source->spec);
	if (source->colour != OTP_COLOUR_NONE)
		return otp_fail(err, "--task", "colorize needs pictures, %s draws its own colours",
				source->spec);
	if (s->config.channels == 1)
		return otp_fail(err, "--channels", "is 1, which leaves no colours for --task colorize");
	return target->c > 1 ||
	       otp_fail(err, "--task", "colorize needs pictures in colour, %s holds grey ones alone",
			target->spec);
}

static const char *size_of(const otp_dataset_info *set, char text[OTP_SIZE_TEXT])
{
	return set->one_size ? otp_size_text((otp_size){.w = set->w, .h = set->h}, text) : "of several sizes";
}

/* Images come out in one size: asked for, windows of it, or that of both sets. Where the source has no
 * colours, what takes its place has none either. */
static bool settle_preprocessing(otp_session *s, int channels, otp_error *err)
{
	const otp_dataset_info *a = &s->source_info, *b = &s->target_info;
	const otp_config *c = &s->config;
	s->preprocessing = (otp_preprocessing){.size = c->image_size,
					       .crop = c->crop,
					       .aspect = c->aspect,
					       .filter = c->resize,
					       .grey = a->grey && channels == 3};
	if (c->image_size.h || c->crop.h || a->kind == OTP_DATA_VECTORS)
		return true;
	if (!a->one_size || !b->one_size || a->h != b->h || a->w != b->w)
		return otp_fail(err, "--image-size",
				"or --crop is needed: the images differ in size (source %s, target %s)",
				size_of(a, (char[OTP_SIZE_TEXT]){0}), size_of(b, (char[OTP_SIZE_TEXT]){0}));
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

static bool shape_side(otp_dataset *d, const otp_session *s, otp_side side, int channels, otp_error *err)
{
	otp_preprocessing target = otp_preprocessing_of_target(&s->preprocessing);
	return otp_dataset_shape(d, side == OTP_TARGET ? &target : &s->preprocessing, channels, err);
}

/* Test sets take the form of what is trained on. */
static bool shape_tests(otp_session *s, int channels, otp_error *err)
{
	static const char *const NAMES[] = {[OTP_SOURCE] = "--test-source", [OTP_TARGET] = "--test-target"};
	const otp_dataset_info *as = &s->source_info;
	for (otp_side side = 0; side < OTP_SIDES; side++) {
		if (!s->test[side])
			continue;
		if (otp_dataset_describe(s->test[side]).kind != as->kind)
			return otp_fail(err, NAMES[side], "holds %s, the training's sets hold %s",
					as->kind == OTP_DATA_IMAGES ? "vectors" : "images",
					as->kind == OTP_DATA_IMAGES ? "images" : "vectors");
		if (!shape_side(s->test[side], s, side, channels, err))
			return false;
		otp_dataset_info is = otp_dataset_describe(s->test[side]);
		if (is.h != as->h || is.w != as->w || is.c != as->c)
			return otp_fail(err, NAMES[side],
					"holds samples of %dx%dx%d, the training's sets of %dx%dx%d%s", is.h,
					is.w, is.c, as->h, as->w, as->c,
					as->kind == OTP_DATA_IMAGES ? ": give --image-size" : "");
		if (is.count == 1)
			return otp_fail(err, NAMES[side], "has one sample, at least 2 are needed");
	}
	return true;
}

static bool shape(otp_session *s, otp_error *err)
{
	int channels = 0;
	s->source_info = otp_dataset_describe(s->source);
	s->target_info = otp_dataset_describe(s->target);
	if (s->source_info.kind != s->target_info.kind)
		return otp_fail(err, "--target", "holds %s, the source %s",
				s->target_info.kind == OTP_DATA_IMAGES ? "images" : "vectors",
				s->source_info.kind == OTP_DATA_IMAGES ? "images" : "vectors");
	if (!check_task(s, err) || !check_preset(s, err) || !settle_channels(s, &channels, err) ||
	    !settle_preprocessing(s, channels, err) || !shape_side(s->source, s, OTP_SOURCE, channels, err) ||
	    !shape_side(s->target, s, OTP_TARGET, channels, err))
		return false;
	s->source_info = otp_dataset_describe(s->source);
	s->target_info = otp_dataset_describe(s->target);
	return shape_tests(s, channels, err);
}

/* Size and channels as they were found; with --crop, images may keep sizes of their own. */
static void settle_form(otp_session *s)
{
	const otp_dataset_info *found = &s->source_info;
	if (found->kind == OTP_DATA_VECTORS)
		return;
	s->config.channels = found->c;
	if (!s->config.crop.h)
		s->config.image_size = (otp_size){found->h, found->w};
	s->preprocessing.size = s->config.image_size;
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
		  (!s->test[OTP_SOURCE] || otp_dataset_load(s->test[OTP_SOURCE], threads, err)) &&
		  (!s->test[OTP_TARGET] || otp_dataset_load(s->test[OTP_TARGET], threads, err)) &&
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
	if (s->config.scale == 1 && whole < OTP_POINTS_SAME)
		otp_log("the source's points are all the same, or apart by less than %g: all inputs are one "
			"to the "
			"networks, so outputs differ by noise alone. If they should differ, look whether the "
			"right columns were taken, or multiply source and target by one number",
			OTP_POINTS_SAME);
	else if (s->config.scale == 1 && (whole < small || single > large))
		otp_log("the source's values spread by %.3g about their mean, while sigma (from %g) and tau "
			"(%g) suit a "
			"spread of about 1: scale source and target alike, or set these",
			whole < small ? whole : single, s->config.sigma_start, s->config.tau);
	return true;
}

/* ---- held-out samples ---- */

static const otp_dataset *trained_on(const otp_session *s, otp_side side)
{
	return side == OTP_TARGET ? s->target : s->source;
}

const otp_dataset *otp_session_measured(const otp_session *s, otp_side side)
{
	return s->test[side] ? s->test[side] : trained_on(s, side);
}

otp_held otp_session_held(const otp_session *s, otp_side side)
{
	otp_dataset_info info = otp_dataset_describe(trained_on(s, side));
	return s->test[side] ? OTP_HELD_TEST
	       : info.fresh  ? OTP_HELD_FRESH
			     : (info.withheld ? OTP_HELD_WITHHELD : OTP_HELD_NOTHING);
}

bool otp_session_holds_out(const otp_session *s)
{
	return otp_session_held(s, OTP_SOURCE) != OTP_HELD_NOTHING &&
	       otp_session_held(s, OTP_TARGET) != OTP_HELD_NOTHING;
}

const char *otp_session_measured_on(const otp_session *s)
{
	bool source = otp_session_held(s, OTP_SOURCE) != OTP_HELD_NOTHING,
	     target = otp_session_held(s, OTP_TARGET) != OTP_HELD_NOTHING;
	return source && target ? "held-out samples"
	       : source		? "held-out sources, and targets that were trained on"
	       : target		? "sources that were trained on, and held-out targets"
				: "samples that were trained on";
}

static char *held_text(const otp_session *s, otp_side side)
{
	otp_dataset_info info = otp_dataset_describe(otp_session_measured(s, side));
	char count[OTP_COUNT_TEXT];
	switch (otp_session_held(s, side)) {
	case OTP_HELD_TEST:
		return otp_format("%s of %s", otp_session_count(&info, count), info.spec);
	case OTP_HELD_FRESH:
		return otp_strdup("fresh samples");
	case OTP_HELD_WITHHELD:
		return otp_format("%lld of %lld samples, withheld from training", (long long)info.withheld,
				  (long long)(info.count + info.withheld));
	default:
		return otp_strdup(s->config.withhold ? "samples that are trained on (too few to withhold any)"
						     : "samples that are trained on (--withhold 0)");
	}
}

char *otp_session_held_text(const otp_session *s)
{
	char *source = held_text(s, OTP_SOURCE), *target = held_text(s, OTP_TARGET);
	char *text = otp_format("source %s; target %s", source, target);
	otp_free(source);
	otp_free(target);
	return text;
}

const char *otp_session_count(const otp_dataset_info *info, char text[OTP_COUNT_TEXT])
{
	snprintf(text, OTP_COUNT_TEXT, "%lld sample%s", (long long)info->count, otp_plural(info->count));
	return info->count ? text : "generated";
}

void otp_session_close(otp_session *s)
{
	if (s->source)
		otp_dataset_close(s->source);
	if (s->target)
		otp_dataset_close(s->target);
	for (otp_side side = 0; side < OTP_SIDES; side++)
		otp_dataset_close(s->test[side]);
	memset(s, 0, sizeof *s);
}
