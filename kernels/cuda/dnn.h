/* dnn: the only door to cuDNN, through its graph interface. A convolution (or
 * attention or its adjoint: flash.h) is described, its operation graph built (no
 * device is needed so far), and a plan chosen for it: candidates of cuDNN's
 * heuristics that are deterministic and precise enough, timed once, the fastest
 * kept on disk by cuDNN version, GPU and graph, and shared by all calls of the
 * process. */
#ifndef OTP_CUDA_DNN_H
#define OTP_CUDA_DNN_H

#include "cuda/device.h"
#include "cuda/ways.h"

#include <math.h>

typedef enum otp_dnn_direction { OTP_DNN_FORWARD, OTP_DNN_DGRAD, OTP_DNN_WGRAD } otp_dnn_direction;
typedef enum otp_dnn_role {
	OTP_DNN_X,
	OTP_DNN_W,
	OTP_DNN_Y,
	OTP_DNN_BIAS,
	OTP_DNN_RESIDUAL,
	OTP_DNN_SCALE, /* one float, in the host's memory */
	OTP_DNN_ROLES
} otp_dnn_role;

/* What follows a forward convolution: y = lrelu(scale (x * w + b + r), slope), all in float32; r may be
 * missing, 1 is no scale and no slope. */
typedef struct otp_dnn_epilogue {
	bool bias; /* false: nothing follows */
	bool residual, bf16_residual;
	float scale, slope;
} otp_dnn_epilogue;

/* y = x * w, or its adjoints: x from y, w from y. Weights are (out, kh, kw, in). Sums are float32. */
typedef struct otp_dnn_conv {
	otp_dnn_direction direction;
	otp_shape x, w, y;
	int stride, pad;
	int y_step, r_step; /* otp_tensor's, of a result and a residual whose rows lie apart; 0: dense */
	otp_dnn_epilogue after;
	bool bf16_in, bf16_out; /* the two operands; the result */
	bool tf32;		/* float32 operands may be rounded to TF32 */
	bool compiled;		/* by an engine that is compiled for it, which takes seconds */
} otp_dnn_conv;

/* y = softmax(scale q k^T) v of each of `batch` matrices, in bfloat16 with float32 sums: a row of qkv is a
 * token's query, key and value, of `channels` each, and a row of the gradients likewise. The scale is given
 * when it runs. Forward, forward KEEPING the statistics (log sum exp of each token's scores, float32), and
 * the adjoint, which takes these and the result. */
typedef enum otp_dnn_attention_pass {
	OTP_DNN_ATTENTION_FORWARD,
	OTP_DNN_ATTENTION_KEEPING,
	OTP_DNN_ATTENTION_ADJOINT
} otp_dnn_attention_pass;
typedef struct otp_dnn_attention {
	otp_dnn_attention_pass pass;
	int64_t batch;
	int tokens, channels;
} otp_dnn_attention;
typedef enum otp_dnn_attention_role {
	OTP_DNN_QUERY,
	OTP_DNN_KEY,
	OTP_DNN_VALUE,
	OTP_DNN_MIX,	     /* the result */
	OTP_DNN_SCORE_SCALE, /* one float, in the host's memory; so is ONE, which is 1 */
	OTP_DNN_STATISTICS,
	OTP_DNN_ONE,
	OTP_DNN_INNER, /* float32 scratch: <MIX, its gradient> of each token */
	OTP_DNN_MIX_GRAD,
	OTP_DNN_QUERY_GRAD,
	OTP_DNN_KEY_GRAD,
	OTP_DNN_VALUE_GRAD,
	OTP_DNN_ATTENTION_ROLES
} otp_dnn_attention_role;

otp_dnn_role otp_dnn_result(const otp_dnn_conv *conv);
/* Whether the convolution's computation has such an operand or result. */
bool otp_dnn_takes(const otp_dnn_conv *conv, otp_dnn_role role);
bool otp_dnn_attention_takes(otp_dnn_attention_pass pass, otp_dnn_attention_role role);

