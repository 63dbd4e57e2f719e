/* generator: a trained generator as it lies in a file: what is known of it, and its weights. */
#ifndef OTP_GENERATOR_H
#define OTP_GENERATOR_H

#include "model/store.h"

typedef struct otp_generator {
	otp_stored facts;
	otp_params *params;
	float *row; /* of weights, in the layout of params */
} otp_generator;

/* The file that is meant: a run's folder stands for its model.h5. NULL with err set; otp_free it. */
char *otp_generator_path(const char *path, otp_error *err);
/* Of a model its weights, of a checkpoint its moving average, with sigma at its step. */
bool otp_generator_read(const char *path, otp_generator *g, otp_error *err);
void otp_generator_free(otp_generator *g);

#endif
