/* describe: descriptors of cuDNN's, for those who describe operation graphs. */
#ifndef OTP_CUDA_DESCRIBE_H
#define OTP_CUDA_DESCRIBE_H

#include "cuda/dnn.h"

static inline bool put(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
		       cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
	return d && cudnnBackendSetAttribute(d, name, type, count, values) == CUDNN_STATUS_SUCCESS;
}

static inline bool put_descriptor(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
				  cudnnBackendDescriptor_t value)
{
	return put(d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

/* NULL where it cannot be made; nothing can be put into that. An older cuDNN does not know every type: then
 * there is no such graph. Any other refusal is noted, or the end. */
static inline cudnnBackendDescriptor_t make(otp_dnn_graph *g, cudnnBackendDescriptorType_t type)
{
	OTP_ASSERT(g->count < (int)(sizeof g->made / sizeof *g->made), "cudnn: too many descriptors");
	cudnnBackendDescriptor_t d = NULL;
	cudnnStatus_t status = cudnnBackendCreateDescriptor(type, &d);
	if (status == CUDNN_STATUS_NOT_SUPPORTED || status == CUDNN_STATUS_BAD_PARAM)
		return NULL;
	cudnn_check(status, "cudnnBackendCreateDescriptor(type, &d)", __FILE__, __LINE__);
	if (d)
		g->made[g->count++] = d;
	return d;
}

static inline bool finish(cudnnBackendDescriptor_t d)
{
	return d && cudnnBackendFinalize(d) == CUDNN_STATUS_SUCCESS;
}

/* IN_MEMORY, BETWEEN two operations alone, or BY_VALUE: read from the host's memory when the plan is
 * executed. */
typedef enum tensor_place { IN_MEMORY, BETWEEN, BY_VALUE } tensor_place;

static inline bool make_strided(otp_dnn_graph *g, const int64_t size[4], const int64_t step[4],
				cudnnDataType_t type, int64_t id, tensor_place place,
				cudnnBackendDescriptor_t *tensor)
{
	const bool virtual = place == BETWEEN, by_value = place == BY_VALUE;
	const int64_t alignment = 16;
	cudnnBackendDescriptor_t d = *tensor = make(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
	return put(d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type) &&
	       put(d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, size) &&
	       put(d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, step) &&
	       put(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id) &&
	       put(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment) &&
	       put(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &virtual) &&
	       put(d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &by_value) && finish(d);
}

static inline bool make_whole(otp_dnn_graph *g, const cudnnBackendDescriptor_t *parts, int count,
			      cudnnHandle_t handle)
{
	cudnnBackendDescriptor_t whole = make(g, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
	return put(whole, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, parts) &&
	       (!handle || put(whole, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle)) &&
	       finish(whole);
}

#endif
