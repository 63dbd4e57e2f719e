/* engine: the two networks' state on a device, and the programs that update it.
 *
 * Knows numbers, not time: which step it is, what sigma or rate belong to it,
 * and where batches come from is the trainer's. A batch is cut into parts, each
 * with its own programs; workers (cores, or the whole GPU) take the parts in
 * turn and share an update's columns. Gradients are summed as a tree over parts
 * (kernels/tree.h), so a run's bits depend on the number of parts, not on the
 * number of workers or on timing.
 *
 * A step is issued, not waited for: a part alone has its update in the step's
 * own program, inputs go up in a few transfers, losses stay on the device in a
 * ring. Reading losses or state is what waits.
 *
 * Every update is guarded on the device (kernels/guard.h): from the first
 * gradient on whose norm is not finite, or 100 times the median of the last ones
 * of its kind, updates leave both networks as they are. The host learns of it
 * when it reads losses.
 */
#ifndef OTP_ENGINE_H
#define OTP_ENGINE_H

#include "engine/runtime.h"
#include "graph/program.h"
#include "graph/work.h"
#include "ot/objective.h"

typedef struct otp_engine otp_engine;

typedef struct otp_engine_settings {
	otp_objective objective;
	int batch, parts;	  /* parts: 1 to the batch, at most OTP_MOST_PARTS */
	bool r1_used, plain_used; /* which kinds of potential step will run: with R1, without */
	double beta1, beta2;
	double clip_norm; /* most of a gradient's norm, larger ones are scaled down; 0: any */
} otp_engine_settings;

otp_engine *otp_engine_new(otp_runtime *runtime, const otp_engine_settings *settings);
void otp_engine_free(otp_engine *e);

/* Fresh weights; EMA starts as a copy, moments at zero, the guard has seen nothing. */
void otp_engine_init(otp_engine *e, uint64_t seed);

/* One update's numbers. */
typedef struct otp_update {
	uint64_t seed;
	uint32_t draw; /* which draw of noise */
	double keep, sigma;
	double rate;
	int64_t count; /* this network's updates so far, this one included: Adam's t */
	double ema;    /* decay; transport only */
	double r1;     /* weight with the lazy factor; 0 runs the program without R1 */
} otp_update;

/* One side's samples for a step, batch of them: on the host (those of otp_engine_slice alone), or which of
 * the set on the device. */
typedef struct otp_batch {
	const float *values;   /* where the objective says that the side comes from the host; else */
	const uint32_t *picks; /* 2 row + mirrored */
} otp_batch;

void otp_engine_transport_step(otp_engine *e, otp_batch x, const otp_update *u);
void otp_engine_potential_step(otp_engine *e, otp_batch x, otp_batch y, const otp_update *u);

/* Reports of all steps since the sums were last set, each the mean over its batch; zero at first. */
otp_losses otp_engine_losses(otp_engine *e);
void otp_engine_set_losses(otp_engine *e, const otp_losses *losses); /* after a wait; NULL: zero */

/* The update that the guard refused first. */
typedef struct otp_refusal {
	otp_step_kind kind;
	int64_t count;	     /* as its otp_update said */
	double norm, median; /* NaN, Inf, or 100 times the median of the norms before; 0: there were none */
} otp_refusal;

/* Of the steps whose losses were read; NULL: none. Never waits. */
const otp_refusal *otp_engine_refusal(const otp_engine *e);
/* OTP_GUARD_VALUES of them, a part of the run's state. */
void otp_engine_read_guard(otp_engine *e, float *guard);
/* After a wait, with the losses. NULL: one that has seen nothing. Updates go on where it had stopped them. */
void otp_engine_set_guard(otp_engine *e, const float *guard);

/* Rows [first, first + count) of a side's set on the device, as op gather takes them. */
void otp_engine_load(otp_engine *e, otp_side side, int64_t first, int64_t count, const uint32_t *words);
void otp_engine_wait(otp_engine *e);

otp_params *otp_engine_params(const otp_engine *e, otp_network network);
int otp_engine_rows(otp_network network); /* of its state: 4 or 3 */
/* Whole state, rows * elements floats. */
void otp_engine_read(otp_engine *e, otp_network network, float *state);
void otp_engine_write(otp_engine *e, otp_network network, const float *state);
void *otp_engine_state(otp_engine *e, otp_network network); /* device memory */
/* Device memory that the average begins at element *base of. */
void *otp_engine_average(otp_engine *e, int64_t *base);

/* Of several processes each has all weights, and its own columns alone of moments and average: read and write
 * above are of these, from a state that all have. These three are collective. */
void otp_engine_collect(otp_engine *e, otp_network network, float *state); /* process 0's; NULL elsewhere */
void otp_engine_deal(otp_engine *e, otp_network network, const float *state);
/* The whole average to process 0, which draws from it. */
void otp_engine_collect_average(otp_engine *e);
/* Copies that average, `elements` floats, to the host: process 0 alone, after it was collected. */
void otp_engine_read_average(otp_engine *e, float *average);
/* The samples of a batch that this process computes: these alone it needs on the host. */
void otp_engine_slice(const otp_engine *e, int *first, int *count);
/* The gradient that the last step of this network's update used, `elements` floats. */
void otp_engine_read_grads(otp_engine *e, otp_network network, float *grads);

typedef struct otp_engine_size {
	size_t weight_bytes; /* with the average, and the copies in bfloat16 */
	size_t moment_bytes, gradient_bytes, data_bytes;
	size_t arena_bytes,
	    scratch_bytes;     /* of each worker's largest program, and what others keep between runs */
	size_t unshared_bytes; /* what the arenas would be if no two values shared memory */
	int64_t largest;       /* elements of the largest tensor */
	int64_t parameters[OTP_NETWORKS]; /* trainable, by network */
	int64_t elements[OTP_NETWORKS];	  /* a row of the state, by network */
	size_t host_bytes;		  /* of graphs, and of programs beside what they have on the device */
	int programs, calls;
	bool scratch_expected; /* some of it is a guess: see otp_program_size */
} otp_engine_size;
otp_engine_size otp_engine_measure(const otp_engine *e);
/* All that an engine takes of the device's memory. */
size_t otp_engine_bytes(const otp_engine_size *size);
/* The size of an engine that is not made: takes no memory of the device and starts no thread. */
otp_engine_size otp_engine_plan(otp_runtime *runtime, const otp_engine_settings *settings);

/* Every call of a step of each kind that is used, its update's too, all parts together, in an engine that is
 * not made. */
typedef void otp_see_step_call(void *context, otp_step_kind kind, const otp_call *call);
void otp_engine_list(otp_runtime *runtime, const otp_engine_settings *settings, otp_see_step_call *see,
		     void *context);

/* Seconds by op kind of one part's steps, for bench. */
bool otp_engine_profile(otp_engine *e, otp_step_kind kind, int runs, double *seconds_by_op);
/* The least that such a step costs, update included, all parts together: [OTP_OP_COUNT]. */
void otp_engine_work(const otp_engine *e, otp_step_kind kind, otp_peaks peaks, otp_work *by_op);

#endif
