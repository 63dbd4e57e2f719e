/* cuda_graphs.c: every kind of convolution of the networks, and attention and its
 * adjoint, as a cuDNN operation graph, finalised, and its engines counted; and
 * plans for a GPU that is only described. (Without even that, heuristics of cuDNN
 * 9.19 divide by zero.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cuda/dnn.h"
#include "planning/gpu.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* The linker puts these before cuDNN's. */
static struct {
	int made, destroyed, failing; /* which one is refused; 0: none */
} descriptors;

cudnnStatus_t __real_cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
						  cudnnBackendDescriptor_t *d);
cudnnStatus_t __real_cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d);
cudnnStatus_t __wrap_cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
						  cudnnBackendDescriptor_t *d);
cudnnStatus_t __wrap_cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d);

cudnnStatus_t __wrap_cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
						  cudnnBackendDescriptor_t *d)
{
	if (descriptors.failing && descriptors.made + 1 == descriptors.failing)
		return CUDNN_STATUS_ALLOC_FAILED;
	descriptors.made++;
	return __real_cudnnBackendCreateDescriptor(type, d);
}

cudnnStatus_t __wrap_cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d)
{
	assert_non_null(d);
	descriptors.destroyed++;
	return __real_cudnnBackendDestroyDescriptor(d);
}

static bool engine_allowed(const otp_dnn_graph *g, bool rounds, int64_t index)
{
	cudnnBackendDescriptor_t engine, whole = otp_dnn_graph_whole(g);
	bool compiles;
	CUDNN_CHECK(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine));
	CUDNN_CHECK(cudnnBackendSetAttribute(engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH,
					     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &whole));
	CUDNN_CHECK(
	    cudnnBackendSetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &index));
	bool good = cudnnBackendFinalize(engine) == CUDNN_STATUS_SUCCESS &&
		    otp_dnn_engine_allowed(engine, rounds, &compiles);
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(engine));
	return good;
}

static int64_t count_engines(const otp_dnn_graph *g, bool rounds)
{
	int64_t found = 0, engines = 0, good = 0;
	CUDNN_CHECK(cudnnBackendGetAttribute(otp_dnn_graph_whole(g),
					     CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT, CUDNN_TYPE_INT64,
					     1, &found, &engines));
	for (int64_t i = 0; i < engines; i++)
		good += engine_allowed(g, rounds, i);
	return good;
}

/* Of the engines for such graphs; whether one runs on a GPU, only a GPU says. */
static int64_t count_allowed(otp_dnn_conv conv)
{
	otp_dnn_graph g;
	assert_true(otp_dnn_graph_init(&g, &conv, NULL));
	int64_t good = count_engines(&g, otp_dnn_rounds(&conv));
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
				/* Without a GPU an older cuDNN (9.1) lists none for bfloat16. */
				assert_true(engines > 0 ||
					    (way >= 2 && cudnnGetVersion() < OTP_GPU_DESCRIBED_SINCE));
				least = engines < least ? engines : least;
				most = engines > most ? engines : most;
				graphs++;
			}
	printf("%d operation graphs finalised, with %lld to %lld allowed engines each\n", graphs,
	       (long long)least, (long long)most);
}

/* What the networks have after a convolution. Where no engine does it in the convolution's kernel, a launch
 * of our own does. */
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
			printf("%s, %s to %s: finalised, with %lld to %lld allowed engines\n",
			       epilogues[e].name,
			       way == 0	  ? "float32"
			       : way == 1 ? "TF32"
					  : "bfloat16",
			       way == 3 ? "bfloat16" : "float32", (long long)least, (long long)most);
		}
}

static cudnnBackendDescriptor_t describe_gpu(void)
{
	if (cudnnGetVersion() < OTP_GPU_DESCRIBED_SINCE)
		skip();
	cudnnBackendDescriptor_t gpu = otp_describe_gpu(OTP_H100, sizeof OTP_H100);
	assert_non_null(gpu);
	return gpu;
}

