/* folder: a folder of images with its sub-folders, or a zip of one. Sorted by
 * name; files that cannot be read are named and skipped.
 */
#include "data/folder.h"

#include "core/file.h"
#include "core/tally.h"

#include <pthread.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

/* A look reads so many headers: a run needs one size for all files unless it is told one. */
enum { LOOKED_AT = 64, NAME_BYTES = 4096 };

/* By stem, then extension, so that files that share a stem are neighbours. */
static int by_name(const void *a, const void *b)
{
	const otp_file_entry *p = a, *q = b;
	size_t shorter = p->stem < q->stem ? p->stem : q->stem;
	int order = memcmp(p->name, q->name, shorter);
	if (order == 0)
		order = (p->stem > q->stem) - (p->stem < q->stem);
	return order ? order : strcmp(p->name + p->stem, q->name + q->stem);
}

/* ---- samples ------------------------------------------------------------------ */

/* Readers of a const folder note what they find: it is the same, whoever finds it. */
static void note_content(const otp_folder *f, uint64_t index, const void *data, size_t bytes)
{
	uint64_t hash = XXH3_64bits(data, bytes);
	atomic_store(&f->content[index], hash ? hash : 1);
}

static bool folder_read(const otp_source *base, uint64_t index, otp_image *out, otp_error *err)
{
	const otp_folder *f = (const otp_folder *)base;
	const otp_file_entry *e = &f->entries[index];
	size_t bytes;
	void *data = otp_folder_read(f, e, SIZE_MAX, &bytes, err);
	if (!data)
		return false;
	note_content(f, index, data, bytes);
	char *path = otp_folder_path(f, e->name);
	bool ok = otp_image_decode(data, bytes, path, f->most_pixels, out, err);
	otp_free(path);
	otp_free(data);
	return ok;
}

static const char *folder_name(const otp_source *base, uint64_t index, char *buffer, size_t bytes)
{
	const otp_file_entry *e = &((const otp_folder *)base)->entries[index];
	if (e->keeps_extension)
		return e->name;
	snprintf(buffer, bytes, "%.*s", (int)e->stem, e->name);
	return buffer;
}

static const char *folder_file(const otp_source *base, uint64_t index)
{
	return ((const otp_folder *)base)->entries[index].name;
}

static void folder_close(otp_source *base)
{
	otp_folder *f = (otp_folder *)base;
	for (size_t i = 0; i < f->count; i++)
		otp_free(f->entries[i].name);
	otp_free(f->entries);
	otp_free(f->content);
	for (size_t i = 0; i < f->link_count; i++)
		otp_free(f->links[i]);
	otp_free(f->links);
	tdestroy(f->seen, otp_free);
	otp_free(f->root);
	otp_free(f->unread_picture);
	otp_archive_close(f->archive);
	otp_source_free(base);
}

/* ---- opening ------------------------------------------------------------------ */

/* What the first bytes of a file tell. */
typedef struct head {
	bool known; /* it is an image */
	otp_image_facts is;
	uint8_t bytes[4096];
	size_t count;
	otp_error trouble;
} head;

static void look(const otp_folder *f, const otp_file_entry *e, head *out)
{
	enum { HEAD = 1 << 16 };
	size_t bytes;
	char *path = otp_folder_path(f, e->name);
	*out = (head){.known = false};
	/* A JPEG may carry more than a head's worth of notes before it tells its size. */
	for (size_t most = HEAD; !out->known; most = SIZE_MAX) {
		otp_error unread = {0};
		void *data = otp_folder_read(f, e, most, &bytes, &unread);
		if (!data) {
			out->trouble = unread;
			break;
		}
		out->trouble = (otp_error){0};
		out->known =
		    otp_image_look(data, bytes, e->bytes, path, f->most_pixels, &out->is, &out->trouble);
		out->count = bytes < sizeof out->bytes ? bytes : sizeof out->bytes;
		memcpy(out->bytes, data, out->count);
		otp_free(data);
		if (bytes >= e->bytes)
			break;
	}
	otp_free(path);
}

