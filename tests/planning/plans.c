/* plans: with cuDNN itself and without a device, plans for every convolution and attention of a training's
 * steps, as conv.c and attention.c ask for them, for a GPU that is only described.
 *
 *   cuda_plans [--compile] [--gpu FILE] PRESET BATCH PRECISION [KEY VALUE ...]
 *
 * With --compile, engines that cuDNN compiles are, which takes a driver (tests/planning/driver.c); the text
 * that is kept of a plan is built again, too. A line a plan: its engine, workspace, seconds, and graph. Exit
 * code 1 where one has none.
 */
#include "config/config.h"
#include "config/rules.h"
#include "config/settings.h"
#include "core/file.h"
#include "cuda/compile.h"
#include "engine/engine.h"
#include "graph/launch_count.h"
#include "launches.h"
#include "planning/gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
	cudnnBackendDescriptor_t gpu;
	otp_device device;
	int planned, composed, missing;
} all;

/* ---- what stands in for the device ---- */

void otp_device_enter(otp_device *d) { (void)d; }
void otp_device_leave(otp_device *d) { (void)d; }
void otp_dnn_convolve(otp_device *d, const otp_dnn_plan *p, void *const data[OTP_DNN_ROLES], void *workspace)
{
	(void)d, (void)p, (void)data, (void)workspace;
	abort();
}
void otp_cuda_convert(const otp_call *call, const otp_tensor *dst, const otp_tensor *src)
{
	(void)call, (void)dst, (void)src;
	abort();
}
void otp_cuda_epilogue(const otp_call *call, const otp_tensor *out, const otp_tensor *y, const otp_tensor *b,
		       const otp_tensor *r, float scale, float slope)
{
	(void)call, (void)out, (void)y, (void)b, (void)r, (void)scale, (void)slope;
	abort();
}
bool otp_dnn_expect_workspace(otp_device *d, const otp_dnn_conv *conv, size_t *bytes)
{
	(void)d, (void)conv, (void)bytes;
	abort();
}
void otp_compile_add_conv(otp_compile_list *list, const otp_dnn_conv *conv) { (void)list, (void)conv; }

/* ---- plans ---- */

static cudnnBackendDescriptor_t build(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
				      int64_t count, const void *values, int64_t *workspace_bytes)
{
	cudnnBackendDescriptor_t plan = NULL;
	int64_t found;
	CUDNN_CHECK(cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan));
	if (cudnnBackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
				     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &all.gpu) == CUDNN_STATUS_SUCCESS &&
	    cudnnBackendSetAttribute(plan, name, type, count, values) == CUDNN_STATUS_SUCCESS &&
	    cudnnBackendFinalize(plan) == CUDNN_STATUS_SUCCESS &&
	    cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1,
				     &found, workspace_bytes) == CUDNN_STATUS_SUCCESS)
		return plan;
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(plan));
	return NULL;
}

/* As a later start builds it: of its text; that has to be the same plan. */
static bool is_kept(cudnnBackendDescriptor_t plan, int64_t workspace_bytes)
{
	size_t bytes;
	int64_t again_bytes = -1;
	char *text = otp_dnn_plan_text(plan, &bytes);
	cudnnBackendDescriptor_t again = text ? build(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
						      CUDNN_TYPE_CHAR, (int64_t)bytes, text, &again_bytes)
					      : NULL;
	otp_free(text);
	if (again)
		CUDNN_CHECK(cudnnBackendDestroyDescriptor(again));
	return again && again_bytes == workspace_bytes;
}

