#include "model/translator.h"
#include "core/file.h"
#include "core/memory.h"
#include "model/generator.h"
#include "pictures/luminance.h"
#include "model/run.h"

#include <string.h>
#include <xxhash.h>

static bool load(otp_translator *t, const char *path, otp_error *err)
{
	otp_generator read;
	if (!otp_generator_read(path, &read, err))
		return false;
	t->facts = read.facts;
	t->params = read.params;
	t->arch = t->facts.arch;
	t->preprocessing = otp_stored_preprocessing(&t->facts);
	if (!otp_runtime_settle(t->runtime, t->arch.vectors, OTP_RUNTIME_TRANSLATES, err)) {
		otp_free(read.row);
		return false;
	}
	const otp_runtime *at = t->runtime;
	size_t bytes = (size_t)t->params->elements * at->backend->element_bytes[OTP_F32];
	t->weights = at->backend->alloc(at->device, bytes);
	if (t->weights) {
		at->backend->upload(at->device, t->weights, OTP_F32, read.row, t->params->elements);
		at->backend->wait(at->device);
	}
	otp_free(read.row);
	return t->weights ||
	       otp_backend_fail_memory(at->backend, at->device, bytes, "the generator's weights", err);
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
	t->path = otp_generator_path(path, err);
	bool ok = t->path && load(t, t->path, err) && make_sampler(t, err);
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

/* own: pictures keep their sizes. */
static bool prepare(const otp_translator *t, otp_dataset *d, otp_side side, const char *spec, bool own,
		    otp_error *err)
{
	otp_preprocessing how =
	    side == OTP_TARGET ? otp_preprocessing_of_target(&t->preprocessing) : t->preprocessing;
	int threads = otp_pool_workers(t->runtime->pool);
	bool vectors = otp_dataset_describe(d).kind == OTP_DATA_VECTORS;
	if (vectors != t->arch.vectors)
		return otp_fail(err, spec, "holds %s, the model translates %s",
				vectors ? "vectors" : "images", t->arch.vectors ? "vectors" : "images");
	if (!(own ? otp_dataset_prepare_own : otp_dataset_prepare)(d, &how, t->arch.c, threads, err))
		return false;
	otp_dataset_info info = otp_dataset_describe(d);
	if (!own && (info.h != t->arch.h || info.w != t->arch.w || info.c != t->arch.c))
		return otp_fail(err, spec, "holds samples of %dx%dx%d, the model takes %dx%dx%d", info.w,
				info.h, info.c, t->arch.w, t->arch.h, t->arch.c);
	return otp_dataset_sieve(d, threads, err);
}

/* Leaves what the training withheld of its data; of a set that is generated with an end, what lies beyond. */
static bool leave_withheld(const otp_translator *t, otp_dataset *d, const otp_data_facts *f, otp_error *err)
{
	otp_dataset_info info = otp_dataset_describe(d);
	if (info.listed != f->withheld_of && f->withheld)
		return otp_fail(err, f->spec,
				"holds %lld samples, %lld when %s was trained: which of them were withheld "
				"cannot be told; expected --source and --target",
				(long long)info.listed, (long long)f->withheld_of, t->path);
	if (f->withheld || (info.listed == 0 && info.count))
		otp_dataset_withhold(d, t->facts.seed, f->withheld ? f->withheld : 1);
	if (f->withheld)
		otp_dataset_only_withheld(d);
	return true;
}

static otp_dataset *open_set(const otp_translator *t, otp_side side, const char *spec,
			     const otp_data_facts *held, bool own, otp_error *err)
{
	otp_dataset *d = otp_dataset_open(spec, t->facts.seed, err);
	if (d && (!held || leave_withheld(t, d, held, err)) && prepare(t, d, side, spec, own, err))
		return d;
	otp_dataset_close(d);
	return NULL;
}

otp_dataset *otp_translator_open_data(const otp_translator *t, otp_side side, const char *spec,
				      otp_error *err)
{
	return open_set(t, side, spec, NULL, false, err);
}

otp_dataset *otp_translator_open_side(const otp_translator *t, otp_side side, bool *held_out, otp_error *err)
{
	const otp_data_facts *f = side == OTP_TARGET ? &t->facts.target : &t->facts.source;
	otp_dataset *d = open_set(t, side, f->test ? f->test : f->spec, f->test ? NULL : f, false, err);
	*held_out = f->test || f->withheld || (d && otp_dataset_describe(d).fresh);
	return d;
}

otp_dataset *otp_translator_open_pictures(const otp_translator *t, const char *spec, otp_error *err)
{
	OTP_ASSERT(!t->arch.vectors, "pictures for a model of vectors");
	return open_set(t, OTP_SOURCE, spec, NULL, true, err);
}

void otp_translator_run(otp_translator *t, const float *x, int64_t n, int samples, uint64_t seed, float *y)
{
	size_t floats = (size_t)t->sample_floats;
	int64_t all = n * samples, round = otp_sampler_round(t->sampler);
	for (int64_t first = 0, count; first < all; first += count) {
		count = all - first < round ? all - first : round;
		for (int64_t i = 0; i < count; i++) {
			const float *given = x + (size_t)((first + i) / samples) * floats;
			float *xi = t->inputs + (size_t)i * floats;
			if (t->preprocessing.grey)
				otp_luminance_spread(given, floats / 3, xi);
			else
				memcpy(xi, given, floats * sizeof *xi);
			uint64_t key = XXH3_64bits_withSeed(xi, floats * sizeof *xi, seed);
			t->streams[i] = otp_stream_make(key, (uint32_t)((first + i) % samples), 0);
		}
		otp_sampler_run(t->sampler, t->inputs, t->streams, count, t->facts.sigma,
				y + (size_t)first * floats, NULL);
	}
}
