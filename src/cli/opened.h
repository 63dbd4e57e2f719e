/* opened: a model with the sets that a command gives it (translate, eval, export). What is opened here is
 * closed here, and pictures that could not be decoded are counted for the exit code.
 */
#ifndef OTP_CLI_OPENED_H
#define OTP_CLI_OPENED_H

#include "model/translator.h"

enum { OTP_OPENED_SETS = 3 };

typedef struct otp_opened {
	otp_runtime runtime;
	otp_translator t;
	otp_dataset *sets[OTP_OPENED_SETS];
	int set_count;
} otp_opened;

/* False with err set where the device or the model cannot be had; otp_opened_close it all the same. Of the
 * processes of a machine each has the device of its own number, unless one is named. */
bool otp_opened_model(otp_opened *o, otp_group *group, const char *model, const char *device,
		      const char *precision, int threads, otp_error *err);
/* A set for a side of the model, as otp_translator_open_data; NULL with err set. */
otp_dataset *otp_opened_data(otp_opened *o, otp_side side, const char *spec, otp_error *err);
/* The model's own data of that side, as otp_translator_open_side. */
otp_dataset *otp_opened_side(otp_opened *o, otp_side side, bool *held_out, otp_error *err);
/* Inputs of their own sizes, as otp_translator_open_pictures. */
otp_dataset *otp_opened_pictures(otp_opened *o, const char *spec, otp_error *err);
/* The exit code of the command: err's, or, where it did what was asked, whether pictures were left out. */
int otp_opened_close(otp_opened *o, const otp_error *err);

#endif
