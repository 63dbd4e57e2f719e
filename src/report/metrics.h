/* metrics: RUN/metrics.jsonl, one object a logged step.
 *
 * The file is a history and is only ever appended to. A run that continues from
 * a checkpoint writes some steps again: a record takes back every earlier
 * record of its own step and later ones, and the reader hands out what is left,
 * in order. A rollback is a record too, and takes back what is later than the
 * step to which the run went back.
 */
#ifndef OTP_METRICS_H
#define OTP_METRICS_H

#include "core/base.h"

/* Every number beside the step: METRIC(name). NAN where not measured (null in the file). Losses, cost and r1
 * are means over all updates since the record before; r1's over those that had it. */
#define OTP_METRICS(METRIC)                                                                                  \
	METRIC(time_s) /* since the run's first start, pauses left out */                                    \
	METRIC(sigma)                                                                                        \
	METRIC(sigma_end)      /* where it is going */                                                       \
	METRIC(loss_potential) /* E V(T) - E V(y), under g */                                                \
	METRIC(loss_transport) /* E c(x', T) - E V(T) */                                                     \
	METRIC(cost)	       /* E |x - T|^2, from x, without tau */                                        \
	METRIC(r1)	       /* E |grad V(y)|^2 */                                                         \
	METRIC(r1_weight)                                                                                    \
	METRIC(lr_g)                                                                                         \
	METRIC(lr_d)                                                                                         \
	METRIC(potential_gap)	  /* (E V(y) - E V(T)) / (tau E|x - y|^2), x and y independent */            \
	METRIC(potential_slope)	  /* rms |grad V(y)| / (2 tau rms|x - y|), the same x and y */               \
	METRIC(measured_at)	  /* the step whose moving average the following figures are of */           \
	METRIC(transport_cost)	  /* E |x - T|^2, from x, on the fixed batch */                              \
	METRIC(identity_distance) /* the root of that over the values of a sample: rms of T - x per value */ \
	METRIC(target_distance)	  /* W2^2(T, nu): exact for vectors, sliced for images */                    \
	METRIC(target_floor)	  /* the same between two target samples */                                  \
	METRIC(                                                                                              \
	    patch_distance) /* of patches of every scale, in the target's variance (ot/patches.h); images */ \
	METRIC(patch_floor) /* the same between two target samples */                                        \
	METRIC(source_patch_distance) /* the same between source and target */                               \
	METRIC(source_distance)	      /* the same between source and target: what doing nothing leaves */    \
	METRIC(to_identity)   /* how far T moves over how far it must at least; 0: it does nothing */        \
	METRIC(output_spread) /* rms spread of all outputs over the target's */                              \
	METRIC(noise_spread)  /* mean distance of two outputs of one input over that of two targets */       \
	METRIC(noise_needed)  /* what the best pairing asks noise_spread to be, where that can be told */    \
	METRIC(diversity)     /* rms spread of a value over the noise, of one input */                       \
	METRIC(images_per_s)

/* What can be wrong with a run, VERDICT(constant, name); train/verdicts.h says when. */
#define OTP_VERDICTS(VERDICT)                                                                                \
	VERDICT(IDENTITY, "identity collapse")                                                               \
	VERDICT(MODES, "mode collapse")                                                                      \
	VERDICT(NOISE, "noise ignored")                                                                      \
	VERDICT(RUNAWAY, "potential running away")                                                           \
	VERDICT(ANNEALING, "annealing too fast")                                                             \
	VERDICT(UNLEARNED, "not learned yet")

typedef enum otp_verdict {
#define OTP_VERDICT_CONSTANT(constant, name) OTP_VERDICT_##constant,
	OTP_VERDICTS(OTP_VERDICT_CONSTANT)
#undef OTP_VERDICT_CONSTANT
	    OTP_VERDICT_COUNT
} otp_verdict;

const char *otp_verdict_name(otp_verdict v);
/* The names of a set of verdicts, bit v for verdict v, or "none". */
void otp_verdicts_text(unsigned set, char *text, size_t bytes);

typedef struct otp_metrics {
	int64_t step;
	unsigned verdicts; /* those that stand, bit v for verdict v */
#define OTP_METRIC_FIELD(name) double name;
	OTP_METRICS(OTP_METRIC_FIELD)
#undef OTP_METRIC_FIELD
} otp_metrics;

/* A record of that step with everything unmeasured. */
otp_metrics otp_metrics_at(int64_t step);
/* The distance from the targets that judges a step: of patches where there are pictures, else of the law. */
double otp_metrics_distance(const otp_metrics *m);
/* The row with the least of these distances, the first of equal ones; `count` where none was measured. */
size_t otp_metrics_best(const otp_metrics *rows, size_t count);

typedef struct otp_metrics_log otp_metrics_log;

/* Opens for appending; a last line torn by a crash is closed off first. */
otp_metrics_log *otp_metrics_open(const char *path, otp_error *err);
/* Written through at once, as one line. */
bool otp_metrics_append(otp_metrics_log *log, const otp_metrics *m, otp_error *err);
/* To the disk: what a checkpoint goes on from is there before it. */
bool otp_metrics_sync(otp_metrics_log *log, otp_error *err);
/* A run's return to the checkpoint of `step`. */
typedef struct otp_rollback_record {
	int64_t step, from_step; /* from_step: the first that is taken back for good */
	int count;		 /* of the run's rollbacks, this one included */
	double rate_factor;	 /* of both learning rates from here on */
	const char *reason;
} otp_rollback_record;
bool otp_metrics_append_rollback(otp_metrics_log *log, const otp_rollback_record *r, otp_error *err);
void otp_metrics_close(otp_metrics_log *log);

/* The records that hold, by rising step; lines that are no record are passed
 * over. otp_free *rows. */
bool otp_metrics_read(const char *path, otp_metrics **rows, size_t *count, otp_error *err);

#endif
