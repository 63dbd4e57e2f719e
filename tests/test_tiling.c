/* Pictures of any size through a model of one: tiles, their windows, their noise, and what comes of them. */
#include "common/data_files.h"
#include "config/settings.h"
#include "model/pictures.h"
#include "model/tiling.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include <cmocka.h>

enum { SIZE = 8, SEED = 5 };
static const double SIGMA = 0.3;

/* ---- one axis ------------------------------------------------------------------ */

static void check_axis(int length, int tile, int stride)
{
	otp_tiling t = otp_tiling_of(length, tile, stride);
	double *sum = calloc((size_t)length, sizeof *sum);
	float *weight = calloc((size_t)tile, sizeof *weight);
	for (int i = 0; i < t.count; i++) {
		int start = otp_tiling_start(&t, i), before = i ? otp_tiling_start(&t, i - 1) : 0;
		assert_true(start >= 0 && start + tile <= length);
		assert_true(i == 0 ? start == 0 : start > before && start - before <= tile - tile / 2);
		assert_true(i == t.count - 1 || t.step % stride || start % stride == 0);
		otp_tiling_window(&t, i, weight);
		for (int x = 0; x < tile; x++) {
			assert_true(weight[x] > 0 && weight[x] <= 1);
			sum[start + x] += (double)weight[x];
		}
	}
	assert_int_equal(otp_tiling_start(&t, t.count - 1), length - tile);
	/* At most four windows meet, each rounded to half an ulp of a value below 1. */
	for (int x = 0; x < length; x++)
		assert_true(fabs(sum[x] - 1) <= 4 * ldexp(1, -25));
	free(sum);
	free(weight);
}

static void windows_sum_to_one(void **state)
{
	(void)state;
	for (int tile = 1; tile <= 64; tile *= 2)
		for (int stride = 1; stride <= tile; stride *= 2)
			for (int length = tile; length <= 5 * tile + 3; length++)
				check_axis(length, tile, stride);
	otp_tiling whole = otp_tiling_of(SIZE, SIZE, 2);
	float weight[SIZE];
	otp_tiling_window(&whole, 0, weight);
	for (int x = 0; x < SIZE; x++)
		assert_true(whole.count == 1 && weight[x] == 1);
}

/* A seam is a step of a window from one pixel to the next. */
static void windows_are_smooth(void **state)
{
	(void)state;
	otp_tiling t = otp_tiling_of(300, 64, 8);
	float weight[64];
	for (int i = 0; i < t.count; i++) {
		otp_tiling_window(&t, i, weight);
		for (int x = 1; x < 64; x++)
			assert_true(fabsf(weight[x] - weight[x - 1]) < 0.1f);
		assert_true(i == 0 || weight[0] < 0.01f);
		assert_true(i == t.count - 1 || weight[63] < 0.01f);
	}
}

/* ---- a model ------------------------------------------------------------------- */

/* random: every parameter; else as training begins, the last layer zero: what comes out is x + SIGMA eps. */
static void write_model(const char *path, bool random)
{
	otp_error err = {0};
	otp_config c;
	otp_arch arch;
	otp_config_defaults(&c);
	c.width = 4;
	c.blocks = 1;
	c.condition_noise = false;
	strcpy(c.multipliers, "1,1");
	strcpy(c.attention, "none");
	assert_true(otp_settings_arch(&c, false, SIZE, SIZE, 3, &arch, &err));
	otp_params *params = otp_params_new();
	otp_graph_free(otp_sample_build(&arch, params, 0, 1, false).graph);
	float *row = otp_calloc((size_t)params->elements, sizeof *row);
	otp_params_init(params, 3, OTP_TRANSPORT, row);
	for (int64_t i = 0; random && i < params->elements; i++)
		row[i] = 0.4f *
			 (otp_random_uniform(otp_stream_make(3, 0, 0), OTP_PURPOSE_INIT, (uint32_t)i) - 0.5f);
	otp_stored s = {.settings = otp_strdup(""), .arch = arch, .sigma = SIGMA, .rate_factor = 1};
	for (int side = 0; side < 2; side++)
		*(side ? &s.target : &s.source) =
		    (otp_data_facts){.spec = otp_strdup("synth:digits"),
				     .format = otp_strdup("synth"),
				     .digest_kind = otp_strdup("name-and-seed-1")};
	if (!otp_model_write(path, &s, params, row, &err))
		fail_msg("%s", err.text);
	otp_stored_free(&s);
	otp_free(row);
	otp_params_free(params);
}

