/* driver: stands in for libcuda.so.1 while plans are made and nothing is run. cuDNN's compiling engines load
 * it, ask it for a module of what they compiled, and for the kernel in it: it says yes. For tests alone; it
 * imitates neither a device nor a context, and the CUDA runtime does not start on it.
 */

#define YES(name)                                                                                            \
	int name(void);                                                                                      \
	int name(void) { return 0; }
#define GIVES(name)                                                                                          \
	int name(void **thing);                                                                              \
	int name(void **thing) { return *thing = &something, 0; }
#define SAYS(name, number)                                                                                   \
	int name(int *value);                                                                                \
	int name(int *value) { return *value = (number), 0; }
enum { NOT_SUPPORTED = 801 };

static char something;

YES(cuInit)
SAYS(cuDriverGetVersion, 13000)
SAYS(cuDeviceGetCount, 1)
SAYS(cuDeviceGet, 0)
YES(cuDeviceGetAttribute)
GIVES(cuDevicePrimaryCtxRetain)
GIVES(cuCtxGetCurrent)
YES(cuCtxSetCurrent)
SAYS(cuCtxGetDevice, 0)
YES(cuCtxGetLimit)
YES(cuCtxPushCurrent)
YES(cuCtxPopCurrent)
YES(cuStreamGetCtx)
YES(cuGetErrorName)
YES(cuGetErrorString)

GIVES(cuModuleLoadData)
GIVES(cuModuleLoadDataEx)
YES(cuModuleUnload)
GIVES(cuModuleGetFunction)
YES(cuModuleGetGlobal)
GIVES(cuLibraryLoadData)
GIVES(cuLibraryLoadFromFile)
YES(cuLibraryUnload)
GIVES(cuLibraryGetKernel)
GIVES(cuLibraryGetModule)
YES(cuLibraryGetGlobal)
GIVES(cuKernelGetFunction)
YES(cuKernelGetAttribute)
YES(cuKernelSetAttribute)
YES(cuFuncGetAttribute)
YES(cuFuncSetAttribute)
YES(cuLinkCreate)
YES(cuLinkAddData)
YES(cuLinkComplete)
YES(cuLinkDestroy)
SAYS(cuOccupancyMaxPotentialClusterSize, 8)

/* Never called: nothing is launched. */
YES(cuLaunchKernel)
YES(cuLaunchKernelEx)
YES(cuLaunchCooperativeKernel)

/* nvrtc goes on without it. */
int cuGetExportTable(const void **table, const void *id);
int cuGetExportTable(const void **table, const void *id)
{
	(void)id;
	*table = 0;
	return NOT_SUPPORTED;
}
