/* backend.c (shim): the own CUDA kernels as a backend on the host, for tests
 * only. What the GPU leaves to a library has no kernel here: its run is NULL. */
#include "shim/backend.h"
#include "shim/shim.h"
#include "bf16.h"
#include "cuda/cuda.h"
#include "cuda/flash.h"
#include "cuda/probe.h"
#include "cuda/product.h"

#include <stdio.h>
#include <string.h>

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

/* The host waits for every launch. */
void otp_shim_issue(const otp_device *device, const otp_shim_launch *launch)
{
	(void)device;
	otp_shim_run(launch->grid, launch->block, launch->shared_bytes, launch->body, launch->bound);
	launch->release(launch->bound);
}

static void shim_close(otp_device *device) { (void)device; }

static void *shim_alloc(otp_device *device, size_t bytes)
{
	(void)device;
	return otp_try_calloc(bytes, 1);
}

static void shim_release(otp_device *device, void *memory)
{
	(void)device;
	otp_free(memory);
}

static void shim_upload(otp_device *device, void *dst, otp_type type, const void *src, int64_t count)
{
	(void)device;
	if (type != OTP_BF16)
		memcpy(dst, src, (size_t)count * 4);
	for (int64_t i = 0; type == OTP_BF16 && i < count; i++)
		((uint16_t *)dst)[i] = otp_bf16_round(((const float *)src)[i]);
}

static void shim_download(otp_device *device, void *dst, otp_type type, const void *src, int64_t count)
{
	(void)device;
	if (type != OTP_BF16)
		memcpy(dst, src, (size_t)count * 4);
	for (int64_t i = 0; type == OTP_BF16 && i < count; i++)
		((float *)dst)[i] = otp_bf16_widen(((const uint16_t *)src)[i]);
}

/* Nothing fails here. */
void otp_cuda_start_note(otp_cuda_note *note) { note->text[0] = '\0'; }

bool otp_cuda_end_note(otp_cuda_note *note, otp_error *err)
{
	(void)note;
	(void)err;
	return true;
}

/* ---- in cuBLASLt's place: plain loops ---- */

struct otp_product {
	otp_matrices a, b, y;
	bool ta, tb;
};

otp_product *otp_product_new(otp_device *device, const otp_matrices *a, bool ta, const otp_matrices *b,
			     bool tb, const otp_matrices *y, otp_precision precision)
{
	(void)device;
	(void)precision;
	otp_product *p = otp_calloc(1, sizeof *p);
	*p = (otp_product){*a, *b, *y, ta, tb};
	return p;
}

void otp_product_free(otp_product *p) { otp_free(p); }

size_t otp_product_workspace(const otp_product *p)
{
	(void)p;
	return 0;
}

static double element(const otp_matrices *m, const void *data, int64_t plane, int row, int column)
{
	int64_t at = (plane * m->rows + row) * m->step + column;
	return (double)(m->type == OTP_BF16 ? otp_bf16_widen(((const uint16_t *)data)[at])
					    : ((const float *)data)[at]);
}

void otp_product_run(const otp_call *call, const otp_product *p, const void *a, const void *b, void *y,
		     void *workspace)
{
	(void)call;
	(void)workspace;
	int depth = p->ta ? p->a.rows : p->a.columns;
	for (int64_t plane = 0; plane < p->y.batch; plane++)
		for (int row = 0; row < p->y.rows; row++)
			for (int column = 0; column < p->y.columns; column++) {
				double total = 0;
				for (int k = 0; k < depth; k++)
					total +=
					    element(&p->a, a, plane, p->ta ? k : row, p->ta ? row : k) *
					    element(&p->b, b, plane, p->tb ? column : k, p->tb ? k : column);
				int64_t at = (plane * p->y.rows + row) * p->y.step + column;
				if (p->y.type == OTP_BF16)
					((uint16_t *)y)[at] = otp_bf16_round((float)total);
				else
					((float *)y)[at] = (float)total;
			}
}

/* ---- in cuDNN's place: nothing, so that attention is composed ---- */

const otp_dnn_plan *otp_flash_plan_for(const otp_call *call, void (*composed)(const otp_call *call),
				       size_t composed_bytes)
{
	(void)call;
	(void)composed;
	(void)composed_bytes;
	return NULL;
}

size_t otp_flash_scratch(const otp_call *call, const otp_dnn_plan *plan)
{
	(void)call;
	(void)plan;
	return 0;
}

void otp_flash_run(const otp_call *call, const otp_dnn_plan *plan)
{
	(void)call;
	(void)plan;
}