/* The first candidate that can be built; whether there is one. */
static bool plan_graph(otp_dnn_graph *g, const char *key, bool rounds, bool compiled)
{
	otp_dnn_candidate list[OTP_DNN_MOST_CANDIDATES];
	cudnnBackendDescriptor_t plan = NULL;
	int64_t bytes = 0;
	double begun = otp_seconds();
	g->described = all.gpu;
	int count = otp_dnn_candidates(g, rounds, compiled, list);
	for (int i = 0; i < count && !plan; i++) {
		plan = build(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
			     &list[i].config, &bytes);
		if (!plan)
			continue;
		bool kept = is_kept(plan, bytes);
		printf("engine %3lld %s  %9lld bytes of workspace  %5.2f s  %s%s\n",
		       (long long)list[i].engine, compiled ? "compiled" : "ready   ", (long long)bytes,
		       otp_seconds() - begun, key, kept ? "" : "  NOT BUILT OF ITS TEXT");
		fflush(stdout);
		all.missing += !kept;
	}
	otp_dnn_drop_candidates(list, count);
	if (plan)
		CUDNN_CHECK(cudnnBackendDestroyDescriptor(plan));
	return plan;
}

static void lack(const char *key)
{
	printf("NO ENGINE  %s\n", key);
	all.missing++;
}

/* conv.c asks for it; a fused one is the faster in its eyes, and what runs without it is planned, too. */
otp_dnn_plan *otp_dnn_plan_for(otp_device *d, const otp_dnn_conv *conv)
{
	char key[OTP_DNN_NAME];
	bool found;
	otp_dnn_name(conv, key);
	otp_dnn_plan *p = otp_dnn_plan_of(d, key, &found);
	if (found)
		return p;
	p->conv = *conv;
	if (!otp_dnn_graph_init(&p->graph, conv, NULL))
		return p;
	if (plan_graph(&p->graph, key, otp_dnn_rounds(conv), conv->compiled)) {
		p->verdict = OTP_WAY_TIMED;
		all.planned++;
	}
	otp_dnn_graph_free(&p->graph);
	return p;
}

float otp_dnn_time(otp_device *d, otp_dnn_plan *p) { return (void)d, (void)p, 1.0F; }
float otp_dnn_time_epilogue(otp_device *d, const otp_dnn_conv *conv, otp_type stored)
{
	return (void)d, (void)conv, (void)stored, 1.0F;
}
void otp_dnn_settle(otp_device *d, otp_dnn_plan *p, bool wanted)
{
	(void)d;
	p->verdict = wanted ? OTP_WAY_WANTED : OTP_WAY_UNWANTED;
}

static void plan_attention(otp_dnn_attention_pass pass, const otp_call *call)
{
	otp_shape s = call->in[0].shape;
	otp_dnn_attention a = {pass, (int64_t)s.n * s.h, s.w, s.c / 3};
	otp_dnn_graph g;
	char key[OTP_DNN_NAME];
	bool found;
	otp_dnn_name_attention(&a, key);
	otp_dnn_plan_of(&all.device, key, &found);
	if (found)
		return;
	if (!otp_dnn_attention_init(&g, &a, NULL)) {
		lack(key);
		return;
	}
	if (plan_graph(&g, key, true, true)) {
		all.planned++;
	} else {
		/* attention.c runs products and softmax then */
		printf("no engine, composed  %s\n", key);
		all.composed++;
	}
	otp_dnn_graph_free(&g);
}

/* ---- the calls of a step ---- */

static const otp_kernel *const convolutions[OTP_OP_COUNT] = {[OTP_OP_conv2d] = &otp_cuda_conv2d,
							     [OTP_OP_conv2d_bias] = &otp_cuda_conv2d_bias,
							     [OTP_OP_conv2d_merge] = &otp_cuda_conv2d_merge,
							     [OTP_OP_conv2d_dgrad] = &otp_cuda_conv2d_dgrad,
							     [OTP_OP_conv2d_wgrad] = &otp_cuda_conv2d_wgrad};

