/* guard: the norm of a gradient, and what it decides. */
#include "check_ops/harness.h"
#include "tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* With S the sum of the parts' absolute values, a gradient of p parts is off by (p - 1) u S, its square by
 * twice that times S and a rounding; a block adds L of them. */
void check_squares(void)
{
	static const int columns[] = {1,    15,	 16, 17, 1000, OTP_NORM_COLUMNS, OTP_NORM_COLUMNS + 1,
				      5003, 8192};
	static const int parts[] = {1, 2, 3, 8};
	for (int k = 0; k < 9 * 4; k++) {
		int n = columns[k % 9], p = parts[k / 9];
		run_case((test_case){.op = OTP_OP_squares,
				     .count = 1,
				     .in = {{1, 1, p, n}},
				     .fill = {NORMALISH},
				     .bound = BY_ABS,
				     .roundings = fmin(n, OTP_NORM_COLUMNS) + 2 * (p - 1) + 1});
	}
	run_case((test_case){.op = OTP_OP_squares,
			     .count = 1,
			     .in = {{1, 1, 1, 1 << 23}},
			     .fill = {NORMALISH},
			     .bench_only = true});
}

enum { KINDS = 3, GUARD_BLOCKS = 300, GUARD_RUNS = 90, GUARD_TIMES = 100, BELIEVED = 40, LAST = 60 };
enum { GUARD_VALUES = OTP_GUARD_HEAD + KINDS * OTP_GUARD_ROW };

/* The rule once more: what a guard is to hold after its norms. */
typedef struct hand {
	double norms[KINDS][GUARD_RUNS];
	int count[KINDS];
	double norm, factor;
	int stopped;
} hand;

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median_by_hand(const hand *h, int kind)
{
	int count = h->count[kind] < OTP_GUARD_KEPT ? h->count[kind] : OTP_GUARD_KEPT;
	double sorted[OTP_GUARD_KEPT];
	memcpy(sorted, h->norms[kind] + h->count[kind] - count, (size_t)count * sizeof *sorted);
	qsort(sorted, (size_t)count, sizeof *sorted, by_value);
	return count ? sorted[(count - 1) / 2] : 0;
}

static void guard_by_hand(hand *h, int kind, double norm, double clip, int slot)
{
	double median = median_by_hand(h, kind);
	if (h->stopped)
		return;
	h->norm = norm;
	double times = h->count[kind] >= OTP_GUARD_LEAST ? GUARD_TIMES : GUARD_TIMES * GUARD_TIMES;
	if (!isfinite(norm) || (median > 0 && norm > times * median)) {
		h->stopped = slot + 1;
		return;
	}
	h->factor = clip > 0 && norm > clip ? clip / norm : 1;
	h->norms[kind][h->count[kind]++] = norm;
}

/* A norm is rounded once from a sum in double, a factor once more. */
static bool close_to(double a, double b)
{
	return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= 3 * UNIT * b;
}

static bool same_guard(const hand *h, const float *guard)
{
	bool same = close_to(guard[OTP_GUARD_NORM], h->norm) &&
		    close_to(guard[OTP_GUARD_FACTOR], h->factor) &&
		    (int)guard[OTP_GUARD_STOPPED] == h->stopped;
	for (int kind = 0; kind < KINDS; kind++) {
		const float *row = guard + OTP_GUARD_HEAD + kind * OTP_GUARD_ROW;
		int count = h->count[kind];
		for (int i = count > OTP_GUARD_KEPT ? count - OTP_GUARD_KEPT : 0; i < count; i++)
			same &= close_to(row[1 + i % OTP_GUARD_KEPT], h->norms[kind][i]);
	}
	return same;
}

/* Norms of the three kinds are of different sizes, and grow 5-fold in the time of a median. One is at the
 * edge of what is believed; a later one is `last` medians, or not finite, as `last` is. */
static double guard_norm(const hand *h, int run, int kind, double last)
{
	if (run == BELIEVED)
		return 99.9 * median_by_hand(h, kind);
	if (run == LAST)
		return isfinite(last) ? last * median_by_hand(h, kind) : last;
	return pow(10, 3 * kind) * pow(1.12, h->count[kind]) *
	       (1 + 0.3 * random_value(NORMALISH, 900, (uint32_t)run));
}

