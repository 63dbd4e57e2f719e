/* backend.c (cuda): one GPU as a backend. Everything happens in one stream, in
 * the order it is issued; uploads go through a pinned ring, so that the caller
 * may reuse its memory at once and goes on without waiting for the device. A program's calls become a CUDA
 * graph when they are launched a second time (the first loads modules, which capture forbids);
 * OTPLAN_CUDA_GRAPHS=0 runs them one by one, for debugging, and so does a capture that is refused. */
#include "cuda/device.h"
#include "bf16.h"
#include "cuda/capture.h"
#include "cuda/compile.h"
#include "cuda/early.h"
#include "cuda/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void otp_device_enter(otp_device *d)
{
	pthread_mutex_lock(&d->lock);
	CUDA_CHECK(cudaSetDevice(d->index));
}

void otp_device_leave(otp_device *d) { pthread_mutex_unlock(&d->lock); }

void *otp_cuda_stream(const otp_device *d) { return d->stream; }

void otp_cuda_launched(const otp_device *d, const char *kernel, const char *file, int line)
{
	(void)d;
	cuda_check(cudaGetLastError(), kernel, file, line);
}

/* ---- opening ---- */

/* How many devices there are; where none can be used, why. */
static int count_devices(otp_error *err)
{
	int count = 0; /* a missing driver leaves it untouched */
	cudaError_t status = cudaGetDeviceCount(&count);
	if (status == cudaErrorInsufficientDriver)
		otp_fail_machine(err, "cuda", "no NVIDIA driver, or one too old for CUDA %d.%d",
				 CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
	else if (status != cudaSuccess)
		otp_fail_machine(err, "cuda", "%s", cudaGetErrorString(status));
	else if (count == 0)
		otp_fail_machine(err, "cuda", "no NVIDIA GPU");
	return status == cudaSuccess ? count : 0;
}

static bool usable(int index, struct cudaDeviceProp *properties, otp_error *err)
{
	int count = count_devices(err);
	if (!count)
		return false;
	if (index < 0 || index >= count)
		return otp_fail(err, "--device", "there is no device cuda:%d, expected cuda:0 to cuda:%d",
				index, count - 1);
	cudaError_t status = cudaGetDeviceProperties(properties, index);
	if (status != cudaSuccess)
		return otp_fail_machine(err, "cuda", "cuda:%d does not tell what it is: %s", index,
					cudaGetErrorString(status));
	if (properties->major < 7)
		return otp_fail_machine(err, "cuda",
					"%s has compute capability %d.%d, at least 7.0 is needed",
					properties->name, properties->major, properties->minor);
	return true;
}

static void mark_slice(void *device, int slice)
{
	otp_device *d = device;
	CUDA_CHECK(cudaEventRecord(d->read[slice], d->stream));
}

/* An event that was never recorded counts as reached. */
static void await_slice(void *device, int slice)
{
	otp_device *d = device;
	CUDA_CHECK(cudaEventSynchronize(d->read[slice]));
}

/* Without its memory where that is not to be had, which is noted. */
static void open_ring(otp_device *d)
{
	d->ring = (otp_ring){.slice_bytes = OTP_SLICE_BYTES,
			     .slices = OTP_SLICES,
			     .mark = mark_slice,
			     .await = await_slice,
			     .context = d};
	CUDA_CHECK(cudaMallocHost((void **)&d->ring.memory, (size_t)OTP_SLICES * OTP_SLICE_BYTES));
	for (int i = 0; i < OTP_SLICES; i++)
		CUDA_CHECK(cudaEventCreateWithFlags(&d->read[i], cudaEventDisableTiming));
}

/* Whether a switch is on that is on unless it is set to 0. */
static bool is_on(const char *variable)
{
	const char *value = getenv(variable);
	return !value || strcmp(value, "0") != 0;
}

static void open_handles(otp_device *d)
{
	CUDA_CHECK(cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking));
	CUDNN_CHECK(cudnnCreate(&d->dnn));
	if (d->dnn && d->stream)
		CUDNN_CHECK(cudnnSetStream(d->dnn, d->stream));
	CUBLAS_CHECK(cublasLtCreate(&d->blas));
	open_ring(d);
}

