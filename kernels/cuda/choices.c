/* choices.c: what was chosen between cuDNN's candidates before. The file of
 * choices has a line for each graph, "MODE RANK KEY", the last of a key counting.
 * Beside it, in a folder of the same name, lies the plan that was built of each:
 * a line that says for what it is, one with its digest, then cuDNN's own text,
 * compiled kernels included, so that no later start compiles. */
#include "cuda/dnn.h"

#include "core/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { OTP_FIRST_LINE = 512 };

/* A plan's text, of this start's threads or of the disk. */
struct otp_dnn_text {
	otp_dnn_text *next;
	char name[sizeof((otp_dnn_plan *)0)->key + 32]; /* "MODE RANK KEY" */
	char *text;
	size_t bytes;
	bool looked; /* for it on disk */
	bool kept;   /* there */
};

/* OTPLAN_CUDA_CACHE, or else a folder of the user's for such things; false where there is none. */
static bool choices_folder(char *folder, size_t bytes)
{
	const char *named = getenv("OTPLAN_CUDA_CACHE"), *cache = getenv("XDG_CACHE_HOME"),
		   *home = getenv("HOME");
	int length = -1;
	if (named && *named)
		length = snprintf(folder, bytes, "%s", named);
	else if (cache && *cache)
		length = snprintf(folder, bytes, "%s/otplan", cache);
	else if (home && *home)
		length = snprintf(folder, bytes, "%s/.cache/otplan", home);
	return length >= 0 && (size_t)length < bytes;
}

/* Where they cannot be kept, plans are timed and compiled anew each time. */
void otp_dnn_open_choices(otp_device *d, const char *gpu)
{
	char folder[sizeof d->choices_path - 128];
	otp_error err = {0};
	snprintf(d->gpu, sizeof d->gpu, "%s", gpu);
	if (!choices_folder(folder, sizeof folder))
		return;
	int stem = snprintf(d->plans_path, sizeof d->plans_path, "%s/cudnn-%zu-%.64s%s", folder,
			    cudnnGetVersion(), gpu, otp_dnn_bits_may_vary() ? "-nondeterministic" : "");
	for (char *c = d->plans_path + strlen(folder) + 1; *c; c++)
		if (*c == ' ' || *c == '/')
			*c = '-';
	if (!otp_file_make_folder(d->plans_path, &err)) {
		otp_cuda_say("choices between plans are not kept: %s", err.text);
		*d->plans_path = '\0';
		return;
	}
	/* Each GPU's own: processes side by side choose by time, and the last choice in a file counts. */
	char which[16] = "";
	if (d->index > 0)
		snprintf(which, sizeof which, "-gpu%d", d->index);
	snprintf(d->choices_path, sizeof d->choices_path, "%.*s%s.txt", stem, d->plans_path, which);
	size_t bytes;
	if (otp_file_exists(d->choices_path))
		d->choices = otp_file_read(d->choices_path, &bytes, &err);
}

void otp_dnn_close_choices(otp_device *d)
{
	otp_free(d->choices);
	while (d->texts) {
		otp_dnn_text *t = d->texts;
		d->texts = t->next;
		otp_free(t->text);
		otp_free(t);
	}
}

/* ---- the file of choices ---- */

otp_dnn_choice otp_dnn_find_choice(const otp_device *d, const char *key)
{
	otp_dnn_choice found = {-1, -1};
	for (const char *line = d->choices; line && *line;) {
		int m, r, at = 0;
		const char *end = strchr(line, '\n');
		size_t length = end ? (size_t)(end - line) : strlen(line);
		if (sscanf(line, "%d %d %n", &m, &r, &at) == 2 && at > 0 &&
		    strlen(key) + (size_t)at == length && strncmp(line + at, key, strlen(key)) == 0)
			found = (otp_dnn_choice){m, r};
		line = end ? end + 1 : NULL;
	}
	return found;
}

/* One short line appended by one write: programs side by side do not tear it. What was chosen amid failures
 * is not worth keeping. */
void otp_dnn_keep_choice(const otp_device *d, const char *key, otp_dnn_choice choice)
{
	FILE *file = *d->choices_path && !otp_cuda_noted() ? fopen(d->choices_path, "a") : NULL;
	if (!file)
		return; /* a cache: without it the next start is slower */
	fprintf(file, "%d %d %s\n", choice.mode, choice.rank, key);
	fclose(file);
}

/* ---- plans as text ---- */

char *otp_dnn_plan_text(cudnnBackendDescriptor_t plan, size_t *bytes)
{
	int64_t length = 0, got = 0;
	char *text = NULL;
	if (cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, 0,
				     &length, NULL) != CUDNN_STATUS_SUCCESS ||
	    length <= 0)
		return NULL;
	text = otp_calloc((size_t)length + 1, 1);
	if (cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
				     length, &got, text) != CUDNN_STATUS_SUCCESS) {
		otp_free(text);
		return NULL;
	}
	*bytes = (size_t)length;
	return text;
}

typedef char text_name[sizeof((otp_dnn_text *)0)->name];

