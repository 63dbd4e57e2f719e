/* check_ops: every op of ops.def on every backend against ref, and every
 * gradient rule against finite differences. A line of ops.def without a
 * check_<name> in cases/ does not link.
 *
 *   check_ops [op]             check all ops, or one
 *   check_ops --bench [op]     time the cases instead
 *   check_ops --backend NAME   that backend alone; the gradient rules, which ref checks, not again
 */
#include "check_ops/harness.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	void (*run)(void);
} checks[] = {
#define OP(name, inputs, attribute, in_place, meaning) {#name, check_##name},
#include "graph/ops.def"
#undef OP
};

int main(int argc, char **argv)
{
	const char *only = NULL;
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--bench") == 0)
			tally.bench = true;
		else if (strcmp(argv[i], "--backend") == 0 && i + 1 < argc)
			tally.alone = argv[++i];
		else
			only = argv[i];
	open_backends();
	if (!opened_any())
		return OTP_EXIT_FAILED;
	name_library_ops();
	int ops = 0;
	for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
		if (only && strcmp(checks[i].name, only) != 0)
			continue;
		ops++;
		checks[i].run();
	}
	if (!ops) {
		fprintf(stderr, "check_ops: there is no op '%s'\n", only);
		return OTP_EXIT_USAGE;
	}
	close_backends();
	printf("%d ops, %d cases, %d checks, %d failed\n", ops, tally.cases, tally.checks, tally.failures);
	return tally.failures ? OTP_EXIT_FAILED : OTP_EXIT_OK;
}
