/* outputs: the plan, its check, and what becomes of it. */
#include "data/outputs.h"

#include "core/file.h"
#include "core/log.h"
#include "core/words.h"
#include "data/manifest.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file or folder that is read, whatever it is called. */
typedef struct input {
	dev_t device;
	ino_t inode;
} input;

typedef struct input_list {
	input *each;
	size_t count, room;
} input_list;

typedef struct text_list {
	char **each;
	size_t count, room;
} text_list;

struct otp_outputs {
	char *folder;
	bool overwrite;
	input_list files, folders;
	otp_made_list planned, known; /* known: of the manifest, by name */
	const otp_made **by_name;     /* (planned.count), after the check */
	text_list series, alone;
	size_t made;
	double saved_at, save_took; /* seconds */
};

/* ---- lists ------------------------------------------------------------------- */

static void add_text(text_list *l, const char *text)
{
	l->each = otp_grown(l->each, l->count, &l->room, sizeof *l->each);
	l->each[l->count++] = otp_strdup(text);
}

static void free_texts(text_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		otp_free(l->each[i]);
	otp_free(l->each);
}

static int by_planned_name(const void *a, const void *b)
{
	return otp_made_by_name(*(const otp_made *const *)a, *(const otp_made *const *)b);
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int by_inode(const void *a, const void *b)
{
	const input *p = a, *q = b;
	int order = (p->device > q->device) - (p->device < q->device);
	return order ? order : (p->inode > q->inode) - (p->inode < q->inode);
}

static void sort(void *list, size_t count, size_t each, int (*order)(const void *, const void *))
{
	if (count)
		qsort(list, count, each, order);
}

static bool is_planned(const otp_outputs *o, const char *name)
{
	const otp_made key = {.name = (char *)name}, *at = &key;
	return o->planned.count &&
	       bsearch(&at, o->by_name, o->planned.count, sizeof *o->by_name, by_planned_name);
}

static bool has_series(const otp_outputs *o, const char *series)
{
	return o->series.count && bsearch(&series, o->series.each, o->series.count, sizeof series, by_text);
}

/* ---- inputs ------------------------------------------------------------------- */

static void add_input(input_list *l, const char *path)
{
	struct stat info;
	if (stat(path, &info) != 0)
		return;
	l->each = otp_grown(l->each, l->count, &l->room, sizeof *l->each);
	l->each[l->count++] = (input){info.st_dev, info.st_ino};
}

static bool is_input(const input_list *l, const struct stat *info)
{
	input key = {info->st_dev, info->st_ino};
	return l->count && bsearch(&key, l->each, l->count, sizeof key, by_inode);
}

static void add_folders(input_list *l, const otp_dataset *d)
{
	const char *folder;
	for (int64_t i = 0; (folder = otp_dataset_folder(d, i)); i++)
		add_input(l, folder);
}

void otp_outputs_protect_file(otp_outputs *o, const char *path) { add_input(&o->files, path); }

void otp_outputs_protect_set(otp_outputs *o, const otp_dataset *d)
{
	char *place = otp_dataset_place(d);
	int64_t count = place && otp_file_is_folder(place) ? otp_dataset_describe(d).count : 0;
	add_folders(&o->folders, d);
	for (int64_t i = 0; i < count; i++) {
		char *path = otp_format("%s/%s", place, otp_dataset_file(d, (uint64_t)i));
		add_input(&o->files, path);
		otp_free(path);
	}
	if (place)
		add_input(&o->files, place);
	otp_free(place);
}

/* ---- places ------------------------------------------------------------------- */

static char *parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		return otp_strdup(".");
	return slash == path ? otp_strdup("/") : otp_format("%.*s", (int)(slash - path), path);
}

static char *path_of(const otp_outputs *o, const char *name)
{
	if (strcmp(o->folder, ".") == 0)
		return otp_strdup(name);
	return otp_format("%s%s%s", o->folder, o->folder[strlen(o->folder) - 1] == '/' ? "" : "/", name);
}