/* Whatever of it there is. */
static void close_handles(otp_device *d)
{
	for (int i = 0; i < OTP_SLICES; i++)
		if (d->read[i])
			CUDA_CHECK(cudaEventDestroy(d->read[i]));
	CUDA_CHECK(cudaFreeHost(d->ring.memory));
	if (d->blas)
		CUBLAS_CHECK(cublasLtDestroy(d->blas));
	if (d->dnn)
		CUDNN_CHECK(cudnnDestroy(d->dnn));
	if (d->stream)
		CUDA_CHECK(cudaStreamDestroy(d->stream));
}

static void cuda_close(otp_device *d)
{
	otp_device_enter(d);
	CUDA_CHECK(cudaStreamSynchronize(d->stream));
	otp_link_close(d);
	otp_dnn_forget_plans(d);
	close_handles(d);
	otp_device_leave(d);
	pthread_mutex_destroy(&d->lock);
	otp_dnn_close_choices(d);
	otp_free(d);
}

/* Ends with the device entered; it is closed again where that fails. */
static bool cuda_start(otp_device *d, otp_error *err)
{
	otp_cuda_note note;
	otp_error ignored = {0};
	otp_cuda_start_note(&note);
	otp_device_enter(d);
	open_handles(d);
	if (otp_cuda_end_note(&note, err))
		return true;
	cudaGetLastError(); /* else the next check would find it */
	otp_cuda_start_note(&note);
	close_handles(d);
	otp_cuda_end_note(&note, &ignored);
	return false;
}

static bool cuda_open(int index, otp_device **device, otp_error *err)
{
	struct cudaDeviceProp properties;
	if (!usable(index, &properties, err))
		return false;
	otp_device *d = otp_calloc(1, sizeof *d);
	d->index = index;
	pthread_mutex_init(&d->lock, NULL);
	otp_cuda_describe(index, properties.name);
	if (!cuda_start(d, err)) {
		otp_device_leave(d);
		pthread_mutex_destroy(&d->lock);
		otp_free(d);
		return false;
	}
	d->narrows = properties.major >= 8;
	d->captures = is_on("OTPLAN_CUDA_GRAPHS");
	d->compiles = is_on("OTPLAN_CUDA_COMPILED");
	if (otp_dnn_bits_may_vary())
		otp_cuda_say("nondeterministic engines are allowed: runs do not repeat bit for bit");
	otp_dnn_open_choices(d, properties.name);
	otp_device_leave(d);
	*device = d;
	return true;
}

/* ---- memory ---- */

struct otp_block {
	otp_block *next;
	void *memory;
	size_t bytes;
};

void *otp_cuda_try_alloc(size_t bytes)
{
	void *memory = NULL;
	cudaError_t status = cudaMalloc(&memory, bytes ? bytes : 1);
	if (status == cudaErrorMemoryAllocation) {
		cudaGetLastError(); /* else the next check would find it */
		return NULL;
	}
	CUDA_CHECK(status);
	return memory;
}

static void *cuda_alloc(otp_device *d, size_t bytes)
{
	otp_block *block = otp_calloc(1, sizeof *block);
	block->bytes = bytes ? bytes : 1;
	otp_device_enter(d);
	block->memory = otp_cuda_try_alloc(block->bytes);
	if (!block->memory) {
		otp_device_leave(d);
		otp_free(block);
		return NULL;
	}
	CUDA_CHECK(cudaMemsetAsync(block->memory, 0, block->bytes, d->stream));
	otp_cuda_count_memory((int64_t)block->bytes);
	block->next = d->blocks;
	d->blocks = block;
	otp_device_leave(d);
	return block->memory;
}

static void cuda_release(otp_device *d, void *memory)
{
	if (!memory)
		return;
	otp_device_enter(d);
	otp_block **at = &d->blocks;
	while (*at && (*at)->memory != memory)
		at = &(*at)->next;
	otp_block *block = *at;
	OTP_ASSERT(block, "cuda: releasing memory that was not allocated here");
	*at = block->next;
	CUDA_CHECK(cudaStreamSynchronize(d->stream));
	CUDA_CHECK(cudaFree(memory));
	otp_cuda_count_memory(-(int64_t)block->bytes);
	otp_device_leave(d);
	otp_free(block);
}

/* ---- transfers ---- */

/* `length` bytes of the device's elements from byte `at` on, to and from the host's, which differ for
 * bfloat16. */
