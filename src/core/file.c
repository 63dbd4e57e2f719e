/* file: whole-file reading and writing, and the way of a temporary to its final name, which half-written
 * files never carry. */
#include "core/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

/* Short, whatever the length of the name that the file is to have; files of other names have others. */
char *otp_file_temporary(const char *path)
{
	enum { ROOM = 220 }; /* of the 255 bytes that a name may have */
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	if (strlen(name) <= ROOM)
		return otp_format("%s.tmp-%ld", path, (long)getpid());
	uint32_t hash = 2166136261u; /* FNV-1a */
	for (const char *c = name; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619u;
	return otp_format("%.*s.tmp-%ld-%08x", (int)(name - path), path, (long)getpid(), (unsigned)hash);
}

bool otp_file_sync(int fd, const char *path, otp_error *err)
{
	int code;
	do
		code = fsync(fd);
	while (code != 0 && errno == EINTR);
	/* Some file systems refuse to sync a folder: EINVAL there is no loss of ours. */
	return code == 0 || errno == EINVAL || errno == ENOTSUP ||
	       otp_fail_machine(err, path, "cannot be synced to disk: %s", strerror(errno));
}

static bool sync_path(const char *path, int flags, otp_error *err)
{
	int fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		return otp_fail_machine(err, path, "cannot be opened: %s", strerror(errno));
	bool ok = otp_file_sync(fd, path, err);
	close(fd);
	return ok;
}

static char *parent_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		return otp_strdup(".");
	return slash == path ? otp_strdup("/") : otp_format("%.*s", (int)(slash - path), path);
}

bool otp_file_commit(const char *temporary, const char *path, otp_file_check *check, const void *meant,
		     otp_error *err)
{
	char *folder = parent_folder(path);
	otp_error found = {0};
	bool ok = sync_path(temporary, O_RDONLY, err);
	if (ok && !check(temporary, meant, &found))
		ok = otp_fail_machine(
		    err, path, "was not written as it should be (%s); what was there is kept", found.text);
	if (ok && rename(temporary, path) != 0)
		ok = otp_fail_machine(err, path, "cannot be renamed from %s: %s", temporary, strerror(errno));
	if (!ok)
		unlink(temporary);
	ok = ok && sync_path(folder, O_RDONLY | O_DIRECTORY, err);
	otp_free(folder);
	return ok;
}

bool otp_file_put(int fd, const char *path, const void *data, size_t bytes, otp_error *err)
{
	for (const char *at = data; bytes > 0;) {
		ssize_t done = write(fd, at, bytes);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return otp_fail_machine(err, path, "cannot be written: %s",
						done < 0 ? strerror(errno) : "the file takes no more");
		at += done;
		bytes -= (size_t)done;
	}
	return true;
}