/* The whole path with links and `..` followed; what is not there yet stays as it is written. */
static char *resolve(const char *path)
{
	char *working = *path == '/' ? NULL : realpath(".", NULL);
	char *now = otp_strdup(working ? working : "/"), *parts = otp_strdup(path), *rest = NULL;
	free(working);
	for (char *part = strtok_r(parts, "/", &rest); part; part = strtok_r(NULL, "/", &rest)) {
		if (strcmp(part, ".") == 0)
			continue;
		char *next =
		    strcmp(part, "..") == 0 ? parent_of(now) : otp_format("%s/%s", now[1] ? now : "", part);
		char *real = realpath(next, NULL);
		otp_free(now);
		now = otp_strdup(real ? real : next);
		free(real);
		otp_free(next);
	}
	otp_free(parts);
	return now;
}

/* Is the folder, or one above it, a folder of inputs? */
static bool is_inside(const input_list *folders, const char *folder)
{
	struct stat info;
	bool inside = false;
	for (char *at = resolve(folder), *up; at; at = up) {
		inside = inside || (stat(at, &info) == 0 && is_input(folders, &info));
		up = inside || !at[1] ? NULL : parent_of(at);
		otp_free(at);
	}
	return inside;
}

bool otp_outputs_outside(const char *folder, const otp_dataset *d, const char *where, otp_error *err)
{
	input_list folders = {0};
	add_folders(&folders, d);
	sort(folders.each, folders.count, sizeof *folders.each, by_inode);
	bool ok = !is_inside(&folders, folder) ||
		  otp_fail(err, where, "%s is or lies inside %s, which is read; choose a folder outside it",
			   folder, otp_dataset_describe(d).spec);
	otp_free(folders.each);
	return ok;
}

/* ---- manifest ----------------------------------------------------------------- */

/* ---- the manifest -------------------------------------------------------------- */

/* What was made since goes into the manifest that lies there now, to which another process may have added. */
static bool save(otp_outputs *o, otp_error *err)
{
	double start = otp_seconds();
	otp_made_list now = {0}, lines = {0};
	bool ok = otp_manifest_read(o->folder, &now, err);
	for (size_t i = 0; i < now.count; i++) {
		const otp_made key = {.name = now.each[i].name}, *at = &key,
			       *const *planned = o->planned.count
						     ? bsearch(&at, o->by_name, o->planned.count,
							       sizeof *o->by_name, by_planned_name)
						     : NULL;
		const otp_made *known = otp_made_find(&o->known, key.name);
		if (!(planned && (*planned)->done) && !(known && known->done))
			otp_made_add(&lines, now.each[i]);
	}
	for (size_t i = 0; i < o->planned.count; i++)
		if (o->planned.each[i].done)
			otp_made_add(&lines, o->planned.each[i]);
	sort(lines.each, lines.count, sizeof *lines.each, otp_made_by_name);
	ok = ok && otp_manifest_write(o->folder, &lines, err);
	otp_free(lines.each); /* its texts belong to the other lists */
	otp_made_free(&now);
	o->saved_at = otp_seconds();
	o->save_took = o->saved_at - start;
	return ok;
}

/* ---- planning ----------------------------------------------------------------- */

otp_outputs *otp_outputs_new(const char *folder, bool overwrite)
{
	otp_outputs *o = otp_calloc(1, sizeof *o);
	o->folder = otp_strdup(folder);
	o->overwrite = overwrite;
	o->saved_at = otp_seconds();
	return o;
}

void otp_outputs_free(otp_outputs *o)
{
	if (!o)
		return;
	otp_free(o->files.each);
	otp_free(o->folders.each);
	otp_made_free(&o->planned);
	otp_made_free(&o->known);
	otp_free(o->by_name);
	free_texts(&o->series);
	free_texts(&o->alone);
	otp_free(o->folder);
	otp_free(o);
}

void otp_outputs_plan(otp_outputs *o, const char *name, const char *series)
{
	otp_made_add(&o->planned, (otp_made){.name = otp_strdup(name), .series = otp_strdup(series)});
	otp_outputs_plan_none(o, series);
}

void otp_outputs_plan_none(otp_outputs *o, const char *series)
{
	size_t count = o->series.count;
	if (!count || strcmp(o->series.each[count - 1], series) != 0) /* samples of one input come together */
		add_text(&o->series, series);
}

void otp_outputs_plan_alone(otp_outputs *o, const char *subfolder) { add_text(&o->alone, subfolder); }

/* ---- the check ---------------------------------------------------------------- */

