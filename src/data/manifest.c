#include "data/manifest.h"
#include "core/file.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define MANIFEST ".otplan-outputs.jsonl"

void otp_made_add(otp_made_list *l, otp_made one)
{
	l->each = otp_grown(l->each, l->count, &l->room, sizeof *l->each);
	l->each[l->count++] = one;
}

void otp_made_free(otp_made_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		otp_free(l->each[i].name);
		otp_free(l->each[i].series);
	}
	otp_free(l->each);
	*l = (otp_made_list){0};
}

int otp_made_by_name(const void *a, const void *b)
{
	return strcmp(((const otp_made *)a)->name, ((const otp_made *)b)->name);
}

otp_made *otp_made_find(const otp_made_list *l, const char *name)
{
	otp_made key = {.name = (char *)name};
	return l->count ? bsearch(&key, l->each, l->count, sizeof key, otp_made_by_name) : NULL;
}

bool otp_made_leads_out(const char *name)
{
	size_t length = strlen(name);
	return name[0] == '/' || strcmp(name, "..") == 0 || strncmp(name, "../", 3) == 0 ||
	       strstr(name, "/../") || (length > 3 && strcmp(name + length - 3, "/..") == 0);
}

bool otp_made_digest(const char *path, uint64_t *bytes, uint64_t *digest)
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

bool otp_made_compare(const char *path, const otp_made *known, bool *unchanged, otp_error *err)
{
	struct stat info;
	uint64_t bytes, digest;
	*unchanged = false;
	if (lstat(path, &info) != 0 || !S_ISREG(info.st_mode) || (uint64_t)info.st_size != known->bytes)
		return true;
	if (!otp_made_digest(path, &bytes, &digest))
		return otp_file_fail_read(err, path, errno);
	*unchanged = bytes == known->bytes && digest == known->digest;
	return true;
}

/* A line that is damaged names nothing: what it would have named is then not replaced. */
static void read_line(const char *line, otp_made_list *out)
{
	cJSON *object = cJSON_Parse(line);
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "name")),
		   *series = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "series")),
		   *digest = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "xxh3"));
	const cJSON *bytes = cJSON_GetObjectItemCaseSensitive(object, "bytes");
	if (name && series && digest && cJSON_IsNumber(bytes) && bytes->valuedouble >= 0 &&
	    !otp_made_leads_out(name))
		otp_made_add(out, (otp_made){.name = otp_strdup(name),
					     .series = otp_strdup(series),
					     .bytes = (uint64_t)bytes->valuedouble,
					     .digest = strtoull(digest, NULL, 16)});
	cJSON_Delete(object);
}

bool otp_manifest_read(const char *folder, otp_made_list *out, otp_error *err)
{
	char *path = otp_format("%s/%s", folder, MANIFEST), *rest = NULL;
	size_t bytes;
	bool there = otp_file_exists(path);
	char *text = there ? otp_file_read(path, &bytes, err) : NULL;
	for (char *line = text ? strtok_r(text, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest))
		read_line(line, out);
	if (out->count)
		qsort(out->each, out->count, sizeof *out->each, otp_made_by_name);
	otp_free(path);
	otp_free(text);
	return text || !there;
}

static char *line_of(const otp_made *x)
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

bool otp_manifest_write(const char *folder, const otp_made_list *lines, otp_error *err)
{
	char *path = otp_format("%s/%s", folder, MANIFEST), *text = NULL;
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
