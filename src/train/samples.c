/* samples: the pictures that a run draws of itself. */
#include "core/file.h"
#include "model/run.h"
#include "report/grid.h"
#include "train/evaluate.h"
#include "train/inside.h"

#include <string.h>

enum { PICTURE_ROWS = 8, PICTURE_SAMPLES = 7, TARGET_ROWS = 2, POINT_ROWS = 256, POINT_SAMPLES = 4 };

static float *read_first(otp_trainer *t, const otp_dataset *set, otp_side side, int count)
{
	const otp_arch *a = &t->session->arch;
	size_t floats = (size_t)a->h * (size_t)a->w * (size_t)a->c;
	float *x = otp_calloc((size_t)count * floats, sizeof *x);
	for (int i = 0; i < count; i++)
		if (!otp_dataset_get(set, otp_evaluate_index(set, side, i), 0, x + (size_t)i * floats,
				     t->err)) {
			otp_free(x);
			return NULL;
		}
	return x;
}

bool otp_trainer_read_pictures(otp_trainer *t)
{
	bool vectors = t->session->arch.vectors;
	const otp_dataset *source = otp_session_measured(t->session, OTP_SOURCE),
			  *target = otp_session_measured(t->session, OTP_TARGET);
	int64_t targets = otp_dataset_describe(target).count;
	t->picture_rows = vectors ? POINT_ROWS : PICTURE_ROWS;
	t->picture_samples = vectors ? POINT_SAMPLES : PICTURE_SAMPLES;
	t->picture_target_count = vectors ? POINT_ROWS : TARGET_ROWS * (1 + PICTURE_SAMPLES);
	if (!vectors && targets && targets < t->picture_target_count)
		t->picture_target_count = (int)targets;
	t->picture_x = read_first(t, source, OTP_SOURCE, t->picture_rows);
	t->picture_targets = read_first(t, target, OTP_TARGET, t->picture_target_count);
	return t->picture_x && t->picture_targets;
}

bool otp_trainer_save_targets(otp_trainer *t)
{
	const otp_arch *a = &t->session->arch;
	char *path = otp_run_path(t->config->out, "samples/targets.png");
	bool ok = a->vectors || otp_file_exists(path) ||
		  otp_grid_write_images(path, t->picture_targets, t->picture_target_count,
					1 + PICTURE_SAMPLES, a->h, a->w, a->c, t->err);
	otp_free(path);
	return ok;
}

int64_t otp_train_picture_samples(const otp_arch *a)
{
	return a->vectors ? POINT_ROWS * POINT_SAMPLES : PICTURE_ROWS * PICTURE_SAMPLES;
}

size_t otp_train_picture_bytes(const otp_arch *a)
{
	size_t floats = (size_t)a->h * (size_t)a->w * (size_t)a->c;
	return 2 * (size_t)otp_train_picture_samples(a) * floats * sizeof(float) +
	       (a->vectors ? otp_grid_points_bytes()
			   : otp_grid_bytes(PICTURE_ROWS, PICTURE_SAMPLES, a->h, a->w));
}

/* Fixed inputs and noise through the whole run; sigma is the step's own, as trained. */
static bool draw_picture(otp_trainer *t)
{
	const otp_arch *a = &t->session->arch;
	size_t floats = (size_t)a->h * (size_t)a->w * (size_t)a->c;
	size_t rows = (size_t)t->picture_rows, k = (size_t)t->picture_samples;
	float *x = otp_calloc(rows * k * floats, sizeof *x), *y = otp_calloc(rows * k * floats, sizeof *y);
	otp_stream *streams = otp_calloc(rows * k, sizeof *streams);
	for (size_t i = 0; i < rows * k; i++) {
		memcpy(x + i * floats, t->picture_x + i / k * floats, floats * sizeof *x);
		streams[i] = otp_stream_make(t->config->seed ^ 0x70696374757265u, (uint32_t)(i / k),
					     (uint32_t)(i % k));
	}
	otp_sampler_run(t->sampler, x, streams, (int64_t)(rows * k),
			otp_settings_sigma(t->config, t->game.step), y, NULL);
	char *path = otp_run_step_path(t->config->out, "samples", t->game.step, "png");
	bool ok = a->vectors
		      ? otp_grid_write_points(path, t->picture_x, y, (int)rows, (int)k, t->picture_targets,
					      t->picture_target_count, a->c, t->err)
		      : otp_grid_write(path, t->picture_x, y, (int)rows, (int)k, a->h, a->w, a->c, t->err);
	otp_free(path);
	otp_free(x);
	otp_free(y);
	otp_free(streams);
	return ok;
}

bool otp_trainer_save_picture(otp_trainer *t)
{
	otp_engine_collect_average(t->game.engine);
	return otp_trainer_by_lead(t, draw_picture);
}
