/* matmul.c (cuda): matrix products through cuBLASLt, which thinks in columns: a
 * row-major product is the product of the transposes, in the other order. Where
 * an operand of the op is stored in bfloat16 its product is one of bfloat16
 * operands, a float32 one rounded into scratch first. Of two float32 ones it is
 * float32, and converted if it is stored otherwise. */
#include "cuda/device.h"
#include "cuda/product.h"

static const size_t MOST_WORKSPACE = (size_t)32 << 20;

struct otp_product {
	cublasLtMatmulDesc_t operation;
	cublasLtMatrixLayout_t first, second, result; /* as cuBLASLt names them: b, a, y */
	cublasLtMatmulHeuristicResult_t choice;
};

/* NULL where it cannot be made, which is noted, or the end. */
static cublasLtMatrixLayout_t layout_of(const otp_matrices *m)
{
	cublasLtMatrixLayout_t layout = NULL;
	int32_t batch = (int32_t)m->batch;
	int64_t apart = (int64_t)m->rows * m->step;
	CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&layout, m->type == OTP_BF16 ? CUDA_R_16BF : CUDA_R_32F,
						(uint64_t)m->columns, (uint64_t)m->rows, m->step));
	if (!layout)
		return NULL;
	CUBLAS_CHECK(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch,
						      sizeof batch));
	CUBLAS_CHECK(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
						      &apart, sizeof apart));
	return layout;
}

static void put_operation(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t name,
			  bool transposed)
{
	cublasOperation_t value = transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
	CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(operation, name, &value, sizeof value));
}

/* Operands that stay float32 in memory are rounded on the way to tensor cores. */
static cublasComputeType_t compute_type(otp_precision precision, bool narrow)
{
	return precision == OTP_PRECISION_F32 || narrow ? CUBLAS_COMPUTE_32F
	       : precision == OTP_PRECISION_TF32	? CUBLAS_COMPUTE_32F_FAST_TF32
							: CUBLAS_COMPUTE_32F_FAST_16BF;
}

/* alignment: of a, b and y */
static void choose(otp_device *device, otp_product *p, const uint32_t *alignment)
{
	static const cublasLtMatmulPreferenceAttributes_t names[] = {
	    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
	    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
	cublasLtMatmulPreference_t preference = NULL;
	int found = 0;
	CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
	if (!preference)
		return;
	CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(
	    preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &MOST_WORKSPACE, sizeof MOST_WORKSPACE));
	for (int i = 0; i < 3; i++)
		CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference, names[i], &alignment[i],
								  sizeof alignment[i]));
	CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(
	    preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &alignment[2], sizeof alignment[2]));
	CUBLAS_CHECK(cublasLtMatmulAlgoGetHeuristic(device->blas, p->operation, p->first, p->second,
						    p->result, p->result, preference, 1, &p->choice, &found));
	CUBLAS_CHECK(found ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED);
	CUBLAS_CHECK(cublasLtMatmulPreferenceDestroy(preference));
}

otp_product *otp_product_new(otp_device *device, const otp_matrices *a, bool ta, const otp_matrices *b,
			     bool tb, const otp_matrices *y, otp_precision precision)
{
	const uint32_t alignment[] = {a->alignment, b->alignment, y->alignment};
	otp_product *p = otp_calloc(1, sizeof *p);
	otp_device_enter(device);
	CUBLAS_CHECK(cublasLtMatmulDescCreate(&p->operation, compute_type(precision, a->type == OTP_BF16),
					      CUDA_R_32F));
	p->first = layout_of(b);
	p->second = layout_of(a);
	p->result = layout_of(y);
	if (p->operation && p->first && p->second && p->result) {
		put_operation(p->operation, CUBLASLT_MATMUL_DESC_TRANSA, tb);
		put_operation(p->operation, CUBLASLT_MATMUL_DESC_TRANSB, ta);
		choose(device, p, alignment);
	}
	otp_device_leave(device);
	return p;
}

