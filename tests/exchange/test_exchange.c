/* exchange: what is written for other programs, against the reference backend, which computes in double. The
 * ONNX file is read back by protobuf-c and worked through by plain loops in double, so that both sides do the
 * same sums in another order: they agree to 1e-9 of the largest output, for 10^4 roundings of 2^-53 that a
 * network makes larger by less than 1,000.
 *
 *   test_exchange          the test
 *   test_exchange FOLDER   its files too, for scripts/check_onnx
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "onnx.h"
#include "common/places.h"
#include "core/file.h"
#include "data/write.h"
#include "exchange/exchange.h"
#include "graph/program.h"
#include "ot/objective.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SAMPLES = 3 };

static const char *folder; /* NULL: no files */

typedef struct exchange_case {
	const char *name;
	otp_arch arch;
	double sigma;
} exchange_case;

static const exchange_case CASES[] = {
    {"everything",
     {.h = 8,
      .w = 16,
      .c = 3,
      .condition_noise = true,
      .noise_features = 4,
      .noise_halvings = 2,
      .latent = 5,
      .embedding = 16,
      .residual = true,
      .patch = 2,
      .width = 16,
      .blocks = 1,
      .levels = 2,
      .multipliers = {1, 2},
      .attention_count = 1,
      .attention = {2},
      .filter = OTP_FILTER_FIR},
     0.2},
    {"box",
     {.h = 8,
      .w = 8,
      .c = 1,
      .embedding = 4,
      .latent = 2,
      .patch = 1,
      .width = 4,
      .blocks = 1,
      .levels = 2,
      .multipliers = {1, 1},
      .filter = OTP_FILTER_BOX},
     0.1},
    {"plain",
     {.h = 8,
      .w = 8,
      .c = 2,
      .patch = 1,
      .width = 4,
      .blocks = 2,
      .levels = 1,
      .multipliers = {1},
      .filter = OTP_FILTER_BOX},
     0},
    {"vectors",
     {.vectors = true,
      .h = 1,
      .w = 1,
      .c = 5,
      .condition_noise = true,
      .latent = 2,
      .residual = true,
      .width = 8,
      .blocks = 2,
      .sharpness = 2,
      .scale = 3},
     0.3},
    {"map",
     {.vectors = true, .h = 1, .w = 1, .c = 4, .residual = true, .width = 8, .blocks = 1, .sharpness = 1},
     0},
};
enum { CASE_COUNT = sizeof CASES / sizeof *CASES };

/* A generator with weights that leave nothing at zero. */
static otp_generator make_generator(const exchange_case *c)
{
	otp_generator g = {.facts = {.arch = c->arch, .sigma = c->sigma, .step = 7}};
	otp_stream stream = otp_stream_make(3, 1, 2);
	g.params = otp_sample_params(&c->arch);
	g.row = otp_calloc((size_t)g.params->elements, sizeof *g.row);
	otp_params_init(g.params, 5, OTP_TRANSPORT, g.row);
	for (int64_t i = 0; i < g.params->elements; i++)
		g.row[i] += 0.2f * (otp_random_uniform(stream, OTP_PURPOSE_INIT, (uint32_t)i) - 0.5f);
	return g;
}

/* What goes in, and what comes out of the reference; all as (n, h, w, c). */
typedef struct run {
	float *x, *eps;
	double *z, *y; /* z NULL: there is none */
} run;

static float *noise(int64_t count, uint32_t number)
{
	otp_stream stream = otp_stream_make(9, number, 0);
	float *values = otp_calloc((size_t)count, sizeof *values);
	for (int64_t i = 0; i < count; i++)
		values[i] = 3 * otp_random_uniform(stream, OTP_PURPOSE_EPS, (uint32_t)i) - 1.5f;
	return values;
}

/* The node in which z is drawn. */
static otp_node *find_latent(const otp_graph *g)
{
	for (int i = 0; i < otp_graph_size(g); i++)
		if (otp_graph_node(g, i)->op == OTP_OP_normal)
			return otp_graph_node(g, i);
	return NULL;
}

