/* folder: a folder of images with its sub-folders, or a zip of one. Sorted by
 * name, hidden files left out; files that cannot be read are named and skipped,
 * and what is not read at all is counted by kind.
 */
#include "data/source.h"

#include "core/file.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/tally.h"
#include "data/archive.h"
#include "data/kinds.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <search.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

typedef struct file_entry {   /* <search.h> has a struct entry */
	char *name;	      /* below the folder, with extension */
	size_t stem;	      /* length without extension */
	bool keeps_extension; /* in the names of outputs: a.jpg beside a.png */
	uint64_t in_zip;      /* its number there */
	uint64_t bytes;
	int64_t changed_ns; /* when; of files alone */
} entry;

/* A look reads so many headers: a run needs one size for all files unless it is told one. */
enum { LOOKED_AT = 64, NAME_BYTES = 4096 };

typedef struct folder {
	otp_source base;
	char *root;
	int64_t most_pixels;
	otp_archive *archive; /* NULL: a folder */
	uint64_t former;      /* digest of kind OTP_DIGEST_HEADS */
	entry *entries;
	size_t count, room;
	atomic_uint_fast64_t *content; /* (count) hash of each file's bytes; 0: not read yet */
	void *seen;		       /* tsearch: folders that were listed */
	char **links;		       /* to folders, still to be followed */
	size_t link_count;
	otp_error refused;    /* the first thing that the machine would not list or tell of */
	otp_kinds unread;     /* what else lies there */
	char *unread_picture; /* the first of these that is one; NULL: none is */
} folder;

static char *path_of(const folder *f, const char *name) { return otp_format("%s/%s", f->root, name); }

static void skip(folder *f, const char *name, const char *why)
{
	char *text = otp_format("%s/%s: %s", f->root, name, why);
	otp_source_skip(&f->base, text);
	otp_free(text);
}

/* ---- reading ------------------------------------------------------------------ */

/* A file may have become a pipe since it was found: opening must not wait. */
static bool read_file(const char *path, uint8_t *to, size_t bytes, otp_error *err)
{
	struct stat info;
	size_t done = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
		fd < 0 ? otp_file_fail_read(err, path, errno)
		       : otp_fail(err, path, "cannot be opened: no file");
	} else {
		int64_t got = otp_file_get(fd, to, bytes);
		done = got > 0 ? (size_t)got : 0;
		if (got < 0)
			otp_file_fail_read(err, path, errno);
		else if (done < bytes)
			otp_fail(err, path, "cannot be read to its end");
	}
	if (fd >= 0)
		close(fd);
	return done == bytes && fd >= 0 && err->exit_code == 0;
}

/* An entry's bytes, `most` at most. otp_free it. */
static void *read_bytes(const folder *f, const entry *e, size_t most, size_t *bytes, otp_error *err)
{
	enum { MOST_BYTES = INT32_MAX }; /* libraries count in int */
	char *path = path_of(f, e->name);
	uint8_t *data = NULL;
	bool ok = false;
	*bytes = e->bytes < most ? (size_t)e->bytes : most;
	if (*bytes > MOST_BYTES)
		otp_fail(err, path, "is %zu bytes long, pictures of up to 2 GiB can be read", *bytes);
	else if (!(data = otp_try_calloc(*bytes + 1, 1)))
		otp_fail_memory(err, path, *bytes, "a file", otp_memory_available());
	else
		ok = f->archive ? otp_archive_read(f->archive, e->in_zip, data, *bytes, path, err)
				: read_file(path, data, *bytes, err);
	if (!ok) {
		otp_free(data);
		data = NULL;
	}
	otp_free(path);
	return data;
}

/* ---- what is there ---------------------------------------------------------- */

static bool is_hidden(const char *name) { return name[0] == '.' || strcmp(name, "__MACOSX") == 0; }

/* Count what no picture's name says it is. Its first bytes tell the kind. */
static void note_unread(folder *f, const entry *e)
{
	otp_error trouble = {0};
	size_t bytes;
	bool picture = false;
	if (f->base.quiet)
		return;
	uint8_t *head = read_bytes(f, e, OTP_KIND_BYTES, &bytes, &trouble);
	otp_kinds_add(&f->unread, head ? otp_kind_of(head, bytes, &picture) : "unreadable");
	otp_free(head);
	if (!picture)
		return;
	char *path = path_of(f, e->name), *text = otp_format("%s: is of a format that is not read", path);
	otp_source_leave_out(&f->base, e->name, text);
	otp_free(text);
	if (!f->unread_picture)
		f->unread_picture = path;
	else
		otp_free(path);
}

