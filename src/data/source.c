/* source: what all formats share. */
#include "data/source.h"

#include "core/file.h"
#include "core/log.h"

#include <string.h>

/* Room grows by doubling: the count says when it is full. */
static void *with_room(void *list, int64_t list_count, size_t bytes)
{
	size_t count = (size_t)list_count;
	if (count & (count - 1))
		return list;
	return otp_realloc(list, count * bytes, (count ? 2 * count : 1) * bytes);
}

bool otp_source_refused(const otp_error *trouble)
{
	return trouble->exit_code == OTP_EXIT_FAILED && !trouble->out_of_memory;
}

static void say_skipped(const otp_source *s, const char *text)
{
	if (!s->quiet)
		otp_log("otplan: skipped: %s", text);
}

void otp_source_leave_out(otp_source *s, const otp_left_out *what)
{
	s->left_out = with_room(s->left_out, s->left_out_count, sizeof *s->left_out);
	otp_left_out *copy = &s->left_out[s->left_out_count++];
	*copy = *what;
	copy->why = otp_strdup(what->why);
	copy->picture = otp_strdup(what->picture);
}

void otp_source_skip(otp_source *s, const char *name, const char *text)
{
	say_skipped(s, text);
	otp_source_leave_out(s, &(otp_left_out){.why = (char *)text, .picture = (char *)name, .before = -1});
}

static void free_left_out(otp_left_out *l)
{
	otp_free(l->why);
	otp_free(l->picture);
}

void otp_source_part(otp_source *s, const uint8_t *taken)
{
	int64_t kept = 0;
	for (int64_t i = 0; i < s->left_out_count; i++) {
		otp_left_out *l = &s->left_out[i];
		if (l->before >= 0 && !taken[l->before]) {
			free_left_out(l);
			continue;
		}
		if (l->unsaid)
			say_skipped(s, l->why);
		l->unsaid = false;
		s->left_out[kept++] = *l;
	}
	s->left_out_count = kept;
}

/* ---- what samples are like ------------------------------------------------------ */

otp_data_survey otp_source_survey(const otp_source *s, const int64_t *chosen, int64_t count)
{
	otp_data_survey v = {0};
	otp_image_facts all = {.h = s->h, .w = s->w, .c = s->c, .deep = s->scaled};
	for (int64_t i = 0; s->kind == OTP_DATA_IMAGES && i < count; i++) {
		uint64_t number = (uint64_t)(chosen ? chosen[i] : i);
		otp_image_facts is = s->ops->facts ? s->ops->facts(s, number) : all;
		v.grey += is.c <= 2;
		v.colour += is.c > 2;
		v.alpha += is.c == 4 || (is.c == 2 && s->ops->facts); /* an array's two channels are two */
		v.deep += is.deep;
		v.pixels += (int64_t)is.h * is.w;
		v.h_min = i == 0 || is.h < v.h_min ? is.h : v.h_min;
		v.w_min = i == 0 || is.w < v.w_min ? is.w : v.w_min;
		v.h_max = is.h > v.h_max ? is.h : v.h_max;
		v.w_max = is.w > v.w_max ? is.w : v.w_max;
	}
	return v;
}

void otp_source_settle_form(otp_source *s, const otp_data_survey *of)
{
	bool one_size = of->h_min == of->h_max && of->w_min == of->w_max;
	if (!s->ops->facts)
		return;
	s->h = one_size ? of->h_min : 0;
	s->w = one_size ? of->w_min : 0;
	s->c = of->colour ? 3 : 1;
}

/* ---- folders, and the end ------------------------------------------------------- */

void otp_source_note_folder(otp_source *s, const char *path)
{
	s->folders = with_room(s->folders, s->folder_count, sizeof *s->folders);
	s->folders[s->folder_count++] = otp_strdup(path);
}

void otp_source_free(otp_source *s)
{
	for (int64_t i = 0; i < s->left_out_count; i++)
		free_left_out(&s->left_out[i]);
	for (int64_t i = 0; i < s->folder_count; i++)
		otp_free(s->folders[i]);
	otp_free(s->left_out);
	otp_free(s->folders);
	otp_free(s->set);
	otp_free(s->beside);
	otp_free(s);
}

void otp_source_split_name(const char *place, char **file, char **name)
{
	const char *colon = otp_file_exists(place) ? NULL : strrchr(place, ':');
	*file = colon ? otp_format("%.*s", (int)(colon - place), place) : otp_strdup(place);
	*name = colon ? otp_strdup(colon + 1) : NULL;
}
