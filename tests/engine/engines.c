#include "engines.h"

#include "common/places.h"
#include "pictures/image.h"

#include <string.h>

/* ---- a backend that counts ---- */

struct seen seen;

static void *counted_alloc(otp_device *d, size_t bytes)
{
	seen.allocs++;
	return seen.inner->alloc(d, bytes);
}

static void counted_release(otp_device *d, void *memory)
{
	seen.releases++;
	seen.inner->release(d, memory);
}

static void counted_upload(otp_device *d, void *dst, otp_type type, const void *src, int64_t count)
{
	seen.uploads++;
	seen.inner->upload(d, dst, type, src, count);
}

static void counted_download(otp_device *d, void *dst, otp_type type, const void *src, int64_t count)
{
	seen.downloads++;
	seen.inner->download(d, dst, type, src, count);
}

static void note_program(const otp_call *calls)
{
	for (int i = 0; i < seen.program_count; i++)
		if (seen.programs[i] == calls)
			return;
	assert_true(seen.program_count < MOST_PROGRAMS);
	seen.programs[seen.program_count++] = calls;
}

static void counted_launch(otp_device *d, const otp_call *calls, int count, void **token)
{
	seen.launches++;
	note_program(calls);
	seen.inner->launch(d, calls, count, token);
}

static void counted_wait(otp_device *d)
{
	seen.waits++;
	seen.inner->wait(d);
}

void forget_counts(void)
{
	seen.allocs = seen.releases = seen.uploads = seen.downloads = seen.launches = seen.waits = 0;
}

void open_work(work *w, const char *name, int threads)
{
	otp_error err = {0};
	seen.inner = find_backend(name, &err);
	assert_non_null(seen.inner);
	w->backend = *seen.inner;
	w->backend.alloc = counted_alloc;
	w->backend.release = counted_release;
	w->backend.upload = counted_upload;
	w->backend.download = counted_download;
	w->backend.wait = counted_wait;
	if (threads == 1)
		w->backend.launch = counted_launch;
	w->place = (otp_runtime){.backend = &w->backend, .pool = otp_pool_new(threads)};
	assert_true(w->backend.open(0, &w->place.device, &err));
	seen.program_count = 0;
}

/* ---- engines and samples ---- */

const otp_arch IMAGES = {.h = SIZE,
			 .w = SIZE,
			 .c = 3,
			 .condition_noise = true,
			 .noise_features = 4,
			 .residual = true,
			 .patch = 1,
			 .width = 8,
			 .levels = 2,
			 .multipliers = {1, 1},
			 .blocks = 1,
			 .embedding = 8,
			 .potential_width = 8,
			 .potential_levels = 2,
			 .potential_multipliers = {1, 1}};
const otp_arch POINTS = {.vectors = true,
			 .h = 1,
			 .w = 1,
			 .c = 2,
			 .condition_noise = true,
			 .residual = true,
			 .width = 4,
			 .blocks = 1,
			 .sharpness = 1,
			 .potential_width = 4,
			 .potential_blocks = 1,
			 .potential_sharpness = 1};

otp_engine *new_engine(work *w, const otp_arch *arch, int parts, otp_resident source, otp_resident target)
{
	otp_engine_settings settings = {.objective = {.arch = *arch,
						      .tau = 0.1,
						      .noise_pairs = true,
						      .g = OTP_G_SOFTPLUS,
						      .resident = {source, target}},
					.batch = BATCH,
					.parts = parts,
					.r1_used = true,
					.plain_used = true,
					.beta1 = 0.5,
					.beta2 = 0.9};
	otp_engine *e = otp_engine_new(&w->place, &settings);
	otp_engine_init(e, 1);
	return e;
}

static void fill_side(side *s, int stored, uint32_t which)
{
	s->stored = stored;
	for (int i = 0; i < ROWS * SIZE * SIZE * stored; i++)
		s->bytes[i] =
		    (uint8_t)(otp_random_u32(otp_stream_make(5, which, 0), OTP_PURPOSE_SYNTH, (uint32_t)i) >>
			      24);
}

