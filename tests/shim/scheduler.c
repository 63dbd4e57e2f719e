/* scheduler.c: fibers, barriers and the order in which threads run. Never
 * instrumented itself: a sanitizer sees the kernels' accesses, and is told here
 * what happens before what, so that a missing barrier stays visible to it. */
#include "shim/shim.h"

#include "core/base.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

enum { MOST_THREADS = 1024, WARP = 32, STACK_BYTES = 128 << 10, VALUE_BYTES = 16 };

typedef enum state { READY, AT_BLOCK, AT_WARP, DONE } state;

typedef struct fiber {
	otp_shim_place place;
	state state;
	const char *file; /* of the barrier it waits at */
	int line;
	unsigned mask, source;
	bool exchanges; /* waits to receive a value, not only to meet */
	unsigned char value[VALUE_BYTES], received[VALUE_BYTES];
	char *stack;
	void *stack_pointer;
	void *asan_stack, *tsan_fiber;
#if !defined(__x86_64__)
	ucontext_t context;
#endif
	struct scheduler *owner;
} fiber;

typedef struct scheduler {
	struct scheduler *next; /* in the list of idle ones */
	fiber fibers[MOST_THREADS];
	int made, count; /* fibers made so far; threads of this launch */
	int order[MOST_THREADS];
	uint64_t random;
	void (*body)(void *);
	void *argument;
	void *shared;
	fiber *running;
	fiber outside;							/* who called otp_shim_run */
	char start, finish, meeting, warp_meeting[MOST_THREADS / WARP]; /* addresses, for the sanitizer */
} scheduler;

__thread const otp_shim_place *otp_shim_self;
static __thread scheduler *current;

/* ---- what the sanitizers must know ---- */

#if defined(OTP_SHIM_TSAN)
void *__tsan_create_fiber(unsigned flags);
void *__tsan_get_current_fiber(void);
void __tsan_switch_to_fiber(void *to, unsigned flags);
void __tsan_acquire(void *address);
void __tsan_release(void *address);
enum { WITHOUT_ORDER = 1 };
static void announce_made(fiber *f) { f->tsan_fiber = __tsan_create_fiber(0); }
static void announce_outside(fiber *f) { f->tsan_fiber = __tsan_get_current_fiber(); }
static void announce_switch(fiber *from, fiber *to)
{
	(void)from;
	__tsan_switch_to_fiber(to->tsan_fiber, WITHOUT_ORDER);
}
static void announce_arrival(fiber *f) { (void)f; }
static void before(void *event) { __tsan_release(event); }
static void after(void *event) { __tsan_acquire(event); }
#elif defined(OTP_SHIM_ASAN)
void __sanitizer_start_switch_fiber(void **fake_stack, const void *bottom, size_t bytes);
void __sanitizer_finish_switch_fiber(void *fake_stack, const void **bottom, size_t *bytes);
static __thread const void *outside_bottom;
static __thread size_t outside_bytes;
static void announce_made(fiber *f) { (void)f; }
static void announce_outside(fiber *f) { (void)f; }
static void announce_switch(fiber *from, fiber *to)
{
	__sanitizer_start_switch_fiber(&from->asan_stack, to->stack ? to->stack : outside_bottom,
				       to->stack ? STACK_BYTES : outside_bytes);
}
static void announce_arrival(fiber *f)
{
	const void *bottom;
	size_t bytes;
	__sanitizer_finish_switch_fiber(f->asan_stack, &bottom, &bytes);
	if (f->stack && f->owner->running == f) { /* what we came from is the outside */
		outside_bottom = bottom;
		outside_bytes = bytes;
	}
}
static void before(void *event) { (void)event; }
static void after(void *event) { (void)event; }
#else
static void announce_made(fiber *f) { (void)f; }
static void announce_outside(fiber *f) { (void)f; }
static void announce_switch(fiber *from, fiber *to)
{
	(void)from;
	(void)to;
}
static void announce_arrival(fiber *f) { (void)f; }
static void before(void *event) { (void)event; }
static void after(void *event) { (void)event; }
#endif

/* ---- switching ---- */

static void fiber_main(fiber *f);

#if defined(__x86_64__)
/* Ten times as fast as swapcontext, which enters the kernel to save signal masks. */
void otp_shim_swap(void **save_stack_pointer, void *load_stack_pointer);
__asm__(".text\n"
	".globl otp_shim_swap\n"
	".hidden otp_shim_swap\n"
	".type otp_shim_swap, @function\n"
	"otp_shim_swap:\n"
	"	pushq %rbp\n	pushq %rbx\n	pushq %r12\n	pushq %r13\n	pushq %r14\n	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n	popq %r14\n	popq %r13\n	popq %r12\n	popq %rbx\n	popq %rbp\n"
	"	ret\n"
	".globl otp_shim_enter\n"
	".hidden otp_shim_enter\n"
	".type otp_shim_enter, @function\n"
	"otp_shim_enter:\n" /* rbx: the function; r12: its argument */
	"	movq %r12, %rdi\n"
	"	callq *%rbx\n"
	"	ud2\n");
void otp_shim_enter(void);

