#include "data/root.h"
#include "core/file.h"
#include "core/log.h"
#include "data/archive.h"
#include "data/dataset.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
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

enum { WORDS = 4 };
typedef struct layout {
	/* Before the letter, NULL at the end; the first that holds samples counts. */
	const char *words[WORDS];
} layout;
static const layout TRAIN = {{"train", ""}}, TEST = {{"test", "val", "valid"}}, PLAIN = {{""}},
		    SPLIT = {{"train", "test", "val", "valid"}};

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

/* The folder of that word and side, or NULL. Two of one meaning are an error. */
static const char *named(const listing *l, size_t skip, const char *word, char side, otp_error *err)
{
	const char *found = NULL;
	char wanted[16], name[64];
	snprintf(wanted, sizeof wanted, "%s%c", word, side);
	for (size_t i = 0; i < l->count; i++) {
		plain(l->paths[i], skip, name, sizeof name);
		if (strcmp(name, wanted) != 0)
			continue;
		if (found)
			otp_fail(err, l->place, "has both %s and %s, expected one of them", found,
				 l->paths[i]);
		found = l->paths[i];
	}
	return found;
}

/* The folders of a layout's side, in the order of its words. Returns how many. */
static int find_all(const listing *l, size_t skip, const layout *of, char side, const char *found[WORDS],
		    otp_error *err)
{
	int count = 0;
	for (int w = 0; w < WORDS && of->words[w]; w++) {
		const char *path = named(l, skip, of->words[w], side, err);
		if (path)
			found[count++] = path;
	}
	return count;
}

static bool has(const listing *l, size_t skip, const layout *of, char side, otp_error *err)
{
	const char *found[WORDS];
	return find_all(l, skip, of, side, found, err) > 0;
}

/* train/A is looked for in train alone. */
static void list_below_words(listing *l, size_t skip, otp_error *err)
{
	size_t count = l->count;
	for (size_t i = 0; i < count; i++) {
		char name[64], *below = otp_format("%s/", l->paths[i]);
		plain(l->paths[i], skip, name, sizeof name);
		for (int w = 0; w < WORDS; w++)
			if (strcmp(name, SPLIT.words[w]) == 0)
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
		if (has(l, 0, &TRAIN, (char)side, err) || has(l, 0, &TEST, (char)side, err))
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

/* Whether its samples can be opened, or cannot be told to be none: the machine refused. */
static bool holds_samples(const listing *l, const char *path)
{
	otp_error trouble = {0};
	otp_data_kind kind;
	int size;
	char *spec = spec_of(l, path);
	bool ok = otp_dataset_look(spec, &kind, &size, &trouble) || trouble.exit_code == OTP_EXIT_FAILED;
	otp_free(spec);
	return ok;
}

/* A layout's side, or NULL: of several folders the first that holds samples, or the first if none does. */
static const char *half(const listing *l, size_t skip, const layout *of, char side, otp_error *err)
{
	const char *found[WORDS];
	int count = find_all(l, skip, of, side, found, err), chosen = 0;
	while (count > 1 && chosen < count && !holds_samples(l, found[chosen]))
		chosen++;
	if (chosen == count)
		return count ? found[0] : NULL;
	for (int i = 0; i < chosen; i++)
		otp_log("%s/%s holds no pictures; %s is taken in its place", l->place, found[i],
			found[chosen]);
	return found[chosen];
}

static bool choose(listing *l, otp_root *root, otp_error *err)
{
	size_t skip = list_all(l, err);
	if (err->exit_code)
		return false;
	for (int side = 0; side < 2; side++) {
		const char *train = half(l, skip, &TRAIN, (char)('a' + side), err),
			   *test = half(l, skip, &TEST, (char)('a' + side), err);
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
	otp_error trouble = {0};
	listing l;
	bool split = false, plain_sides = true;
	if (open_listing(place, &l, &trouble)) {
		size_t skip = list_all(&l, &trouble);
		for (int side = 'a'; side <= 'b'; side++) {
			split = split || has(&l, skip, &SPLIT, (char)side, &trouble);
			plain_sides = plain_sides && has(&l, skip, &PLAIN, (char)side, &trouble);
		}
		plain_sides = plain_sides && l.count == (skip ? 3 : 2);
	} else {
		plain_sides = false;
	}
	close_listing(&l);
	return split || plain_sides;
}

/* Whether a folder beside others may be a side: it is no split of them, and no folder of another. */
static bool may_be_side(const listing *l, size_t skip, size_t i)
{
	char name[64];
	plain(l->paths[i], skip, name, sizeof name);
	for (int w = 0; w < WORDS; w++)
		if (strcmp(name, SPLIT.words[w]) == 0)
			return false;
	return !strchr(l->paths[i] + skip, '/');
}

bool otp_root_guess(const char *place, char *sides[2])
{
	otp_error trouble = {0};
	listing l;
	const char *found[2] = {NULL, NULL};
	if (open_listing(place, &l, &trouble)) {
		size_t skip = list_all(&l, &trouble);
		int count = 0;
		for (size_t i = 0; i < l.count; i++)
			if (may_be_side(&l, skip, i) && count++ < 2)
				found[count - 1] = l.paths[i];
		for (int side = 0; count > 2 && side < 2; side++)
			found[side] = named(&l, skip, "", (char)('a' + side), &trouble);
	}
	bool both = found[0] && found[1] && !trouble.exit_code;
	for (int side = 0; side < 2; side++)
		sides[side] = both ? spec_of(&l, found[side]) : NULL;
	close_listing(&l);
	return both;
}

void otp_root_free(otp_root *root)
{
	for (int side = 0; side < 2; side++) {
		otp_free(root->train[side]);
		otp_free(root->test[side]);
	}
	*root = (otp_root){0};
}