/* An image into its entry and the digest. */
static void note_head(otp_folder *f, otp_file_entry *e, const head *h)
{
	e->is = h->is;
	f->former = XXH3_64bits_withSeed(h->bytes, h->count, f->former);
	f->former = XXH3_64bits_withSeed(e->name, strlen(e->name), f->former ^ e->bytes);
}

typedef struct looking {
	const otp_folder *f;
	const otp_file_entry *entries;
	head *heads;
	size_t count;
	atomic_size_t next;
} looking;

static void look_at_some(void *argument, int worker)
{
	(void)worker;
	looking *l = argument;
	for (size_t i; (i = atomic_fetch_add(&l->next, 1)) < l->count;)
		look(l->f, &l->entries[i], &l->heads[i]);
}

static bool fail_empty(otp_folder *f, otp_error *err)
{
	char *found = otp_kinds_text(&f->unread);
	int64_t skipped = f->base.left_out_count;
	otp_source_part(&f->base, &(uint8_t){1}); /* they all stand behind nothing: name them */
	if (skipped)
		otp_fail(err, f->root, "holds no usable image: %lld cannot be read, the first is %s",
			 (long long)skipped, f->base.left_out[0].why);
	else if (*found)
		otp_fail(err, f->root, "holds no images, found %s; expected %s", found, OTP_IMAGE_EXTENSIONS);
	else
		otp_fail(err, f->root, "holds no files, expected images: %s", OTP_IMAGE_EXTENSIONS);
	otp_free(found);
	return false;
}

/* ---- digest ------------------------------------------------------------------- */

typedef struct reading {
	const otp_folder *f;
	const int64_t *chosen;
	int64_t count;
	atomic_int_fast64_t next;
	otp_tally *tally;
	pthread_mutex_t lock;
	otp_error refused; /* the first read that the machine refused */
} reading;

static void note_refused(reading *r, const otp_error *trouble)
{
	pthread_mutex_lock(&r->lock);
	if (!r->refused.exit_code)
		r->refused = *trouble;
	pthread_mutex_unlock(&r->lock);
	atomic_store(&r->next, r->count); /* nobody reads on */
}

/* Files that nothing has decoded yet. One that is damaged counts as empty; decoding will name it. */
static void read_rest(void *argument, int worker)
{
	(void)worker;
	reading *r = argument;
	for (int64_t i; (i = atomic_fetch_add(&r->next, 1)) < r->count;) {
		uint64_t index = (uint64_t)r->chosen[i];
		otp_error trouble = {0};
		size_t bytes = 0;
		otp_tally_add(r->tally, 1);
		if (atomic_load(&r->f->content[index]))
			continue;
		void *data = otp_folder_read(r->f, &r->f->entries[index], SIZE_MAX, &bytes, &trouble);
		if (!data && otp_source_refused(&trouble))
			note_refused(r, &trouble);
		else
			note_content(r->f, index, data ? data : "", data ? bytes : 0);
		otp_free(data);
	}
}

static bool folder_scan(otp_source *base, const int64_t *chosen, int64_t count, otp_pool *pool,
			otp_error *err)
{
	otp_folder *f = (otp_folder *)base;
	char *what = otp_format("%s: read", f->root);
	reading r = {.f = f,
		     .chosen = chosen,
		     .count = count,
		     .tally = otp_tally_new(what, 0, count),
		     .lock = PTHREAD_MUTEX_INITIALIZER};
	otp_pool_run(pool, read_rest, &r);
	otp_tally_free(r.tally);
	otp_free(what);
	if (r.refused.exit_code) {
		*err = r.refused;
		return false;
	}
	base->digest = (uint64_t)count;
	for (int64_t i = 0; i < count; i++) {
		const otp_file_entry *e = &f->entries[chosen[i]];
		uint64_t content = atomic_load(&f->content[chosen[i]]);
		base->digest = XXH3_64bits_withSeed(&content, sizeof content, base->digest);
		base->digest = XXH3_64bits_withSeed(e->name, strlen(e->name), base->digest);
	}
	return true;
}

