/* folder: a folder of images with its sub-folders, or a zip of one. Sorted by
 * name, hidden files left out; files that cannot be read are named and skipped.
 */
#include "data/source.h"

#include "core/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zip.h>

typedef struct entry {
	char *name;	      /* below the folder, with extension */
	size_t stem;	      /* length without extension */
	bool keeps_extension; /* in the names of outputs: a.jpg beside a.png */
	uint64_t in_zip;      /* its number there */
	uint64_t bytes;
} entry;

/* A look reads so many headers: a run needs one size for all files unless it is told one. */
enum { MOST_KINDS = 8, LOOKED_AT = 64 };
enum { NAME_BYTES = 4096 };

/* A zip; apart from the folder, so that readers of a const one can lock it. */
typedef struct archive {
	zip_t *zip;
	pthread_mutex_t lock; /* libzip serves one thread */
} archive;

typedef struct folder {
	otp_source base;
	char *root;
	archive *archive; /* NULL: a folder */
	uint64_t former;  /* digest of kind OTP_DIGEST_HEADS */
	entry *entries;
	size_t count, room;
	atomic_uint_fast64_t *content; /* (count) hash of each file's bytes; 0: not read yet */
	struct {		       /* what else lies there, for the message when nothing can be used */
		char extension[12];
		int64_t count;
	} others[MOST_KINDS];
} folder;

/* ---- what is there ---------------------------------------------------------- */

static bool is_hidden(const char *name) { return name[0] == '.' || strcmp(name, "__MACOSX") == 0; }

static void count_other(folder *f, const char *name)
{
	const char *base = strrchr(name, '/'), *dot = strrchr(base ? base : name, '.');
	char extension[12];
	snprintf(extension, sizeof extension, "%s", dot ? dot : "(none)");
	for (int i = 0; i < MOST_KINDS; i++)
		if (!f->others[i].count || strcasecmp(f->others[i].extension, extension) == 0) {
			strcpy(f->others[i].extension, extension);
			f->others[i].count++;
			return;
		}
}

/* Takes `name` over. */
static void note_file(folder *f, char *name, uint64_t in_zip, uint64_t bytes)
{
	if (!otp_image_name_fits(name)) {
		count_other(f, name);
		otp_free(name);
		return;
	}
	if (f->count == f->room) {
		size_t room = f->room ? 2 * f->room : 256;
		f->entries = otp_realloc(f->entries, f->count * sizeof(entry), room * sizeof(entry));
		f->room = room;
	}
	f->entries[f->count++] = (entry){
	    .name = name, .stem = (size_t)(strrchr(name, '.') - name), .in_zip = in_zip, .bytes = bytes};
}

/* The folders above the one being read: a link to one of them would never end. */
typedef struct above {
	dev_t device;
	ino_t inode;
	const struct above *next;
} above;

static bool walk(folder *f, const char *below, const above *up, otp_error *err)
{
	struct stat info;
	char *path = *below ? otp_format("%s/%s", f->root, below) : otp_strdup(f->root);
	bool ok = true;
	DIR *dir = opendir(path);
	if (!dir || fstat(dirfd(dir), &info) != 0) {
		ok = otp_fail(err, path, "cannot be listed: %s", strerror(errno));
		goto out;
	}
	above here = {info.st_dev, info.st_ino, up};
	for (const above *a = up; a; a = a->next)
		if (a->device == here.device && a->inode == here.inode)
			goto out;
	otp_source_note_folder(&f->base, path);
	for (struct dirent *e; ok && (e = readdir(dir));) {
		if (is_hidden(e->d_name))
			continue;
		char *name = *below ? otp_format("%s/%s", below, e->d_name) : otp_strdup(e->d_name);
		if (fstatat(dirfd(dir), e->d_name, &info, 0) != 0) {
			char *text = otp_format("%s/%s: %s", f->root, name, strerror(errno));
			otp_source_skip(&f->base, text);
			otp_free(text);
			otp_free(name);
		} else if (S_ISDIR(info.st_mode)) {
			ok = walk(f, name, &here, err);
			otp_free(name);
		} else {
			note_file(f, name, 0, (uint64_t)info.st_size);
		}
	}
out:
	if (dir)
		closedir(dir);
	otp_free(path);
	return ok;
}

