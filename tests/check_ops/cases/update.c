/* update: and randomness and data; nothing to differentiate. */
#include "bf16.h"
#include "check_ops/harness.h"
#include "graph/storage.h"
#include "tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The same float formula everywhere; a compiler may fuse its products and
 * sums, each worth a rounding, of a radius below sqrt(-2 log 2^-25) < 6. */
static void normal_magnitude(const test_case *t, double *const *in, double *magnitude)
{
	(void)in;
	for (int64_t i = 0; i < otp_shape_count(t->attr.noise.to); i++)
		magnitude[i] = 6;
}

void check_normal(void)
{
	for (int k = 0; k < SHAPE_COUNT; k++) {
		test_case t = {.op = OTP_OP_normal,
			       .count = 1,
			       .in = {{shapes[k].n, 1, 1, k % 2 ? 4 : 7}},
			       .fill = {WORDS},
			       .bound = BY_RULE,
			       .roundings = 8,
			       .rule = normal_magnitude,
			       .bench_only = k == LARGE};
		t.attr.noise.to = shapes[k];
		t.attr.noise.purpose = OTP_PURPOSE_EPS;
		run_case(t);
	}
	/* many points */
	test_case t = {.op = OTP_OP_normal,
		       .count = 1,
		       .in = {{100, 1, 1, 4}},
		       .fill = {WORDS},
		       .bound = BY_RULE,
		       .roundings = 8,
		       .rule = normal_magnitude};
	t.attr.noise.to = otp_shape4(100, 1, 1, 6);
	t.attr.noise.purpose = OTP_PURPOSE_EPS;
	run_case(t);
}

/* The moments of a long draw: mean, variance and a fourth moment of 3, each
 * within five standard errors; and a tail that reaches past 3.5. */
static void check_normal_moments(int which)
{
	enum { DRAWS = 1 << 16 };
	test_case t = {.op = OTP_OP_normal, .count = 1, .in = {{1, 1, 1, 4}}, .fill = {WORDS}};
	t.attr.noise.to = otp_shape4(1, 1, DRAWS, 1);
	t.attr.noise.purpose = OTP_PURPOSE_LATENT;
	values v = make_values(&t);
	float *x = otp_calloc(DRAWS, sizeof *x);
	run_planned(which, &t, &v, (way){0}, false, 1, x);
	double m1 = 0, m2 = 0, m4 = 0, most = 0;
	for (int i = 0; i < DRAWS; i++) {
		double square = (double)x[i] * x[i];
		m1 += x[i] / (double)DRAWS;
		m2 += square / DRAWS;
		m4 += square * square / DRAWS;
		most = square > most ? square : most;
	}
	double error = 1 / sqrt(DRAWS); /* variances of x, x^2, x^4: 1, 2, 96 */
	report(fabs(m1) < 5 * error && fabs(m2 - 1) < 5 * sqrt(2) * error &&
		   fabs(m4 - 3) < 5 * sqrt(96) * error && most > 3.5 * 3.5,
	       "normal", "%s: moments %.4f %.4f %.4f, largest %.2f", tested_backends[which], m1, m2, m4,
	       sqrt(most));
	otp_free(x);
	drop_values(&t, &v);
}

