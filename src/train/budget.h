/* budget: what a run will take of memory and disk, from graphs, sizes and the
 * backend alone: no memory of that size is touched to find it out.
 */
#ifndef OTP_BUDGET_H
#define OTP_BUDGET_H

#include "engine/engine.h"
#include "train/session.h"

typedef struct otp_budget {
	otp_engine_size engine;
	otp_resident resident[OTP_SIDES]; /* which sets lie on the device */
	size_t drawing;			  /* on the device: programs that draw samples of the plan */
	size_t data;			  /* on the host: what is held of both data sets */
	size_t batches;			  /* on the host, on their way to the device */
	size_t measuring;		  /* on the host: the monitor's samples */
	size_t saving;	/* on the host: the copy of the state that a checkpoint is written from, and what is
			   read back of it */
	size_t picture; /* on the host: a picture of samples, while it is made */
	size_t ending;	/* on the host: the samples of the last evaluation, when training's memory is free
			   again */
	size_t itself;	/* the program and its libraries */
	size_t host_peak, device_peak; /* device_peak is 0 where the device computes in the host's memory */
	size_t host_free, device_free; /* now; what the program and its data hold already counts as free */
	int64_t most_elements;	       /* the backend's limit of a tensor; 0: none */
	size_t checkpoint, model;      /* a file of each kind */
} otp_budget;

/* Of a session that has been planned. */
otp_budget otp_budget_of(const otp_session *s, otp_runtime *runtime);
/* --memory: cuts the batch into the fewest parts with which the run takes no more than that. */
bool otp_budget_choose(otp_session *s, otp_runtime *runtime, otp_error *err);
bool otp_budget_fits(const otp_budget *b);

/* What would be trained and what it takes, on stdout. */
void otp_budget_print(const otp_session *s, otp_runtime *runtime, const otp_budget *b);
/* Refuses what does not fit: figures, the largest batch and micro-batch that do, what to change. */
bool otp_budget_check(const otp_session *s, otp_runtime *runtime, const otp_budget *b, otp_error *err);

#endif