/* The picks of a step, and the floats that the host's way makes of them. */
void pick(side *s, uint32_t which, uint32_t draw)
{
	for (uint32_t i = 0; i < BATCH; i++) {
		s->picks[i] =
		    otp_random_u32(otp_stream_make(6, which, draw), OTP_PURPOSE_SYNTH, i) % (2 * ROWS);
		float row[SIZE * SIZE * 3], *to = s->values + (size_t)i * SIZE * SIZE * 3;
		size_t stored = (size_t)s->stored, each = SIZE * SIZE * stored;
		otp_image_floats(s->bytes + s->picks[i] / 2 * each, each, row);
		for (size_t pixel = 0; pixel < SIZE * SIZE; pixel++) {
			size_t x = pixel % SIZE, from = s->picks[i] % 2 ? pixel - x + SIZE - 1 - x : pixel;
			for (size_t c = 0; c < 3; c++)
				*to++ = row[from * stored + (stored == 1 ? 0 : c)];
		}
	}
}

static void load(otp_engine *e, otp_side which, const side *s)
{
	size_t bytes = (size_t)(SIZE * SIZE * s->stored), words = (size_t)otp_gather_words((int64_t)bytes);
	uint32_t *pictures = otp_calloc(ROWS * words, sizeof *pictures);
	for (size_t i = 0; i < ROWS; i++)
		memcpy(pictures + i * words, s->bytes + i * bytes, bytes);
	otp_engine_load(e, which, 0, 3, pictures); /* in two pieces */
	otp_engine_load(e, which, 3, ROWS - 3, pictures + 3 * words);
	otp_free(pictures);
}

otp_batch batch_of(const side *s, bool resident)
{
	return resident ? (otp_batch){.picks = s->picks} : (otp_batch){.values = s->values};
}

void open_setup(setup *s, work *w, int parts, bool resident)
{
	const otp_resident none = {0}, grey = {ROWS, 1}, colour = {ROWS, 3};
	fill_side(&s->source, 1, 0);
	fill_side(&s->target, 3, 1);
	s->resident = resident;
	s->e = new_engine(w, &IMAGES, parts, resident ? grey : none, resident ? colour : none);
	if (resident) {
		load(s->e, OTP_SOURCE, &s->source);
		load(s->e, OTP_TARGET, &s->target);
	}
}

otp_update update_at(int step)
{
	return (otp_update){.seed = 9,
			    .draw = (uint32_t)step,
			    .keep = 0.9,
			    .sigma = 0.5,
			    .rate = 1e-3,
			    .count = step + 1,
			    .ema = 0.9};
}

/* V, T, V with R1, T. */
void four_steps(setup *s, int step)
{
	for (int k = 0; k < 4; k++) {
		otp_update u = update_at(4 * step + k);
		u.count = 2 * step + k / 2 + 1;
		u.r1 = k == 2 ? 0.3 : 0;
		pick(&s->source, 0, u.draw);
		pick(&s->target, 1, u.draw);
		otp_batch x = batch_of(&s->source, s->resident), y = batch_of(&s->target, s->resident);
		if (k % 2)
			otp_engine_transport_step(s->e, x, &u);
		else
			otp_engine_potential_step(s->e, x, y, &u);
	}
}

void point_steps(otp_engine *e, int from, int to, otp_losses *read_each)
{
	const float x[BATCH * 2] = {0.1f, 0.2f, -0.4f, 0.9f, 0.3f, -0.7f, 0.5f, 0.6f, -0.2f, 0.8f};
	const otp_batch batch = {.values = x};
	for (int step = from; step < to; step++) {
		otp_update u = update_at(step);
		u.rate = 1e-5;
		u.r1 = step % 3 == 0 ? 0.2 : 0;
		if (step % 2)
			otp_engine_transport_step(e, batch, &u);
		else
			otp_engine_potential_step(e, batch, batch, &u);
		if (read_each)
			*read_each = otp_engine_losses(e);
	}
}

float *read_state(otp_engine *e, otp_network network, size_t *bytes)
{
	*bytes = (size_t)otp_engine_params(e, network)->elements * (size_t)otp_engine_rows(network) *
		 sizeof(float);
	float *values = otp_calloc(*bytes, 1);
	otp_engine_read(e, network, values);
	return values;
}

void assert_same_state(otp_engine *a, otp_engine *b)
{
	for (otp_network n = 0; n < OTP_NETWORKS; n++) {
		size_t bytes;
		float *one = read_state(a, n, &bytes), *other = read_state(b, n, &bytes);
		assert_memory_equal(one, other, bytes);
		otp_free(one);
		otp_free(other);
	}
	otp_losses one = otp_engine_losses(a), other = otp_engine_losses(b);
	assert_memory_equal(&one, &other, sizeof one);
}
