/* deal: columns among processes. */
#include "check_ops/harness.h"
#include "tree.h"

/* Of one process the columns are its own already; what several make of them is seen with processes
 * (tests/fake_device/group.sh). */
static void check_deal(otp_op op)
{
	for (int k = 0; k < 4; k++) {
		const int columns[] = {1, 1000, 5 * OTP_NORM_COLUMNS, 5 * OTP_NORM_COLUMNS + 16};
		test_case t = {
		    .op = op, .count = 1, .in = {{1, 1, 1, columns[k]}}, .fill = {NORMALISH}, .bound = EXACT};
		t.attr.deal.each = columns[k];
		run_case(t);
		t.attr.deal.empty = true;
		if (op == OTP_OP_reduce_scatter)
			run_case(t);
	}
}

void check_reduce_scatter(void) { check_deal(OTP_OP_reduce_scatter); }

/* Every block is one process's one worker's; processes but the last have as many. */
static void check_dealing(int64_t columns, int processes, int workers)
{
	int next = 0;
	bool whole = true;
	for (int p = 0; p < processes; p++)
		for (int w = 0; w < workers; w++) {
			otp_call call = {
			    .process = p, .processes = processes, .worker = w, .workers = workers};
			whole &= otp_call_block(&call, columns, w) == next;
			next = otp_call_block(&call, columns, w + 1);
		}
	report(whole && next == otp_norm_blocks(columns), "all_gather",
	       "%lld columns for %d processes of %d workers", (long long)columns, processes, workers);
}

void check_all_gather(void)
{
	check_deal(OTP_OP_all_gather);
	for (int64_t columns = 16; columns < 40 * OTP_NORM_COLUMNS;
	     columns += OTP_NORM_COLUMNS / 2 + columns / 5)
		for (int processes = 1; processes < 9; processes++)
			for (int workers = 1; workers < 4; workers++)
				check_dealing(columns, processes, workers);
}