static void sort_all(otp_outputs *o)
{
	sort(o->files.each, o->files.count, sizeof *o->files.each, by_inode);
	sort(o->folders.each, o->folders.count, sizeof *o->folders.each, by_inode);
	sort(o->series.each, o->series.count, sizeof *o->series.each, by_text);
	o->by_name = otp_calloc(o->planned.count, sizeof *o->by_name);
	for (size_t i = 0; i < o->planned.count; i++)
		o->by_name[i] = &o->planned.each[i];
	sort(o->by_name, o->planned.count, sizeof *o->by_name, by_planned_name);
}

/* Samples are numbered, so that an output's name may be longer than its input's. */
static bool check_length(const otp_outputs *o, const char *name, otp_error *err)
{
	for (const char *part = name; *part; part += strcspn(part, "/"), part += *part == '/') {
		size_t bytes = strcspn(part, "/");
		if (bytes > NAME_MAX)
			return otp_fail(err, o->folder,
					"the output %.*s would have a name of %zu bytes, up to %d can be",
					(int)bytes, part, bytes, NAME_MAX);
	}
	return true;
}

/* Every output has a name of its own, none the name of a folder of another: a zip may hold anything. */
static bool check_names(const otp_outputs *o, otp_error *err)
{
	bool ok = true;
	for (size_t i = 0; ok && i < o->planned.count; i++) {
		const char *name = o->by_name[i]->name;
		if (otp_made_leads_out(name))
			return otp_fail(err, o->folder, "%s leads out of the folder of outputs", name);
		if (!check_length(o, name, err))
			return false;
		if (i && strcmp(o->by_name[i - 1]->name, name) == 0)
			return otp_fail(err, o->folder, "two outputs would be named %s", name);
		for (const char *slash = strchr(name, '/'); ok && slash; slash = strchr(slash + 1, '/')) {
			char *folder = otp_format("%.*s", (int)(slash - name), name);
			ok = !is_planned(o, folder) ||
			     otp_fail(err, o->folder, "%s would be an output and the folder of %s", folder,
				      name);
			otp_free(folder);
		}
	}
	return ok;
}

/* A folder that will be made, or is there: outside the inputs, and no file in its way. */
static bool check_folder(const otp_outputs *o, const char *folder, otp_error *err)
{
	struct stat info;
	bool ok = true;
	if (stat(folder, &info) == 0 && is_input(&o->folders, &info))
		return otp_fail(err, folder, "is the input itself, choose another place for the outputs");
	if (is_inside(&o->folders, folder))
		return otp_fail(err, folder,
				"lies inside the input's folder, choose a place for the outputs outside it");
	for (char *at = otp_strdup(folder), *up; at; at = up) {
		bool there = stat(at, &info) == 0;
		ok = !there || S_ISDIR(info.st_mode) ||
		     otp_fail(err, folder, "folder cannot be made: a file of that name exists");
		up = there || strcmp(at, ".") == 0 || strcmp(at, "/") == 0 ? NULL : parent_of(at);
		otp_free(at);
	}
	return ok;
}

static bool check_folders(const otp_outputs *o, otp_error *err)
{
	char *last = NULL;
	bool ok = true;
	for (size_t i = 0; ok && i < o->planned.count; i++) {
		char *path = path_of(o, o->by_name[i]->name), *folder = parent_of(path);
		if (!last || strcmp(last, folder) != 0)
			ok = check_folder(o, folder, err);
		otp_free(last);
		otp_free(path);
		last = folder;
	}
	otp_free(last);
	return ok;
}

static bool check_file(const otp_outputs *o, const char *name, otp_error *err)
{
	struct stat info;
	char *path = path_of(o, name);
	const otp_made *known = otp_made_find(&o->known, name);
	bool ok = true, unchanged = false;
	if (stat(path, &info) == 0 && is_input(&o->files, &info))
		ok = otp_fail(err, path, "is the input itself, choose another place for the outputs");
	else if (lstat(path, &info) != 0)
		ok = true;
	else if (S_ISDIR(info.st_mode))
		ok = otp_fail(err, path, "is a folder, expected a file or nothing");
	else if (!o->overwrite && !known)
		ok = otp_fail(err, path,
			      "is there and is none of the outputs made here; --overwrite replaces it");
	else if (!o->overwrite)
		ok = otp_made_compare(path, known, &unchanged, err) &&
		     (unchanged ||
		      otp_fail(err, path, "was changed since otplan made it; --overwrite replaces it"));
	otp_free(path);
	return ok;
}