typedef struct otp_dnn_graph {
	cudnnBackendDescriptor_t made[64]; /* in order of dependence; the last is the operation graph */
	int count;
	cudnnBackendDescriptor_t
	    described; /* without a handle: the GPU that heuristics are to think of, or NULL */
} otp_dnn_graph;

/* handle NULL: for no device. False where cuDNN refuses the description. */
bool otp_dnn_graph_init(otp_dnn_graph *g, const otp_dnn_conv *conv, cudnnHandle_t handle);
bool otp_dnn_attention_init(otp_dnn_graph *g, const otp_dnn_attention *attention, cudnnHandle_t handle);
void otp_dnn_graph_free(otp_dnn_graph *g);
cudnnBackendDescriptor_t otp_dnn_graph_whole(const otp_dnn_graph *g);

/* Whether operands are, or may be, rounded to less than float32. */
bool otp_dnn_rounds(const otp_dnn_conv *conv);
/* OTPLAN_CUDA_NONDETERMINISTIC=1: engines whose results differ in their last bits from run to run may serve
 * too. */
bool otp_dnn_bits_may_vary(void);
/* Deterministic unless told otherwise, and precise enough where operands may be rounded or may not; and
 * whether it compiles its kernels when it is built. */
bool otp_dnn_engine_allowed(cudnnBackendDescriptor_t engine, bool rounds, bool *compiles);

/* Candidate `rank` of a mode of the heuristics; -1: of none. */
typedef struct otp_dnn_choice {
	int mode, rank;
} otp_dnn_choice;

/* An engine configuration that heuristics propose. */
typedef struct otp_dnn_candidate {
	cudnnBackendDescriptor_t config;
	otp_dnn_choice choice;
	int64_t engine;	     /* which one */
	uint64_t adjustment; /* a digest of its knobs */
	bool compiled;
} otp_dnn_candidate;

enum { OTP_DNN_MOST_CANDIDATES = 64, OTP_DNN_NAME = 256 };
/* How many compiled candidates are tried, each of which takes a second or more to compile: of a convolution,
 * of attention, and of the forward pass that its adjoint runs. */
enum { OTP_DNN_COMPILED_CONV = 1, OTP_DNN_COMPILED_ATTENTION = 2, OTP_DNN_COMPILED_KEEPING = 1 };

/* Those of modes A, B and fallback whose engines are allowed and compile their kernels, or do not, each once:
 * first the best of every engine, then the second of every engine, and so on. Release them with
 * otp_dnn_drop_candidates. */
int otp_dnn_candidates(const otp_dnn_graph *g, bool rounds, bool compiled,
		       otp_dnn_candidate list[OTP_DNN_MOST_CANDIDATES]);
void otp_dnn_drop_candidates(const otp_dnn_candidate *list, int count);

struct otp_dnn_plan {
	otp_dnn_plan *next;
	char key[OTP_DNN_NAME];
	otp_dnn_conv conv; /* attention's has none */
	otp_dnn_graph graph;
	cudnnBackendDescriptor_t plan; /* NULL: there is none, or none is wanted */
	enum otp_way_verdict verdict;  /* of a convolution */
	otp_dnn_choice choice;	       /* the candidate that it was built of */
	const otp_dnn_plan *first;     /* runs before it: attention's adjoint has a forward pass of its own */
	size_t workspace_bytes;
	float taken; /* milliseconds, when it was tried; 0: it was not timed in this process */
};

/* What stands for it in the file of choices. */
void otp_dnn_name(const otp_dnn_conv *conv, char key[static OTP_DNN_NAME]);
void otp_dnn_name_attention(const otp_dnn_attention *attention, char key[static OTP_DNN_NAME]);
/* Its verdict says whether an allowed engine computes this convolution, and whether an earlier run of the
 * program found it faster, or slower, than the convolution and the epilogue apart. The device keeps the plan.
 */
