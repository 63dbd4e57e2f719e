/* folder_files: which files a folder with its sub-folders holds, or a zip, and their bytes. Hidden ones are
 * left out; what is not read at all is counted by kind.
 */
#include "data/folder.h"

#include "core/file.h"
#include "core/log.h"
#include "core/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *otp_folder_path(const otp_folder *f, const char *name) { return otp_format("%s/%s", f->root, name); }

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
void *otp_folder_read(const otp_folder *f, const otp_file_entry *e, size_t most, size_t *bytes,
		      otp_error *err)
{
	enum { MOST_BYTES = INT32_MAX }; /* libraries count in int */
	char *path = otp_folder_path(f, e->name);
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
static void note_unread(otp_folder *f, const otp_file_entry *e)
{
	otp_error trouble = {0};
	size_t bytes;
	bool picture = false;
	uint8_t *head = otp_folder_read(f, e, OTP_KIND_BYTES, &bytes, &trouble);
	otp_kinds_add(&f->unread, head ? otp_kind_of(head, bytes, &picture) : "unreadable");
	otp_free(head);
	if (!picture)
		return;
	char *path = otp_folder_path(f, e->name),
	     *text = otp_format("%s: is of a format that is not read", path);
	otp_source_leave_out(&f->base,
			     &(otp_left_out){.why = text, .picture = (char *)e->name, .before = -1});
	otp_free(text);
	if (!f->unread_picture)
		f->unread_picture = path;
	else
		otp_free(path);
}

/* Takes its name over. */
static void note_entry(otp_folder *f, otp_file_entry e)
{
	char *name = e.name;
	if (!otp_image_name_fits(name)) {
		note_unread(f, &e);
		otp_free(name);
		return;
	}
	if (f->count == f->room) {
		size_t room = f->room ? 2 * f->room : 256;
		f->entries =
		    otp_realloc(f->entries, f->count * sizeof(otp_file_entry), room * sizeof(otp_file_entry));
		f->room = room;
	}
	e.stem = (size_t)(strrchr(name, '.') - name);
	f->entries[f->count++] = e;
}

/* The same of a file that is none of an archive's. */
void otp_folder_note_file(otp_folder *f, char *name, const struct stat *info)
{
	note_entry(f, (otp_file_entry){.name = name,
				       .bytes = (uint64_t)info->st_size,
				       .changed_ns = (int64_t)info->st_mtim.tv_sec * 1000000000 +
						     info->st_mtim.tv_nsec});
}

void otp_folder_say_unread(const otp_folder *f)
{
	if (f->base.quiet || !f->unread.files)
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
static bool is_new(otp_folder *f, const struct stat *info)
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

static void walk(otp_folder *f, const char *below);

/* A picture by its name that is no file. It stands where the file would. */
static void leave_out(otp_folder *f, const char *name, const char *why)
{
	char *text = otp_format("%s/%s: %s", f->root, name, why);
	otp_source_leave_out(
	    &f->base, &(otp_left_out){.why = text, .picture = (char *)name, .before = -1, .unsaid = true});
	otp_free(text);
}

/* What is not there stays so. Any other failure may pass, or hide more, so that nothing may be left out for
 * it. */
static bool is_nothing(int why)
{
	return why == ENOENT || why == ENOTDIR || why == ELOOP || why == ENAMETOOLONG;
}

static void refuse(otp_folder *f, const char *path, const char *what, int why)
{
	if (!f->refused.exit_code)
		otp_fail_machine(&f->refused, path, "%s%s", what, strerror(why));
}

static void visit_nothing(otp_folder *f, const char *name, const char *path, bool link, int why)
{
	if (!is_nothing(why))
		refuse(f, path, "", why);
	else if (otp_image_name_fits(name))
		leave_out(f, name, link ? "is a link to what is not there" : strerror(why));
	else
		otp_kinds_add(&f->unread, "link to nothing");
}

/* One name of a folder. A link to a folder waits until all that is no link was
 * walked: a folder that has a name of its own goes by that. Takes `name` over. */
static void visit(otp_folder *f, char *name)
{
	struct stat info;
	char *path = otp_folder_path(f, name);
	bool link = lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
	bool there = stat(path, &info) == 0;
	if (!there) {
		visit_nothing(f, name, path, link, errno);
	} else if (S_ISDIR(info.st_mode) && link) {
		f->links = otp_realloc(f->links, f->link_count * sizeof *f->links,
				       (f->link_count + 1) * sizeof *f->links);
		f->links[f->link_count++] = name;
		name = NULL;
	} else if (S_ISDIR(info.st_mode)) {
		walk(f, name);
	} else if (S_ISREG(info.st_mode)) {
		otp_folder_note_file(f, name, &info);
		name = NULL;
	} else if (otp_image_name_fits(name)) {
		leave_out(f, name, "is a pipe, device or socket, no file");
	} else {
		otp_kinds_add(&f->unread, "pipe or device");
	}
	otp_free(name);
	otp_free(path);
}

/* The files of one folder and of those in it, in the order of their names. */
static void walk(otp_folder *f, const char *below)
{
	struct stat info;
	struct dirent **names = NULL;
	char *path = *below ? otp_folder_path(f, below) : otp_strdup(f->root);
	bool there = stat(path, &info) == 0;
	if (there && !is_new(f, &info)) {
		otp_free(path);
		return;
	}
	int count = there ? scandir(path, &names, NULL, by_bytes) : -1;
	if (count < 0 && *below && (errno == EACCES || errno == EPERM))
		leave_out(f, below, "this folder may not be listed");
	else if (count < 0)
		refuse(f, path, "this folder cannot be listed: ", errno);
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

void otp_folder_walk(otp_folder *f)
{
	walk(f, "");
	for (size_t i = 0; i < f->link_count; i++)
		walk(f, f->links[i]);
}

/* ---- in a zip ------------------------------------------------------------------ */

static bool has_part(const char *name, bool (*is)(const char *part))
{
	for (const char *part = name; part; part = strchr(part, '/')) {
		part += part != name && *part == '/';
		char *one = otp_format("%.*s", (int)strcspn(part, "/"), part);
		bool found = is(one);
		otp_free(one);
		if (found)
			return true;
	}
	return false;
}

/* "", ".", "..": a name that is no way down into a folder. */
static bool is_no_name(const char *part)
{
	return !*part || strcmp(part, ".") == 0 || strcmp(part, "..") == 0;
}

/* One line for the archive, not one for each file: an error where no picture is left. */
static bool say_locked(otp_folder *f, int64_t encrypted, int64_t packed, int method, otp_error *err)
{
	const char *left = f->count ? "" : ", and it holds no others";
	otp_error trouble = {0};
	if (encrypted)
		otp_fail(&trouble, f->root, "%lld of its pictures %s encrypted, not read%s",
			 (long long)encrypted, encrypted == 1 ? "is" : "are", left);
	else if (packed)
		otp_fail(&trouble, f->root,
			 "%lld of its pictures %s packed by method %d%s, which cannot be unpacked here%s",
			 (long long)packed, packed == 1 ? "is" : "are", method,
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

static void leave_locked(otp_folder *f, const otp_archived *e)
{
	char *text =
	    otp_format("%s/%s: %s", f->root, e->name,
		       e->encrypted ? "is encrypted" : "is packed by a method that is not known here");
	otp_source_leave_out(&f->base,
			     &(otp_left_out){.why = text, .picture = (char *)e->name, .before = -1});
	otp_free(text);
}

/* `below`: the folder of the zip that is the set, NULL: all of it. */
bool otp_folder_walk_zip(otp_folder *f, const char *below, otp_error *err)
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
		if (has_part(e.name, is_no_name)) {
			if (otp_image_name_fits(e.name))
				leave_out(f, e.name, "has a name that leads out of the archive");
			continue;
		}
		if (has_part(e.name, is_hidden))
			continue;
		bool locked = e.encrypted || !e.can_unpack;
		if (locked && otp_image_name_fits(e.name)) {
			encrypted += e.encrypted;
			packed += !e.encrypted;
			method = e.encrypted ? method : e.method;
			leave_locked(f, &e);
		} else {
			note_entry(
			    f, (otp_file_entry){.name = otp_strdup(e.name), .in_zip = i, .bytes = e.bytes});
		}
	}
	return say_locked(f, encrypted, packed, method, err);
}