static void prepare(fiber *f)
{
	void **top = (void **)(void *)(f->stack + STACK_BYTES);
	/* r15 r14 r13 r12 rbx rbp return; 16-byte aligned where otp_shim_enter begins */
	void **sp = top - 9;
	memset(sp, 0, 9 * sizeof *sp);
	sp[3] = f;
	void (*start)(fiber *) = fiber_main;
	memcpy(&sp[4], &start, sizeof start);
	void (*entry)(void) = otp_shim_enter;
	memcpy(&sp[6], &entry, sizeof entry);
	f->stack_pointer = sp;
}

static void swap(fiber *from, fiber *to) { otp_shim_swap(&from->stack_pointer, to->stack_pointer); }
#else
static void enter(unsigned high, unsigned low)
{
	uintptr_t address = (uintptr_t)high << 16 << 16 | low;
	fiber_main((fiber *)address);
}

static void prepare(fiber *f)
{
	uintptr_t address = (uintptr_t)f;
	getcontext(&f->context);
	f->context.uc_stack.ss_sp = f->stack;
	f->context.uc_stack.ss_size = STACK_BYTES;
	makecontext(&f->context, (void (*)(void))enter, 2, (unsigned)(address >> 16 >> 16),
		    (unsigned)address);
}

static void swap(fiber *from, fiber *to) { swapcontext(&from->context, &to->context); }
#endif

static void switch_fiber(fiber *from, fiber *to)
{
	announce_switch(from, to);
	swap(from, to);
	announce_arrival(from);
}

/* A fiber serves one thread after the other and never ends. */
static void fiber_main(fiber *f)
{
	announce_arrival(f);
	for (;;) {
		scheduler *s = f->owner;
		after(&s->start);
		s->body(s->argument);
		before(&s->finish);
		f->state = DONE;
		switch_fiber(f, &s->outside);
	}
}

static void make_fibers(scheduler *s, int count)
{
	for (; s->made < count; s->made++) {
		fiber *f = &s->fibers[s->made];
		f->owner = s;
		f->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		OTP_ASSERT(f->stack != MAP_FAILED, "shim: no stack for thread %d", s->made);
		prepare(f);
		announce_made(f);
	}
}

/* ---- schedulers are kept: making a thousand fibers costs more than most launches ---- */

static scheduler *idle;
static pthread_mutex_t idle_lock = PTHREAD_MUTEX_INITIALIZER;

static scheduler *take_scheduler(void)
{
	pthread_mutex_lock(&idle_lock);
	scheduler *s = idle;
	if (s)
		idle = s->next;
	pthread_mutex_unlock(&idle_lock);
	return s ? s : otp_calloc(1, sizeof *s);
}

static void give_back(scheduler *s)
{
	pthread_mutex_lock(&idle_lock);
	s->next = idle;
	idle = s;
	pthread_mutex_unlock(&idle_lock);
}

/* ---- order ---- */

static uint32_t draw(scheduler *s, uint32_t below)
{
	s->random = s->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((s->random >> 33) % below);
}

static void shuffle_order(scheduler *s)
{
	for (int i = 0; i < s->count; i++)
		s->order[i] = i;
	for (int i = s->count - 1; i > 0; i--) {
		int j = (int)draw(s, (uint32_t)i + 1), kept = s->order[i];
		s->order[i] = s->order[j];
		s->order[j] = kept;
	}
}

/* ---- barriers ---- */

static OTP_NORETURN void report_stuck(const scheduler *s, const char *what)
{
	fprintf(stderr, "shim: %s in block (%u, %u, %u):\n", what, s->fibers[0].place.block.x,
		s->fibers[0].place.block.y, s->fibers[0].place.block.z);
	int shown = 0;
	for (int i = 0; i < s->count && shown < 8; i++) {
		const fiber *f = &s->fibers[i], *last = i ? f - 1 : NULL;
		if (last && last->state == f->state && (f->state == DONE || last->line == f->line))
			continue;
		shown++;
		if (f->state == DONE)
			fprintf(stderr, "  from thread %d on: returned\n", i);
		else
			fprintf(stderr, "  from thread %d on: waits at %s:%d%s\n", i, f->file, f->line,
				f->state == AT_WARP ? " (warp)" : "");
	}
	exit(OTP_EXIT_FAILED);
}

static bool same_site(const fiber *a, const fiber *b)
{
	return a->state == b->state && a->line == b->line && strcmp(a->file, b->file) == 0;
}

/* The lanes that `first` waits for are all there. */
static bool warp_complete(const scheduler *s, int base, const fiber *first)
{
	for (int lane = 0; lane < WARP; lane++) {
		const fiber *f = &s->fibers[base + lane];
		if (!(first->mask >> lane & 1))
			continue;
		if (base + lane >= s->count || !same_site(first, f) || f->mask != first->mask)
			return false;
	}
	return true;
}

