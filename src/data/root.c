#include "data/root.h"
#include "core/file.h"
#include "core/log.h"
#include "data/archive.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { MOST_NAMED = 12 }; /* folders in a message */

/* Folders below a root, by their paths below it. */
typedef struct listing {
	char *place;
	otp_archive *archive; /* NULL: a folder */
	char **paths;
	size_t count, room;
} listing;

typedef struct layout {
	const char *words[4]; /* before the letter, NULL at the end; the first that is there counts */
} layout;
static const layout TRAIN = {{"train", ""}}, TEST = {{"test", "val", "valid"}};

/* ---- what is there ---- */

static void note(listing *l, const char *path, size_t length)
{
	for (size_t i = 0; i < l->count; i++)
		if (strlen(l->paths[i]) == length && memcmp(l->paths[i], path, length) == 0)
			return;
	if (l->count == l->room) {
		size_t room = l->room ? 2 * l->room : 16;
		l->paths = otp_realloc(l->paths, l->count * sizeof *l->paths, room * sizeof *l->paths);
		l->room = room;
	}
	l->paths[l->count++] = otp_format("%.*s", (int)length, path);
}

static void list_archive(listing *l, const char *below)
{
	otp_archived e;
	size_t length = strlen(below);
	for (uint64_t i = 0; i < otp_archive_count(l->archive); i++) {
		if (!otp_archive_entry(l->archive, i, &e) || strncmp(e.name, below, length) != 0)
			continue;
		const char *slash = strchr(e.name + length, '/');
		if (slash && e.name[length] != '.' && strncmp(e.name + length, "__MACOSX/", 9) != 0)
			note(l, e.name, (size_t)(slash - e.name));
	}
}

