#include "model/run.h"
#include "core/file.h"
#include "core/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *otp_run_path(const char *run, const char *name) { return otp_format("%s/%s", run, name); }

char *otp_run_step_path(const char *run, const char *kind, int64_t step, const char *extension)
{
	return otp_format("%s/%s/step-%07lld.%s", run, kind, (long long)step, extension);
}

bool otp_run_exists(const char *run)
{
	char *config = otp_run_path(run, "config.ini");
	bool exists = otp_file_exists(config);
	otp_free(config);
	return exists;
}

static bool refuse_there(const char *run, const char *name, otp_error *err)
{
	char *path = otp_run_path(run, name);
	bool there = otp_file_exists(path);
	otp_free(path);
	return !there ||
	       otp_fail(err, run, "holds %s, which a run would replace; choose another --out", name);
}

/* "step-..." in one of the run's folders. */
static bool refuse_steps(const char *run, const char *folder, otp_error *err)
{
	char *path = otp_run_path(run, folder);
	otp_file_names names;
	bool ok = otp_file_list(path, &names, err);
	for (int i = 0; ok && i < names.count; i++) {
		const char *name = names.each[i]->d_name;
		ok = strncmp(name, "step-", 5) != 0 || strstr(name, ".tmp-") ||
		     strcmp(name, "step-0000000.h5") == 0 ||
		     otp_fail(err, path, "holds %s, which a run would replace; choose another --out", name);
	}
	otp_file_list_free(&names);
	otp_free(path);
	return ok;
}

/* A run that was ended before it had begun leaves histories, which are appended to, and a checkpoint of step
 * 0. */
bool otp_run_may_begin(const char *run, otp_error *err)
{
	static const char *const LATER[] = {"model.h5", "model-best.h5", "report.html", "curves.svg"};
	struct stat info;
	if (stat(run, &info) == 0 ? !S_ISDIR(info.st_mode) : errno == ENOTDIR)
		return otp_fail(err, run, "folder cannot be made: it, or what it lies in, is a file");
	bool ok =
	    !otp_run_exists(run) ||
	    otp_fail(err, run, "holds a run already; continue it with --resume or choose another --out");
	for (size_t i = 0; ok && i < sizeof LATER / sizeof *LATER; i++)
		ok = refuse_there(run, LATER[i], err);
	return ok && refuse_steps(run, "samples", err) && refuse_steps(run, "checkpoints", err);
}

bool otp_run_create(const char *run, otp_error *err)
{
	if (!otp_run_may_begin(run, err))
		return false;
	static const char *const FOLDERS[] = {"samples", "checkpoints"};
	bool ok = otp_file_make_folder(run, err);
	for (int i = 0; ok && i < 2; i++) {
		char *folder = otp_run_path(run, FOLDERS[i]);
		ok = otp_file_make_folder(folder, err);
		otp_free(folder);
	}
	return ok;
}

static int by_step(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

int otp_run_checkpoints(const char *run, int64_t **steps, otp_error *err)
{
	int count = 0;
	otp_file_names names;
	char *folder = otp_run_path(run, "checkpoints");
	bool ok = otp_file_list(folder, &names, err);
	*steps = otp_calloc((size_t)names.count, sizeof **steps);
	for (int i = 0; i < names.count; i++) {
		long long step = 0;
		int length = 0;
		const char *name = names.each[i]->d_name;
		if (sscanf(name, "step-%lld.h5%n", &step, &length) == 1 && length && !name[length])
			(*steps)[count++] = step;
	}
	if (count)
		qsort(*steps, (size_t)count, sizeof **steps, by_step);
	otp_file_list_free(&names);
	otp_free(folder);
	return ok ? count : -1;
}

/* NAME.tmp-NUMBER... of a file that a run writes. The run's own folder may be somebody's, with files of
 * theirs. */
static bool is_temporary(const char *name, bool own_folder)
{
	static const char *const OURS[] = {"config.ini",    "summary.json", "model.h5",
					   "model-best.h5", "report.html",  "curves.svg"};
	const char *mark = strstr(name, ".tmp-");
	if (!mark || mark[5] < '0' || mark[5] > '9')
		return false;
	for (size_t i = 0; !own_folder && i < sizeof OURS / sizeof *OURS; i++)
		own_folder = strncmp(name, OURS[i], strlen(OURS[i])) == 0;
	return own_folder;
}

static void remove_temporaries(const char *folder, bool own_folder)
{
	otp_file_names names;
	otp_error later = {0}; /* a folder that cannot be listed now is swept at the next start */
	otp_file_list(folder, &names, &later);
	for (int i = 0; i < names.count; i++)
		if (is_temporary(names.each[i]->d_name, own_folder)) {
			char *path = otp_run_path(folder, names.each[i]->d_name);
			unlink(path);
			otp_free(path);
		}
	otp_file_list_free(&names);
}

void otp_run_sweep(const char *run)
{
	static const char *const FOLDERS[] = {"samples", "checkpoints"};
	remove_temporaries(run, false);
	for (int i = 0; i < 2; i++) {
		char *folder = otp_run_path(run, FOLDERS[i]);
		remove_temporaries(folder, true);
		otp_free(folder);
	}
}

void otp_run_prune(const char *run, int64_t step, int keep)
{
	int64_t *steps;
	otp_error later = {0}; /* what cannot be listed now is pruned after the next checkpoint */
	int count = otp_run_checkpoints(run, &steps, &later), earlier = 0;
	while (earlier < count && steps[earlier] < step)
		earlier++;
	for (int i = 0; i < earlier; i++)
		if (i < earlier - (keep - 1) || steps[i] == 0) {
			char *path = otp_run_step_path(run, "checkpoints", steps[i], "h5");
			unlink(path);
			otp_free(path);
		}
	otp_free(steps);
}

bool otp_run_newest(const char *run, int64_t most, otp_stored *s, char **path, otp_error *err)
{
	int64_t *steps;
	int count = otp_run_checkpoints(run, &steps, err);
	otp_error damage = {0};
	bool ok = count >= 0;
	*path = NULL;
	memset(s, 0, sizeof *s);
	for (int i = count - 1; ok && i >= 0 && !*path; i--) {
		if (steps[i] > most)
			continue;
		otp_error why = {0};
		char *each = otp_run_step_path(run, "checkpoints", steps[i], "h5");
		if (otp_checkpoint_read(each, s, &why)) {
			*path = each;
			break;
		}
		otp_free(each);
		ok = why.exit_code == OTP_EXIT_USAGE;
		if (!ok)
			*err = why;
		else
			otp_log("passed over: %s", why.text);
		if (!damage.exit_code)
			damage = why;
	}
	otp_free(steps);
	if (ok && !*path && damage.exit_code)
		ok = otp_fail(err, run, "has no checkpoint that is whole; of the newest: %s", damage.text);
	return ok;
}
