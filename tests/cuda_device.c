/* cuda_device: what the first GPU is, as a JSON object on stdout, and as cuDNN
 * describes it in FILE: from such a description cuDNN builds plans where there
 * is no GPU, so one that was saved can become a fixture.
 *
 *   cuda_device FILE      exit code 1, with a line, where there is none to ask */
#include "cuda/later.h"

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char *library, const char *why)
{
	fprintf(stderr, "cuda_device: %s: %s\n", library, why);
	return 1;
}

static int attribute(enum cudaDeviceAttr which)
{
	int value = 0;
	cudaDeviceGetAttribute(&value, which, 0);
	return value;
}

static void print_properties(const struct cudaDeviceProp *p)
{
	int driver = 0, runtime = 0;
	cudaDriverGetVersion(&driver);
	cudaRuntimeGetVersion(&runtime);
	printf(
	    "{\"name\": \"%s\", \"capability\": \"%d.%d\", \"multiprocessors\": %d, \"memory_bytes\": %zu,\n",
	    p->name, p->major, p->minor, p->multiProcessorCount, p->totalGlobalMem);
	printf(" \"l2_bytes\": %d, \"shared_bytes_per_block\": %zu, \"clock_khz\": %d, \"memory_clock_khz\": "
	       "%d,\n",
	       p->l2CacheSize, p->sharedMemPerBlockOptin, attribute(cudaDevAttrClockRate),
	       attribute(cudaDevAttrMemoryClockRate));
	printf(" \"memory_bus_bits\": %d, \"cuda_driver\": %d, \"cuda_runtime\": %d, \"cudnn\": %zu}\n",
	       p->memoryBusWidth, driver, runtime, cudnnGetVersion());
}

/* cuDNN's own description, NULL where it gives none. */
static char *describe(cudnnHandle_t handle, int64_t *length)
{
	cudnnBackendDescriptor_t d;
	char *text = NULL;
	if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &d) != CUDNN_STATUS_SUCCESS)
		return NULL;
	if (cudnnBackendSetAttribute(d, CUDNN_ATTR_DEVICEPROP_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle) ==
		CUDNN_STATUS_SUCCESS &&
	    cudnnBackendFinalize(d) == CUDNN_STATUS_SUCCESS &&
	    cudnnBackendGetAttribute(d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, 0, length,
				     NULL) == CUDNN_STATUS_SUCCESS) {
		text = calloc((size_t)*length + 1, 1);
		if (cudnnBackendGetAttribute(d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
					     *length, length, text) != CUDNN_STATUS_SUCCESS) {
			free(text);
			text = NULL;
		}
	}
	cudnnBackendDestroyDescriptor(d);
	return text;
}

static int save_description(const char *path)
{
	cudnnHandle_t handle;
	int64_t length = 0;
	cudnnStatus_t status = cudnnCreate(&handle);
	if (status != CUDNN_STATUS_SUCCESS)
		return fail("cudnn", cudnnGetErrorString(status));
	char *text = describe(handle, &length);
	cudnnDestroy(handle);
	if (!text)
		return fail("cudnn", "does not describe this device");
	FILE *file = fopen(path, "wb");
	int bad = !file || fwrite(text, 1, (size_t)length, file) != (size_t)length;
	bad |= file && fclose(file) != 0;
	free(text);
	return bad ? fail(path, "cannot be written") : 0;
}

int main(int argc, char **argv)
{
	struct cudaDeviceProp properties;
	int count = 0; /* a missing driver leaves it untouched */
	if (argc != 2)
		return fail("usage", "cuda_device FILE");
	cudaError_t status = cudaGetDeviceCount(&count);
	if (status != cudaSuccess || count == 0)
		return fail("cuda", status == cudaSuccess ? "no GPU" : cudaGetErrorString(status));
	status = cudaGetDeviceProperties(&properties, 0);
	if (status != cudaSuccess)
		return fail("cuda", cudaGetErrorString(status));
	print_properties(&properties);
	return save_description(argv[1]);
}