static otp_matrices matrices_of(const otp_tensor *t)
{
	return (otp_matrices){
	    t->type, (int64_t)t->shape.n * t->shape.h, t->shape.w, t->shape.c, t->shape.c, sizeof(float)};
}

/* Where whole networks are to run. */
static void run_matmul(const otp_call *call)
{
	otp_product p = {matrices_of(&call->in[0]), matrices_of(&call->in[1]), matrices_of(&call->out),
			 call->attr.matmul.ta, call->attr.matmul.tb};
	otp_product_run(call, &p, call->in[0].data, call->in[1].data, call->out.data, NULL);
}

/* Matrix products are a library's: otp_shim_for_networks. */
static void shim_launch(otp_device *device, const otp_call *calls, int count, void **token)
{
	(void)device;
	(void)token;
	for (int i = 0; i < count; i++)
		(calls[i].op == OTP_OP_matmul ? run_matmul
					      : otp_shim_backend.kernels[calls[i].op]->run)(&calls[i]);
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
	p.w = otp_cuda_rounded(p.w);
	p.stride = call->attr.conv.stride;
	p.pad = call->attr.conv.pad;
	otp_cuda_probe(call, &p, otp_shape_count(call->out.shape), 1, &call->out, NULL);
	if (call->op == OTP_OP_conv2d_bias)
		otp_cuda_epilogue(call, &call->out, &call->out, &call->in[2], NULL, 1, call->attr.conv.slope);
	if (call->op == OTP_OP_conv2d_merge)
		otp_cuda_epilogue(call, &call->out, &call->out, &call->in[2], &call->in[3],
				  call->attr.conv.scale, 1);
}

static void run_forward(const otp_call *call)
{
	run_probe(call, (otp_probe){.into = OTP_PROBE_Y, .x = call->in[0], .w = call->in[1], .y = call->out});
}

static void run_dgrad(const otp_call *call)
{
	run_probe(call, (otp_probe){.into = OTP_PROBE_X, .x = call->out, .w = call->in[1], .y = call->in[0]});
}

static void run_wgrad(const otp_call *call)
{
	run_probe(call, (otp_probe){.into = OTP_PROBE_W, .x = call->in[0], .w = call->out, .y = call->in[1]});
}

const otp_kernel otp_cuda_conv2d = {.run = run_forward}, otp_cuda_conv2d_bias = {.run = run_forward},
		 otp_cuda_conv2d_merge = {.run = run_forward}, otp_cuda_conv2d_dgrad = {.run = run_dgrad},
		 otp_cuda_conv2d_wgrad = {.run = run_wgrad};

/* NCCL's, of which one process has no need. */
static void run_deal(const otp_call *call)
{
	if (call->attr.deal.empty)
		memset(call->out.data, 0,
		       (size_t)otp_shape_count(call->out.shape) *
			   otp_shim_backend.element_bytes[call->out.type]);
	else
		otp_cuda_convert(call, &call->out, &call->in[0]);
}

const otp_kernel otp_cuda_reduce_scatter = {.run = run_deal}, otp_cuda_all_gather = {.run = run_deal};

static const otp_kernel *const shim_kernels[OTP_OP_COUNT] = {
#define OP(name, inputs, attribute, in_place, meaning) [OTP_OP_##name] = &otp_cuda_##name,
#include "graph/ops.def"
#undef OP
};

static void shim_describe(char *text, size_t bytes) { snprintf(text, bytes, "kernels/cuda on the host"); }

const otp_backend otp_shim_backend = {
    .name = "shim",
    .element_bytes = {[OTP_F32] = 4, [OTP_U32] = 4, [OTP_BF16] = 2},
    .open = shim_open,
    .close = shim_close,
    .alloc = shim_alloc,
    .release = shim_release,
    .upload = shim_upload,
    .download = shim_download,
    .launch = shim_launch,
    .forget = shim_forget,
    .wait = shim_wait,
    .memory_free = shim_memory_free,
    .workers = shim_workers,
    .kernels = shim_kernels,
    .describe = shim_describe,
};

const otp_backend *otp_shim_for_networks(void)
{
	static const otp_kernel *kernels[OTP_OP_COUNT], matmul = {.run = run_matmul};
	static otp_backend backend;
	memcpy(kernels, shim_kernels, sizeof kernels);
	kernels[OTP_OP_matmul] = &matmul;
	backend = otp_shim_backend;
	backend.kernels = kernels;
	return &backend;
}