static void walk_zip(folder *f)
{
	zip_int64_t count = zip_get_num_entries(f->archive->zip, 0);
	for (zip_int64_t i = 0; i < count; i++) {
		zip_stat_t info;
		if (zip_stat_index(f->archive->zip, (zip_uint64_t)i, 0, &info) != 0)
			continue;
		const char *slash = strrchr(info.name, '/'), *base = slash ? slash + 1 : info.name;
		if (*base && !is_hidden(base) && !is_hidden(info.name))
			note_file(f, otp_strdup(info.name), (uint64_t)i, info.size);
	}
}

/* By stem, then extension, so that files that share a stem are neighbours. */
static int by_name(const void *a, const void *b)
{
	const entry *p = a, *q = b;
	size_t shorter = p->stem < q->stem ? p->stem : q->stem;
	int order = memcmp(p->name, q->name, shorter);
	if (order == 0)
		order = (p->stem > q->stem) - (p->stem < q->stem);
	return order ? order : strcmp(p->name + p->stem, q->name + q->stem);
}

/* ---- reading ------------------------------------------------------------------ */

static char *path_of(const folder *f, const entry *e) { return otp_format("%s/%s", f->root, e->name); }

/* An entry's bytes, `most` at most. otp_free it. */
static void *read_bytes(const folder *f, const entry *e, size_t most, size_t *bytes, otp_error *err)
{
	char *path = path_of(f, e);
	size_t room = e->bytes < most ? (size_t)e->bytes : most, done = 0;
	char *data = NULL;
	if (f->archive) {
		pthread_mutex_lock(&f->archive->lock);
		zip_file_t *file = zip_fopen_index(f->archive->zip, e->in_zip, 0);
		data = otp_calloc(room + 1, 1);
		for (zip_int64_t got = 1; file && done < room && got > 0; done += got > 0 ? (size_t)got : 0)
			got = zip_fread(file, data + done, room - done);
		if (file)
			zip_fclose(file);
		pthread_mutex_unlock(&f->archive->lock);
	} else {
		FILE *file = fopen(path, "rb");
		if (file) {
			data = otp_calloc(room + 1, 1);
			done = fread(data, 1, room, file);
			fclose(file);
		}
	}
	if (!data || done < room) {
		otp_fail(err, path, "cannot be read%s", data ? " to its end" : "");
		otp_free(data);
		data = NULL;
	}
	*bytes = done;
	otp_free(path);
	return data;
}

/* Readers of a const folder note what they find: it is the same, whoever finds it. */
static void note_content(const folder *f, uint64_t index, const void *data, size_t bytes)
{
	uint64_t hash = XXH3_64bits(data, bytes);
	atomic_store(&f->content[index], hash ? hash : 1);
}

static bool folder_read(const otp_source *base, uint64_t index, otp_image *out, otp_error *err)
{
	const folder *f = (const folder *)base;
	const entry *e = &f->entries[index];
	size_t bytes;
	void *data = read_bytes(f, e, SIZE_MAX, &bytes, err);
	if (!data)
		return false;
	note_content(f, index, data, bytes);
	char *path = path_of(f, e);
	bool ok = otp_image_decode(data, bytes, path, out, err);
	otp_free(path);
	otp_free(data);
	return ok;
}

static const char *folder_name(const otp_source *base, uint64_t index, char *buffer, size_t bytes)
{
	const entry *e = &((const folder *)base)->entries[index];
	if (e->keeps_extension)
		return e->name;
	snprintf(buffer, bytes, "%.*s", (int)e->stem, e->name);
	return buffer;
}

static const char *folder_file(const otp_source *base, uint64_t index)
{
	return ((const folder *)base)->entries[index].name;
}

static void folder_close(otp_source *base)
{
	folder *f = (folder *)base;
	for (size_t i = 0; i < f->count; i++)
		otp_free(f->entries[i].name);
	otp_free(f->entries);
	otp_free(f->content);
	otp_free(f->root);
	if (f->archive) {
		zip_discard(f->archive->zip);
		pthread_mutex_destroy(&f->archive->lock);
		otp_free(f->archive);
	}
	otp_source_free(base);
}

/* ---- opening ------------------------------------------------------------------ */

