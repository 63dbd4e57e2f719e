/* open: that whatever CUDA's libraries refuse while a device is opened or a product is bound is an error, and
 * that nothing stays open then. Their functions are made up here; which of their calls fails, a case says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cuda/capture.h"
#include "cuda/compile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
	int calls, failing; /* calls that may fail, and which of them does; 0: none */
	bool memory;	    /* it fails for want of memory */
	int open;	    /* things that were made and not destroyed */
} fake;

static bool fails(void) { return ++fake.calls == fake.failing; }

/* Made, unless it is this call's turn to fail. */
static bool makes(void **thing)
{
	static char something;
	if (fails())
		return false;
	*thing = &something;
	fake.open++;
	return true;
}

static void destroys(const void *thing)
{
	assert_non_null(thing);
	fake.open--;
}

/* ---- CUDA ---- */

static cudaError_t answer(bool good)
{
	return good ? cudaSuccess : fake.memory ? cudaErrorMemoryAllocation : cudaErrorUnknown;
}

const char *cudaGetErrorString(cudaError_t status) { return status == cudaSuccess ? "success" : "made-up"; }
cudaError_t cudaGetLastError(void) { return cudaSuccess; }

cudaError_t cudaGetDeviceCount(int *count)
{
	*count = 1;
	return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int index)
{
	(void)index;
	*properties = (struct cudaDeviceProp){.name = "made-up", .major = 9};
	return answer(!fails());
}

cudaError_t cudaSetDevice(int index)
{
	(void)index;
	return answer(!fails());
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
	(void)flags;
	return answer(makes((void **)stream));
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
	destroys(stream);
	return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
	(void)flags;
	return answer(makes((void **)event));
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
	destroys(event);
	return cudaSuccess;
}

cudaError_t cudaMallocHost(void **memory, size_t bytes)
{
	(void)bytes;
	return answer(makes(memory));
}

cudaError_t cudaFreeHost(void *memory)
{
	if (memory)
		destroys(memory);
	return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
	assert_non_null(stream);
	return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
	*version = 13010;
	return cudaSuccess;
}

/* ---- cuDNN and cuBLASLt ---- */

static cudnnStatus_t dnn(bool good)
{
	return good	     ? CUDNN_STATUS_SUCCESS
	       : fake.memory ? CUDNN_STATUS_ALLOC_FAILED
			     : CUDNN_STATUS_INTERNAL_ERROR;
}

static cublasStatus_t blas(bool good)
{
	return good	     ? CUBLAS_STATUS_SUCCESS
	       : fake.memory ? CUBLAS_STATUS_ALLOC_FAILED
			     : CUBLAS_STATUS_INTERNAL_ERROR;
}

const char *cudnnGetErrorString(cudnnStatus_t status)
{
	return status == CUDNN_STATUS_SUCCESS ? "success" : "made-up";
}
const char *cublasLtGetStatusString(cublasStatus_t status)
{
	return status == CUBLAS_STATUS_SUCCESS ? "success" : "made-up";
}
size_t cudnnGetVersion(void) { return 91900; }
size_t cublasLtGetVersion(void) { return 130100; }

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) { return dnn(makes((void **)handle)); }

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
	destroys(handle);
	return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
	assert_non_null(handle);
	assert_non_null(stream);
	return dnn(!fails());
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) { return blas(makes((void **)handle)); }

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
	destroys(handle);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type, uint64_t rows,
					  uint64_t columns, int64_t step)
{
	(void)type;
	(void)rows;
	(void)columns;
	(void)step;
	return blas(makes((void **)layout));
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
	destroys(layout);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
						cublasLtMatrixLayoutAttribute_t name, const void *value,
						size_t bytes)
{
	(void)name;
	(void)value;
	(void)bytes;
	assert_non_null(layout);
	return blas(!fails());
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *operation, cublasComputeType_t compute,
					cudaDataType_t scale)
{
	(void)compute;
	(void)scale;
	return blas(makes((void **)operation));
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation)
{
	destroys(operation);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
					      cublasLtMatmulDescAttributes_t name, const void *value,
					      size_t bytes)
{
	(void)name;
	(void)value;
	(void)bytes;
	assert_non_null(operation);
	return blas(!fails());
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
	return blas(makes((void **)preference));
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
	destroys(preference);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
						    cublasLtMatmulPreferenceAttributes_t name,
						    const void *value, size_t bytes)
{
	(void)name;
	(void)value;
	(void)bytes;
	assert_non_null(preference);
	return blas(!fails());
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
					      cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
					      cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
					      cublasLtMatmulPreference_t preference, int asked,
					      cublasLtMatmulHeuristicResult_t results[], int *found)
{
	(void)asked;
	(void)results;
	assert_true(handle && operation && a && b && c && d && preference);
	*found = !fails();
	return CUBLAS_STATUS_SUCCESS;
}

/* ---- what a device takes of the rest of the plugin, and of CUDA once it is open: nothing here ---- */

bool otp_dnn_bits_may_vary(void) { return false; }
void otp_dnn_forget_plans(otp_device *device) { (void)device; }
void otp_dnn_close_choices(otp_device *device) { (void)device; }
void otp_compile_all(otp_compile_list *list) { assert_int_equal(list->count, 0); }
void otp_conv_foresee(otp_compile_list *list, const otp_call *call)
{
	(void)call;
	assert_int_equal(list->count, 0);
}
void otp_flash_foresee(otp_compile_list *list, const otp_call *call) { otp_conv_foresee(list, call); }

