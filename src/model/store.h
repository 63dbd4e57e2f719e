/* store: what outlives a process, as HDF5 files that appear whole.
 *
 * checkpoint  everything a run needs to go on exactly: both networks' state
 *             (parameters, moments, EMA), the step (from which every draw of
 *             noise and data follows), losses since the last record, norms
 *             of the last gradients
 * model       the EMA generator, one set a parameter
 *
 * Both describe themselves by typed fields (schema.h): architecture,
 * preprocessing, smoothing, data. The settings of the training ride along as
 * text, which nobody parses to translate. Files of version 1 had little but
 * that text; they are still read (version1.h). docs/file-formats.md has it all.
 *
 * Files of equal content are equal byte for byte: they hold no time of day.
 * Every byte that matters is under a digest: damage is an error, never a result.
 * What was written is read back before it takes its name.
 */
#ifndef OTP_STORE_H
#define OTP_STORE_H

#include "pictures/preprocessing.h"
#include "ot/objective.h"
#include "ot/smoothing.h"

/* One side's data set. */
typedef struct otp_data_facts {
	char *spec;    /* with its whole path; in older files as the user wrote it */
	char *format;  /* "folder", "HDF5", ...; NULL in version 1 */
	int64_t count; /* samples; 0: generated; -1: not known (version 1) */
	char *test;    /* the set that this side is measured with; NULL: none */
	int64_t
	    withheld; /* samples that training never drew (otp_dataset_withhold); 0 before there were any */
	int64_t withheld_of; /* of so many files or rows, damaged ones too */
	char *digest_kind;   /* the rule of the digest; NULL in version 1, which had one rule a format */
	uint64_t digest;
} otp_data_facts;

/* Who chose where annealing ends. */
#define OTP_CHOICES_otp_sigma_by(X)                                                                          \
	X(OTP_SIGMA_BY_UNKNOWN, "unknown") X(OTP_SIGMA_BY_HAND, "hand") X(OTP_SIGMA_BY_AUTO, "auto")
OTP_CHOICE(otp_sigma_by);

typedef struct otp_stored {
	int version; /* of the file that was read */
	int64_t step;
	uint64_t seed;	   /* of the run; generated data and drawn hues follow from it */
	char *settings;	   /* the training's, as text */
	otp_arch arch;	   /* the generator's fields */
	otp_resize filter; /* how images became samples; otp_stored_preprocessing puts it together */
	otp_aspect aspect;
	bool grey;  /* sources were grey */
	bool crops; /* samples were windows, of pictures brought to `load`; 0: as they were */
	otp_size load;
	otp_smoothing smoothing;
	double sigma;	       /* smoothing to translate with; NAN in a checkpoint of version 1 */
	otp_sigma_by sigma_by; /* unknown in files from before it was told */
	otp_data_facts source, target;
	double rate_factor; /* of both learning rates, cut by rollbacks; 1: as the settings say */
	int rollbacks;	    /* of the training so far */

	double time_s;	   /* checkpoint only: seconds trained so far */
	otp_losses losses; /* checkpoint only: of the steps since the last record of metrics */
	float
	    guard[OTP_GUARD_VALUES]; /* checkpoint only: what gradients are held against (kernels/guard.h) */
	int64_t elements[OTP_NETWORKS]; /* checkpoint only: of a row of each network's state */
	float *state[OTP_NETWORKS];	/* checkpoint only: 4 and 3 rows */
	int64_t parameters;		/* model only: trainable values in the file */
} otp_stored;

void otp_stored_free(otp_stored *s);

/* Of a model of images; arch comes first. */
otp_preprocessing otp_stored_preprocessing(const otp_stored *s);
void otp_stored_set_preprocessing(otp_stored *s, const otp_preprocessing *p);

typedef enum otp_stored_kind { OTP_STORED_CHECKPOINT, OTP_STORED_MODEL } otp_stored_kind;

/* Which of the two a file is, of whatever version; an error if neither. */
bool otp_stored_identify(const char *path, otp_stored_kind *kind, otp_error *err);

bool otp_checkpoint_write(const char *path, const otp_stored *s, const otp_params *const params[OTP_NETWORKS],
			  otp_error *err);
bool otp_checkpoint_read(const char *path, otp_stored *s, otp_error *err);
/* Whether all of a file is there and every digest is right, without memory for the state. A damaged file is
 * bad input (OTP_EXIT_USAGE); one that the system refuses to read is a failure of the machine. */
bool otp_checkpoint_check(const char *path, otp_error *err);

/* row: one row of the generator's parameters in the layout of `params`. */
bool otp_model_write(const char *path, const otp_stored *s, const otp_params *params, const float *row,
		     otp_error *err);
/* Two steps, since the layout follows from the architecture: the facts, then the weights. */
bool otp_model_read(const char *path, otp_stored *s, otp_error *err);
/* The same check of a model, whose parameters are these; NULL: those that its architecture has. */
bool otp_model_check(const char *path, const otp_params *params, otp_error *err);
/* A row in the layout of `params`, made when every parameter was found in the file. otp_free it. */
float *otp_model_read_weights(const char *path, const otp_params *params, otp_error *err);

#endif
