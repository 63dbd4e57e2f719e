/* faults.cu: kernels with the mistakes that the shim is there to find. CTest
 * runs each and expects the complaint: a check that cannot fail is none.
 *   shim_faults divergent | absent_lane | race | overrun */
#include "cuda/launch.cuh"

#include <stdio.h>

namespace
{

__global__ void divergent(float *y)
{
	if (threadIdx.x < 40)
		__syncthreads();
	y[threadIdx.x] = 1;
}

__global__ void absent_lane(float *y)
{
	if (threadIdx.x % OTP_WARP < 16)
		y[threadIdx.x] = __shfl_xor_sync(0xffffu, y[threadIdx.x], 16);
}

/* The barrier between writing and reading is missing. */
__global__ void race(float *y)
{
	OTP_DYNAMIC_SHARED(float, room);
	room[threadIdx.x] = y[threadIdx.x];
	y[threadIdx.x] = room[(threadIdx.x + 1) % blockDim.x];
}

__global__ void overrun(float *y)
{
	OTP_DYNAMIC_SHARED(float, room);
	room[threadIdx.x + 1] = y[threadIdx.x];
	__syncthreads();
	y[threadIdx.x] = room[threadIdx.x];
}

} // namespace

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*kernel)(float *);
	} faults[] = {
	    {"divergent", divergent}, {"absent_lane", absent_lane}, {"race", race}, {"overrun", overrun}};
	enum { THREADS = 64 };
	float y[THREADS] = {};
	otp_call call = {};
	for (auto &fault : faults)
		if (argc > 1 && strcmp(argv[1], fault.name) == 0)
			OTP_LAUNCH(&call, fault.kernel, 1, THREADS, THREADS * sizeof(float), y);
	puts("nothing was found");
	return 0;
}
