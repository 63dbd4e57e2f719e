/* op: what an operator is, and the seam between graphs and backends.
 *
 * Owns the op enumeration (from ops.def), shapes, attributes, and the tables a
 * backend fills. Kernels include this, scalar.h and core, and nothing else: a
 * kernel never sees a node, a model never sees a backend.
 */
#ifndef OTP_OP_H
#define OTP_OP_H

#include "core/base.h"
#include "core/choice.h"
#include "core/rng.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { OTP_MAX_INPUTS = 8 };

/* BF16 is a way to store F32, in half the memory: which values a program stores so, storage.h says. */
typedef enum otp_type { OTP_F32, OTP_U32, OTP_BF16, OTP_TYPE_COUNT } otp_type;

typedef struct otp_shape {
	int n, h, w, c;
} otp_shape;

static inline otp_shape otp_shape4(int n, int h, int w, int c)
{
	otp_shape s = {n, h, w, c};
	return s;
}
static inline int64_t otp_shape_count(otp_shape s) { return (int64_t)s.n * s.h * s.w * s.c; }
static inline bool otp_shape_equal(otp_shape a, otp_shape b)
{
	return a.n == b.n && a.h == b.h && a.w == b.w && a.c == b.c;
}

typedef enum otp_op {
	OTP_OP_LEAF, /* an input or a view into a span: nothing to compute */
#define OP(name, inputs, attribute, in_place, meaning) OTP_OP_##name,
#include "graph/ops.def"
#undef OP
	OTP_OP_COUNT
} otp_op;

typedef enum otp_axis { OTP_AXIS_N, OTP_AXIS_H, OTP_AXIS_W, OTP_AXIS_C } otp_axis;

/* Low-pass filters of down2: box = mean of 2x2 at gain 1; fir = [1,3,3,1]/8 separable, zero outside. */
#define OTP_CHOICES_otp_filter(X) X(OTP_FILTER_BOX, "box") X(OTP_FILTER_FIR, "fir")
OTP_CHOICE(otp_filter);

typedef union otp_attr {
	struct {
		otp_shape to;
	} shape; /* sum, spread, reshape */
	struct {
		otp_axis axis;
	} axis; /* concat */
	struct {
		otp_axis axis;
		int begin, count;
	} slice; /* slice, pad */
	struct {
		float scale, offset;
	} affine;
	struct {
		float slope;
	} slope;
	struct {
		float slope, scale;
	} gate; /* lrelu_gate_merge */
	/* h, w: dgrad's image size; wgrad's kernel size; else 0. slope: conv2d_bias's; scale: conv2d_merge's
	 */
	struct {
		int stride, pad, h, w;
		float slope, scale;
	} conv;
	struct {
		otp_filter filter;
		float gain, scale; /* scale: of the result, after its sums */
	} resample;
	struct {
		bool ta, tb;
	} matmul;
	struct {
		float scale;
	} attention; /* positive */
	struct {
		int groups;
		float eps;
		bool silu;
		float scale;	  /* norm_dgrad's and its merges' */
		int begin, count; /* channels of x that these make a gradient of */
	} norm;
	struct {
		otp_shape to;
		uint32_t purpose;
	} noise;
	struct {
		otp_shape to;
		int stored, column;
	} gather; /* stored: channels of the bytes, to.c or 1 (then repeated) */
	struct {
		int column;
	} record;
	struct {
		int kind;
		float times; /* a norm may be so many times the median of its kind */
	} guard;
	struct {
		bool ema;
		float beta1, beta2, eps;
	} adam;
	struct {
		int64_t each; /* columns of a process's own, one behind the other; the last has the rest */
		bool empty;   /* reduce_scatter: x holds nothing and counts as zeros */
		bool alike;   /* reduce_scatter: every process has the same calls before it */
	} deal;
} otp_attr;

/* Columns of the hyper tensor, (1, 1, 1, OTP_HYPER_COUNT), of ops adam and guard. correct1 = 1/(1 - beta1^t),
 * correct2 likewise; clip: a gradient of a larger norm is scaled down to it, 0: none is; slot: what a guard
 * that stops will name. What a graph reads beside these follows from OTP_HYPER_FREE on. */
