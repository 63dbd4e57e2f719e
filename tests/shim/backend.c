/* backend.c (shim): the own CUDA kernels as a backend on the host, for tests
 * only. What the GPU leaves to a library has no kernel here: its run is NULL. */
#include "shim/backend.h"
#include "cuda/cuda.h"
#include "cuda/probe.h"

#include <string.h>

extern const otp_kernel otp_cpu_matmul;

struct otp_device {
	int unused;
};

static bool shim_open(int index, otp_device **device, otp_error *err)
{
	static otp_device host;
	if (index != 0)
		return otp_fail(err, "shim", "there is no device %d, only 0", index);
	*device = &host;
	return true;
}

static void shim_close(otp_device *device) { (void)device; }

static void *shim_alloc(otp_device *device, size_t bytes)
{
	(void)device;
	return otp_calloc(bytes, 1);
}

static void shim_release(otp_device *device, void *memory)
{
	(void)device;
	otp_free(memory);
}

static void shim_transfer(otp_device *device, void *dst, otp_type type, const void *src, int64_t count)
{
	(void)device;
	(void)type;
	memcpy(dst, src, (size_t)count * 4);
}

/* Matrix products are a library's: otp_shim_for_networks. */
static void shim_launch(otp_device *device, const otp_call *calls, int count, void **token)
{
	(void)device;
	(void)token;
	for (int i = 0; i < count; i++) {
		const otp_kernel *kernel =
		    calls[i].op == OTP_OP_matmul ? &otp_cpu_matmul : otp_shim_backend.kernels[calls[i].op];
		kernel->run(&calls[i]);
	}
}

static void shim_forget(otp_device *device, void *token)
{
	(void)device;
	(void)token;
}

static void shim_wait(otp_device *device) { (void)device; }

static size_t shim_memory_free(otp_device *device)
{
	(void)device;
	return 0;
}

static int shim_workers(otp_device *device, int asked)
{
	(void)device;
	return asked ? asked : 1;
}

/* cuBLASLt's: docs/gpu-status.md names what is excused. */
const otp_kernel otp_cuda_matmul = {0};

/* cuDNN's, in whose place the kernels that cuDNN's plans are compared with are tested here. */
static void run_probe(const otp_call *call, otp_probe p)
{
	p.stride = call->attr.conv.stride;
	p.pad = call->attr.conv.pad;
	float *y = call->out.data;
	otp_cuda_probe(call, &p, otp_shape_count(call->out.shape), 1, y, NULL);
	if (call->op == OTP_OP_conv2d_bias)
		otp_cuda_add_bias(call, y, call->in[2].data, otp_shape_count(p.y) / p.y.c, p.y.c);
}

static void run_forward(const otp_call *call)
{
	const otp_tensor *x = &call->in[0], *w = &call->in[1];
	run_probe(call, (otp_probe){.into = OTP_PROBE_Y,
				    .x = x->shape,
				    .w = w->shape,
				    .y = call->out.shape,
				    .x_data = x->data,
				    .w_data = w->data});
}

static void run_dgrad(const otp_call *call)
{
	const otp_tensor *y = &call->in[0], *w = &call->in[1];
	run_probe(call, (otp_probe){.into = OTP_PROBE_X,
				    .x = call->out.shape,
				    .w = w->shape,
				    .y = y->shape,
				    .y_data = y->data,
				    .w_data = w->data});
}

static void run_wgrad(const otp_call *call)
{
	const otp_tensor *x = &call->in[0], *y = &call->in[1];
	run_probe(call, (otp_probe){.into = OTP_PROBE_W,
				    .x = x->shape,
				    .w = call->out.shape,
				    .y = y->shape,
				    .x_data = x->data,
				    .y_data = y->data});
}

const otp_kernel otp_cuda_conv2d = {.run = run_forward}, otp_cuda_conv2d_bias = {.run = run_forward},
		 otp_cuda_conv2d_dgrad = {.run = run_dgrad}, otp_cuda_conv2d_wgrad = {.run = run_wgrad};

static const otp_kernel *const shim_kernels[OTP_OP_COUNT] = {
#define OP(name, inputs, attribute, in_place, meaning) [OTP_OP_##name] = &otp_cuda_##name,
#include "graph/ops.def"
#undef OP
};

const otp_backend otp_shim_backend = {
    .name = "shim",
    .element_bytes = {[OTP_F32] = 4, [OTP_U32] = 4},
    .open = shim_open,
    .close = shim_close,
    .alloc = shim_alloc,
    .release = shim_release,
    .upload = shim_transfer,
    .download = shim_transfer,
    .launch = shim_launch,
    .forget = shim_forget,
    .wait = shim_wait,
    .memory_free = shim_memory_free,
    .workers = shim_workers,
    .kernels = shim_kernels,
};

const otp_backend *otp_shim_for_networks(void)
{
	static const otp_kernel *kernels[OTP_OP_COUNT];
	static otp_backend backend;
	memcpy(kernels, shim_kernels, sizeof kernels);
	kernels[OTP_OP_matmul] = &otp_cpu_matmul;
	backend = otp_shim_backend;
	backend.kernels = kernels;
	return &backend;
}
