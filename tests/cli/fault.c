/* fault: a library to preload, in which a chosen call of the system fails, or ends the program.
 *
 *   OTP_FAULT=CALL:N:HOW:PART   the N-th CALL (0: every one) on a path that holds PART fails
 *       CALL  open, read, pread, write, pwrite, fsync, rename, close, mmap, lock, list (of a folder),
 *             or `change`: whichever call changes what is on the disk (write, pwrite, fsync, rename,
 *             unlink, an open that creates)
 *       HOW   the number of an errno; `short`: half of what was asked, with EINTR before every second call;
 *             `full=BYTES`: ENOSPC once BYTES bytes were written; `kill`: SIGKILL, after half of a write
 *   OTP_TRACE=FILE              calls of fsync, rename and unlink, in order, a line each
 *   OTP_STRUCK=FILE             a line `CALL PATH` for each call that failed; at the end `met N`
 *
 * Streams that the program opens by fopen go through these calls too.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef enum fault_how { FAIL, SHORT, FULL, KILL } fault_how;

typedef struct fault {
	char call[16], part[256];
	fault_how how;
	long which;
	int why;	  /* FAIL, FULL */
	atomic_long room; /* FULL: bytes that may still be written */
	atomic_long seen;
} fault;

static fault the_fault;

/* ---- what is asked for ----------------------------------------------------------- */

static void set_how(const char *how)
{
	the_fault.how = strcmp(how, "short") == 0 ? SHORT : strcmp(how, "kill") == 0 ? KILL : FAIL;
	the_fault.why = atoi(how);
	if (strncmp(how, "full=", 5) == 0) {
		the_fault.how = FULL;
		the_fault.why = ENOSPC;
		atomic_init(&the_fault.room, atol(how + 5));
	}
}

__attribute__((constructor)) static void read_environment(void)
{
	const char *text = getenv("OTP_FAULT");
	char how[32];
	if (!text)
		return;
	if (sscanf(text, "%15[^:]:%ld:%31[^:]:%255s", the_fault.call, &the_fault.which, how,
		   the_fault.part) != 4)
		abort();
	set_how(how);
}

static const char *path_of(int fd, char path[4096])
{
	char link[64];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t length = readlink(link, path, 4095);
	path[length > 0 ? length : 0] = 0;
	return path;
}

static void note(const char *variable, const char *call, const char *path)
{
	const char *file = getenv(variable);
	char line[4200];
	if (!file)
		return;
	int length = snprintf(line, sizeof line, "%s %s\n", call, path);
	long fd = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND, 0666);
	syscall(SYS_write, (int)fd, line, (size_t)length);
	syscall(SYS_close, (int)fd);
}

__attribute__((destructor)) static void tell_count(void)
{
	char count[32];
	snprintf(count, sizeof count, "%ld", atomic_load(&the_fault.seen));
	if (the_fault.call[0])
		note("OTP_STRUCK", "met", count);
}

/* ---- whether it is now ----------------------------------------------------------- */

static int changes(const char *call)
{
	static const char *const CALLS[] = {"write", "pwrite", "fsync", "rename", "unlink", "create"};
	for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++)
		if (strcmp(call, CALLS[i]) == 0)
			return 1;
	return 0;
}

/* How many times this fault has been met, this time included; 0: another call or path. */
static long met(const char *call, const char *path)
{
	int is = strcmp(the_fault.call, "change") == 0 ? changes(call)
		 : strcmp(call, "create") == 0	       ? strcmp(the_fault.call, "open") == 0
						       : strcmp(the_fault.call, call) == 0;
	return is && strstr(path, the_fault.part) ? atomic_fetch_add(&the_fault.seen, 1) + 1 : 0;
}

/* A disk of so many bytes: what fits of this write, then nothing more. */
static int overflows(const char *call, size_t *bytes)
{
	if (!bytes || strstr(call, "write") == NULL)
		return 0;
	long left = atomic_fetch_sub(&the_fault.room, (long)*bytes);
	if (left <= 0)
		return 1;
	if ((size_t)left < *bytes)
		*bytes = (size_t)left;
	return 0;
}