enum {
	OTP_HYPER_RATE,
	OTP_HYPER_CORRECT1,
	OTP_HYPER_CORRECT2,
	OTP_HYPER_EMA,
	OTP_HYPER_CLIP,
	OTP_HYPER_SLOT,
	OTP_HYPER_FREE,
	OTP_HYPER_COUNT = 12
};
/* A guard tensor, (1, 1, 1, OTP_GUARD_HEAD + kinds OTP_GUARD_ROW): its head, then a row for each kind of step
 * (kernels/guard.h). STOPPED: 1 + the slot of the first norm that was refused; BOUND: what NORM was held
 * against. */
enum { OTP_GUARD_NORM, OTP_GUARD_FACTOR, OTP_GUARD_STOPPED, OTP_GUARD_BOUND, OTP_GUARD_HEAD };
enum { OTP_GUARD_KEPT = 15, OTP_GUARD_LEAST = 3, OTP_GUARD_ROW = 1 + OTP_GUARD_KEPT };
/* Columns of a gradient whose squares op squares adds up: never a worker's share of them, so that the norm
 * does not depend on how a run is laid out. */
enum { OTP_NORM_COLUMNS = 1024 };
static inline int otp_norm_blocks(int64_t columns)
{
	return (int)((columns + OTP_NORM_COLUMNS - 1) / OTP_NORM_COLUMNS);
}
/* The first of a process's blocks of columns. Processes have as many each, as reduce-scatter wants it, and
 * the last has what is left over too; process `processes` begins at the end. */
static inline int otp_process_block(int64_t columns, int process, int processes)
{
	int each = (int)(columns / OTP_NORM_COLUMNS / processes);
	return process < processes ? each * process : otp_norm_blocks(columns);
}
enum { OTP_ROW_PARAM, OTP_ROW_M, OTP_ROW_V, OTP_ROW_EMA };

const char *otp_op_name(otp_op op);
int otp_op_inputs(otp_op op);
bool otp_op_in_place(otp_op op);
/* Whether this input is words (OTP_U32) and not numbers. */
bool otp_op_takes_words(otp_op op, int input);
/* Op gather: words that hold one picture of so many bytes. */
int otp_gather_words(int64_t bytes);
/* The output's shape from inputs and attribute: op_shape.c. */
otp_shape otp_op_shape(otp_op op, const otp_attr *attr, const otp_shape *in, int input_count);

/* ---- the seam ---- */

typedef struct otp_tensor {
	void *data;
	otp_shape shape;
	otp_type type;
	void *rounded; /* float32 parameters: the same in bfloat16, kept so by adam; else NULL */
	int step; /* elements from row to row, a row being the c of one (n, h, w), where rows are parts of
		     wider ones (plan.h says whose may be); 0: dense, as all else */
} otp_tensor;

static inline int otp_row_step(const otp_tensor *t) { return t->step ? t->step : t->shape.c; }

/* Of a tensor of one value a channel for each sample, or for all. */
static inline int64_t otp_sample_step(const otp_tensor *t) { return t->shape.n == 1 ? 0 : otp_row_step(t); }

typedef struct otp_device otp_device;

#define OTP_CHOICES_otp_precision(X)                                                                         \
	X(OTP_PRECISION_F32, "f32")                                                                          \
	X(OTP_PRECISION_TF32, "tf32") X(OTP_PRECISION_BF16, "bf16") X(OTP_PRECISION_AUTO, "auto")
OTP_CHOICE(otp_precision); /* auto is settled before a program is made: engine/runtime.h */

/* One kernel invocation with everything it needs; frozen when the program is made. */
typedef struct otp_call {
	otp_op op;
	otp_attr attr;
	otp_tensor in[OTP_MAX_INPUTS], out;
	otp_precision precision;
	otp_device *device; /* where it runs */
	bool planned;	    /* bound for its scratch alone and never run: bind may leave out all else */
	/* squares and adam: whose columns are this call's, those of one process's worker */
	int process, processes, worker, workers;
	void *scratch; /* scratch_bytes(call) bytes, contents undefined */
	void *bound;   /* what the kernel's bind made; NULL without bind */
} otp_call;

