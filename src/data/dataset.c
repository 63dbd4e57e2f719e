/* dataset: opens a spec by the format it names, then does what is the same for
 * all formats: parts and limits, size and channels, memory, colours.
 *
 * A sample passes two stages. `settle` (decode, channels, size) depends on the
 * index alone and is what stays in memory; `finish` (hue, brightness, repetition of
 * grey) is cheap, depends on the draw, and is done for every batch, of a window where
 * samples are windows.
 */
#include "data/dataset.h"

#include "core/base.h"
#include "core/file.h"
#include "core/log.h"
#include "core/mapped.h"
#include "core/memory.h"
#include "core/pool.h"
#include "core/tally.h"
#include "data/permute.h"
#include "data/source.h"
#include "scalar.h"

#include <math.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <xxhash.h>

enum { NAME_BYTES = 4096 };

struct otp_dataset {
	otp_spec spec;
	otp_source *source;
	uint64_t seed, digest;
	otp_colour_law colour;
	double brightness;
	int64_t count;	  /* 0: without end */
	int64_t wanted;	  /* count before skipping */
	int64_t withheld; /* samples numbered after these, from count on, which no training draws */
	bool fresh;	  /* generated, with an end: withheld ones are drawn anew */
	int64_t *chosen;  /* (count + withheld) the source's number of each sample, after part, limit and
			     skipping; NULL: made by formula */
	bool prepared, loaded, scanned;
	bool streamed; /* every sample is read once, and nothing kept */
	bool exact;    /* sieved: no sample stands in for another */
	bool own;      /* samples are taken as stored: of their own sizes and channels */
	otp_preprocessing how;
	otp_size whole;	       /* of a settled picture; 0: sizes differ */
	int h, w, c;	       /* of a finished sample */
	int settled_c;	       /* of a settled one: 1 while the grey can be repeated later */
	uint8_t *kept;	       /* (count + withheld, whole, settled_c) settled bytes, or NULL */
	otp_image *kept_apart; /* (count + withheld) the same of sizes that differ, or NULL */
	int64_t apart_count;
	size_t kept_bytes;     /* of either, once loaded */
	atomic_uchar *broken;  /* (count + withheld) found unreadable; NULL: made by formula */
	pthread_mutex_t *lock; /* of the skipped list; apart, so that readers of a const set can take it */
};

/* ---- opening ------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
	size_t a = strlen(text), b = strlen(end);
	return a >= b && strcasecmp(text + a - b, end) == 0;
}

static bool is_idx(const char *path)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	return strstr(base, "-idx") || strstr(base, ".idx") || ends_with(base, "-ubyte") ||
	       ends_with(base, "-ubyte.gz");
}

static const struct {
	const char *ending, *format;
	otp_source *(*open)(const otp_spec *spec, otp_error *err);
} formats[] = {
    {".npy", "npy", otp_npy_open},  {".npz", "npz", otp_npz_open},    {".zip", "zip", otp_zip_open},
    {".h5", "HDF5", otp_hdf5_open}, {".hdf5", "HDF5", otp_hdf5_open},
};

/* A pipe or a device would be waited for, or never end. */
static bool check_file(const char *path, otp_error *err)
{
	if (!otp_file_exists(path))
		return otp_fail(err, path, "no such file or folder");
	return otp_file_is_regular(path) ||
	       otp_fail(err, path, "is a pipe, device or socket, expected a file or folder");
}

bool otp_dataset_exists(const char *text)
{
	otp_spec spec;
	otp_error ignored = {0};
	char *file = NULL, *name = NULL;
	if (!otp_spec_parse(text, &spec, &ignored))
		return true; /* it is wrong otherwise */
	otp_source_split_name(spec.place, &file, &name);
	bool there =
	    strncmp(spec.place, "synth:", 6) == 0 || otp_file_exists(spec.place) || otp_file_exists(file);
	otp_free(file);
	otp_free(name);
	otp_spec_free(&spec);
	return there;
}

