/* translator: a model file made ready to use. Needs no option and no settings:
 * architecture, preprocessing and smoothing are in the file.
 */
#ifndef OTP_TRANSLATOR_H
#define OTP_TRANSLATOR_H

#include "data/dataset.h"
#include "engine/sampler.h"
#include "model/store.h"

typedef struct otp_translator {
	char *path; /* of the model's file */
	otp_stored facts;
	otp_arch arch; /* the file's */
	otp_preprocessing preprocessing;
	otp_runtime *runtime;
	otp_params *params;
	void *weights; /* device memory */
	otp_sampler *sampler;
	int64_t sample_floats; /* h * w * c */
	/* Inputs of one round of the sampler, made at opening: translating allocates nothing. */
	float *inputs;
	otp_stream *streams;
} otp_translator;

/* path: a model.h5, a run's folder (then RUN/model.h5), or a checkpoint, of which it takes the moving average
 * and sigma at its step. */
bool otp_translator_open(const char *path, otp_runtime *runtime, otp_translator *t, otp_error *err);
void otp_translator_close(otp_translator *t);

/* Opens and prepares a data set to the model's shape, as its training prepared that side. Pictures that
 * cannot be decoded are named and left out: none stands in for another. */
otp_dataset *otp_translator_open_data(const otp_translator *t, otp_side side, const char *spec,
				      otp_error *err);

/* The same of the model's own data: the set that its side was measured with, else the samples that were
 * withheld from its training, else, of a generated set, fresh ones. *held_out: one of these; false: there are
 * none, and it is what was trained on. */
otp_dataset *otp_translator_open_side(const otp_translator *t, otp_side side, bool *held_out, otp_error *err);

/* Inputs that keep their sizes: otp_dataset_take gives them. */
otp_dataset *otp_translator_open_pictures(const otp_translator *t, const char *spec, otp_error *err);

/* K samples for each of n inputs: x (n, h, w, c) -> y (n, K, h, w, c). Where training saw sources in grey,
 * inputs are made grey. Sample k of an input depends on (model, seed, the input's content (grey then), k)
 * alone. Allocates nothing. */
void otp_translator_run(otp_translator *t, const float *x, int64_t n, int samples, uint64_t seed, float *y);

#endif
