/* points: the settings of --preset vector that depend on the data. The preset's own lines are for a source
 * without a density, of any size; what is decided here replaces them where no file and no command line has
 * set the option, and lands in config.ini like any other setting, so that a run read back or resumed does not
 * depend on the estimates again.
 */
#ifndef OTP_POINTS_H
#define OTP_POINTS_H

#include "config/config.h"
#include "data/dataset.h"
#include "ot/dimension.h"

/* How values lie: rms of one from its coordinate's mean, and of these means from 0. */
typedef struct otp_extent {
	double rms, off_centre;
} otp_extent;

/* What was decided, and from what. */
/* Points that spread by less are all the same to the networks, which see values of about 1. */
#define OTP_POINTS_SAME 1e-6

typedef struct otp_points {
	bool decided; /* vectors, with --preset vector, that nobody resumes; else the rest is 0 */
	bool density;
	int sample;	/* samples of the source that were looked at */
	int64_t values; /* of one sample */
	otp_dimension dimension;
	otp_density found;
	otp_extent extent; /* of source and target together */
} otp_points;

/* Loads both sets, which have their form (otp_dataset_shape), looks at them, and completes c. */
bool otp_points_settle(otp_config *c, otp_dataset *source, otp_dataset *target, otp_points *p,
		       otp_error *err);

/* What was decided and why, in one line; otp_free it. NULL where nothing was. */
char *otp_points_text(const otp_config *c, const otp_points *p);

#endif