/* Bytes written one by one, and what each pick must find: the formula, not the kernels' indexing. */
static void check_gather_by_hand(int which)
{
	enum { ROWS = 256, H = 2, W = 3, C = 3, N = 5, COLUMN = 1 };
	const uint32_t picks[N] = {0, 1, 2 * 255, 2 * 255 + 1, 2 * 77};
	test_case t = {.op = OTP_OP_gather, .count = 2, .fill = {WORDS, WORDS}};
	t.attr.gather.to = otp_shape4(N, H, W, C);
	t.attr.gather.stored = C;
	t.attr.gather.column = COLUMN;
	t.in[0] = otp_shape4(ROWS, 1, 1, otp_gather_words(H * W * C));
	t.in[1] = otp_shape4(N, 1, 1, 2);
	values v = make_values(&t);
	unsigned char *bytes = v.host[0];
	for (int row = 0; row < ROWS; row++)
		for (int i = 0; i < H * W * C; i++)
			bytes[row * 4 * t.in[0].c + i] = (unsigned char)(row + 7 * i);
	for (int n = 0; n < N; n++)
		((uint32_t *)v.host[1])[2 * n + COLUMN] = picks[n];
	float out[N * H * W * C];
	run_planned(which, &t, &v, (way){0}, false, 1, out);
	bool right = true;
	for (int i = 0; i < N * H * W * C; i++) {
		int n = i / (H * W * C), c = i % C, w = i / C % W, h = i / (C * W) % H;
		int from = (h * W + (picks[n] % 2 ? W - 1 - w : w)) * C + c;
		unsigned char byte = (unsigned char)((int)(picks[n] / 2) + 7 * from);
		right &= out[i] == (float)byte / 127.5f - 1;
	}
	report(right, "gather", "%s: other values than the bytes stand for", tested_backends[which]);
	drop_values(&t, &v);
}

void check_gather(void)
{
	static const struct {
		otp_shape to;
		int stored, rows;
	} sizes[] = {{{1, 1, 1, 1}, 1, 1},    {{3, 5, 7, 3}, 3, 4}, {{4, 3, 3, 3}, 1, 9},
		     {{2, 28, 28, 1}, 1, 31}, {{5, 2, 9, 4}, 4, 2}, {{64, 64, 64, 3}, 3, 512}};
	enum { SIZE_COUNT = sizeof sizes / sizeof *sizes };
	for (int k = 0; k < SIZE_COUNT; k++) {
		otp_shape to = sizes[k].to;
		test_case t = {.op = OTP_OP_gather,
			       .count = 2,
			       .fill = {WORDS, PICKS},
			       .bound = EXACT,
			       .bench_only = k == SIZE_COUNT - 1};
		t.attr.gather.to = to;
		t.attr.gather.stored = sizes[k].stored;
		t.attr.gather.column = k % 3;
		t.in[0] =
		    otp_shape4(sizes[k].rows, 1, 1, otp_gather_words((int64_t)to.h * to.w * sizes[k].stored));
		t.in[1] = otp_shape4(to.n, 1, 1, 3 + k % 2);
		run_case(t);
	}
	for (int which = 0; which < TESTED_COUNT && !tally.bench; which++)
		if (tested[which].backend)
			check_gather_by_hand(which);
}

/* In place, as the engine runs it: every row in its slot, past the end from the first on again. */
static void check_record_rows(int which)
{
	enum { SLOTS = 5, COLUMNS = 3, RUNS = 13 };
	const otp_backend *backend = tested[which].backend;
	otp_device *device = tested[which].device;
	void *spans[OTP_MAX_SPANS] = {
	    backend->alloc(device, SLOTS * COLUMNS * backend->element_bytes[OTP_F32])};
	otp_graph *g = otp_graph_new();
	otp_node *ring = otp_view(g, "ring", 0, 0, otp_shape4(1, 1, SLOTS, COLUMNS));
	otp_node *row = otp_input(g, "row", OTP_F32, otp_shape4(1, 1, 1, COLUMNS));
	otp_node *words = otp_input(g, "words", OTP_U32, otp_shape4(2, 1, 1, 2));
	otp_output(otp_record(ring, row, words, 1), 0, 0);
	otp_program *p = otp_program_new(backend, device, g, spans, (otp_program_options){0});
	for (uint32_t run = 0; run < RUNS; run++) {
		const float three[COLUMNS] = {(float)run, (float)run + 0.25f, (float)run + 0.5f};
		const uint32_t numbers[4] = {99, run, 98, 97};
		otp_program_write(p, row, three);
		otp_program_write(p, words, numbers);
		otp_program_run(p);
	}
	float got[SLOTS * COLUMNS];
	backend->wait(device);
	backend->download(device, got, OTP_F32, spans[0], SLOTS * COLUMNS);
	bool right = true;
	for (int slot = 0; slot < SLOTS; slot++) {
		float last = (float)(slot < RUNS % SLOTS ? RUNS / SLOTS * SLOTS + slot
							 : (RUNS / SLOTS - 1) * SLOTS + slot);
		for (int c = 0; c < COLUMNS; c++)
			right &= got[slot * COLUMNS + c] == last + 0.25f * (float)c;
	}
	report(right, "record", "%s: rows are not in their slots", tested_backends[which]);
	otp_program_free(p);
	otp_graph_free(g);
	backend->release(device, spans[0]);
}