/* A program for each kind of step, over one guard. */
typedef struct guard_program {
	otp_graph *graph;
	otp_node *squares, *hyper;
	otp_program *program;
} guard_program;

static guard_program guard_program_new(int which, void *const *spans, int kind)
{
	guard_program p = {.graph = otp_graph_new()};
	otp_node *view = otp_view(p.graph, "guard", 0, 0, otp_shape4(1, 1, 1, GUARD_VALUES));
	p.squares = otp_input(p.graph, "squares", OTP_F32, otp_shape4(1, 1, 1, GUARD_BLOCKS));
	p.hyper = otp_input(p.graph, "hyper", OTP_F32, otp_shape4(1, 1, 1, OTP_HYPER_COUNT));
	otp_output(otp_guard(view, p.squares, p.hyper, kind, GUARD_TIMES), 0, 0);
	p.program = otp_program_new(tested[which].backend, tested[which].device, p.graph, spans,
				    (otp_program_options){0});
	return p;
}

/* The norm that the blocks hold. */
static double guard_program_run(const guard_program *p, double norm, double clip, int slot)
{
	float numbers[OTP_HYPER_COUNT] = {0}, blocks[GUARD_BLOCKS];
	double sum = 0;
	numbers[OTP_HYPER_CLIP] = (float)clip;
	numbers[OTP_HYPER_SLOT] = (float)slot;
	for (int i = 0; i < GUARD_BLOCKS; i++) {
		blocks[i] = (float)(norm * norm / GUARD_BLOCKS);
		sum += (double)blocks[i];
	}
	otp_program_write(p->program, p->squares, blocks);
	otp_program_write(p->program, p->hyper, numbers);
	otp_program_run(p->program);
	return sqrt(sum);
}

/* In place, as the engine runs it. */
static void check_guard_runs(int which, double last, double clip)
{
	const otp_backend *backend = tested[which].backend;
	otp_device *device = tested[which].device;
	void *spans[OTP_MAX_SPANS] = {backend->alloc(device, GUARD_VALUES * backend->element_bytes[OTP_F32])};
	guard_program p[KINDS];
	hand h = {0};
	float guard[GUARD_VALUES], frozen[GUARD_VALUES] = {0};
	int wrong = 0, moved = 0;
	for (int kind = 0; kind < KINDS; kind++)
		p[kind] = guard_program_new(which, spans, kind);
	for (int run = 0; run < GUARD_RUNS; run++) {
		int kind = run % 7 == 6 ? 2 : run % 2, slot = run % 50;
		double norm = guard_program_run(&p[kind], guard_norm(&h, run, kind, last), clip, slot);
		backend->wait(device);
		backend->download(device, guard, OTP_F32, spans[0], GUARD_VALUES);
		guard_by_hand(&h, kind, norm, clip, slot);
		wrong += !same_guard(&h, guard);
		if (run == LAST)
			memcpy(frozen, guard, sizeof guard);
		moved += run > LAST && memcmp(frozen, guard, sizeof guard) != 0;
	}
	bool stops = !(last <= GUARD_TIMES);
	report(wrong == 0 && (h.stopped != 0) == stops, "guard", "%s, %g medians: wrong after %d updates",
	       tested_backends[which], last, wrong);
	report(!stops || moved == 0, "guard", "%s, %g medians: goes on after it stopped",
	       tested_backends[which], last);
	for (int kind = 0; kind < KINDS; kind++) {
		otp_program_free(p[kind].program);
		otp_graph_free(p[kind].graph);
	}
	backend->release(device, spans[0]);
}

void check_guard(void)
{
	const double lasts[] = {1, 99.9, 100.1, 1e6, NAN, INFINITY};
	/* A guard that stopped, being full of values above 0: its copy. */
	run_case((test_case){.op = OTP_OP_guard,
			     .attr = {.guard = {.kind = 1, .times = GUARD_TIMES}},
			     .count = 3,
			     .in = {{1, 1, 1, GUARD_VALUES}, {1, 1, 1, 700}, {1, 1, 1, OTP_HYPER_COUNT}},
			     .fill = {POSITIVE, POSITIVE, POSITIVE},
			     .bound = EXACT});
	for (int which = 0; which < TESTED_COUNT && !tally.bench; which++)
		for (int k = 0; k < 12 && tested[which].backend; k++) {
			tally.cases++;
			check_guard_runs(which, lasts[k % 6], k < 6 ? 0 : 32);
		}
}
