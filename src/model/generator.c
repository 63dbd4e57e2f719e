#include "model/generator.h"
#include "core/file.h"
#include "core/memory.h"
#include "model/run.h"
#include "ot/objective.h"

#include <string.h>
#include <sys/stat.h>

/* A row of weights in the layout of params; the facts are read before. */
static float *average_of(const otp_generator *g, const char *path, otp_error *err)
{
	const otp_stored *s = &g->facts;
	int64_t elements = g->params->elements;
	if (!s->state[OTP_TRANSPORT])
		return otp_model_read_weights(path, g->params, err);
	if (s->elements[OTP_TRANSPORT] != elements) {
		otp_fail(err, path, "holds a generator of %lld values, its architecture has %lld",
			 (long long)s->elements[OTP_TRANSPORT], (long long)elements);
		return NULL;
	}
	float *row = otp_calloc((size_t)elements, sizeof *row);
	memcpy(row, s->state[OTP_TRANSPORT] + OTP_ROW_EMA * elements, (size_t)elements * sizeof *row);
	return row;
}

static bool read_facts(otp_generator *g, const char *path, otp_error *err)
{
	otp_stored_kind kind;
	struct stat file;
	if (!otp_stored_identify(path, &kind, err))
		return false;
	if (kind == OTP_STORED_MODEL)
		return otp_model_read(path, &g->facts, err);
	size_t bytes = stat(path, &file) == 0 ? 2 * (size_t)file.st_size : 0;
	if (!otp_memory_can_have(bytes))
		return otp_fail_memory(err, path, bytes, "a checkpoint", otp_memory_available());
	return otp_checkpoint_read(path, &g->facts, err) &&
	       (g->facts.sigma >= 0 ||
		otp_fail(err, path,
			 "is a checkpoint of format version 1, which does not say its sigma; "
			 "expected the run's model.h5"));
}

char *otp_generator_path(const char *path, otp_error *err)
{
	if (!otp_file_is_folder(path))
		return otp_strdup(path);
	char *model = otp_run_path(path, "model.h5");
	if (otp_file_exists(model))
		return model;
	otp_free(model);
	otp_fail(err, path,
		 "has no model.h5 in it, expected a run that has written one, a model or a checkpoint");
	return NULL;
}

bool otp_generator_read(const char *path, otp_generator *g, otp_error *err)
{
	memset(g, 0, sizeof *g);
	if (read_facts(g, path, err)) {
		g->params = otp_sample_params(&g->facts.arch);
		g->row = average_of(g, path, err);
	}
	for (otp_network n = 0; n < OTP_NETWORKS; n++) { /* training's alone from here on */
		otp_free(g->facts.state[n]);
		g->facts.state[n] = NULL;
	}
	if (!g->row)
		otp_generator_free(g);
	return g->row != NULL;
}

void otp_generator_free(otp_generator *g)
{
	otp_free(g->row);
	otp_params_free(g->params);
	otp_stored_free(&g->facts);
	memset(g, 0, sizeof *g);
}