void check_record(void)
{
	static const otp_shape rings[] = {{1, 1, 1, 1}, {1, 1, 7, 4}, {1, 1, 300, 5}};
	for (int k = 0; k < 3; k++) {
		test_case t = {.op = OTP_OP_record,
			       .count = 3,
			       .in = {rings[k], {1, 1, 1, rings[k].c}, {2, 1, 1, 1 + k}},
			       .fill = {NORMALISH, NORMALISH, WORDS},
			       .bound = EXACT};
		t.attr.record.column = k;
		run_case(t);
	}
	for (int which = 0; which < TESTED_COUNT && !tally.bench; which++)
		if (tested[which].backend)
			check_record_rows(which);
}

/* ---- the norm, and what it decides ---- */

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

/* ---- the update ---- */

enum { ADAM_GUARD = OTP_GUARD_HEAD + OTP_GUARD_ROW };

static otp_node *adam_guard(otp_graph *g)
{
	return otp_input(g, "guard", OTP_F32, otp_shape4(1, 1, 1, ADAM_GUARD));
}

static void write_adam_guard(otp_program *p, const otp_node *guard, float factor, bool stopped)
{
	float numbers[ADAM_GUARD] = {0};
	numbers[OTP_GUARD_FACTOR] = factor;
	numbers[OTP_GUARD_STOPPED] = stopped ? 12 : 0;
	otp_program_write(p, guard, numbers);
}

typedef struct adam_setup {
	int columns, parts;
	bool ema, narrow; /* narrow: gradients in bfloat16 */
	float factor;	  /* of the gradients */
	otp_attr attr;
} adam_setup;

enum { ADAM_STEPS = 5 };

static double adam_start(int row, int i)
{
	double value = random_value(NORMALISH, (uint32_t)(500 + row), (uint32_t)i);
	return (float)(row == OTP_ROW_V ? value * value : value);
}

static double adam_grad(const adam_setup *s, int step, int row, int i)
{
	float g = (float)random_value(NORMALISH, (uint32_t)(600 + 10 * step + row), (uint32_t)i);
	return s->narrow ? otp_bf16_widen(otp_bf16_round(g)) : g;
}

static void adam_hyper(const adam_setup *s, int step, float *hyper)
{
	memset(hyper, 0, OTP_HYPER_COUNT * sizeof *hyper);
	hyper[OTP_HYPER_RATE] = 0.01f;
	hyper[OTP_HYPER_CORRECT1] = (float)(1 / (1 - pow(s->attr.adam.beta1, step + 1)));
	hyper[OTP_HYPER_CORRECT2] = (float)(1 / (1 - pow(s->attr.adam.beta2, step + 1)));
	hyper[OTP_HYPER_EMA] = 0.9f;
}