static otp_source *open_source(const otp_spec *spec, uint64_t seed, otp_error *err)
{
	otp_source *source = NULL;
	const char *format = NULL;
	char *file = NULL, *name = NULL;
	if (strncmp(spec->place, "synth:", 6) == 0) {
		format = "synth";
		source = otp_synth_open(spec, seed, err);
		goto out;
	}
	otp_source_split_name(spec->place, &file, &name);
	for (size_t i = 0; !format && i < sizeof formats / sizeof *formats; i++)
		if (ends_with(file, formats[i].ending) && !otp_file_is_folder(file)) {
			format = formats[i].format;
			if (check_file(file, err))
				source = formats[i].open(spec, err);
		}
	if (format)
		goto out;
	if (otp_file_is_folder(spec->place)) {
		format = "folder";
		source = otp_folder_open(spec, err);
	} else if (!check_file(spec->place, err)) {
		goto out;
	} else if (otp_image_name_fits(spec->place)) {
		format = "picture";
		source = otp_picture_open(spec, err);
	} else if (is_idx(spec->place)) {
		format = "IDX";
		source = otp_idx_open(spec, err);
	} else {
		otp_fail(err, spec->place,
			 "is of no known format, expected a folder, a picture, .zip, .h5, .hdf5, .npy, .npz, "
			 "*-idx3-ubyte[.gz] "
			 "or synth:NAME");
	}
out:
	if (source)
		source->format = format;
	otp_free(file);
	otp_free(name);
	return source;
}

/* Position j of this part, as a number of the whole. Fixed sets are dealt out by
 * one permutation for all seeds, so that parts stay disjoint between runs and
 * every part sees every class of a sorted set; endless ones by turns. */
static uint64_t position_in_whole(const otp_spec *spec, uint64_t j, uint64_t whole)
{
	static const otp_stream dealer = {{0x706c616e, 0x6f74, 0, 0}};
	uint64_t position = j * (uint64_t)spec->parts + (uint64_t)spec->part - 1;
	return whole && spec->parts > 1 ? otp_permute(dealer, position, whole) : position;
}

static bool choose(otp_dataset *d, otp_error *err)
{
	const otp_spec *spec = &d->spec;
	int64_t whole = d->source->count;
	if (whole == 0) {
		d->count = spec->limit;
		return true;
	}
	d->count = whole / spec->parts + (whole % spec->parts >= spec->part);
	if (d->count == 0)
		return otp_fail(err, spec->text, "part %lld of %lld is empty: the set has %lld samples",
				(long long)spec->part, (long long)spec->parts, (long long)whole);
	if (spec->limit && d->count > spec->limit)
		d->count = spec->limit;
	d->wanted = d->count;
	d->chosen = otp_calloc((size_t)d->count, sizeof *d->chosen);
	for (int64_t j = 0; j < d->count; j++)
		d->chosen[j] = (int64_t)position_in_whole(spec, (uint64_t)j, (uint64_t)whole);
	return true;
}

/* All samples of a set of files or rows, withheld ones too. */
static int64_t all_samples(const otp_dataset *d) { return d->count + d->withheld; }

/* Stable: what is left keeps its order, and so do those that are withheld. */
void otp_dataset_withhold(otp_dataset *d, uint64_t seed, int64_t count)
{
	int64_t whole = d->count, kept = 0, apart = whole - count;
	OTP_ASSERT(!d->prepared && !d->withheld && count >= 0, "otp_dataset_withhold comes first");
	if (!d->chosen) {
		d->fresh = count > 0;
		return;
	}
	OTP_ASSERT(count < whole, "%lld of %lld samples", (long long)count, (long long)whole);
	int64_t *chosen = otp_calloc((size_t)whole, sizeof *chosen);
	uint8_t *is_withheld = otp_calloc((size_t)whole, 1);
	otp_stream key = otp_stream_make(seed, 0, 0x68656c64 /* of a draw that no walk reaches */);
	for (int64_t i = 0; i < count; i++)
		is_withheld[otp_permute(key, (uint64_t)i, (uint64_t)whole)] = 1;
	for (int64_t i = 0; i < whole; i++)
		chosen[is_withheld[i] ? apart++ : kept++] = d->chosen[i];
	otp_free(is_withheld);
	otp_free(d->chosen);
	d->chosen = chosen;
	d->count = kept;
	d->withheld = count;
}

