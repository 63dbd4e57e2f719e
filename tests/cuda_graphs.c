/* cuda_graphs.c: every kind of convolution of the networks as a cuDNN operation
 * graph, finalised, and its engines counted. Heuristics need a device: without
 * one cuDNN 9.19 divides by its number of multiprocessors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cuda/dnn.h"

#include <stdio.h>

/* image, kernel, stride, pad: 3 x 3, 1 x 1, patches, a kernel as large as the image, image channels in and
 * out */
static const struct {
	int n, h, w, in, out, k, stride, pad;
} sizes[] = {{16, 32, 32, 64, 64, 3, 1, 1},   {16, 64, 64, 3, 32, 3, 1, 1}, {16, 64, 64, 32, 3, 3, 1, 1},
	     {16, 32, 32, 64, 128, 1, 1, 0},  {8, 64, 64, 3, 64, 6, 2, 2},  {8, 64, 64, 3, 64, 12, 4, 4},
	     {4, 4, 4, 512, 1, 4, 1, 0},      {1, 1, 1, 1, 1, 1, 1, 0},	    {2, 7, 9, 5, 7, 3, 2, 1},
	     {8, 256, 256, 128, 128, 3, 1, 1}};
enum { SIZE_COUNT = sizeof sizes / sizeof *sizes };

static otp_dnn_conv conv_of(int k, otp_dnn_direction direction)
{
	int h = (sizes[k].h + 2 * sizes[k].pad - sizes[k].k) / sizes[k].stride + 1;
	int w = (sizes[k].w + 2 * sizes[k].pad - sizes[k].k) / sizes[k].stride + 1;
	return (otp_dnn_conv){.direction = direction,
			      .x = {sizes[k].n, sizes[k].h, sizes[k].w, sizes[k].in},
			      .w = {sizes[k].out, sizes[k].k, sizes[k].k, sizes[k].in},
			      .y = {sizes[k].n, h, w, sizes[k].out},
			      .stride = sizes[k].stride,
			      .pad = sizes[k].pad};
}

static bool engine_allowed(const otp_dnn_graph *g, const otp_dnn_conv *conv, int64_t index)
{
	cudnnBackendDescriptor_t engine, whole = otp_dnn_graph_whole(g);
	bool compiles;
	CUDNN_CHECK(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine));
	CUDNN_CHECK(cudnnBackendSetAttribute(engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH,
					     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &whole));
	CUDNN_CHECK(
	    cudnnBackendSetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &index));
	bool good = cudnnBackendFinalize(engine) == CUDNN_STATUS_SUCCESS &&
		    otp_dnn_engine_allowed(engine, conv, &compiles);
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(engine));
	return good;
}

/* Of the engines for such graphs; whether one runs on a GPU, only a GPU says. */
static int64_t count_allowed(otp_dnn_conv conv)
{
	otp_dnn_graph g;
	int64_t found = 0, engines = 0, good = 0;
	assert_true(otp_dnn_graph_init(&g, &conv, NULL));
	CUDNN_CHECK(cudnnBackendGetAttribute(otp_dnn_graph_whole(&g),
					     CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT, CUDNN_TYPE_INT64,
					     1, &found, &engines));
	for (int64_t i = 0; i < engines; i++)
		good += engine_allowed(&g, &conv, i);
	otp_dnn_graph_free(&g);
	return good;
}

/* float32, TF32, bfloat16 operands with either result. */
static otp_dnn_conv with_types(otp_dnn_conv conv, int way)
{
	conv.bf16_in = way >= 2;
	conv.bf16_out = way == 3;
	conv.tf32 = way == 1;
	return conv;
}
enum { WAYS = 4 };

static void test_graphs_are_built(void **state)
{
	(void)state;
	int graphs = 0;
	int64_t least = INT64_MAX, most = 0;
	for (int k = 0; k < SIZE_COUNT; k++)
		for (int direction = OTP_DNN_FORWARD; direction <= OTP_DNN_WGRAD; direction++)
			for (int way = 0; way < WAYS; way++) {
				int64_t engines =
				    count_allowed(with_types(conv_of(k, (otp_dnn_direction)direction), way));
				assert_true(engines > 0);
				least = engines < least ? engines : least;
				most = engines > most ? engines : most;
				graphs++;
			}
	printf("%d operation graphs finalised, with %lld to %lld allowed engines each\n", graphs,
	       (long long)least, (long long)most);
}

/* What the networks have after a convolution. Where no engine does it in the convolution's kernel, a launch of
 * our own does. */
static void test_epilogues_are_built(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		otp_dnn_epilogue after;
	} epilogues[] = {
	    {"bias", {.bias = true, .scale = 1, .slope = 1}},
	    {"bias, slope", {.bias = true, .scale = 1, .slope = 0.2f}},
	    {"bias, residual, scale", {.bias = true, .residual = true, .scale = 0.70710678f, .slope = 1}},
	    {"bias, bfloat16 residual, scale",
	     {.bias = true, .residual = true, .bf16_residual = true, .scale = 0.70710678f, .slope = 1}}};
	for (size_t e = 0; e < sizeof epilogues / sizeof *epilogues; e++)
		for (int way = 0; way < WAYS; way++) {
			int64_t least = INT64_MAX, most = 0;
			for (int k = 0; k < SIZE_COUNT; k++) {
				otp_dnn_conv conv = with_types(conv_of(k, OTP_DNN_FORWARD), way);
				conv.after = epilogues[e].after;
				int64_t engines = count_allowed(conv);
				least = engines < least ? engines : least;
				most = engines > most ? engines : most;
			}
			printf("%s, %s to %s: finalised, with %lld to %lld allowed engines\n", epilogues[e].name,
			       way == 0 ? "float32" : way == 1 ? "TF32" : "bfloat16",
			       way == 3 ? "bfloat16" : "float32", (long long)least, (long long)most);
		}
}

static void test_wrong_shapes_are_refused(void **state)
{
	(void)state;
	otp_dnn_conv conv = conv_of(0, OTP_DNN_FORWARD);
	conv.y.c++;
	otp_dnn_graph g;
	assert_false(otp_dnn_graph_init(&g, &conv, NULL));
	assert_int_equal(g.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_graphs_are_built),
					   cmocka_unit_test(test_epilogues_are_built),
					   cmocka_unit_test(test_wrong_shapes_are_refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