otp_dnn_plan *otp_dnn_plan_for(otp_device *device, const otp_dnn_conv *conv);
/* Keeps whether a plan with an epilogue is wanted, now that it was compared. */
void otp_dnn_settle(otp_device *device, otp_dnn_plan *plan, bool wanted);
/* Milliseconds of a run of the plan. */
float otp_dnn_time(otp_device *device, otp_dnn_plan *plan);
/* Milliseconds of a launch of our own that does what follows this convolution, from its result's type to what
 * is stored. */
float otp_dnn_time_epilogue(otp_device *device, const otp_dnn_conv *conv, otp_type stored);
/* The workspace of the plan that the heuristics put first, with nothing run and no memory taken: what the
 * chosen one is likely to want. False where there is none. */
bool otp_dnn_expect_workspace(otp_device *device, const otp_dnn_conv *conv, size_t *bytes);
/* data by role */
void otp_dnn_convolve(otp_device *device, const otp_dnn_plan *plan, void *const data[OTP_DNN_ROLES],
		      void *workspace);

/* ---- what choosing a plan takes, whatever it computes ---- */

/* NULL where it cannot be built. Of its text, if there is one; else of the candidate's configuration. */
cudnnBackendDescriptor_t otp_dnn_build(otp_device *device, const char *key, const otp_dnn_candidate *c,
				       int64_t *workspace_bytes);
/* Of the configuration, with a handle of the caller's own. */
cudnnBackendDescriptor_t otp_dnn_build_with(cudnnHandle_t handle, const otp_dnn_candidate *c,
					    int64_t *workspace_bytes);
/* Of its text alone, NULL where there is none or cuDNN refuses it. */
cudnnBackendDescriptor_t otp_dnn_rebuild(otp_device *device, const char *key, otp_dnn_choice choice,
					 int64_t *workspace_bytes);
/* What is given by value is read before it returns. */
cudnnStatus_t otp_dnn_execute(otp_device *device, cudnnBackendDescriptor_t plan, int count,
			      const int64_t *ids, const void *const *data, void *workspace);
/* The larger error; the largest is what is not a number. */
static inline double otp_dnn_worst(double worst, double error)
{
	return error <= worst ? worst : isnan(error) ? (double)INFINITY : error;
}
/* The device's plan of that key; a new one, still empty, where `found` is false. */
otp_dnn_plan *otp_dnn_plan_of(otp_device *device, const char *key, bool *found);

bool otp_dnn_has_plan(const otp_device *device, const char *key);
void otp_dnn_forget_plans(otp_device *device);

/* ---- what was chosen before: choices.c ---- */

/* In place of a mode: there are plans, but what they do is done faster apart. */
enum { OTP_DNN_NONE_WANTED = CUDNN_HEUR_MODES_COUNT };
otp_dnn_choice otp_dnn_find_choice(const otp_device *device, const char *key);
void otp_dnn_keep_choice(const otp_device *device, const char *key, otp_dnn_choice choice);
/* Keeps the plan that was chosen for the next start, which need not compile it then. */
void otp_dnn_keep_plan(otp_device *device, const char *key, otp_dnn_choice choice,
		       cudnnBackendDescriptor_t plan);
/* cuDNN's text of a plan, compiled kernels included; NULL where it has none. otp_free it. */
char *otp_dnn_plan_text(cudnnBackendDescriptor_t plan, size_t *bytes);
/* The text kept of a plan, NULL where there is none. What is damaged or another's is told. */
const char *otp_dnn_find_text(otp_device *device, const char *key, otp_dnn_choice choice, size_t *bytes);
/* A text for otp_dnn_find_text, which the device now owns. */
void otp_dnn_hold_text(otp_device *device, const char *key, otp_dnn_choice choice, char *text, size_t bytes);
/* Says that cuDNN takes no such text, and forgets it. */
void otp_dnn_refuse_text(otp_device *device, const char *key, otp_dnn_choice choice);
void otp_dnn_open_choices(otp_device *device, const char *gpu);
void otp_dnn_close_choices(otp_device *device);

#endif
