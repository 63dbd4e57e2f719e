#include "model/translator.h"
#include "core/file.h"
#include "model/run.h"

#include <string.h>
#include <xxhash.h>

/* The layout of parameters follows from the architecture: build once, keep the names. */
static otp_params *discover_params(const otp_arch *arch)
{
	otp_params *params = otp_params_new();
	otp_sample_graph probe = otp_sample_build(arch, params, 0, 1, false);
	otp_graph_free(probe.graph);
	return params;
}

static bool load(otp_translator *t, const char *path, otp_error *err)
{
	if (!otp_model_read(path, &t->facts, err))
		return false;
	t->arch = t->facts.arch;
	const otp_runtime *at = t->runtime;
	t->params = discover_params(&t->arch);
	float *row = otp_model_read_weights(path, t->params, err);
	if (!row)
		return false;
	t->weights = at->backend->alloc(at->device, "the generator's weights",
					(size_t)t->params->elements * at->backend->element_bytes[OTP_F32]);
	at->backend->upload(at->device, t->weights, OTP_F32, row, t->params->elements);
	at->backend->wait(at->device);
	otp_free(row);
	return true;
}

bool otp_translator_open(const char *path, otp_runtime *runtime, otp_translator *t, otp_error *err)
{
	memset(t, 0, sizeof *t);
	t->runtime = runtime;
	char *file = otp_file_is_folder(path) ? otp_run_path(path, "model.h5") : otp_strdup(path);
	bool ok = load(t, file, err);
	otp_free(file);
	if (!ok) {
		otp_translator_close(t);
		return false;
	}
	t->sample_floats = (int64_t)t->arch.h * t->arch.w * t->arch.c;
	t->sampler = otp_sampler_new(runtime, &t->arch, t->params, t->weights, 0, t->facts.smoothing, false);
	return true;
}

void otp_translator_close(otp_translator *t)
{
	otp_sampler_free(t->sampler);
	if (t->weights)
		t->runtime->backend->release(t->runtime->device, t->weights);
	otp_params_free(t->params);
	otp_stored_free(&t->facts);
	memset(t, 0, sizeof *t);
}

otp_dataset *otp_translator_open_data(const otp_translator *t, const char *spec, otp_error *err)
{
	otp_dataset *d = otp_dataset_open(spec, t->facts.seed, err);
	if (!d)
		return NULL;
	bool vectors = otp_dataset_describe(d).kind == OTP_DATA_VECTORS;
	bool ok = vectors == t->arch.vectors ||
		  otp_fail(err, spec, "holds %s, the model translates %s", vectors ? "vectors" : "images",
			   t->arch.vectors ? "vectors" : "images");
	ok = ok && otp_dataset_prepare(d, vectors ? 0 : t->arch.h, t->arch.c, 1, err);
	otp_dataset_info info = otp_dataset_describe(d);
	if (ok && (info.h != t->arch.h || info.w != t->arch.w || info.c != t->arch.c))
		ok = otp_fail(err, spec, "holds samples of %dx%dx%d, the model takes %dx%dx%d", info.h,
			      info.w, info.c, t->arch.h, t->arch.w, t->arch.c);
	if (ok)
		return d;
	otp_dataset_close(d);
	return NULL;
}

void otp_translator_run(otp_translator *t, const float *x, int64_t n, int samples, uint64_t seed, float *y)
{
	size_t floats = (size_t)t->sample_floats, all = (size_t)n * (size_t)samples;
	float *repeated = otp_calloc(all * floats, sizeof *repeated);
	otp_stream *streams = otp_calloc(all, sizeof *streams);
	for (size_t i = 0; i < all; i++) {
		const float *xi = x + i / (size_t)samples * floats;
		uint64_t key = XXH3_64bits_withSeed(xi, floats * sizeof *xi, seed);
		memcpy(repeated + i * floats, xi, floats * sizeof *xi);
		streams[i] = otp_stream_make(key, (uint32_t)(i % (size_t)samples), 0);
	}
	otp_sampler_run(t->sampler, repeated, streams, (int64_t)all, t->facts.sigma, y, NULL);
	otp_free(repeated);
	otp_free(streams);
}
