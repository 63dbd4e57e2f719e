/* rollback: what becomes of a run whose numbers break. The guard of the engine
 * keeps such an update from the networks and names it; the trainer goes back to
 * its last checkpoint with both learning rates halved, a few times, and then
 * stops. The cut is published with that checkpoint before a step follows, so
 * that a run killed at any time goes on the same.
 */
#ifndef OTP_ROLLBACK_H
#define OTP_ROLLBACK_H

#include "report/metrics.h"
#include "train/game.h"

/* What broke, and in which outer step; step 0: nothing did. */
typedef struct otp_trouble {
	int64_t step;
	char what[160];
	double usual; /* median of the gradient's norms before; 0: not known */
} otp_trouble;

/* Whether a step since the last look broke: an update that the guard refused, or losses that are not finite.
 * Reads losses, and so waits for the device. */
bool otp_trouble_find(otp_trouble *t, otp_game *g);
/* Weights that are not finite, found after `step`. */
void otp_trouble_of_weights(otp_trouble *t, int64_t step);

/* Of a game that is back at g->step, with the rates for what follows: a line to the person, and one to the
 * metrics. */
bool otp_rollback_tell(const otp_trouble *t, const otp_game *g, int count, otp_metrics_log *log,
		       otp_error *err);
/* The end of it: records what broke, what is left, and what to try instead; false. */
bool otp_rollback_give_up(const otp_trouble *t, const otp_game *g, int count, otp_error *err);

#endif
