/* random: random graphs, planned, run with free memory poisoned, and run in memory that they share. */
#include "plan/plan.h"

void random_plans_keep_values_apart(void **state)
{
	(void)state;
	double shares = 0;
	for (uint32_t which = 0; which < RANDOM_GRAPHS; which++) {
		random_graph r = random_graph_make(which);
		otp_type *types = random_types(r.graph, which);
		shares += check_plan(r.graph, types);
		otp_free(types);
		otp_graph_free(r.graph);
	}
	print_message("             arena at %.2f of unshared memory on average\n", shares / RANDOM_GRAPHS);
}

/* One graph, run plain and poisoned: the same bytes in every output. */
static void check_random_poison(const char *backend_name, uint32_t which)
{
	place at = place_open(backend_name);
	random_graph r = random_graph_make(which);
	otp_type *types = at.backend->element_bytes[OTP_BF16] ? random_types(r.graph, which) : NULL;
	int64_t view_elements = 32 + otp_shape_count(RANDOM_SHAPE);
	float *x = otp_calloc((size_t)otp_shape_count(RANDOM_SHAPE), sizeof *x);
	void *spans[2][OTP_MAX_SPANS] = {{NULL}};
	otp_program *p[2];
	for (int poison = 0; poison < 2; poison++) {
		spans[poison][RANDOM_SPAN] = make_span(&at, r.span_elements + 1, 50);
		spans[poison][VIEW_SPAN] = make_span(&at, view_elements, 51);
		p[poison] = otp_program_new(at.backend, at.device, r.graph, spans[poison],
					    (otp_program_options){.poison = poison, .types = types});
		for (int i = 0; i < LEAVES - 1; i++) {
			fill(x, otp_shape_count(RANDOM_SHAPE), (uint32_t)i);
			otp_program_write(p[poison], r.leaf[i], x);
		}
		otp_program_run(p[poison]);
		otp_program_run(p[poison]); /* again: inputs must have outlived the first run */
		at.backend->wait(at.device);
	}
	for (int i = 0; i < r.kept_count; i++)
		assert_true(same_bytes(&at, otp_program_data(p[0], r.kept[i]),
				       otp_program_data(p[1], r.kept[i]), otp_shape_count(r.kept[i]->shape)));
	assert_true(same_bytes(&at, spans[0][VIEW_SPAN], spans[1][VIEW_SPAN], view_elements));
	for (int poison = 0; poison < 2; poison++) {
		otp_program_free(p[poison]);
		at.backend->release(at.device, spans[poison][RANDOM_SPAN]);
		at.backend->release(at.device, spans[poison][VIEW_SPAN]);
	}
	otp_free(x);
	otp_free(types);
	otp_graph_free(r.graph);
	at.backend->close(at.device);
}

void random_programs_survive_poison(void **state)
{
	(void)state;
	for (uint32_t which = 0; which < RANDOM_GRAPHS; which++) {
		check_random_poison("cpu", which);
		if (which % 8 == 0)
			check_random_poison("ref", which);
		if (which % 4 == 1)
			check_random_poison("shim", which);
	}
}

/* ---- programs that share memory ---- */

enum { SHARING = 3, SHARED_RUNS = 2 };

typedef struct sharer {
	random_graph r;
	otp_type *types;
	void *spans[OTP_MAX_SPANS];
	otp_program *program;
} sharer;

/* With inputs written once, before any of them runs. */
static sharer sharer_make(const place *at, uint32_t which, otp_shared *shared)
{
	sharer s = {.r = random_graph_make(which)};
	s.types = at->backend->element_bytes[OTP_BF16] ? random_types(s.r.graph, which) : NULL;
	s.spans[RANDOM_SPAN] = make_span(at, s.r.span_elements + 1, 50);
	s.spans[VIEW_SPAN] = make_span(at, 32 + otp_shape_count(RANDOM_SHAPE), 51);
	s.program = otp_program_new(at->backend, at->device, s.r.graph, s.spans,
				    (otp_program_options){.types = s.types, .shared = shared});
	float *x = otp_calloc((size_t)otp_shape_count(RANDOM_SHAPE), sizeof *x);
	for (int i = 0; i < LEAVES - 1; i++) {
		fill(x, otp_shape_count(RANDOM_SHAPE), which + (uint32_t)i);
		otp_program_write(s.program, s.r.leaf[i], x);
	}
	otp_free(x);
	return s;
}

static void sharer_free(const place *at, sharer *s)
{
	otp_program_free(s->program);
	otp_graph_free(s->r.graph);
	otp_free(s->types);
	at->backend->release(at->device, s->spans[RANDOM_SPAN]);
	at->backend->release(at->device, s->spans[VIEW_SPAN]);
}

/* What each of them gives in turn is what it gives alone, read after all have run. */
static void check_outputs(const place *at, const sharer *alone, const sharer *with)
{
	for (int k = 0; k < alone->r.kept_count; k++)
		assert_true(same_bytes(at, otp_program_data(alone->program, alone->r.kept[k]),
				       otp_program_data(with->program, with->r.kept[k]),
				       otp_shape_count(alone->r.kept[k]->shape)));
}

static void check_sharing(const char *backend_name, uint32_t which)
{
	place at = place_open(backend_name);
	sharer alone[SHARING], with[SHARING];
	otp_shared shared = {0};
	size_t all = 0;
	for (int i = 0; i < SHARING; i++) {
		alone[i] = sharer_make(&at, which + (uint32_t)i, NULL);
		otp_program_options options = {.types = alone[i].types};
		size_t bytes = otp_program_shared_bytes(at.backend, alone[i].r.graph, options);
		otp_program_size size = otp_program_measure(alone[i].program);
		assert_int_equal(bytes, size.arena_bytes - size.kept_bytes);
		shared.arena_bytes = bytes > shared.arena_bytes ? bytes : shared.arena_bytes;
		all += bytes;
	}
	assert_true(shared.arena_bytes < all);
	shared.arena = at.backend->alloc(at.device, shared.arena_bytes);
	for (int i = 0; i < SHARING; i++)
		with[i] = sharer_make(&at, which + (uint32_t)i, &shared);
	shared.scratch = at.backend->alloc(at.device, shared.scratch_bytes);
	for (int i = 0; i < SHARING; i++)
		otp_program_take_scratch(with[i].program);
	for (int run = 0; run < SHARED_RUNS * SHARING; run++) {
		otp_program_run(alone[run % SHARING].program);
		otp_program_run(with[run % SHARING].program);
	}
	at.backend->wait(at.device);
	for (int i = 0; i < SHARING; i++) {
		check_outputs(&at, &alone[i], &with[i]);
		sharer_free(&at, &alone[i]);
		sharer_free(&at, &with[i]);
	}
	at.backend->release(at.device, shared.arena);
	at.backend->release(at.device, shared.scratch);
	at.backend->close(at.device);
}

void programs_may_share_memory(void **state)
{
	(void)state;
	for (uint32_t which = 0; which < RANDOM_GRAPHS / 2; which += SHARING) {
		check_sharing("cpu", which);
		if (which % 4 == 0)
			check_sharing("ref", which);
		if (which % 4 == 1)
			check_sharing("shim", which);
	}
}
