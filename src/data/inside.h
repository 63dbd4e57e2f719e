/* inside: what the two halves of a data set share: dataset.c (which samples there are) and samples.c (what
 * they are made into). Nobody else looks inside. */
#ifndef OTP_INSIDE_H
#define OTP_INSIDE_H

#include "core/pool.h"
#include "data/source.h"

#include <pthread.h>
#include <stdatomic.h>

struct otp_dataset {
	otp_spec spec;
	otp_source *source;
	otp_data_survey survey; /* of the first `count` that are chosen */
	uint64_t seed, digest;
	otp_colour_law colour;
	double brightness;
	int64_t count;	  /* 0: without end */
	int64_t wanted;	  /* count before skipping */
	int64_t withheld; /* samples numbered after these, from count on, which no training draws */
	bool fresh;	  /* generated, with an end: withheld ones are drawn anew */
	int64_t *chosen;  /* (count + withheld) the source's number of each sample, after part, limit and
			     skipping; NULL: made by formula */
	bool prepared, loaded, scanned;
	bool streamed; /* every sample is read once, and nothing kept */
	bool exact;    /* sieved: no sample stands in for another */
	bool own;      /* samples are taken as stored: of their own sizes and channels */
	otp_preprocessing how;
	otp_size whole;	       /* of a settled picture; 0: sizes differ */
	int h, w, c;	       /* of a finished sample */
	int settled_c;	       /* of a settled one: 1 while the grey can be repeated later */
	uint8_t *kept;	       /* (count + withheld, whole, settled_c) settled bytes, or NULL */
	otp_image *kept_apart; /* (count + withheld) the same of sizes that differ, or NULL */
	int64_t apart_count;
	size_t kept_bytes;     /* of either, once loaded */
	atomic_uchar *broken;  /* (count + withheld) found unreadable; NULL: made by formula */
	pthread_mutex_t *lock; /* of the skipped list; apart, so that readers of a const set can take it */
};

/* All samples of a set of files or rows, withheld ones too. */
int64_t otp_dataset_all(const otp_dataset *d);
/* The source's number of a sample. */
uint64_t otp_dataset_number(const otp_dataset *d, uint64_t index);
/* Channels that come out where none are asked for. */
int otp_dataset_natural_channels(const otp_dataset *d);
/* A team that was started; NULL with err set. */
otp_pool *otp_dataset_team(const otp_dataset *d, int threads, otp_error *err);
/* After `chosen` has changed. */
void otp_dataset_recount(otp_dataset *d);
/* What shape decided, and what load read. */
void otp_dataset_forget(otp_dataset *d);

#endif
