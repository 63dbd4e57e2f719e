/* samples: a data set's samples, from a source's raw ones to what networks see.
 *
 * A sample passes two stages. `settle` (decode, channels, size) depends on the
 * index alone and is what stays in memory; `finish` (hue, brightness, repetition of
 * grey) is cheap, depends on the draw, and is done for every batch, of a window where
 * samples are windows.
 */
#include "data/inside.h"

#include "core/log.h"
#include "core/mapped.h"
#include "core/memory.h"
#include "core/tally.h"
#include "core/words.h"
#include "scalar.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 4096 };

/* What shape decided, and what load read. */
void otp_dataset_forget(otp_dataset *d)
{
	for (int64_t i = 0; d->kept_apart && i < d->apart_count; i++)
		otp_image_free(&d->kept_apart[i]);
	otp_free(d->kept_apart);
	otp_free(d->kept);
	otp_free(d->broken);
	d->kept_apart = NULL;
	d->kept = NULL;
	d->broken = NULL;
	d->kept_bytes = 0;
	d->loaded = false;
	d->exact = d->streamed;
}

/* ---- the first stage ------------------------------------------------------------- */

/* A file may be another one since it was opened. */
static bool keeps_size(const otp_dataset *d, uint64_t index, const otp_image *image, otp_error *err)
{
	char name[256];
	bool any = d->how.size.h || !d->source->h;
	return any || (image->h == d->source->h && image->w == d->source->w) ||
	       otp_fail(err, otp_dataset_name(d, index, name, sizeof name),
			"is %d x %d now, %d x %d when it was opened (height x width)", image->h, image->w,
			d->source->h, d->source->w);
}

/* Channels and size are made over as floats, which take more than the file's picture did. */
static bool can_reshape(const otp_dataset *d, uint64_t index, const otp_image *image, otp_error *err)
{
	const size_t small = (size_t)64 << 20;
	otp_size picture = {image->h, image->w};
	if (image->c == d->settled_c && otp_size_equal(otp_preprocessing_size(&d->how, picture), picture))
		return true;
	size_t pixels = otp_mul_size((size_t)image->h, (size_t)image->w);
	size_t needed = otp_mul_size(pixels, (size_t)(image->c + 2 * d->settled_c) * sizeof(float));
	char name[256];
	return needed <= small || otp_memory_can_have(needed) ||
	       otp_fail_memory(err, otp_dataset_name(d, index, name, sizeof name), needed,
			       "a picture as floats", otp_memory_available());
}

static bool settle(const otp_dataset *d, uint64_t index, otp_image *image, otp_error *err)
{
	if (!d->source->ops->read(d->source, otp_dataset_number(d, index), image, err))
		return false;
	if (d->source->kind == OTP_DATA_VECTORS || d->own)
		return true;
	bool bytes = image->u8 != NULL;
	if (!keeps_size(d, index, image, err) || !can_reshape(d, index, image, err)) {
		otp_image_free(image);
		return false;
	}
	if (image->c != d->settled_c)
		otp_image_to_channels(image, d->settled_c);
	otp_preprocessing_apply(&d->how, image);
	if (bytes)
		otp_image_to_bytes(image);
	return true;
}

/* Whichever thread met it first names it. */
void otp_dataset_leave_out(const otp_dataset *d, uint64_t index, const char *why)
{
	char name[NAME_BYTES];
	if (atomic_exchange(&d->broken[index], 1))
		return;
	pthread_mutex_lock(d->lock);
	otp_source_skip(d->source, otp_dataset_name(d, index, name, sizeof name), why);
	pthread_mutex_unlock(d->lock);
}

typedef struct filling {
	otp_dataset *d;
	size_t sample_bytes;
	char **why; /* (count + withheld) what is wrong with samples that cannot be decoded */
	otp_tally *tally;
	atomic_int_fast64_t next;
	otp_error refused; /* the first read that the machine refused */
} filling;

static void note_refused(filling *f, const otp_error *trouble)
{
	pthread_mutex_lock(f->d->lock);
	if (!f->refused.exit_code)
		f->refused = *trouble;
	pthread_mutex_unlock(f->d->lock);
	atomic_store(&f->next, otp_dataset_all(f->d)); /* nobody reads on */
}

