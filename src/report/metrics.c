/* metrics: records to JSON lines and back, both expanded from the one list. */
#include "report/metrics.h"
#include "core/file.h"

#include <cjson/cJSON.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct otp_metrics_log {
	int fd;
	char *path;
};

otp_metrics otp_metrics_at(int64_t step)
{
	otp_metrics m = {.step = step};
#define UNMEASURED(name) m.name = NAN;
	OTP_METRICS(UNMEASURED)
#undef UNMEASURED
	return m;
}

double otp_metrics_distance(const otp_metrics *m)
{
	return isfinite(m->patch_distance) ? m->patch_distance : m->target_distance;
}

size_t otp_metrics_best(const otp_metrics *rows, size_t count)
{
	size_t best = count;
	for (size_t i = 0; i < count; i++) {
		double distance = otp_metrics_distance(&rows[i]);
		if (isfinite(distance) && (best == count || distance < otp_metrics_distance(&rows[best])))
			best = i;
	}
	return best;
}

const char *otp_verdict_name(otp_verdict v)
{
	static const char *const names[] = {
#define NAME(constant, name) name,
	    OTP_VERDICTS(NAME)
#undef NAME
	};
	return names[v];
}

void otp_verdicts_text(unsigned set, char *text, size_t bytes)
{
	snprintf(text, bytes, "%s", set ? "" : "none");
	for (otp_verdict v = 0; v < OTP_VERDICT_COUNT; v++)
		if (set >> v & 1) {
			size_t used = strlen(text);
			snprintf(text + used, bytes - used, "%s%s", used ? ", " : "", otp_verdict_name(v));
		}
}

static void add_verdicts(cJSON *object, unsigned set)
{
	cJSON *names = cJSON_AddArrayToObject(object, "verdicts");
	for (otp_verdict v = 0; v < OTP_VERDICT_COUNT; v++)
		if (set >> v & 1)
			cJSON_AddItemToArray(names, cJSON_CreateString(otp_verdict_name(v)));
}

/* Names that this version does not know are passed over. */
static unsigned take_verdicts(const cJSON *object)
{
	unsigned set = 0;
	const cJSON *name;
	cJSON_ArrayForEach(name, cJSON_GetObjectItemCaseSensitive(object, "verdicts"))
	{
		for (otp_verdict v = 0; v < OTP_VERDICT_COUNT; v++)
			if (cJSON_IsString(name) && strcmp(name->valuestring, otp_verdict_name(v)) == 0)
				set |= 1u << v;
	}
	return set;
}

otp_metrics_log *otp_metrics_open(const char *path, otp_error *err)
{
	char last = '\n';
	int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0) {
		otp_fail_machine(err, path, "cannot be written: %s", strerror(errno));
		return NULL;
	}
	bool ok = lseek(fd, -1, SEEK_END) < 0 || otp_file_get(fd, &last, 1) >= 0 ||
		  otp_fail_machine(err, path, "cannot be read: %s", strerror(errno));
	ok = ok && (last == '\n' || otp_file_put(fd, path, "\n", 1, err));
	if (!ok) {
		close(fd);
		return NULL;
	}
	otp_metrics_log *log = otp_calloc(1, sizeof *log);
	*log = (otp_metrics_log){.fd = fd, .path = otp_strdup(path)};
	return log;
}

static bool append(otp_metrics_log *log, cJSON *object, otp_error *err)
{
	char *line = cJSON_PrintUnformatted(object);
	cJSON_Delete(object);
	OTP_ASSERT(line, "no memory for a record");
	char *ended = otp_format("%s\n", line);
	bool ok = otp_file_put(log->fd, log->path, ended, strlen(ended), err);
	otp_free(ended);
	cJSON_free(line);
	return ok;
}

bool otp_metrics_append(otp_metrics_log *log, const otp_metrics *m, otp_error *err)
{
	cJSON *object = cJSON_CreateObject();
	cJSON_AddNumberToObject(object, "step", (double)m->step);
	add_verdicts(object, m->verdicts);
	/* cJSON writes what is not finite as null. */
#define ADD(name) cJSON_AddNumberToObject(object, #name, m->name);
	OTP_METRICS(ADD)
#undef ADD
	return append(log, object, err);
}

bool otp_metrics_append_rollback(otp_metrics_log *log, const otp_rollback_record *r, otp_error *err)
{
	cJSON *object = cJSON_CreateObject();
	cJSON_AddNumberToObject(object, "step", (double)r->step);
	cJSON_AddNumberToObject(object, "rollback", r->count);
	cJSON_AddNumberToObject(object, "from_step", (double)r->from_step);
	cJSON_AddNumberToObject(object, "rate_factor", r->rate_factor);
	cJSON_AddStringToObject(object, "reason", r->reason);
	return append(log, object, err);
}

bool otp_metrics_sync(otp_metrics_log *log, otp_error *err) { return otp_file_sync(log->fd, log->path, err); }

void otp_metrics_close(otp_metrics_log *log)
{
	if (!log)
		return;
	close(log->fd);
	otp_free(log->path);
	otp_free(log);
}

static bool parse(const char *line, size_t bytes, otp_metrics *m, bool *rollback)
{
	cJSON *object = cJSON_ParseWithLength(line, bytes);
	const cJSON *step = cJSON_GetObjectItemCaseSensitive(object, "step");
	*rollback = cJSON_HasObjectItem(object, "rollback");
	bool ok = cJSON_IsNumber(step) && step->valuedouble >= 0 && step->valuedouble < 0x1p53;
	if (ok) {
		*m = otp_metrics_at((int64_t)step->valuedouble);
		m->verdicts = take_verdicts(object);
		const cJSON *item;
#define TAKE(name)                                                                                           \
	item = cJSON_GetObjectItemCaseSensitive(object, #name);                                              \
	if (cJSON_IsNumber(item))                                                                            \
		m->name = item->valuedouble;
		OTP_METRICS(TAKE)
#undef TAKE
	}
	cJSON_Delete(object);
	return ok;
}

bool otp_metrics_read(const char *path, otp_metrics **rows, size_t *count, otp_error *err)
{
	*rows = NULL;
	*count = 0;
	size_t bytes = 0, lines = 1;
	char *text = otp_file_read(path, &bytes, err);
	if (!text)
		return false;
	for (size_t i = 0; i < bytes; i++)
		lines += text[i] == '\n';
	*rows = otp_calloc(lines, sizeof **rows);
	for (const char *line = text, *end = text + bytes; line < end;) {
		const char *stop = memchr(line, '\n', (size_t)(end - line));
		stop = stop ? stop : end;
		otp_metrics m;
		bool rollback;
		if (parse(line, (size_t)(stop - line), &m, &rollback)) {
			while (*count > 0 && (*rows)[*count - 1].step >= m.step + rollback)
				--*count;
			if (!rollback)
				(*rows)[(*count)++] = m;
		}
		line = stop + 1;
	}
	otp_free(text);
	return true;
}