int64_t otp_file_get(int fd, void *data, size_t bytes)
{
	size_t used = 0;
	while (used < bytes) {
		ssize_t got = read(fd, (char *)data + used, bytes - used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		used += (size_t)got;
	}
	return (int64_t)used;
}

enum { BLOCK = 1 << 16 };

bool otp_file_digest(const char *path, uint64_t at, uint64_t bytes, uint64_t *digest, otp_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool ok = fd >= 0 && lseek(fd, (off_t)at, SEEK_SET) >= 0;
	char *block = otp_calloc(BLOCK, 1);
	XXH3_state_t *state = XXH3_createState();
	OTP_ASSERT(state, "no memory for a digest");
	XXH3_64bits_reset(state);
	int64_t got = ok ? BLOCK : -1;
	for (uint64_t left = bytes; left > 0 && got == BLOCK; left -= (uint64_t)got) {
		got = otp_file_get(fd, block, left < BLOCK ? (size_t)left : BLOCK);
		if (got > 0)
			XXH3_64bits_update(state, block, (size_t)got);
	}
	if (got < 0)
		otp_file_fail_read(err, path, errno);
	*digest = XXH3_64bits_digest(state);
	XXH3_freeState(state);
	otp_free(block);
	if (fd >= 0)
		close(fd);
	return got >= 0;
}

static bool has_digest(const char *temporary, const void *meant, otp_error *err)
{
	uint64_t digest = 0;
	return otp_file_digest(temporary, 0, OTP_FILE_REST, &digest, err) &&
	       (digest == *(const uint64_t *)meant || otp_fail(err, temporary, "its digest differs"));
}

bool otp_file_write(const char *path, const void *data, size_t bytes, otp_error *err)
{
	char *temporary = otp_file_temporary(path);
	uint64_t digest = XXH3_64bits(data, bytes);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	bool ok = fd >= 0;
	if (!ok) {
		otp_fail_machine(err, path, "cannot be created: %s", strerror(errno));
		goto out;
	}
	ok = otp_file_put(fd, path, data, bytes, err);
	if (close(fd) != 0 && ok)
		ok = otp_fail_machine(err, path, "cannot be written: %s", strerror(errno));
	if (!ok)
		unlink(temporary);
	ok = ok && otp_file_commit(temporary, path, has_digest, &digest, err);
out:
	otp_free(temporary);
	return ok;
}

bool otp_file_fail_read(otp_error *err, const char *path, int why)
{
	bool named_wrongly =
	    why == ENOENT || why == ENOTDIR || why == EISDIR || why == ELOOP || why == ENAMETOOLONG;
	return (named_wrongly ? otp_fail : otp_fail_machine)(err, path, "cannot be read: %s", strerror(why));
}

void *otp_file_read(const char *path, size_t *bytes, otp_error *err)
{
	char *data = NULL;
	struct stat info;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a pipe would be waited for */
	if (fd < 0 || fstat(fd, &info) != 0) {
		otp_file_fail_read(err, path, errno);
		goto out;
	}
	if (S_ISDIR(info.st_mode)) {
		otp_fail(err, path, "is a folder, a file was expected");
		goto out;
	}
	if (!S_ISREG(info.st_mode)) {
		otp_fail(err, path, "is a pipe, device or socket, a file was expected");
		goto out;
	}
	/* The size is a first guess only: files of /proc have none, and a file may grow. */
	size_t room = (info.st_size > 0 ? (size_t)info.st_size : 65536) + 1, used = 0;
	data = otp_calloc(room, 1);
	for (;;) {
		ssize_t got = read(fd, data + used, room - 1 - used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			otp_file_fail_read(err, path, errno);
			otp_free(data);
			data = NULL;
			goto out;
		}
		used += (size_t)got;
		if (got == 0)
			break;
		if (used == room - 1) {
			/* Full and perhaps at the end: a file of the guessed size needs no second buffer. */
			char more;
			do
				got = read(fd, &more, 1);
			while (got < 0 && errno == EINTR);
			if (got <= 0)
				break;
			data = otp_realloc(data, used, otp_mul_size(room, 2));
			room *= 2;
			data[used++] = more;
		}
	}
	data[used] = 0;
	*bytes = used;
out:
	if (fd >= 0)
		close(fd);
	return data;
}

bool otp_file_exists(const char *path)
{
	struct stat info;
	return stat(path, &info) == 0;
}

bool otp_file_is_folder(const char *path)
{
	struct stat info;
	return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool otp_file_is_regular(const char *path)
{
	struct stat info;
	return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

static int is_named(const struct dirent *e)
{
	return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

bool otp_file_list(const char *folder, otp_file_names *names, otp_error *err)
{
	*names = (otp_file_names){0};
	int count = scandir(folder, &names->each, is_named, by_bytes);
	names->count = count > 0 ? count : 0;
	return count >= 0 || errno == ENOENT ||
	       otp_fail_machine(err, folder, "folder cannot be listed: %s", strerror(errno));
}

void otp_file_list_free(otp_file_names *names)
{
	for (int i = 0; i < names->count; i++)
		free(names->each[i]);
	free(names->each);
	*names = (otp_file_names){0};
}

bool otp_file_make_folder(const char *path, otp_error *err)
{
	char *partial = otp_strdup(path);
	bool ok = true;
	for (char *end = partial; ok && *end; end++) {
		if (end[1] != '/' && end[1] != 0)
			continue;
		char kept = end[1];
		end[1] = 0;
		/* Another process may make the folder between question and deed: only the outcome counts. */
		if (mkdir(partial, 0777) != 0) {
			int why = errno;
			if (!otp_file_is_folder(partial))
				ok = otp_fail_machine(err, path, "folder cannot be made: %s",
						      why == EEXIST ? "a file of that name exists"
								    : strerror(why));
		}
		end[1] = kept;
	}
	otp_free(partial);
	return ok;
}

bool otp_file_make_folder_of(const char *path, otp_error *err)
{
	const char *slash = strrchr(path, '/');
	char *folder = otp_format("%.*s", slash ? (int)(slash - path) : 0, path);
	bool ok = !*folder || otp_file_make_folder(folder, err);
	otp_free(folder);
	return ok;
}