static uint64_t folder_listing(const otp_source *base)
{
	const otp_folder *f = (const otp_folder *)base;
	uint64_t digest = f->former;
	for (size_t i = 0; i < f->count; i++) {
		int64_t facts[2] = {(int64_t)f->entries[i].bytes, f->entries[i].changed_ns};
		digest = XXH3_64bits_withSeed(facts, sizeof facts, digest);
	}
	return digest;
}

static bool folder_former(const otp_source *base, uint64_t *digest)
{
	*digest = ((const otp_folder *)base)->former;
	return true;
}

static otp_image_facts folder_facts(const otp_source *base, uint64_t index)
{
	return ((const otp_folder *)base)->entries[index].is;
}

static const otp_source_ops folder_ops = {.read = folder_read,
					  .close = folder_close,
					  .name = folder_name,
					  .file = folder_file,
					  .scan = folder_scan,
					  .listing = folder_listing,
					  .former = folder_former,
					  .facts = folder_facts};

static otp_folder *folder_new(const otp_spec *spec, const char *root)
{
	otp_folder *f = otp_calloc(1, sizeof *f);
	f->base = (otp_source){.quiet = spec->look,
			       .ops = &folder_ops,
			       .kind = OTP_DATA_IMAGES,
			       .costly = true,
			       .brightness = 1,
			       .digest_kind = OTP_DIGEST_FILES,
			       .former_kind = OTP_DIGEST_HEADS};
	f->root = otp_strdup(root);
	/* A look takes no memory for pixels. */
	f->most_pixels = spec->look	     ? INT64_MAX
			 : spec->most_pixels ? spec->most_pixels
					     : OTP_IMAGE_MOST_PIXELS;
	return f;
}

/* Outputs of different files have different names: files that share a stem keep their extension, and so does
 * a.png.jpg beside an a.png that keeps it. By all names that are there, also of files that are damaged, so
 * that a name does not change when a neighbour is mended. `entries` are sorted. */
static void keep_extensions(otp_folder *f)
{
	for (size_t i = 1; i < f->count; i++) {
		otp_file_entry *a = &f->entries[i - 1], *b = &f->entries[i];
		if (a->stem == b->stem && memcmp(a->name, b->name, a->stem) == 0)
			a->keeps_extension = b->keeps_extension = true;
	}
	for (bool changed = true; changed;) {
		changed = false;
		for (size_t i = 0; i < f->count; i++) {
			otp_file_entry *e = &f->entries[i];
			char stem[NAME_BYTES];
			snprintf(stem, sizeof stem, "%.*s", (int)e->stem, e->name);
			const char *dot = strrchr(stem, '.');
			if (e->keeps_extension || !dot)
				continue;
			otp_file_entry key = {.name = stem, .stem = (size_t)(dot - stem)};
			const otp_file_entry *other =
			    bsearch(&key, f->entries, f->count, sizeof key, by_name);
			if (other && other->keeps_extension)
				changed = e->keeps_extension = true;
		}
	}
}

/* One file after its head was read: kept, or named and dropped. */
static void keep_image(otp_folder *f, size_t i, const head *h, size_t *kept, otp_error *err)
{
	char name[NAME_BYTES];
	if (h->known) {
		note_head(f, &f->entries[i], h);
		f->entries[(*kept)++] = f->entries[i];
		return;
	}
	if (otp_source_refused(&h->trouble))
		*err = h->trouble;
	else
		otp_source_leave_out(
		    &f->base, &(otp_left_out){.why = (char *)h->trouble.text,
					      .picture = (char *)folder_name(&f->base, i, name, sizeof name),
					      .before = (int64_t)*kept,
					      .unsaid = true});
	otp_free(f->entries[i].name);
}

/* Keep the first `most` files that are images, name and drop those that are damaged. Heads are read side by
 * side: on a disk far away each takes its time. */