/* Head of one file into survey and digest; false where it is not an image. */
static bool look(folder *f, const entry *e, otp_error *err)
{
	enum { HEAD = 1 << 16 };
	size_t bytes;
	int h = 0, w = 0, c = 0;
	bool deep = false, known = false;
	/* A JPEG may carry more than a head's worth of notes before it tells its size. */
	for (size_t most = HEAD; !known; most = SIZE_MAX) {
		void *data = read_bytes(f, e, most, &bytes, err);
		if (!data)
			return false;
		known = otp_image_look(data, bytes, &h, &w, &c, &deep);
		if (known)
			f->former = XXH3_64bits_withSeed(data, bytes < 4096 ? bytes : 4096, f->former);
		otp_free(data);
		if (bytes >= e->bytes)
			break;
	}
	if (!known) {
		char *path = path_of(f, e);
		otp_fail(err, path, "is not an image that can be read, or is cut short (%llu bytes)",
			 (unsigned long long)e->bytes);
		otp_free(path);
		return false;
	}
	f->former = XXH3_64bits_withSeed(e->name, strlen(e->name), f->former ^ e->bytes);
	otp_data_survey *s = &f->base.survey;
	bool first = s->grey + s->colour == 0;
	s->grey += c <= 2;
	s->colour += c > 2;
	s->alpha += c % 2 == 0;
	s->deep += deep;
	s->h_min = first || h < s->h_min ? h : s->h_min;
	s->w_min = first || w < s->w_min ? w : s->w_min;
	s->h_max = h > s->h_max ? h : s->h_max;
	s->w_max = w > s->w_max ? w : s->w_max;
	return true;
}

static bool fail_empty(const folder *f, otp_error *err)
{
	char found[256] = "";
	for (int i = 0; i < MOST_KINDS && f->others[i].count; i++) {
		char *one = otp_format("%s%lld %s", i ? ", " : "", (long long)f->others[i].count,
				       f->others[i].extension);
		strncat(found, one, sizeof found - strlen(found) - 1);
		otp_free(one);
	}
	if (f->base.skipped_count)
		return otp_fail(err, f->root,
				"holds no usable image: %lld file%s cannot be read, the first is %s",
				(long long)f->base.skipped_count, f->base.skipped_count == 1 ? "" : "s",
				f->base.skipped[0]);
	if (*found)
		return otp_fail(err, f->root, "holds no images, found %s files; expected %s", found,
				OTP_IMAGE_EXTENSIONS);
	return otp_fail(err, f->root, "holds no files, expected images: %s", OTP_IMAGE_EXTENSIONS);
}

/* ---- digest ------------------------------------------------------------------- */

typedef struct reading {
	const folder *f;
	const int64_t *chosen;
	int64_t count;
	atomic_int_fast64_t next;
} reading;

/* Files that nothing has decoded yet. One that cannot be read counts as empty; decoding will name it. */
static void read_rest(void *argument, int worker)
{
	(void)worker;
	reading *r = argument;
	for (int64_t i; (i = atomic_fetch_add(&r->next, 1)) < r->count;) {
		uint64_t index = (uint64_t)r->chosen[i];
		otp_error ignored = {0};
		size_t bytes = 0;
		if (atomic_load(&r->f->content[index]))
			continue;
		void *data = read_bytes(r->f, &r->f->entries[index], SIZE_MAX, &bytes, &ignored);
		note_content(r->f, index, data ? data : "", data ? bytes : 0);
		otp_free(data);
	}
}

static bool folder_scan(otp_source *base, const int64_t *chosen, int64_t count, otp_pool *pool,
			otp_error *err)
{
	(void)err;
	folder *f = (folder *)base;
	reading r = {.f = f, .chosen = chosen, .count = count};
	otp_pool_run(pool, read_rest, &r);
	base->digest = (uint64_t)count;
	for (int64_t i = 0; i < count; i++) {
		const entry *e = &f->entries[chosen[i]];
		uint64_t content = atomic_load(&f->content[chosen[i]]);
		base->digest = XXH3_64bits_withSeed(&content, sizeof content, base->digest);
		base->digest = XXH3_64bits_withSeed(e->name, strlen(e->name), base->digest);
	}
	return true;
}

static bool folder_former(const otp_source *base, uint64_t *digest)
{
	*digest = ((const folder *)base)->former;
	return true;
}

static const otp_source_ops folder_ops = {.read = folder_read,
					  .close = folder_close,
					  .name = folder_name,
					  .file = folder_file,
					  .scan = folder_scan,
					  .former = folder_former};

static folder *folder_new(const otp_spec *spec, const char *root)
{
	folder *f = otp_calloc(1, sizeof *f);
	f->base = (otp_source){.quiet = spec->look,
			       .ops = &folder_ops,
			       .kind = OTP_DATA_IMAGES,
			       .costly = true,
			       .brightness = 1,
			       .digest_kind = OTP_DIGEST_FILES,
			       .former_kind = OTP_DIGEST_HEADS};
	f->root = otp_strdup(root);
	return f;
}

