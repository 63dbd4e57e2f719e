/* fault: a library to preload, in which chosen system calls fail.
 *
 *   OTP_FAULT=CALL:N:HOW:PART   the N-th CALL (0: every one) on a path that holds PART fails. CALL: write,
 * pwrite, read, pread, fsync, close, rename, lock. HOW: the number of an errno, or `short`: half of what was
 * asked, with EINTR before every second call OTP_TRACE=FILE              calls of fsync, rename and unlink,
 * in order, a line each
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct fault {
	char call[16], how[16], part[256];
	long which;
	atomic_long seen;
} fault;

static fault the_fault;

__attribute__((constructor)) static void read_environment(void)
{
	const char *text = getenv("OTP_FAULT");
	if (text && sscanf(text, "%15[^:]:%ld:%15[^:]:%255s", the_fault.call, &the_fault.which, the_fault.how,
			   the_fault.part) != 4)
		abort();
}

static const char *path_of(int fd, char path[4096])
{
	char link[64];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t length = readlink(link, path, 4095);
	path[length > 0 ? length : 0] = 0;
	return path;
}

static void trace(const char *call, const char *path)
{
	const char *file = getenv("OTP_TRACE");
	char line[4200];
	if (!file)
		return;
	int length = snprintf(line, sizeof line, "%s %s\n", call, path);
	long fd = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND, 0666);
	syscall(SYS_write, (int)fd, line, (size_t)length);
	syscall(SYS_close, (int)fd);
}

/* How many times this fault has been met, this time included; 0: another call or path. */
static long met(const char *call, const char *path)
{
	if (strcmp(the_fault.call, call) != 0 || !strstr(path, the_fault.part))
		return 0;
	return atomic_fetch_add(&the_fault.seen, 1) + 1;
}

static int is_short(void) { return strcmp(the_fault.how, "short") == 0; }

/* Whether the call fails now, with errno set; a short one shrinks *bytes. */
static int strikes(const char *call, const char *path, size_t *bytes)
{
	long time = met(call, path);
	if (!time || (the_fault.which && time != the_fault.which))
		return 0;
	if (!is_short()) {
		errno = atoi(the_fault.how);
		return 1;
	}
	if (bytes && *bytes > 1)
		*bytes /= 2;
	errno = EINTR;
	return time % 2;
}

static int strikes_fd(const char *call, int fd, size_t *bytes)
{
	char path[4096];
	int kept = errno, struck = the_fault.call[0] ? strikes(call, path_of(fd, path), bytes) : 0;
	if (!struck)
		errno = kept;
	return struck;
}

ssize_t write(int fd, const void *data, size_t bytes)
{
	return strikes_fd("write", fd, &bytes) ? -1 : syscall(SYS_write, fd, data, bytes);
}

ssize_t read(int fd, void *data, size_t bytes)
{
	return strikes_fd("read", fd, &bytes) ? -1 : syscall(SYS_read, fd, data, bytes);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at)
{
	return strikes_fd("pwrite", fd, &bytes) ? -1 : syscall(SYS_pwrite64, fd, data, bytes, at);
}
ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t at) { return pwrite(fd, data, bytes, at); }

ssize_t pread(int fd, void *data, size_t bytes, off_t at)
{
	return strikes_fd("pread", fd, &bytes) ? -1 : syscall(SYS_pread64, fd, data, bytes, at);
}
ssize_t pread64(int fd, void *data, size_t bytes, off64_t at) { return pread(fd, data, bytes, at); }

int fsync(int fd)
{
	char path[4096];
	trace("fsync", path_of(fd, path));
	return strikes_fd("fsync", fd, NULL) ? -1 : (int)syscall(SYS_fsync, fd);
}

int close(int fd)
{
	int struck = strikes_fd("close", fd, NULL), why = errno, code = (int)syscall(SYS_close, fd);
	if (struck)
		errno = why;
	return struck ? -1 : code;
}

int rename(const char *from, const char *to)
{
	trace("rename", to);
	return strikes("rename", to, NULL) ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

int unlink(const char *path)
{
	trace("unlink", path);
	return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int flock(int fd, int how) { return strikes_fd("lock", fd, NULL) ? -1 : (int)syscall(SYS_flock, fd, how); }

int fcntl(int fd, int command, ...)
{
	va_list args;
	va_start(args, command);
	void *argument = va_arg(args, void *);
	va_end(args);
	int locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK;
	return locks && strikes_fd("lock", fd, NULL) ? -1 : (int)syscall(SYS_fcntl, fd, command, argument);
}
int fcntl64(int fd, int command, ...)
{
	va_list args;
	va_start(args, command);
	void *argument = va_arg(args, void *);
	va_end(args);
	return fcntl(fd, command, argument);
}