/* The paper's formulas, once more and by hand, in double. */
static void adam_by_hand(const adam_setup *s, double *state)
{
	for (int i = 0; i < s->columns; i++)
		for (int step = 0; step < ADAM_STEPS; step++) {
			float hyper[OTP_HYPER_COUNT];
			adam_hyper(s, step, hyper);
			double *p = &state[i], *m = p + s->columns, *v = m + s->columns, g = 0;
			double b1 = s->attr.adam.beta1, b2 = s->attr.adam.beta2;
			for (int row = 0; row < s->parts; row++)
				g += s->factor * adam_grad(s, step, row, i);
			*m = b1 * *m + (1 - b1) * g;
			*v = b2 * *v + (1 - b2) * g * g;
			*p -= hyper[OTP_HYPER_RATE] * *m * hyper[OTP_HYPER_CORRECT1] /
			      (sqrt(*v * hyper[OTP_HYPER_CORRECT2]) + s->attr.adam.eps);
			if (s->ema)
				v[s->columns] =
				    hyper[OTP_HYPER_EMA] * v[s->columns] + (1 - hyper[OTP_HYPER_EMA]) * *p;
		}
}

/* The same on a backend, the columns shared by `shares` programs over one state span; where the backend
 * stores bfloat16, with the copy of the weights, read into `rounded`. */
static void adam_on(int which, const adam_setup *s, int shares, float *state, float *rounded)
{
	const otp_backend *backend = tested[which].backend;
	otp_device *device = tested[which].device;
	int64_t count = (int64_t)(s->ema ? 4 : 3) * s->columns;
	void *spans[OTP_MAX_SPANS] = {
	    backend->alloc(device, (size_t)count * backend->element_bytes[OTP_F32])};
	backend->upload(device, spans[0], OTP_F32, state, count);
	otp_rounded copies[OTP_MAX_SPANS] = {{NULL, 0}};
	if (backend->element_bytes[OTP_BF16])
		copies[0] = (otp_rounded){
		    backend->alloc(device, (size_t)s->columns * backend->element_bytes[OTP_BF16]),
		    s->columns};
	otp_graph *g = otp_graph_new();
	otp_node *view = otp_view(g, "state", 0, 0, otp_shape4(1, 1, s->ema ? 4 : 3, s->columns));
	otp_node *grads = otp_input(g, "grads", OTP_F32, otp_shape4(1, 1, s->parts, s->columns));
	otp_node *hyper = otp_input(g, "hyper", OTP_F32, otp_shape4(1, 1, 1, OTP_HYPER_COUNT));
	otp_node *guard = adam_guard(g);
	otp_output(otp_adam(view, grads, hyper, guard, s->attr), 0, 0);
	float *rows = otp_calloc((size_t)s->parts * (size_t)s->columns, sizeof *rows);
	otp_type *types = otp_storage_types(g, false, 0);
	types[grads->id] = s->narrow ? OTP_BF16 : OTP_F32;
	otp_program *programs[4];
	for (int share = 0; share < shares; share++)
		programs[share] = otp_program_new(
		    backend, device, g, spans,
		    (otp_program_options){
			.worker = share, .workers = shares, .rounded = copies, .types = types});
	otp_free(types);
	for (int step = 0; step < ADAM_STEPS; step++) {
		float scalars[OTP_HYPER_COUNT];
		adam_hyper(s, step, scalars);
		for (int row = 0; row < s->parts; row++)
			for (int i = 0; i < s->columns; i++)
				rows[(int64_t)row * s->columns + i] = (float)adam_grad(s, step, row, i);
		for (int share = 0; share < shares; share++) {
			otp_program_write(programs[share], grads, rows);
			otp_program_write(programs[share], hyper, scalars);
			write_adam_guard(programs[share], guard, s->factor, false);
			otp_program_run(programs[share]);
		}
	}
	backend->wait(device);
	backend->download(device, state, OTP_F32, spans[0], count);
	if (copies[0].memory)
		backend->download(device, rounded, OTP_BF16, copies[0].memory, s->columns);
	backend->release(device, copies[0].memory);
	for (int share = 0; share < shares; share++)
		otp_program_free(programs[share]);
	otp_graph_free(g);
	otp_free(rows);
	backend->release(device, spans[0]);
}

/* A step rounds each of p, m, v a handful of times, 16 u with what they inherit
 * from g; values stay below 8 or, m and v, below the square of so many parts in (-2, 2). */
