#include "cuda/capture.h"

#include <stdio.h>

static bool good(cudaError_t status, const char *what, char why[static OTP_CAPTURE_WHY])
{
	if (status != cudaSuccess && !*why)
		snprintf(why, OTP_CAPTURE_WHY, "%s: %s", what, cudaGetErrorString(status));
	return status == cudaSuccess;
}

/* After a refusal the stream takes no more until the capture is ended, and nothing was run. */
cudaGraphExec_t otp_cuda_capture(cudaStream_t stream, bool (*issue)(const void *context), const void *context,
				 char why[static OTP_CAPTURE_WHY])
{
	cudaGraph_t graph = NULL;
	cudaGraphExec_t executable = NULL;
	*why = '\0';
	if (good(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture",
		 why)) {
		otp_cuda_note note;
		otp_error refused = {0};
		otp_cuda_start_note(&note);
		bool issued = issue(context);
		if (!otp_cuda_end_note(&note, &refused))
			snprintf(why, OTP_CAPTURE_WHY, "%s", note.text);
		if (good(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture", why) && issued &&
		    !*why && !good(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate", why))
			executable = NULL;
	}
	if (graph)
		CUDA_CHECK(cudaGraphDestroy(graph));
	if (!executable)
		cudaGetLastError(); /* what a refusal left */
	return executable;
}