static run run_reference(const otp_generator *g)
{
	const otp_arch *a = &g->facts.arch;
	place at = place_open("ref");
	otp_sample_graph sample = otp_sample_build(a, g->params, 0, SAMPLES, true);
	otp_node *latent = find_latent(sample.graph),
		 *z = latent ? otp_output(latent, OTP_SPAN_NONE, 0) : NULL;
	void *spans[OTP_MAX_SPANS] = {0};
	void *weights =
	    at.backend->alloc(at.device, (size_t)g->params->elements * at.backend->element_bytes[OTP_F32]);
	at.backend->upload(at.device, weights, OTP_F32, g->row, g->params->elements);
	spans[otp_state_span(OTP_TRANSPORT)] = weights;
	otp_program *p =
	    otp_program_new(at.backend, at.device, sample.graph, spans, (otp_program_options){0});
	int64_t count = (int64_t)SAMPLES * otp_arch_values(a);
	run r = {.x = noise(count, 1), .eps = noise(count, 2)};
	float numbers[OTP_HYPER_COUNT] = {0};
	uint32_t words[SAMPLES * OTP_WORD_COUNT] = {0};
	for (int i = 0; i < SAMPLES; i++)
		words[i * OTP_WORD_COUNT] = (uint32_t)i + 1;
	numbers[OTP_NUMBER_KEEP] = (float)otp_smoothing_keep(g->facts.smoothing, g->facts.sigma);
	numbers[OTP_NUMBER_SIGMA] = (float)g->facts.sigma;
	otp_program_write(p, sample.in.x, r.x);
	otp_program_write(p, sample.in.eps, r.eps);
	otp_program_write(p, sample.in.numbers, numbers);
	otp_program_write(p, sample.in.words, words);
	otp_program_run(p);
	r.y = fetch(at.backend, at.device, otp_program_data(p, sample.y), count);
	r.z = z ? fetch(at.backend, at.device, otp_program_data(p, z), (int64_t)SAMPLES * a->latent) : NULL;
	otp_program_free(p);
	at.backend->release(at.device, weights);
	at.backend->close(at.device);
	otp_graph_free(sample.graph);
	return r;
}

/* ---- (n, h, w, c) and (n, c, h, w) ---- */

static double *turned(const double *from, otp_shape s)
{
	double *to = otp_calloc((size_t)otp_shape_count(s), sizeof *to), *next = to;
	for (int n = 0; n < s.n; n++)
		for (int c = 0; c < s.c; c++)
			for (int p = 0; p < s.h * s.w; p++)
				*next++ = from[(n * s.h * s.w + p) * s.c + c];
	return to;
}

static double *widened(const float *from, int64_t count)
{
	double *to = otp_calloc((size_t)count, sizeof *to);
	for (int64_t i = 0; i < count; i++)
		to[i] = from[i];
	return to;
}

/* ---- files for others ---- */

static void save(const char *name, const char *what, const double *values, int rank, const int64_t *dims)
{
	char path[512];
	otp_error err = {0};
	int64_t count = 1;
	if (!folder)
		return;
	for (int i = 0; i < rank; i++)
		count *= dims[i];
	float *narrow = otp_calloc((size_t)count, sizeof *narrow);
	for (int64_t i = 0; i < count; i++)
		narrow[i] = (float)values[i];
	snprintf(path, sizeof path, "%s/%s-%s.npy", folder, name, what);
	otp_array_file *f = otp_array_file_new(path, false, rank, dims, &err);
	assert_non_null(f);
	assert_true(otp_array_file_append(f, narrow, dims[0], &err) && otp_array_file_finish(f, &err));
	otp_free(narrow);
}

static void save_bytes(const char *name, const char *ending, const uint8_t *file, size_t bytes)
{
	char path[512];
	otp_error err = {0};
	snprintf(path, sizeof path, "%s/%s.%s", folder ? folder : "", name, ending);
	if (folder)
		assert_true(otp_file_write(path, file, bytes, &err));
}

/* ---- the tests ---- */

/* Gives an input of the file its values, if it has one of that name. */
static void give(onnx_run *onnx, const exchange_case *c, const char *name, const double *nhwc, otp_shape s)
{
	bool vector = s.h == 1 && s.w == 1;
	const int64_t dims[] = {s.n, s.c, s.h, s.w};
	double *values = turned(nhwc, s);
	if (onnx_takes(onnx, name)) {
		onnx_give(onnx, name, values, vector ? 2 : 4, dims);
		save(c->name, name, values, vector ? 2 : 4, dims);
	}
	otp_free(values);
}

