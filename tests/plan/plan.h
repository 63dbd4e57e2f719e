/* plan: what the tests of plan and program share: a second finder of lifetimes, random graphs, training
 * steps. */
#ifndef OTP_TEST_PLAN_H
#define OTP_TEST_PLAN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/places.h"
#include "graph/plan.h"
#include "graph/program.h"
#include "graph/storage.h"

/* ---- lifetimes.c ---- */

extern const size_t BYTES[OTP_TYPE_COUNT];
/* That no two values that are needed at once share memory. Returns the arena's share of the memory without
 * reuse. */
double check_plan(const otp_graph *g, const otp_type *types);

/* ---- graphs.c: random graphs, and memory with random values ---- */

enum { RANDOM_GRAPHS = 200, RANDOM_NODES = 60, RANDOM_SPAN = 0, VIEW_SPAN = 1, LEAVES = 3 };

typedef struct random_graph {
	otp_graph *graph;
	otp_node *nodes[RANDOM_NODES + LEAVES]; /* all within [-1, 1] */
	int count;
	otp_node *leaf[LEAVES - 1];
	otp_node *kept[RANDOM_NODES + 1];
	int kept_count;
	int64_t span_elements; /* of the outputs in RANDOM_SPAN */
} random_graph;

extern const otp_shape RANDOM_SHAPE;

/* A function of its number alone. */
random_graph random_graph_make(uint32_t which);
/* Every other graph with any computed node in bfloat16, but for what is kept. otp_free it. */
otp_type *random_types(const otp_graph *g, uint32_t which);

void fill(float *values, int64_t count, uint32_t which);
void *make_span(const place *at, int64_t elements, uint32_t which);
bool same_bytes(const place *at, const void *a, const void *b, int64_t elements);

/* ---- steps.c: training steps ---- */

enum { ARCH_COUNT = 3, SAMPLES = 3 };
extern const otp_arch ARCHS[ARCH_COUNT];

enum step_kind { STEP_TRANSPORT, STEP_POTENTIAL, STEP_POTENTIAL_R1, STEP_KINDS };

typedef struct step_setup {
	otp_params *t, *v;
	otp_step_graph step;
	int grads_span;
	otp_params *updated;
} step_setup;

step_setup setup_make(const otp_arch *arch, enum step_kind kind, otp_g g);
void setup_free(step_setup *s);

/* A step as a program with memory of its own. */
typedef struct step_program {
	place at;
	void *spans[OTP_MAX_SPANS];
	otp_program *program;
} step_program;

void write_inputs(otp_program *p, const otp_step_inputs *in);
step_program step_program_make(const char *backend_name, const step_setup *s, otp_program_options options);
void step_program_free(step_program *p);

/* ---- the tests: TEST(name, whether for each of ARCHS) ---- */

/* Sanitizers bring their own malloc, so there nothing is counted. */
#if defined(__GLIBC__) && !defined(OTPLAN_SANITIZE)
#define COUNTS_ALLOCATIONS 1
#define ALLOCATION_TESTS(TEST)                                                                               \
	TEST(allocations_are_counted, false)                                                                 \
	TEST(programs_allocate_nothing, true)                                                                \
	TEST(engine_steps_allocate_nothing, true)
#else
#define ALLOCATION_TESTS(TEST)
#endif

#define PLAN_TESTS(TEST)                                                                                     \
	TEST(random_plans_keep_values_apart, false)                                                          \
	TEST(random_programs_survive_poison, false)                                                          \
	TEST(programs_may_share_memory, false)                                                               \
	TEST(maps_are_stored_in_bf16, true)                                                                  \
	TEST(parts_lie_in_their_wholes, false)                                                               \
	TEST(step_plans_keep_values_apart, true)                                                             \
	TEST(steps_survive_poison, true)                                                                     \
	ALLOCATION_TESTS(TEST)
#define DECLARE_TEST(name, each) void name(void **state);
PLAN_TESTS(DECLARE_TEST)
#undef DECLARE_TEST

#endif
