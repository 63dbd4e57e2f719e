/* dataset: opens a spec by the format it names; which samples there are (parts, limits, what is withheld),
 * their names and their digests. samples.c makes them.
 */
#include "data/inside.h"

#include "core/file.h"
#include "core/permute.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <xxhash.h>

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

int64_t otp_dataset_all(const otp_dataset *d) { return d->count + d->withheld; }

/* Position j of this part, as a number of the whole. Fixed sets are dealt out by
 * one permutation for all seeds, so that parts stay disjoint between runs and
 * every part sees every class of a sorted set; endless ones by turns. */
static uint64_t position_in_whole(const otp_spec *spec, uint64_t j, uint64_t whole)
{
	static const otp_stream dealer = {{0x706c616e, 0x6f74, 0, 0}};
	uint64_t position = j * (uint64_t)spec->parts + (uint64_t)spec->part - 1;
	return whole && spec->parts > 1 ? otp_permute(dealer, position, whole) : position;
}

void otp_dataset_recount(otp_dataset *d)
{
	d->survey = otp_source_survey(d->source, d->chosen, d->chosen ? d->count : 0);
}

/* What is left out where the samples are that are taken. Behind the last one it is beyond a limit that was
 * reached, else a matter of whoever takes the last. */
static void part_left_out(otp_dataset *d)
{
	size_t whole = (size_t)d->source->count;
	uint8_t *taken = otp_calloc(whole + 1, 1);
	for (int64_t j = 0; j < d->count; j++)
		taken[d->chosen[j]] = 1;
	taken[whole] = taken[whole - 1] && !(d->spec.limit && d->count == d->spec.limit);
	otp_source_part(d->source, taken);
	otp_free(taken);
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
	part_left_out(d);
	otp_dataset_recount(d);
	otp_source_settle_form(d->source, &d->survey);
	return true;
}

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
	otp_dataset_recount(d);
}

void otp_dataset_only_withheld(otp_dataset *d)
{
	OTP_ASSERT(!d->prepared && d->withheld, "nothing is withheld");
	memmove(d->chosen, d->chosen + d->count, (size_t)d->withheld * sizeof *d->chosen);
	d->count = d->withheld;
	d->withheld = 0;
	otp_dataset_recount(d);
}

int otp_dataset_natural_channels(const otp_dataset *d)
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
	if (!choose(d, err) || !check_modifiers(d, err))
		goto fail;
	d->h = d->source->h;
	d->w = d->source->w;
	d->c = otp_dataset_natural_channels(d);
	return d;
fail:
	otp_dataset_close(d);
	return NULL;
}

void otp_dataset_close(otp_dataset *d)
{
	if (!d)
		return;
	if (d->source)
		d->source->ops->close(d->source);
	otp_dataset_forget(d);
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
		otp_data_survey all = otp_source_survey(source, NULL, source->count);
		otp_source_settle_form(source, &all);
		*kind = source->kind;
		*size = source->h > source->w ? source->h : source->w;
		if (!*size && source->kind == OTP_DATA_IMAGES)
			*size = middle_size(&all);
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
	    .skipped = s->left_out_count,
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
	    .survey = d->survey,
	    .memory_bytes = d->kept_bytes + s->memory_bytes +
			    (d->chosen ? (size_t)otp_dataset_all(d) * sizeof *d->chosen : 0),
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

otp_pool *otp_dataset_team(const otp_dataset *d, int threads, otp_error *err)
{
	otp_pool *pool = otp_pool_new(threads > 0 ? threads : 1);
	if (otp_pool_start(pool))
		return pool;
	otp_pool_free(pool);
	otp_fail_machine(err, d->spec.text, "%d threads cannot be started", threads);
	return NULL;
}

/* What only all stored bytes tell, of the samples as they were chosen, broken ones too. */
bool otp_dataset_digest(otp_dataset *d, int threads, otp_error *err)
{
	otp_source *s = d->source;
	if (d->scanned)
		return true;
	if (s->ops->scan) {
		otp_pool *pool = otp_dataset_team(d, threads, err);
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
	OTP_ASSERT(i >= 0 && i < d->source->left_out_count, "skipped file %lld", (long long)i);
	return d->source->left_out[i].why;
}

uint64_t otp_dataset_number(const otp_dataset *d, uint64_t index)
{
	OTP_ASSERT(!d->chosen || index < (uint64_t)otp_dataset_all(d), "sample %llu of %lld",
		   (unsigned long long)index, (long long)otp_dataset_all(d));
	return d->chosen ? (uint64_t)d->chosen[index] : position_in_whole(&d->spec, index, 0);
}

const char *otp_dataset_name(const otp_dataset *d, uint64_t index, char *buffer, size_t bytes)
{
	uint64_t number = otp_dataset_number(d, index);
	if (d->source->ops->name)
		return d->source->ops->name(d->source, number, buffer, bytes);
	snprintf(buffer, bytes, "%06llu", (unsigned long long)number);
	return buffer;
}

const char *otp_dataset_skipped_picture(const otp_dataset *d, int64_t i)
{
	OTP_ASSERT(i >= 0 && i < d->source->left_out_count, "skipped file %lld", (long long)i);
	return d->source->left_out[i].picture;
}

const char *otp_dataset_file(const otp_dataset *d, uint64_t index)
{
	return d->source->ops->file ? d->source->ops->file(d->source, otp_dataset_number(d, index)) : NULL;
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
