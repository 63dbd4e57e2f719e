#include "cli/together.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "core/file.h"
#include "core/log.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WATCH_S = 60 };

/* ---- the command ---- */

int otp_together_command(otp_together_work *work, int argc, char **argv, otp_error *err)
{
	otp_group *group = NULL;
	bool asks_help = argc > 0 && strcmp(argv[0], "--help") == 0;
	if (!asks_help && !otp_group_join(&group, err))
		return otp_exit_code(err);
	otp_group_watch(group, WATCH_S, "");
	int code = work(group, argc, argv, err);
	otp_group_leave(group, err);
	return code;
}

/* ---- the same program, words and data ---- */

bool otp_together_same_digest(otp_group *g, const char *what, uint64_t digest, otp_error *err)
{
	char text[32];
	snprintf(text, sizeof text, "%016llx", (unsigned long long)digest);
	return otp_group_same(g, what, text, err);
}

bool otp_together_same_build(otp_group *g, otp_error *err)
{
	uint64_t build = 0;
	bool ok = !g || otp_file_digest("/proc/self/exe", 0, UINT64_MAX, &build, err);
	return otp_group_agree(g, ok, err) && otp_together_same_digest(g, "the build", build, err);
}

bool otp_together_same_computing(otp_group *g, const otp_runtime *runtime, otp_error *err)
{
	char computes[256];
	if (!g)
		return true;
	runtime->backend->describe(computes, sizeof computes);
	return otp_group_same(g, "what computes", computes, err);
}

static bool same_words(otp_group *g, int count, char **words, otp_error *err)
{
	char text[16];
	snprintf(text, sizeof text, "%d", count);
	bool ok = otp_group_same(g, "the number of words after the command", text, err);
	for (int i = 0; ok && i < count; i++)
		ok = otp_group_same(g, "a word after the command", words[i], err);
	return ok;
}

/* What its files are called, and how long; all their bytes would take as long as the work. */
static bool same_set(otp_group *g, const otp_dataset *d, otp_error *err)
{
	char count[24];
	uint64_t listing = 0;
	snprintf(count, sizeof count, "%lld", (long long)otp_dataset_describe(d).count);
	return otp_group_agree(g, otp_dataset_listing(d, &listing, err), err) &&
	       otp_group_same(g, "the number of inputs", count, err) &&
	       otp_together_same_digest(g, "the digest of the inputs' names, sizes and times", listing, err);
}

bool otp_together_opened(const otp_translator *t, const otp_dataset *d, bool opened, int argc, char **argv,
			 otp_group *g, otp_error *err)
{
	uint64_t model = 0;
	if (!g)
		return opened;
	bool ok = opened && otp_file_digest(t->path, 0, UINT64_MAX, &model, err);
	return otp_group_agree(g, ok, err) && otp_together_same_build(g, err) &&
	       otp_together_same_computing(g, t->runtime, err) && same_words(g, argc, argv, err) &&
	       otp_together_same_digest(g, "the model", model, err) && same_set(g, d, err);
}

/* ---- items on their way to process 0 ---- */

typedef struct parcel {
	int64_t number;
	size_t bytes;
	char *made;
} parcel;

struct otp_together {
	otp_shared_work work;
	int64_t share; /* items of this process */
	char *given;   /* since the last meeting: parcels' heads, each with what was made behind it */
	size_t given_bytes, given_room;
	parcel *waiting; /* in process 0: not taken yet */
	size_t waiting_count, waiting_room;
	int64_t next;	      /* to be taken, where they are in order */
	bool over, agreed;    /* all have made their share; all know of an error */
	double started, said; /* seconds */
};

int64_t otp_together_share(const otp_group *g, int64_t count)
{
	int64_t size = otp_group_size(g), rank = otp_group_rank(g);
	return count > rank ? (count - rank - 1) / size + 1 : 0;
}

int64_t otp_together_item(const otp_group *g, int64_t j) { return otp_group_rank(g) + j * otp_group_size(g); }

otp_together *otp_together_begin(const otp_shared_work *work)
{
	otp_together *t = otp_calloc(1, sizeof *t);
	t->work = *work;
	t->share = otp_together_share(work->group, work->count);
	t->started = t->said = otp_seconds();
	otp_interrupt_listen();
	return t;
}

static void append(otp_together *t, const void *bytes, size_t count)
{
	if (t->given_bytes + count > t->given_room) {
		size_t room = t->given_bytes + count + t->given_room;
		t->given = otp_realloc(t->given, t->given_bytes, room);
		t->given_room = room;
	}
	memcpy(t->given + t->given_bytes, bytes, count);
	t->given_bytes += count;
}

void otp_together_give(otp_together *t, int64_t number, const void *made, size_t bytes)
{
	parcel head = {.number = number, .bytes = bytes};
	append(t, &head, sizeof head);
	append(t, made, bytes);
}

