/* capture: that a refusal, wherever it comes from, is a note and not the end of the program. CUDA's functions
 * are made up here; which fails, a case says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cuda/capture.h"

#include <string.h>

static struct {
	bool begin_fails, launch_fails, end_fails, instantiate_fails;
	bool capturing;
	int graphs; /* that live */
	cudaError_t last;
} fake;

static int a_graph, an_executable;

static cudaError_t answer(bool fails)
{
	return fails ? (fake.last = cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
	(void)stream;
	(void)mode;
	fake.capturing = !fake.begin_fails;
	return answer(fake.begin_fails);
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
	(void)stream;
	assert_true(fake.capturing);
	fake.capturing = false;
	bool fails = fake.end_fails || fake.launch_fails;
	*graph = fails ? NULL : (cudaGraph_t)&a_graph;
	fake.graphs += !fails;
	return answer(fails);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long flags)
{
	(void)flags;
	assert_ptr_equal(graph, &a_graph);
	*executable = (cudaGraphExec_t)&an_executable;
	return answer(fake.instantiate_fails);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
	assert_ptr_equal(graph, &a_graph);
	fake.graphs--;
	return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
	cudaError_t last = fake.last;
	fake.last = cudaSuccess;
	return last;
}

const char *cudaGetErrorString(cudaError_t status) { return status == cudaSuccess ? "success" : "made-up"; }

static cudaError_t launch(void) { return answer(fake.launch_fails); }

/* Two of them, as kernels check them. */
static bool issue(const void *context)
{
	(void)context;
	assert_true(fake.capturing);
	CUDA_CHECK(launch());
	CUDA_CHECK(launch());
	return true;
}

static bool issue_nothing(const void *context)
{
	(void)context;
	return false;
}

static cudaGraphExec_t capture(char why[static OTP_CAPTURE_WHY])
{
	cudaGraphExec_t graph = otp_cuda_capture(NULL, issue, NULL, why);
	assert_false(fake.capturing);
	assert_int_equal(fake.graphs, 0);
	assert_int_equal(fake.last, cudaSuccess); /* or the next launch would be blamed */
	return graph;
}

static void launches_are_captured(void **state)
{
	(void)state;
	char why[OTP_CAPTURE_WHY];
	memset(&fake, 0, sizeof fake);
	assert_ptr_equal(capture(why), &an_executable);
	assert_string_equal(why, "");
}

static void refusals_are_told(void **state)
{
	(void)state;
	char why[OTP_CAPTURE_WHY];
	memset(&fake, 0, sizeof fake);
	fake.begin_fails = true;
	assert_null(capture(why));
	assert_non_null(strstr(why, "cudaStreamBeginCapture: made-up"));
	memset(&fake, 0, sizeof fake);
	fake.launch_fails = true;
	assert_null(capture(why));
	assert_non_null(strstr(why, "launch()")); /* what was refused first, not that the capture then is */
	memset(&fake, 0, sizeof fake);
	fake.end_fails = true;
	assert_null(capture(why));
	assert_non_null(strstr(why, "cudaStreamEndCapture: made-up"));
	memset(&fake, 0, sizeof fake);
	fake.instantiate_fails = true;
	assert_null(capture(why));
	assert_non_null(strstr(why, "cudaGraphInstantiate: made-up"));
}

static void what_issues_may_refuse(void **state)
{
	(void)state;
	char why[OTP_CAPTURE_WHY];
	memset(&fake, 0, sizeof fake);
	assert_null(otp_cuda_capture(NULL, issue_nothing, NULL, why));
	assert_int_equal(fake.graphs, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(launches_are_captured),
	    cmocka_unit_test(refusals_are_told),
	    cmocka_unit_test(what_issues_may_refuse),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