void otp_dataset_only_withheld(otp_dataset *d)
{
	OTP_ASSERT(!d->prepared && d->withheld, "nothing is withheld");
	memmove(d->chosen, d->chosen + d->count, (size_t)d->withheld * sizeof *d->chosen);
	d->count = d->withheld;
	d->withheld = 0;
}

static int natural_channels(const otp_dataset *d)
{
	const otp_source *s = d->source;
	if (s->kind == OTP_DATA_VECTORS)
		return s->c;
	return d->colour != OTP_COLOUR_NONE ? 3 : d->spec.grey ? 1 : s->c == 4 ? 3 : s->c;
}

static bool check_modifiers(const otp_dataset *d, otp_error *err)
{
	const otp_spec *s = &d->spec;
	bool pictures =
	    s->grey || s->colour != OTP_COLOUR_NONE || s->brightness >= 0 || s->low < s->high || s->size;
	if (d->source->kind == OTP_DATA_VECTORS && pictures)
		return otp_fail(
		    err, s->text,
		    "grey, colorize, brightness, range and size are for images, this set holds vectors");
	if (d->source->kind == OTP_DATA_IMAGES && (s->grey || d->colour != OTP_COLOUR_NONE) &&
	    (d->source->c == 2 || d->source->c > 4))
		return otp_fail(err, s->text, "grey and colorize need 1, 3 or 4 channels, this set has %d",
				d->source->c);
	if (s->low < s->high && !d->source->scaled)
		return otp_fail(err, s->text,
				"modifier `range' is for images stored as floats or 16-bit numbers, this set "
				"holds bytes");
	if (s->layout != OTP_LAYOUT_GUESSED && !d->source->stored[0])
		return otp_fail(err, s->text, "modifier `layout' is for arrays, this set is none");
	return true;
}

otp_dataset *otp_dataset_open(const char *text, uint64_t seed, otp_error *err)
{
	return otp_dataset_open_up_to(text, seed, OTP_IMAGE_MOST_PIXELS, err);
}

otp_dataset *otp_dataset_open_up_to(const char *text, uint64_t seed, int64_t most_pixels, otp_error *err)
{
	otp_spec spec;
	if (!otp_spec_parse(text, &spec, err))
		return NULL;
	otp_dataset *d = otp_calloc(1, sizeof *d);
	d->spec = spec;
	if (!spec.most_pixels)
		d->spec.most_pixels = most_pixels;
	d->seed = seed;
	d->lock = otp_calloc(1, sizeof *d->lock);
	pthread_mutex_init(d->lock, NULL);
	d->source = open_source(&d->spec, seed, err);
	if (!d->source)
		goto fail;
	d->colour = spec.colour != OTP_COLOUR_NONE ? spec.colour : d->source->colour;
	d->brightness = spec.brightness >= 0 ? spec.brightness : d->source->brightness;
	if (!check_modifiers(d, err) || !choose(d, err))
		goto fail;
	d->h = d->source->h;
	d->w = d->source->w;
	d->c = natural_channels(d);
	return d;
fail:
	otp_dataset_close(d);
	return NULL;
}

/* What shape decided, and what load read. */
static void forget(otp_dataset *d)
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

void otp_dataset_close(otp_dataset *d)
{
	if (!d)
		return;
	if (d->source)
		d->source->ops->close(d->source);
	forget(d);
	otp_free(d->chosen);
	pthread_mutex_destroy(d->lock);
	otp_free(d->lock);
	otp_spec_free(&d->spec);
	otp_free(d);
}