static void to_device_form(void *memory, otp_type type, const void *src, size_t at, size_t length)
{
	if (type != OTP_BF16)
		memcpy(memory, (const char *)src + at, length);
	for (size_t i = 0; type == OTP_BF16 && i < length / 2; i++)
		((uint16_t *)memory)[i] = otp_bf16_round(((const float *)src)[at / 2 + i]);
}

static void to_host_form(void *dst, otp_type type, const void *memory, size_t at, size_t length)
{
	if (type != OTP_BF16)
		memcpy((char *)dst + at, memory, length);
	for (size_t i = 0; type == OTP_BF16 && i < length / 2; i++)
		((float *)dst)[at / 2 + i] = otp_bf16_widen(((const uint16_t *)memory)[i]);
}

static void cuda_upload(otp_device *d, void *dst, otp_type type, const void *src, int64_t count)
{
	size_t bytes = (size_t)count * otp_cuda_backend.element_bytes[type];
	otp_device_enter(d);
	for (size_t at = 0, piece; at < bytes; at += piece) {
		piece = bytes - at;
		void *memory = otp_ring_take(&d->ring, &piece);
		to_device_form(memory, type, src, at, piece);
		CUDA_CHECK(
		    cudaMemcpyAsync((char *)dst + at, memory, piece, cudaMemcpyHostToDevice, d->stream));
	}
	otp_device_leave(d);
}

static void cuda_download(otp_device *d, void *dst, otp_type type, const void *src, int64_t count)
{
	size_t bytes = (size_t)count * otp_cuda_backend.element_bytes[type];
	otp_device_enter(d);
	for (size_t at = 0, piece; at < bytes; at += piece) {
		piece = bytes - at;
		void *memory = otp_ring_take(&d->ring, &piece);
		CUDA_CHECK(cudaMemcpyAsync(memory, (const char *)src + at, piece, cudaMemcpyDeviceToHost,
					   d->stream));
		CUDA_CHECK(cudaStreamSynchronize(d->stream));
		otp_link_heed();
		to_host_form(dst, type, memory, at, piece);
	}
	otp_device_leave(d);
}

/* ---- binding ---- */

/* What fails here fails again where it is bound, and is told there. */
static void cuda_prepare(otp_device *d, const otp_call *calls, int count)
{
	otp_compile_list list = {d, NULL, 0};
	otp_cuda_note note;
	otp_error ignored = {0};
	otp_device_enter(d);
	otp_cuda_start_note(&note);
	for (int i = 0; i < count; i++)
		if (calls[i].op == OTP_OP_conv2d_bias || calls[i].op == OTP_OP_conv2d_merge)
			otp_conv_foresee(&list, &calls[i]);
		else if (calls[i].op == OTP_OP_attention || calls[i].op == OTP_OP_attention_grad)
			otp_flash_foresee(&list, &calls[i]);
	otp_compile_all(&list);
	otp_cuda_end_note(&note, &ignored);
	otp_device_leave(d);
}

/* ---- launching ---- */

/* A program's token. */
typedef struct captured {
	bool ran; /* once, call by call */
	cudaGraphExec_t graph;
	otp_early *early;
} captured;

typedef struct sequence {
	const otp_call *calls;
	int count;
	const otp_early *early;
} sequence;

static bool run_calls(const void *context)
{
	const sequence *s = context;
	for (int i = 0; i < s->count; i++) {
		otp_early_run(s->early, s->calls, i);
		if (otp_cuda_noted()) /* a capture is refused: what NCCL is told in one that broke ends it */
			return false;
	}
	return true;
}

/* Refused, it is not tried again. */
static cudaGraphExec_t capture(otp_device *d, const sequence *s)
{
	char why[OTP_CAPTURE_WHY];
	cudaGraphExec_t graph = otp_cuda_capture(d->stream, run_calls, s, why);
	if (!graph) {
		otp_cuda_say("a step cannot be captured and runs call by call, more slowly, as with "
			     "OTPLAN_CUDA_GRAPHS=0: %s",
			     why);
		d->captures = false;
	}
	return graph;
}

