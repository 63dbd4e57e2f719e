/* deal.c: columns that processes share out: reduce_scatter and all_gather. What passes between devices is
 * link's. */
#include "cuda/link.h"

static void begin(const otp_call *call)
{
	size_t bytes =
	    (size_t)otp_shape_count(call->out.shape) * otp_cuda_backend.element_bytes[call->out.type];
	if (call->attr.deal.empty)
		CUDA_CHECK(cudaMemsetAsync(call->out.data, 0, bytes, call->device->stream));
	else if (call->out.data != call->in[0].data)
		otp_cuda_convert(call, &call->out, &call->in[0]);
}

static void run_reduce_scatter(const otp_call *call)
{
	begin(call);
	otp_link_sum(call);
}

/* What is kept in bfloat16 too is rounded here: adam has rounded its own columns alone. */
static void run_all_gather(const otp_call *call)
{
	begin(call);
	otp_link_spread(call);
	if (!call->out.rounded || !call->device->link)
		return;
	otp_tensor copy = otp_cuda_rounded(call->out), row = call->out;
	row.rounded = NULL;
	otp_cuda_convert(call, &copy, &row);
}

const otp_kernel otp_cuda_reduce_scatter = {.run = run_reduce_scatter},
		 otp_cuda_all_gather = {.run = run_all_gather};