static void check_adam_steps(int which, adam_setup s)
{
	int rows = s.ema ? 4 : 3;
	int64_t count = (int64_t)rows * s.columns;
	double *exact = otp_calloc((size_t)count, sizeof *exact);
	float *whole = otp_calloc((size_t)count, sizeof *whole),
	      *shared = otp_calloc((size_t)count, sizeof *shared);
	for (int row = 0; row < rows; row++)
		for (int i = 0; i < s.columns; i++) {
			int64_t at = (int64_t)row * s.columns + i;
			exact[at] = adam_start(row, i);
			whole[at] = shared[at] = (float)exact[at];
		}
	float *rounded = otp_calloc((size_t)s.columns, sizeof *rounded);
	adam_by_hand(&s, exact);
	adam_on(which, &s, 3, shared, rounded);
	adam_on(which, &s, 1, whole, rounded);
	double most = 0;
	for (int64_t i = 0; i < count; i++)
		most = fmax(most, fabs(whole[i] - exact[i]));
	const char *name = tested_backends[which];
	double largest = fmax(36, 4.0 * s.parts * s.parts);
	report(most <= 16 * ADAM_STEPS * UNIT * largest, "adam",
	       "%s, %d columns, %d parts%s: off by %g after %d steps", name, s.columns, s.parts,
	       s.narrow ? " in bfloat16" : "", most, ADAM_STEPS);
	int stale = 0;
	for (int i = 0; i < s.columns && tested[which].backend->element_bytes[OTP_BF16]; i++)
		stale += rounded[i] != otp_bf16_widen(otp_bf16_round(whole[i]));
	report(stale == 0, "adam", "%s, %d columns: %d of the copy in bfloat16 are not the weights rounded",
	       name, s.columns, stale);
	otp_free(rounded);
	report(same_bits(whole, shared, count), "adam", "%s, %d columns: three shares give other bits", name,
	       s.columns);
	otp_free(exact);
	otp_free(whole);
	otp_free(shared);
}

/* ---- the order in which parts are added ---- */

enum { TREE_COLUMNS = 1100 };

/* Of sizes so different that hardly any two orders give the same sum, in float or in double. */
static double tree_grad(int part, int i)
{
	uint32_t size = otp_random_u32(otp_stream_make(8, (uint32_t)part, 0), OTP_PURPOSE_SYNTH, (uint32_t)i);
	return ldexp(random_value(NORMALISH, (uint32_t)(700 + part), (uint32_t)i), (int)(size % 41));
}

/* A backend computes in float or, the oracle, in double. */
static double add(bool in_float, double a, double b) { return in_float ? (float)a + (float)b : a + b; }

/* Parts [first, first + size) of a tree whose leaves are a power of two: two halves, of which the right one
 * may be short or empty. */
static double tree_sum(bool in_float, int first, int size, int parts, int i)
{
	if (size == 1)
		return (float)tree_grad(first, i);
	double left = tree_sum(in_float, first, size / 2, parts, i);
	return first + size / 2 < parts
		   ? add(in_float, left, tree_sum(in_float, first + size / 2, size / 2, parts, i))
		   : left;
}

static double sum_in_a_row(bool in_float, int parts, int i)
{
	double sum = (float)tree_grad(0, i);
	for (int part = 1; part < parts; part++)
		sum = add(in_float, sum, (float)tree_grad(part, i));
	return sum;
}

