/* sigma_end: where annealing ends, if that is left to the data (--sigma-end auto):
 * a sample of the source is read once its form is known, and what its
 * samples support becomes the configuration's sigma-end, so that a run read back or resumed does not
 * depend on the estimate again.
 */
#ifndef OTP_SIGMA_END_H
#define OTP_SIGMA_END_H

#include "config/config.h"
#include "data/dataset.h"
#include "ot/dimension.h"

/* What sigma_end was chosen from. */
typedef struct otp_sigma_end {
	bool open;	/* sigma-end was auto */
	bool estimated; /* sigma-end was left to the data and annealing uses it; else the rest is 0 */
	otp_dimension dimension;
	double distinct;  /* samples of the source, repetitions not counted (an estimate for large sets) */
	int64_t values;	  /* of one sample */
	double supported; /* by the rule; sigma_end is this, kept below --sigma-start */
} otp_sigma_end;

/* A number for c->sigma_end where it is auto. `source` has been prepared. */
bool otp_sigma_end_settle(otp_config *c, const otp_dataset *source, otp_sigma_end *found, otp_error *err);

/* One line that says where annealing ends and why; otp_free it. NULL where it was not estimated. */
char *otp_sigma_end_text(const otp_config *c, const otp_sigma_end *found);

#endif