/* What came, in the order in which it came. */
typedef struct results {
	otp_image each[64];
	int64_t index[64];
	int k[64], count;
	double done;
} results;

static bool keep(void *context, int64_t index, int k, const otp_image *made, otp_error *err)
{
	(void)err;
	results *r = context;
	otp_image *to = &r->each[r->count];
	*to = *made;
	to->owned = memcpy(otp_calloc(otp_image_values(made), 1), made->u8, otp_image_values(made));
	to->u8 = to->owned;
	r->index[r->count] = index;
	r->k[r->count++] = k;
	return true;
}

static bool note(void *context, double done, otp_error *err)
{
	(void)err;
	results *r = context;
	assert_true(done >= r->done && done <= 1);
	r->done = done;
	return true;
}

typedef struct fixture {
	otp_runtime runtime;
	otp_translator t;
	otp_dataset *set;
	results out;
} fixture;

static void open_fixture(fixture *f, bool random, const char *set, int threads)
{
	otp_error err = {0};
	memset(f, 0, sizeof *f);
	write_model(at("model.h5"), random);
	assert_true(otp_runtime_open("cpu", 0, "f32", threads, &f->runtime, &err));
	assert_true(otp_translator_open(at("model.h5"), &f->runtime, &f->t, &err));
	f->set = otp_translator_open_pictures(&f->t, at(set), &err);
	assert_non_null(f->set);
}

static void translate(fixture *f, otp_fit fit, int samples)
{
	otp_error err = {0};
	otp_pictures job = {.set = f->set,
			    .fit = fit,
			    .samples = samples,
			    .seed = SEED,
			    .put = keep,
			    .go_on = note,
			    .context = &f->out};
	assert_true(otp_pictures_translate(&f->t, &job, &err));
	assert_true(f->out.done == 1);
}

static void close_fixture(fixture *f)
{
	for (int i = 0; i < f->out.count; i++)
		otp_image_free(&f->out.each[i]);
	otp_dataset_close(f->set);
	otp_translator_close(&f->t);
	otp_runtime_close(&f->runtime);
}

/* ---- noise --------------------------------------------------------------------- */

static void noise_belongs_to_a_place(void **state)
{
	(void)state;
	enum { FLOATS = SIZE * SIZE * 3 };
	fixture f;
	float x[FLOATS] = {0}, y[FLOATS], drawn[FLOATS], whole[FLOATS], parts[FLOATS];
	otp_stream stream = otp_stream_make(17, 2, 0);
	put_png("dot.png", 20, SIZE, SIZE, 3);
	open_fixture(&f, false, "dot.png", 1);
	otp_sampler_run(f.t.sampler, x, &stream, 1, SIGMA, y, drawn);
	otp_smoothing_noise(stream, 0, FLOATS, whole);
	/* What a program draws, but for the rounding of its own instructions: sine and radius are right to
	 * 2e-7. */
	for (int i = 0; i < FLOATS; i++)
		assert_true(fabsf(whole[i] - drawn[i]) <= 2e-7f * 6);
	for (uint32_t first = 0, count; first < FLOATS; first += count) {
		count = first % 7 + 1 < FLOATS - first ? first % 7 + 1 : FLOATS - first;
		otp_smoothing_noise(stream, first, count, parts + first);
	}
	assert_memory_equal(parts, whole, sizeof whole);
	close_fixture(&f);
}

/* ---- pictures -------------------------------------------------------------------- */