void otp_product_free(otp_product *p)
{
	if (!p)
		return;
	const cublasLtMatrixLayout_t layouts[] = {p->result, p->second, p->first};
	for (int i = 0; i < 3; i++)
		if (layouts[i])
			CUBLAS_CHECK(cublasLtMatrixLayoutDestroy(layouts[i]));
	if (p->operation)
		CUBLAS_CHECK(cublasLtMatmulDescDestroy(p->operation));
	otp_free(p);
}

size_t otp_product_workspace(const otp_product *p) { return p->choice.workspaceSize; }

void otp_product_run(const otp_call *call, const otp_product *p, const void *a, const void *b, void *y,
		     void *workspace)
{
	const float one = 1, zero = 0;
	CUBLAS_CHECK(cublasLtMatmul(call->device->blas, p->operation, &one, b, p->first, a, p->second, &zero,
				    y, p->result, y, p->result, &p->choice.algo, workspace,
				    p->choice.workspaceSize, call->device->stream));
}

/* ---- the op ---- */

static bool is_narrow(const otp_call *call)
{
	return call->in[0].type == OTP_BF16 || call->in[1].type == OTP_BF16;
}

/* Operand i, or the copy that adam keeps of it in bfloat16. */
static otp_tensor operand(const otp_call *call, int i)
{
	return is_narrow(call) ? otp_cuda_rounded(call->in[i]) : call->in[i];
}

/* cuBLASLt has no product of float32 operands that it writes in bfloat16. */
static bool is_converted(const otp_call *call) { return !is_narrow(call) && call->out.type == OTP_BF16; }

static otp_matrices matrices_of(otp_tensor t, otp_type type)
{
	return (otp_matrices){type,	 (int64_t)t.shape.n * t.shape.h,     t.shape.w, t.shape.c,
			      t.shape.c, otp_alignment_of((uintptr_t)t.data)};
}

static bool bind_matmul(otp_call *call, otp_error *err)
{
	otp_cuda_note note;
	otp_type operands = is_narrow(call) ? OTP_BF16 : OTP_F32;
	otp_matrices a = matrices_of(operand(call, 0), operands), b = matrices_of(operand(call, 1), operands);
	otp_matrices y = matrices_of(call->out, is_converted(call) ? OTP_F32 : call->out.type);
	otp_cuda_start_note(&note);
	call->bound = otp_product_new(call->device, &a, call->attr.matmul.ta, &b, call->attr.matmul.tb, &y,
				      call->precision);
	return otp_cuda_end_note(&note, err);
}

/* Bytes of scratch that operand i takes. */
static size_t rounded_bytes(const otp_call *call, int i)
{
	bool needed = is_narrow(call) && operand(call, i).type != OTP_BF16;
	return needed ? otp_round_up((size_t)otp_shape_count(call->in[i].shape) * sizeof(uint16_t), 256) : 0;
}

static size_t workspace_bytes(const otp_call *call)
{
	return otp_round_up(otp_product_workspace(call->bound), 256);
}

static void run_matmul(const otp_call *call)
{
	const void *data[2];
	char *room = (char *)call->scratch + workspace_bytes(call);
	for (int i = 0; i < 2; i++) {
		data[i] = operand(call, i).data;
		if (!rounded_bytes(call, i))
			continue;
		otp_tensor rounded = {room, call->in[i].shape, OTP_BF16, NULL};
		otp_cuda_convert(call, &rounded, &call->in[i]);
		data[i] = rounded.data;
		room += rounded_bytes(call, i);
	}
	if (!is_converted(call)) {
		otp_product_run(call, call->bound, data[0], data[1], call->out.data, call->scratch);
		return;
	}
	otp_tensor wide = {room, call->out.shape, OTP_F32, NULL};
	otp_product_run(call, call->bound, data[0], data[1], wide.data, call->scratch);
	otp_cuda_convert(call, &call->out, &wide);
}

static void unbind_matmul(otp_call *call) { otp_product_free(call->bound); }

static size_t matmul_scratch(const otp_call *call)
{
	size_t result = is_converted(call) ? (size_t)otp_shape_count(call->out.shape) * sizeof(float) : 0;
	return workspace_bytes(call) + rounded_bytes(call, 0) + rounded_bytes(call, 1) + result;
}

const otp_kernel otp_cuda_matmul = {run_matmul, bind_matmul, unbind_matmul, matmul_scratch};
