/* nccl: that NCCL's own library has all that comm.h takes of it. No device is needed. */
#include "cuda/comm.h"

#include <stdio.h>

int main(void)
{
	otp_error err = {0};
	int version = 0;
	if (!otp_nccl_load(&err)) {
		printf("%s\n", err.text);
		return 1;
	}
	if (otp_nccl_calls.GetVersion(&version) != ncclSuccess || version / 10000 != NCCL_MAJOR) {
		printf("NCCL says that it is version %d, nccl.h is of %d.%d\n", version, NCCL_MAJOR,
		       NCCL_MINOR);
		return 1;
	}
	printf("NCCL %d\n", version);
	return 0;
}
