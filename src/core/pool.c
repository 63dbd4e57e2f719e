/* pool: a fixed team of threads, woken once per task.
 *
 * A step calls the team hundreds of times with tasks of microseconds to
 * milliseconds, so both sides watch an atomic for a short while before they
 * sleep on a condition variable. The watching is short because the cores may
 * belong to somebody else.
 */
#include "core/pool.h"

#include "core/base.h"
#include "core/log.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

enum { SPIN_ROUNDS = 4000 }; /* some tens of microseconds, about the price of one sleep and wake */

struct otp_pool {
	int workers;
	pthread_t *threads; /* workers - 1: the caller is worker 0 */
	int running;	    /* threads that have been started */
	pthread_mutex_t lock;
	pthread_cond_t start, done;
	atomic_uint generation; /* changes when a task is posted; written under lock */
	atomic_int unfinished;	/* threads still inside the posted task */
	atomic_bool busy;
	bool stop;
	void (*task)(void *argument, int worker);
	void *argument;
	struct otp_pool_member {
		otp_pool *pool;
		int worker;
	} * members;
};

int otp_cores(void)
{
	cpu_set_t usable;
	if (sched_getaffinity(0, sizeof usable, &usable) != 0)
		return 1;
	int count = CPU_COUNT(&usable);
	return count > 0 ? count : 1;
}

static inline void spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

static unsigned wait_for_task(otp_pool *pool, unsigned seen)
{
	for (int i = 0; i < SPIN_ROUNDS; i++) {
		if (atomic_load_explicit(&pool->generation, memory_order_acquire) != seen)
			return seen + 1;
		spin_pause();
	}
	pthread_mutex_lock(&pool->lock);
	while (atomic_load(&pool->generation) == seen)
		pthread_cond_wait(&pool->start, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	return seen + 1; /* never further: a new task waits for the last one's end */
}

static void *member_main(void *argument)
{
	struct otp_pool_member *self = argument;
	otp_pool *pool = self->pool;
	for (unsigned seen = 0;;) {
		seen = wait_for_task(pool, seen);
		if (pool->stop)
			return NULL;
		pool->task(pool->argument, self->worker);
		if (atomic_fetch_sub_explicit(&pool->unfinished, 1, memory_order_acq_rel) == 1) {
			pthread_mutex_lock(&pool->lock);
			pthread_cond_signal(&pool->done);
			pthread_mutex_unlock(&pool->lock);
		}
	}
}

static void post(otp_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	atomic_fetch_add_explicit(&pool->generation, 1, memory_order_release);
	pthread_cond_broadcast(&pool->start);
	pthread_mutex_unlock(&pool->lock);
}

bool otp_pool_start(otp_pool *pool)
{
	if (pool->running == pool->workers - 1)
		return true;
	/* Signals belong to the caller: Ctrl-C must interrupt it, not a worker. */
	sigset_t all, before;
	sigfillset(&all);
	sigdelset(&all, SIGBUS); /* a thread's own, and fatal where it is blocked */
	pthread_sigmask(SIG_BLOCK, &all, &before);
	for (; pool->running < pool->workers - 1; pool->running++) {
		int i = pool->running + 1;
		pool->members[i] = (struct otp_pool_member){pool, i};
		if (pthread_create(&pool->threads[i - 1], NULL, member_main, &pool->members[i]) != 0)
			break;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return pool->running == pool->workers - 1;
}

otp_pool *otp_pool_new(int workers)
{
	OTP_ASSERT(workers >= 1, "%d workers", workers);
	otp_pool *pool = otp_calloc(1, sizeof *pool);
	pool->workers = workers;
	pool->threads = otp_calloc((size_t)workers, sizeof *pool->threads);
	pool->members = otp_calloc((size_t)workers, sizeof *pool->members);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->start, NULL);
	pthread_cond_init(&pool->done, NULL);
	return pool;
}

void otp_pool_free(otp_pool *pool)
{
	if (!pool)
		return;
	pool->stop = true;
	post(pool);
	for (int i = 0; i < pool->running; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_cond_destroy(&pool->done);
	pthread_cond_destroy(&pool->start);
	pthread_mutex_destroy(&pool->lock);
	otp_free(pool->members);
	otp_free(pool->threads);
	otp_free(pool);
}

int otp_pool_workers(const otp_pool *pool) { return pool->workers; }

void otp_pool_run(otp_pool *pool, void (*task)(void *argument, int worker), void *argument)
{
	bool busy = atomic_exchange(&pool->busy, true);
	OTP_ASSERT(!busy, "the team is at work already: one caller at a time, and no task within a task");
	if (!otp_pool_start(pool)) {
		otp_error err = {0};
		otp_fail_machine(&err, "--threads", "%d threads cannot be started", pool->workers);
		otp_end(&err);
	}
	pool->task = task;
	pool->argument = argument;
	if (pool->workers > 1) {
		atomic_store(&pool->unfinished, pool->workers - 1);
		post(pool);
	}
	task(argument, 0);
	for (int i = 0; i < SPIN_ROUNDS && atomic_load_explicit(&pool->unfinished, memory_order_acquire); i++)
		spin_pause();
	if (atomic_load_explicit(&pool->unfinished, memory_order_acquire)) {
		pthread_mutex_lock(&pool->lock);
		while (atomic_load(&pool->unfinished))
			pthread_cond_wait(&pool->done, &pool->lock);
		pthread_mutex_unlock(&pool->lock);
	}
	atomic_store(&pool->busy, false);
}
