/* game: the outer step of the max-min game: batches in, updates of V and T by
 * the schedule. Knows no files; trainer and verify stand around it.
 */
#ifndef OTP_GAME_H
#define OTP_GAME_H

#include "data/loader.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "train/session.h"

/* Where one side's batches come from: the host's loader, or picks from the set on the device. */
typedef struct otp_feed {
	otp_loader *loader;
	uint32_t *picks; /* (batch); NULL with a loader */
	uint32_t draw;	 /* the next */
} otp_feed;

typedef struct otp_game {
	const otp_session *session;
	otp_runtime *runtime;
	otp_engine *engine;
	otp_resident resident[OTP_SIDES]; /* on the device, where it has rows */
	otp_feed feed[OTP_SIDES];
	int64_t step;	    /* outer steps done */
	double rate_factor; /* of both learning rates; 1 unless the trainer cut them */
} otp_game;

/* Which sides will lie on the device is decided here, by --data-on-device and what the device has free. */
otp_engine_settings otp_game_engine_settings(const otp_session *s, const otp_runtime *runtime);

/* What --data-on-device auto came to: on or off, or auto still where only one side found room, which neither
 * of these says. */
otp_data_on_device otp_game_data_on_device(const otp_game *g);

/* Bytes of the host's memory that batches on their way to the device take. */
size_t otp_game_batch_bytes(const otp_session *s, const otp_engine_settings *settings);

/* Networks with fresh weights, at step 0. */
bool otp_game_open(otp_game *g, const otp_session *s, otp_runtime *runtime, otp_error *err);
/* Batches from g->step on; puts what is to lie on the device there. */
bool otp_game_start(otp_game *g, otp_error *err);
/* The same of a game that has started, after a change to g->step. */
void otp_game_rewind(otp_game *g);
void otp_game_close(otp_game *g);

/* One outer step, issued and not waited for: otp_engine_losses tells what came of it. */
bool otp_game_step(otp_game *g, otp_error *err);

/* Draws from the moving average, following the training. given_noise: see sampler.h. */
otp_sampler *otp_game_sampler(otp_game *g, bool given_noise);

#endif