static bool is_folder(const struct dirent *e, const char *path)
{
	struct stat info;
	if (e->d_type != DT_UNKNOWN && e->d_type != DT_LNK)
		return e->d_type == DT_DIR;
	return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static void list_folder(listing *l, const char *below, otp_error *err)
{
	char *at = otp_format("%s/%s", l->place, below);
	otp_file_names names;
	otp_file_list(at, &names, err);
	for (int i = 0; i < names.count; i++) {
		const struct dirent *e = names.each[i];
		char *name = otp_format("%s%s", below, e->d_name),
		     *path = otp_format("%s/%s", l->place, name);
		if (e->d_name[0] != '.' && is_folder(e, path))
			note(l, name, strlen(name));
		otp_free(name);
		otp_free(path);
	}
	otp_file_list_free(&names);
	otp_free(at);
}

/* `below` "" or "folder/" */
static void list(listing *l, const char *below, otp_error *err)
{
	if (l->archive)
		list_archive(l, below);
	else
		list_folder(l, below, err);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* ---- which is which ---- */

/* "Train_A" and "train/A" read "traina", from `skip` on. */
static void plain(const char *path, size_t skip, char *out, size_t bytes)
{
	size_t n = 0;
	for (const char *c = path + skip; *c && n + 1 < bytes; c++)
		if (!strchr("_-. /", *c))
			out[n++] = (char)tolower((unsigned char)*c);
	out[n] = 0;
}

/* The folder of a layout's side, or NULL. Two of one meaning are an error. */
static const char *find(const listing *l, size_t skip, const layout *of, char side, otp_error *err)
{
	for (int w = 0; w < 4 && of->words[w]; w++) {
		const char *found = NULL;
		char wanted[16], name[64];
		int length = (int)strlen(of->words[w]);
		memcpy(wanted, of->words[w], (size_t)length);
		wanted[length] = side;
		wanted[length + 1] = 0;
		for (size_t i = 0; i < l->count; i++) {
			plain(l->paths[i], skip, name, sizeof name);
			if (strcmp(name, wanted) != 0)
				continue;
			if (found)
				otp_fail(err, l->place, "has both %s and %s, expected one of them", found,
					 l->paths[i]);
			found = l->paths[i];
		}
		if (found)
			return found;
	}
	return NULL;
}

/* train/A is looked for in train alone. */
static void list_below_words(listing *l, size_t skip, otp_error *err)
{
	static const char *const WORDS[] = {"train", "test", "val", "valid"};
	size_t count = l->count;
	for (size_t i = 0; i < count; i++) {
		char name[64], *below = otp_format("%s/", l->paths[i]);
		plain(l->paths[i], skip, name, sizeof name);
		for (size_t w = 0; w < sizeof WORDS / sizeof *WORDS; w++)
			if (strcmp(name, WORDS[w]) == 0)
				list(l, below, err);
		otp_free(below);
	}
	if (l->count)
		qsort(l->paths, l->count, sizeof *l->paths, by_name);
}

static bool fail_missing(const listing *l, char side, otp_error *err)
{
	char *names = otp_strdup("");
	for (size_t i = 0; i < l->count && i <= MOST_NAMED; i++) {
		char *longer =
		    otp_format("%s%s%s", names, i ? ", " : "", i < MOST_NAMED ? l->paths[i] : "...");
		otp_free(names);
		names = longer;
	}
	char A = (char)toupper(side);
	otp_fail(err, l->place, "has no folder train%c (or train_%c, train/%c, %c); found %s", A, A, A, A,
		 *names ? names : "no folders");
	otp_free(names);
	return false;
}

static char *spec_of(const listing *l, const char *path)
{
	return path ? otp_format("%s%c%s", l->place, l->archive ? ':' : '/', path) : NULL;
}

/* Whether the only folder is a half itself. */
static bool is_half(const listing *l, otp_error *err)
{
	for (int side = 'a'; side <= 'b'; side++)
		if (find(l, 0, &TRAIN, (char)side, err) || find(l, 0, &TEST, (char)side, err))
			return true;
	return false;
}

/* Everything that counts; what the paths of halves begin with is so long. */
static size_t list_all(listing *l, otp_error *err)
{
	size_t skip = 0;
	list(l, "", err);
	if (l->count == 1 && !is_half(l, err)) { /* one top folder */
		char *below = otp_format("%s/", l->paths[0]);
		skip = strlen(below);
		list(l, below, err);
		otp_free(below);
	}
	list_below_words(l, skip, err);
	return skip;
}

/* Folders of a zip are there by what is in them. */
static bool is_empty(const listing *l, const char *below)
{
	char *path = otp_format("%s/%s", l->place, below);
	otp_file_names names = {0};
	otp_error unread = {0};
	bool empty = !l->archive && otp_file_list(path, &names, &unread);
	for (int i = 0; i < names.count; i++)
		empty = empty && names.each[i]->d_name[0] == '.';
	otp_file_list_free(&names);
	otp_free(path);
	return empty;
}

static bool choose(listing *l, otp_root *root, otp_error *err)
{
	size_t skip = list_all(l, err);
	if (err->exit_code)
		return false;
	for (int side = 0; side < 2; side++) {
		const char *train = find(l, skip, &TRAIN, (char)('a' + side), err),
			   *test = find(l, skip, &TEST, (char)('a' + side), err);
		if (err->exit_code || (!train && !fail_missing(l, (char)('a' + side), err)))
			return false;
		root->train[side] = spec_of(l, train);
		if (test && is_empty(l, test)) {
			otp_log("%s/%s holds nothing, and counts as not there", l->place, test);
			test = NULL;
		}
		root->test[side] = spec_of(l, test);
	}
	return true;
}

/* Without slashes at its end, which would stand in every name. */
static char *trimmed(const char *place)
{
	size_t length = strlen(place);
	while (length > 1 && place[length - 1] == '/')
		length--;
	return otp_format("%.*s", (int)length, place);
}

static bool open_listing(const char *given, listing *l, otp_error *err)
{
	*l = (listing){.place = trimmed(given)};
	const char *dot = strrchr(l->place, '.');
	if (otp_file_is_folder(l->place))
		return true;
	if (dot && strcasecmp(dot, ".zip") == 0)
		return (l->archive = otp_archive_open(l->place, err)) != NULL;
	return otp_fail(err, given, "is no folder and no zip of one, expected one with trainA and trainB");
}

static void close_listing(listing *l)
{
	for (size_t i = 0; i < l->count; i++)
		otp_free(l->paths[i]);
	otp_free(l->paths);
	otp_archive_close(l->archive);
	otp_free(l->place);
}

bool otp_root_find(const char *given, otp_root *root, otp_error *err)
{
	listing l;
	*root = (otp_root){0};
	bool ok = open_listing(given, &l, err) && choose(&l, root, err);
	if (!ok)
		otp_root_free(root);
	close_listing(&l);
	return ok;
}

/* Letters are folders of letters as well, so that A and B must be alone. */
bool otp_root_is(const char *place)
{
	static const layout NAMED = {{"train", "test", "val", "valid"}}, PLAIN = {{""}};
	otp_error trouble = {0};
	listing l;
	bool named = false, plain_sides = true;
	if (open_listing(place, &l, &trouble)) {
		size_t skip = list_all(&l, &trouble);
		for (int side = 'a'; side <= 'b'; side++) {
			named = named || find(&l, skip, &NAMED, (char)side, &trouble);
			plain_sides = plain_sides && find(&l, skip, &PLAIN, (char)side, &trouble);
		}
		plain_sides = plain_sides && l.count == (skip ? 3 : 2);
	} else {
		plain_sides = false;
	}
	close_listing(&l);
	return named || plain_sides;
}

void otp_root_free(otp_root *root)
{
	for (int side = 0; side < 2; side++) {
		otp_free(root->train[side]);
		otp_free(root->test[side]);
	}
	*root = (otp_root){0};
}