static bool plan_is_built(cudnnBackendDescriptor_t gpu, cudnnBackendDescriptor_t config)
{
	cudnnBackendDescriptor_t plan = NULL;
	CUDNN_CHECK(cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan));
	CUDNN_CHECK(cudnnBackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
					     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config));
	CUDNN_CHECK(cudnnBackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
					     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &gpu));
	bool good = cudnnBackendFinalize(plan) == CUDNN_STATUS_SUCCESS;
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(plan));
	return good;
}

/* Every engine before any is there again, each with its knobs but once: what is timed is not one engine
 * alone. */
static void check_turns(const otp_dnn_candidate *list, int count)
{
	int turn[OTP_DNN_MOST_CANDIDATES];
	for (int i = 0; i < count; i++) {
		turn[i] = 0;
		for (int j = 0; j < i; j++) {
			turn[i] += list[j].engine == list[i].engine;
			assert_false(list[j].engine == list[i].engine &&
				     list[j].adjustment == list[i].adjustment);
		}
		assert_true(i == 0 || turn[i - 1] <= turn[i]);
	}
}

/* Candidates that need no compiling (which takes a driver), of whose plans the first is built. */
static int count_candidates(cudnnBackendDescriptor_t gpu, otp_dnn_conv conv)
{
	otp_dnn_graph g;
	otp_dnn_candidate list[OTP_DNN_MOST_CANDIDATES];
	assert_true(otp_dnn_graph_init(&g, &conv, NULL));
	g.described = gpu;
	int count = otp_dnn_candidates(&g, otp_dnn_rounds(&conv), false, list);
	check_turns(list, count);
	if (count)
		assert_true(plan_is_built(gpu, list[0].config));
	otp_dnn_drop_candidates(list, count);
	otp_dnn_graph_free(&g);
	return count;
}

/* Each convolution in float32, in TF32 and in bfloat16. Of bfloat16 operands with a float32 result it is only
 * said: cuDNN 9.19 has none, and conv.c then converts a bfloat16 result. */
static void test_described_gpu_has_plans(void **state)
{
	(void)state;
	static const char *const names[] = {"float32", "TF32", "bfloat16 to float32", "bfloat16"};
	cudnnBackendDescriptor_t gpu = describe_gpu();
	for (int way = 0; way < WAYS; way++) {
		int with = 0, all = 0;
		for (int k = 0; k < SIZE_COUNT; k++)
			for (int direction = OTP_DNN_FORWARD; direction <= OTP_DNN_WGRAD; direction++) {
				otp_dnn_conv conv = with_types(conv_of(k, (otp_dnn_direction)direction), way);
				with += count_candidates(gpu, conv) > 0;
				all++;
			}
		printf("%s: %d of %d have engines that need no compiling\n", names[way], with, all);
		if (way != 2)
			assert_int_equal(with, all);
	}
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(gpu));
}

static int count_wgrad_candidates(cudnnBackendDescriptor_t gpu)
{
	int count = 0;
	for (int way = 0; way < WAYS; way++)
		for (int k = 0; k < SIZE_COUNT; k++)
			count += count_candidates(gpu, with_types(conv_of(k, OTP_DNN_WGRAD), way));
	return count;
}

/* Sums by atomic additions: some of the weight gradient's engines make them. */
static void test_nondeterminism_is_asked_for(void **state)
{
	(void)state;
	cudnnBackendDescriptor_t gpu = describe_gpu();
	int repeatable = count_wgrad_candidates(gpu);
	setenv("OTPLAN_CUDA_NONDETERMINISTIC", "1", 1);
	int all = count_wgrad_candidates(gpu);
	setenv("OTPLAN_CUDA_NONDETERMINISTIC", "0", 1);
	assert_int_equal(count_wgrad_candidates(gpu), repeatable);
	unsetenv("OTPLAN_CUDA_NONDETERMINISTIC");
	printf("weight gradients: %d candidates, %d with nondeterministic ones\n", repeatable, all);
	assert_true(all > repeatable);
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(gpu));
}

/* Its engines compile when a plan is built, which takes a driver: without one, heuristics propose none. */
static int count_proposed(const otp_dnn_graph *g, bool rounds)
{
	otp_dnn_candidate list[OTP_DNN_MOST_CANDIDATES];
	int count = otp_dnn_candidates(g, rounds, true, list);
	otp_dnn_drop_candidates(list, count);
	return count;
}

