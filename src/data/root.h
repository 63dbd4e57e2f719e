/* root: a folder, or a zip of one, that holds both sides of an unpaired problem, as CycleGAN, CUT and UNSB
 * lay it out: trainA, trainB, and testA, testB or valA, valB.
 */
#ifndef OTP_ROOT_H
#define OTP_ROOT_H

#include "core/base.h"

typedef struct otp_root {
	char *train[2], *test[2]; /* specs of sides A and B; a test half may be NULL */
} otp_root;

/* Names are compared without case and without `_`, `-`, `.` and blanks between word and letter; train/A is as
 * good as trainA, and so is plain A. Of several folders that one half may be (testA and valA, trainA and A)
 * it is the first that holds samples; those passed over are named in the log. Where the root holds none but
 * one folder, that folder is the root. A training half that is missing is an error that names what was found.
 * otp_root_free it where true. */
bool otp_root_find(const char *place, otp_root *root, otp_error *err);
/* Whether a folder or zip is meant as a root: it holds a train or test half, or plain A and B and nothing
 * else. False for what is neither, and where nothing can be read. */
bool otp_root_is(const char *place);
/* Specs of what may be the two sides of a folder or zip that is no root: plain A and B beside other folders,
 * or its only two. False, and NULL both, where there is nothing like it. otp_free each. */
bool otp_root_guess(const char *place, char *sides[2]);
void otp_root_free(otp_root *root);

#endif