static void cuda_launch(otp_device *d, const otp_call *calls, int count, void **token)
{
	captured *c = *token;
	if (!c) {
		c = *token = otp_calloc(1, sizeof *c);
		c->early = otp_early_plan(d, calls, count);
	}
	sequence s = {calls, count, c->early};
	otp_device_enter(d);
	otp_cuda_built(&d->builds);
	if (!c->graph && c->ran && d->captures)
		c->graph = capture(d, &s);
	if (c->graph)
		CUDA_CHECK(cudaGraphLaunch(c->graph, d->stream));
	else
		run_calls(&s);
	c->ran = true;
	otp_device_leave(d);
}

static void cuda_forget(otp_device *d, void *token)
{
	captured *c = token;
	if (!c)
		return;
	otp_device_enter(d);
	CUDA_CHECK(cudaStreamSynchronize(d->stream));
	if (c->graph)
		CUDA_CHECK(cudaGraphExecDestroy(c->graph));
	otp_device_leave(d);
	otp_early_free(c->early);
	otp_free(c);
}

static void cuda_wait(otp_device *d)
{
	otp_device_enter(d);
	CUDA_CHECK(cudaStreamSynchronize(d->stream));
	otp_link_heed();
	otp_device_leave(d);
}

static size_t cuda_memory_free(otp_device *d)
{
	size_t left = 0, whole = 0;
	otp_device_enter(d);
	CUDA_CHECK(cudaMemGetInfo(&left, &whole));
	otp_device_leave(d);
	return left;
}

static int cuda_count(void)
{
	otp_error ignored = {0};
	return count_devices(&ignored);
}

static int cuda_workers(otp_device *d, int asked)
{
	(void)asked;
	(void)d;
	return 1;
}

static const otp_kernel *const cuda_kernels[OTP_OP_COUNT] = {
#define OP(name, inputs, attribute, in_place, meaning) [OTP_OP_##name] = &otp_cuda_##name,
#include "graph/ops.def"
#undef OP
};

static bool cuda_narrows(otp_device *d) { return d->narrows; }

/* A version as NVIDIA's libraries number it: 1000 major + 10 minor for CUDA, 10000 major + 100 minor for
 * cuDNN and cuBLAS. */
static void cuda_describe(char *text, size_t bytes)
{
	struct cudaDeviceProp properties = {.name = "no GPU"};
	int driver = 0;
	size_t dnn = cudnnGetVersion(), blas = cublasLtGetVersion();
	char nccl[32];
	cudaDriverGetVersion(&driver);
	otp_link_describe(nccl, sizeof nccl);
	if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess)
		cudaGetLastError();
	snprintf(text, bytes,
		 "%.64s; driver for CUDA %d.%d, runtime %d.%d, cuDNN %zu.%zu.%zu, cuBLASLt %zu.%zu.%zu%s",
		 properties.name, driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000,
		 CUDART_VERSION % 1000 / 10, dnn / 10000, dnn / 100 % 100, dnn % 100, blas / 10000,
		 blas / 100 % 100, blas % 100, nccl);
}

const otp_backend otp_cuda_backend = {
    .name = "cuda",
    .element_bytes = {[OTP_F32] = 4, [OTP_U32] = 4, [OTP_BF16] = 2},
    .open = cuda_open,
    .close = cuda_close,
    .rows_apart = true,
    .most_elements = INT32_MAX - 1, /* kernels divide indices in 32 bits: otp_index_count */
    .alloc = cuda_alloc,
    .release = cuda_release,
    .upload = cuda_upload,
    .download = cuda_download,
    .prepare = cuda_prepare,
    .launch = cuda_launch,
    .forget = cuda_forget,
    .wait = cuda_wait,
    .memory_free = cuda_memory_free,
    .count = cuda_count,
    .make_id = otp_link_make_id,
    .connect = otp_link_connect,
    .workers = cuda_workers,
    .kernels = cuda_kernels,
    .narrows = cuda_narrows,
    .describe = cuda_describe,
};

/* The plugin's one exported function: the backend, where a GPU can be used. */
__attribute__((visibility("default"))) const otp_backend *
otp_plugin_backend(size_t call_bytes, int op_count, otp_error *err, const otp_voice *voice)
{
	if (call_bytes != sizeof(otp_call) || op_count != OTP_OP_COUNT) {
		otp_fail_machine(err, "cuda", "the plugin belongs to another build of otplan");
		return NULL;
	}
	otp_cuda_speak_through(voice);
	return count_devices(err) ? &otp_cuda_backend : NULL;
}