static void fill(void *argument, int worker)
{
	(void)worker;
	filling *f = argument;
	for (int64_t i; (i = atomic_fetch_add(&f->next, 1)) < otp_dataset_all(f->d);) {
		otp_error trouble = {0};
		otp_image image = {0};
		if (!settle(f->d, (uint64_t)i, &image, &trouble) && otp_source_refused(&trouble))
			note_refused(f, &trouble);
		else if (trouble.exit_code)
			f->why[i] = otp_strdup(trouble.text);
		else if (f->d->kept)
			memcpy(f->d->kept + (size_t)i * f->sample_bytes, image.u8, f->sample_bytes);
		if (f->d->kept_apart)
			f->d->kept_apart[i] = image;
		else
			otp_image_free(&image);
		otp_tally_add(f->tally, 1);
	}
}

/* Name the broken files, in their order, and close the gaps that they leave. */
static bool close_gaps(otp_dataset *d, size_t sample_bytes, char *const *why, otp_error *err)
{
	int64_t good = 0, all = otp_dataset_all(d), count = 0;
	for (int64_t i = 0; i < all; i++)
		if (why[i])
			otp_dataset_leave_out(d, (uint64_t)i, why[i]);
	for (int64_t i = 0; i < all; i++) {
		if (d->broken[i])
			continue;
		count += i < d->count;
		if (good < i) {
			d->chosen[good] = d->chosen[i];
			if (d->kept)
				memcpy(d->kept + (size_t)good * sample_bytes,
				       d->kept + (size_t)i * sample_bytes, sample_bytes);
			if (d->kept_apart) {
				d->kept_apart[good] = d->kept_apart[i];
				d->kept_apart[i] = (otp_image){0};
			}
		}
		d->broken[good++] = 0;
	}
	d->count = count;
	d->withheld = good - count;
	otp_dataset_recount(d);
	return count > 0 ||
	       otp_fail(err, d->spec.text, "none of its images can be decoded; the first trouble: %s",
			d->source->left_out[0].why);
}

static bool stores_bytes(const otp_source *s)
{
	return s->kind == OTP_DATA_IMAGES && s->count > 0 && !s->scaled;
}

/* Of a settled picture; where sizes differ, the mean over the source, and what the smallest are enlarged to.
 */
static size_t settled_values(const otp_dataset *d)
{
	const otp_data_survey *all = &d->survey;
	size_t pixels = (size_t)d->whole.h * (size_t)d->whole.w;
	if (!pixels) {
		size_t least = (size_t)d->how.crop.h * (size_t)d->how.crop.w;
		pixels = (size_t)(all->pixels / d->count + 1);
		pixels = pixels < least ? least : pixels;
	}
	return otp_mul_size(pixels, (size_t)d->settled_c);
}

/* Bytes are worth keeping where a read costs more than a copy, and where half
 * of what the machine can spare holds them. */
static size_t bytes_to_keep(const otp_dataset *d)
{
	const otp_source *s = d->source;
	bool reshaped = s->h != d->whole.h || s->w != d->whole.w;
	if (!stores_bytes(s) || !(s->costly || reshaped || s->c != d->settled_c) || !d->spec.keep ||
	    (size_t)otp_dataset_all(d) > otp_memory_available() / 2 / settled_values(d))
		return 0;
	return otp_mul_size((size_t)otp_dataset_all(d), settled_values(d));
}

/* Decode every sample, into memory where that is kept, and leave out those that cannot be decoded. */
static bool read_through(otp_dataset *d, int threads, otp_error *err)
{
	int64_t count = otp_dataset_all(d);
	filling f = {.d = d, .sample_bytes = (size_t)d->whole.h * (size_t)d->whole.w * (size_t)d->settled_c};
	f.why = otp_calloc((size_t)count, sizeof *f.why);
	otp_pool *pool = otp_dataset_team(d, threads, err);
	char *what = otp_format("%s: decoded", d->spec.text);
	f.tally = otp_tally_new(what, 0, count);
	if (pool)
		otp_pool_run(pool, fill, &f);
	otp_pool_free(pool);
	otp_mapped_rest();
	otp_tally_free(f.tally);
	otp_free(what);
	bool ok = pool != NULL;
	if (ok && f.refused.exit_code) {
		*err = f.refused;
		ok = false;
	}
	ok = ok && close_gaps(d, f.sample_bytes, f.why, err);
	for (int64_t i = 0; i < count; i++)
		otp_free(f.why[i]);
	otp_free(f.why);
	return ok;
}