static bool keep_images(otp_folder *f, size_t most, otp_error *err)
{
	enum { ROUND = 2048, WORTH_A_TEAM = 256 };
	size_t kept = 0, round = most < ROUND ? most : ROUND;
	round = f->count < round ? f->count : round;
	otp_pool *pool = otp_pool_new(f->count >= WORTH_A_TEAM && most > WORTH_A_TEAM ? otp_cores() : 1);
	if (!otp_pool_start(pool)) { /* fewer threads than cores may be had */
		otp_pool_free(pool);
		pool = otp_pool_new(1);
	}
	head *heads = otp_calloc(round, sizeof *heads);
	char *what = otp_format("%s: looked at", f->root);
	otp_tally *tally = otp_tally_new(what, 0, (int64_t)f->count);
	size_t first = 0;
	for (; first < f->count && kept < most && !err->exit_code; first += round) {
		size_t count = f->count - first < round ? f->count - first : round;
		looking l = {.f = f, .entries = f->entries + first, .heads = heads, .count = count};
		otp_pool_run(pool, look_at_some, &l);
		for (size_t i = 0; i < count; i++)
			if (kept < most && !err->exit_code)
				keep_image(f, first + i, &heads[i], &kept, err);
			else
				otp_free(f->entries[first + i].name);
		otp_tally_add(tally, (int64_t)count);
	}
	for (; first < f->count; first++)
		otp_free(f->entries[first].name);
	otp_tally_free(tally);
	otp_free(what);
	otp_free(heads);
	otp_pool_free(pool);
	f->count = kept;
	return err->exit_code == 0;
}

/* The pictures that were left out by their names alone stand where those would be. */
static void place_left_out(otp_folder *f)
{
	for (int64_t i = 0; i < f->base.left_out_count; i++) {
		otp_left_out *l = &f->base.left_out[i];
		const char *dot = strrchr(l->picture, '.');
		if (l->before >= 0)
			continue;
		otp_file_entry key = {.name = l->picture,
				      .stem = dot ? (size_t)(dot - l->picture) : strlen(l->picture)};
		size_t low = 0, high = f->count;
		while (low < high) {
			size_t middle = low + (high - low) / 2;
			if (by_name(&f->entries[middle], &key) < 0)
				low = middle + 1;
			else
				high = middle;
		}
		l->before = (int64_t)low;
	}
}

/* Sort what was found, keep what is an image. */
static otp_source *folder_finish(otp_folder *f, const otp_spec *spec, otp_error *err)
{
	if (f->count)
		qsort(f->entries, f->count, sizeof *f->entries, by_name);
	keep_extensions(f);
	if (f->refused.exit_code)
		*err = f->refused;
	bool looked = !f->refused.exit_code && keep_images(f, spec->look ? LOOKED_AT : SIZE_MAX, err);
	if (!looked || f->count == 0) {
		if (looked)
			fail_empty(f, err);
		folder_close(&f->base);
		return NULL;
	}
	otp_folder_say_unread(f);
	f->content = otp_calloc(f->count, sizeof *f->content);
	f->base.count = (int64_t)f->count;
	place_left_out(f);
	return &f->base;
}

otp_source *otp_folder_open(const otp_spec *spec, otp_error *err)
{
	otp_folder *f = folder_new(spec, spec->place);
	otp_folder_walk(f);
	return folder_finish(f, spec, err);
}

/* One file as a folder that holds nothing else. */
otp_source *otp_picture_open(const otp_spec *spec, otp_error *err)
{
	struct stat info;
	const char *slash = strrchr(spec->place, '/');
	char *root = slash ? otp_format("%.*s", (int)(slash - spec->place), spec->place) : otp_strdup(".");
	otp_folder *f = folder_new(spec, root);
	otp_free(root);
	if (stat(spec->place, &info) != 0)
		info = (struct stat){0};
	otp_folder_note_file(f, otp_strdup(slash ? slash + 1 : spec->place), &info);
	return folder_finish(f, spec, err);
}

otp_source *otp_zip_open(const otp_spec *spec, otp_error *err)
{
	char *file, *name;
	otp_source *source = NULL;
	otp_source_split_name(spec->place, &file, &name);
	otp_archive *archive = otp_archive_open(file, err);
	if (archive) {
		otp_folder *f = folder_new(spec, spec->place);
		f->archive = archive;
		if (otp_folder_walk_zip(f, name && *name == '/' ? name + 1 : name, err))
			source = folder_finish(f, spec, err);
		else
			folder_close(&f->base);
	}
	otp_free(file);
	otp_free(name);
	return source;
}
