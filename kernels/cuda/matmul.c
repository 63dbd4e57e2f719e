/* matmul.c (cuda): matrix product through cuBLASLt, which thinks in columns: a
 * row-major product is the product of the transposes, in the other order. Where
 * an operand or the result is stored in bfloat16 the product is one of bfloat16
 * operands, a float32 one rounded into scratch first. */
#include "cuda/device.h"

static const size_t MOST_WORKSPACE = (size_t)32 << 20;

typedef struct bound {
	cublasLtMatmulDesc_t operation;
	cublasLtMatrixLayout_t first, second, result; /* as cuBLASLt names them: b, a, y */
	cublasLtMatmulHeuristicResult_t choice;
	bool narrow; /* operands are bfloat16 for cuBLASLt */
} bound;

static cublasLtMatrixLayout_t layout_of(const otp_tensor *t, bool narrow)
{
	cublasLtMatrixLayout_t layout;
	int32_t batch = (int32_t)(t->shape.n * t->shape.h);
	int64_t step = (int64_t)t->shape.w * t->shape.c;
	CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&layout, narrow ? CUDA_R_16BF : CUDA_R_32F,
						(uint64_t)t->shape.c, (uint64_t)t->shape.w, t->shape.c));
	CUBLAS_CHECK(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch,
						      sizeof batch));
	CUBLAS_CHECK(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
						      &step, sizeof step));
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

/* Views into spans and arenas lie at multiples of 64 bytes; slices of a caller's own perhaps not. */
static uint32_t alignment_of(const void *data)
{
	uintptr_t address = (uintptr_t)data;
	return address % 64 == 0 ? 64 : address % 16 == 0 ? 16 : 4;
}

static void choose(const otp_call *call, bound *b)
{
	static const cublasLtMatmulPreferenceAttributes_t names[] = {
	    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
	    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
	const void *data[] = {call->in[1].data, call->in[0].data, call->out.data,
			      call->out.data}; /* scratch: more */
	cublasLtMatmulPreference_t preference;
	int found = 0;
	CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
	CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(
	    preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &MOST_WORKSPACE, sizeof MOST_WORKSPACE));
	for (int i = 0; i < 4; i++) {
		uint32_t bytes = alignment_of(data[i]);
		CUBLAS_CHECK(
		    cublasLtMatmulPreferenceSetAttribute(preference, names[i], &bytes, sizeof bytes));
	}
	CUBLAS_CHECK(cublasLtMatmulAlgoGetHeuristic(call->device->blas, b->operation, b->first, b->second,
						    b->result, b->result, preference, 1, &b->choice, &found));
	CUBLAS_CHECK(found ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED);
	CUBLAS_CHECK(cublasLtMatmulPreferenceDestroy(preference));
}

static void bind_matmul(otp_call *call)
{
	bound *b = otp_calloc(1, sizeof *b);
	b->narrow =
	    call->in[0].type == OTP_BF16 || call->in[1].type == OTP_BF16 || call->out.type == OTP_BF16;
	otp_device_enter(call->device);
	CUBLAS_CHECK(
	    cublasLtMatmulDescCreate(&b->operation, compute_type(call->precision, b->narrow), CUDA_R_32F));
	put_operation(b->operation, CUBLASLT_MATMUL_DESC_TRANSA, call->attr.matmul.tb);
	put_operation(b->operation, CUBLASLT_MATMUL_DESC_TRANSB, call->attr.matmul.ta);
	b->first = layout_of(&call->in[1], b->narrow);
	b->second = layout_of(&call->in[0], b->narrow);
	b->result = layout_of(&call->out, call->out.type == OTP_BF16);
	choose(call, b);
	otp_device_leave(call->device);
	call->bound = b;
}

/* Bytes of scratch that operand i takes. */
static size_t rounded_bytes(const otp_call *call, int i)
{
	const bound *b = call->bound;
	bool needed = b->narrow && call->in[i].type != OTP_BF16;
	return needed ? otp_round_up((size_t)otp_shape_count(call->in[i].shape) * sizeof(uint16_t), 256) : 0;
}

static size_t workspace_bytes(const otp_call *call)
{
	const bound *b = call->bound;
	return otp_round_up(b->choice.workspaceSize, 256);
}

static void run_matmul(const otp_call *call)
{
	const bound *b = call->bound;
	const float one = 1, zero = 0;
	const void *operand[2];
	char *room = (char *)call->scratch + workspace_bytes(call);
	for (int i = 0; i < 2; i++) {
		operand[i] = call->in[i].data;
		if (!rounded_bytes(call, i))
			continue;
		otp_tensor rounded = {room, call->in[i].shape, OTP_BF16};
		otp_cuda_convert(call, &rounded, &call->in[i]);
		operand[i] = rounded.data;
		room += rounded_bytes(call, i);
	}
	CUBLAS_CHECK(cublasLtMatmul(call->device->blas, b->operation, &one, operand[1], b->first, operand[0],
				    b->second, &zero, call->out.data, b->result, call->out.data, b->result,
				    &b->choice.algo, call->scratch, b->choice.workspaceSize,
				    call->device->stream));
}

static void unbind_matmul(otp_call *call)
{
	bound *b = call->bound;
	CUBLAS_CHECK(cublasLtMatrixLayoutDestroy(b->result));
	CUBLAS_CHECK(cublasLtMatrixLayoutDestroy(b->second));
	CUBLAS_CHECK(cublasLtMatrixLayoutDestroy(b->first));
	CUBLAS_CHECK(cublasLtMatmulDescDestroy(b->operation));
	otp_free(b);
}

static size_t matmul_scratch(const otp_call *call)
{
	return workspace_bytes(call) + rounded_bytes(call, 0) + rounded_bytes(call, 1);
}

const otp_kernel otp_cuda_matmul = {run_matmul, bind_matmul, unbind_matmul, matmul_scratch};