/* With beta1 = 0 the first moment is the gradient: the sum itself. */
static void adam_sum_on(int which, int parts, float *m)
{
	const otp_backend *backend = tested[which].backend;
	otp_device *device = tested[which].device;
	size_t row = (size_t)TREE_COLUMNS * backend->element_bytes[OTP_F32];
	void *spans[OTP_MAX_SPANS] = {backend->alloc(device, 3 * row)};
	otp_graph *g = otp_graph_new();
	otp_node *state = otp_view(g, "state", 0, 0, otp_shape4(1, 1, 3, TREE_COLUMNS));
	otp_node *grads = otp_input(g, "grads", OTP_F32, otp_shape4(1, 1, parts, TREE_COLUMNS));
	otp_node *hyper = otp_input(g, "hyper", OTP_F32, otp_shape4(1, 1, 1, OTP_HYPER_COUNT));
	otp_node *guard = adam_guard(g);
	otp_output(otp_adam(state, grads, hyper, guard, (otp_attr){.adam = {.beta2 = 0.5f, .eps = 1}}), 0, 0);
	otp_program *p = otp_program_new(backend, device, g, spans, (otp_program_options){0});
	float *rows = otp_calloc((size_t)parts * TREE_COLUMNS, sizeof *rows);
	const float numbers[OTP_HYPER_COUNT] = {0, 1, 1};
	for (int part = 0; part < parts; part++)
		for (int i = 0; i < TREE_COLUMNS; i++)
			rows[part * TREE_COLUMNS + i] = (float)tree_grad(part, i);
	otp_program_write(p, grads, rows);
	otp_program_write(p, hyper, numbers);
	write_adam_guard(p, guard, 1, false);
	otp_program_run(p);
	backend->wait(device);
	backend->download(device, m, OTP_F32, (char *)spans[0] + OTP_ROW_M * row, TREE_COLUMNS);
	otp_program_free(p);
	otp_graph_free(g);
	otp_free(rows);
	backend->release(device, spans[0]);
}

static void check_adam_tree(int which, int parts)
{
	bool in_float = tested[which].backend->element_bytes[OTP_F32] == sizeof(float);
	float *m = otp_calloc(TREE_COLUMNS, sizeof *m);
	int size = 1, wrong = 0, telling = 0;
	while (size < parts)
		size *= 2;
	adam_sum_on(which, parts, m);
	for (int i = 0; i < TREE_COLUMNS; i++) {
		wrong += m[i] != (float)tree_sum(in_float, 0, size, parts, i);
		telling += m[i] != (float)sum_in_a_row(in_float, parts, i);
	}
	report(wrong == 0, "adam", "%s, %d parts: %d sums are not the tree's", tested_backends[which], parts,
	       wrong);
	/* Of so many columns one at least must tell the orders apart; the oracle's are rounded to float. */
	report(parts < 4 || !in_float || telling > 0, "adam", "%s, %d parts: the values tell no order",
	       tested_backends[which], parts);
	otp_free(m);
}

/* ---- stopped ---- */

enum { STOPPED_COLUMNS = 1100, STOPPED_COUNT = 4 * STOPPED_COLUMNS };

/* Updates with NaN among the gradients, on `shares` programs; into place from spans[0]. */
static void run_stopped(int which, void *const *spans, int place, int shares)
{
	float *grads = otp_calloc(2 * STOPPED_COLUMNS, sizeof *grads);
	const float numbers[OTP_HYPER_COUNT] = {0.1f, 1, 1, 0.9f};
	for (int i = 0; i < 2 * STOPPED_COLUMNS; i++)
		grads[i] = i % 3 ? 1 : NAN;
	otp_graph *g = otp_graph_new();
	otp_node *state = otp_view(g, "state", 0, 0, otp_shape4(1, 1, 4, STOPPED_COLUMNS));
	otp_node *rows = otp_input(g, "grads", OTP_F32, otp_shape4(1, 1, 2, STOPPED_COLUMNS));
	otp_node *hyper = otp_input(g, "hyper", OTP_F32, otp_shape4(1, 1, 1, OTP_HYPER_COUNT));
	otp_node *guard = adam_guard(g);
	otp_attr attr = {.adam = {.ema = true, .beta1 = 0.5f, .beta2 = 0.5f, .eps = 1}};
	otp_output(otp_adam(state, rows, hyper, guard, attr), place, 0);
	for (int share = 0; share < shares; share++) {
		otp_program *p = otp_program_new(tested[which].backend, tested[which].device, g, spans,
						 (otp_program_options){.worker = share, .workers = shares});
		otp_program_write(p, rows, grads);
		otp_program_write(p, hyper, numbers);
		write_adam_guard(p, guard, 1, true);
		otp_program_run(p);
		tested[which].backend->wait(tested[which].device);
		otp_program_free(p);
	}
	otp_graph_free(g);
	otp_free(grads);
}

