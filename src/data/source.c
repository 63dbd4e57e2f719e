/* source: what all formats share. */
#include "data/source.h"

#include "core/file.h"
#include "core/log.h"

#include <string.h>

void otp_source_skip(otp_source *s, const char *text)
{
	if (!s->quiet)
		otp_log("otplan: skipped: %s", text);
	/* Room grows by doubling: the count says when it is full. */
	size_t count = (size_t)s->skipped_count;
	if ((count & (count - 1)) == 0)
		s->skipped = otp_realloc(s->skipped, count * sizeof *s->skipped,
					 (count ? 2 * count : 1) * sizeof *s->skipped);
	s->skipped[s->skipped_count++] = otp_strdup(text);
}

void otp_source_free(otp_source *s)
{
	for (int64_t i = 0; i < s->skipped_count; i++)
		otp_free(s->skipped[i]);
	otp_free(s->skipped);
	otp_free(s);
}

void otp_source_split_name(const char *place, char **file, char **name)
{
	const char *colon = otp_file_exists(place) ? NULL : strrchr(place, ':');
	*file = colon ? otp_format("%.*s", (int)(colon - place), place) : otp_strdup(place);
	*name = colon ? otp_strdup(colon + 1) : NULL;
}
