/* loader: keeps the trainer fed. Batches of one data set in an order that is a
 * function of (seed, draw) alone: draw k holds positions k * batch ... of an
 * endless walk in which each epoch is a fresh permutation (a keyed Feistel
 * network, so any position is reached without state).
 */
#ifndef OTP_LOADER_H
#define OTP_LOADER_H

#include "data/dataset.h"
#include "nn/roles.h"

typedef struct otp_loader otp_loader;

/* What a draw holds. */
typedef struct otp_walk {
	uint64_t seed;
	otp_side side;	   /* walks of the same seed differ */
	int batch, copies; /* every sample stands `copies` times in its batch, one behind the other */
	bool flip;	   /* images: mirrored or not */
	int first, count;  /* the samples of a batch that are wanted; count 0: all. Not for picks */
	/* Which window of a picture a sample is, where samples are windows, follows from the draw too. */
} otp_walk;

/* Batches from first_draw on are prepared ahead by `workers` threads (0: on demand). */
otp_loader *otp_loader_new(const otp_dataset *d, otp_walk walk, int workers, uint32_t first_draw);
/* Batches that such a loader holds. */
int otp_loader_slots(int workers);
void otp_loader_free(otp_loader *l);
/* The next draw: count * h * w * c floats, valid until the next call. NULL with
 * err set where a sample could not be read. */
const float *otp_loader_next(otp_loader *l, otp_error *err);

/* The same draws as numbers, for a set that somebody else holds: 2 index + mirrored of each sample. */
void otp_loader_picks(otp_walk walk, uint64_t count, uint32_t draw, uint32_t *picks);

/* The sample index at one position of the walk over `count` samples. */
uint64_t otp_loader_index(uint64_t seed, otp_side side, uint64_t position, uint64_t count);

/* n samples (n, values), the same whatever a run's seed is: spread over a set with an end, the first ones
 * elsewhere. */
bool otp_loader_survey(const otp_dataset *set, int n, float *samples, otp_error *err);

#endif