void otp_dnn_open_choices(otp_device *device, const char *gpu)
{
	(void)device;
	assert_string_equal(gpu, "made-up");
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#define NEVER(type, name, ...)                                                                               \
	type name(__VA_ARGS__);                                                                              \
	type name(__VA_ARGS__) { abort(); }
NEVER(cudaGraphExec_t, otp_cuda_capture, cudaStream_t s, bool (*issue)(const void *), const void *c,
      char why[static OTP_CAPTURE_WHY])
NEVER(cudaError_t, cudaEventRecord, cudaEvent_t e, cudaStream_t s)
NEVER(cudaError_t, cudaEventSynchronize, cudaEvent_t e)
NEVER(cudaError_t, cudaMalloc, void **m, size_t bytes)
NEVER(cudaError_t, cudaFree, void *m)
NEVER(cudaError_t, cudaMemsetAsync, void *m, int value, size_t bytes, cudaStream_t s)
NEVER(cudaError_t, cudaMemcpyAsync, void *d, const void *f, size_t bytes, enum cudaMemcpyKind k,
      cudaStream_t s)
NEVER(cudaError_t, cudaMemGetInfo, size_t *left, size_t *whole)
NEVER(cudaError_t, cudaGraphLaunch, cudaGraphExec_t g, cudaStream_t s)
NEVER(cudaError_t, cudaGraphExecDestroy, cudaGraphExec_t g)
NEVER(void, otp_cuda_convert, const otp_call *c, const otp_tensor *d, const otp_tensor *s)
NEVER(cublasStatus_t, cublasLtMatmul, cublasLtHandle_t h, cublasLtMatmulDesc_t o, const void *alpha,
      const void *a, cublasLtMatrixLayout_t la, const void *b, cublasLtMatrixLayout_t lb, const void *beta,
      const void *c, cublasLtMatrixLayout_t lc, void *d, cublasLtMatrixLayout_t ld,
      const cublasLtMatmulAlgo_t *algo, void *workspace, size_t bytes, cudaStream_t s)
#pragma GCC diagnostic pop

/* Kernels but matrix products, which are matmul.c's. */
#define OP(name, inputs, attribute, in_place, meaning) __attribute__((weak)) const otp_kernel otp_cuda_##name;
#include "graph/ops.def"
#undef OP

/* ---- cases ---- */

/* Every call in turn, until an attempt needs fewer. `attempt` returns whether it succeeded, and closes. */
static int refuse_each(bool (*attempt)(otp_error *err))
{
	for (int failing = 1;; failing++)
		for (int memory = 0; memory < 2; memory++) {
			otp_error err = {0};
			memset(&fake, 0, sizeof fake);
			fake.failing = failing;
			fake.memory = memory;
			bool good = attempt(&err);
			assert_int_equal(fake.open, 0);
			if (good) {
				assert_true(fake.calls < failing);
				assert_int_equal(err.exit_code, 0);
				return fake.calls;
			}
			assert_int_equal(err.exit_code, OTP_EXIT_FAILED);
			assert_non_null(strstr(err.text, "cuda: "));
		}
}

static bool open_device(otp_error *err)
{
	otp_device *device = NULL;
	if (!otp_cuda_backend.open(0, &device, err))
		return false;
	int calls = fake.calls;
	fake.failing = 0;
	otp_cuda_backend.close(device);
	fake.calls = calls;
	return true;
}

static void a_device_opens_whole_or_not_at_all(void **state)
{
	(void)state;
	/* properties, device, stream, both handles, cuDNN's stream, ring, its events */
	assert_true(refuse_each(open_device) >= 7 + OTP_SLICES);
}

/* A first device, so that only the product's calls are counted. */
static bool bind_product(otp_error *err)
{
	int failing = fake.failing;
	otp_device *device = NULL;
	fake.failing = 0;
	assert_true(otp_cuda_backend.open(0, &device, err));
	fake.failing = failing;
	fake.calls = 0;
	otp_call call = {.op = OTP_OP_matmul,
			 .in = {{.shape = {1, 1, 4, 8}}, {.shape = {1, 1, 8, 2}}},
			 .out = {.shape = {1, 1, 4, 2}},
			 .device = device};
	bool good = otp_cuda_matmul.bind(&call, err);
	int calls = fake.calls;
	fake.failing = 0;
	otp_cuda_matmul.unbind(&call);
	otp_cuda_backend.close(device);
	fake.calls = calls;
	return good;
}

static void a_product_is_bound_or_refused(void **state)
{
	(void)state;
	assert_true(refuse_each(bind_product) >= 15);
}

/* Only memory is said to be memory. */
static void missing_memory_is_told_apart(void **state)
{
	(void)state;
	for (int memory = 0; memory < 2; memory++) {
		otp_error err = {0};
		memset(&fake, 0, sizeof fake);
		fake.failing = 4; /* cudnnCreate */
		fake.memory = memory;
		assert_false(open_device(&err));
		assert_non_null(strstr(err.text, "cudnnCreate"));
		assert_int_equal(err.out_of_memory, memory);
	}
}

static void a_backend_says_what_it_computes_with(void **state)
{
	(void)state;
	char text[160] = "";
	otp_cuda_backend.describe(text, sizeof text);
	assert_non_null(strstr(text, "cuDNN 9.19.0"));
	assert_non_null(strstr(text, "cuBLASLt 13.1.0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_device_opens_whole_or_not_at_all),
	    cmocka_unit_test(a_product_is_bound_or_refused),
	    cmocka_unit_test(missing_memory_is_told_apart),
	    cmocka_unit_test(a_backend_says_what_it_computes_with),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
