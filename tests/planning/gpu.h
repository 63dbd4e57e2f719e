/* gpu: a GPU that is only described, for plans without one. */
#ifndef OTP_PLANNING_GPU_H
#define OTP_PLANNING_GPU_H

#include "cuda/later.h"

/* An H100 by its data sheet, in the words of CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION. */
static const char OTP_H100[] =
    "{\"cudaDeviceId\": 0, \"deviceName\": \"NVIDIA H100 80GB HBM3\", \"deviceVer\": 900, \"driverVer\": "
    "13000,"
    " \"maxGridSize\": [2147483647, 65535, 65535], \"maxBlockSize\": [1024, 1024, 64], \"regsPerBlock\": "
    "65536,"
    " \"multiProcessorCount\": 132, \"smClockRateKHz\": 1980000, \"memClockRateKHz\": 2619000,"
    " \"l2CacheSize\": 52428800, \"warpSize\": 32, \"maxSharedMemoryPerBlock\": 49152,"
    " \"maxSharedMemoryPerBlockOptin\": 232448, \"reservedSharedMemoryPerBlock\": 1024,"
    " \"maxRegistersPerSM\": 65536, \"pciDeviceId\": 0, \"maxCtasPerSM\": 32, \"maxThreadsPerBlock\": 1024,"
    " \"maxThreadsPerSM\": 2048, \"isTccDriver\": 0, \"supportCoopLaunch\": 1, \"totalGlobalMem\": "
    "85000000000,"
    " \"cudnnVersion\": 91900, \"schemaVersion\": 1}";

/* Of cuDNN's versions; an older one plans for the GPU that it finds alone. */
enum { OTP_GPU_DESCRIBED_SINCE = 90800 };

/* NULL where cuDNN refuses the description. */
static inline cudnnBackendDescriptor_t otp_describe_gpu(const char *json, int64_t bytes)
{
	cudnnBackendDescriptor_t gpu = NULL;
	if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &gpu) != CUDNN_STATUS_SUCCESS)
		return NULL;
	if (cudnnBackendSetAttribute(gpu, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, bytes,
				     json) == CUDNN_STATUS_SUCCESS &&
	    cudnnBackendFinalize(gpu) == CUDNN_STATUS_SUCCESS)
		return gpu;
	cudnnBackendDestroyDescriptor(gpu);
	return NULL;
}

#endif
