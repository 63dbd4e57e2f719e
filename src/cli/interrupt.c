#include "cli/interrupt.h"

#include <signal.h>

static volatile sig_atomic_t stopped_by;

static void on_signal(int number)
{
	stopped_by = number;
	signal(number, SIG_DFL);
}

void otp_interrupt_listen(void)
{
	static const int SIGNALS[] = {SIGINT, SIGTERM, SIGHUP};
	for (int i = 0; i < 3; i++)
		if (signal(SIGNALS[i], on_signal) == SIG_IGN)
			signal(SIGNALS[i], SIG_IGN);
}

bool otp_interrupt_none(const char *command, double done, const char *what, otp_error *err)
{
	int number = stopped_by;
	if (!number)
		return true;
	otp_fail_machine(err, command, "stopped by signal %d after %.0f %% of %s", number, 100 * done, what);
	err->exit_code = 128 + number;
	return false;
}
