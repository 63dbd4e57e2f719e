#define _POSIX_C_SOURCE 200809L
#include "train/stop.h"
#include "core/log.h"

#include <math.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* A terminal that closes sends SIGHUP twice, by shell and kernel, and launchers repeat what they get. Only
 * what comes later than this is somebody's second wish. */
static const double REPEATED_S = 0.1;

static volatile sig_atomic_t training, asked, save_asked;
static double asked_at; /* written once, before `asked` */

static double deadline; /* 0: none */
static double last_step_at, longest_step, longest_save, longest_picture;
static double keep_s, last_save_at;

static void on_signal(int number)
{
	double now = otp_seconds();
	if (number == SIGUSR1) {
		save_asked = 1;
	} else if (asked ? now - asked_at > REPEATED_S : !training) {
		_exit(128 + number);
	} else if (!asked) {
		asked_at = now;
		asked = number;
		otp_log_from_signal("stopping after this step, again to leave at once");
	}
}

static void take(int number)
{
	struct sigaction action = {.sa_flags = SA_RESTART};
	action.sa_handler = on_signal;
	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGINT);
	sigaddset(&action.sa_mask, SIGTERM);
	sigaddset(&action.sa_mask, SIGHUP);
	sigaction(number, &action, NULL);
}

void otp_stop_listen(double limit_s)
{
	struct sigaction was;
	deadline = limit_s > 0 ? otp_seconds() + limit_s : 0;
	take(SIGINT);
	take(SIGTERM);
	take(SIGUSR1);
	/* nohup's promise is kept. */
	if (sigaction(SIGHUP, NULL, &was) == 0 && was.sa_handler != SIG_IGN)
		take(SIGHUP);
}

void otp_stop_begin(double keep)
{
	training = 1;
	keep_s = keep;
	last_step_at = last_save_at = otp_seconds();
	longest_step = 0;
}

void otp_stop_end(void) { training = 0; }

void otp_stop_saved(double seconds)
{
	longest_save = fmax(longest_save, seconds);
	last_save_at = otp_seconds();
}

void otp_stop_pictured(double seconds) { longest_picture = fmax(longest_picture, seconds); }

/* A step is timed with all that its turn did: on a GPU some turns issue work and others wait for it. */
static otp_wish own_wish(void)
{
	double now = otp_seconds();
	longest_step = fmax(longest_step, now - last_step_at);
	last_step_at = now;
	if (asked)
		return OTP_WISH_STOP;
	/* A checkpoint and the pages, which are smaller. */
	if (deadline > 0 && now + longest_step + 1.5 * longest_picture + 2.5 * longest_save > deadline)
		return OTP_WISH_TIME_UP;
	if (save_asked) {
		save_asked = 0;
		return OTP_WISH_SAVE;
	}
	return keep_s > 0 && now - last_save_at > keep_s ? OTP_WISH_KEEP : OTP_WISH_NONE;
}

/* Of several processes, what any wishes all do: the number of its signal comes along. */
otp_wish otp_stop_wish(const otp_group *group)
{
	enum { SIGNALS = 256 };
	otp_wish wish = own_wish();
	if (!group)
		return wish;
	int most = otp_group_most(group, (int)wish * SIGNALS + (wish == OTP_WISH_STOP ? (int)asked : 0));
	if (most / SIGNALS == OTP_WISH_STOP && !asked) {
		asked_at = otp_seconds();
		asked = most % SIGNALS;
	}
	return (otp_wish)(most / SIGNALS);
}

int otp_stop_exit_code(void) { return 128 + asked; }