/* Which channels come out, and which are kept until then. grey: of what comes out there is but one. */
static bool settle_channels(otp_dataset *d, int channels, bool grey, otp_error *err)
{
	const otp_source *s = d->source;
	const char *where = d->spec.text;
	int natural = otp_dataset_natural_channels(d);
	if (s->kind == OTP_DATA_VECTORS) {
		if (channels && channels != s->c)
			return otp_fail(err, where, "holds vectors of dimension %d, %d expected", s->c,
					channels);
		d->c = d->settled_c = s->c;
		return true;
	}
	d->c = channels ? channels : natural;
	bool plain = s->c == 1 || s->c == 3 || s->c == 4;
	if (!plain && d->c != s->c)
		return otp_fail(err, where,
				"has images of %d channels, which cannot become %d; 1, 3 and 4 can", s->c,
				d->c);
	if (plain && d->c != 1 && d->c != 3 && d->c != 4)
		return otp_fail(err, where,
				"has images of %d channel%s, which cannot become %d; expected 1, 3 or 4",
				s->c, otp_plural(s->c), d->c);
	if (d->colour != OTP_COLOUR_NONE && d->c == 1)
		return otp_fail(err, where, "is coloured, 1 channel was asked for: leave --channels at 3");
	if (!plain)
		d->settled_c = s->c;
	else if (d->colour != OTP_COLOUR_NONE || d->spec.grey || grey)
		d->settled_c = 1;
	else if (d->c == 3)
		d->settled_c = s->c == 1 ? 1 : 3;
	else
		d->settled_c = d->c;
	return true;
}

static bool fail_sizes(const otp_dataset *d, otp_error *err)
{
	const otp_data_survey *all = &d->survey;
	return otp_fail(err, d->spec.text,
			"has images of several sizes, from %d x %d to %d x %d (height x width): give "
			"--image-size",
			all->h_min, all->w_min, all->h_max, all->w_max);
}

/* Of settled pictures and of samples. own: samples are pictures as stored. */
static bool settle_sizes(otp_dataset *d, const otp_preprocessing *how, bool own, otp_error *err)
{
	const otp_source *s = d->source;
	otp_size stored = {s->h, s->w};
	bool images = s->kind == OTP_DATA_IMAGES;
	d->own = own && images;
	d->how = images && !own ? *how : (otp_preprocessing){.grey = images && how->grey};
	if (!d->how.size.h && !d->how.crop.h && !d->own && s->h == 0)
		return fail_sizes(d, err);
	d->whole = d->how.size.h || s->h ? otp_preprocessing_size(&d->how, stored) : stored;
	OTP_ASSERT(!d->whole.h || (d->how.crop.h <= d->whole.h && d->how.crop.w <= d->whole.w),
		   "windows of %dx%d in %dx%d", d->how.crop.w, d->how.crop.h, d->whole.w, d->whole.h);
	otp_size sample = d->how.crop.h ? d->how.crop : d->whole;
	d->h = sample.h;
	d->w = sample.w;
	return true;
}

static bool shape(otp_dataset *d, const otp_preprocessing *how, int channels, bool own, otp_error *err)
{
	otp_source *s = d->source;
	int larger = how->size.h > how->size.w ? how->size.h : how->size.w;
	otp_dataset_forget(d);
	if (!settle_channels(d, channels, how->grey, err) ||
	    (s->ops->prepare && !s->ops->prepare(s, larger, err)) || !settle_sizes(d, how, own, err))
		return false;
	if (d->chosen)
		d->broken = otp_calloc((size_t)otp_dataset_all(d), sizeof *d->broken);
	d->prepared = true;
	d->kept_bytes = d->own ? 0 : bytes_to_keep(d);
	return true;
}

void otp_dataset_stream(otp_dataset *d)
{
	d->spec.keep = false;
	d->streamed = true;
}

void otp_dataset_allow_odd(otp_dataset *d) { d->spec.odd_allowed = true; }

bool otp_dataset_shape(otp_dataset *d, const otp_preprocessing *p, int channels, otp_error *err)
{
	return shape(d, p, channels, false, err);
}

/* What was chosen where something else could have been meant. */
static void say_choices(const otp_dataset *d)
{
	const otp_source *s = d->source;
	bool images = s->kind == OTP_DATA_IMAGES, ranged = images && s->scaled && s->low < s->high;
	if (s->beside)
		otp_log("%s: reads %s, the first; to read another of %s, write '%s:%.*s'", d->spec.text,
			s->set, s->beside, d->spec.place, (int)strcspn(s->beside, ","), s->beside);
	if (ranged)
		otp_log("%s: %s; values from %.9g to %.9g are read as %g..%g (range=)%s", d->spec.text,
			s->stored, s->least, s->most, s->low, s->high,
			s->least < s->low || s->most > s->high ? ", cut off there" : "");
	else if (s->channel_axis)
		otp_log("%s: %s", d->spec.text, s->stored);
}