/* Outputs of different files have different names: files that share a stem keep their extension, and so does
 * a.png.jpg beside an a.png that keeps it. By all names that are there, also of files that are damaged, so
 * that a name does not change when a neighbour is mended. `entries` are sorted. */
static void keep_extensions(folder *f)
{
	for (size_t i = 1; i < f->count; i++) {
		entry *a = &f->entries[i - 1], *b = &f->entries[i];
		if (a->stem == b->stem && memcmp(a->name, b->name, a->stem) == 0)
			a->keeps_extension = b->keeps_extension = true;
	}
	for (bool changed = true; changed;) {
		changed = false;
		for (size_t i = 0; i < f->count; i++) {
			entry *e = &f->entries[i];
			char stem[NAME_BYTES];
			snprintf(stem, sizeof stem, "%.*s", (int)e->stem, e->name);
			const char *dot = strrchr(stem, '.');
			if (e->keeps_extension || !dot)
				continue;
			entry key = {.name = stem, .stem = (size_t)(dot - stem)};
			const entry *other = bsearch(&key, f->entries, f->count, sizeof key, by_name);
			if (other && other->keeps_extension)
				changed = e->keeps_extension = true;
		}
	}
}

/* Keep the first `most` files that are images, name and drop those that are damaged. */
static void keep_images(folder *f, size_t most)
{
	size_t kept = 0;
	for (size_t i = 0; i < f->count; i++) {
		otp_error trouble = {0};
		if (kept < most && look(f, &f->entries[i], &trouble)) {
			f->entries[kept++] = f->entries[i];
			continue;
		}
		if (kept < most) {
			char name[NAME_BYTES];
			otp_source_skip_picture(&f->base, folder_name(&f->base, i, name, sizeof name),
						trouble.text);
		}
		otp_free(f->entries[i].name);
	}
	f->count = kept;
}

/* Sort what was found, keep what is an image. */
static otp_source *folder_finish(folder *f, const otp_spec *spec, otp_error *err)
{
	if (f->count)
		qsort(f->entries, f->count, sizeof *f->entries, by_name);
	keep_extensions(f);
	keep_images(f, spec->look ? LOOKED_AT : SIZE_MAX);
	if (f->count == 0) {
		fail_empty(f, err);
		folder_close(&f->base);
		return NULL;
	}
	const otp_data_survey *s = &f->base.survey;
	bool one_size = s->h_min == s->h_max && s->w_min == s->w_max;
	f->content = otp_calloc(f->count, sizeof *f->content);
	f->base.count = (int64_t)f->count;
	f->base.h = one_size ? s->h_min : 0;
	f->base.w = one_size ? s->w_min : 0;
	f->base.c = s->colour ? 3 : 1;
	return &f->base;
}

otp_source *otp_folder_open(const otp_spec *spec, otp_error *err)
{
	folder *f = folder_new(spec, spec->place);
	if (walk(f, "", NULL, err))
		return folder_finish(f, spec, err);
	folder_close(&f->base);
	return NULL;
}

/* One file as a folder that holds nothing else. */
otp_source *otp_picture_open(const otp_spec *spec, otp_error *err)
{
	struct stat info;
	const char *slash = strrchr(spec->place, '/');
	char *root = slash ? otp_format("%.*s", (int)(slash - spec->place), spec->place) : otp_strdup(".");
	folder *f = folder_new(spec, root);
	otp_free(root);
	bool found = stat(spec->place, &info) == 0;
	note_file(f, otp_strdup(slash ? slash + 1 : spec->place), 0, found ? (uint64_t)info.st_size : 0);
	return folder_finish(f, spec, err);
}

otp_source *otp_zip_open(const otp_spec *spec, otp_error *err)
{
	int code = 0;
	zip_t *zip = zip_open(spec->place, ZIP_RDONLY, &code);
	if (!zip) {
		otp_fail(err, spec->place, "cannot be opened as a zip: damaged or cut short");
		return NULL;
	}
	folder *f = folder_new(spec, spec->place);
	f->archive = otp_calloc(1, sizeof *f->archive);
	f->archive->zip = zip;
	pthread_mutex_init(&f->archive->lock, NULL);
	walk_zip(f);
	return folder_finish(f, spec, err);
}