/* The identity with noise: tiles that saw other noise where they overlap would average it away. */
static void tiles_agree(void **state)
{
	(void)state;
	enum { H = 21, W = 38, VALUES = H * W * 3 };
	static float x[VALUES], eps[VALUES];
	otp_error err = {0};
	fixture f;
	otp_image picture;
	put_png("wide.png", 20, H, W, 3);
	assert_true(otp_image_read(at("wide.png"), &picture, &err));
	open_fixture(&f, false, "wide.png", 2);
	translate(&f, OTP_FIT_TILE, 2);
	assert_int_equal(f.out.count, 2);
	otp_image_floats(picture.u8, VALUES, x);
	for (int k = 0; k < 2; k++) {
		const otp_image *made = &f.out.each[k];
		uint64_t key = XXH3_64bits_withSeed(x, sizeof x, SEED);
		assert_true(made->h == H && made->w == W && made->c == 3);
		otp_smoothing_noise(otp_stream_make(key, (uint32_t)k, 0), 0, VALUES, eps);
		int most = 0;
		for (int i = 0; i < VALUES; i++) {
			int off = abs(made->u8[i] - otp_image_byte(x[i] + (float)SIGMA * eps[i]));
			most = off > most ? off : most;
		}
		assert_true(most <=
			    1); /* the sum of weighted tiles is rounded: a byte may fall to the other side */
	}
	otp_image_free(&picture);
	close_fixture(&f);
}

/* A picture of the model's size is what the library and every earlier version make of it. */
static void the_models_size_keeps_its_bits(void **state)
{
	(void)state;
	enum { FLOATS = SIZE * SIZE * 3, SAMPLES = 3 };
	otp_error err = {0};
	float x[FLOATS], y[SAMPLES * FLOATS];
	otp_image picture;
	put_png("same.png", 20, SIZE, SIZE, 3);
	assert_true(otp_image_read(at("same.png"), &picture, &err));
	otp_image_floats(picture.u8, FLOATS, x);
	otp_image_free(&picture);
	for (otp_fit fit = OTP_FIT_RESIZE; fit <= OTP_FIT_TILE; fit++) {
		fixture f;
		open_fixture(&f, true, "same.png", 2);
		translate(&f, fit, SAMPLES);
		otp_translator_run(&f.t, x, 1, SAMPLES, SEED, y);
		for (int i = 0; i < SAMPLES * FLOATS; i++)
			assert_int_equal(f.out.each[i / FLOATS].u8[i % FLOATS], otp_image_byte(y[i]));
		close_fixture(&f);
	}
}

/* Sizes of both kinds, more than a round: alone, among others and on other threads, the same bytes. */
static void a_picture_depends_on_nothing_around_it(void **state)
{
	(void)state;
	fixture all, alone;
	folder("many");
	for (int i = 0; i < 12; i++) {
		char name[32];
		snprintf(name, sizeof name, "many/%02d.png", i);
		put_png(name, 7 * i, SIZE + i % 3 * 5, SIZE + i % 4 * 3, i % 5 ? 3 : 4);
	}
	for (otp_fit fit = OTP_FIT_RESIZE; fit <= OTP_FIT_TILE; fit++) {
		open_fixture(&all, true, "many", 2);
		translate(&all, fit, 3);
		assert_int_equal(all.out.count, 36);
		for (int i = 0; i < 12; i += 5) {
			char name[32];
			snprintf(name, sizeof name, "many/%02d.png", i);
			open_fixture(&alone, true, name, 1);
			translate(&alone, fit, 2);
			for (int j = 0; j < all.out.count; j++)
				if (all.out.index[j] == i && all.out.k[j] < 2) {
					const otp_image *a = &all.out.each[j],
							*b = &alone.out.each[all.out.k[j]];
					assert_true(a->h == b->h && a->w == b->w && a->c == b->c);
					assert_memory_equal(a->u8, b->u8, otp_image_values(a));
				}
			close_fixture(&alone);
		}
		close_fixture(&all);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(windows_sum_to_one),
	    cmocka_unit_test(windows_are_smooth),
	    cmocka_unit_test(noise_belongs_to_a_place),
	    cmocka_unit_test(tiles_agree),
	    cmocka_unit_test(the_models_size_keeps_its_bits),
	    cmocka_unit_test(a_picture_depends_on_nothing_around_it),
	};
	return cmocka_run_group_tests(tests, make_root, remove_root);
}
