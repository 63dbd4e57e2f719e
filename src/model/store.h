/* store: what outlives a process, as HDF5 files that appear whole.
 *
 * checkpoint  everything a run needs to go on exactly: both networks' state
 *             (parameters, moments, EMA), the step (from which every draw of
 *             noise and data follows), losses since the last record, the settings,
 *             the data's digests
 * model       the EMA generator, one data set a parameter, with all that
 *             translation needs: settings, sample shape, sigma
 *
 * Files of equal content are equal byte for byte: they hold no time of day.
 * Every byte that matters is under a digest: damage is an error, never a result.
 */
#ifndef OTP_STORE_H
#define OTP_STORE_H

#include "ot/objective.h"

typedef struct otp_stored {
	int64_t step;
	double time_s;	/* checkpoint only: seconds trained so far */
	char *settings; /* as otp_config_text, without what only names this machine's places */
	bool vectors;
	int h, w, c;
	double sigma; /* model only: smoothing to translate with */
	uint64_t source_digest, target_digest;
	otp_losses losses;		/* checkpoint only: of the steps since the last record of metrics */
	int64_t elements[OTP_NETWORKS]; /* checkpoint only: of a row of each network's state */
	float *state[OTP_NETWORKS];	/* checkpoint only: 4 and 3 rows */
	int64_t parameters;		/* model only: trainable values in the file */
} otp_stored;

void otp_stored_free(otp_stored *s);

typedef enum otp_stored_kind { OTP_STORED_CHECKPOINT, OTP_STORED_MODEL } otp_stored_kind;

/* Which of the two a file is; an error if neither. */
bool otp_stored_identify(const char *path, otp_stored_kind *kind, otp_error *err);

bool otp_checkpoint_write(const char *path, const otp_stored *s, const otp_params *const params[OTP_NETWORKS],
			  otp_error *err);
bool otp_checkpoint_read(const char *path, otp_stored *s, otp_error *err);

/* row: one row of the generator's parameters in the layout of `params`. */
bool otp_model_write(const char *path, const otp_stored *s, const otp_params *params, const float *row,
		     otp_error *err);
/* Two steps, since the layout follows from the settings: the facts, then the weights. */
bool otp_model_read(const char *path, otp_stored *s, otp_error *err);
bool otp_model_read_weights(const char *path, const otp_params *params, float *row, otp_error *err);

#endif