static void check_outputs(const exchange_case *c, const onnx_run *onnx, const run *r, otp_shape s)
{
	int64_t count = otp_shape_count(s);
	double *want = turned(r->y, s), most = 0, error = 0;
	const int64_t dims[] = {s.n, s.c, s.h, s.w};
	const onnx_tensor *y = onnx_result(onnx, "y");
	assert_int_equal(onnx_count(y), count);
	for (int64_t i = 0; i < count; i++) {
		most = fmax(most, fabs(want[i]));
		error = fmax(error, fabs(want[i] - y->values[i]));
	}
	assert_true(most > 0.1);
	if (!(error <= 1e-9 * most))
		fail_msg("%s: outputs differ by %g, the largest is %g", c->name, error, most);
	save(c->name, "y", want, c->arch.vectors ? 2 : 4, dims);
	otp_free(want);
}

static void test_onnx(void **state)
{
	(void)state;
	for (int i = 0; i < CASE_COUNT; i++) {
		const exchange_case *c = &CASES[i];
		const otp_arch *a = &c->arch;
		otp_generator g = make_generator(c);
		run r = run_reference(&g);
		size_t bytes;
		otp_error err = {0};
		uint8_t *file = otp_exchange_onnx(&g, &bytes, &err);
		assert_non_null(file);
		save_bytes(c->name, "onnx", file, bytes);
		onnx_run *onnx = onnx_open(file, bytes);
		otp_shape s = otp_shape4(SAMPLES, a->h, a->w, a->c);
		double *x = widened(r.x, otp_shape_count(s)), *eps = widened(r.eps, otp_shape_count(s));
		give(onnx, c, "x", x, s);
		give(onnx, c, "eps", eps, s);
		assert_true(onnx_takes(onnx, "z") == (a->latent > 0));
		assert_true(onnx_takes(onnx, "eps") == (a->condition_noise || c->sigma > 0));
		if (r.z)
			give(onnx, c, "z", r.z, otp_shape4(SAMPLES, 1, 1, a->latent));
		onnx_work(onnx);
		check_outputs(c, onnx, &r, s);
		onnx_close(onnx);
		otp_free(x);
		otp_free(eps);
		otp_free(r.x);
		otp_free(r.eps);
		otp_free(r.y);
		otp_free(r.z);
		otp_free(file);
		otp_generator_free(&g);
	}
}

static void test_safetensors(void **state)
{
	(void)state;
	otp_generator g = make_generator(&CASES[0]);
	size_t bytes;
	otp_error err = {0};
	uint64_t length;
	uint8_t *file = otp_exchange_safetensors(&g, &bytes, &err);
	memcpy(&length, file, sizeof length);
	assert_true(length % 8 == 0 && length + 8 < bytes);
	cJSON *header = cJSON_ParseWithLength((char *)file + 8, length);
	assert_string_equal(
	    cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetObjectItem(header, "__metadata__"), "sigma")),
	    "0.2");
	const otp_param_info *p = otp_params_find(g.params, "down0.block0.conv1.weight");
	cJSON *one = cJSON_GetObjectItem(header, p->name), *at = cJSON_GetObjectItem(one, "data_offsets");
	cJSON *shape = cJSON_GetObjectItem(one, "shape");
	const int dims[] = {p->shape.n, p->shape.c, p->shape.h, p->shape.w};
	assert_int_equal(cJSON_GetArraySize(shape), 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(cJSON_GetArrayItem(shape, i)->valueint, dims[i]);
	const float *stored =
	    (const float *)(const void *)(file + 8 + length + cJSON_GetArrayItem(at, 0)->valueint);
	for (int o = 0; o < p->shape.n; o++)
		for (int c = 0; c < p->shape.c; c++)
			for (int k = 0; k < 9; k++)
				assert_true(*stored++ == g.row[p->offset + (o * 9 + k) * p->shape.c + c]);
	const otp_param_info *last = &g.params->info[g.params->count - 1];
	at = cJSON_GetObjectItem(cJSON_GetObjectItem(header, last->name), "data_offsets");
	assert_int_equal(8 + length + (size_t)cJSON_GetArrayItem(at, 1)->valuedouble, bytes);
	save_bytes("everything", "safetensors", file, bytes);
	cJSON_Delete(header);
	otp_free(file);
	otp_generator_free(&g);
}

int main(int argc, char **argv)
{
	folder = argc > 1 ? argv[1] : NULL;
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_onnx), cmocka_unit_test(test_safetensors)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
