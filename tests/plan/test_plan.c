/* plan and program: on random graphs and on the graphs of real training steps,
 * no two values that are needed at once share memory, a run with free memory
 * poisoned gives the same bits, and running allocates nothing.
 *
 * With types mixed at random, and with storage.h's, the same holds.
 */
#include "plan/plan.h"

typedef struct test_row {
	const char *name;
	CMUnitTestFunction run;
	bool for_each_arch;
} test_row;

static const test_row ROWS[] = {
#define ROW(name, each) {#name, name, each},
    PLAN_TESTS(ROW)
#undef ROW
};
enum { ROW_COUNT = sizeof ROWS / sizeof *ROWS };

int main(void)
{
	struct CMUnitTest tests[ROW_COUNT * ARCH_COUNT] = {{0}}; /* empty rows are skipped */
	size_t count = 0;
	for (int row = 0; row < ROW_COUNT; row++)
		for (int arch = 0; arch < (ROWS[row].for_each_arch ? ARCH_COUNT : 1); arch++)
			tests[count++] = (struct CMUnitTest){ROWS[row].name, ROWS[row].run, NULL, NULL,
							     (void *)&ARCHS[arch]};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
