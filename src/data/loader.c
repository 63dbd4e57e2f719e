/* loader: a ring of prepared batches. Threads take draw numbers in turn, fill
 * the slot of that number, and sleep while the ring is full; what a batch holds
 * depends on its number alone, so the number of threads changes nothing else.
 */
#include "data/loader.h"

#include "core/log.h"
#include "core/permute.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct slot {
	float *values;
	bool ready;
	uint32_t draw; /* which one, where ready */
	otp_error trouble;
} slot;

struct otp_loader {
	const otp_dataset *set;
	otp_walk walk;
	int h, w, c;
	uint64_t count; /* 0: generated */
	slot *slots;
	uint32_t slot_count;
	uint32_t handed_out; /* the caller's draw; its slot is the caller's until the next call */
	bool any_handed_out;
	uint32_t next_draw; /* to be taken by a thread */
	pthread_t *threads;
	int workers;
	pthread_mutex_t lock; /* of ready, handed_out, next_draw, stop */
	pthread_cond_t filled, freed;
	atomic_bool stop;
};

uint64_t otp_loader_index(uint64_t seed, otp_side side, uint64_t position, uint64_t count)
{
	OTP_ASSERT(count > 0, "a walk over nothing");
	otp_stream key = otp_stream_make(seed, (uint32_t)side, (uint32_t)(position / count));
	return otp_permute(key, position % count, count);
}

bool otp_loader_survey(const otp_dataset *set, int n, float *samples, otp_error *err)
{
	otp_dataset_info info = otp_dataset_describe(set);
	size_t values = (size_t)info.h * (size_t)info.w * (size_t)info.c;
	for (int i = 0; i < n; i++) {
		uint64_t index = n < info.count
				     ? otp_loader_index(0, OTP_SOURCE, (uint64_t)i, (uint64_t)info.count)
				     : (uint64_t)i;
		if (!otp_dataset_get(set, index, 0, samples + (size_t)i * values, err))
			return false;
	}
	return true;
}

/* ---- filling --------------------------------------------------------------------- */

static void mirror(float *image, int h, int w, int c)
{
	for (int y = 0; y < h; y++)
		for (int x = 0; x < w / 2; x++)
			for (int k = 0; k < c; k++) {
				float *a = image + (y * w + x) * c + k,
				      *b = image + (y * w + w - 1 - x) * c + k;
				float kept = *a;
				*a = *b;
				*b = kept;
			}
}

/* Of the sample at place i of a draw: where it stands in the walk, whether it is mirrored. */
static uint64_t position_of(const otp_walk *w, uint32_t draw, int i)
{
	uint64_t distinct = (uint64_t)((w->batch + w->copies - 1) / w->copies);
	return draw * distinct + (uint64_t)(i / w->copies);
}

static otp_stream stream_of(const otp_walk *w, uint32_t draw, int i)
{
	return otp_stream_make(w->seed, (uint32_t)(i / w->copies) * 2 + (uint32_t)w->side, draw);
}

static bool wants_mirror(const otp_walk *w, uint32_t draw, int i)
{
	return w->flip && (otp_random_u32(stream_of(w, draw, i), OTP_PURPOSE_FLIP, 0) & 1);
}

void otp_loader_picks(otp_walk walk, uint64_t count, uint32_t draw, uint32_t *picks)
{
	OTP_ASSERT(count <= INT32_MAX, "picks of %llu samples", (unsigned long long)count);
	for (int i = 0; i < walk.batch; i++) {
		uint64_t position = position_of(&walk, draw, i);
		uint32_t index = (uint32_t)otp_loader_index(walk.seed, walk.side, position, count);
		picks[i] = 2 * index + wants_mirror(&walk, draw, i);
	}
}

static void fill(otp_loader *l, slot *s, uint32_t draw)
{
	const otp_walk *w = &l->walk;
	size_t values = (size_t)l->h * (size_t)l->w * (size_t)l->c;
	s->trouble = (otp_error){0};
	for (int i = w->first; i < w->first + w->count && !atomic_load(&l->stop); i++) {
		uint64_t position = position_of(w, draw, i);
		uint64_t index = l->count ? otp_loader_index(w->seed, w->side, position, l->count) : position;
		float *image = s->values + (size_t)(i - w->first) * values;
		if (i % w->copies && i > w->first) {
			memcpy(image, image - values, values * sizeof *image);
			continue;
		}
		otp_stream stream = stream_of(w, draw, i);
		const uint32_t place[2] = {otp_random_u32(stream, OTP_PURPOSE_CROP, 0),
					   otp_random_u32(stream, OTP_PURPOSE_CROP, 1)};
		/* Draw 0 of a hue belongs to evaluation. */
		if (!otp_dataset_get_window(l->set, index, draw + 1, place, image, &s->trouble))
			return;
		if (wants_mirror(w, draw, i))
			mirror(image, l->h, l->w, l->c);
	}
}