bool otp_dataset_load(otp_dataset *d, int threads, otp_error *err)
{
	otp_source *s = d->source;
	OTP_ASSERT(d->prepared, "otp_dataset_shape comes first");
	if (d->loaded)
		return true;
	if ((s->ops->load && !s->ops->load(s, err)) || (s->scaled && !otp_dataset_digest(d, threads, err)))
		return false;
	say_choices(d);
	d->loaded = true;
	if (!d->kept_bytes)
		return true;
	if (d->whole.h)
		d->kept = otp_try_calloc(d->kept_bytes, 1);
	else if (otp_memory_can_have(d->kept_bytes))
		d->kept_apart =
		    otp_calloc((size_t)(d->apart_count = otp_dataset_all(d)), sizeof *d->kept_apart);
	if (!d->kept && !d->kept_apart)
		return otp_fail_memory(err, d->spec.text, d->kept_bytes,
				       "its decoded pictures (?keep=off takes none)", otp_memory_available());
	return read_through(d, threads, err);
}

bool otp_dataset_prepare_own(otp_dataset *d, const otp_preprocessing *p, int channels, int threads,
			     otp_error *err)
{
	return shape(d, p, channels, true, err) && otp_dataset_load(d, threads, err);
}

bool otp_dataset_sieve(otp_dataset *d, int threads, otp_error *err)
{
	OTP_ASSERT(d->loaded, "otp_dataset_load comes first");
	d->exact = true;
	/* What is kept was decoded; the rows of an array need no decoding. */
	return d->kept || d->kept_apart || !d->source->costly || !d->chosen || read_through(d, threads, err);
}

bool otp_dataset_prepare(otp_dataset *d, const otp_preprocessing *p, int channels, int threads,
			 otp_error *err)
{
	return otp_dataset_shape(d, p, channels, err) && otp_dataset_load(d, threads, err);
}

/* ---- the second stage ------------------------------------------------------------ */

static double hue_of(const otp_dataset *d, uint64_t number, uint32_t draw)
{
	const double turn = 2 * OTP_PI;
	if (d->spec.hue >= 0)
		return turn * d->spec.hue;
	uint64_t key = d->seed ^ (number >> 32) * UINT64_C(0x9e3779b97f4a7c15);
	return turn *
	       (double)otp_random_uniform(otp_stream_make(key, (uint32_t)number, draw), OTP_PURPOSE_HUE, 0);
}

/* Settled grey to the coloured, dimmed or repeated channels that come out. */
static void spread_grey(const otp_dataset *d, const otp_image *in, const float factor[3], float *out)
{
	size_t pixels = (size_t)in->h * (size_t)in->w, c = (size_t)d->c;
	for (size_t i = 0; i < pixels; i++) {
		float v = in->u8 ? otp_byte_value(in->u8[i]) : in->f32[i];
		for (size_t k = 0; k < c; k++)
			out[i * c + k] = k == 3 ? 1 : factor[k] == 1 ? v : factor[k] * (v + 1) - 1;
	}
}

static void finish(const otp_dataset *d, const otp_image *in, uint64_t number, uint32_t draw, float *out)
{
	size_t values = otp_image_values(in);
	float brightness = (float)d->brightness, factor[3] = {1, 1, 1};
	if (d->source->kind == OTP_DATA_VECTORS) {
		OTP_ASSERT(in->f32, "vectors are floats");
		memcpy(out, in->f32, values * sizeof *out);
		return;
	}
	if (d->colour != OTP_COLOUR_NONE)
		otp_colour_factors(d->colour, hue_of(d, number, draw), factor);
	if (d->how.grey && d->colour != OTP_COLOUR_NONE)
		factor[0] = factor[1] = factor[2] =
		    0.299f * factor[0] + 0.587f * factor[1] + 0.114f * factor[2];
	for (int k = 0; k < 3; k++)
		factor[k] *= brightness;
	if (in->c == 1) {
		spread_grey(d, in, factor, out);
		return;
	}
	if (in->u8)
		otp_image_floats(in->u8, values, out);
	else
		memcpy(out, in->f32, values * sizeof *out);
	for (size_t i = 0; brightness != 1 && i < values; i++)
		if (in->c != 4 || i % 4 != 3) /* alpha has no brightness */
			out[i] = brightness * (out[i] + 1) - 1;
}

/* A sample that can be read: `index` itself, or, in training, the next good one. None of those that are
 * withheld stands in for one that is not. */
