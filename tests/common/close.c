#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/close.h"

#include <math.h>

void assert_close(double a, double b, double bound)
{
	if (!(fabs(a - b) <= bound))
		fail_msg("%.9g is not %.9g within %g", a, b, bound);
}
