/* pictures: whole pictures of any size through a model of one size.
 *
 * A picture is brought to its working size (otp_fit), covered by tiles, translated tile by tile, blended, and
 * brought back to its own size. Smoothing noise is drawn by a pixel's place in the working picture, so tiles
 * see the same noise where they overlap; z is one for each sample of a picture. A picture whose working size
 * is the model's is one tile, and what otp_translator_run makes of it. Tiles of several pictures share a
 * round of the sampler. Beside the pictures at work, memory is taken for one row of tiles of each.
 */
#ifndef OTP_PICTURES_H
#define OTP_PICTURES_H

#include "core/choice.h"
#include "model/translator.h"

/* resize: the working picture is what training made of pictures, but whole: covers the size that they were
 * brought to (or was padded or stretched to it).
 * tile: the working picture is the picture itself; only one that does not cover a tile is enlarged to it.
 * crop: as in training, with its middle alone, which also comes out: the model's size, without alpha. */
#define OTP_CHOICES_otp_fit(X) X(OTP_FIT_RESIZE, "resize") X(OTP_FIT_TILE, "tile") X(OTP_FIT_CROP, "crop")
OTP_CHOICE(otp_fit);

/* The fit that shows a model what its training showed it: tile where that were windows of pictures as they
 * are. */
otp_fit otp_fit_of(const otp_translator *t);

typedef struct otp_pictures {
	const otp_dataset *set; /* of otp_translator_open_pictures, with the same fit */
	int64_t first, step;	/* its pictures first, first + step, ... alone; step 0: all */
	otp_fit fit;
	int samples;
	bool keep_luminance; /* colours of the result on the picture's own luminance, at its own size; models
				of 3 channels (pictures/luminance.h) */
	uint64_t seed;
	/* Sample k of picture `index` is ready: bytes, (h, w, channels of the model) of its own size, and one
	 * channel more where the picture has alpha, which is kept. Pictures of one size come in order,
	 * samples of a picture in order too. */
	bool (*put)(void *context, int64_t index, int k, const otp_image *result, otp_error *err);
	/* Called after every round: which part of the work is done, 0 to 1. False with err set: stop. */
	bool (*go_on)(void *context, double done, otp_error *err);
	void *context;
} otp_pictures;

/* Sample k of a picture depends on (model, sigma, seed, the working picture, k) alone. */
bool otp_pictures_translate(otp_translator *t, const otp_pictures *p, otp_error *err);

#endif