/* Whether the call fails now, with errno set; a short one shrinks *bytes. */
static int strikes(const char *call, const char *path, size_t *bytes)
{
	long time = met(call, path);
	int struck = 0;
	if (!time || (the_fault.which && time != the_fault.which))
		return 0;
	switch (the_fault.how) {
	case SHORT:
		if (bytes && *bytes > 1)
			*bytes /= 2;
		errno = EINTR;
		struck = time % 2;
		break;
	case FULL:
		struck = overflows(call, bytes);
		errno = the_fault.why;
		break;
	default:
		struck = 1;
		errno = the_fault.why;
	}
	if (struck || the_fault.how == SHORT)
		note("OTP_STRUCK", call, path);
	return struck;
}

static void die(void)
{
	syscall(SYS_kill, (long)getpid(), SIGKILL);
	for (;;)
		syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
}

static int strikes_path(const char *call, const char *path)
{
	int kept = errno, struck = the_fault.call[0] ? strikes(call, path, NULL) : 0;
	if (struck && the_fault.how == KILL)
		die();
	if (!struck)
		errno = kept;
	return struck;
}

static int strikes_fd(const char *call, int fd, size_t *bytes)
{
	char path[4096];
	int kept = errno, struck = the_fault.call[0] ? strikes(call, path_of(fd, path), bytes) : 0;
	if (struck && the_fault.how == KILL && !strstr(call, "write"))
		die();
	if (!struck)
		errno = kept;
	return struck;
}

/* ---- the calls ------------------------------------------------------------------- */

ssize_t write(int fd, const void *data, size_t bytes)
{
	int struck = strikes_fd("write", fd, &bytes);
	if (struck && the_fault.how == KILL) {
		syscall(SYS_write, fd, data, bytes / 2);
		die();
	}
	return struck ? -1 : syscall(SYS_write, fd, data, bytes);
}

ssize_t read(int fd, void *data, size_t bytes)
{
	return strikes_fd("read", fd, &bytes) ? -1 : syscall(SYS_read, fd, data, bytes);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at)
{
	int struck = strikes_fd("pwrite", fd, &bytes);
	if (struck && the_fault.how == KILL) {
		syscall(SYS_pwrite64, fd, data, bytes / 2, at);
		die();
	}
	return struck ? -1 : syscall(SYS_pwrite64, fd, data, bytes, at);
}
ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t at) { return pwrite(fd, data, bytes, at); }

ssize_t pread(int fd, void *data, size_t bytes, off_t at)
{
	return strikes_fd("pread", fd, &bytes) ? -1 : syscall(SYS_pread64, fd, data, bytes, at);
}
ssize_t pread64(int fd, void *data, size_t bytes, off64_t at) { return pread(fd, data, bytes, at); }

static int open_path(int at, const char *path, int flags, mode_t mode)
{
	char real[4096];
	/* Relative paths are told from the working folder, so that PART means one thing for all calls. */
	if (the_fault.call[0] && path[0] != '/' && getcwd(real, sizeof real / 2)) {
		size_t used = strlen(real);
		snprintf(real + used, sizeof real - used, "/%s", path);
	} else {
		snprintf(real, sizeof real, "%s", path);
	}
	if (strikes_path(flags & O_CREAT ? "create" : "open", real))
		return -1;
	return (int)syscall(SYS_openat, at, path, flags, mode);
}