/* The state as it was, bit for bit: in place, and from one place into another. */
static void check_adam_stopped(int which, int place, int shares)
{
	const otp_backend *backend = tested[which].backend;
	otp_device *device = tested[which].device;
	size_t bytes = STOPPED_COUNT * backend->element_bytes[OTP_F32];
	void *spans[OTP_MAX_SPANS] = {backend->alloc(device, bytes), backend->alloc(device, bytes)};
	float *before = otp_calloc(STOPPED_COUNT, sizeof *before);
	float *after = otp_calloc(STOPPED_COUNT, sizeof *after);
	for (int i = 0; i < STOPPED_COUNT; i++)
		before[i] = (float)adam_start(i / STOPPED_COLUMNS, i % STOPPED_COLUMNS);
	backend->upload(device, spans[0], OTP_F32, before, STOPPED_COUNT);
	run_stopped(which, spans, place, shares);
	backend->download(device, after, OTP_F32, spans[place], STOPPED_COUNT);
	report(same_bits(before, after, STOPPED_COUNT), "adam",
	       "%s, %d shares: a stopped update changes the state", tested_backends[which], shares);
	backend->release(device, spans[0]);
	backend->release(device, spans[1]);
	otp_free(before);
	otp_free(after);
}

void check_adam(void)
{
	static const int columns[] = {1, 17, 1000, 2500}, parts[] = {1, 2, 3, 5, 8};
	static const int trees[] = {1, 2, 3, 4, 5, 6, 7, 8, 11, 16, 37, OTP_MOST_PARTS};
	otp_attr attr = {.adam = {.beta1 = 0.9f, .beta2 = 0.99f, .eps = 1e-8f}};
	for (int which = 0; which < TESTED_COUNT && !tally.bench; which++)
		for (int k = 0; k < 40 && tested[which].backend; k++) {
			bool narrow = k >= 20;
			if (narrow && !tested[which].backend->element_bytes[OTP_BF16])
				continue;
			adam_setup s = {.columns = columns[k % 4],
					.parts = parts[k / 4 % 5],
					.ema = k % 2,
					.narrow = narrow,
					.attr = attr,
					.factor = k % 3 ? 1 : 0.7f};
			s.attr.adam.ema = s.ema;
			tally.cases++;
			check_adam_steps(which, s);
		}
	for (int which = 0; which < TESTED_COUNT && !tally.bench; which++)
		for (size_t k = 0; k < sizeof trees / sizeof *trees && tested[which].backend; k++) {
			tally.cases++;
			check_adam_tree(which, trees[k]);
		}
	for (int which = 0; which < TESTED_COUNT && !tally.bench; which++)
		for (int k = 0; k < 4 && tested[which].backend; k++) {
			tally.cases++;
			check_adam_stopped(which, k % 2, k / 2 ? 3 : 1);
		}
	for (int which = 0; which < TESTED_COUNT && !tally.bench; which++)
		if (tested[which].backend)
			check_normal_moments(which);
	test_case t = {.op = OTP_OP_adam,
		       .count = 4,
		       .fill = {POSITIVE, NORMALISH, POSITIVE, ZERO},
		       .attr = attr,
		       .bench_only = true};
	t.attr.adam.ema = true;
	t.in[0] = otp_shape4(1, 1, 4, 1 << 21);
	t.in[1] = otp_shape4(1, 1, 2, 1 << 21);
	t.in[2] = otp_shape4(1, 1, 1, OTP_HYPER_COUNT);
	t.in[3] = otp_shape4(1, 1, 1, ADAM_GUARD);
	run_case(t);
}

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