static void see(void *context, otp_step_kind kind, const otp_call *given)
{
	otp_call call = *given;
	otp_error err = {0};
	(void)context, (void)kind;
	call.device = &all.device;
	if (convolutions[call.op]) {
		if (!convolutions[call.op]->bind(&call, &err))
			lack(err.text);
		convolutions[call.op]->unbind(&call);
	}
	bool adjoint = call.op == OTP_OP_attention_grad;
	if ((call.op != OTP_OP_attention && !adjoint) || !all.device.compiles || call.out.type != OTP_BF16 ||
	    !otp_worth_flash(call.in[0].shape))
		return;
	plan_attention(adjoint ? OTP_DNN_ATTENTION_KEEPING : OTP_DNN_ATTENTION_FORWARD, &call);
	if (adjoint)
		plan_attention(OTP_DNN_ATTENTION_ADJOINT, &call);
}

static bool configure(otp_config *c, char **words, int count, otp_error *err)
{
	otp_config_defaults(c);
	if (!otp_config_preset(c, words[0], err) || !otp_config_set(c, "batch", words[1], "BATCH", err) ||
	    !otp_config_set(c, "precision", words[2], "PRECISION", err))
		return false;
	for (int i = 3; i + 1 < count; i += 2)
		if (!otp_config_set(c, words[i], words[i + 1], words[i], err))
			return false;
	return true;
}

static bool list(otp_config *c, otp_error *err)
{
	otp_arch arch;
	if (!otp_settings_arch(c, false, c->image_size.h, c->image_size.w, 3, &arch, err) ||
	    !otp_rules_settle(c, false, otp_arch_values(&arch), err))
		return false;
	otp_runtime paper = {
	    .backend = &otp_cuda_on_paper, .pool = otp_pool_new(1), .precision = c->precision};
	otp_engine_settings settings = {.objective = otp_settings_objective(c, &arch),
					.batch = c->batch,
					.parts = 1,
					.r1_used = true,
					.plain_used = true,
					.beta1 = c->beta1,
					.beta2 = c->beta2};
	otp_engine_list(&paper, &settings, see, NULL);
	otp_pool_free(paper.pool);
	return true;
}

static bool describe_gpu(const char *path, otp_error *err)
{
	size_t bytes = sizeof OTP_H100;
	char *file = path ? otp_file_read(path, &bytes, err) : NULL;
	if (path && !file)
		return false;
	all.gpu = otp_describe_gpu(path ? file : OTP_H100, (int64_t)bytes);
	otp_free(file);
	return all.gpu || otp_fail(err, path ? path : "the H100",
				   "cuDNN %zu refuses the description of the GPU", cudnnGetVersion());
}

enum { SKIPPED = 77 };

int main(int argc, char **argv)
{
	const char *gpu = NULL;
	otp_config config;
	otp_error err = {0};
	int at = 1;
	for (; at < argc && argv[at][0] == '-'; at++)
		if (strcmp(argv[at], "--compile") == 0)
			all.device.compiles = true;
		else if (strcmp(argv[at], "--gpu") == 0 && at + 1 < argc)
			gpu = argv[++at];
	if (argc - at < 3) {
		otp_log("usage: cuda_plans [--compile] [--gpu FILE] PRESET BATCH PRECISION [KEY VALUE ...]");
		return OTP_EXIT_USAGE;
	}
	if (cudnnGetVersion() < OTP_GPU_DESCRIBED_SINCE) {
		otp_log("cuda_plans: skipped: cuDNN %zu plans for no described GPU, expected %d or later",
			cudnnGetVersion(), OTP_GPU_DESCRIBED_SINCE);
		return SKIPPED;
	}
	if (!describe_gpu(gpu, &err) || !configure(&config, argv + at, argc - at, &err) ||
	    !list(&config, &err))
		otp_end(&err);
	printf("preset %s, batch %s, %s: %d plans, %d attentions composed, %d missing\n", argv[at],
	       argv[at + 1], argv[at + 2], all.planned, all.composed, all.missing);
	otp_dnn_forget_plans(&all.device);
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(all.gpu));
	return all.missing ? OTP_EXIT_FAILED : 0;
}
