/* device.c: what the fake device says of itself. */
#include "fake_device/fake.h"

#include <stdio.h>
#include <stdlib.h>

cudaError_t cudaGetDeviceCount(int *count)
{
	OTP_FAKE_CALL;
	*count = call.refused ? 0 : 1;
	return otp_fake_fail(call.refused ? cudaErrorInsufficientDriver : cudaSuccess);
}

cudaError_t cudaSetDevice(int index)
{
	OTP_FAKE_CALL;
	return otp_fake_fail(call.refused || index != 0 ? cudaErrorInvalidDevice : cudaSuccess);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int index)
{
	OTP_FAKE_CALL;
	if (call.refused || index != 0)
		return otp_fake_fail(cudaErrorInvalidDevice);
	const char *capability = getenv("OTPLAN_FAKE_CAPABILITY"); /* two digits */
	int digits = capability ? atoi(capability) : 90;
	*p = (struct cudaDeviceProp){.major = digits / 10, .minor = digits % 10};
	snprintf(p->name, sizeof p->name, "Fake device, no GPU");
	return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr which, int index)
{
	OTP_FAKE_CALL;
	(void)which;
	*value = 0; /* no clock, no bus */
	return otp_fake_fail(call.refused || index != 0 ? cudaErrorInvalidDevice : cudaSuccess);
}

cudaError_t cudaDriverGetVersion(int *version)
{
	*version = CUDART_VERSION;
	return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
	*version = CUDART_VERSION;
	return cudaSuccess;
}