static void name_text(const char *key, otp_dnn_choice choice, text_name name)
{
	snprintf(name, sizeof(text_name), "%d %d %s", choice.mode, choice.rank, key);
}

static otp_dnn_text *slot(otp_device *d, const text_name name)
{
	otp_dnn_text *t = d->texts;
	while (t && strcmp(t->name, name) != 0)
		t = t->next;
	if (t)
		return t;
	t = otp_calloc(1, sizeof *t);
	t->next = d->texts;
	snprintf(t->name, sizeof t->name, "%s", name);
	return d->texts = t;
}

static void hold(otp_dnn_text *t, char *text, size_t bytes, bool kept)
{
	otp_free(t->text);
	t->text = text;
	t->bytes = bytes;
	t->kept = kept;
}

void otp_dnn_hold_text(otp_device *d, const char *key, otp_dnn_choice choice, char *text, size_t bytes)
{
	text_name name;
	name_text(key, choice, name);
	hold(slot(d, name), text, bytes, false);
}

void otp_dnn_refuse_text(otp_device *d, const char *key, otp_dnn_choice choice)
{
	text_name name;
	name_text(key, choice, name);
	hold(slot(d, name), NULL, 0, false);
	otp_cuda_say("cuDNN refuses a kept plan, which is made again: %s", key);
}

static void locate(const otp_device *d, const char *name, char *path, size_t bytes)
{
	snprintf(path, bytes, "%s/%016llx.plan", d->plans_path,
		 (unsigned long long)XXH3_64bits(name, strlen(name)));
}

static int first_line(const otp_device *d, const char *name, char line[static OTP_FIRST_LINE])
{
	return snprintf(line, OTP_FIRST_LINE, "otplan plan 1, cuDNN %zu, %.64s: %s\n", cudnnGetVersion(),
			d->gpu, name);
}

/* Where in the file its text begins, NULL where the file is damaged or for something else. */
static const char *check_file(const otp_device *d, const char *name, const char *file, size_t bytes)
{
	char line[OTP_FIRST_LINE];
	size_t length = (size_t)first_line(d, name, line), at = 0;
	unsigned long long digest;
	int second = 0;
	if (bytes < length || memcmp(file, line, length) != 0 ||
	    sscanf(file + length, "%16llx%n", &digest, &second) != 1 || second != 16)
		return NULL;
	at = length + (size_t)second + 1;
	return at < bytes && file[at - 1] == '\n' && XXH3_64bits(file + at, bytes - at) == digest ? file + at
												  : NULL;
}

/* Once: what is found damaged is told once. */
static void read_text(const otp_device *d, otp_dnn_text *t)
{
	char path[sizeof d->plans_path + 32];
	size_t bytes;
	otp_error err = {0};
	locate(d, t->name, path, sizeof path);
	t->looked = true;
	if (!*d->plans_path || !otp_file_exists(path))
		return;
	char *file = otp_file_read(path, &bytes, &err);
	const char *text = file ? check_file(d, t->name, file, bytes) : NULL;
	if (text) {
		size_t length = bytes - (size_t)(text - file);
		char *copy = otp_calloc(length + 1, 1);
		memcpy(copy, text, length);
		hold(t, copy, length, true);
	} else {
		otp_cuda_say("a kept plan is damaged or another's, and is made again: %s", path);
	}
	otp_free(file);
}

const char *otp_dnn_find_text(otp_device *d, const char *key, otp_dnn_choice choice, size_t *bytes)
{
	text_name name;
	name_text(key, choice, name);
	otp_dnn_text *t = slot(d, name);
	if (!t->text && !t->looked)
		read_text(d, t);
	*bytes = t->bytes;
	return t->text;
}

static void write_text(const otp_device *d, otp_dnn_text *t)
{
	char path[sizeof d->plans_path + 32], head[OTP_FIRST_LINE + 32];
	otp_error err = {0};
	int length = first_line(d, t->name, head);
	length +=
	    snprintf(head + length, 32, "%016llx\n", (unsigned long long)XXH3_64bits(t->text, t->bytes));
	char *file = otp_calloc((size_t)length + t->bytes, 1);
	memcpy(file, head, (size_t)length);
	memcpy(file + length, t->text, t->bytes);
	locate(d, t->name, path, sizeof path);
	if (!otp_file_write(path, file, (size_t)length + t->bytes, &err))
		otp_cuda_say("a plan is not kept: %s", err.text);
	t->kept = true; /* or tried */
	otp_free(file);
}

/* An engine whose plans have no text is built each time. */
void otp_dnn_keep_plan(otp_device *d, const char *key, otp_dnn_choice choice, cudnnBackendDescriptor_t plan)
{
	text_name name;
	size_t bytes;
	if (!*d->plans_path || otp_cuda_noted())
		return;
	name_text(key, choice, name);
	otp_dnn_text *t = slot(d, name);
	if (!t->text) {
		char *text = otp_dnn_plan_text(plan, &bytes);
		hold(t, text, bytes, !text);
	}
	if (!t->kept)
		write_text(d, t);
}