/* Takes its name over. */
static void note_entry(folder *f, entry e)
{
	char *name = e.name;
	if (!otp_image_name_fits(name)) {
		note_unread(f, &e);
		otp_free(name);
		return;
	}
	if (f->count == f->room) {
		size_t room = f->room ? 2 * f->room : 256;
		f->entries = otp_realloc(f->entries, f->count * sizeof(entry), room * sizeof(entry));
		f->room = room;
	}
	e.stem = (size_t)(strrchr(name, '.') - name);
	f->entries[f->count++] = e;
}

/* The same of a file that is none of an archive's. */
static void note_file(folder *f, char *name, const struct stat *info)
{
	note_entry(f,
		   (entry){.name = name,
			   .bytes = (uint64_t)info->st_size,
			   .changed_ns = (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec});
}

static void say_unread(const folder *f)
{
	if (!f->unread.files)
		return;
	char *text = otp_kinds_text(&f->unread);
	otp_log("%s: %lld file%s not read: %s%s%s", f->root, (long long)f->unread.files,
		f->unread.files == 1 ? " is" : "s are", text,
		f->unread_picture ? "; the first picture of these is " : "",
		f->unread_picture ? f->unread_picture : "");
	otp_free(text);
}

/* ---- in a folder -------------------------------------------------------------- */

typedef struct identity {
	dev_t device;
	ino_t inode;
} identity;

static int by_identity(const void *a, const void *b)
{
	const identity *p = a, *q = b;
	return p->device != q->device ? (p->device > q->device) - (p->device < q->device)
				      : (p->inode > q->inode) - (p->inode < q->inode);
}

/* Whether a folder is met for the first time: links lead to one by many ways, or back to one above. */
static bool is_new(folder *f, const struct stat *info)
{
	identity *key = otp_calloc(1, sizeof *key);
	*key = (identity){info->st_dev, info->st_ino};
	identity **found = tsearch(key, &f->seen, by_identity);
	if (found && *found == key)
		return true;
	otp_free(key);
	return false;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void walk(folder *f, const char *below);

/* What is not there, or is not for this user, is left out by name, like what is damaged. Any other failure
 * may pass, so that nothing may be left out for it. */
static void pass_over(folder *f, const char *path, const char *what, int why)
{
	bool stays = why == EACCES || why == EPERM || why == ENOENT || why == ENOTDIR || why == ELOOP ||
		     why == ENAMETOOLONG;
	char *text = otp_format("%s: %s%s", path, what, strerror(why));
	if (stays)
		otp_source_skip(&f->base, text);
	else if (!f->refused.exit_code)
		otp_fail_machine(&f->refused, path, "%s%s", what, strerror(why));
	otp_free(text);
}

/* One name of a folder. A link to a folder waits until all that is no link was
 * walked: a folder that has a name of its own goes by that. Takes `name` over. */
static void visit(folder *f, char *name)
{
	struct stat info;
	char *path = path_of(f, name);
	bool link = lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
	bool there = stat(path, &info) == 0;
	if (!there) {
		pass_over(f, path, "", errno);
	} else if (S_ISDIR(info.st_mode) && link) {
		f->links = otp_realloc(f->links, f->link_count * sizeof *f->links,
				       (f->link_count + 1) * sizeof *f->links);
		f->links[f->link_count++] = name;
		name = NULL;
	} else if (S_ISDIR(info.st_mode)) {
		walk(f, name);
	} else if (S_ISREG(info.st_mode)) {
		note_file(f, name, &info);
		name = NULL;
	} else if (otp_image_name_fits(name)) {
		skip(f, name, "is a pipe, device or socket, no file");
	} else {
		otp_kinds_add(&f->unread, "pipe or device");
	}
	otp_free(name);
	otp_free(path);
}

/* The files of one folder and of those in it, in the order of their names. */
static void walk(folder *f, const char *below)
{
	struct stat info;
	struct dirent **names = NULL;
	char *path = *below ? path_of(f, below) : otp_strdup(f->root);
	bool there = stat(path, &info) == 0;
	if (there && !is_new(f, &info)) {
		otp_free(path);
		return;
	}
	int count = there ? scandir(path, &names, NULL, by_bytes) : -1;
	if (count < 0)
		pass_over(f, path, "this folder cannot be listed: ", errno);
	else
		otp_source_note_folder(&f->base, path);
	for (int i = 0; i < count; i++) {
		const char *name = names[i]->d_name;
		if (!is_hidden(name))
			visit(f, *below ? otp_format("%s/%s", below, name) : otp_strdup(name));
		free(names[i]);
	}
	free(names);
	otp_free(path);
}

/* ---- in a zip ------------------------------------------------------------------ */

static bool has_hidden_part(const char *name)
{
	for (const char *part = name; part; part = strchr(part, '/')) {
		part += *part == '/';
		char *one = otp_format("%.*s", (int)strcspn(part, "/"), part);
		bool hidden = is_hidden(one);
		otp_free(one);
		if (hidden)
			return true;
	}
	return false;
}

/* One line for the archive, not one for each file: an error where no picture is left. */
static bool say_locked(folder *f, int64_t encrypted, int64_t packed, int method, otp_error *err)
{
	const char *left = f->count ? "" : ", and it holds no others";
	otp_error trouble = {0};
	if (encrypted)
		otp_fail(&trouble, f->root, "%lld of its pictures are encrypted, which are not read%s",
			 (long long)encrypted, left);
	else if (packed)
		otp_fail(&trouble, f->root,
			 "%lld of its pictures are packed by method %d%s, which cannot be unpacked here%s",
			 (long long)packed, method,
			 method == 14  ? " (LZMA)"
			 : method == 9 ? " (Deflate64)"
				       : "",
			 left);
	if (!encrypted && !packed)
		return true;
	if (!f->count)
		*err = trouble;
	else if (!f->base.quiet)
		otp_log("otplan: skipped: %s", trouble.text);
	return f->count > 0;
}

static void leave_locked(folder *f, const otp_archived *e)
{
	char *text =
	    otp_format("%s/%s: %s", f->root, e->name,
		       e->encrypted ? "is encrypted" : "is packed by a method that is not known here");
	otp_source_leave_out(&f->base, e->name, text);
	otp_free(text);
}

/* `below`: the folder of the zip that is the set, NULL: all of it. */
static bool walk_zip(folder *f, const char *below, otp_error *err)
{
	size_t skip = below ? strlen(below) + 1 : 0;
	otp_archived e;
	int64_t encrypted = 0, packed = 0;
	int method = 0;
	for (uint64_t i = 0; i < otp_archive_count(f->archive); i++) {
		if (!otp_archive_entry(f->archive, i, &e))
			continue;
		if (below && (strncmp(e.name, below, skip - 1) != 0 || e.name[skip - 1] != '/'))
			continue;
		e.name += skip;
		if (has_hidden_part(e.name))
			continue;
		bool locked = e.encrypted || !e.can_unpack;
		if (locked && otp_image_name_fits(e.name)) {
			encrypted += e.encrypted;
			packed += !e.encrypted;
			method = e.encrypted ? method : e.method;
			leave_locked(f, &e);
		} else {
			note_entry(f, (entry){.name = otp_strdup(e.name), .in_zip = i, .bytes = e.bytes});
		}
	}
	return say_locked(f, encrypted, packed, method, err);
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

/* ---- samples ------------------------------------------------------------------ */

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
	char *path = path_of(f, e->name);
	bool ok = otp_image_decode(data, bytes, path, f->most_pixels, out, err);
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

static void look(const folder *f, const entry *e, head *out)
{
	enum { HEAD = 1 << 16 };
	size_t bytes;
	char *path = path_of(f, e->name);
	*out = (head){.known = false};
	/* A JPEG may carry more than a head's worth of notes before it tells its size. */
	for (size_t most = HEAD; !out->known; most = SIZE_MAX) {
		otp_error unread = {0};
		void *data = read_bytes(f, e, most, &bytes, &unread);
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

/* An image into survey and digest. */
static void note_head(folder *f, const entry *e, const head *h)
{
	const otp_image_facts *is = &h->is;
	otp_data_survey *s = &f->base.survey;
	bool first = s->grey + s->colour == 0;
	f->former = XXH3_64bits_withSeed(h->bytes, h->count, f->former);
	f->former = XXH3_64bits_withSeed(e->name, strlen(e->name), f->former ^ e->bytes);
	s->grey += is->c <= 2;
	s->colour += is->c > 2;
	s->alpha += is->c % 2 == 0;
	s->deep += is->deep;
	s->pixels += (int64_t)is->h * is->w;
	s->h_min = first || is->h < s->h_min ? is->h : s->h_min;
	s->w_min = first || is->w < s->w_min ? is->w : s->w_min;
	s->h_max = is->h > s->h_max ? is->h : s->h_max;
	s->w_max = is->w > s->w_max ? is->w : s->w_max;
}

typedef struct looking {
	const folder *f;
	const entry *entries;
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

static bool fail_empty(const folder *f, otp_error *err)
{
	char *found = otp_kinds_text(&f->unread);
	int64_t skipped = f->base.skipped_count;
	if (skipped)
		otp_fail(err, f->root, "holds no usable image: %lld cannot be read, the first is %s",
			 (long long)skipped, f->base.skipped[0]);
	else if (*found)
		otp_fail(err, f->root, "holds no images, found %s; expected %s", found, OTP_IMAGE_EXTENSIONS);
	else
		otp_fail(err, f->root, "holds no files, expected images: %s", OTP_IMAGE_EXTENSIONS);
	otp_free(found);
	return false;
}

/* ---- digest ------------------------------------------------------------------- */

typedef struct reading {
	const folder *f;
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
		void *data = read_bytes(r->f, &r->f->entries[index], SIZE_MAX, &bytes, &trouble);
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
	folder *f = (folder *)base;
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
		const entry *e = &f->entries[chosen[i]];
		uint64_t content = atomic_load(&f->content[chosen[i]]);
		base->digest = XXH3_64bits_withSeed(&content, sizeof content, base->digest);
		base->digest = XXH3_64bits_withSeed(e->name, strlen(e->name), base->digest);
	}
	return true;
}

static uint64_t folder_listing(const otp_source *base)
{
	const folder *f = (const folder *)base;
	uint64_t digest = f->former;
	for (size_t i = 0; i < f->count; i++) {
		int64_t facts[2] = {(int64_t)f->entries[i].bytes, f->entries[i].changed_ns};
		digest = XXH3_64bits_withSeed(facts, sizeof facts, digest);
	}
	return digest;
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
					  .listing = folder_listing,
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
	/* A look takes no memory for pixels. */
	f->most_pixels = spec->look	     ? INT64_MAX
			 : spec->most_pixels ? spec->most_pixels
					     : OTP_IMAGE_MOST_PIXELS;
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

/* One file after its head was read: kept, or named and dropped. */
static void keep_image(folder *f, size_t i, const head *h, size_t *kept, otp_error *err)
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
		otp_source_skip_picture(&f->base, folder_name(&f->base, i, name, sizeof name),
					h->trouble.text);
	otp_free(f->entries[i].name);
}

/* Keep the first `most` files that are images, name and drop those that are damaged. Heads are read side by
 * side: on a disk far away each takes its time. */
static bool keep_images(folder *f, size_t most, otp_error *err)
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

/* Sort what was found, keep what is an image. */
static otp_source *folder_finish(folder *f, const otp_spec *spec, otp_error *err)
{
	if (f->count)
		qsort(f->entries, f->count, sizeof *f->entries, by_name);
	keep_extensions(f);
	if (f->refused.exit_code)
		*err = f->refused;
	if (f->refused.exit_code || !keep_images(f, spec->look ? LOOKED_AT : SIZE_MAX, err) ||
	    f->count == 0) {
		fail_empty(f, err); /* the first error stays */
		folder_close(&f->base);
		return NULL;
	}
	say_unread(f);
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
	walk(f, "");
	for (size_t i = 0; i < f->link_count; i++)
		walk(f, f->links[i]);
	return folder_finish(f, spec, err);
}

/* One file as a folder that holds nothing else. */
otp_source *otp_picture_open(const otp_spec *spec, otp_error *err)
{
	struct stat info;
	const char *slash = strrchr(spec->place, '/');
	char *root = slash ? otp_format("%.*s", (int)(slash - spec->place), spec->place) : otp_strdup(".");
	folder *f = folder_new(spec, root);
	otp_free(root);
	if (stat(spec->place, &info) != 0)
		info = (struct stat){0};
	note_file(f, otp_strdup(slash ? slash + 1 : spec->place), &info);
	return folder_finish(f, spec, err);
}

otp_source *otp_zip_open(const otp_spec *spec, otp_error *err)
{
	char *file, *name;
	otp_source *source = NULL;
	otp_source_split_name(spec->place, &file, &name);
	otp_archive *archive = otp_archive_open(file, err);
	if (archive) {
		folder *f = folder_new(spec, spec->place);
		f->archive = archive;
		if (walk_zip(f, name && *name == '/' ? name + 1 : name, err))
			source = folder_finish(f, spec, err);
		else
			folder_close(&f->base);
	}
	otp_free(file);
	otp_free(name);
	return source;
}
