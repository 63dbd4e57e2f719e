#define _POSIX_C_SOURCE 200809L
#include "cli/interrupt.h"

#include <signal.h>

static volatile sig_atomic_t came;

/* The next one gets the default. */
static void on_signal(int number)
{
	came = number;
	signal(number, SIG_DFL);
}

void otp_interrupt_listen(void)
{
	struct sigaction was;
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	/* nohup's promise is kept. */
	if (sigaction(SIGHUP, NULL, &was) == 0 && was.sa_handler != SIG_IGN)
		signal(SIGHUP, on_signal);
}

int otp_interrupt_number(void) { return came; }

bool otp_interrupt_fail(otp_error *err, const char *command, const char *how_far)
{
	otp_fail_machine(err, command, "stopped by signal %d %s", (int)came, how_far);
	err->exit_code = 128 + came;
	return false;
}
