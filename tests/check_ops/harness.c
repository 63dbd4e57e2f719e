/* harness: the backends, the tally, and the run of a case. */
#include "check_ops/harness.h"
#include "ref/ref.h"
#include "shim/backend.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *const tested_backends[] = {"cpu", "shim", "cuda"};
opened ref, tested[TESTED_COUNT];
struct tally tally;

/* The product's, and one that only tests have: the own CUDA kernels on the host. */
static const otp_backend *find_backend(const char *name, otp_error *err)
{
	return strcmp(name, "shim") == 0 ? &otp_shim_backend : otp_backend_find(name, err);
}

bool runs(int which, otp_op op) { return tested[which].backend && tested[which].backend->kernels[op]->run; }

void open_backends(void)
{
	otp_error err = {0};
	ref.backend = &otp_ref_backend;
	ref.backend->open(0, &ref.device, &err);
	for (int which = 0; which < TESTED_COUNT; which++) {
		if (tally.alone && strcmp(tally.alone, tested_backends[which]) != 0)
			continue;
		const otp_backend *backend = find_backend(tested_backends[which], &err);
		if (backend && backend->open(0, &tested[which].device, &err))
			tested[which].backend = backend;
		else
			printf("skipped %s: %s\n", tested_backends[which], err.text);
		err = (otp_error){0};
	}
}

void close_backends(void)
{
	for (int which = 0; which < TESTED_COUNT; which++)
		if (tested[which].backend)
			tested[which].backend->close(tested[which].device);
	ref.backend->close(ref.device);
}

void name_library_ops(void)
{
	for (int which = 0; which < TESTED_COUNT; which++) {
		int listed = 0;
		for (int op = OTP_OP_LEAF + 1; op < OTP_OP_COUNT && tested[which].backend; op++)
			if (!runs(which, (otp_op)op))
				printf("%s%s",
				       listed++ ? ", " : "library ops, not run: ", otp_op_name((otp_op)op));
		if (listed)
			printf(" (%s)\n", tested_backends[which]);
	}
}

/* With --backend, not to have run anything is a failure: whoever asks wants a result. */
bool opened_any(void)
{
	for (int which = 0; which < TESTED_COUNT; which++)
		if (tested[which].backend)
			return true;
	return false;
}

void report(bool good, const char *what, const char *fmt, ...)
{
	tally.checks++;
	if (good)
		return;
	tally.failures++;
	char text[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	printf("FAILED %s: %s\n", what, text);
}

void run_case(test_case t)
{
	if (t.bench_only && !tally.bench)
		return;
	values v = make_values(&t);
	tally.cases++;
	if (tally.bench) {
		for (int which = 0; which < TESTED_COUNT; which++) {
			if (!runs(which, t.op))
				continue;
			bool stores = tested[which].backend->element_bytes[OTP_BF16];
			unsigned narrow = stores ? may_be_narrow(t.op) : 0;
			bench(which, &t, &v, (way){OTP_PRECISION_F32, 0});
			if (t.bf16 || narrow)
				bench(which, &t, &v, (way){OTP_PRECISION_BF16, narrow});
		}
	} else {
		check_values(&t, &v);
		if (t.order > 0 && !tally.alone)
			check_gradients(&t, &v);
	}
	drop_values(&t, &v);
}