/* The first of a worker's blocks of columns; of worker `workers`, the end of the process's. */
static inline int otp_call_block(const otp_call *call, int64_t columns, int worker)
{
	int first = otp_process_block(columns, call->process, call->processes);
	int last = otp_process_block(columns, call->process + 1, call->processes);
	return first + (int)((int64_t)(last - first) * worker / call->workers);
}

typedef struct otp_kernel {
	void (*run)(const otp_call *call);
	/* Optional: make call->bound; all but scratch is known. False with err set where it cannot be made;
	 * what of it there is then goes with unbind. */
	bool (*bind)(otp_call *call, otp_error *err);
	void (*unbind)(otp_call *call);		       /* optional */
	size_t (*scratch_bytes)(const otp_call *call); /* optional; asked after bind */
	/* What scratch_bytes is likely to say, asked without bind, of a call without memory: for kernels
	 * whose bind tries things out on the device. NULL: bind looks at shapes and types alone and costs
	 * little. */
	size_t (*expected_scratch)(otp_call *call);
} otp_kernel;

enum { OTP_LINK_ID_BYTES = 128 };

/* A backend: memory, transfers, and one kernel for every op of the table.
 * Runs on one device are ordered as they are issued; wait() returns when all are done. */
typedef struct otp_backend {
	const char *name;
	size_t element_bytes[OTP_TYPE_COUNT]; /* 0: the backend does not store this type */
	bool (*open)(int index, otp_device **device, otp_error *err);
	void (*close)(otp_device *device);
	int64_t most_elements; /* of a tensor that a kernel reads or writes; 0: any number */
	bool rows_apart;       /* conv2d_bias and conv2d_merge write rows that lie apart, and add such */
	void *(*alloc)(otp_device *device, size_t bytes); /* zeroed, 64-byte aligned; NULL: out of memory */
	void (*release)(otp_device *device, void *memory);
	/* host float (F32, BF16) or uint32_t (U32) to and from device elements */
	void (*upload)(otp_device *device, void *dst, otp_type type, const void *src, int64_t count);
	void (*download)(otp_device *device, void *dst, otp_type type, const void *src, int64_t count);
	/* Optional, before a program's calls are bound: what takes long is done for all of them at once. */
	void (*prepare)(otp_device *device, const otp_call *calls, int count);
	/* Launch calls in order. `token` is a slot that belongs to the program, NULL at first,
	 * where a backend may keep a captured form; forget() releases it. */
	void (*launch)(otp_device *device, const otp_call *calls, int count, void **token);
	void (*forget)(otp_device *device, void *token);
	void (*wait)(otp_device *device);
	size_t (*memory_free)(
	    otp_device *device); /* bytes beside the host's memory; 0: it computes in that */
	/* Devices of several processes, one each, over which reduce_scatter and all_gather then work. NULL:
	 * the backend's memory is the host's, and whoever connects hosts connects it. `id` is made by process
	 * 0 and the same everywhere. False: an error, and there is no connection; so where others have not
	 * come after so many seconds. */
	bool (*make_id)(char id[OTP_LINK_ID_BYTES], otp_error *err);
	bool (*connect)(otp_device *device, const char id[OTP_LINK_ID_BYTES], int process, int processes,
			int seconds, otp_error *err);
	int (*count)(void); /* of devices; NULL: there is but one */
	int (*workers)(otp_device *device,
		       int asked);	     /* how many workers share the device: asked (0: cores), or 1 */
	const otp_kernel *const *kernels;    /* [OTP_OP_COUNT], entry OTP_OP_LEAF unused */
	bool (*narrows)(otp_device *device); /* multiplies in less than float32; NULL: no */
	void (*describe)(char *text, size_t bytes); /* what it computes with, in a line */
} otp_backend;

/* Records that `bytes` for `what` (as in otp_calloc_for) could not be had, and what the device has left;
 * false. */
bool otp_backend_fail_memory(const otp_backend *backend, otp_device *device, size_t bytes, const char *what,
			     otp_error *err);

/* The one place that knows which backends exist: backends.c. */
const otp_backend *otp_backend_find(const char *name, otp_error *err);

#ifdef __cplusplus
}
#endif
#endif
