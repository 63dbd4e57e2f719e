/* adam: the update. */
#include "bf16.h"
#include "check_ops/harness.h"
#include "graph/storage.h"
#include "tree.h"

#include <math.h>
#include <string.h>

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