static void release_lanes(scheduler *s, int base, unsigned mask)
{
	for (int lane = 0; lane < WARP; lane++) {
		fiber *f = &s->fibers[base + lane];
		if (!(mask >> lane & 1))
			continue;
		if (f->exchanges && (f->source >= WARP || !(mask >> f->source & 1)))
			report_stuck(s, "a shuffle from a lane that takes no part");
		if (f->exchanges)
			memcpy(f->received, s->fibers[base + (int)f->source].value, VALUE_BYTES);
		f->state = READY;
	}
}

static bool release_warps(scheduler *s)
{
	bool any = false;
	for (int i = 0; i < s->count; i++) {
		int base = i / WARP * WARP;
		if (s->fibers[i].state == AT_WARP && warp_complete(s, base, &s->fibers[i])) {
			release_lanes(s, base, s->fibers[i].mask);
			any = true;
		}
	}
	return any;
}

static bool release_block(scheduler *s)
{
	for (int i = 0; i < s->count; i++)
		if (s->fibers[i].state != AT_BLOCK || !same_site(&s->fibers[0], &s->fibers[i]))
			return false;
	for (int i = 0; i < s->count; i++)
		s->fibers[i].state = READY;
	return true;
}

static void wait_here(state where, void *event, const char *file, int line)
{
	scheduler *s = current;
	fiber *f = s->running;
	f->state = where;
	f->file = file;
	f->line = line;
	if (event)
		before(event);
	switch_fiber(f, &s->outside);
	if (event)
		after(event);
}

void otp_shim_sync_block(const char *file, int line) { wait_here(AT_BLOCK, &current->meeting, file, line); }

static int thread_number(const fiber *f) { return (int)(f - f->owner->fibers); }

unsigned otp_shim_lane(void) { return (unsigned)thread_number(current->running) % WARP; }

void otp_shim_sync_warp(unsigned mask, const char *file, int line)
{
	fiber *f = current->running;
	f->mask = mask;
	f->exchanges = false;
	wait_here(AT_WARP, &current->warp_meeting[thread_number(f) / WARP], file, line);
}

/* A shuffle orders no memory: the sanitizer is told of no event. */
void otp_shim_shuffle(unsigned mask, unsigned source, const void *value, void *received, size_t bytes,
		      const char *file, int line)
{
	fiber *f = current->running;
	OTP_ASSERT(bytes <= VALUE_BYTES, "shim: a shuffle of %zu bytes", bytes);
	f->mask = mask;
	f->source = source;
	f->exchanges = true;
	memcpy(f->value, value, bytes);
	wait_here(AT_WARP, NULL, file, line);
	memcpy(received, f->received, bytes);
}

/* ---- running ---- */

void *otp_shim_shared(void) { return current->shared; }

static void resume(scheduler *s, fiber *f)
{
	s->running = f;
	otp_shim_self = &f->place;
	switch_fiber(&s->outside, f);
	s->running = NULL;
}

static void run_block(scheduler *s, otp_shim_dim at, size_t shared_bytes)
{
	if (shared_bytes)
		memset(s->shared, 0xff, shared_bytes);
	for (int i = 0; i < s->count; i++) {
		s->fibers[i].place.block = at;
		s->fibers[i].state = READY;
	}
	shuffle_order(s);
	before(&s->start);
	int left = s->count;
	while (left) {
		for (int k = 0; k < s->count; k++) {
			fiber *f = &s->fibers[s->order[k]];
			if (f->state != READY)
				continue;
			resume(s, f);
			left -= f->state == DONE;
		}
		if (left && !release_warps(s) && !release_block(s))
			report_stuck(s, "a barrier that not all threads reach");
	}
	after(&s->finish);
}

static void place_threads(scheduler *s, otp_shim_dim grid, otp_shim_dim block)
{
	for (int i = 0; i < s->count; i++) {
		otp_shim_place *p = &s->fibers[i].place;
		p->thread.x = (unsigned)i % block.x;
		p->thread.y = (unsigned)i / block.x % block.y;
		p->thread.z = (unsigned)i / block.x / block.y;
		p->block_dim = block;
		p->grid_dim = grid;
	}
}

void otp_shim_run(otp_shim_dim grid, otp_shim_dim block, size_t shared_bytes, void (*body)(void *argument),
		  void *argument)
{
	unsigned threads = block.x * block.y * block.z, blocks = grid.x * grid.y * grid.z;
	OTP_ASSERT(threads > 0 && threads <= MOST_THREADS && blocks > 0, "shim: %u blocks of %u threads",
		   blocks, threads);
	scheduler *s = take_scheduler();
	const char *seed = getenv("OTPLAN_SHIM_SEED");
	s->random = seed ? strtoull(seed, NULL, 10) : 1;
	s->count = (int)threads;
	s->body = body;
	s->argument = argument;
	s->shared = shared_bytes ? malloc(shared_bytes) : NULL; /* malloc: one byte too far must show */
	make_fibers(s, s->count);
	announce_outside(&s->outside);
	place_threads(s, grid, block);
	current = s;
	unsigned first = draw(s, blocks);
	for (unsigned i = 0; i < blocks; i++) {
		unsigned b = (first + i) % blocks;
		otp_shim_dim at = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
		run_block(s, at, shared_bytes);
	}
	current = NULL;
	otp_shim_self = NULL;
	free(s->shared);
	give_back(s);
}
