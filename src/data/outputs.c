/* outputs: the plan, its check, and the manifest. */
#include "data/outputs.h"

#include "core/file.h"
#include "core/log.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define MANIFEST ".otplan-outputs.jsonl"

/* One output: planned, or a line of the manifest. */
typedef struct output {
	char *name, *series;
	bool done; /* planned: written; of the manifest: removed */
	uint64_t bytes, digest;
} output;

typedef struct output_list {
	output *each;
	size_t count, room;
} output_list;

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
	output_list planned, known; /* known: of the manifest, by name */
	const output **by_name;	    /* (planned.count), after the check */
	text_list series, alone;
	size_t made;
	double saved_at, save_took; /* seconds */
};

/* ---- lists ------------------------------------------------------------------- */

static void add_output(output_list *l, output o)
{
	l->each = otp_grown(l->each, l->count, &l->room, sizeof *l->each);
	l->each[l->count++] = o;
}

static void add_text(text_list *l, const char *text)
{
	l->each = otp_grown(l->each, l->count, &l->room, sizeof *l->each);
	l->each[l->count++] = otp_strdup(text);
}

static void free_outputs(output_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		otp_free(l->each[i].name);
		otp_free(l->each[i].series);
	}
	otp_free(l->each);
	*l = (output_list){0};
}

static void free_texts(text_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		otp_free(l->each[i]);
	otp_free(l->each);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const output *)a)->name, ((const output *)b)->name);
}

static int by_planned_name(const void *a, const void *b)
{
	return by_name(*(const output *const *)a, *(const output *const *)b);
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

static output *find_known(const output_list *l, const char *name)
{
	output key = {.name = (char *)name};
	return l->count ? bsearch(&key, l->each, l->count, sizeof key, by_name) : NULL;
}

static bool is_planned(const otp_outputs *o, const char *name)
{
	const output key = {.name = (char *)name}, *at = &key;
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
		  otp_fail(err, where, "%s lies inside %s, which is read; choose a folder outside it", folder,
			   otp_dataset_describe(d).spec);
	otp_free(folders.each);
	return ok;
}

static bool leads_out(const char *name)
{
	size_t length = strlen(name);
	return name[0] == '/' || strcmp(name, "..") == 0 || strncmp(name, "../", 3) == 0 ||
	       strstr(name, "/../") || (length > 3 && strcmp(name + length - 3, "/..") == 0);
}

/* ---- manifest ----------------------------------------------------------------- */

/* Size and XXH3 of what a file holds; false, with errno, where it is no file that can be read. */
static bool digest_file(const char *path, uint64_t *bytes, uint64_t *digest)
{
	enum { ROOM = 1 << 16 };
	struct stat info;
	ssize_t got = -1;
	errno = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return false;
	if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
		char *data = otp_calloc(ROOM, 1);
		XXH3_state_t *state = XXH3_createState();
		XXH3_64bits_reset(state);
		*bytes = 0;
		while ((got = read(fd, data, ROOM)) > 0 || (got < 0 && errno == EINTR)) {
			XXH3_64bits_update(state, data, got > 0 ? (size_t)got : 0);
			*bytes += got > 0 ? (uint64_t)got : 0;
		}
		*digest = XXH3_64bits_digest(state);
		XXH3_freeState(state);
		otp_free(data);
	}
	int why = errno;
	close(fd);
	errno = why;
	return got == 0;
}

/* Whether it still is what otplan made. A file that cannot be read now may be either: a failure of the
 * machine. */
static bool compare_known(const char *path, const output *known, bool *unchanged, otp_error *err)
{
	struct stat info;
	uint64_t bytes, digest;
	*unchanged = false;
	if (lstat(path, &info) != 0 || !S_ISREG(info.st_mode) || (uint64_t)info.st_size != known->bytes)
		return true;
	if (!digest_file(path, &bytes, &digest))
		return otp_file_fail_read(err, path, errno);
	*unchanged = bytes == known->bytes && digest == known->digest;
	return true;
}

/* A line that is damaged names nothing: what it would have named is then not replaced. */
static void read_line(const char *line, output_list *out)
{
	cJSON *object = cJSON_Parse(line);
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "name")),
		   *series = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "series")),
		   *digest = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "xxh3"));
	const cJSON *bytes = cJSON_GetObjectItemCaseSensitive(object, "bytes");
	if (name && series && digest && cJSON_IsNumber(bytes) && bytes->valuedouble >= 0 && !leads_out(name))
		add_output(out, (output){.name = otp_strdup(name),
					 .series = otp_strdup(series),
					 .bytes = (uint64_t)bytes->valuedouble,
					 .digest = strtoull(digest, NULL, 16)});
	cJSON_Delete(object);
}