static int middle_size(const otp_data_survey *v)
{
	double least = v->h_min < v->w_min ? v->h_min : v->w_min,
	       largest = v->h_max > v->w_max ? v->h_max : v->w_max;
	return (int)lround(sqrt(least * largest));
}

bool otp_dataset_look(const char *text, otp_data_kind *kind, int *size, otp_error *err)
{
	otp_spec spec;
	if (!otp_spec_parse(text, &spec, err))
		return false;
	spec.look = true;
	otp_source *source = open_source(&spec, 0, err);
	if (source) {
		*kind = source->kind;
		*size = source->h > source->w ? source->h : source->w;
		if (!*size && source->kind == OTP_DATA_IMAGES)
			*size = middle_size(&source->survey);
		source->ops->close(source);
	}
	otp_spec_free(&spec);
	return source != NULL;
}

static bool has_colours(const otp_dataset *d)
{
	const otp_source *s = d->source;
	return s->kind == OTP_DATA_IMAGES && (d->colour != OTP_COLOUR_NONE || !(d->spec.grey || s->c == 1));
}

otp_dataset_info otp_dataset_describe(const otp_dataset *d)
{
	const otp_source *s = d->source;
	return (otp_dataset_info){
	    .kind = s->kind,
	    .count = d->count,
	    .withheld = d->withheld,
	    .listed = d->wanted,
	    .fresh = d->fresh || d->count == 0,
	    .h = d->h,
	    .w = d->w,
	    .c = d->c,
	    .grey = s->kind == OTP_DATA_IMAGES && (d->how.grey || !has_colours(d)),
	    .greyed = d->how.grey && has_colours(d),
	    .skipped = s->skipped_count,
	    .undecoded = s->undecoded_count,
	    .digest = d->digest,
	    .digest_kind = s->digest_kind,
	    .colour = d->colour,
	    .spec = d->spec.text,
	    .one_size = s->h > 0,
	    .format = s->format,
	    .stored = s->stored[0] ? s->stored : NULL,
	    .set = s->set,
	    .beside = s->beside,
	    .low = s->low,
	    .high = s->high,
	    .least = s->least,
	    .most = s->most,
	    .survey = s->survey,
	    .memory_bytes = d->kept_bytes + s->memory_bytes +
			    (d->chosen ? (size_t)all_samples(d) * sizeof *d->chosen : 0),
	    .unloaded_bytes = (d->loaded ? 0 : d->kept_bytes) + s->unloaded_bytes,
	};
}

/* ---- digests --------------------------------------------------------------------- */

static uint64_t with_modifiers(const otp_dataset *d, uint64_t content)
{
	char *modifiers = otp_spec_modifiers(&d->spec);
	uint64_t digest = XXH3_64bits_withSeed(modifiers, strlen(modifiers), content);
	otp_free(modifiers);
	return digest;
}

static otp_pool *start_pool(const otp_dataset *d, int threads, otp_error *err)
{
	otp_pool *pool = otp_pool_new(threads > 0 ? threads : 1);
	if (otp_pool_start(pool))
		return pool;
	otp_pool_free(pool);
	otp_fail_machine(err, d->spec.text, "%d threads cannot be started", threads);
	return NULL;
}

/* What only all stored bytes tell, of the samples as they were chosen, broken ones too. */
static bool scan(otp_dataset *d, int threads, otp_error *err)
{
	otp_source *s = d->source;
	if (d->scanned)
		return true;
	if (s->ops->scan) {
		otp_pool *pool = start_pool(d, threads, err);
		if (!pool)
			return false;
		int64_t *wanted = otp_calloc((size_t)d->wanted, sizeof *wanted);
		for (int64_t j = 0; j < d->wanted; j++)
			wanted[j] = (int64_t)position_in_whole(&d->spec, (uint64_t)j, (uint64_t)s->count);
		d->scanned = s->ops->scan(s, wanted, d->wanted, pool, err);
		otp_free(wanted);
		otp_pool_free(pool);
	} else {
		d->scanned = true;
	}
	d->digest = with_modifiers(d, s->digest);
	return d->scanned;
}

