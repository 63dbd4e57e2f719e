#include "core/lock.h"
#include "core/file.h"
#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct otp_lock {
	int fd;
	char *path;
};

/* "process 4711 on HOST, since 2026-11-29 10:00:00": for whoever is kept out. */
static void sign(int fd, const char *path)
{
	char host[256] = "", since[32], text[512];
	time_t now = time(NULL);
	struct tm parts;
	gethostname(host, sizeof host - 1);
	localtime_r(&now, &parts);
	strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S", &parts);
	int length = snprintf(text, sizeof text, "process %ld on %s, since %s", (long)getpid(), host, since);
	otp_error ignored = {0};
	if (ftruncate(fd, 0) == 0)
		otp_file_put(fd, path, text, (size_t)length, &ignored);
}

static bool fail_held(int fd, const char *path, otp_error *err)
{
	char holder[512];
	int64_t length = otp_file_get(fd, holder, sizeof holder - 1);
	holder[length > 0 ? length : 0] = 0;
	return otp_fail(err, path, "is held by %s: one process at a time writes there",
			length > 0 ? holder : "another process");
}

/* The lock of a file that another process took away in the meantime keeps nobody out. */
static bool is_still_there(int fd, const char *path)
{
	struct stat opened, named;
	return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_dev == named.st_dev &&
	       opened.st_ino == named.st_ino;
}

/* -1 with an error, or a file that is locked. */
static int open_locked(const char *path, otp_error *err)
{
	for (;;) {
		struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666), code;
		if (fd < 0) {
			otp_fail_machine(err, path, "cannot be written: %s", strerror(errno));
			return -1;
		}
		do
			code = fcntl(fd, F_OFD_SETLK, &whole);
		while (code != 0 && errno == EINTR);
		if (code != 0 && (errno == EAGAIN || errno == EACCES)) {
			fail_held(fd, path, err);
			close(fd);
			return -1;
		}
		if (code != 0)
			otp_log("%s cannot be locked (%s): nothing keeps a second process out of this run",
				path, strerror(errno));
		if (code != 0 || is_still_there(fd, path))
			return fd;
		close(fd);
	}
}

otp_lock *otp_lock_take(const char *path, otp_error *err)
{
	int fd = open_locked(path, err);
	if (fd < 0)
		return NULL;
	sign(fd, path);
	otp_lock *lock = otp_calloc(1, sizeof *lock);
	*lock = (otp_lock){.fd = fd, .path = otp_strdup(path)};
	return lock;
}

bool otp_lock_is_held(const char *path)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool held = fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
	close(fd);
	return held;
}

void otp_lock_release(otp_lock *lock)
{
	if (!lock)
		return;
	unlink(lock->path); /* while it is held */
	close(lock->fd);
	otp_free(lock->path);
	otp_free(lock);
}