/* Sorted by name; empty where there is no manifest. */
static bool read_manifest(const otp_outputs *o, output_list *out, otp_error *err)
{
	char *path = path_of(o, MANIFEST), *rest = NULL;
	size_t bytes;
	bool there = otp_file_exists(path);
	char *text = there ? otp_file_read(path, &bytes, err) : NULL;
	for (char *line = text ? strtok_r(text, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest))
		read_line(line, out);
	sort(out->each, out->count, sizeof *out->each, by_name);
	otp_free(path);
	otp_free(text);
	return text || !there;
}

static char *line_of(const output *x)
{
	char digest[20];
	snprintf(digest, sizeof digest, "%016" PRIx64, x->digest);
	cJSON *object = cJSON_CreateObject();
	cJSON_AddStringToObject(object, "name", x->name);
	cJSON_AddStringToObject(object, "series", x->series);
	cJSON_AddNumberToObject(object, "bytes", (double)x->bytes);
	cJSON_AddStringToObject(object, "xxh3", digest);
	char *line = cJSON_PrintUnformatted(object);
	cJSON_Delete(object);
	return line;
}

static bool write_manifest(const otp_outputs *o, const output_list *lines, otp_error *err)
{
	char *path = path_of(o, MANIFEST), *text = NULL;
	size_t used = 0, room = 0;
	for (size_t i = 0; i < lines->count; i++) {
		char *line = line_of(&lines->each[i]);
		size_t length = strlen(line);
		while (used + length + 1 > room)
			text = otp_grown(text, room, &room, 1);
		memcpy(text + used, line, length);
		text[used + length] = '\n';
		used += length + 1;
		cJSON_free(line);
	}
	bool ok = otp_file_write(path, text ? text : "", used, err);
	otp_free(text);
	otp_free(path);
	return ok;
}

/* What was made since goes into the manifest that lies there now, to which another process may have added. */
static bool save(otp_outputs *o, otp_error *err)
{
	double start = otp_seconds();
	output_list now = {0}, lines = {0};
	bool ok = read_manifest(o, &now, err);
	for (size_t i = 0; i < now.count; i++) {
		const output key = {.name = now.each[i].name}, *at = &key,
			     *const *planned = o->planned.count ? bsearch(&at, o->by_name, o->planned.count,
									  sizeof *o->by_name, by_planned_name)
								: NULL;
		const output *known = find_known(&o->known, key.name);
		if (!(planned && (*planned)->done) && !(known && known->done))
			add_output(&lines, now.each[i]);
	}
	for (size_t i = 0; i < o->planned.count; i++)
		if (o->planned.each[i].done)
			add_output(&lines, o->planned.each[i]);
	sort(lines.each, lines.count, sizeof *lines.each, by_name);
	ok = ok && write_manifest(o, &lines, err);
	otp_free(lines.each); /* its texts belong to the other lists */
	free_outputs(&now);
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
	free_outputs(&o->planned);
	free_outputs(&o->known);
	otp_free(o->by_name);
	free_texts(&o->series);
	free_texts(&o->alone);
	otp_free(o->folder);
	otp_free(o);
}

void otp_outputs_plan(otp_outputs *o, const char *name, const char *series)
{
	add_output(&o->planned, (output){.name = otp_strdup(name), .series = otp_strdup(series)});
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
		if (leads_out(name))
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
	const output *known = find_known(&o->known, name);
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
		ok = compare_known(path, known, &unchanged, err) &&
		     (unchanged ||
		      otp_fail(err, path, "was changed since otplan made it; --overwrite replaces it"));
	otp_free(path);
	return ok;
}

/* Made from an input that is translated again, and not to be made now. */
static bool find_stale(const otp_outputs *o, const output *known, bool *stale, otp_error *err)
{
	struct stat info;
	*stale = !is_planned(o, known->name) && has_series(o, known->series);
	if (!*stale)
		return true;
	char *path = path_of(o, known->name);
	bool ok = compare_known(path, known, stale, err);
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
		const output *known = find_known(&o->known, name);
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
	bool ok = check_names(o, err) && check_folders(o, err) && read_manifest(o, &o->known, err);
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
	bool ok = digest_file(path, &written->bytes, &written->digest) ||
		  otp_fail_machine(err, path, "cannot be read back: %s", strerror(errno));
	otp_free(path);
	return ok;
}

bool otp_outputs_note(otp_outputs *o, const otp_written *written, otp_error *err)
{
	/* Now and then, so that a killed process leaves few outputs that nobody knows; at little cost. */
	const double seconds = 5, share = 20;
	output *x = &o->planned.each[written->output];
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
		output *known = &o->known.each[i];
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
		otp_log("removed %lld output%s of an earlier run", removed, removed == 1 ? "" : "s");
	return ok;
}

bool otp_outputs_finish(otp_outputs *o, bool ok, otp_error *err)
{
	ok = ok && remove_stale(o, err);
	if (!o->made)
		return ok;
	return save(o, err) && ok;
}
