/* log: the one place that writes to stderr, so that a message from any thread
 * and the live line never end up in each other. */
#include "core/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { STATUS_BYTES = 512 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *file;
static char status[STATUS_BYTES];
static otp_log_sink *sink;
static void *sink_context;
static bool is_hushed;

bool otp_log_open(const char *path, otp_error *err)
{
	FILE *opened = fopen(path, "a");
	if (!opened)
		return otp_fail_machine(err, path, "cannot be written: %s", strerror(errno));
	otp_log_close();
	pthread_mutex_lock(&lock);
	file = opened;
	pthread_mutex_unlock(&lock);
	return true;
}

void otp_log_close(void)
{
	pthread_mutex_lock(&lock);
	if (file)
		fclose(file);
	file = NULL;
	pthread_mutex_unlock(&lock);
}

void otp_log_to(otp_log_sink *to, void *context)
{
	pthread_mutex_lock(&lock);
	sink = to;
	sink_context = context;
	pthread_mutex_unlock(&lock);
}

void otp_log_hush(bool hushed) { is_hushed = hushed; }

bool otp_log_is_live(void)
{
	const char *term = getenv("TERM");
	return !sink && !is_hushed && isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

int otp_log_columns(void)
{
	struct winsize size;
	bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
	return known ? size.ws_col : 80;
}

static void write_file(const char *message)
{
	if (!file)
		return;
	char stamp[32];
	time_t now = time(NULL);
	struct tm parts;
	localtime_r(&now, &parts);
	strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &parts);
	fprintf(file, "%s  %s\n", stamp, message);
	fflush(file);
}

/* \r, the line, clear to the end. The last column stays free: some terminals wrap there. */
static void draw_status(void)
{
	fprintf(stderr, "\r%.*s\033[K", otp_log_columns() - 1, status);
	fflush(stderr);
}

static void say(const char *head, bool aloud, const char *fmt, va_list args)
{
	char message[2048];
	int used = snprintf(message, sizeof message, "%s", head);
	vsnprintf(message + used, sizeof message - (size_t)used, fmt, args);
	pthread_mutex_lock(&lock);
	write_file(message);
	if (aloud && sink) {
		sink(sink_context, message);
	} else if (aloud && *status) {
		fprintf(stderr, "\r\033[K%s\n", message);
		draw_status();
	} else if (aloud) {
		fprintf(stderr, "%s\n", message);
	}
	pthread_mutex_unlock(&lock);
}

void otp_log(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	say("", !is_hushed, fmt, args);
	va_end(args);
}

void otp_log_error(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	say("otplan: ", true, fmt, args);
	va_end(args);
}

void otp_log_quietly(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	say("", false, fmt, args);
	va_end(args);
}

void otp_log_from_signal(const char *line)
{
	static const char clear[] = "\r\033[K";
	if (is_hushed)
		return;
	bool told = !*status || write(STDERR_FILENO, clear, sizeof clear - 1) > 0;
	told = told && write(STDERR_FILENO, line, strlen(line)) > 0 && write(STDERR_FILENO, "\n", 1) > 0;
	(void)told; /* there is nobody else to tell */
}

void otp_log_status(const char *line)
{
	if (!otp_log_is_live())
		return;
	pthread_mutex_lock(&lock);
	bool was = *status;
	snprintf(status, sizeof status, "%s", line ? line : "");
	if (*status || was)
		draw_status();
	pthread_mutex_unlock(&lock);
}

const otp_voice otp_log_voice = {otp_log, otp_log_is_live, otp_log_status};