/* Made from an input that is translated again, and not to be made now. */
static bool find_stale(const otp_outputs *o, const otp_made *known, bool *stale, otp_error *err)
{
	struct stat info;
	*stale = !is_planned(o, known->name) && has_series(o, known->series);
	if (!*stale)
		return true;
	char *path = path_of(o, known->name);
	bool ok = otp_made_compare(path, known, stale, err);
	*stale = *stale && stat(path, &info) == 0 && !is_input(&o->files, &info);
	otp_free(path);
	return ok;
}

static bool check_alone(const otp_outputs *o, const char *subfolder, otp_error *err)
{
	char *path = path_of(o, subfolder);
	otp_file_names there;
	bool ok = otp_file_list(path, &there, err);
	for (int i = 0; ok && i < there.count; i++) {
		char *name = otp_format("%s/%s", subfolder, there.each[i]->d_name);
		const otp_made *known = otp_made_find(&o->known, name);
		bool stale = false;
		ok = (!known || find_stale(o, known, &stale, err)) &&
		     (stale || is_planned(o, name) ||
		      otp_fail(err, path, "holds %s, which is no part of this export; choose another folder",
			       there.each[i]->d_name));
		otp_free(name);
	}
	otp_file_list_free(&there);
	otp_free(path);
	return ok;
}

bool otp_outputs_check(otp_outputs *o, otp_error *err)
{
	sort_all(o);
	bool ok =
	    check_names(o, err) && check_folders(o, err) && otp_manifest_read(o->folder, &o->known, err);
	for (size_t i = 0; ok && i < o->planned.count; i++)
		ok = check_file(o, o->by_name[i]->name, err);
	for (size_t i = 0; ok && i < o->alone.count; i++)
		ok = check_alone(o, o->alone.each[i], err);
	return ok;
}

/* ---- writing ------------------------------------------------------------------ */

char *otp_outputs_path(const otp_outputs *o, size_t i) { return path_of(o, o->planned.each[i].name); }

char *otp_outputs_begin(otp_outputs *o, size_t i, otp_error *err)
{
	char *path = otp_outputs_path(o, i), *folder = parent_of(path);
	bool ok = otp_file_make_folder(folder, err);
	otp_free(folder);
	if (ok)
		return path;
	otp_free(path);
	return NULL;
}

bool otp_outputs_read_back(const otp_outputs *o, size_t i, otp_written *written, otp_error *err)
{
	char *path = otp_outputs_path(o, i);
	written->output = i;
	bool ok = otp_made_digest(path, &written->bytes, &written->digest) ||
		  otp_fail_machine(err, path, "cannot be read back: %s", strerror(errno));
	otp_free(path);
	return ok;
}

bool otp_outputs_note(otp_outputs *o, const otp_written *written, otp_error *err)
{
	/* Now and then, so that a killed process leaves few outputs that nobody knows; at little cost. */
	const double seconds = 5, share = 20;
	otp_made *x = &o->planned.each[written->output];
	x->bytes = written->bytes;
	x->digest = written->digest;
	x->done = true;
	o->made++;
	return otp_seconds() - o->saved_at < seconds + share * o->save_took || save(o, err);
}

bool otp_outputs_end(otp_outputs *o, size_t i, otp_error *err)
{
	otp_written written;
	return otp_outputs_read_back(o, i, &written, err) && otp_outputs_note(o, &written, err);
}

static bool remove_stale(otp_outputs *o, otp_error *err)
{
	long long removed = 0;
	bool ok = true;
	for (size_t i = 0; ok && i < o->known.count; i++) {
		otp_made *known = &o->known.each[i];
		bool stale;
		ok = find_stale(o, known, &stale, err);
		if (!ok || !stale)
			continue;
		char *path = path_of(o, known->name);
		known->done = unlink(path) == 0;
		ok = known->done || otp_fail_machine(err, path, "cannot be removed: %s", strerror(errno));
		otp_free(path);
		removed += known->done;
	}
	if (removed)
		otp_log("removed %lld output%s of an earlier run", removed, otp_plural(removed));
	return ok;
}

bool otp_outputs_finish(otp_outputs *o, bool ok, otp_error *err)
{
	ok = ok && remove_stale(o, err);
	if (!o->made)
		return ok;
	return save(o, err) && ok;
}