static mode_t mode_of(int flags, va_list args)
{
	return flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	mode_t mode = mode_of(flags, args);
	va_end(args);
	return open_path(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	mode_t mode = mode_of(flags, args);
	va_end(args);
	return open_path(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

int fsync(int fd)
{
	char path[4096];
	note("OTP_TRACE", "fsync", path_of(fd, path));
	return strikes_fd("fsync", fd, NULL) ? -1 : (int)syscall(SYS_fsync, fd);
}

int close(int fd)
{
	int struck = strikes_fd("close", fd, NULL), why = errno, code = (int)syscall(SYS_close, fd);
	if (struck)
		errno = why;
	return struck ? -1 : code;
}

static const char *absolute(const char *path, char room[4096])
{
	char folder[2048];
	if (path[0] == '/' || !getcwd(folder, sizeof folder))
		return path;
	snprintf(room, 4096, "%s/%.2000s", folder, path);
	return room;
}

int rename(const char *from, const char *to)
{
	char room[4096];
	note("OTP_TRACE", "rename", to);
	return strikes_path("rename", absolute(to, room))
		   ? -1
		   : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

int unlink(const char *path)
{
	char room[4096];
	note("OTP_TRACE", "unlink", path);
	return strikes_path("unlink", absolute(path, room)) ? -1
							    : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

typedef int scan_folder(const char *, struct dirent ***, int (*)(const struct dirent *),
			int (*)(const struct dirent **, const struct dirent **));

int scandir(const char *path, struct dirent ***names, int (*takes)(const struct dirent *),
	    int (*order)(const struct dirent **, const struct dirent **))
{
	char room[4096];
	scan_folder *real;
	*(void **)&real = dlsym(RTLD_NEXT, "scandir");
	return strikes_path("list", absolute(path, room)) ? -1 : real(path, names, takes, order);
}

void *mmap(void *at, size_t bytes, int allows, int flags, int fd, off_t from)
{
	if (fd >= 0 && strikes_fd("mmap", fd, NULL))
		return MAP_FAILED;
	return (void *)syscall(SYS_mmap, at, bytes, allows, flags, fd, from);
}
void *mmap64(void *at, size_t bytes, int allows, int flags, int fd, off64_t from)
{
	return mmap(at, bytes, allows, flags, fd, from);
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

/* ---- streams --------------------------------------------------------------------- */

/* libc's own streams call the system past this library, so ours read and write by the calls above. What needs
 * a stream's descriptor (libzip) gets it from a list. */
enum { STREAMS = 64 };
static struct {
	_Atomic(FILE *) stream;
	int fd;
} streams[STREAMS];

static ssize_t cookie_read(void *cookie, char *data, size_t bytes)
{
	return read((int)(intptr_t)cookie - 1, data, bytes);
}
static ssize_t cookie_write(void *cookie, const char *data, size_t bytes)
{
	ssize_t done = write((int)(intptr_t)cookie - 1, data, bytes);
	return done < 0 ? 0 : done;
}
static int cookie_seek(void *cookie, off64_t *at, int whence)
{
	off64_t now = lseek64((int)(intptr_t)cookie - 1, *at, whence);
	if (now >= 0)
		*at = now;
	return now < 0 ? -1 : 0;
}
static int cookie_close(void *cookie)
{
	int fd = (int)(intptr_t)cookie - 1;
	for (int i = 0; i < STREAMS; i++)
		if (streams[i].fd == fd)
			atomic_store(&streams[i].stream, NULL);
	return close(fd);
}

static FILE *stream_of(int fd, const char *mode)
{
	FILE *stream =
	    fopencookie((void *)(intptr_t)(fd + 1), mode,
			(cookie_io_functions_t){cookie_read, cookie_write, cookie_seek, cookie_close});
	for (int i = 0; stream && i < STREAMS; i++) {
		FILE *none = NULL;
		if (atomic_compare_exchange_strong(&streams[i].stream, &none, stream)) {
			streams[i].fd = fd;
			return stream;
		}
	}
	return stream;
}

FILE *fopen(const char *path, const char *mode)
{
	int flags = strchr(mode, '+') ? O_RDWR : mode[0] == 'r' ? O_RDONLY : O_WRONLY;
	flags |= mode[0] == 'w' ? O_CREAT | O_TRUNC : mode[0] == 'a' ? O_CREAT | O_APPEND : 0;
	int fd = open_path(AT_FDCWD, path, flags | (strchr(mode, 'e') ? O_CLOEXEC : 0), 0666);
	return fd < 0 ? NULL : stream_of(fd, mode);
}
FILE *fopen64(const char *path, const char *mode) { return fopen(path, mode); }
FILE *fdopen(int fd, const char *mode) { return stream_of(fd, mode); }

int fileno(FILE *stream)
{
	for (int i = 0; i < STREAMS; i++)
		if (atomic_load(&streams[i].stream) == stream)
			return streams[i].fd;
	return stream == stdin ? 0 : stream == stdout ? 1 : stream == stderr ? 2 : -1;
}