bool otp_dataset_digest(otp_dataset *d, int threads, otp_error *err) { return scan(d, threads, err); }

bool otp_dataset_listing(const otp_dataset *d, uint64_t *digest, otp_error *err)
{
	const otp_source *s = d->source;
	uint64_t found[4] = {(uint64_t)s->count, s->ops->scan ? 0 : s->digest};
	struct stat info;
	char *place = otp_dataset_place(d);
	bool ok = true;
	if (s->ops->listing) {
		found[2] = s->ops->listing(s);
	} else if (place && stat(place, &info) == 0) {
		found[2] = (uint64_t)info.st_size;
		found[3] = (uint64_t)info.st_mtim.tv_sec * 1000000000 + (uint64_t)info.st_mtim.tv_nsec;
	} else if (place) {
		ok = otp_file_fail_read(err, place, errno);
	}
	otp_free(place);
	*digest = with_modifiers(d, XXH3_64bits(found, sizeof found));
	if (s->set) /* of several in one file */
		*digest = XXH3_64bits_withSeed(s->set, strlen(s->set), *digest);
	return ok;
}

otp_digest_verdict otp_dataset_compare(const otp_dataset *d, const char *kind, uint64_t digest)
{
	static const char *const KINDS[] = {OTP_DIGEST_FILES, OTP_DIGEST_SAMPLES, OTP_DIGEST_GENERATED,
					    OTP_DIGEST_HEADS, OTP_DIGEST_BLOCKS,  OTP_DIGEST_FIRST};
	const otp_source *s = d->source;
	const char *former = s->former_kind ? s->former_kind : s->digest_kind;
	uint64_t content;
	OTP_ASSERT(d->scanned, "otp_dataset_digest comes first");
	kind = kind ? kind : former;
	if (strcmp(kind, s->digest_kind) == 0)
		return digest == d->digest ? OTP_DIGEST_EQUAL : OTP_DIGEST_DIFFERS;
	if (strcmp(kind, former) == 0)
		return s->ops->former(s, &content) && digest == with_modifiers(d, content)
			   ? OTP_DIGEST_EQUAL
			   : OTP_DIGEST_DIFFERS;
	for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
		if (strcmp(kind, KINDS[i]) == 0) /* of a set of another format */
			return OTP_DIGEST_DIFFERS;
	return OTP_DIGEST_UNKNOWN;
}

const char *otp_dataset_skipped(const otp_dataset *d, int64_t i)
{
	OTP_ASSERT(i >= 0 && i < d->source->skipped_count, "skipped file %lld", (long long)i);
	return d->source->skipped[i];
}

static uint64_t number_in_source(const otp_dataset *d, uint64_t index)
{
	OTP_ASSERT(!d->chosen || index < (uint64_t)all_samples(d), "sample %llu of %lld",
		   (unsigned long long)index, (long long)all_samples(d));
	return d->chosen ? (uint64_t)d->chosen[index] : position_in_whole(&d->spec, index, 0);
}

const char *otp_dataset_name(const otp_dataset *d, uint64_t index, char *buffer, size_t bytes)
{
	uint64_t number = number_in_source(d, index);
	if (d->source->ops->name)
		return d->source->ops->name(d->source, number, buffer, bytes);
	snprintf(buffer, bytes, "%06llu", (unsigned long long)number);
	return buffer;
}

const char *otp_dataset_undecoded(const otp_dataset *d, int64_t i)
{
	OTP_ASSERT(i >= 0 && i < d->source->undecoded_count, "undecoded picture %lld", (long long)i);
	return d->source->undecoded[i];
}

