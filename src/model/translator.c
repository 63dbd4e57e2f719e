#include "model/translator.h"
#include "core/file.h"
#include "core/memory.h"
#include "model/run.h"

#include <string.h>
#include <xxhash.h>

static bool load(otp_translator *t, const char *path, otp_error *err)
{
	if (!otp_model_read(path, &t->facts, err))
		return false;
	t->arch = t->facts.arch;
	const otp_runtime *at = t->runtime;
	t->params = otp_sample_params(&t->arch);
	size_t bytes = (size_t)t->params->elements * at->backend->element_bytes[OTP_F32];
	t->weights = at->backend->alloc(at->device, bytes);
	if (!t->weights)
		return otp_backend_fail_memory(at->backend, at->device, bytes, "the generator's weights",
					       err);
	float *row = otp_model_read_weights(path, t->params, err);
	if (!row)
		return false;
	at->backend->upload(at->device, t->weights, OTP_F32, row, t->params->elements);
	at->backend->wait(at->device);
	otp_free(row);
	return true;
}

/* What the translator works with: the sampler's programs, and inputs for one round of it. */
static bool make_sampler(otp_translator *t, otp_error *err)
{
	t->sample_floats = (int64_t)t->arch.h * t->arch.w * t->arch.c;
	t->sampler =
	    otp_sampler_new(t->runtime, &t->arch, t->params, t->weights, 0, t->facts.smoothing, false, err);
	if (!t->sampler)
		return false;
	size_t round = (size_t)otp_sampler_round(t->sampler), floats = (size_t)t->sample_floats;
	t->inputs = otp_try_calloc(round * floats, sizeof *t->inputs);
	t->streams = otp_try_calloc(round, sizeof *t->streams);
	return (t->inputs && t->streams) || otp_fail_memory(err, "memory", round * floats * sizeof *t->inputs,
							    "a round of inputs", otp_memory_available());
}

bool otp_translator_open(const char *path, otp_runtime *runtime, otp_translator *t, otp_error *err)
{
	memset(t, 0, sizeof *t);
	t->runtime = runtime;
	t->path = otp_file_is_folder(path) ? otp_run_path(path, "model.h5") : otp_strdup(path);
	bool ok = load(t, t->path, err) && make_sampler(t, err);
	if (!ok)
		otp_translator_close(t);
	return ok;
}

void otp_translator_close(otp_translator *t)
{
	otp_free(t->path);
	otp_sampler_free(t->sampler);
	otp_free(t->inputs);
	otp_free(t->streams);
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
	ok = ok && otp_dataset_prepare(d, vectors ? 0 : t->arch.h, t->arch.c,
				       otp_pool_workers(t->runtime->pool), err);
	otp_dataset_info info = otp_dataset_describe(d);
	if (ok && (info.h != t->arch.h || info.w != t->arch.w || info.c != t->arch.c))
		ok = otp_fail(err, spec, "holds samples of %dx%dx%d, the model takes %dx%dx%d", info.h,
			      info.w, info.c, t->arch.h, t->arch.w, t->arch.c);
	if (ok && otp_dataset_sieve(d, otp_pool_workers(t->runtime->pool), err))
		return d;
	otp_dataset_close(d);
	return NULL;
}

void otp_translator_run(otp_translator *t, const float *x, int64_t n, int samples, uint64_t seed, float *y)
{
	size_t floats = (size_t)t->sample_floats;
	int64_t all = n * samples, round = otp_sampler_round(t->sampler);
	for (int64_t first = 0, count; first < all; first += count) {
		count = all - first < round ? all - first : round;
		for (int64_t i = 0; i < count; i++) {
			const float *xi = x + (size_t)((first + i) / samples) * floats;
			uint64_t key = XXH3_64bits_withSeed(xi, floats * sizeof *xi, seed);
			memcpy(t->inputs + (size_t)i * floats, xi, floats * sizeof *xi);
			t->streams[i] = otp_stream_make(key, (uint32_t)((first + i) % samples), 0);
		}
		otp_sampler_run(t->sampler, t->inputs, t->streams, count, t->facts.sigma,
				y + (size_t)first * floats, NULL);
	}
}