/* cuDNN 9.19 has no plan for the adjoint of more channels. */
enum { MOST_ADJOINT_CHANNELS = 256 };

static void check_attention(otp_dnn_attention_pass pass, cudnnBackendDescriptor_t gpu, bool driver)
{
	static const char *const names[] = {"forward", "forward, statistics kept", "adjoint"};
	static const otp_dnn_attention calls[] = {
	    {.batch = 1, .tokens = 256, .channels = 8},	   {.batch = 2, .tokens = 256, .channels = 64},
	    {.batch = 64, .tokens = 64, .channels = 128},  {.batch = 3, .tokens = 225, .channels = 40},
	    {.batch = 16, .tokens = 256, .channels = 256}, {.batch = 16, .tokens = 256, .channels = 512},
	    {.batch = 4, .tokens = 4096, .channels = 96}};
	enum { COUNT = sizeof calls / sizeof *calls };
	int64_t allowed = 0;
	int proposed = 0;
	for (int k = 0; k < COUNT; k++) {
		otp_dnn_attention call = calls[k];
		otp_dnn_graph g;
		call.pass = pass;
		assert_true(otp_dnn_attention_init(&g, &call, NULL));
		g.described = gpu;
		int64_t engines = count_engines(&g, true);
		int compiled = count_proposed(&g, true);
		bool known = pass != OTP_DNN_ATTENTION_ADJOINT || call.channels <= MOST_ADJOINT_CHANNELS;
		assert_true(engines > 0);
		assert_true(compiled > 0 || !known || !driver);
		assert_int_equal(count_proposed(&g, false), 0); /* all multiply on tensor cores */
		allowed += engines;
		proposed += compiled;
		otp_dnn_graph_free(&g);
	}
	printf("attention, %s: %d graphs finalised, %lld allowed engines, %d plans proposed %s a driver\n",
	       names[pass], COUNT, (long long)allowed, proposed, driver ? "with" : "without");
}

static void test_attention_is_built(void **state)
{
	(void)state;
	cudnnBackendDescriptor_t gpu = describe_gpu();
	void *driver = dlopen("libcuda.so.1", RTLD_LAZY);
	for (int pass = OTP_DNN_ATTENTION_FORWARD; pass <= OTP_DNN_ATTENTION_ADJOINT; pass++)
		check_attention((otp_dnn_attention_pass)pass, gpu, driver != NULL);
	if (driver)
		dlclose(driver);
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(gpu));
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

/* Whichever descriptor cannot be made: an error that says it, and none is left. */
static void test_missing_descriptors_are_noted(void **state)
{
	(void)state;
	otp_dnn_conv conv = conv_of(0, OTP_DNN_FORWARD);
	conv.after = (otp_dnn_epilogue){.bias = true, .scale = 1, .slope = 0.2f};
	for (int failing = 1;; failing++) {
		otp_dnn_graph g;
		otp_cuda_note note;
		otp_error err = {0};
		memset(&descriptors, 0, sizeof descriptors);
		descriptors.failing = failing;
		otp_cuda_start_note(&note);
		bool good = otp_dnn_graph_init(&g, &conv, NULL);
		if (good)
			otp_dnn_graph_free(&g);
		assert_int_equal(otp_cuda_end_note(&note, &err), good);
		assert_int_equal(descriptors.made, descriptors.destroyed);
		assert_int_equal(err.exit_code, good ? 0 : OTP_EXIT_FAILED);
		assert_int_equal(err.out_of_memory, !good);
		if (!good) {
			assert_non_null(strstr(err.text, "cudnnBackendCreateDescriptor"));
			continue;
		}
		assert_true(failing > 8);
		break;
	}
	memset(&descriptors, 0, sizeof descriptors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_graphs_are_built),
					   cmocka_unit_test(test_missing_descriptors_are_noted),
					   cmocka_unit_test(test_epilogues_are_built),
					   cmocka_unit_test(test_described_gpu_has_plans),
					   cmocka_unit_test(test_nondeterminism_is_asked_for),
					   cmocka_unit_test(test_attention_is_built),
					   cmocka_unit_test(test_wrong_shapes_are_refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