static bool settle_or_next(const otp_dataset *d, uint64_t *index, otp_image *image, otp_error *err)
{
	if (!d->broken || d->exact)
		return settle(d, *index, image, err);
	bool withheld = *index >= (uint64_t)d->count;
	uint64_t first = withheld ? (uint64_t)d->count : 0,
		 count = (uint64_t)(withheld ? d->withheld : d->count);
	for (uint64_t tries = 0; tries < count; tries++) {
		otp_error trouble = {0};
		if (!d->broken[*index]) {
			if (settle(d, *index, image, &trouble))
				return true;
			if (otp_source_refused(&trouble)) {
				*err = trouble;
				return false;
			}
			otp_dataset_leave_out(d, *index, trouble.text);
		}
		*index = first + (*index - first + 1) % count;
	}
	return otp_fail(err, d->spec.text, "none of its images can be decoded any more");
}

/* Picture `index` settled; the pixels may belong to the set. */
static bool take(const otp_dataset *d, uint64_t *index, otp_image *image, otp_error *err)
{
	OTP_ASSERT(d->loaded, "otp_dataset_prepare comes first");
	if (d->kept_apart) {
		*image = d->kept_apart[*index];
		image->owned = NULL;
		return true;
	}
	*image = (otp_image){.h = d->whole.h, .w = d->whole.w, .c = d->settled_c};
	if (!d->kept)
		return settle_or_next(d, index, image, err);
	image->u8 = d->kept + (size_t)*index * otp_image_values(image);
	return true;
}

/* From 0 to `room`, by a random number or in the middle. */
static int shift_of(int room, const uint32_t *random)
{
	return random ? (int)((uint64_t)*random * ((uint64_t)room + 1) >> 32) : room / 2;
}

/* The same of a sample: where samples are windows, the one at `place`. */
static bool take_window(const otp_dataset *d, uint64_t *index, const uint32_t *place, otp_image *image,
			otp_error *err)
{
	if (!take(d, index, image, err))
		return false;
	if (!d->how.crop.h || (image->h == d->h && image->w == d->w))
		return true;
	otp_image cut = otp_image_cut(image, shift_of(image->h - d->h, place),
				      shift_of(image->w - d->w, place ? place + 1 : NULL), d->h, d->w);
	otp_image_free(image);
	*image = cut;
	return true;
}

bool otp_dataset_take(const otp_dataset *d, uint64_t index, otp_image *out, otp_error *err)
{
	OTP_ASSERT(d->exact, "otp_dataset_sieve comes first");
	return take_window(d, &index, NULL, out, err);
}

int otp_dataset_settled_channels(const otp_dataset *d) { return d->settled_c; }

void otp_dataset_finish(const otp_dataset *d, uint64_t index, const otp_image *part, float *out)
{
	OTP_ASSERT(part->c == d->settled_c, "%d channels, %d are settled", part->c, d->settled_c);
	finish(d, part, otp_dataset_number(d, index), 0, out);
}

int64_t otp_dataset_alpha(const otp_dataset *d)
{
	return d->settled_c == 1 || d->settled_c == 3 ? d->survey.alpha : 0;
}

bool otp_dataset_has_windows(const otp_dataset *d)
{
	return d->how.crop.h && !otp_size_equal(d->how.crop, d->whole);
}

bool otp_dataset_get(const otp_dataset *d, uint64_t index, uint32_t draw, float *out, otp_error *err)
{
	return otp_dataset_get_window(d, index, draw, NULL, out, err);
}

bool otp_dataset_get_window(const otp_dataset *d, uint64_t index, uint32_t draw, const uint32_t *place,
			    float *out, otp_error *err)
{
	otp_image image;
	if (!take_window(d, &index, place, &image, err))
		return false;
	finish(d, &image, otp_dataset_number(d, index), draw, out);
	otp_image_free(&image);
	return true;
}

int otp_dataset_stored_channels(const otp_dataset *d)
{
	OTP_ASSERT(d->prepared, "otp_dataset_prepare comes first");
	bool drawn = d->colour != OTP_COLOUR_NONE || d->brightness != 1 || otp_dataset_has_windows(d);
	return stores_bytes(d->source) && !drawn && (d->settled_c == d->c || d->settled_c == 1) ? d->settled_c
												: 0;
}

bool otp_dataset_get_bytes(const otp_dataset *d, uint64_t index, uint8_t *out, otp_error *err)
{
	otp_image image;
	if (!take(d, &index, &image, err))
		return false;
	OTP_ASSERT(image.u8, "%s holds no bytes", d->spec.text);
	memcpy(out, image.u8, otp_image_values(&image));
	otp_image_free(&image);
	return true;
}