const char *otp_dataset_file(const otp_dataset *d, uint64_t index)
{
	return d->source->ops->file ? d->source->ops->file(d->source, number_in_source(d, index)) : NULL;
}

const char *otp_dataset_folder(const otp_dataset *d, int64_t i)
{
	return i < d->source->folder_count ? d->source->folders[i] : NULL;
}

char *otp_dataset_place(const otp_dataset *d)
{
	char *file = NULL, *name;
	if (strcmp(d->source->format, "synth") == 0)
		return NULL;
	otp_source_split_name(d->spec.place, &file, &name);
	otp_free(name);
	return file;
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
	if (!d->source->ops->read(d->source, number_in_source(d, index), image, err))
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
	otp_source_skip_picture(d->source, otp_dataset_name(d, index, name, sizeof name), why);
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
	atomic_store(&f->next, all_samples(f->d)); /* nobody reads on */
}

static void fill(void *argument, int worker)
{
	(void)worker;
	filling *f = argument;
	for (int64_t i; (i = atomic_fetch_add(&f->next, 1)) < all_samples(f->d);) {
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
	int64_t good = 0, all = all_samples(d), count = 0;
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
	return count > 0 ||
	       otp_fail(err, d->spec.text, "none of its images can be decoded; the first trouble: %s",
			d->source->skipped[0]);
}

static bool stores_bytes(const otp_source *s)
{
	return s->kind == OTP_DATA_IMAGES && s->count > 0 && !s->scaled;
}

/* Of a settled picture; where sizes differ, the mean over the source, and what the smallest are enlarged to.
 */
static size_t settled_values(const otp_dataset *d)
{
	const otp_data_survey *all = &d->source->survey;
	size_t pixels = (size_t)d->whole.h * (size_t)d->whole.w;
	if (!pixels) {
		size_t least = (size_t)d->how.crop.h * (size_t)d->how.crop.w;
		pixels = (size_t)(all->pixels / d->source->count + 1);
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
	    (size_t)all_samples(d) > otp_memory_available() / 2 / settled_values(d))
		return 0;
	return otp_mul_size((size_t)all_samples(d), settled_values(d));
}

/* Decode every sample, into memory where that is kept, and leave out those that cannot be decoded. */
static bool read_through(otp_dataset *d, int threads, otp_error *err)
{
	int64_t count = all_samples(d);
	filling f = {.d = d, .sample_bytes = (size_t)d->whole.h * (size_t)d->whole.w * (size_t)d->settled_c};
	f.why = otp_calloc((size_t)count, sizeof *f.why);
	otp_pool *pool = start_pool(d, threads, err);
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
	int natural = natural_channels(d);
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
				s->c, s->c == 1 ? "" : "s", d->c);
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
	const otp_data_survey *all = &d->source->survey;
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
	forget(d);
	if (!settle_channels(d, channels, how->grey, err) ||
	    (s->ops->prepare && !s->ops->prepare(s, larger, err)) || !settle_sizes(d, how, own, err))
		return false;
	if (d->chosen)
		d->broken = otp_calloc((size_t)all_samples(d), sizeof *d->broken);
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
	if ((s->ops->load && !s->ops->load(s, err)) || (s->scaled && !scan(d, threads, err)))
		return false;
	say_choices(d);
	d->loaded = true;
	if (!d->kept_bytes)
		return true;
	if (d->whole.h)
		d->kept = otp_try_calloc(d->kept_bytes, 1);
	else if (otp_memory_can_have(d->kept_bytes))
		d->kept_apart = otp_calloc((size_t)(d->apart_count = all_samples(d)), sizeof *d->kept_apart);
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
	finish(d, part, number_in_source(d, index), 0, out);
}

int64_t otp_dataset_alpha(const otp_dataset *d)
{
	return d->settled_c == 1 || d->settled_c == 3 ? d->source->survey.alpha : 0;
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
	finish(d, &image, number_in_source(d, index), draw, out);
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