/* May this draw's slot be written? Under lock. Its former owner was slot_count draws earlier. */
static bool slot_is_free(const otp_loader *l, uint32_t draw)
{
	uint32_t held = l->any_handed_out ? l->handed_out : l->handed_out - 1;
	return draw - held < l->slot_count;
}

static void *worker_main(void *argument)
{
	otp_loader *l = argument;
	for (;;) {
		pthread_mutex_lock(&l->lock);
		while (!l->stop && !slot_is_free(l, l->next_draw))
			pthread_cond_wait(&l->freed, &l->lock);
		uint32_t draw = l->next_draw++;
		slot *s = &l->slots[draw % l->slot_count];
		s->ready = false;
		pthread_mutex_unlock(&l->lock);
		if (atomic_load(&l->stop))
			return NULL;
		fill(l, s, draw);
		pthread_mutex_lock(&l->lock);
		s->draw = draw;
		s->ready = true;
		pthread_cond_broadcast(&l->filled);
		pthread_mutex_unlock(&l->lock);
	}
}

/* ---- life ------------------------------------------------------------------------- */

static void start_threads(otp_loader *l)
{
	/* Signals belong to the trainer's own thread. */
	sigset_t all, before;
	sigfillset(&all);
	sigdelset(&all, SIGBUS); /* a thread's own, and fatal where it is blocked */
	pthread_sigmask(SIG_BLOCK, &all, &before);
	for (int i = 0; i < l->workers; i++) {
		int code = pthread_create(&l->threads[i], NULL, worker_main, l);
		if (code != 0) {
			otp_log_error("a thread to load data cannot be started: %s", strerror(code));
			exit(OTP_EXIT_FAILED);
		}
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* One with the caller, one ready, and one in every thread's hands. */
int otp_loader_slots(int workers) { return workers ? workers + 2 : 1; }

otp_loader *otp_loader_new(const otp_dataset *d, otp_walk walk, int workers, uint32_t first_draw)
{
	OTP_ASSERT(walk.batch > 0 && walk.copies > 0 && workers >= 0, "batch %d, %d copies, %d workers",
		   walk.batch, walk.copies, workers);
	otp_dataset_info info = otp_dataset_describe(d);
	otp_loader *l = otp_calloc(1, sizeof *l);
	*l = (otp_loader){.set = d,
			  .walk = walk,
			  .h = info.h,
			  .w = info.w,
			  .c = info.c,
			  .count = (uint64_t)info.count,
			  .handed_out = first_draw,
			  .next_draw = first_draw,
			  .workers = workers};
	l->walk.count = walk.count ? walk.count : walk.batch;
	l->walk.flip = walk.flip && info.kind == OTP_DATA_IMAGES;
	l->slot_count = (uint32_t)otp_loader_slots(workers);
	l->slots = otp_calloc(l->slot_count, sizeof *l->slots);
	size_t values = otp_mul_size((size_t)l->walk.count, (size_t)info.h * (size_t)info.w * (size_t)info.c);
	for (uint32_t i = 0; i < l->slot_count; i++)
		l->slots[i].values = otp_calloc_for(
		    "a batch (a smaller --batch, or fewer --workers, takes less)", values, sizeof(float));
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->filled, NULL);
	pthread_cond_init(&l->freed, NULL);
	l->threads = otp_calloc((size_t)workers, sizeof *l->threads);
	start_threads(l);
	return l;
}

void otp_loader_free(otp_loader *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	atomic_store(&l->stop, true);
	pthread_cond_broadcast(&l->freed);
	pthread_mutex_unlock(&l->lock);
	for (int i = 0; i < l->workers; i++)
		pthread_join(l->threads[i], NULL);
	for (uint32_t i = 0; i < l->slot_count; i++)
		otp_free(l->slots[i].values);
	pthread_cond_destroy(&l->freed);
	pthread_cond_destroy(&l->filled);
	pthread_mutex_destroy(&l->lock);
	otp_free(l->threads);
	otp_free(l->slots);
	otp_free(l);
}

const float *otp_loader_next(otp_loader *l, otp_error *err)
{
	pthread_mutex_lock(&l->lock);
	uint32_t draw = l->any_handed_out ? l->handed_out + 1 : l->handed_out;
	slot *s = &l->slots[draw % l->slot_count];
	l->handed_out = draw;
	l->any_handed_out = true;
	pthread_cond_broadcast(&l->freed);
	while (l->workers && !(s->ready && s->draw == draw))
		pthread_cond_wait(&l->filled, &l->lock);
	pthread_mutex_unlock(&l->lock);
	if (!l->workers)
		fill(l, s, draw);
	if (s->trouble.exit_code == 0)
		return s->values;
	if (err->exit_code == 0)
		*err = s->trouble;
	return NULL;
}
