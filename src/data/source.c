/* source: what all formats share. */
#include "data/source.h"

#include "core/file.h"
#include "core/log.h"

#include <string.h>

/* Room grows by doubling: the count says when it is full. */
static void append(char ***list, int64_t *list_count, const char *text)
{
	size_t count = (size_t)*list_count;
	if ((count & (count - 1)) == 0)
		*list = otp_realloc(*list, count * sizeof **list, (count ? 2 * count : 1) * sizeof **list);
	(*list)[count] = otp_strdup(text);
	*list_count += 1;
}

bool otp_source_refused(const otp_error *trouble)
{
	return trouble->exit_code == OTP_EXIT_FAILED && !trouble->out_of_memory;
}

void otp_source_skip(otp_source *s, const char *text)
{
	if (!s->quiet)
		otp_log("otplan: skipped: %s", text);
	append(&s->skipped, &s->skipped_count, text);
}

void otp_source_skip_picture(otp_source *s, const char *name, const char *text)
{
	otp_source_skip(s, text);
	append(&s->undecoded, &s->undecoded_count, name);
}

void otp_source_leave_out(otp_source *s, const char *name, const char *text)
{
	append(&s->skipped, &s->skipped_count, text);
	append(&s->undecoded, &s->undecoded_count, name);
}

void otp_source_note_folder(otp_source *s, const char *path) { append(&s->folders, &s->folder_count, path); }

static void free_list(char **list, int64_t count)
{
	for (int64_t i = 0; i < count; i++)
		otp_free(list[i]);
	otp_free(list);
}

void otp_source_free(otp_source *s)
{
	free_list(s->skipped, s->skipped_count);
	free_list(s->undecoded, s->undecoded_count);
	free_list(s->folders, s->folder_count);
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
