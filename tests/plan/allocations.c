/* allocations: counted, and none while programs and engines run. */
#include "plan/plan.h"

#include <errno.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdatomic.h>
#include <stdlib.h>

#ifdef COUNTS_ALLOCATIONS
/* The program's own malloc comes before the C library's, for every shared
 * library too. Two counts: calls from our code, which is linked into this
 * program, and whoever's calls for a page or more. What is left out is small
 * change: oneDNN's execute fills a hash table of its arguments every time. And
 * pages where it has no AVX-512: its older matrix products pack their operands
 * into memory of their own, whatever scratchpad they are given. */
static atomic_long our_allocations, pages_of_others;

extern const char __executable_start[], etext[];
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

static void count_allocation(size_t bytes, const void *caller)
{
	uintptr_t at = (uintptr_t)caller;
	bool ours = at >= (uintptr_t)__executable_start && at < (uintptr_t)etext;
	if (ours)
		atomic_fetch_add(&our_allocations, 1);
	else if (bytes >= 4096)
		atomic_fetch_add(&pages_of_others, 1);
}
#define COUNT(bytes) count_allocation(bytes, __builtin_return_address(0))

void *malloc(size_t bytes)
{
	COUNT(bytes);
	return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
	COUNT(count * bytes);
	return __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes)
{
	COUNT(bytes);
	return __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
	COUNT(bytes);
	return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
	COUNT(bytes);
	*memory = __libc_memalign(alignment, bytes);
	return *memory ? 0 : ENOMEM;
}

static bool products_pack_in_scratchpads(void)
{
	int isa = (int)dnnl_get_effective_cpu_isa(), wanted = (int)dnnl_cpu_isa_avx512_core;
	return (isa & wanted) == wanted;
}

static long allocation_count(void)
{
	return atomic_load(&our_allocations) +
	       (products_pack_in_scratchpads() ? atomic_load(&pages_of_others) : 0);
}

void allocations_are_counted(void **state)
{
	(void)state;
	long before = allocation_count();
	otp_free(otp_calloc(3, 5));
	assert_true(allocation_count() > before);
}

static void check_program_allocates_nothing(const char *backend_name, const otp_arch *arch,
					    enum step_kind kind)
{
	step_setup s = setup_make(arch, kind, OTP_G_LINEAR);
	step_program p = step_program_make(backend_name, &s, (otp_program_options){0});
	otp_program_run(p.program); /* a thread's first run may set up the thread */
	long before = allocation_count();
	for (int run = 0; run < 10; run++) {
		write_inputs(p.program,
			     &(otp_step_inputs){.words = s.step.in.words, .numbers = s.step.in.numbers});
		otp_program_run(p.program);
	}
	long made = allocation_count() - before;
	if (made)
		fail_msg("%s, step kind %d: %ld allocations in 10 runs", backend_name, (int)kind, made);
	step_program_free(&p);
	setup_free(&s);
}

void programs_allocate_nothing(void **state)
{
	for (int kind = 0; kind < STEP_KINDS; kind++) {
		check_program_allocates_nothing("ref", *state, (enum step_kind)kind);
		check_program_allocates_nothing("cpu", *state, (enum step_kind)kind);
	}
}

/* Whole updates with two workers: inputs, forward, backward, Adam and EMA, reports. */
void engine_steps_allocate_nothing(void **state)
{
	const otp_arch *arch = *state;
	otp_error err = {0};
	otp_runtime work;
	assert_true(otp_runtime_open("cpu", 0, "f32", 2, &work, &err));
	otp_engine_settings settings = {.objective = {.arch = *arch, .tau = 0.1},
					.batch = SAMPLES,
					.parts = 2,
					.r1_used = true,
					.plain_used = true,
					.beta1 = 0.5,
					.beta2 = 0.9};
	otp_engine *e = otp_engine_new(&work, &settings);
	otp_engine_init(e, 1);
	int64_t floats = (int64_t)SAMPLES * arch->h * arch->w * arch->c;
	float *x = otp_calloc((size_t)floats, sizeof *x);
	fill(x, floats, 80);
	otp_update u = {.seed = 1, .keep = 1, .sigma = 0.5, .rate = 1e-4, .ema = 0.9};
	long before = 0;
	for (int step = 0; step < 12; step++) {
		if (step == 2)
			before = allocation_count();
		u.count = step + 1;
		u.draw = (uint32_t)step;
		u.r1 = step % 2 ? 0.5 : 0;
		otp_batch batch = {.values = x};
		otp_engine_potential_step(e, batch, batch, &u);
		otp_engine_transport_step(e, batch, &u);
		otp_engine_losses(e);
	}
	assert_int_equal(allocation_count() - before, 0);
	otp_free(x);
	otp_engine_free(e);
	otp_runtime_close(&work);
}

#endif