static void unpack(otp_together *t, const char *all, size_t bytes)
{
	for (size_t at = 0; at < bytes;) {
		parcel p;
		memcpy(&p, all + at, sizeof p);
		p.made = otp_calloc(p.bytes + 1, 1);
		memcpy(p.made, all + at + sizeof p, p.bytes);
		at += sizeof p + p.bytes;
		t->waiting = otp_grown(t->waiting, t->waiting_count, &t->waiting_room, sizeof p);
		t->waiting[t->waiting_count++] = p;
	}
}

static int by_number(const void *a, const void *b)
{
	int64_t i = ((const parcel *)a)->number, j = ((const parcel *)b)->number;
	return (i > j) - (i < j);
}

/* Those whose turn it is. */
static bool take(otp_together *t, otp_error *err)
{
	size_t taken = 0;
	bool ok = true;
	if (t->work.in_order && t->waiting_count)
		qsort(t->waiting, t->waiting_count, sizeof *t->waiting, by_number);
	while (ok && taken < t->waiting_count && (!t->work.in_order || t->waiting[taken].number == t->next)) {
		parcel *p = &t->waiting[taken++];
		ok = t->work.take(t->work.context, p->number, p->made, p->bytes, err);
		otp_free(p->made);
		t->next++;
	}
	t->waiting_count -= taken;
	memmove(t->waiting, t->waiting + taken, t->waiting_count * sizeof *t->waiting);
	return ok;
}

static bool hand_over(otp_together *t, otp_error *err)
{
	size_t at[otp_group_size(t->work.group) + 1];
	char *all;
	otp_group_gather(t->work.group, t->given, t->given_bytes, &all, at);
	t->given_bytes = 0;
	if (!all)
		return true;
	unpack(t, all, at[otp_group_size(t->work.group)]);
	otp_free(all);
	return take(t, err);
}

/* ---- how far all are ---- */

/* On a terminal the live line; off it a line now and then, rarer as it takes longer. */
static void show(otp_together *t, double done)
{
	const double first_s = 30, most_s = 600;
	char line[128];
	double now = otp_seconds(), took = now - t->started, left = done > 0 ? took * (1 - done) / done : 0;
	double patience = fmin(fmax(first_s, took / 2), most_s);
	bool due = now - t->said >= patience && done > 0;
	if (!otp_log_is_live() && !due)
		return;
	snprintf(line, sizeof line, "%s %.0f %% of the %s, about %.0f %s left", t->work.done, 100 * done,
		 t->work.items, left < 100 ? left : left / 60, left < 100 ? "s" : "min");
	if (otp_log_is_live())
		otp_log_status(done > 0 ? line : "");
	else
		otp_log("%s", line);
	t->said = now;
}

/* How much of everything is done; t->over: all of it, and taken. */
static double count_up(otp_together *t, double done, bool over)
{
	int size = otp_group_size(t->work.group);
	double each[2 * size], sum = 0, finished = 0;
	size_t at[size + 1];
	for (int r = 0; r <= size; r++)
		at[r] = (size_t)r * 2 * sizeof *each;
	each[2 * otp_group_rank(t->work.group)] = done * (double)t->share;
	each[2 * otp_group_rank(t->work.group) + 1] = over;
	otp_group_all_gather(t->work.group, each, at);
	for (int r = 0; r < size; r++) {
		sum += each[2 * r];
		finished += each[2 * r + 1];
	}
	t->over = finished >= size;
	return t->work.count ? sum / (double)t->work.count : 1;
}

static bool meet(otp_together *t, double done, bool over, otp_error *err)
{
	char how_far[96];
	double all = count_up(t, done, over);
	hand_over(t, err);
	if (otp_interrupt_number() && !over && !err->exit_code) {
		snprintf(how_far, sizeof how_far, "after %.0f %% of the %s", 100 * all, t->work.items);
		otp_interrupt_fail(err, t->work.command, how_far);
	}
	bool ok = otp_group_agree(t->work.group, !err->exit_code, err);
	t->agreed = !ok;
	if (ok)
		show(t, all);
	return ok;
}

bool otp_together_meet(otp_together *t, double done, otp_error *err) { return meet(t, done, false, err); }

bool otp_together_end(otp_together *t, bool ok, otp_error *err)
{
	while (!t->agreed && !(ok && t->over))
		ok = meet(t, 1, true, err);
	otp_log_status(NULL);
	for (size_t i = 0; i < t->waiting_count; i++) {
		otp_error ignored = {0};
		t->work.take(t->work.context, t->waiting[i].number, t->waiting[i].made, t->waiting[i].bytes,
			     &ignored);
		otp_free(t->waiting[i].made);
	}
	otp_free(t->waiting);
	otp_free(t->given);
	otp_free(t);
	return ok;
}
