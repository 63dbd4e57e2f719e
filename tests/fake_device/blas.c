/* blas.c: cuBLASLt's matrix product in plain loops, in double. */
#include "fake_device/fake.h"

#include "bf16.h"

#include <string.h>

typedef struct layout {
	cudaDataType_t type;
	uint64_t rows, columns;
	int64_t step; /* between columns */
	int32_t batch;
	int64_t apart;
} layout;

typedef struct operation {
	cublasOperation_t a, b;
	cublasComputeType_t compute; /* what float32 operands are rounded to */
} operation;

/* What an algorithm counts on. */
typedef struct wishes {
	uint32_t alignment[3]; /* of a, b and the result */
	uint32_t workspace_bytes;
} wishes;
_Static_assert(sizeof(wishes) <= sizeof(cublasLtMatmulAlgo_t), "they travel in an algorithm");

typedef struct product {
	layout a, b, y;
	operation operation;
	double alpha;
	const void *a_data, *b_data;
	void *y_data, *workspace;
	size_t workspace_bytes;
} product;

enum { WORKSPACE_BYTES = 1000 };

/* ---- descriptors ---- */

static cublasStatus_t make(void **object, size_t bytes, otp_fake_kind kind, bool refused)
{
	if (refused)
		return CUBLAS_STATUS_ALLOC_FAILED;
	*object = otp_calloc(1, bytes);
	otp_fake_count(kind, 1);
	return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t destroy(void *object, otp_fake_kind kind, bool refused)
{
	otp_free(object);
	otp_fake_count(kind, -1);
	return refused ? CUBLAS_STATUS_INTERNAL_ERROR : CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t set(void *field, size_t bytes, const void *value, size_t given, bool refused)
{
	if (refused || bytes != given)
		return CUBLAS_STATUS_INVALID_VALUE;
	memcpy(field, value, bytes);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
	OTP_FAKE_CALL;
	return make((void **)handle, 1, OTP_FAKE_BLAS, call.refused);
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
	OTP_FAKE_CALL;
	return destroy(handle, OTP_FAKE_BLAS, call.refused);
}

size_t cublasLtGetVersion(void) { return CUBLAS_VERSION; }

const char *cublasLtGetStatusString(cublasStatus_t status)
{
	return status == CUBLAS_STATUS_SUCCESS ? "success" : "refused by the fake device";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d, cublasComputeType_t compute,
					cudaDataType_t scale)
{
	OTP_FAKE_CALL;
	bool known = compute == CUBLAS_COMPUTE_32F || compute == CUBLAS_COMPUTE_32F_FAST_TF32 ||
		     compute == CUBLAS_COMPUTE_32F_FAST_16BF;
	bool refused = call.refused || scale != CUDA_R_32F || !known;
	cublasStatus_t status = make((void **)d, sizeof(operation), OTP_FAKE_MATRIX, refused);
	if (status == CUBLAS_STATUS_SUCCESS)
		*(operation *)(void *)*d = (operation){CUBLAS_OP_N, CUBLAS_OP_N, compute};
	return status;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
	OTP_FAKE_CALL;
	return destroy(d, OTP_FAKE_MATRIX, call.refused);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t name,
					      const void *value, size_t bytes)
{
	OTP_FAKE_CALL;
	operation *o = (void *)d;
	if (name == CUBLASLT_MATMUL_DESC_TRANSA)
		return set(&o->a, sizeof o->a, value, bytes, call.refused);
	if (name == CUBLASLT_MATMUL_DESC_TRANSB)
		return set(&o->b, sizeof o->b, value, bytes, call.refused);
	return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l, cudaDataType_t type, uint64_t rows,
					  uint64_t columns, int64_t step)
{
	OTP_FAKE_CALL;
	bool refused = call.refused || (type != CUDA_R_32F && type != CUDA_R_16BF) || step < (int64_t)rows;
	cublasStatus_t status = make((void **)l, sizeof(layout), OTP_FAKE_MATRIX, refused);
	if (status == CUBLAS_STATUS_SUCCESS)
		*(layout *)(void *)*l = (layout){type, rows, columns, step, 1, 0};
	return status;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
	OTP_FAKE_CALL;
	return destroy(l, OTP_FAKE_MATRIX, call.refused);
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t m,
						cublasLtMatrixLayoutAttribute_t name, const void *value,
						size_t bytes)
{
	OTP_FAKE_CALL;
	layout *l = (void *)m;
	if (name == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT)
		return set(&l->batch, sizeof l->batch, value, bytes, call.refused);
	if (name == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET)
		return set(&l->apart, sizeof l->apart, value, bytes, call.refused);
	return CUBLAS_STATUS_INVALID_VALUE;
}

/* ---- choosing ---- */

typedef struct preference {
	uint64_t most_workspace;
	uint32_t alignment[3], result;
} preference;

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p)
{
	OTP_FAKE_CALL;
	cublasStatus_t status = make((void **)p, sizeof(preference), OTP_FAKE_MATRIX, call.refused);
	if (status == CUBLAS_STATUS_SUCCESS)
		*(preference *)(void *)*p = (preference){0, {256, 256, 256}, 256};
	return status;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
	OTP_FAKE_CALL;
	return destroy(p, OTP_FAKE_MATRIX, call.refused);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t q,
						    cublasLtMatmulPreferenceAttributes_t name,
						    const void *value, size_t bytes)
{
	OTP_FAKE_CALL;
	preference *p = (void *)q;
	switch ((int)name) {
	case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
		return set(&p->most_workspace, sizeof p->most_workspace, value, bytes, call.refused);
	case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
		return set(&p->alignment[0], sizeof *p->alignment, value, bytes, call.refused);
	case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
		return set(&p->alignment[1], sizeof *p->alignment, value, bytes, call.refused);
	case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
		return set(&p->alignment[2], sizeof *p->alignment, value, bytes, call.refused);
	case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
		return set(&p->result, sizeof p->result, value, bytes, call.refused);
	default:
		return CUBLAS_STATUS_INVALID_VALUE;
	}
}

static uint64_t rows_of(const layout *l, cublasOperation_t o)
{
	return o == CUBLAS_OP_N ? l->rows : l->columns;
}
static uint64_t columns_of(const layout *l, cublasOperation_t o)
{
	return o == CUBLAS_OP_N ? l->columns : l->rows;
}

static bool fit(const operation *o, const layout *a, const layout *b, const layout *y)
{
	return columns_of(a, o->a) == rows_of(b, o->b) && rows_of(a, o->a) == y->rows &&
	       columns_of(b, o->b) == y->columns && a->batch == b->batch && a->batch == y->batch &&
	       a->type == b->type && (a->type == CUDA_R_16BF || y->type == CUDA_R_32F);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t d,
					      cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
					      cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t y,
					      cublasLtMatmulPreference_t q, int most,
					      cublasLtMatmulHeuristicResult_t results[], int *found)
{
	OTP_FAKE_CALL;
	(void)handle;
	const preference *p = (void *)q;
	*found = 0;
	if (call.refused || c != y || most < 1 || p->most_workspace < WORKSPACE_BYTES ||
	    !fit((void *)d, (void *)a, (void *)b, (void *)y))
		return CUBLAS_STATUS_NOT_SUPPORTED;
	wishes w = {{p->alignment[0], p->alignment[1], p->alignment[2]}, WORKSPACE_BYTES};
	results[0] = (cublasLtMatmulHeuristicResult_t){.workspaceSize = WORKSPACE_BYTES,
						       .state = CUBLAS_STATUS_SUCCESS};
	memcpy(&results[0].algo, &w, sizeof w);
	*found = 1;
	return CUBLAS_STATUS_SUCCESS;
}

/* ---- running ---- */

static double get(const layout *l, const void *data, int64_t at)
{
	return (double)(l->type == CUDA_R_16BF ? otp_bf16_widen(((const uint16_t *)data)[at])
					       : ((const float *)data)[at]);
}

/* As tensor cores read it. */
static double operand(const product *p, const layout *l, const void *data, int64_t at)
{
	double value = get(l, data, at);
	return p->operation.compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? otp_fake_to_tf32(value)
	       : p->operation.compute == CUBLAS_COMPUTE_32F_FAST_16BF
		   ? (double)otp_bf16_widen(otp_bf16_round((float)value))
		   : value;
}

static void put(const layout *l, void *data, int64_t at, double value)
{
	if (l->type == CUDA_R_16BF)
		((uint16_t *)data)[at] = otp_bf16_round((float)value);
	else
		((float *)data)[at] = (float)value;
}

static void run_product(void *argument)
{
	const product *p = argument;
	memset(p->workspace, 0xff, p->workspace_bytes);
	int64_t depth = (int64_t)columns_of(&p->a, p->operation.a);
	int64_t a_row = p->operation.a == CUBLAS_OP_N ? 1 : p->a.step, a_depth = p->a.step + 1 - a_row;
	int64_t b_column = p->operation.b == CUBLAS_OP_N ? p->b.step : 1, b_depth = p->b.step + 1 - b_column;
	for (int64_t plane = 0; plane < p->y.batch; plane++)
		for (int64_t column = 0; column < (int64_t)p->y.columns; column++)
			for (int64_t row = 0; row < (int64_t)p->y.rows; row++) {
				double sum = 0;
				for (int64_t k = 0; k < depth; k++)
					sum += operand(p, &p->a, p->a_data,
						       plane * p->a.apart + row * a_row + k * a_depth) *
					       operand(p, &p->b, p->b_data,
						       plane * p->b.apart + column * b_column + k * b_depth);
				put(&p->y, p->y_data, plane * p->y.apart + column * p->y.step + row,
				    p->alpha * sum);
			}
}

static bool lies_well(const layout *l, const void *data, uint32_t alignment)
{
	int64_t last = (l->batch - 1) * l->apart + ((int64_t)l->columns - 1) * l->step + (int64_t)l->rows;
	return (uintptr_t)data % alignment == 0 &&
	       otp_fake_on_device(data, (size_t)last * (l->type == CUDA_R_16BF ? 2 : 4));
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t d, const void *alpha,
			      const void *a, cublasLtMatrixLayout_t al, const void *b,
			      cublasLtMatrixLayout_t bl, const void *beta, const void *c,
			      cublasLtMatrixLayout_t cl, void *y, cublasLtMatrixLayout_t yl,
			      const cublasLtMatmulAlgo_t *algorithm, void *workspace, size_t workspace_bytes,
			      cudaStream_t stream)
{
	OTP_FAKE_CALL;
	(void)handle;
	product *p = otp_calloc(1, sizeof *p);
	*p = (product){.a = *(layout *)(void *)al,
		       .b = *(layout *)(void *)bl,
		       .y = *(layout *)(void *)yl,
		       .operation = *(operation *)(void *)d,
		       .alpha = (double)*(const float *)alpha,
		       .a_data = a,
		       .b_data = b,
		       .y_data = y,
		       .workspace = workspace,
		       .workspace_bytes = workspace_bytes};
	wishes w;
	memcpy(&w, algorithm, sizeof w);
	if (call.refused || *(const float *)beta != 0 || c != y || cl != yl ||
	    workspace_bytes < w.workspace_bytes || !otp_fake_on_device(workspace, workspace_bytes) ||
	    !lies_well(&p->a, a, w.alignment[0]) || !lies_well(&p->b, b, w.alignment[1]) ||
	    !lies_well(&p->y, y, w.alignment[2])) {
		otp_free(p);
		return CUBLAS_STATUS_INVALID_VALUE;
	}
	otp_fake_work work = {"a product of cuBLASLt's", run_product, otp_free, p,
			      (float)OTP_FAKE_MICROSECONDS / 1000};
	otp_fake_count_launch();
	return otp_fake_issue(stream, work, NULL) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
