/* game: the outer step of the max-min game: batches in, updates of V and T by
 * the schedule. Knows no files; trainer and verify stand around it.
 */
#ifndef OTP_GAME_H
#define OTP_GAME_H

#include "data/loader.h"
#include "train/engine.h"
#include "train/sampler.h"
#include "train/session.h"

typedef struct otp_game {
	const otp_session *session;
	otp_place_of_work *place;
	otp_engine *engine;
	otp_loader *source, *target;
	int64_t step; /* outer steps done */
} otp_game;

otp_engine_settings otp_game_engine_settings(const otp_session *s);

/* Networks with fresh weights, at step 0. */
void otp_game_open(otp_game *g, const otp_session *s, otp_place_of_work *place);
/* Batches from g->step on; after the last change to it. */
void otp_game_start_loaders(otp_game *g);
void otp_game_close(otp_game *g);

/* One outer step. The reports (OTP_REPORT_COUNT means) may be NULL: then nothing is read back. */
bool otp_game_step(otp_game *g, double *potential, double *transport, otp_error *err);

/* Draws from the moving average, following the training. given_noise: see sampler.h. */
otp_sampler *otp_game_sampler(otp_game *g, bool given_noise);

#endif
